"""The examples that are nearest to each other, by the cosine of their vectors.

Among a few thousand all are compared. A larger set is cut into leaves, each a few hundred that lie
on one side of all cuts, several times over with other cuts; who is near shares a leaf with most of
those nearest to it in at least one of the trees, and time grows as the number of examples does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from consilience.data.random_streams import generator
from consilience.planning.embeddings import Vectors
from consilience.planning.ties import Ties

ALL_COMPARED = 2048
"""So many examples, or fewer, are all compared with each other."""

LEAF = 512
"""A leaf has at most so many examples."""

TREES = 6
"""So many times a large set is cut; the share of nearest neighbours found is measured in tests."""

Pair = tuple[int, int]
"""Two examples by position, the smaller first."""


def near_pairs(vectors: Vectors, members: Sequence[int], count: int, ties: Ties) -> Iterator[Pair]:
    """Each of `members` with the `count` others nearest to it that it is not tied to.

    A pair comes again where each of the two is near the other. Of mates equally near the first by
    position is taken, on every machine: cosines are rounded.
    """
    places = np.asarray(members, dtype=np.int64)
    own = vectors[places]
    if len(places) <= ALL_COMPARED:
        found = _among(own, places, count, ties)
    else:
        parts = [
            _among(own[leaf], places[leaf], count, ties)
            for tree in range(TREES)
            for leaf in _leaves(own, generator(0, "neighbours", tree))
        ]
        found = _best(np.concatenate(parts), count)
    for one, other, _ in found.tolist():
        yield min(int(one), int(other)), max(int(one), int(other))


def _among(
    vectors: Vectors, places: NDArray[np.int64], count: int, ties: Ties
) -> NDArray[np.float64]:
    """Each of some examples with its nearest mates among them: rows of two places and a cosine."""
    near = np.round(vectors @ vectors.T, 9)
    np.fill_diagonal(near, -np.inf)
    columns: dict[int, list[int]] = {}
    for column, place in enumerate(places.tolist()):
        for relation in ties.of(place):
            columns.setdefault(relation, []).append(column)
    for tied in columns.values():
        near[np.ix_(tied, tied)] = -np.inf
    rows = np.arange(len(places))
    found = []
    for _ in range(min(count, len(places) - 1)):
        best = near.argmax(axis=1)
        cosine = near[rows, best]
        near[rows, best] = -np.inf
        free = cosine > -np.inf
        found.append(np.stack([places[rows], places[best], cosine], axis=1)[free])
    return np.concatenate(found) if found else np.empty((0, 3))


def _leaves(vectors: Vectors, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The rows in leaves, cut in halves across the line between two that are drawn."""
    waiting = [np.arange(len(vectors))]
    while waiting:
        part = waiting.pop()
        if len(part) <= LEAF:
            yield part
            continue
        one, other = rng.choice(part, size=2, replace=False)
        along = vectors[part] @ (vectors[one] - vectors[other])
        order = np.argpartition(along, len(part) // 2)
        waiting += [np.sort(part[half]) for half in np.array_split(order, 2)]


def _best(found: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Of the mates found for each example in several trees the nearest, each once."""
    found = found[np.lexsort((found[:, 1], -found[:, 2], found[:, 0]))]
    again = (np.diff(found[:, :2], axis=0, prepend=-1) == 0).all(axis=1)
    found = found[~again]
    first = np.flatnonzero(np.diff(found[:, 0], prepend=-1))
    sizes = np.diff(np.append(first, len(found)))
    rank = np.arange(len(found)) - np.repeat(first, sizes)
    return found[rank < count]
