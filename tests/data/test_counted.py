"""Counts in words, of one and of more."""

from __future__ import annotations

from pathlib import Path

import pytest

from command import consilience
from consilience.data.counted import counted


@pytest.mark.parametrize(
    ("count", "what", "said"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (1200, "query", "1,200 queries"),
        (1, "query", "1 query"),
        (2, "prompt token", "2 prompt tokens"),
    ],
)
def test_one_is_said_as_one(count: int, what: str, said: str) -> None:
    assert counted(count, what) == said


def test_a_run_of_one_row_is_told_of_as_one(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("text\nOslo is in Norway.\n")
    task = ["--question", "Is it right?", "--classes", "no,yes", "--model", "simulated:noisy"]
    run = ["run", table, *task, "--calls-per-example", 1, "--store", tmp_path / "s.db"]
    done = consilience(*run, "--output", tmp_path / "l.csv")
    for said in ("at most 1 call to", "round 0: 1 query", "1 example, 1 round, 1 call made"):
        assert said in done.stderr
    assert f"1 row written to {tmp_path / 'l.csv'}" in done.stderr
    again = consilience(*run, "--output", tmp_path / "l.csv").stderr
    assert "0 calls made" in again and "1 answer found in the store" in again
