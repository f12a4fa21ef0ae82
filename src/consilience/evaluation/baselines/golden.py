"""Baselines that see gold, and the only module of the baselines that does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from consilience.data.dataset import Dataset, Gold
from consilience.errors import InputError
from consilience.evaluation.baselines.base import Baseline, BaselineContext
from consilience.evaluation.baselines.shots import with_shots


def golden_shots(bench: BaselineContext, gold: Gold) -> Baseline:
    """Shots with gold labels, drawn from the same examples: the ceiling, with as many calls.

    An example without gold has a label that says nothing, and is never shown.
    """
    truth = gold_array(bench.data, gold)
    k = bench.data.task.k
    labels = np.where(truth[:, None] < 0, 1 / k, np.eye(k)[truth])
    return with_shots(bench, "golden shots (ceiling)", lambda round: labels)


def majority(data: Dataset, gold: Gold) -> Baseline:
    """The most frequent gold label for everybody: what knowing the class balance is worth."""
    truth = gold_array(data, gold)
    share = np.bincount(truth[truth >= 0], minlength=data.task.k) / (truth >= 0).sum()
    return Baseline("majority", np.tile(share, (len(data), 1)), 0.0, 0.0)


def gold_array(dataset: Dataset, gold: Gold) -> NDArray[np.int64]:
    """The gold label of each example in the order of the ids, −1 where there is none."""
    labels = np.array([gold.labels.get(id, -1) for id in dataset.ids], dtype=np.int64)
    if (labels < 0).all():
        raise InputError(f"gold has no label for any of the {len(dataset)} examples")
    if labels.max() >= dataset.task.k:
        raise InputError(f"gold has the class {labels.max()}, the task has {dataset.task.k}")
    return labels
