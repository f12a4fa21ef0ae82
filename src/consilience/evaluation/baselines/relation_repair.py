"""Broken relations among examples that are partly labelled, and the labels that would mend them.

Labels are −1 where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

import numpy as np

from consilience.data.arrays import Integers
from consilience.data.relations import Allowed, Relation


class Consistency:
    """The relations of a data set, by number, over labels (N,) of which some may be missing."""

    def __init__(self, relations: Sequence[Relation], index: Mapping[str, int], k: int) -> None:
        self.relations = relations
        self.k = k
        self.members = [np.array([index[id] for id in r.members]) for r in relations]
        self._known: dict[tuple[int, bytes], bool] = {}
        self._component: dict[int, list[int]] = {}
        for r, members in enumerate(self.members):
            joined = {id(c): c for m in members.tolist() if (c := self._component.get(m))}
            whole = sorted({r, *(o for c in joined.values() for o in c)})
            for o in whole:
                self._component |= dict.fromkeys(self.members[o].tolist(), whole)

    def near(self, i: int) -> list[int]:
        """The relations that tie an example to others, and these to others again."""
        return self._component.get(i, [])

    def broken(self, r: int, labels: Integers) -> bool:
        """Whether relation `r` is broken whatever labels those without one are given."""
        mine = labels[self.members[r]]
        key = r, mine.tobytes()
        if key not in self._known:
            self._known[key] = not self._possible(r, mine)
        return self._known[key]

    def options(self, r: int, labels: Integers) -> Iterator[Integers]:
        """The labels with one or two of the members of `r` that have one changed, `r` kept."""
        at = self.members[r][labels[self.members[r]] >= 0].tolist()
        for count in (1, 2):
            for chosen in combinations(at, count):
                others = [[c for c in range(self.k) if c != labels[i]] for i in chosen]
                for made in product(*others):
                    option = labels.copy()
                    option[list(chosen)] = made
                    if not self.broken(r, option):
                        yield option

    def _possible(self, r: int, mine: Integers) -> bool:
        """Whether some labels for those without one keep the relation.

        It is enough to try all alike and all but one alike: no relation that lists no worlds asks
        for more than one exception.
        """
        free = np.flatnonzero(mine < 0)
        relation = self.relations[r]
        if isinstance(relation, Allowed):
            listed = np.array(relation.worlds)
            return bool(((listed == mine) | (mine < 0)).all(axis=1).any())
        if not len(free):
            return bool(relation.holds(mine[None])[0])
        worlds = []
        for c in range(self.k):
            alike = mine.copy()
            alike[free] = c
            worlds.append(alike)
            for i, other in product(free.tolist(), range(self.k)):
                worlds.append(alike.copy())
                worlds[-1][i] = other
        return bool(relation.holds(np.array(worlds)).any())
