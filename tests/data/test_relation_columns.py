"""Relations from columns: what they allow is what each pair and triple of rows says, no more."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest

from consilience.data import relation_columns
from consilience.data.relation_columns import (
    circles,
    columns_of,
    comparisons,
    declared,
    different_answers,
    exactly_one,
    gathered,
    implications,
    opposites,
    per_group,
    same_answer,
)
from consilience.data.relations import (
    AtMostOne,
    Equal,
    ExactlyOne,
    Implies,
    Opposite,
    Ordered,
    Relation,
)
from consilience.errors import InputError

Column = list[str | None]
Labels = dict[str, int]


def worlds(ids: Iterable[str], k: int = 2) -> list[Labels]:
    names = sorted(set(ids))
    return [dict(zip(names, w, strict=True)) for w in product(range(k), repeat=len(names))]


def holds(relation: Relation, world: Labels) -> bool:
    labels = np.array([[world[member] for member in relation.members]])
    return bool(relation.holds(labels)[0])


def assert_the_same_worlds(
    ids: Sequence[str], relations: Sequence[Relation], allowed: Callable[[Labels], bool]
) -> None:
    """The relations allow exactly the labellings in which each pair of rows is as it should be."""
    for world in worlds(ids):
        assert all(holds(r, world) for r in relations) == allowed(world), world


def pairs_hold(
    ids: Sequence[str], world: Labels, right: Callable[[int, int, int, int], bool]
) -> bool:
    """Whether `right(row, row, label, label)` for each two rows with different texts."""
    return all(
        right(i, j, world[ids[i]], world[ids[j]])
        for i, j in combinations(range(len(ids)), 2)
        if ids[i] != ids[j]
    )


def made_up(seed: int, rows: int = 8) -> tuple[list[str], Column, Column]:
    """Ids, groups and keys; a repeated text has the same cells, some cells are empty."""
    rng = random.Random(seed)
    of = {
        f"id{i}": (rng.choice(["g", "h", None]), rng.choice(["u", "v", "w", None]))
        for i in range(rows)
    }
    ids = rng.choices(sorted(of), k=rows + 2)
    return ids, [of[id][0] for id in ids], [of[id][1] for id in ids]


# --- what each function allows, against brute force over pairs of rows


@pytest.mark.parametrize("seed", range(12))
def test_gathered_counts_each_text_once(seed: int) -> None:
    ids, _, keys = made_up(seed)
    assert gathered(ids, keys) == {
        key: tuple(sorted({id for id, k in zip(ids, keys, strict=True) if k == key}))
        for key in set(keys) - {None}
    }


@pytest.mark.parametrize("seed", range(12))
def test_equal_by_key(seed: int) -> None:
    ids, _, keys = made_up(seed)
    assert_the_same_worlds(
        ids,
        per_group(Equal, ids, keys, prior=False),
        lambda world: pairs_hold(
            ids, world, lambda i, j, a, b: keys[i] is None or keys[i] != keys[j] or a == b
        ),
    )


@pytest.mark.parametrize("seed", range(12))
def test_answers_within_groups(seed: int) -> None:
    ids, groups, answers = made_up(seed)

    def right(i: int, j: int, a: int, b: int) -> bool:
        if None in (groups[i], answers[i], groups[j], answers[j]) or groups[i] != groups[j]:
            return True
        return a == b if answers[i] == answers[j] else a + b < 2

    same = same_answer(ids, answers, groups)
    different = different_answers(ids, answers, groups)
    assert_the_same_worlds(ids, same + different, lambda world: pairs_hold(ids, world, right))
    assert {type(r) for r in same} <= {Equal} and {type(r) for r in different} <= {AtMostOne}


@pytest.mark.parametrize("seed", range(12))
def test_exactly_one_per_group(seed: int) -> None:
    ids, groups, _ = made_up(seed)
    members = [of for of in gathered(ids, groups).values() if len(of) > 1]
    assert_the_same_worlds(
        ids,
        exactly_one(ids, groups),
        lambda world: all(sum(world[id] for id in of) == 1 for of in members),
    )


def test_opposites_are_two() -> None:
    ids = ["a", "b", "c", "d", "b"]
    assert opposites(ids, ["p", "p", "q", None, "p"]) == [Opposite(("a", "b"))]
    with pytest.raises(InputError, match="'opposite' is for groups of 2, but group 'p' has 3 memb"):
        opposites(ids, ["p", "p", "p", None, "p"])


def things_compared(seed: int, things: int = 5, rows: int = 9) -> tuple[list[str], Column, Column]:
    """Comparisons, some of them in two texts, some in no text."""
    rng = random.Random(seed)
    some = rng.choices(list(permutations("abcdef"[:things], 2)), k=rows)
    left, right = [one for one, _ in some], [other for _, other in some]
    ids = [f"id{i}" for i in range(rows)]
    return [*ids, ids[0]], [*left, left[0]], [*right, right[0]]


@pytest.mark.parametrize("seed", range(20))
def test_comparisons_allow_what_each_three_rows_allow(seed: int) -> None:
    ids, left, right = things_compared(seed)
    said = list(zip(ids, left, right, strict=True))

    def allowed(world: Labels) -> bool:
        more: dict[tuple[Hashable, Hashable], int] = {}
        for id, one, other in said:
            if more.setdefault((one, other), world[id]) != world[id]:
                return False  # one comparison, two labels
        if any(more.get((b, a), 1 - said) == said for (a, b), said in more.items()):
            return False
        return not any(
            more.get((x, y)) == more.get((y, z)) != more.get((x, z))
            for x, y, z in permutations("abcdef", 3)
            if {(x, y), (y, z), (x, z)} <= more.keys()
        )

    assert_the_same_worlds(ids, comparisons(ids, left, right), allowed)


@pytest.mark.parametrize("things", [3, 4])
def test_all_comparisons_of_n_things_have_as_many_worlds_as_there_are_orders(things: int) -> None:
    """Known answer: n! orders, of comparisons both ways round or one way only."""
    both = list(permutations("abcd"[:things], 2))
    for pairs in (both, [p for p in both if p[0] < p[1]]):
        ids = ["".join(pair) for pair in pairs]
        made = comparisons(ids, [a for a, _ in pairs], [b for _, b in pairs])
        allowed = [w for w in worlds(ids) if all(holds(r, w) for r in made)]
        assert len(allowed) == math.factorial(things)


def test_a_circle_is_counted_and_not_said() -> None:
    ids, left, right = ["1", "2", "3"], list("abc"), list("bca")
    assert comparisons(ids, left, right) == [] and circles(left, right) == 1
    assert circles([*left, "a"], [*right, "c"]) == 0
    assert comparisons([*ids, "4"], [*left, "a"], [*right, "c"]) == [
        Opposite(("3", "4")),
        Ordered(("1", "2", "4")),
    ]


@pytest.mark.parametrize("seed", range(12))
def test_circles_by_brute_force(seed: int) -> None:
    _, left, right = things_compared(seed, rows=14)
    said = set(zip(left, right, strict=True))
    tied = ordered = 0
    for three in combinations("abcdef", 3):
        tied += all({(a, b), (b, a)} & said for a, b in combinations(three, 2))
        ordered += any(
            {(x, y), (y, z), (x, z)} <= said for x, y, z in permutations(three)
        )  # at least one order can be written
    assert circles(left, right) == tied - ordered


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    ids, left, right = things_compared(seed)
    _, groups, answers = made_up(seed, rows=len(ids) - 2)
    order = random.Random(seed).sample(range(len(ids)), len(ids))

    def shuffled(column: Sequence[Any]) -> list[Any]:
        return [column[i] for i in order]

    assert set(comparisons(ids, left, right)) == set(
        comparisons(shuffled(ids), shuffled(left), shuffled(right))
    )
    unique = [str(i) for i in range(len(groups))]
    for make in (same_answer, different_answers):
        assert set(make(unique, answers, groups)) == set(
            make(shuffled(unique), shuffled(answers), shuffled(groups))
        )


def test_the_order_of_the_names_is_not_that_of_the_members() -> None:
    """Numbers as names: were triples written in their order, the three labels would be one."""
    pairs = list(permutations(map(str, range(10, 20)), 2))
    larger = {"".join(pair): int(pair[0] > pair[1]) for pair in pairs}
    made = comparisons(list(larger), [a for a, _ in pairs], [b for _, b in pairs])
    labels = [tuple(larger[m] for m in r.members) for r in made if isinstance(r, Ordered)]
    assert len(labels) == math.comb(10, 3)
    assert len(set(labels)) == 6  # every combination that transitivity allows
    assert 0.3 < np.mean(labels) < 0.7


@pytest.mark.parametrize("prior", [False, True])
def test_each_is_a_fact_or_a_prior_as_it_is_told(prior: bool) -> None:
    ids, keys = ["a", "b", "c", "d"], ["k", "k", "l", "l"]
    made = [
        *same_answer(ids, keys, ["g"] * 4, prior=prior),
        *different_answers(ids, keys, ["g"] * 4, prior=prior),
        *opposites(ids, keys, prior=prior),
        *exactly_one(ids, keys, prior=prior),
        *comparisons(ids, list("xyxy"), list("yzzx"), prior=prior),
    ]
    assert {type(r) for r in made} == {Equal, AtMostOne, Opposite, ExactlyOne, Ordered}
    assert {r.prior for r in made} == {prior}


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="compares 'x' with itself; take the row out"):
        comparisons(["a"], ["x"], ["x"])
    with pytest.raises(InputError, match="one text compares 'y' with 'x' and 'x' with 'y'"):
        comparisons(["a", "a"], ["x", "y"], ["y", "x"])
    assert comparisons(["a", "b"], ["x", None], [None, "x"]) == []


def test_too_many_triples_are_refused_while_they_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = list(combinations("abcdefgh", 2))  # 56 triples
    ids, left, right = ["".join(p) for p in pairs], [a for a, _ in pairs], [b for _, b in pairs]
    monkeypatch.setattr(relation_columns, "MOST_TRIPLES", 56)
    assert len(comparisons(ids, left, right)) == 56
    monkeypatch.setattr(relation_columns, "MOST_TRIPLES", 55)
    with pytest.raises(InputError, match="8 things are compared in more than 55 triples; take a s"):
        comparisons(ids, left, right)


# --- declarations

CELLS: dict[str, Column] = {
    "g": ["g", "g", "g", "h", None],
    "key": ["u", "v", "u", "w", None],
    "l": ["x", "y", "x", "y", None],
    "r": ["y", "z", "z", "x", "x"],
}
IDS = ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("name", "made", "silent"),
    [
        (
            "exactly-one",
            [ExactlyOne(("1", "2", "3"))],
            "exactly-one says nothing of 1 group with one text and of 1 row without a group.",
        ),
        (
            "equal:key",
            [Equal(("1", "3"))],
            "equal:key says nothing of 2 values with one text and of 1 row without a value.",
        ),
        (
            "answer:key",
            [Equal(("1", "3")), AtMostOne(("1", "2"))],
            "answer:key says nothing of 1 group with one text and of 1 row without a group and "
            "of 1 row without an answer.",
        ),
        (
            "order:l,r",
            [Opposite(("1", "4")), Ordered(("1", "2", "3"))],
            "order:l,r says nothing of 1 row without both values.",
        ),
    ],
)
def test_declarations(name: str, made: list[Relation], silent: str) -> None:
    assert declared(name, False, IDS, CELLS, "g") == (made, silent)
    with_priors, _ = declared(name, True, IDS, CELLS, "g")
    assert [r.prior for r in with_priors] == [True] * len(made)


def test_circles_are_told() -> None:
    cells: dict[str, Column] = {"l": [*"abcpq"], "r": [*"bcaqp"]}
    assert declared("order:l,r", False, IDS, cells) == (
        [Opposite(("4", "5"))],
        "order:l,r says nothing of 1 circle of three.",
    )


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("equal", ()),
        ("exactly-one:a: b", ("a: b",)),
        ("opposite:a,b", ("a,b",)),
        ("answer:final", ("final",)),
        ("order:left,right", ("left", "right")),
    ],
)
def test_the_columns_of_a_declaration(name: str, columns: tuple[str, ...]) -> None:
    assert columns_of(name) == columns


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "xor",
            "there is no relation 'xor'; the relations are: equal, opposite, at-most-one, exac",
        ),
        ("xor:key", "there is no relation 'xor'"),
        ("", "there is no relation ''"),
        ("Equal:key", "there is no relation 'Equal'"),
        ("equal:", "'equal:' is not complete; write equal:COLUMN"),
        ("answer", "'answer' is not complete; write answer:COLUMN"),
        ("answer:", "'answer:' is not complete; write answer:COLUMN"),
        ("order:l", "'order:l' is not complete; write order:LEFT,RIGHT, two columns"),
        ("implies", "'implies' is not complete; write implies:KEY,THEN, two columns"),
        ("implies:a,a", "'implies:a,a' is not complete"),
        ("allowed", r"'allowed' depends on the order.*Allowed\(\(id, …\), worlds=…\)"),
        ("order:l,", "not complete"),
        ("order:l,l", "not complete"),
        ("order:l,r,key", "not complete"),
        ("ordered", r"'ordered' depends on the order.*Ordered\(\(id, …\)\).*order:LEFT,RIGHT"),
        ("or:key", r"'or' depends on the order of its members"),
    ],
)
def test_declarations_that_are_none(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        columns_of(name)


@pytest.mark.parametrize(
    ("name", "cells", "group", "said"),
    [
        ("equal", {}, None, "'equal' needs groups; name the column that says which rows belong"),
        ("answer:a", {"a": ["x", "x"]}, None, "'answer:a' needs groups"),
        ("equal", {"g": ["x", "y"]}, "g", "relates nothing: no two rows .* share a group"),
        ("equal:a", {"a": ["x", None]}, None, "relates nothing: no two rows .* share a value"),
        ("order:a,b", {"a": ["x", "y"], "b": ["z", "u"]}, None, "no two comparisons bear on one"),
    ],
)
def test_declarations_that_relate_nothing(
    name: str, cells: dict[str, Column], group: str | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        declared(name, False, ["1", "2"], cells, group)


# --- implications


CHAIN = ["1", "2", "3", "4"], ["a", "b", "c", "c"], ["b", "c", None, "elsewhere"]
"""Four ids, their keys, and the keys of what each implies."""


@pytest.mark.parametrize("prior", [False, True])
def test_a_row_implies_each_row_whose_key_it_names(prior: bool) -> None:
    made = implications(*CHAIN, prior=prior)
    assert [r.members for r in made] == [("1", "2"), ("2", "3"), ("2", "4")]
    assert all(isinstance(r, Implies) and r.prior is prior and r.label == 1 for r in made)
    ids, keys, then = CHAIN
    by_name, said = declared("implies:k,t", prior, ids, {"k": keys, "t": then})
    assert by_name == made
    assert said == "implies:k,t says nothing of 1 value of t without a row."


def test_implications_that_cannot_be() -> None:
    with pytest.raises(InputError, match="a row implies 'a', which is itself"):
        implications(["1", "2"], ["a", "b"], ["a", None])
    # A row that stands twice, under two keys, is one example.
    assert implications(["1", "1"], ["a", "b"], ["b", None]) == []
    with pytest.raises(InputError, match="'implies:k,t' relates nothing: no row has under 'k'"):
        declared("implies:k,t", False, ["1", "2"], {"k": ["a", "b"], "t": [None, "c"]})
