"""Which relations a data set refuses: contradictions of any length, and those of other kinds."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.relation_checks import contradiction
from consilience.data.relations import (
    Allowed,
    Equal,
    ExactlyOne,
    Implies,
    Opposite,
    Relation,
    _Labels,
)
from consilience.errors import InputError

EXAMPLES = [Example(f"text {i}") for i in range(20)]
IDS = [example.id for example in EXAMPLES]
PAIR = (IDS[0], IDS[1])


@pytest.mark.parametrize("seed", range(40))
def test_a_contradiction_is_one(seed: int) -> None:
    rng = random.Random(seed)
    names = [f"id{i}" for i in range(7)]
    relations: list[Relation] = [Equal(tuple(rng.sample(names, 3))) for _ in range(1)]
    relations += [Opposite(tuple(rng.sample(names, 2))) for _ in range(rng.randrange(2, 7))]
    relations.append(ExactlyOne(tuple(rng.sample(names, 2))))  # opposite, of two classes
    relations.append(Implies(tuple(rng.sample(names, 2))))  # is not looked at
    relations.append(Equal(tuple(rng.sample(names, 2)), strength=0.9))  # nor is a soft one
    for k in (2, 3):
        looked_at = relations[:-2] if k == 2 else relations[:-3]
        worlds = np.array(list(product(range(k), repeat=7)))
        at = [[names.index(m) for m in r.members] for r in looked_at]
        kept = [r.holds(worlds[:, c]) for r, c in zip(looked_at, at, strict=True)]
        possible = bool(np.all(kept, axis=0).any())
        found = contradiction(relations, k)
        if k == 2:
            assert (found is None) == possible
        else:
            assert found is None or not possible
        if found is not None:
            assert set(found) <= set(names) and len(set(found)) == 2


def test_a_contradiction_is_found_through_many() -> None:
    names = [f"{i:06d}" for i in range(20_001)]
    chain: list[Relation] = [Opposite((a, b)) for a, b in pairwise(names)]
    assert contradiction(chain, 2) is None
    assert contradiction([*chain, Equal((names[0], names[-1]))], 2) is None
    assert contradiction([*chain, Opposite((names[0], names[-1]))], 2) is not None
    assert contradiction([*chain, Opposite((names[0], names[-1]))], 3) is None
    torn: list[Relation] = [Equal(("a", "b")), Opposite(("a", "b"))]
    assert contradiction(torn, 3) == ("a", "b")


CHAIN: list[Relation] = [Equal(pair) for pair in pairwise(IDS[:13])]
RING: list[Relation] = [Opposite(pair) for pair in pairwise([*IDS[:13], IDS[0]])]


@pytest.mark.parametrize(
    "torn",
    [
        [*CHAIN, Opposite((IDS[0], IDS[12]))],
        RING,
        [*RING[1:], ExactlyOne((IDS[0], IDS[1]))],
        [*RING[1:], Allowed((IDS[0], IDS[1]), ((0, 1), (1, 0)))],
        [Equal(tuple(IDS)), Opposite((IDS[3], IDS[4]))],
    ],
)
def test_a_data_set_of_any_size_is_not_torn(torn: list[Relation]) -> None:
    with pytest.raises(InputError, match=r"the texts 'text .*' are both equal and opposite"):
        Dataset("torn", EXAMPLES, torn)
    # Less one of them it is none, and so where one may not hold.
    Dataset("whole", EXAMPLES, torn[:-1])
    Dataset("soft", EXAMPLES, [*torn[:-1], replace(torn[-1], strength=0.9)])


class Mine(Relation):
    """One that a store cannot read back."""

    name = "mine"

    def holds(self, labels: _Labels) -> np.ndarray:
        return np.ones(len(labels), dtype=np.bool_)


class Likewise(Equal):
    """One that would be read back as what it is not."""


@pytest.mark.parametrize("kind", [Mine, Likewise])
def test_a_relation_that_cannot_be_read_back(kind: type[Relation]) -> None:
    with pytest.raises(InputError, match=f"read back {kind.__name__}.*declare it as Allowed"):
        Dataset("own", EXAMPLES, [kind((IDS[0], IDS[1]))])


def test_what_is_no_relation() -> None:
    with pytest.raises(InputError, match=r"relations are made of Equal.*; got a tuple"):
        Dataset("own", EXAMPLES, [(IDS[0], IDS[1])])  # type: ignore[list-item]


def test_classes_that_the_task_has_not() -> None:
    for relation in (Implies(PAIR, label=2), Allowed(PAIR, ((0, 0), (1, 2)))):
        with pytest.raises(InputError, match=r"speaks of class 2, but the task has .* 0 … 1"):
            Dataset("own", EXAMPLES, [relation])


def test_data_sets_of_other_worlds_are_others() -> None:
    worlds = [((0, 0), (1, 1)), ((0, 1), (1, 0)), ((0, 0), (0, 1), (1, 1))]
    made = [Dataset("x", EXAMPLES, [Allowed(PAIR, w)]) for w in worlds]
    assert len({data.fingerprint for data in made}) == 3
    for data in made:
        again = Dataset.from_json(data.to_json())
        assert again.relations == data.relations and again.fingerprint == data.fingerprint
    # Whatever order they are given in.
    several = [Allowed(PAIR, w) for w in worlds[1:]]
    one, other = (Dataset("x", EXAMPLES, some) for some in (several, several[::-1] * 2))
    assert one.relations == other.relations and one.fingerprint == other.fingerprint
