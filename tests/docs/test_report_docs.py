"""The program of the page about reports runs, and what it says of the command line is so."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from consilience.cli import cli
from consilience.cli.evidence import KINDS

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "report.md").read_text("utf-8")


@pytest.mark.slow
def test_the_program_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    shutil.copy(DOCS / "claims.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    made: dict[str, object] = {}
    exec(program, made)
    assert "Methods side by side" in Path("claims.html").read_text("utf-8")
    assert made["axes"].get_xlabel() == "probability of the label"  # type: ignore[attr-defined]
    matplotlib.pyplot.close("all")


def test_its_options_and_kinds_are_those_of_the_commands() -> None:
    known = {name for command in cli.commands.values() for p in command.params for name in p.opts}
    named = set(re.findall(r"(--[a-z]+)", TEXT))
    assert named <= known
    assert ", ".join(KINDS[1:]) in TEXT
