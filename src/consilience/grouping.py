"""Embeddings to groups: an order of the examples in which neighbours stand together.

Groups are the leaves of a random-projection tree (Dasgupta & Freund 2008, "Random projection
trees and low dimensional manifolds"). A tree is drawn anew in each round, so that over the rounds
the groups overlap. Cost is O(N log N), without a table of all pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from consilience.errors import InputError


def neighbour_groups(
    vectors: NDArray[np.float64], size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Groups of at most `size` rows of `vectors`, so ordered that neighbouring groups are similar.

    Each cell is split where the tree needs it, along the line through two of its rows drawn at
    random; rows that project to the same point are parted at random.
    """
    if size < 1:
        raise InputError(f"a group needs at least one example, got a size of {size}")
    cells = [np.arange(len(vectors), dtype=np.int64)]
    leaves: list[NDArray[np.int64]] = []
    while cells:
        cell = cells.pop()
        if len(cell) <= size:
            leaves.append(cell)
            continue
        one, two = rng.choice(cell, size=2, replace=False)
        along = vectors[cell] @ (vectors[two] - vectors[one])
        ranked = cell[np.lexsort((rng.random(len(cell)), along))]
        # Cut at a multiple of the size, so that the leaves are full and not half full.
        cut = (-(-len(cell) // size) // 2) * size
        # The upper half first: a stack then yields the leaves from left to right.
        cells += [ranked[cut:], ranked[:cut]]
    return leaves
