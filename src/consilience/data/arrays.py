"""Arrays of numbers, by the names that annotations use, and logarithms of sums of few numbers.

SciPy has the same functions for arrays of any size and kind; what they check first takes it a
hundred times as long as the few numbers of one answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

SAYS_NOTHING = 1e-9
"""Labels whose likeliest class is no more probable than this above 1/K say nothing."""


def saying(labels: Floats) -> Flags:
    """Who has labels (N, K) that say anything: that are not 1/K for all classes, (N,)."""
    return np.asarray(labels.max(axis=1) > 1 / labels.shape[1] + SAYS_NOTHING)


def row_sums(place: Integers, values: Floats, places: int) -> Floats:
    """The sums of the rows of `values` (T, K) at each place (T), (places, K), in their order."""
    total = np.zeros((places, values.shape[1]))
    for k in range(values.shape[1]):
        # A bin count is many times as fast as `np.add.at`, and adds in the same order.
        total[:, k] = np.bincount(place, values[:, k], places)
    return total


def few_log_softmax(x: Floats) -> Floats:
    """Log-probabilities from finite logits (..., K), as `scipy.special.log_softmax`, to the bit."""
    moved = x - x.max(axis=-1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=-1, keepdims=True)))


def few_logsumexp(x: Floats) -> Floats:
    """The log of the sum of exponentials over the first axis of finite numbers (H, ...).

    As `scipy.special.logsumexp`, to the bit: the largest are kept apart for precision.
    """
    top = x.max(axis=0)
    largest = x == top
    many = largest.sum(axis=0, dtype=np.float64)
    rest = np.where(largest, 0.0, np.exp(x - top)).sum(axis=0)
    return np.asarray(np.log1p(rest / many) + np.log(many) + top)


def few_softmax(x: Floats) -> Floats:
    """Probabilities from finite logits (K), as `scipy.special.softmax`, to the bit."""
    raised = np.exp(x - x.max())
    return np.asarray(raised / raised.sum())
