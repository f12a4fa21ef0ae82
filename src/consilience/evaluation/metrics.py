"""How good probabilities are against gold, each number with an interval over groups.

A *statistic* is a pure function of probabilities (examples, classes), gold (examples,) and
weights (resamples, examples), and gives one number per row of the weights. An interval is over
groups, because the examples of one group (the answers to one question) succeed and fail together,
and an interval over single examples would be too narrow. Of a share it is that of Agresti and Coull
(`estimation.share_interval`); of all else the percentile interval of the cluster bootstrap, which
draws whole groups with replacement, expanded as Hesterberg (2015) does, for groups are few.

Nothing is flipped to look better, and what is undefined is NaN with a reason, never 0.5. So is an
interval that resamples cannot tell: of few groups, or where none of them differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, ndtr, stdtrit

from consilience.data.arrays import Floats
from consilience.errors import InputError
from consilience.results.estimation import share_interval

Statistic = Callable[[Floats, NDArray[np.int64], Floats], Floats]

BINS = 10
COVERAGE = 0.8
"""The share of the examples that `covered_accuracy` scores."""
_LEVEL = 0.95
"""How often an interval holds the truth."""
FEWEST_GROUPS = 20
"""From fewer groups resamples give no interval: that from ten holds the truth in 85 % of cases."""
_NOTHING = 1e-12
"""A difference below is that of rounding."""
_CHUNK = 100
"""Resamples that are computed at once, which bounds the memory to CHUNK numbers per example."""


class Interval(NamedTuple):
    """A number with the bounds of its interval; `reason` says why any of them is not finite.

    There are none, and no reason, of what never has an interval.
    """

    estimate: float
    lower: float
    upper: float
    reason: str = ""

    def __str__(self) -> str:
        if math.isnan(self.estimate):
            return f"undefined ({self.reason})"
        if math.isnan(self.lower):
            return f"{self.estimate:.3f} ({self.reason})" if self.reason else f"{self.estimate:.3f}"
        return f"{self.estimate:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


# --- statistics ------------------------------------------------------------------------------


def accuracy(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """The share of examples whose most probable class is the gold one.

    Where m classes share the highest probability, a gold one among them counts 1/m, so that the
    order of the classes earns nothing.
    """
    return _mean(right_share(probabilities, gold), weights)


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
    upwards where bins hold few examples: even calibrated probabilities get more than 0, and an
    interval of resamples, whose bins hold fewer examples still, would not hold the truth.
    """
    confidence = probabilities.max(axis=1)
    member = even_bins(confidence)[:, None] == np.arange(BINS)
    gaps = weights @ (member * (confidence - right_share(probabilities, gold))[:, None])
    return np.asarray(np.abs(gaps).sum(axis=1) / weights.sum(axis=1), dtype=np.float64)


def aurc(probabilities: Floats, gold: NDArray[np.int64], weights: Floats) -> Floats:
    """The area under the risk–coverage curve; lower is better.

    The mean over i of the share of errors among the i most confident examples (El-Yaniv and
    Wiener 2010; Geifman and El-Yaniv 2017). Examples of equal confidence count as if their order
    were drawn.
    """
    size, wrong = _by_confidence(probabilities, gold, weights)
    rate = _ratio(wrong, size, 0.0)
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
    errors = (_ratio(wrong, size, 0.0) * taken).sum(axis=1)
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


def _covered(probabilities: Floats) -> Floats:
    """How much of each example (N,) is among the most confident that `covered_accuracy` scores."""
    sure, n = -probabilities.max(axis=1), len(probabilities)
    _, member, size = np.unique(sure, return_inverse=True, return_counts=True)
    taken = np.clip(COVERAGE * n - (np.cumsum(size) - size), 0, size)
    return np.asarray((taken / size)[member], dtype=np.float64)


_SHARES: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": lambda probabilities: np.ones(len(probabilities)),
    "covered_accuracy": _covered,
}
"""The statistics that are the share of right ones among examples, each with the weight of these."""


def _mean(values: Floats, weights: Floats) -> Floats:
    return np.asarray(weights @ values / weights.sum(axis=1), dtype=np.float64)


def _ratio(above: Floats, below: Floats, otherwise: float = math.nan) -> Floats:
    """`above` / `below`, `otherwise` where that is not positive."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), otherwise)


def right_share(probabilities: Floats, gold: NDArray[np.int64]) -> Floats:
    """How right each example (N,) is: 1/m where gold is among m classes that share the highest."""
    best = probabilities == probabilities.max(axis=1, keepdims=True)
    return np.asarray(best[np.arange(len(gold)), gold] / best.sum(axis=1), dtype=np.float64)


def even_bins(confidence: Floats) -> NDArray[np.int64]:
    """The bin of each (N,), from 0: equally many in each of `BINS`, equal ones together."""
    inner = np.quantile(confidence, np.arange(1, BINS) / BINS)
    return np.searchsorted(inner, confidence, side="left")


def _by_confidence(
    probabilities: Floats, gold: NDArray[np.int64], weights: Floats
) -> tuple[Floats, Floats]:
    """The weight and the weight of the errors at each distinct confidence, the highest first."""
    confidence = probabilities.max(axis=1)
    error = 1 - right_share(probabilities, gold)
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
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Statistics of one method, each with its interval; examples with gold −1 are not scored.

    `only` names those that are computed, by default all. InputError if shapes disagree or a scored
    example has no probabilities.
    """
    (kept,), gold, names = _scored([probabilities], gold, groups)
    anything = np.random.default_rng(seed).integers(kept.shape[1], size=len(gold))
    made = {}
    for name in only:
        statistic = partial(STATISTICS[name], kept)
        made[name] = _interval(
            partial(statistic, gold),
            names,
            _REASONS.get(name, ""),
            resamples,
            seed,
            whatever=partial(statistic, anything),
            share=(right_share(kept, gold), _SHARES[name](kept)) if name in _SHARES else None,
            biased=name == "ece",
        )
    return made


def pgr(
    method: Floats,
    zero_shot: Floats,
    golden: Floats,
    gold: NDArray[np.int64],
    groups: Sequence[Any],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The performance gap recovered: (method − zero-shot) / (golden shots − zero-shot), accuracies.

    Undefined where golden shots do no better than zero-shot, because there is no gap to recover.
    """
    kept, gold, names = _scored([method, zero_shot, golden], gold, groups)

    def recovered(weights: Floats) -> Floats:
        reached, start, end = (accuracy(p, gold, weights) for p in kept)
        return _ratio(reached - start, end - start)

    # Of the ends themselves it is 0 and 1, whatever the examples.
    own = any(np.array_equal(kept[0], end) for end in kept[1:])
    reason = "golden shots are no better than zero-shot"
    whatever = recovered if own else None
    return _interval(recovered, names, reason, resamples, seed, whatever=whatever)


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
    seed: int,
    *,
    whatever: Callable[[Floats], Floats] | None,
    share: tuple[Floats, Floats] | None = None,
    biased: bool = False,
) -> Interval:
    """The statistic of all examples and its interval, widened to hold the estimate.

    `whatever` is the statistic under another gold: where it is the same, and in all resamples, it
    is exact. `share` is what each example adds to a share, and by what weight. Of one that is
    `biased` resamples are more so: it has no interval. Resamples in which the statistic is
    undefined are left out; where they are more than what the interval leaves out anyway, there is
    no interval.
    """
    if resamples < 1:
        raise InputError(f"an interval needs one resample or more, got {resamples}")
    n = len(groups)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, "no example has gold")
    once = np.ones((1, n))
    estimate = float(statistic(once)[0])

    def without(why: str) -> Interval:
        return Interval(estimate, math.nan, math.nan, why)

    if not math.isfinite(estimate):
        return without(reason)
    if biased:
        return without("")
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return without("no interval from a single group")
    values = _resampled(statistic, codes, resamples, seed)
    alike = len(values) > 0 and bool(np.ptp(values) < _NOTHING)
    if alike and whatever is not None and abs(whatever(once)[0] - estimate) < _NOTHING:
        return Interval(estimate, estimate, estimate)
    if share is not None:
        lower, upper = share_interval(*share, codes, _LEVEL)
    elif len(names) < FEWEST_GROUPS:
        return without(f"no interval from {len(names)} groups")
    elif (missing := 1 - len(values) / resamples) > 1 - _LEVEL:
        return without(f"no interval: undefined in {missing:.0%} of the resamples, {reason}")
    elif alike:
        return without("no interval: no resample differs")
    else:
        lower, upper = _expanded(values, len(names))
    return Interval(estimate, min(lower, estimate), max(upper, estimate))


def _expanded(values: Floats, groups: int) -> tuple[float, float]:
    """The percentile interval of resampled values, expanded as so few groups need it.

    By what Student's t is wider than a normal law, and by the variance that resamples lack.
    """
    beyond = stdtrit(groups - 1, (1 + _LEVEL) / 2) * math.sqrt(groups / (groups - 1))
    lower, upper = np.quantile(values, [ndtr(-beyond), ndtr(beyond)])
    return float(lower), float(upper)


def _resampled(
    statistic: Callable[[Floats], Floats], codes: NDArray[np.int64], resamples: int, seed: int
) -> Floats:
    """The statistic where whole groups, `codes` (N,), are drawn anew; without the undefined."""
    rng, groups = np.random.default_rng(seed), int(codes.max()) + 1
    even = np.full(groups, 1 / groups)
    drawn = []
    for start in range(0, resamples, _CHUNK):
        counts = rng.multinomial(groups, even, size=min(_CHUNK, resamples - start))
        drawn.append(statistic(counts[:, codes].astype(np.float64)))
    values = np.concatenate(drawn)
    return values[np.isfinite(values)]
