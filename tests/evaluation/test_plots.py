"""Pictures: that they are written, show every method, and are refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from consilience.errors import InputError, MissingExtra
from consilience.evaluation.evaluation import Evaluation
from consilience.evaluation.metrics import Interval
from consilience.evaluation.plots import check_plot, plot_methods

NAN = float("nan")
MADE = Evaluation(
    scores={
        "majority": {"accuracy": Interval(0.5, 0.45, 0.55)},
        "bootstrap": {"accuracy": Interval(0.7, NAN, NAN, "no interval from a single group")},
        "undefined": {"accuracy": Interval(NAN, NAN, NAN, "no example has gold")},
        "consilience": {"accuracy": Interval(0.8, 0.75, 0.86)},
    },
    calls={"majority": 0, "bootstrap": 8, "undefined": 1, "consilience": 8.25},
    scored=40,
    note="",
)


def drawn(path: Path) -> str:
    """All text of an SVG, whose words matplotlib keeps in comments."""
    return path.read_text("utf-8")


def test_every_method_is_named_with_its_calls(tmp_path: Path) -> None:
    path = plot_methods(MADE, tmp_path / "methods.svg")
    ElementTree.parse(path)
    words = drawn(path)
    for method in ("majority (0)", "bootstrap (8)", "undefined (1)", "consilience (8.25)"):
        assert f"<!-- {method} -->" in words
    assert "accuracy, 95 % interval" in words


def test_only_what_is_defined_is_a_dot(tmp_path: Path) -> None:
    def dots(evaluation: Evaluation) -> int:
        return drawn(plot_methods(evaluation, tmp_path / "dots.svg")).count("#m")

    defined = MADE.scores | {"undefined": {"accuracy": Interval(0.6, 0.5, 0.7)}}
    assert dots(Evaluation(defined, MADE.calls, 40, "")) > dots(MADE) > 0


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_other_kinds_of_picture(suffix: str, begins: bytes, tmp_path: Path) -> None:
    path = plot_methods(MADE, tmp_path / f"methods{suffix}")
    assert path.read_bytes().startswith(begins)


def test_what_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"table\.csv is no picture; its name has to end in \.svg"):
        check_plot("table.csv")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match="needs the extra `plots`"):
        check_plot("demo.svg")
