"""How far the probabilities of labels can be trusted, told by landmarks: temperature and Platt.

With 5 to 20 landmarks a scaling can be as wrong as what it corrects, so it is held back: the
labels as solved count as observations beside the landmarks, and every way is scored on landmarks
that it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from consilience.data.arrays import Floats
from consilience.errors import InputError
from consilience.results.landmarks import Landmarks

Whole = NDArray[np.int64]

FEWEST = 5
"""Fewer landmarks than these calibrate nothing; one is enough to say which way round."""

WORTH = 5.0
"""The labels as solved are observations too, worth so many landmarks in all.

With 20 landmarks the calibration error of 9 runs on a pretrained model is .083, .088 where the
labels are worth 10 of them, .098 where they are worth 20; with 5 landmarks .114, .118, .123.
"""

_FOLDS = 10
"""Each scaling is scored on landmarks that it was not fitted to, in so many parts at most."""

LIMIT = 10.0
"""Log-odds are multiplied or divided by no more: labels that stay unsure are not made sure."""

_TINY = 1e-9
"""No solved probability counts as smaller: a few landmarks cannot vouch for more."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibrated labels (N, K), how they were made, and how well that predicts landmarks.

    `parameters`: the ``temperature``, or the ``slope`` and ``shift`` of the log-odds of each
    class (of class 1, where there are two). `scores`: the cross-validated log loss of each
    method, in nats per landmark, lower is better.
    """

    labels: Floats
    method: str
    parameters: dict[str, tuple[float, ...]]
    scores: dict[str, float]
    landmarks: Landmarks
    sentence: str


class Scaling(NamedTuple):
    """A fitted function from labels (N, K) to labels, and its parameters by name."""

    apply: Callable[[Floats], Floats]
    parameters: dict[str, tuple[float, ...]]


def check_enough(landmarks: Landmarks, method: str = "auto") -> None:
    """Nothing, or the InputError if there are too few landmarks for a way to calibrate."""
    if method not in METHODS:
        raise InputError(f"no way {method!r} to calibrate; the ways are: {', '.join(METHODS)}")
    if method == "none":
        return
    instead = "or calibrate by `none`, which settles only which way round the labels are"
    if len(landmarks) < FEWEST:
        raise InputError(
            f"calibration needs {FEWEST} landmarks or more, got {len(landmarks)}; give more, "
            f"{instead}"
        )
    if len(set(landmarks.classes)) < 2:
        raise InputError(
            f"calibration needs landmarks of two classes or more, all {len(landmarks)} have one; "
            f"give some of another, {instead}"
        )


def calibrate(
    labels: Floats, landmarks: Landmarks, method: str = "auto", seed: int = 0
) -> Calibration:
    """Soft labels (N, K) whose probabilities are as good as the landmarks can make them.

    ``temperature``: q_i(k)^(1/T), normalised; never changes which class is the most probable.
    ``platt``: the log-odds of each class times a slope plus a shift, normalised over classes,
    which can (Platt 1999). ``none``: as solved. ``auto``: temperature, unless another way has
    lower log loss on landmarks that it was not fitted to, by two standard errors of the
    difference. `seed` decides which landmarks are held out together.

    Landmarks that are all right would make the labels hard. So the labels as solved count as
    observations beside them, in all worth WORTH landmarks, and with few landmarks little changes.
    InputError where the landmarks are too few, or of one class.
    """
    check_enough(landmarks, method)
    at, classes = np.array(landmarks.at), np.array(landmarks.classes)
    if method == "none":
        return Calibration(labels.copy(), "none", {}, {}, landmarks, "uncalibrated")
    losses = {name: _held_out(fit, labels, at, classes, seed) for name, fit in SCALINGS.items()}
    scores = {name: float(loss.mean()) for name, loss in losses.items()}
    chosen = _chosen(losses) if method == "auto" else method
    scaling = SCALINGS[chosen](labels, at, classes)
    numbers = {name: "/".join(f"{v:.2f}" for v in of) for name, of in scaling.parameters.items()}
    by = ", ".join(f"{name} {value}" for name, value in numbers.items())
    how = {
        "temperature": f"calibrated by {by}",
        "platt": f"calibrated by Platt scaling ({by})",
        "none": "left as solved, no scaling did better",
    }
    sentence = (
        f"{how[chosen]} on {len(landmarks)} landmarks (cross-validated log loss "
        f"{scores[chosen]:.3f}, as solved {scores['none']:.3f})"
    )
    made = scaling.apply(labels)
    return Calibration(made, chosen, scaling.parameters, scores, landmarks, sentence)


def rescaled(calibration: Calibration, labels: Floats) -> Floats:
    """Other soft labels (M, K) scaled as those were that the calibration was made for."""
    of = calibration.parameters
    if "temperature" in of:
        return _by_power(labels, 1 / of["temperature"][0])
    return _by_lines(labels, of["slope"], of["shift"]) if "slope" in of else labels


def _chosen(losses: Mapping[str, Floats]) -> str:
    """Temperature, unless another way is ahead by more than two standard errors."""

    def ahead(name: str) -> float:
        gain = losses["temperature"] - losses[name]
        return float(gain.mean() - 2 * gain.std(ddof=1) / len(gain) ** 0.5)

    best = max(("none", "platt"), key=ahead)
    return best if ahead(best) > 0 else "temperature"


def _held_out(
    fit: Callable[[Floats, Whole, Whole], Scaling],
    labels: Floats,
    at: Whole,
    classes: Whole,
    seed: int,
) -> Floats:
    """The log loss of each landmark (L,), in nats, under the scaling fitted without it."""
    losses = np.zeros(len(at))
    parts = KFold(min(_FOLDS, len(at)), shuffle=True, random_state=seed)
    for kept, held in parts.split(at):
        made = fit(labels, at[kept], classes[kept]).apply(labels[at[held]])
        losses[held] = -np.log(np.maximum(made[np.arange(len(held)), classes[held]], _TINY))
    return losses


def _observed(labels: Floats, at: Whole, classes: Whole) -> tuple[Floats, Whole, Floats]:
    """Probabilities, classes and weights: the landmarks, and the labels as solved beside them."""
    n, k = labels.shape
    q = _kept_off_the_ends(labels)
    return (
        np.concatenate([np.repeat(q, k, axis=0), q[at]]),
        np.concatenate([np.tile(np.arange(k), n), classes]),
        np.concatenate([q.ravel() * WORTH / n, np.ones(len(at))]),
    )


def _kept_off_the_ends(labels: Floats) -> Floats:
    return np.asarray((labels + _TINY) / (labels + _TINY).sum(axis=1, keepdims=True))


class _AsSolved(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The labels as solved in the shape of a fitted classifier: what goes in comes out."""

    def fit(self, x: Floats, y: Whole, sample_weight: Floats | None = None) -> _AsSolved:
        """Nothing is learned here."""
        self.classes_ = np.arange(x.shape[1])
        return self

    def predict(self, x: Floats) -> Whole:
        """The most probable class."""
        return np.asarray(x.argmax(axis=1))

    def predict_proba(self, x: Floats) -> Floats:
        """The labels as solved."""
        return x


def _temperature(labels: Floats, at: Whole, classes: Whole) -> Scaling:
    q, y, weight = _observed(labels, at, classes)
    scaler = CalibratedClassifierCV(_AsSolved(), method="temperature", ensemble=False)
    scaler.fit(q, y, sample_weight=weight)
    beta = float(scaler.calibrated_classifiers_[0].calibrators[0].beta_)
    power = min(max(beta, 1 / LIMIT), LIMIT)

    return Scaling(partial(_by_power, power=power), {"temperature": (1 / power,)})


def _by_power(labels: Floats, power: float) -> Floats:
    return np.asarray(softmax(power * np.log(_kept_off_the_ends(labels)), axis=1))


def _platt(labels: Floats, at: Whole, classes: Whole) -> Scaling:
    q, y, weight = _observed(labels, at, classes)
    k = labels.shape[1]
    scaled = range(1 if k == 2 else 0, k)
    lines = [_line(_log_odds(q[:, c]), y == c, weight) for c in scaled]
    slope, shift = (tuple(of) for of in zip(*lines, strict=True))
    made = partial(_by_lines, slope=slope, shift=shift)
    return Scaling(made, {"slope": slope, "shift": shift})


def _by_lines(labels: Floats, slope: Sequence[float], shift: Sequence[float]) -> Floats:
    first = labels.shape[1] - len(slope)
    odds = _log_odds(_kept_off_the_ends(labels)[:, first:])
    each = expit(np.array(slope) * odds + np.array(shift))
    if first:
        return np.concatenate([1 - each, each], axis=1)
    return np.asarray(each / each.sum(axis=1, keepdims=True))


def _line(odds: Floats, positive: NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """Slope and shift of the log-odds; a slope below 0 would turn the labels round, so none is."""
    line = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    line.fit(odds[:, None], positive, sample_weight=weight)
    free, shift = float(line.coef_[0, 0]), float(line.intercept_[0])
    slope = min(max(free, 0.0), LIMIT)
    if slope != free:
        # The best shift for a given slope gives the class the weight that it was seen to have.
        def missing(shift: float) -> float:
            return float(weight @ (positive - expit(slope * odds + shift)))

        bound = LIMIT * float(np.abs(odds).max()) + 50
        shift = float(brentq(missing, -bound, bound))
    return slope, shift


def _log_odds(p: Floats) -> Floats:
    return np.asarray(np.log(p) - np.log1p(-p))


def _as_solved(labels: Floats, at: Whole, classes: Whole) -> Scaling:
    return Scaling(lambda labels: labels.copy(), {})


SCALINGS = {"temperature": _temperature, "platt": _platt, "none": _as_solved}
"""The ways to scale, by name: labels, and the positions and classes of landmarks → `Scaling`."""

METHODS = ("auto", *SCALINGS)
"""What `calibrate` can be asked for."""
