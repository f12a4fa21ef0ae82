"""What hard relations leave of classes, against every labelling written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import And, AtMostOne, Equal, ExactlyOne, Or, Relation
from consilience.errors import InputError
from consilience.evidence import relation_factors
from consilience.evidence.implied_classes import broken_by, implied_classes
from consilience.evidence.relation_factors import CLOSED_FORMS, EXACT, Large, factors
from consilience.results.corrections import check_possible

NAMES = tuple("abcdefgh")
INDEX = {name: i for i, name in enumerate(NAMES)}
MANY = EXACT + 2


def written_out(
    relations: list[Relation], given: dict[int, int], k: int, n: int
) -> set[tuple[int, ...]]:
    """All labellings of the first n names that keep the relations and what is given."""
    kept = set()
    for world in itertools.product(range(k), repeat=n):
        if all(world[at] == label for at, label in given.items()) and all(
            r.holds(np.array([[world[INDEX[m]] for m in r.members]]))[0] for r in relations
        ):
            kept.add(world)
    return kept


@pytest.mark.parametrize("kind", CLOSED_FORMS)
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("enumerate_up_to", [EXACT, 1], ids=["listed", "closed form"])
def test_one_relation_implies_what_every_labelling_has(
    monkeypatch, kind, k, label, enumerate_up_to
):
    monkeypatch.setattr(relation_factors, "EXACT", enumerate_up_to)
    relation = kind(NAMES[:4], label=label)
    made = factors([relation], INDEX, k)
    assert isinstance(made[0], Large) is (enumerate_up_to == 1)
    seen = 0
    for count in range(1, 5):
        for at in itertools.combinations(range(4), count):
            for classes in itertools.product(range(k), repeat=count):
                given = dict(zip(at, classes, strict=True))
                worlds = written_out([relation], given, k, 4)
                assert bool(broken_by(made, given, k)) is not bool(worlds)
                if worlds:
                    columns = zip(*worlds, strict=True)
                    only = {i: c[0] for i, c in enumerate(columns) if len(set(c)) == 1}
                    assert implied_classes(made, given, k) == only
                    seen += len(only) > len(given)
    # Of three classes "none of these but one" leaves two: nothing is settled.
    assert bool(seen) is not (kind is AtMostOne and k == 3)


def test_what_one_relation_leaves_another_takes_up(monkeypatch):
    monkeypatch.setattr(relation_factors, "EXACT", 1)
    relations = [
        Equal(NAMES[:3]),
        And(("c", "d", "e"), label=1),
        AtMostOne(("e", "f", "g"), label=1),
        ExactlyOne(("f", "g", "h"), label=1),
        Or(("h", "a"), label=0),
    ]
    made = factors(relations, INDEX, 2)
    given = {INDEX["a"]: 1, INDEX["d"]: 1}
    worlds = written_out(relations, given, 2, 8)
    assert len(worlds) == 1
    assert implied_classes(made, given, 2) == dict(enumerate(worlds.pop()))
    against = given | {INDEX["f"]: 1}
    assert not written_out(relations, against, 2, 8) and broken_by(made, against, 2)


def chain(n: int, hold: str) -> Dataset:
    texts = [f"t{i}" for i in range(n)]
    ids = [Example(text).id for text in texts]
    pairs = [Equal(pair) for pair in itertools.pairwise(ids)]
    return Dataset("chain", map(Example, texts), pairs if hold == "pairs" else [Equal(tuple(ids))])


@pytest.mark.parametrize("n", [EXACT, MANY, 3 * EXACT])
@pytest.mark.parametrize("hold", ["pairs", "one relation"])
def test_the_size_of_a_component_does_not_matter(n, hold):
    data = chain(n, hold)
    first, last = (Example(f"t{i}").id for i in (0, n - 1))
    made = factors(data.relations, data.index, 2)
    assert implied_classes(made, {data.index[first]: 1}, 2) == dict.fromkeys(range(n), 1)
    with pytest.raises(InputError, match="cannot hold with the labels you gave"):
        check_possible(data, {first: 0, last: 1}, False)
    check_possible(data, {first: 1, last: 1}, False)


def test_a_relation_that_may_be_broken_implies_nothing():
    texts = [f"t{i}" for i in range(MANY)]
    ids = tuple(Example(text).id for text in texts)
    for members in (ids, ids[:3]):
        data = Dataset("soft", map(Example, texts), [Equal(members, strength=0.9)])
        made = factors(data.relations, data.index, 2)
        given = {data.index[ids[0]]: 1}
        assert implied_classes(made, given, 2) == given
        check_possible(data, {ids[0]: 0, ids[1]: 1}, False)


def test_what_the_given_classes_break_implies_nothing_and_the_rest_does():
    relations = [Equal(("a", "b")), Equal(("c", "d"))]
    made = factors(relations, INDEX, 2)
    given = {0: 0, 1: 1, 2: 1}
    assert implied_classes(made, given, 2) == given | {3: 1}
