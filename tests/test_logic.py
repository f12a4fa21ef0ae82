"""The logical term against a sum over every labelling, written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from consilience import logic
from consilience.errors import InputError
from consilience.logic import CLOSED_FORMS, EXACT, Large, factors
from consilience.relations import (
    RELATIONS,
    And,
    AtMostOne,
    Equal,
    ExactlyOne,
    Opposite,
    Or,
    Ordered,
    Relation,
)

INDEX = {chr(ord("a") + i): i for i in range(26)}


def soft(n: int, k: int, seed: int = 0) -> torch.Tensor:
    drawn = np.random.default_rng(seed).normal(size=(n, k))
    return torch.log_softmax(torch.from_numpy(drawn), dim=-1)


def enumerated(relations: list[Relation], logq: torch.Tensor) -> float:
    """Log probability that all relations hold, over every labelling of all examples."""
    n, k = logq.shape
    total = 0.0
    for world in itertools.product(range(k), repeat=n):
        read = [np.array([[world[INDEX[m]] for m in r.members]]) for r in relations]
        if all(r.holds(labels)[0] for r, labels in zip(relations, read, strict=True)):
            total += math.exp(sum(float(logq[i, c]) for i, c in enumerate(world)))
    return math.log(total)


def summed(relations: list[Relation], logq: torch.Tensor) -> float:
    made = factors(relations, INDEX, logq.shape[1])
    return sum(float(f.log_holds(logq).sum()) for f in made)


GRID = [
    (name, size, k, label)
    for name, kind in RELATIONS.items()
    for size in sorted({kind.size[0], min(kind.size[1] or 4, 4)})
    for k in (2, 3)
    for label in range(k)
]


@pytest.mark.parametrize(("name", "size", "k", "label"), GRID)
def test_one_relation(name, size, k, label):
    members = tuple(np.random.default_rng(size).permutation(list("abcde"))[:size].tolist())
    relation = RELATIONS[name](members, label=label)
    logq = soft(5, k, seed=label)
    assert summed([relation], logq) == pytest.approx(enumerated([relation], logq), abs=1e-12)


SETS = {
    "two components": [Equal(("a", "b")), Opposite(("c", "d"))],
    "a chain": [Opposite(("a", "b")), Equal(("b", "c")), Opposite(("d", "c"))],
    "overlapping": [AtMostOne(("a", "b", "c")), ExactlyOne(("c", "d", "e"))],
    "many on one": [Ordered(("a", "b", "c")), And(("a", "c", "d")), Or(("e", "b", "a"))],
    "joined late": [Equal(("a", "b")), Equal(("d", "e")), Opposite(("b", "d"))],
    "the same twice": [Equal(("a", "b")), Equal(("b", "a"))],
    "two classes counted": [ExactlyOne(("a", "b", "c"), label=0), AtMostOne(("b", "c", "d"))],
}


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("relations", SETS.values(), ids=SETS)
def test_relations_that_overlap_hold_together(relations, k):
    for seed in range(3):
        logq = soft(5, k, seed)
        assert summed(relations, logq) == pytest.approx(enumerated(relations, logq), abs=1e-12)


def test_a_component_is_one_factor():
    assert [f.members.tolist() for f in factors(SETS["a chain"], INDEX, 2)] == [[[0, 1, 2, 3]]]
    two = factors(SETS["two components"], INDEX, 2)
    assert sorted(f.members.tolist() for f in two) == [[[0, 1]], [[2, 3]]]
    assert factors([], INDEX, 2) == ()


def test_relations_of_one_shape_are_evaluated_together():
    relations = [ExactlyOne((x, y, z)) for x, y, z in ("abc", "def", "ghi")]
    made = factors([*relations, Opposite(("j", "k"))], INDEX, 2)
    assert [tuple(f.members.shape) for f in made] == [(3, 3), (1, 2)]
    assert made[0].members.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert sorted(made[0].worlds.tolist()) == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    logq = soft(11, 2)
    each = [enumerated([ExactlyOne(("a", "b", "c"))], logq[3 * g : 3 * g + 3]) for g in range(3)]
    assert made[0].log_holds(logq).tolist() == pytest.approx(each, abs=1e-12)


def test_members_in_another_order_are_another_shape():
    relations = [And(("a", "b", "c")), And(("f", "d", "e"))]
    (made,) = factors(relations, INDEX, 2)
    assert made.members.tolist() == [[0, 1, 2], [5, 3, 4]]
    logq = soft(6, 2)
    assert summed(relations, logq) == pytest.approx(enumerated(relations, logq), abs=1e-12)


def test_a_large_component_falls_back_to_one_factor_per_relation(monkeypatch):
    relations = SETS["a chain"]
    logq = soft(5, 2)
    exact = summed(relations, logq)
    monkeypatch.setattr(logic, "EXACT", 3)
    made = factors(relations, INDEX, 2)
    assert sum(len(f.members) for f in made) == 3
    apart = sum(enumerated([r], logq) for r in relations)
    assert summed(relations, logq) == pytest.approx(apart, abs=1e-12)
    assert exact != pytest.approx(apart, abs=1e-3)


def test_the_limit_as_it_is():
    chain = [Equal((x, y)) for x, y in itertools.pairwise(list(INDEX)[:13])]
    assert [tuple(f.members.shape) for f in factors(chain, INDEX, 2)] == [(12, 2)]
    assert [tuple(f.members.shape) for f in factors(chain[:-1], INDEX, 2)] == [(1, 12)]
    assert factors(chain[:-1], INDEX, 2)[0].worlds.tolist() == [[0] * 12, [1] * 12]
    # With four classes twelve members have too many worlds.
    assert [tuple(f.members.shape) for f in factors(chain[:-1], INDEX, 4)] == [(11, 2)]


def test_certainty_costs_nothing_and_a_breach_everything():
    relation = [ExactlyOne(("a", "b"))]
    certain = torch.log(torch.tensor([[1 - 1e-12, 1e-12], [1e-12, 1 - 1e-12]]).double())
    assert summed(relation, certain) == pytest.approx(0, abs=1e-9)
    assert summed(relation, certain[[0, 0]]) == pytest.approx(math.log(2e-12), abs=1e-6)


@pytest.mark.parametrize(
    "relations",
    [
        [Equal(("a", "b")), Opposite(("a", "b"))],
        [Opposite(("a", "b")), Opposite(("b", "c")), Opposite(("c", "a"))],
        [ExactlyOne(("a", "b", "c")), Equal(("a", "b", "c"))],
    ],
)
def test_relations_that_contradict_each_other(relations):
    with pytest.raises(InputError, match="satisfy all of") as caught:
        factors(relations, INDEX, 2)
    assert relations[0].name in str(caught.value) and "\n" not in str(caught.value)


def test_three_pairwise_different_examples_need_three_classes():
    triangle = [Opposite(("a", "b")), Opposite(("b", "c")), Opposite(("c", "a"))]
    (made,) = factors(triangle, INDEX, 3)
    assert sorted(made.worlds.tolist()) == sorted(map(list, itertools.permutations(range(3))))


def test_a_relation_among_too_many():
    with pytest.raises(InputError, match="declare it among fewer") as caught:
        factors([Ordered(("a", "b", "c"))], INDEX, 50)
    assert "\n" not in str(caught.value)
    assert factors([Equal(tuple(list(INDEX)[:12]))], INDEX, 2)[0].worlds.shape == (2, 12)
    assert isinstance(factors([Equal(tuple(list(INDEX)[:13]))], INDEX, 2)[0], Large)


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("size", [2, 3, 6])
@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_closed_forms_are_the_enumeration(kind, size, k):
    ids = list(INDEX)[:size]
    rng = np.random.default_rng(size)
    for label in range(k):
        (listed,) = factors([kind(tuple(ids), label=label)], INDEX, k)
        closed = Large(listed.members, kind, label)
        for scale in (0.5, 3, 30, 800):
            theta = torch.from_numpy(scale * rng.normal(size=(len(INDEX), k))).requires_grad_()
            values, slopes = [], []
            for factor in (listed, closed):
                value = factor.log_holds(torch.log_softmax(theta, -1)).sum()
                values.append(float(value.detach()))
                slopes.append(torch.autograd.grad(value, theta)[0].numpy())
            assert values[1] == pytest.approx(values[0], rel=1e-9, abs=1e-9)
            np.testing.assert_allclose(slopes[1], slopes[0], atol=1e-8)


def test_a_hundred_members():
    index = {str(i): i for i in range(100)}
    q = np.random.default_rng(0).uniform(0.001, 0.03, size=100)
    logq = torch.from_numpy(np.log(np.stack([1 - q, q], axis=1)))
    none = np.prod(1 - q)
    one = sum(none / (1 - p) * p for p in q)
    for kind, wanted in (
        (ExactlyOne, one),
        (AtMostOne, none + one),
        (Equal, none + np.prod(q)),
        (And, 1 - q[-1]),
        (Or, none + (1 - none / (1 - q[-1])) * q[-1]),
    ):
        (factor,) = factors([kind(tuple(index))], index, 2)
        assert float(factor.log_holds(logq)) == pytest.approx(np.log(wanted), abs=1e-9)


def test_one_of_thirteen_is_at_most_one():
    q = torch.tensor([[0, 1]] + [[1, 0]] * 12, dtype=torch.float64)
    large = Large(torch.arange(13).unsqueeze(0), AtMostOne, 1)
    assert large.log_holds(q.log()).tolist() == [0.0]
    assert large.log_holds(q.flip(1).log()).tolist() == [-math.inf]


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("size", [2, 3, EXACT + 1])
@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_hard_labels_hold_or_do_not(kind, size, k):
    """Log probabilities of exactly 0 and minus infinity, and nothing that is not a number."""
    rng = np.random.default_rng(size)
    for label in range(k):
        relation = kind(tuple(list(INDEX)[:size]), label=label)
        closed = Large(torch.arange(size).unsqueeze(0), kind, label)
        others = np.full(size, (label + 1) % k)
        tried = [np.full(size, label), others, rng.integers(k, size=size)]
        tried += [np.where(np.arange(size) == i, label, others) for i in (0, size - 1)]
        tried += [np.where(np.arange(size) == i, others, label) for i in (0, size - 1)]
        holds = relation.holds(np.array(tried))
        assert {*holds} == {True, False}
        found = [float(closed.log_holds(torch.from_numpy(np.eye(k)[x]).log())) for x in tried]
        assert found == [0.0 if held else -math.inf for held in holds]


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_hard_labels_beside_soft_ones(kind, k):
    for label, hard, seed in itertools.product(range(k), range(k), range(4)):
        (listed,) = factors([kind(tuple("abcde"), label=label)], INDEX, k)
        logq = soft(5, k, seed)
        logq[seed : seed + 2] = torch.from_numpy(np.eye(k)[[hard, (hard + seed) % k]]).log()
        closed = Large(listed.members, kind, label).log_holds(logq)
        assert float(closed) == pytest.approx(float(listed.log_holds(logq)), abs=1e-12)
