"""Scores of soft labels without intervals, as they are and calibrated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from consilience.data.dataset import Dataset
from consilience.data.random_streams import generator
from consilience.evaluation.calibration_curve import BinCount, bin_counts
from consilience.evaluation.metrics import STATISTICS
from consilience.results.calibration import calibrate
from consilience.results.landmarks import Landmarks

_LANDMARKS, DRAWS = 20, 5
"""So many examples with gold calibrate the labels of a method, drawn so many times."""

CALIBRATED = f"{_LANDMARKS} landmarks"
"""What the readout of labels so calibrated is called."""

OWN_LABELS = "its own"
"""What the labels of a method are called as it gives them."""

SCORED = ("accuracy", "auroc", "ece", "log_loss")
"""What is scored of each readout of the answers behind a row."""


def readout_scores(labels: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, float]:
    """The scores in `SCORED` of soft labels (N, K), without intervals; gold −1 is not scored."""
    kept, gold = labels[truth >= 0], truth[truth >= 0]
    once = np.ones((1, len(gold)))
    return {name: float(STATISTICS[name](kept, gold, once)[0]) for name in SCORED}


def calibrated_scores(
    labels: NDArray[np.float64], truth: NDArray[np.int64], data: Dataset, seed: int
) -> tuple[dict[str, float], tuple[BinCount, ...]]:
    """The scores in `SCORED` of soft labels (N, K) that landmarks have calibrated, on the others.

    Means over draws of the landmarks, and the `bin_counts` of all draws; landmarks of one class
    alone leave the labels as they are. Empty where fewer examples have gold than twice the
    landmarks.
    """
    there = np.flatnonzero(truth >= 0)
    if len(there) < 2 * _LANDMARKS:
        return {}, ()
    rng, found = generator(seed, "benchmark.landmarks"), []
    counts: list[BinCount] = []
    for _ in range(DRAWS):
        at = np.sort(rng.choice(there, size=_LANDMARKS, replace=False))
        vouched = Landmarks(
            tuple(data.ids[i] for i in at), tuple(at.tolist()), tuple(truth[at].tolist())
        )
        method = "auto" if len(set(vouched.classes)) > 1 else "none"
        others = np.setdiff1d(there, at)
        made = calibrate(labels, vouched, method, seed=seed).labels
        found.append(readout_scores(made[others], truth[others]))
        counts += bin_counts(made[others], truth[others])
    means = {name: float(np.mean([scores[name] for scores in found])) for name in SCORED}
    return means, tuple(counts)
