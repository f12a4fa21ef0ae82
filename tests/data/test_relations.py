"""Each relation against a definition in plain Python, over every labelling."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import numpy as np
import pytest

from consilience.data.relations import (
    RELATIONS,
    Allowed,
    And,
    AtMostOne,
    Equal,
    ExactlyOne,
    Implies,
    Opposite,
    Or,
    Ordered,
    Relation,
    relation_from_json,
    relation_named,
    tied_examples,
)
from consilience.errors import InputError

Rule = Callable[[tuple[int, ...], int], bool]


def ordered(labels: tuple[int, ...], label: int) -> bool:
    ab, bc, ac = (x == label for x in labels)
    return not (ab and bc and not ac) and not (not ab and not bc and ac)


RULES: dict[str, Rule] = {
    "equal": lambda labels, label: len(set(labels)) == 1,
    "opposite": lambda labels, label: len(set(labels)) == 2,
    "at-most-one": lambda labels, label: labels.count(label) in (0, 1),
    "exactly-one": lambda labels, label: labels.count(label) == 1,
    "ordered": ordered,
    "and": lambda ls, label: (ls[-1] == label) == all(x == label for x in ls[:-1]),
    "implies": lambda ls, label: ls[0] != label or ls[1] == label,
    "or": lambda ls, label: (ls[-1] == label) == any(x == label for x in ls[:-1]),
}


def fits(kind: type[Relation], n: int) -> bool:
    low, high = kind.size
    return low <= n and (high is None or n <= high)


GRID = [
    (name, n, k, label)
    for name, n, k in itertools.product(RELATIONS, (2, 3, 4), (2, 3))
    if fits(RELATIONS[name], n)
    for label in range(k)
]


def test_every_relation_has_a_rule() -> None:
    assert RULES.keys() == RELATIONS.keys()


@pytest.mark.parametrize(("name", "n", "k", "label"), GRID)
def test_holds_is_the_rule(name: str, n: int, k: int, label: int) -> None:
    relation = relation_named(name)(tuple("abcd"[:n]), label=label)
    worlds = list(itertools.product(range(k), repeat=n))
    holds = relation.holds(np.array(worlds, dtype=np.int64))
    assert holds.shape == (k**n,) and holds.dtype == np.bool_
    assert holds.tolist() == [RULES[name](world, label) for world in worlds]
    assert 0 < holds.sum() < len(worlds)


@pytest.mark.parametrize("name", RELATIONS)
@pytest.mark.parametrize("prior", [False, True])
def test_json_round_trip(name: str, prior: bool) -> None:
    kind = RELATIONS[name]
    relation = kind(("b", "c", "a")[: kind.size[1] or 3], prior=prior, label=0)
    assert relation_from_json(json.loads(json.dumps(relation.to_json()))) == relation


@pytest.mark.parametrize("name", RELATIONS)
def test_a_soft_relation_keeps_its_strength(name: str) -> None:
    kind = RELATIONS[name]
    soft = kind(("b", "c", "a")[: kind.size[1] or 3], strength=0.7251)
    told = json.loads(json.dumps(soft.to_json()))
    assert told["strength"] == 0.7251 and relation_from_json(told) == soft
    assert soft != kind(soft.members) and len({soft, kind(soft.members)}) == 2
    # A hard one is written as it was before there were soft ones.
    assert list(kind(soft.members).to_json()) == ["relation", "members", "prior", "label"]


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.0001, float("nan"), float("inf")])
def test_a_strength_that_is_no_probability(strength: float) -> None:
    with pytest.raises(InputError, match=r"'equal' has the strength .*at most 1") as caught:
        Equal(("a", "b"), strength=strength)
    assert "\n" not in str(caught.value)


def test_relations_of_different_kinds_differ() -> None:
    assert len({kind(("a", "b")) for kind in (Equal, Opposite, AtMostOne, And)}) == 4
    assert ExactlyOne(("a", "b")) != ExactlyOne(("a", "b"), prior=True)


@pytest.mark.parametrize(
    ("kind", "members", "said"),
    [
        (Equal, ("a",), "'equal' needs at least 2 members, got 1"),
        (Opposite, ("a", "b", "c"), "'opposite' needs 2 members, got 3"),
        (Ordered, ("a", "b"), "'ordered' needs 3 members, got 2"),
        (Or, ("a", "b", "a"), "'or' names a member twice"),
    ],
)
def test_members_that_do_not_fit(kind: type[Relation], members: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        kind(members)


def test_unknown_name_lists_the_names() -> None:
    with pytest.raises(InputError, match=r"no relation 'xor'.*equal, opposite, at-most-one"):
        relation_named("xor")


def test_mates_are_the_others_of_all_relations() -> None:
    tied = tied_examples([Equal(("a", "b")), ExactlyOne(("b", "c", "d"))])
    assert tied == {
        "a": frozenset("b"),
        "b": frozenset("acd"),
        "c": frozenset("bd"),
        "d": frozenset("bc"),
    }
    assert tied_examples([]) == {}


# --- allowed worlds, and arguments of other kinds


def test_allowed_is_any_relation() -> None:
    worlds = np.array(list(itertools.product(range(3), repeat=3)), dtype=np.int64)
    rng = np.random.default_rng(0)
    for count in (1, 5, 20):
        held = rng.choice(len(worlds), size=count, replace=False)
        made = Allowed(("c", "a", "b"), worlds[held], prior=True)  # type: ignore[arg-type]
        assert np.flatnonzero(made.holds(worlds)).tolist() == sorted(held.tolist())
        told = json.loads(json.dumps(made.to_json()))
        assert relation_from_json(told) == made and hash(made) == hash(relation_from_json(told))
    assert Allowed(("a", "b"), ((1, 1), (0, 0))) == Allowed(("a", "b"), [[0, 0], [1, 1], [0, 0]])  # type: ignore[arg-type]
    assert Allowed(("a", "b"), ((1, 1),)) != Allowed(("a", "b"), ((0, 0),))


@pytest.mark.parametrize(
    "worlds",
    [(), None, 3, (0, 1), ((0,),), ((0, 1, 1),), ((0, -1),), ((0, 0.5),), "01", (("0", 1),)],
)
def test_worlds_that_are_none(worlds: object) -> None:
    with pytest.raises(
        InputError, match=r"'allowed' among 2 members needs worlds=\(…\), the labels"
    ):
        Allowed(("a", "b"), worlds)  # type: ignore[arg-type]


def test_what_speaks_of_a_class() -> None:
    assert [*Equal(("a", "b")).speaks_of(3)] == [*Opposite(("a", "b")).speaks_of(3)] == []
    assert [*Implies(("a", "b"), label=2).speaks_of(3)] == [2]
    assert [*Allowed(("a", "b"), ((0, 0),)).speaks_of(3)] == [0, 1, 2]


def test_lists_and_numbers_of_numpy_are_taken() -> None:
    one = Equal(["a", "b"], prior=np.bool_(True), label=np.int64(1), strength=np.float64(0.5))  # type: ignore[arg-type]
    two = Equal(("a", "b"), prior=True, strength=0.5)
    assert one == two and hash(one) == hash(two)
    assert json.dumps(one.to_json()) == json.dumps(two.to_json())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"members": "ab"}, "members of relation 'equal' are a tuple of ids; got 'ab'"),
        ({"members": 3}, "members of relation 'equal' are a tuple of ids; got 3"),
        ({"members": ("a", 3)}, "each member of relation 'equal' is an id, a text; got 3"),
        ({"label": -1}, "class of relation 'equal' is its number, from 0; got -1"),
        ({"label": "1"}, "class of relation 'equal' is its number, from 0; got '1'"),
        ({"strength": "1"}, "strength of relation 'equal' is a number; got '1'"),
        ({"prior": "no"}, "whether relation 'equal' is a prior is a bool; got 'no'"),
    ],
)
def test_arguments_of_another_kind(given: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Equal(**{"members": ("a", "b"), **given})  # type: ignore[arg-type]
