"""Models, data sets and terms that another installed package brings by entry points."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import consilience as cs
from consilience.data.plugins import load_plugin, plugin_names
from consilience.datasets import describe_datasets
from consilience.errors import InputError
from consilience.objective.coherence import find_term

CODE = """
import torch

from consilience.data.dataset import Task
from consilience.data.readers import Rows
from consilience.datasets.source import Source
from consilience.models.simulated import SimulatedModel


def open_mine(rest, **options):
    if options:
        raise TypeError(f"no options, got {sorted(options)}")
    return SimulatedModel(rest)


def read(reader, chosen):
    return Rows({"text": f"Two and {i} is {2 + i + i % 2}.", "label": i % 2} for i in range(12))


SUMS = Source(
    name="sums", about="sums", licence="none", origin="made up", cite="", page="",
    task=lambda chosen: Task("Is the sum right?", ("Right", "Wrong")),
    text="text", fields=("text",), read=read,
)

NO_SOURCE = 3


def confident(state):
    return (state.q * state.q).sum(dim=-1).mean()
"""

POINTS = """
[consilience.models]
mine = other_package:open_mine
broken = other_package:missing

[consilience.datasets]
sums = other_package:SUMS
number = other_package:NO_SOURCE

[consilience.terms]
confident = other_package:confident
"""


def install(folder: Path, points: str, name: str = "other_package") -> None:
    """What an installer leaves: the module and its metadata."""
    (folder / f"{name}.py").write_text(CODE)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    install(tmp_path, POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("other_package", None)


def test_nothing_is_added_where_nothing_is_installed() -> None:
    assert plugin_names("terms") == plugin_names("datasets") == ()
    assert load_plugin("terms", "confident") is None
    with pytest.raises(InputError, match="no term 'confident'; the terms are: mutual pred"):
        find_term("confident")


def test_names_are_known_before_anything_is_imported(other: Path) -> None:
    assert plugin_names("models") == ("broken", "mine")
    assert "other_package" not in sys.modules


def test_a_model_a_data_set_and_a_term_of_another_package_work_together(other: Path) -> None:
    data, gold = cs.load_dataset("sums")
    assert len(data) == 12 and gold is not None and set(gold.labels.values()) == {0, 1}
    model = cs.open_model("mine:easy")
    terms = cs.default_terms() | {"confident": find_term("confident").at(0.1)}
    found = cs.elicit(data, model, calls_per_example=2, terms=terms)
    assert len(found.labels) == 12
    assert any(row["name"] == "sums" for row in _listed())


def _listed() -> list[dict[str, object]]:
    with pytest.raises(InputError, match="'number' is a int, expected a Source"):
        describe_datasets()
    return [{"name": name} for name in plugin_names("datasets")]


def test_what_cannot_be_imported_is_one_line(other: Path) -> None:
    with pytest.raises(InputError, match=r"'broken' of other_package:missing could not be im"):
        cs.open_model("broken:x")
    with pytest.raises(InputError, match=r"or simulated:WORLD, broken:…, mine:…"):
        cs.open_model("nobody:x")
    with pytest.raises(TypeError, match="no options, got"):
        cs.open_model("mine:easy", base_url="http://localhost/v1")


def test_a_name_that_is_taken_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "[consilience.terms]\nentropy = other_package:confident\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="two packages bring 'entropy' among the terms"):
        find_term("couplings")
