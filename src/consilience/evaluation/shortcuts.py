"""Features that may predict gold without a model: structure, and the surface of the texts.

Each shortcut is a feature of every example, a function of the data set alone. An audit asks how
well a label can be guessed from one of them; whatever finds labels with a model has to do better.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from consilience.data.dataset import Dataset
from consilience.data.relations import AtMostOne, Equal, ExactlyOne
from consilience.evaluation.baselines import structure_only

Feature = NDArray[np.float64]

NEGATION = re.compile(
    # Negators, and the quasi-negatives that make a sentence negative without one.
    r"\b(?:not|no|never|none|nothing|nobody|nowhere|neither|nor|cannot|without"
    r"|hardly|scarcely|barely|rarely|seldom|few|little)\b|n['’]t\b",
    re.IGNORECASE,
)
"""A word that makes a sentence negative, in English."""


def marginals(data: Dataset) -> Feature | None:
    """What the relations alone say of each class, (N, K); None without relations."""
    return structure_only(data).labels if data.relations else None


def agreement(data: Dataset) -> Feature | None:
    """How many examples are said to have the same label as this one, itself included, (N, 1).

    "Two solutions with the same answer are right together" says nothing about which are right,
    but right answers are found more than once and wrong ones are not.
    """
    equal = [relation for relation in data.relations if isinstance(relation, Equal)]
    if not equal:
        return None
    count = np.ones((len(data), 1))
    for relation in equal:
        for member in relation.members:
            count[data.index[member]] = max(count[data.index[member], 0], len(relation.members))
    return count


def rivals(data: Dataset) -> Feature | None:
    """How many examples share a relation of which one at most is true, (N, 1)."""
    one = [r for r in data.relations if isinstance(r, AtMostOne | ExactlyOne)]
    if not one:
        return None
    count = np.zeros((len(data), 1))
    for relation in one:
        for member in relation.members:
            count[data.index[member]] += len(relation.members)
    return count


def group_size(data: Dataset) -> Feature | None:
    """How many examples the group has, (N, 1); None where all groups are of one size."""
    _, group, count = np.unique(data.groups, return_inverse=True, return_counts=True)
    return count[group][:, None].astype(float) if len(set(count.tolist())) > 1 else None


def length(data: Dataset) -> Feature:
    """The length of the text in characters, and its rank within the group, (N, 2)."""
    lengths = [len(text) for text in data.texts]
    return np.column_stack([np.array(lengths, dtype=float), ranked(data, lengths)])


def negation(data: Dataset) -> Feature:
    """How many negative words the text has, and that number's rank within the group, (N, 2)."""
    counts = [len(NEGATION.findall(text)) for text in data.texts]
    return np.column_stack([np.array(counts, dtype=float), ranked(data, counts)])


def negation_then_length(data: Dataset) -> Feature:
    """The rank within the group by whether there is a negation, then by length, (N, 1)."""
    keys = [(bool(NEGATION.search(text)), len(text)) for text in data.texts]
    return ranked(data, keys)[:, None]


def ranked(data: Dataset, keys: Sequence[object]) -> Feature:
    """The rank of each example's key within its group, 0 the lowest, 1 the highest; ½ if alone.

    Equal keys share the mean of their ranks.
    """
    members: dict[str, list[int]] = {}
    for i, group in enumerate(data.groups):
        members.setdefault(group, []).append(i)
    rank = np.full(len(data), 0.5)
    for of in members.values():
        if len(of) < 2:
            continue
        values = [keys[i] for i in of]
        for i, value in zip(of, values, strict=True):
            below = sum(other < value for other in values)  # type: ignore[operator]
            same = sum(other == value for other in values) - 1
            rank[i] = (below + same / 2) / (len(of) - 1)
    return rank


SHORTCUTS: dict[str, Callable[[Dataset], Feature | None]] = {
    "relations alone": marginals,
    "agreement: how many have the same answer": agreement,
    "rivals: how many exclude it": rivals,
    "group size": group_size,
    "length": length,
    "negation": negation,
    "negation, then length": negation_then_length,
}
"""Every shortcut by the name that tables show; None where a data set has nothing of the kind."""
