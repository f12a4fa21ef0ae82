"""Ties: which examples stand in one relation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consilience.data.relations import Relation

_NONE: frozenset[int] = frozenset()


class Ties:
    """The relations of each example by their numbers; `index` has the position of each id.

    Two examples are tied if they have a relation in common; an example is tied to itself. A
    relation of many members costs no more than their number, not the number of their pairs.
    """

    def __init__(self, relations: Iterable[Relation], index: Mapping[str, int]) -> None:
        found: dict[int, list[int]] = {}
        for number, relation in enumerate(relations):
            for member in relation.members:
                found.setdefault(index[member], []).append(number)
        self._of = {i: frozenset(numbers) for i, numbers in found.items()}

    def of(self, example: int) -> frozenset[int]:
        """The numbers of the relations that an example stands in."""
        return self._of.get(example, _NONE)


class Reach:
    """Some examples, and all that are tied to one of them."""

    def __init__(self, ties: Ties, examples: Iterable[int] = ()) -> None:
        self._ties = ties
        self._examples: set[int] = set()
        self._relations: set[int] = set()
        for example in examples:
            self.add(example)

    def add(self, example: int) -> None:
        """One more."""
        self._examples.add(example)
        self._relations |= self._ties.of(example)

    def __contains__(self, example: int) -> bool:
        return example in self._examples or not self._relations.isdisjoint(self._ties.of(example))
