"""Corrections on recorded answers of a real model: the rows that nobody corrected are no worse."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import recorded  # noqa: E402 (the benchmarks are no package)
from recorded import Recording  # noqa: E402

from consilience.solvers.solution import solve  # noqa: E402
from consilience.solvers.starts import first_labels  # noqa: E402

NOISE = 0.03
"""Of 160 rows at most so many may change sides by chance, in all."""

SPAM = "gemma-sms-5b2b22.json.gz", "consilience"
"""One message in six is spam, and the answers alone did not say where the classes lie."""


@cache
def read(name: str) -> Recording:
    return recorded.read(recorded.FOLDER / name)


def untouched(
    name: str, method: str, at: NDArray[np.int64] | None, count: int
) -> tuple[float, float]:
    """The accuracy on the others before and after rows are held: `at`, or the most doubtful."""
    recording = read(name)
    (run,) = (run for run in recording.runs if run.method == method)
    gold = np.asarray(recording.gold)
    labels = recorded.solved(recording, run)
    if at is None:
        ordered = np.sort(labels, axis=1)
        at = np.argsort(ordered[:, -1] / ordered[:, -2], kind="stable")
    at = at[:count]
    evidence = recorded.evidence_of(recording, run).weighed()
    told = evidence.holding({int(i): int(gold[i]) for i in at})
    after = solve(told, start=first_labels(told)).labels
    assert (after[at].argmax(axis=1) == gold[at]).all()
    rest = np.setdiff1d(np.arange(len(gold)), at)
    before, now = ((q.argmax(axis=1) == gold)[rest].mean() for q in (labels, after))
    return float(before), float(now)


NAMES = [file.name for file in recorded.files()]
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1::2]]


@pytest.mark.parametrize("name", [*NAMES[::2], *OTHERS])
def test_the_most_doubtful_corrected(name: str) -> None:
    for run in read(name).runs:
        if any(query.shots for queries in run.rounds for query, _ in queries):
            before, now = untouched(name, run.method, None, 8)
            assert now >= before - NOISE, run.method


def test_rows_drawn_at_random_say_where_the_classes_lie() -> None:
    rng = np.random.default_rng(0)
    before, now = untouched(*SPAM, rng.permutation(160), 32)
    assert now >= before + 0.2


def test_many_doubtful_ones_do_too() -> None:
    before, now = untouched(*SPAM, None, 32)
    assert now >= before + 0.2
