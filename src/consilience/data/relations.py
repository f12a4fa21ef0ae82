"""Logical statements about the labels of a few examples, declared by the data set, never by gold.

A relation names its members by id and says which label combinations are possible. `prior=False`
means a logical fact ("two different final answers are not both right"); `prior=True` a design
prior ("the authors put exactly one true claim into each question"). A relation of a `strength`
below 1 is soft: it holds with that probability, and else says nothing. Nothing here has an
argument that could carry labels of a data set: relations are functions of ids and of declared
structure. What none of the named ones says is an `Allowed`: a store reads back no other class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from consilience.errors import InputError, check_kind

_PLAIN = (bool, int, float, tuple)
"""What prior, label, strength and members are, once they were checked."""

_Labels = NDArray[np.int64]
"""Candidate labellings, shape (worlds, members)."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A set of possible label combinations for `members`; use one of the subclasses.

    `label` is the class that the relation counts or speaks of (1, "true", by default), `strength`
    the probability that the relation holds (1: a hard statement).
    """

    members: tuple[str, ...]
    _: KW_ONLY
    prior: bool = False
    label: int = 1
    strength: float = 1.0

    name: ClassVar[str] = ""
    size: ClassVar[tuple[int, int | None]] = (2, None)

    def __post_init__(self) -> None:
        given = self.prior, self.label, self.strength, self.members
        # There may be a million of them, and most are plain already.
        if tuple(map(type, given)) != _PLAIN or {*map(type, self.members)} != {str}:
            self._as_plain_kinds()
        low, high = self.size
        n = len(self.members)
        if n < low or (high is not None and n > high):
            wanted = f"{low}" if high == low else f"at least {low}"
            raise InputError(f"relation {self.name!r} needs {wanted} members, got {n}")
        if len(set(self.members)) != n:
            raise InputError(f"relation {self.name!r} names a member twice: {self.members}")
        if self.label < 0:
            raise InputError(
                f"the class of relation {self.name!r} is its number, from 0; got {self.label}"
            )
        if not 0 < self.strength <= 1:
            raise InputError(
                f"relation {self.name!r} has the strength {self.strength}; it must be a "
                "probability above 0 and at most 1, the strength of a hard statement"
            )

    def _as_plain_kinds(self) -> None:
        """Makes lists tuples and numbers of NumPy Python's; InputError for other kinds."""
        members, label, strength = self.members, self.label, self.strength
        if isinstance(members, str) or not isinstance(members, Iterable):
            check_kind(members, (), f"the members of relation {self.name!r} are a tuple of ids")
        members = tuple(members)
        for member in members:
            check_kind(member, str, f"each member of relation {self.name!r} is an id, a text")
        check_kind(
            self.prior, (bool, np.bool_), f"whether relation {self.name!r} is a prior is a bool"
        )
        check_kind(label, Integral, f"the class of relation {self.name!r} is its number, from 0")
        check_kind(strength, Real, f"the strength of relation {self.name!r} is a number")
        kinds = {
            "members": members,
            "prior": bool(self.prior),
            "label": int(label),
            "strength": float(strength),
        }
        for name, value in kinds.items():
            object.__setattr__(self, name, value)

    def speaks_of(self, k: int) -> Iterable[int]:
        """The classes, of `k`, that it tells from the others: they cannot be renamed."""
        return (self.label,)

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """Which of the labellings (worlds, members) satisfy the relation, shape (worlds,)."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The relation as plain data, the inverse of `relation_from_json`."""
        told = {
            "relation": self.name,
            "members": list(self.members),
            "prior": self.prior,
            "label": self.label,
        }
        # Only of soft ones, so that a data set of hard ones has the fingerprint it always had.
        return told if self.strength == 1 else told | {"strength": self.strength}


class Equal(Relation):
    """All members have the same label (paraphrases, the same final answer)."""

    name = "equal"

    def speaks_of(self, k: int) -> Iterable[int]:
        """None: it says the same whatever the classes are called."""
        return ()

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """True where every member's label equals the first one's."""
        return np.asarray((labels == labels[:, :1]).all(axis=1), dtype=np.bool_)


class Opposite(Relation):
    """The two members have different labels (a statement and its negation; a swapped pair)."""

    name = "opposite"
    size = (2, 2)

    def speaks_of(self, k: int) -> Iterable[int]:
        """None: it says the same whatever the classes are called."""
        return ()

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """True where the two labels differ."""
        return np.asarray(labels[:, 0] != labels[:, 1], dtype=np.bool_)


class AtMostOne(Relation):
    """No two members have class `label` (different final answers are not both right)."""

    name = "at-most-one"

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """True where class `label` occurs at most once."""
        return np.asarray((labels == self.label).sum(axis=1) <= 1, dtype=np.bool_)


class ExactlyOne(Relation):
    """One member, and only one, has class `label`."""

    name = "exactly-one"

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """True where class `label` occurs once."""
        return np.asarray((labels == self.label).sum(axis=1) == 1, dtype=np.bool_)


class Ordered(Relation):
    """Transitivity of a strict comparison: members say a > b, b > c and a > c, in this order.

    If the first two agree, the third must agree with them.
    """

    name = "ordered"
    size = (3, 3)

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """True where a > b and b > c agree only if a > c says the same."""
        is_true = labels == self.label
        return np.asarray(
            (is_true[:, 0] != is_true[:, 1]) | (is_true[:, 2] == is_true[:, 0]), dtype=np.bool_
        )


class And(Relation):
    """The last member is `label` exactly when all the others are (a conjunction and its parts)."""

    name = "and"

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """True where the last member equals the conjunction of the others."""
        is_true = labels == self.label
        return np.asarray(is_true[:, :-1].all(axis=1) == is_true[:, -1], dtype=np.bool_)


class Or(Relation):
    """The last member is `label` exactly when one of the others is (a disjunction, its parts)."""

    name = "or"

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """True where the last member equals the disjunction of the others."""
        is_true = labels == self.label
        return np.asarray(is_true[:, :-1].any(axis=1) == is_true[:, -1], dtype=np.bool_)


class Implies(Relation):
    """If the first member is `label`, the second is too (a claim, and a weaker one)."""

    name = "implies"
    size = (2, 2)

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """True but where the first is so and the second is not."""
        is_true = labels == self.label
        return np.asarray(~is_true[:, 0] | is_true[:, 1], dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Allowed(Relation):
    """The labels of the members, in their order, are one of `worlds`: any relation at all.

    Each world has the number of a class for every member: `((0, 0), (0, 1), (1, 1))` says of two
    what `Implies` does. `label` means nothing here.
    """

    worlds: tuple[tuple[int, ...], ...]

    name = "allowed"

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is another class than the one its methods saw.
        Relation.__post_init__(self)
        m = len(self.members)
        try:
            worlds = [tuple(world) for world in self.worlds]
        except TypeError:
            worlds = []
        whole = all(isinstance(c, Integral) and c >= 0 for world in worlds for c in world)
        if not worlds or not whole or any(len(world) != m for world in worlds):
            raise InputError(
                f"relation {self.name!r} among {m} members needs worlds=(…), the labels that "
                f"are possible: of each, {m} numbers of classes, from 0"
            )
        # In one order, so that what says the same has one fingerprint.
        plain = sorted({tuple(map(int, world)) for world in worlds})
        object.__setattr__(self, "worlds", tuple(plain))

    def speaks_of(self, k: int) -> Iterable[int]:
        """All: each stands in some world or in none."""
        return range(k)

    def holds(self, labels: _Labels) -> NDArray[np.bool_]:
        """True where the labels are one of the worlds."""
        possible = set(self.worlds)
        return np.array([tuple(world) in possible for world in labels.tolist()], dtype=np.bool_)

    def to_json(self) -> dict[str, Any]:
        """The relation as plain data, with its worlds."""
        return Relation.to_json(self) | {"worlds": [list(world) for world in self.worlds]}


RELATIONS: dict[str, type[Relation]] = {
    kind.name: kind for kind in (Equal, Opposite, AtMostOne, ExactlyOne, Ordered, And, Or, Implies)
}
"""Every relation that its members and a class make, by the name that files and options use."""


def relation_named(name: str) -> type[Relation]:
    """The relation class of that name; InputError lists the names there are."""
    try:
        return RELATIONS[name]
    except KeyError:
        known = ", ".join(RELATIONS)
        raise InputError(f"there is no relation {name!r}; the relations are: {known}") from None


def relation_from_json(data: Mapping[str, Any]) -> Relation:
    """The relation that `Relation.to_json` wrote."""
    name, members = str(data["relation"]), tuple(data["members"])
    said: dict[str, Any] = {
        "prior": bool(data["prior"]),
        "label": int(data["label"]),
        "strength": float(data.get("strength", 1.0)),
    }
    if name == Allowed.name:
        return Allowed(members, data["worlds"], **said)
    return relation_named(name)(members, **said)


def check_readable(relation: object) -> None:
    """Nothing, or the InputError that this is no relation that a store could read back."""
    check_kind(
        relation, Relation, "relations are made of Equal((id, …)), Implies((id, id)) and so on"
    )
    kind = type(relation)
    if kind not in (*RELATIONS.values(), Allowed):
        raise InputError(
            f"a store could not read back {kind.__name__}, a relation of your own; declare it as "
            "Allowed(MEMBERS, worlds=…), the labels that are possible"
        )


def active_relations(relations: Iterable[Relation], priors: bool) -> list[Relation]:
    """The relations that count: all of them, or without `priors` those that are no design prior."""
    return [relation for relation in relations if priors or not relation.prior]


def tied_examples(relations: Iterable[Relation]) -> dict[str, frozenset[str]]:
    """For each example, the others that some relation ties it to."""
    tied: dict[str, set[str]] = {}
    for relation in relations:
        for member in relation.members:
            tied.setdefault(member, set()).update(relation.members)
    return {member: frozenset(others - {member}) for member, others in tied.items()}
