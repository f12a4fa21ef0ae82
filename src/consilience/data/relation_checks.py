"""What is refused of relations: those of no examples or classes, those that tear examples apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from consilience.data.relations import Allowed, Equal, Opposite, Relation, check_readable
from consilience.errors import InputError

_PAIRS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
"""All labellings of two examples of two classes."""


def checked(
    relations: Iterable[Relation], texts: Mapping[str, str], k: int
) -> tuple[Relation, ...]:
    """Relations among examples of these `texts`, each once, in an order of their own.

    InputError for one that cannot be read back, one that does not fit, and a contradiction. A
    relation's members keep their order (Ordered, And and Or need it).
    """
    given = list(relations)
    for relation in given:
        check_readable(relation)
        for member in relation.members:
            if member not in texts:
                raise InputError(f"relation {relation.name!r} names {member}, not an example")
        if (most := max((relation.label, *chain(*_worlds(relation))))) >= k:
            raise InputError(
                f"relation {relation.name!r} speaks of class {most}, "
                f"but the task has the classes 0 … {k - 1}"
            )
    refuse_contradiction(given, texts, k)
    return tuple(sorted(set(given), key=_place))


def _worlds(relation: Relation) -> tuple[tuple[int, ...], ...]:
    """The labels that an `Allowed` lists; none of others."""
    return relation.worlds if isinstance(relation, Allowed) else ()


def _place(relation: Relation) -> tuple[object, ...]:
    """What relations are ordered by: all that one says, for a set has no order of its own."""
    said = relation.name, relation.members, relation.prior, relation.label, relation.strength
    return *said, _worlds(relation)


def refuse_contradiction(
    relations: Sequence[Relation],
    texts: Mapping[str, str],
    k: int,
    named: Iterable[str] | None = None,
) -> None:
    """InputError where two examples come out both equal and opposite, by relations so `named`."""
    if torn := contradiction(relations, k):
        one, other = (texts[id][:60] for id in torn)
        named = named or sorted({r.name for r in relations if _apart(r, k) is not None})
        raise InputError(
            f"by the relations {', '.join(named)} the texts {one!r} and {other!r} are both "
            "equal and opposite; correct their columns, or leave a relation out"
        )


def contradiction(relations: Iterable[Relation], k: int) -> tuple[str, str] | None:
    """Two examples that come out both equal and opposite; None where there are none.

    Hard relations that make all members equal, or two differ, are followed through any number of
    examples, in data of any size: with two classes, the opposite of an opposite is equal.
    """
    above: dict[str, tuple[str, int]] = {}

    def root(id: str) -> tuple[str, int]:
        """The example that stands for all that are tied to this one; 1: it is its opposite."""
        path = []
        while (up := above.get(id)) is not None:
            path.append((id, up[1]))
            id = up[0]
        turned = 0
        for below, step in reversed(path):
            turned ^= step
            above[below] = (id, turned)
        return id, turned

    hard = [
        (_apart(relation, k), relation.members) for relation in relations if relation.strength == 1
    ]
    for apart in (0, 1):
        for one, *others in (members for kind, members in hard if kind == apart):
            for other in others:
                (a, turned), (b, also) = root(one), root(other)
                if a != b and (apart == 0 or k == 2):
                    above[b] = (a, turned ^ also ^ apart)
                elif a == b and turned ^ also != apart:
                    return one, other
    return None


def _apart(relation: Relation, k: int) -> int | None:
    """0 where it makes its members equal, 1 where it makes two differ, None where neither."""
    if isinstance(relation, Equal | Opposite):
        return int(isinstance(relation, Opposite))
    if k == 2 and len(relation.members) == 2:
        held = relation.holds(_PAIRS).tolist()
        return {(True, False, False, True): 0, (False, True, True, False): 1}.get(tuple(held))
    return None
