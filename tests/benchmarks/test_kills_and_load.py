"""Small runs of the two benchmarks of reliability: nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def figures(program: str, output: Path, *words: str) -> Any:
    """What a benchmark measures, as a program of its own."""
    command = [sys.executable, str(BENCHMARKS / program), "--output", str(output), *words]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return json.loads(output.read_text())


@pytest.mark.slow
def test_what_is_killed_loses_nothing(tmp_path: Path) -> None:
    found = figures("kills.py", tmp_path / "kills.json", "--kills", "2")
    assert sum(one["killed"] for one in found) == 2
    assert all(one["lost"] == 0 and one["same"] for one in found)
    assert all(one["under way"] <= 4 for one in found)


@pytest.mark.slow
def test_a_server_that_restarts_loses_nothing_and_a_budget_is_exact(tmp_path: Path) -> None:
    found = figures("load.py", tmp_path / "load.json", "--predictions", "2000")
    assert found["restarts"] == 2
    assert found["stored"] == 2000 and found["failed"] == 0
    assert found["received within the budget"] == found["answered within the budget"] == 1000
    assert 2000 <= found["received"] <= 2000 + 2 * found["connections"]


@pytest.mark.parametrize(("name", "least"), [("kills", 200), ("load", 100_000)])
def test_the_figures_of_the_page_show_no_loss(name: str, least: int) -> None:
    found = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text())
    if name == "kills":
        assert sum(one["killed"] for one in found) >= least
        assert all(one["lost"] == 0 and one["same"] for one in found)
    else:
        assert found["stored"] == found["predictions"] >= least
        # Nothing grows with the predictions; the second asking holds the keys that are known.
        assert found["memory"][-1] <= 1.2 * found["memory"][1]
