"""The calibration error over the examples of several runs: bins that can be added."""

from __future__ import annotations

import math

import numpy as np
import pytest

from consilience.evaluation.calibration_curve import bin_counts, pooled_ece
from consilience.evaluation.metrics import ece


def test_bins_hold_what_falls_into_them() -> None:
    q = np.array([[0.5, 0.5], [0.52, 0.48], [0.04, 0.96], [1.0, 0.0], [0.9, 0.1]])
    counts = bin_counts(q, np.array([1, 0, 1, 1, -1]))
    rows = [(10, 2, 1.02, 1.5), (19, 2, 1.96, 1)]
    assert counts == tuple(pytest.approx(row) for row in rows)
    assert pooled_ece([counts]) == pytest.approx((0.48 + 0.96) / 4)


def test_runs_are_added_and_not_averaged() -> None:
    q = np.array([[0.7, 0.3]] * 10)
    high, low = (bin_counts(q, (np.arange(10) >= right).astype(np.int64)) for right in (10, 4))
    assert pooled_ece([high]) == pytest.approx(0.3) == pooled_ece([low])
    assert pooled_ece([high, low]) == pytest.approx(0, abs=1e-9)
    assert math.isnan(pooled_ece([])) and math.isnan(pooled_ece([()]))
    assert bin_counts(q, np.full(10, -1)) == ()


def test_calibrated_runs_have_an_error_of_their_own_and_together_none() -> None:
    rng = np.random.default_rng(0)
    alone, counts = [], []
    for _ in range(40):
        p = rng.uniform(0.5, 0.8, 160)
        gold = (rng.random(160) > p).astype(np.int64)
        q = np.stack([p, 1 - p], axis=1)
        alone.append(float(ece(q, gold, np.ones((1, 160)))[0]))
        counts.append(bin_counts(q, gold))
    assert np.mean(alone) > 0.07
    assert pooled_ece(counts) < 0.02
