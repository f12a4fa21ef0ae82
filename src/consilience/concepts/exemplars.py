"""Typical examples of each class of a labelling: sure ones that differ from each other.

Two lists are made, from groups that have nothing in common: examples to be shown, and examples
held back, by which what was made of the first can be checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consilience.data.dataset import Dataset
from consilience.data.random_streams import generator
from consilience.errors import InputError
from consilience.planning.embeddings import TfidfSvd

_SURE = 3
"""From how many times as many of the surest examples the ones unlike each other are chosen."""


@dataclass(frozen=True, slots=True)
class Typical:
    """The typical examples of each class that a labelling uses, by their places in the data set.

    `classes` are those classes; `shown` and `held` have one list for each, in the same order.
    """

    classes: tuple[int, ...]
    shown: tuple[tuple[int, ...], ...]
    held: tuple[tuple[int, ...], ...]


def typical(
    dataset: Dataset, labels: NDArray[np.float64], *, shown: int, held: int, seed: int = 0
) -> Typical:
    """So many examples of each class of soft `labels` (N, K), `held` of them held back in all.

    Fewer where there are no more. The groups are dealt out by the seed, one half to each list.
    InputError where all examples have one label.
    """
    if labels.shape != (len(dataset), dataset.task.k):
        raise InputError(
            f"{len(dataset)} examples of {dataset.task.k} classes need labels of the shape "
            f"({len(dataset)}, {dataset.task.k}), got {labels.shape}"
        )
    hard = labels.argmax(axis=1)
    # Rounded, so that of examples equally sure the first by id is taken on every machine.
    order = np.argsort(-np.round(labels.max(axis=1), 6), kind="stable")
    classes = tuple(np.unique(hard).tolist())
    if len(classes) < 2:
        name = dataset.task.classes[classes[0]]
        raise InputError(f"all {len(dataset)} examples are labelled {name!r}: nothing to compare")
    members = [[int(i) for i in order if hard[i] == c] for c in classes]
    groups = dataset.groups
    apart = _held_back(groups, members, seed) if held else set()
    each = [held // len(classes) + (c < held % len(classes)) for c in range(len(classes))]
    return Typical(
        classes,
        tuple(
            _unlike(dataset, [i for i in own if groups[i] not in apart], shown) for own in members
        ),
        tuple(
            _unlike(dataset, [i for i in own if groups[i] in apart], n)
            for own, n in zip(members, each, strict=True)
        ),
    )


def _held_back(groups: Sequence[str], members: Sequence[Sequence[int]], seed: int) -> set[str]:
    """Half of the groups, by the seed, so that each class has `members` outside of them."""
    names = sorted(set(groups))
    dealt = generator(seed, "exemplars").permutation(len(names))[: len(names) // 2]
    apart = {names[g] for g in dealt}
    for own in members:
        if all(groups[i] in apart for i in own):
            apart.discard(groups[own[0]])
    return apart


def _unlike(dataset: Dataset, surest: Sequence[int], count: int) -> tuple[int, ...]:
    """So many of the surest, the first and then always the one that is least like those chosen."""
    pool = list(surest[: _SURE * count])
    if len(pool) <= count:
        return tuple(pool)
    vectors = TfidfSvd().embed([dataset.texts[i] for i in pool])
    chosen = [0]
    near = np.round(vectors @ vectors[0], 9)
    while len(chosen) < count:
        near[chosen] = np.inf
        chosen.append(int(near.argmin()))
        near = np.maximum(near, np.round(vectors @ vectors[chosen[-1]], 9))
    return tuple(pool[i] for i in chosen)
