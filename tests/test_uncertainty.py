"""Epistemic and aleatoric uncertainty where both are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from consilience.coherence import default_terms
from consilience.lbfgs import LBFGS
from consilience.relations import Equal, Opposite
from consilience.solvers import solve
from consilience.uncertainty import Uncertainty, uncertainty
from zoo import evidence, random_rows


def measured(n, rows, k=2, ties=(), **options) -> tuple[Uncertainty, np.ndarray]:
    ev = evidence(n, rows, k, ties)
    solution = solve(ev, solver=LBFGS(starts=1))
    return uncertainty(ev, default_terms(), LBFGS(), solution, **options), solution.labels


def entropy(q: np.ndarray) -> np.ndarray:
    return -(q * np.log(q)).sum(axis=1)


@pytest.mark.parametrize("k", [2, 3])
def test_predictions_that_agree_leave_nothing_epistemic(k):
    answers = np.random.default_rng(k).dirichlet(np.ones(k), size=4)
    rows = [(i, p, ()) for i, p in enumerate(answers) for _ in range(5)]
    found, labels = measured(4, rows, k)
    assert found.epistemic.max() < 1e-6
    np.testing.assert_allclose(found.aleatoric, entropy(labels), atol=1e-3)


def test_predictions_that_conflict_are_epistemic():
    conflict = [(0, p, ()) for p in ([1e-4, 1 - 1e-4], [1 - 1e-4, 1e-4])]
    unsure = [(1, [0.5, 0.5], ())] * 2
    found, _ = measured(2, conflict + unsure, replicates=64)
    assert found.epistemic[0] > 0.1 and found.epistemic[1] < 1e-6
    assert found.aleatoric[0] < found.aleatoric[1] - 0.1


def test_asking_more_removes_what_is_epistemic():
    conflict = [[0.02, 0.98], [0.98, 0.02]]
    rows = [(i, p, ()) for i, times in enumerate((1, 16)) for p in conflict * times]
    found, _ = measured(2, rows, replicates=64)
    assert found.epistemic[0] > 3 * found.epistemic[1] > 0


@pytest.mark.parametrize("k", [2, 3, 4])
def test_even_answers_are_wholly_aleatoric(k):
    found, _ = measured(3, [(i, np.full(k, 1 / k), ()) for i in range(3) for _ in range(3)], k)
    np.testing.assert_allclose(found.aleatoric, math.log(k), atol=1e-6)
    assert found.epistemic.max() < 1e-6


@pytest.mark.parametrize("k", [2, 3])
def test_nats_are_bounded(k):
    rows = random_rows(np.random.default_rng(3), 10, k, zero=1, shown=3)
    found, _ = measured(10, rows, k, [(Opposite, (0, 1)), (Equal, (2, 3))])
    for part in (found.epistemic, found.aleatoric):
        assert part.shape == (10,) and part.min() >= 0
    assert (found.epistemic + found.aleatoric).max() <= math.log(k) + 1e-12
    assert found.epistemic.max() > 1e-3


def test_the_seed_decides():
    rows = random_rows(np.random.default_rng(4), 6, 2)
    one, two, other = (measured(6, rows, seed=seed)[0] for seed in (1, 1, 2))
    assert one.epistemic.tobytes() == two.epistemic.tobytes()
    assert np.abs(one.epistemic - other.epistemic).max() > 1e-4


def test_the_number_of_replicates_counts():
    rows = random_rows(np.random.default_rng(5), 6, 2)
    assert measured(6, rows, replicates=1)[0].epistemic.max() < 1e-12
    few, many = (measured(6, rows, replicates=r)[0] for r in (2, 16))
    assert np.abs(few.epistemic - many.epistemic).max() > 1e-3
