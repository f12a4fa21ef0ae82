"""How often labels of a given probability are right: a reliability diagram in numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from consilience.data.arrays import Floats
from consilience.evaluation.metrics import even_bins, right_share

BIN_EDGES = np.arange(1, 20) / 20
"""Where bins end that are the same for all runs, so that the counts of several can be added."""


class CurvePoint(NamedTuple):
    """One bin: its mean probability, the share that is right, its 95 % interval, its examples.

    The interval is Jeffreys' for a binomial share, up to an end that was reached: examples are
    taken to be independent.
    """

    confidence: float
    accuracy: float
    lower: float
    upper: float
    examples: int


def calibration_curve(probabilities: Floats, gold: NDArray[np.int64]) -> tuple[CurvePoint, ...]:
    """The bins of `metrics.ece`, the least sure first; examples with gold −1 are left out.

    Of `probabilities` (N, K) that of the likeliest class counts. The mean over the examples of
    |confidence − accuracy| of their bin is the expected calibration error.
    """
    probabilities, gold = probabilities[gold >= 0], gold[gold >= 0]
    if not len(gold):
        return ()
    confidence, right = probabilities.max(axis=1), right_share(probabilities, gold)
    member = even_bins(confidence)
    made = []
    for b in np.unique(member):
        inside = member == b
        n, hits = int(inside.sum()), float(right[inside].sum())
        lower, upper = beta.ppf([0.025, 0.975], hits + 0.5, n - hits + 0.5)
        lower, upper = lower if hits else 0.0, upper if hits < n else 1.0
        made.append(
            CurvePoint(float(confidence[inside].mean()), hits / n, float(lower), float(upper), n)
        )
    return tuple(made)


class BinCount(NamedTuple):
    """What falls into a fixed bin: examples, the sum of their probabilities, those right.

    `bin` counts `BIN_EDGES` from below.
    """

    bin: float
    examples: float
    confidence: float
    right: float


def bin_counts(probabilities: Floats, gold: NDArray[np.int64]) -> tuple[BinCount, ...]:
    """The fixed bins that hold examples, by the probability of the likeliest class.

    Of `probabilities` (N, K); where m classes share the highest, a right one counts 1/m. Examples
    with gold −1 are left out.
    """
    probabilities, gold = probabilities[gold >= 0], gold[gold >= 0]
    confidence, right = probabilities.max(axis=1), right_share(probabilities, gold)
    member = np.searchsorted(BIN_EDGES, confidence, side="right")
    made = []
    for b in np.unique(member).tolist():
        inside = member == b
        sums = (float(v[inside].sum()) for v in (np.ones(len(member)), confidence, right))
        made.append(BinCount(float(b), *sums))
    return tuple(made)


def pooled_ece(runs: Iterable[Iterable[Sequence[float]]]) -> float:
    """The expected calibration error over the examples of several runs, from their `bin_counts`.

    The mean over runs of the error of each is biased upwards, for a bin of one run holds few
    examples. NaN where there is no example.
    """
    gaps: defaultdict[float, float] = defaultdict(float)
    total = 0.0
    for bin, examples, confidence, right in (count for run in runs for count in run):
        gaps[bin] += confidence - right
        total += examples
    return sum(map(abs, gaps.values())) / total if total else math.nan
