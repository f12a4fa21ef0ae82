"""A share or an accuracy with an interval, from a few labels bought and the labels found for all.

Prediction-powered inference (Angelopoulos et al. 2023, 2301.09633) with power tuning (PPI++,
Angelopoulos, Duchi and Zrnic 2023, 2311.01453): landmarks drawn at random say by how much the
labels found are off on average, and that is taken off what they say of the whole table. The labels
found may be as wrong as they like: the interval is wider then, at most as wide as that from the
landmarks alone.

Intervals are for the rows of this table, of which the landmarks are a part. With few landmarks and
good labels there may be no error among them, and a standard error of 0; so, as Agresti and Coull
(1998) do for a share, z² imagined rows are added, in which each outcome was foretold as well as its
contrary: as much of what is as of what is not, under the highest prediction and under the lowest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from consilience.errors import InputError
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PoweredEstimate:
    """A share of rows with its interval, and the interval from the landmarks alone, for comparison.

    All are shares from 0 to 1. `weight` is how far the labels found are trusted (λ of PPI++, 0: not
    at all), `landmarks` how many texts were labelled.
    """

    value: float
    low: float
    high: float
    alone_low: float
    alone_high: float
    weight: float
    landmarks: int

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain data."""
        return asdict(self)


def estimates(
    found: Found, landmarks: object, *, level: float = 0.95
) -> dict[str, PoweredEstimate]:
    """The accuracy of the labels found, and the share of each class, by name.

    `landmarks` are rows drawn at random, before anybody looked at their labels, each text as likely
    as any other, whatever the number of its rows; `level` is how often the interval holds the
    truth. Rows that were corrected are known: their share is exact, and landmarks among them say
    nothing of the others. InputError where the labels were calibrated, which has used the
    landmarks, or where fewer than two are left.
    """
    if found.calibration is not None:
        raise InputError(
            "these labels were calibrated by landmarks; estimate from the labels as solved"
        )
    vouched = Landmarks.of(landmarks, found.dataset).without(found.corrections)
    if len(vouched) < 2:
        raise InputError(
            f"an interval needs two landmarks or more, got {len(vouched)}; "
            "draw them with `consilience landmarks`"
        )
    labels = found.soft_labels
    hard, at, truth = found.hard_labels, np.array(vouched.at), np.array(vouched.classes)
    free = np.array([id not in found.corrections for id in found.dataset.ids], dtype=bool)
    known, rows = ~free, np.array(found.dataset.repeats, dtype=float)

    def made(seen: Numbers, foretold: Numbers, certain: Numbers) -> PoweredEstimate:
        inner = prediction_powered(
            seen, foretold[at], foretold[free], level=level, rows=(rows[at], rows[free])
        )
        return _within(inner, float(certain @ rows[known]), rows[free].sum(), rows.sum())

    right = (truth == hard[at]).astype(float)
    accuracy = made(right, labels[np.arange(len(labels)), hard], np.ones(int(known.sum())))
    shares = {
        f"share of {name}": made(
            (truth == c).astype(float), labels[:, c], (hard[known] == c).astype(float)
        )
        for c, name in enumerate(found.dataset.task.classes)
    }
    return {"accuracy": accuracy, **shares}


def prediction_powered(
    seen: Numbers,
    foretold: Numbers,
    everywhere: Numbers,
    *,
    level: float = 0.95,
    rows: tuple[Numbers, Numbers] | None = None,
) -> PoweredEstimate:
    """The mean over the rows of N texts of what is 0 or 1, from n of these drawn at random.

    `seen` (n,): what they are; `foretold` (n,): what was predicted of them; `everywhere` (N,): what
    was predicted of all, these among them; `rows`: how many rows have the texts drawn (n,), and all
    texts (N,), None for one each. The estimate is λ mean(everywhere) + mean(seen − λ foretold); λ
    is what makes the interval narrowest, 0 where nothing does.
    """
    n, z = len(seen), float(ndtri((1 + level) / 2))
    ends = everywhere.min(), everywhere.max()
    outcome = np.concatenate([seen, [0.0, 1.0, 0.0, 1.0]])
    guess = np.concatenate([foretold, np.repeat(ends, 2)])
    left_out = max(0.0, 1 - n / len(everywhere))
    own, every = (np.ones(n), np.ones(len(everywhere))) if rows is None else rows
    size = own / own.mean()
    # Of rows that are all known nothing is left to imagine; of texts of unequal size fewer tell.
    imagined = left_out * float((size**2).mean()) * z * z / 4
    weight = np.concatenate([np.ones(n), np.full(4, imagined)])
    drawn = sqrt(left_out)
    size = np.concatenate([size, np.ones(4)])

    def mean(values: Numbers) -> float:
        return float(np.average(values, weights=weight * size))

    def interval(trust: float) -> tuple[float, float, float]:
        left, error = _ratio_mean(outcome - trust * guess, size, weight)
        middle = left + trust * float(np.average(everywhere, weights=every))
        half = z * drawn * error
        low, high = max(middle - half, 0.0), min(middle + half, 1.0)
        return min(max(middle, low), high), low, high

    # At the best λ by least squares the error is the least.
    spread = mean(size * (guess - mean(guess)) ** 2)
    both = mean(size * (guess - mean(guess)) * (outcome - mean(outcome)))
    trust = max(both / spread, 0.0) if spread > 0 else 0.0
    alone, made = interval(0.0), interval(trust)
    if made[2] - made[1] > alone[2] - alone[1]:
        # Ends that are cut off at 0 or 1 may have made the other one the narrower.
        made, trust = alone, 0.0
    return PoweredEstimate(*made, *alone[1:], weight=trust, landmarks=n)


def share_interval(
    right: Numbers, counted: Numbers, group: NDArray[np.int64], level: float
) -> tuple[float, float]:
    """The interval of the share of rows (N,) that are right, those of a group right together.

    `right` (N,) is 0 to 1, `counted` how much each row counts, `group` the number of its group. As
    above, rows are imagined: z² groups, half of them right, which count as groups that were seen.
    They are as large as the design effect, by which grouping widens the variance: 1 where rows of a
    group have nothing in common, a group's mean size where all are alike.
    """
    size = np.bincount(group, counted)
    there = size > 0
    size, hits = size[there], np.bincount(group, right * counted)[there]
    imagined = float(ndtri((1 + level) / 2)) ** 2
    outcome = np.concatenate([hits / size, [0.0, 1.0]])
    weight = np.concatenate([np.ones(len(size)), np.full(2, imagined / 2)])
    groups = len(size) + imagined

    def variance(effect: float) -> tuple[float, float]:
        middle, error = _ratio_mean(outcome, np.append(size, [effect, effect]), weight)
        return middle, error**2 * groups / (groups - 1)

    most = float((size**2).sum() / size.sum())
    middle, wide = variance(most)
    effect = wide * (size.sum() + imagined * most) / (middle * (1 - middle))
    middle, narrow = variance(min(max(effect, 1.0), most))
    half = float(stdtrit(groups - 1, (1 + level) / 2)) * sqrt(narrow)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _ratio_mean(values: Numbers, sizes: Numbers, weights: Numbers) -> tuple[float, float]:
    """The mean over groups, each by its size, and its standard error (Hájek 1971)."""
    counted = weights * sizes
    total = float(counted.sum())
    mean = float(counted @ values) / total
    return mean, sqrt(float(counted * sizes @ (values - mean) ** 2)) / total


def _within(inner: PoweredEstimate, certain: float, free: float, count: float) -> PoweredEstimate:
    """The estimate for all `count` rows, of which `free` are estimated, the rest being known."""

    def whole(share: float) -> float:
        return (certain + share * free) / count

    return PoweredEstimate(
        value=whole(inner.value),
        low=whole(inner.low),
        high=whole(inner.high),
        alone_low=whole(inner.alone_low),
        alone_high=whole(inner.alone_high),
        weight=inner.weight,
        landmarks=inner.landmarks,
    )
