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

LEAF = 400
"""A leaf has at most so many examples, and hardly fewer: what is done in it is their square."""

TREES = 6
"""So many times a large set is cut; the share of nearest neighbours found is measured in tests."""

COARSE = 2**14
"""Parts of more than so many examples are cut along lines that are the same for all of them.

Then all places along them are one product of matrices, and each further doubling of the examples
costs one number for each, not a vector."""

Pair = tuple[int, int]
"""Two examples by position, the smaller first."""

_Neighbours = tuple[NDArray[np.int64], NDArray[np.float64]]
"""The nearest neighbours of some examples, by place, and their cosines, (n, count); −∞ for none."""


def near_pairs(vectors: Vectors, members: Sequence[int], count: int, ties: Ties) -> Iterator[Pair]:
    """Each of `members` with the `count` others nearest to it that it is not tied to.

    A pair comes again where each of the two is near the other. Of equally near ones the first by
    position is taken, on every machine: cosines are rounded.
    """
    places = np.asarray(members, dtype=np.int64)
    own = vectors[places]
    count = min(count, len(places) - 1)
    if len(places) <= ALL_COMPARED:
        neighbours, cosines = _among(own, places, count, ties)
    else:
        neighbours = np.full((len(places), count), -1, dtype=np.int64)
        cosines = np.full((len(places), count), -np.inf)
        for tree in range(TREES):
            for leaf in _leaves(own, generator(0, "neighbours", tree)):
                found = _among(own[leaf], places[leaf], count, ties)
                neighbours[leaf], cosines[leaf] = _nearest((neighbours[leaf], cosines[leaf]), found)
    rows, ranks = np.nonzero(cosines > -np.inf)
    for one, other in zip(places[rows].tolist(), neighbours[rows, ranks].tolist(), strict=True):
        yield min(one, other), max(one, other)


def _among(vectors: Vectors, places: NDArray[np.int64], count: int, ties: Ties) -> _Neighbours:
    """Each of some examples with its nearest neighbours among them."""
    near = np.round(vectors @ vectors.T, 9)
    np.fill_diagonal(near, -np.inf)
    columns: dict[int, list[int]] = {}
    for column, place in enumerate(places.tolist()):
        for relation in ties.of(place):
            columns.setdefault(relation, []).append(column)
    for tied in columns.values():
        near[np.ix_(tied, tied)] = -np.inf
    rows = np.arange(len(places))
    neighbours = np.full((len(places), count), -1, dtype=np.int64)
    cosines = np.full((len(places), count), -np.inf)
    for rank in range(min(count, len(places) - 1)):
        best = near.argmax(axis=1)
        neighbours[:, rank], cosines[:, rank] = places[best], near[rows, best]
        near[rows, best] = -np.inf
    return neighbours, cosines


def _leaves(vectors: Vectors, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The rows in leaves as large as each other, cut across lines between two that are drawn."""
    n = len(vectors)
    cuts = max(0, int(np.ceil(np.log2(n / COARSE))))
    drawn = [rng.choice(n, size=2, replace=False) for _ in range(cuts)]
    lines = np.array([vectors[one] - vectors[other] for one, other in drawn])
    # A line's places lie together, for they are looked up in no order.
    far = np.ascontiguousarray((vectors @ lines.T).T) if cuts else vectors[:0]
    waiting = [(np.arange(n), -(-n // LEAF), 0)]
    while waiting:
        part, leaves, depth = waiting.pop()
        if leaves == 1:
            yield part
            continue
        if depth < cuts:
            along = far[depth][part]
        else:
            one, other = rng.choice(part, size=2, replace=False)
            along = vectors[part] @ (vectors[one] - vectors[other])
        less = leaves // 2
        cut = len(part) * less // leaves
        low = np.zeros(len(part), dtype=np.bool_)
        low[np.argpartition(along, cut)[:cut]] = True
        waiting += [(part[low], less, depth + 1), (part[~low], leaves - less, depth + 1)]


def _nearest(some: _Neighbours, others: _Neighbours) -> _Neighbours:
    """Of two lists of neighbours for each of the same examples the nearest, each neighbour once."""
    count = some[0].shape[1]
    neighbours, cosines = (np.concatenate(two, axis=1) for two in zip(some, others, strict=True))
    neighbours, cosines = _sorted(neighbours, cosines)
    again = neighbours[:, 1:] == neighbours[:, :-1]
    cosines[:, 1:][again] = -np.inf
    neighbours, cosines = _sorted(neighbours, cosines)
    return neighbours[:, :count], cosines[:, :count]


def _sorted(neighbours: NDArray[np.int64], cosines: NDArray[np.float64]) -> _Neighbours:
    """Each row of neighbours, the nearest first, and the first by place where two are as near."""
    order = np.lexsort((neighbours, -cosines), axis=1)
    return np.take_along_axis(neighbours, order, axis=1), np.take_along_axis(cosines, order, axis=1)
