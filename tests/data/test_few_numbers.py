"""Sums of few numbers are SciPy's, to the bit: what simulated models answered stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax

from consilience.data.arrays import few_log_softmax, few_logsumexp, few_softmax


@pytest.mark.parametrize("size", [0.1, 3.0, 50.0])
@pytest.mark.parametrize("shape", [(3, 2), (9, 2), (61, 30)])
def test_as_scipy_to_the_bit(shape, size):
    rng = np.random.default_rng(0)
    for _ in range(50):
        x = size * rng.normal(size=shape)
        assert np.array_equal(few_logsumexp(x), logsumexp(x, axis=0))
        assert np.array_equal(few_log_softmax(x), log_softmax(x, axis=1))
        assert np.array_equal(few_log_softmax(x[0]), log_softmax(x[0]))
        assert np.array_equal(few_softmax(x[:, 0]), softmax(x[:, 0]))


def test_where_several_are_largest():
    x = np.array([[2.0, 1.0], [2.0, 3.0], [-5.0, 3.0]])
    assert np.array_equal(few_logsumexp(x), logsumexp(x, axis=0))
