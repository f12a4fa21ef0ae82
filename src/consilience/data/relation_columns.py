"""Relations from columns: which rows share an answer, exclude one another, mirror or order.

Each function takes the id of every row and a few columns beside it, and no label. Rows with the
same text have the same id and count once; None says nothing. `prior` says, as everywhere, whether
the relation is a logical fact or how somebody built the file. `declared` reads the words in which
the user of a table names them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from consilience.data.relations import (
    RELATIONS,
    Allowed,
    AtMostOne,
    Equal,
    ExactlyOne,
    Implies,
    Opposite,
    Ordered,
    Relation,
)
from consilience.errors import InputError

ANSWER, ORDER, IMPLIES = "answer", "order", "implies"
"""The first words of "answer:COLUMN", "order:LEFT,RIGHT" and "implies:KEY,THEN"."""

_COMPLETE = {
    ANSWER: "answer:COLUMN",
    ORDER: "order:LEFT,RIGHT, two columns",
    IMPLIES: "implies:KEY,THEN, two columns",
}
"""How the declarations that always have columns are written."""

_KINDS: dict[str, type[Relation]] = {k.name: k for k in (Equal, Opposite, AtMostOne, ExactlyOne)}
"""The relations that hold alike among all members: of each group, or of each value of a column."""

MOST_TRIPLES = 1_000_000
"""More triples of compared things than this are refused: n things have up to n³ / 6 of them."""


def gathered(ids: Sequence[str], keys: Iterable[Hashable]) -> dict[Hashable, tuple[str, ...]]:
    """The different ids of each key, sorted; a row whose key is None has none."""
    found: dict[Hashable, set[str]] = {}
    for id, key in zip(ids, keys, strict=True):
        if key is not None:
            found.setdefault(key, set()).add(id)
    return {key: tuple(sorted(of)) for key, of in found.items()}


def per_group(
    kind: type[Relation], ids: Sequence[str], groups: Iterable[Hashable], *, prior: bool
) -> list[Relation]:
    """One relation among all members of each group of two or more different texts."""
    members = gathered(ids, groups)
    most = kind.size[1]
    for group, of in members.items():
        if most is not None and len(of) > most:
            raise InputError(
                f"relation {kind.name!r} is for groups of {most}, but group {str(group)[:60]!r} "
                f"has {len(of)} members; use another relation or split the group"
            )
    return [kind(of, prior=prior) for of in members.values() if len(of) > 1]


def same_answer(
    ids: Sequence[str],
    answers: Sequence[Hashable],
    groups: Sequence[Hashable],
    *,
    prior: bool = False,
) -> list[Relation]:
    """Equal among the rows of a group that have the same answer."""
    keys = [
        None if answer is None or group is None else (group, answer)
        for group, answer in zip(groups, answers, strict=True)
    ]
    return per_group(Equal, ids, keys, prior=prior)


def different_answers(
    ids: Sequence[str],
    answers: Sequence[Hashable],
    groups: Sequence[Hashable],
    *,
    prior: bool = False,
) -> list[Relation]:
    """At most one true among rows of a group with different answers.

    One relation for each choice of a row per answer would say the same many times over; it is
    stated for the first row (by id) of each answer, and `same_answer` carries it to the others.
    """
    first: dict[Hashable, dict[Hashable, str]] = {}
    for id, answer, group in zip(ids, answers, groups, strict=True):
        if answer is not None and group is not None:
            of = first.setdefault(group, {})
            of[answer] = min(id, of.get(answer, id))
    return [
        AtMostOne(tuple(sorted(of.values())), prior=prior)
        for of in first.values()
        if len(set(of.values())) > 1
    ]


def opposites(
    ids: Sequence[str], pairs: Iterable[Hashable], *, prior: bool = False
) -> list[Relation]:
    """Opposite for the two rows that share a value; a value that stands alone says nothing."""
    return per_group(Opposite, ids, pairs, prior=prior)


def exactly_one(
    ids: Sequence[str], groups: Iterable[Hashable], *, prior: bool = True
) -> list[Relation]:
    """Exactly one true in each group; by default a design prior, for the file was built so."""
    return per_group(ExactlyOne, ids, groups, prior=prior)


def comparisons(
    ids: Sequence[str],
    left: Sequence[Hashable],
    right: Sequence[Hashable],
    *,
    prior: bool = False,
) -> list[Relation]:
    """Asymmetry and transitivity of rows that each say "left is more than right".

    Opposite for a comparison and its mirror image, Equal for one that stands in several texts,
    and Ordered for each three things that are all compared with one another, once. Of three that
    are compared in a circle only nothing can be said: `circles` counts them.
    """
    said = _said(ids, left, right)
    first = {comparison: min(of) for comparison, of in said.items()}
    made: list[Relation] = [
        Equal(tuple(sorted(of)), prior=prior) for of in said.values() if len(of) > 1
    ]
    for (one, other), id in first.items():
        mirror = first.get((other, one))
        if mirror is not None and id < mirror:
            made.append(Opposite((id, mirror), prior=prior))
    for three in _triples(first):
        if three is not None:
            x, y, z = three
            made.append(Ordered((first[x, y], first[y, z], first[x, z]), prior=prior))
    return made


def circles(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """How many three things are compared in a circle only, so that no Ordered can tie them.

    Of a with b, b with c, c with a, and none of them the other way round, transitivity only
    forbids that all three agree, which is no relation there is.
    """
    said = _said([str(i) for i in range(len(left))], left, right)
    return sum(three is None for three in _triples(said))


def implications(
    ids: Sequence[str],
    keys: Sequence[Hashable],
    then: Sequence[Hashable],
    *,
    prior: bool = False,
) -> list[Relation]:
    """Implies for each row that names another: from it, to each row whose key it names."""
    of_key = gathered(ids, keys)
    made: dict[Relation, None] = {}
    for id, key, named in zip(ids, keys, then, strict=True):
        if named is not None and key == named:
            raise InputError(f"a row implies {str(key)[:60]!r}, which is itself; empty that cell")
        for other in of_key.get(named, ()) if named is not None else ():
            if other != id:
                made[Implies((id, other), prior=prior)] = None
    return list(made)


Comparison = tuple[Hashable, Hashable]


def _said(
    ids: Sequence[str], left: Sequence[Hashable], right: Sequence[Hashable]
) -> dict[Comparison, set[str]]:
    """The ids of the texts in which each comparison stands."""
    said: dict[Comparison, set[str]] = {}
    of: dict[str, Comparison] = {}
    for id, one, other in zip(ids, left, right, strict=True):
        if one is None or other is None:
            continue
        if one == other:
            raise InputError(f"a row compares {str(one)[:60]!r} with itself; take the row out")
        before = of.setdefault(id, (one, other))
        if before != (one, other):
            raise InputError(
                f"one text compares {str(one)[:60]!r} with {str(other)[:60]!r} and "
                f"{str(before[0])[:60]!r} with {str(before[1])[:60]!r}; put what is compared into "
                "the text"
            )
        said.setdefault((one, other), set()).add(id)
    return said


def _triples(
    said: Iterable[Comparison],
) -> Iterator[tuple[Hashable, Hashable, Hashable] | None]:
    """Each three things that are all compared; None where they are compared in a circle only.

    They come in an order x, y, z such that x with y, y with z and x with z all stand. Which of the
    orders is decided by hashes of the names: names may be the very quantities that are compared,
    and in their own order all three comparisons of a triple would have one label.
    """
    said = set(said)
    place = {name: sha256(str(name).encode()).digest() for pair in said for name in pair}
    compared: dict[Hashable, set[Hashable]] = {}
    for one, other in said:
        compared.setdefault(one, set()).add(other)
        compared.setdefault(other, set()).add(one)
    later = {a: {b for b in others if place[b] > place[a]} for a, others in compared.items()}
    found = 0
    for a in sorted(later, key=place.__getitem__):
        for b in sorted(later[a], key=place.__getitem__):
            for c in sorted(later[a] & later[b], key=place.__getitem__):
                found += 1
                if found > MOST_TRIPLES:
                    raise InputError(
                        f"{len(compared):,} things are compared in more than {MOST_TRIPLES:,} "
                        "triples; take a sample of them, or leave the order out"
                    )
                ways = ((a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a))
                yield next((w for w in ways if {w[:2], w[1:], (w[0], w[2])} <= said), None)


def columns_of(name: str) -> tuple[str, ...]:
    """The columns in a declaration: none in "equal", one in "equal:key", two in "order:a,b"."""
    word, colon, rest = name.partition(":")
    if word not in _KINDS and word not in _COMPLETE:
        if word in RELATIONS or word == Allowed.name:
            kind = RELATIONS.get(word, Allowed)
            more = ", worlds=…" if kind is Allowed else ""
            raise InputError(
                f"relation {word!r} depends on the order of its members, which rows do not give; "
                f"build the Dataset with {kind.__name__}((id, …){more}) for each, or say "
                f"{ORDER}:LEFT,RIGHT or {IMPLIES}:KEY,THEN"
            )
        raise InputError(
            f"there is no relation {word!r}; the relations are: {', '.join(_KINDS)}, each also "
            f"with :COLUMN, {ANSWER}:COLUMN, {ORDER}:LEFT,RIGHT and {IMPLIES}:KEY,THEN"
        )
    two = word in (ORDER, IMPLIES)
    columns = tuple(rest.split(",")) if two else (rest,) if colon else ()
    if not all(columns) or (word in _COMPLETE and len(set(columns)) != 1 + two):
        raise InputError(
            f"relation {name!r} is not complete; write {_COMPLETE.get(word, f'{word}:COLUMN')}"
        )
    return columns


def declared(
    name: str,
    prior: bool,
    ids: Sequence[str],
    columns: Mapping[str, Sequence[str | None]],
    group: str | None = None,
) -> tuple[list[Relation], str]:
    """The relations that a declaration makes, and a sentence on the rows of which it says nothing.

    "equal", "opposite", "at-most-one" and "exactly-one" hold in each group, with ":COLUMN" among
    the rows that share a value of that column, in whatever group. "answer:COLUMN": rows of a
    group with one answer are equal, and of different answers at most one is right.
    "order:LEFT,RIGHT": each row says that its left is more than its right. "implies:KEY,THEN": if
    a row is of class 1, so is each row that has under KEY what it has under THEN. `columns` has the
    cells of each column that `columns_of` names, and of `group`. InputError where nothing is
    related at all.
    """
    word, named = name.partition(":")[0], columns_of(name)
    by_group = word == ANSWER or not named
    if by_group and group is None:
        raise InputError(
            f"relation {name!r} needs groups; name the column that says which rows belong together"
        )
    made: list[Relation]
    if word == ORDER:
        left, right = (columns[column] for column in named)
        made = comparisons(ids, left, right, prior=prior)
        missing = sum(one is None or other is None for one, other in zip(left, right, strict=True))
        silent = {"row without both values": missing, "circle of three": circles(left, right)}
        joined = "no two comparisons bear on one another"
    elif word == IMPLIES:
        keys, then = (columns[column] for column in named)
        made = implications(ids, keys, then, prior=prior)
        there = {None, *keys}
        unknown = sum(one not in there for one in then)
        silent = {f"value of {named[1]} without a row": unknown}
        joined = f"no row has under {named[0]!r} what another has under {named[1]!r}"
    else:
        keys, unit = columns[str(group) if by_group else named[0]], "group" if by_group else "value"
        alone = sum(len(of) == 1 for of in gathered(ids, keys).values())
        silent = {f"{unit} with one text": alone, f"row without a {unit}": keys.count(None)}
        joined = f"no two rows with different texts share a {unit}"
        if word == ANSWER:
            answers = columns[named[0]]
            made = same_answer(ids, answers, keys, prior=prior)
            made += different_answers(ids, answers, keys, prior=prior)
            silent["row without an answer"] = answers.count(None)
        else:
            made = per_group(_KINDS[word], ids, keys, prior=prior)
    if not made:
        raise InputError(f"relation {name!r} relates nothing: {joined}; check the column")
    return made, _sentence(name, silent)


def _sentence(name: str, silent: Mapping[str, int]) -> str:
    """How many rows, groups and so on a relation says nothing of; "" where there are none."""
    counted = [
        f"{n:,} {what if n == 1 else what.replace(' ', 's ', 1)}" for what, n in silent.items() if n
    ]
    return f"{name} says nothing of {' and of '.join(counted)}." if counted else ""
