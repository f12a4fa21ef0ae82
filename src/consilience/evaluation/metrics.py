"""How good probabilities are against gold, each number with an interval over groups.

A *statistic* is a pure function of probabilities (examples, classes), gold (examples,) and
weights (resamples, examples), and gives one number per row of the weights. An interval is the
percentile interval of the cluster bootstrap: whole groups are drawn with replacement, because
the examples of one group (the answers to one question) succeed and fail together, and an interval
over single examples would be too narrow.

Nothing is flipped to look better, and what is undefined is NaN with a reason, never 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from consilience.data.arrays import Floats
from consilience.errors import InputError

Statistic = Callable[[Floats, NDArray[np.int64], Floats], Floats]

BINS = 10
COVERAGE = 0.8
"""The share of the examples that `covered_accuracy` scores."""
_CHUNK = 100
"""Resamples that are computed at once, which bounds the memory to CHUNK numbers per example."""


class Interval(NamedTuple):
    """A number with the bounds of its interval; `reason` says why any of them is not finite."""

    estimate: float
    lower: float
    upper: float
    reason: str = ""

    def __str__(self) -> str:
        if math.isnan(self.estimate):
            return f"undefined ({self.reason})"
        if self.reason:
            return f"{self.estimate:.3f} ({self.reason})"
        return f"{self.estimate:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


# --- statistics ------------------------------------------------------------------------------


def accuracy(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """The share of examples whose most probable class is the gold one.

    Where m classes share the highest probability, a gold one among them counts 1/m, so that the
    order of the classes earns nothing.
    """
    best = probabilities == probabilities.max(axis=1, keepdims=True)
    right = best[np.arange(len(gold)), gold] / best.sum(axis=1)
    return _mean(right, weights)


def flip_invariant_accuracy(
    probabilities: Floats, gold: NDArray[np.int64], weights: Floats
) -> Floats:
    """The accuracy in the better of the two orientations; two classes only.

    Not an accuracy: it looks at gold to choose the orientation and is at least 0.5 for labels that
    know nothing. For labellings whose polarity nothing has fixed, beside the plain accuracy.
    """
    plain = accuracy(probabilities, gold, weights)
    return np.maximum(plain, 1 - plain)


def auroc(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """The area under the ROC curve: how often a positive outranks a negative, ties counting ½.

    With two classes that of class 1; with more, the mean over the classes of each against the
    rest (one-vs-rest, macro). NaN where a class is not in gold.
    """
    k = probabilities.shape[1]
    areas = [_area(probabilities[:, c], gold == c, weights) for c in range(1 if k == 2 else 0, k)]
    return np.asarray(np.mean(areas, axis=0), dtype=np.float64)


def brier(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """Half the mean squared distance between the probabilities and the gold class; lower is better.

    0 to 1 for any number of classes, and (p − y)² with two.
    """
    right = np.eye(probabilities.shape[1])[gold]
    return _mean(((probabilities - right) ** 2).sum(axis=1) / 2, weights)


def log_loss(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """The mean of −log p of the gold class, in nats; lower is better.

    Infinite where a gold class has probability 0: nothing is clipped.
    """
    chosen = probabilities[np.arange(len(gold)), gold]
    impossible = chosen == 0
    loss = _mean(-np.log(np.where(impossible, 1.0, chosen)), weights)
    return np.where((weights * impossible).any(axis=1), np.inf, loss)


def ece(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """The expected calibration error of the most probable class; lower is better.

    Σ over 10 bins of (share of examples) · |mean confidence − accuracy|. The bins hold equally
    many examples, as far as equal confidences, which stay together, allow. The number is biased
    upwards where bins hold few examples: even calibrated probabilities get more than 0.
    """
    confidence = probabilities.max(axis=1)
    best = probabilities == confidence[:, None]
    right = best[np.arange(len(gold)), gold] / best.sum(axis=1)
    inner = np.quantile(confidence, np.arange(1, BINS) / BINS)
    member = np.searchsorted(inner, confidence, side="left")[:, None] == np.arange(BINS)
    gaps = weights @ (member * (confidence - right)[:, None])
    return np.asarray(np.abs(gaps).sum(axis=1) / weights.sum(axis=1), dtype=np.float64)


def aurc(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """The area under the risk–coverage curve; lower is better.

    The mean over i of the share of errors among the i most confident examples (El-Yaniv and
    Wiener 2010; Geifman and El-Yaniv 2017). Examples of equal confidence count as if their order
    were drawn.
    """
    size, wrong = _by_confidence(probabilities, gold, weights)
    rate = _or_zero(wrong, size)
    after, errors = np.cumsum(size, axis=1), np.cumsum(wrong, axis=1)
    before, earlier = after - size, errors - wrong
    # Σ (earlier + rate · (i − before)) / i over the places i of those of equal confidence.
    harmonic = digamma(after + 1) - digamma(before + 1)
    area = (rate * size + (earlier - rate * before) * harmonic).sum(axis=1)
    return np.asarray(area / weights.sum(axis=1), dtype=np.float64)


def covered_accuracy(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """The accuracy on the most confident 80 % of the examples.

    Of examples of equal confidence where the 80 % end as many count as fit, whichever.
    """
    size, wrong = _by_confidence(probabilities, gold, weights)
    room = COVERAGE * weights.sum(axis=1, keepdims=True)
    taken = np.clip(room - (np.cumsum(size, axis=1) - size), 0, size)
    errors = (_or_zero(wrong, size) * taken).sum(axis=1)
    return np.asarray(1 - errors / room[:, 0], dtype=np.float64)


def departure(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """The mean of |p − 1/K| over examples and classes: how far from saying nothing.

    Neither high nor low is better by itself: where nothing can be known it should be 0.
    """
    return _mean(np.abs(probabilities - 1 / probabilities.shape[1]).mean(axis=1), weights)


STATISTICS: dict[str, Statistic] = {
    "accuracy": accuracy,
    "auroc": auroc,
    "brier": brier,
    "log_loss": log_loss,
    "ece": ece,
    "aurc": aurc,
    "covered_accuracy": covered_accuracy,
    "departure": departure,
}
"""What `score` reports, by name and in this order."""


def _mean(values: Floats, weights: Floats) -> Floats:
    return np.asarray(weights @ values / weights.sum(axis=1), dtype=np.float64)


def _ratio(above: Floats, below: Floats) -> Floats:
    """`above` / `below`, NaN where that is not positive."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def _or_zero(above: Floats, below: Floats) -> Floats:
    """`above` / `below`, 0 where that is not positive."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), 0.0)


def _by_confidence(
    probabilities: Floats, gold: NDArray[np.int64], weights: Floats
) -> tuple[Floats, Floats]:
    """The weight and the weight of the errors at each distinct confidence, the highest first."""
    confidence = probabilities.max(axis=1)
    best = probabilities == confidence[:, None]
    error = 1 - best[np.arange(len(gold)), gold] / best.sum(axis=1)
    order = np.argsort(-confidence, kind="stable")
    starts = np.flatnonzero(np.diff(-confidence[order], prepend=-np.inf))
    ordered = weights[:, order]
    size = np.add.reduceat(ordered, starts, axis=1)
    return size, np.add.reduceat(ordered * error[order], starts, axis=1)


def _area(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """The weighted Mann–Whitney statistic, for each row of the weights."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    ordered = weights[:, order]
    # Total weight of the positives and of the negatives at each distinct score.
    up = np.add.reduceat(ordered * positive[order], starts, axis=1)
    down = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    won = (up * (np.cumsum(down, axis=1) - down / 2)).sum(axis=1)
    pairs = up.sum(axis=1) * down.sum(axis=1)
    return _ratio(won, pairs)


# --- intervals -------------------------------------------------------------------------------


def score(
    probabilities: Floats,
    gold: NDArray[np.int64],
    groups: Sequence[Any],
    *,
    only: Sequence[str] = tuple(STATISTICS),
    flip_invariant: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Statistics of one method, each with its interval; examples with gold −1 are not scored.

    `only` names those that are computed, by default all. `flip_invariant` adds the row of that
    name, for two classes whose polarity nothing has fixed. InputError if shapes disagree or a
    scored example has no probabilities.
    """
    if flip_invariant and np.shape(probabilities)[-1] != 2:
        raise InputError("a flip-invariant accuracy is defined for two classes only")
    chosen = {name: STATISTICS[name] for name in only}
    if flip_invariant:
        chosen["flip_invariant_accuracy"] = flip_invariant_accuracy
    (kept,), gold, names = _scored([probabilities], gold, groups)
    return {
        name: _interval(
            partial(statistic, kept, gold),
            names,
            _REASONS.get(name, ""),
            resamples,
            level,
            seed,
        )
        for name, statistic in chosen.items()
    }


def pgr(
    method: Floats,
    zero_shot: Floats,
    golden: Floats,
    gold: NDArray[np.int64],
    groups: Sequence[Any],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The performance gap recovered: (method − zero-shot) / (golden shots − zero-shot), accuracies.

    Undefined where golden shots do no better than zero-shot, because there is no gap to recover.
    """
    kept, gold, names = _scored([method, zero_shot, golden], gold, groups)

    def recovered(weights: Floats) -> Floats:
        reached, start, end = (accuracy(p, gold, weights) for p in kept)
        return _ratio(reached - start, end - start)

    reason = "golden shots are no better than zero-shot"
    return _interval(recovered, names, reason, resamples, level, seed)


_REASONS = {
    "auroc": "a class is not in gold",
    "log_loss": "a gold class has probability 0",
}


def _scored(
    methods: Sequence[Floats], gold: NDArray[np.int64], groups: Sequence[Any]
) -> tuple[list[Floats], NDArray[np.int64], NDArray[Any]]:
    """The inputs as arrays, without the examples that have no gold."""
    gold, names = np.asarray(gold), np.asarray(groups)
    arrays = [np.asarray(method, dtype=np.float64) for method in methods]
    n, k = gold.shape[0], arrays[0].shape[-1]
    if any(array.shape != (n, k) for array in arrays) or names.shape != (n,) or k < 2:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise InputError(
            f"probabilities of shape {shapes}, {n} gold labels and {len(names)} groups do not fit"
        )
    if n and not (gold.min() >= -1 and gold.max() < k):
        raise InputError(f"gold must be -1 or a class from 0 to {k - 1}")
    has = gold >= 0
    kept = [array[has] for array in arrays]
    for array in kept:
        if not (np.isfinite(array).all() and (array >= 0).all() and (array <= 1).all()):
            raise InputError(
                "probabilities must be between 0 and 1; leave out examples that have none"
            )
    return kept, gold[has].astype(np.int64), names[has]


def _interval(
    statistic: Callable[[Floats], Floats],
    groups: NDArray[Any],
    reason: str,
    resamples: int,
    level: float,
    seed: int,
) -> Interval:
    """The statistic of all examples and its percentile interval, widened to hold the estimate.

    Resamples in which the statistic is undefined are left out; where they are more than what the
    interval leaves out anyway, there is no interval.
    """
    if resamples < 1 or not 0 < level < 1:
        raise InputError(f"an interval needs resamples ≥ 1 and 0 < level < 1: {resamples}, {level}")
    n = len(groups)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, "no example has gold")
    estimate = float(statistic(np.ones((1, n)))[0])
    if not math.isfinite(estimate):
        return Interval(estimate, math.nan, math.nan, reason)
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return Interval(estimate, math.nan, math.nan, "no interval from a single group")
    rng = np.random.default_rng(seed)
    even = np.full(len(names), 1 / len(names))
    drawn = []
    for start in range(0, resamples, _CHUNK):
        counts = rng.multinomial(len(names), even, size=min(_CHUNK, resamples - start))
        drawn.append(statistic(counts[:, codes].astype(np.float64)))
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    missing = 1 - len(values) / resamples
    if missing > 1 - level:
        words = f"no interval: undefined in {missing:.0%} of the resamples, {reason}"
        return Interval(estimate, math.nan, math.nan, words)
    lower, upper = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, min(float(lower), estimate), max(float(upper), estimate))
