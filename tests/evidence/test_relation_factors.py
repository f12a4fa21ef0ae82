"""The logical term against a sum over every labelling, written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from consilience.data.relations import (
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
from consilience.errors import InputError
from consilience.evidence import relation_factors
from consilience.evidence.relation_factors import CLOSED_FORMS, EXACT, Large, factors

INDEX = {chr(ord("a") + i): i for i in range(26)}


def soft(n: int, k: int, seed: int = 0) -> torch.Tensor:
    drawn = np.random.default_rng(seed).normal(size=(n, k))
    return torch.log_softmax(torch.from_numpy(drawn), dim=-1)


def enumerated(relations: list[Relation], logq: torch.Tensor) -> float:
    """Log probability that all relations hold, over every labelling of all examples.

    One of strength s holds in the labellings that satisfy it, and in 1 − s of the others.
    """
    n, k = logq.shape
    total = 0.0
    for world in itertools.product(range(k), repeat=n):
        read = [np.array([[world[INDEX[m]] for m in r.members]]) for r in relations]
        kept = [
            1.0 if r.holds(labels)[0] else 1 - r.strength
            for r, labels in zip(relations, read, strict=True)
        ]
        total += math.prod(kept) * math.exp(sum(float(logq[i, c]) for i, c in enumerate(world)))
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
    monkeypatch.setattr(relation_factors, "EXACT", 3)
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


# --- soft relations --------------------------------------------------------------------------


def drawn_relations(seed: int, k: int, hard: bool) -> list[Relation]:
    """Four random soft relations among five examples; where `hard`, two of them hard."""
    rng = np.random.default_rng(seed)
    made: list[Relation] = []
    for _ in range(4):
        kind = list(RELATIONS.values())[rng.integers(len(RELATIONS))]
        size = kind.size[1] or int(rng.integers(2, 5))
        members = tuple(rng.permutation(list("abcde"))[:size].tolist())
        strength = float(rng.uniform(0.05, 0.99))
        made.append(kind(members, label=int(rng.integers(k)), strength=strength))
    if hard:
        made[0] = Or(("a", "b", "c"), label=int(rng.integers(k)))
        made[1] = Equal(("d", "e"))
    return made


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("k", [2, 3])
def test_soft_relations_are_a_mixture(k, hard):
    for seed in range(20):
        relations = drawn_relations(seed, k, hard)
        logq = soft(5, k, seed)
        assert summed(relations, logq) == pytest.approx(enumerated(relations, logq), abs=1e-12)


@pytest.mark.parametrize("k", [2, 3])
def test_the_slope_of_a_soft_relation(k):
    for seed in range(4):
        made = factors(drawn_relations(seed, k, hard=True), INDEX, k)
        made += (Large(torch.tensor([[0, 2, 4]]), AtMostOne, 1, torch.tensor([-1.3]).double()),)
        theta = soft(5, k, seed).requires_grad_()

        def value(theta, made=made):
            logq = torch.log_softmax(theta, -1)
            return sum(f.log_holds(logq).sum() for f in made)

        assert torch.autograd.gradcheck(value, theta, eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", RELATIONS)
def test_a_strength_near_1_is_a_hard_relation_and_near_0_none(name):
    kind = RELATIONS[name]
    members = tuple("abcd"[: kind.size[1] or 4])
    logq = soft(4, 2)
    hard = summed([kind(members)], logq)
    found = [summed([kind(members, strength=s)], logq) for s in (1e-12, 0.3, 0.6, 1 - 1e-12)]
    assert found[0] == pytest.approx(0, abs=1e-11)
    assert found[-1] == pytest.approx(hard, abs=1e-11)
    assert 0 > found[0] > found[1] > found[2] > found[3] > hard


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("kind", CLOSED_FORMS)
def test_a_soft_closed_form_is_the_mixture_with_the_hard_one(kind, k):
    rest = torch.log1p(-torch.tensor([0.8, 0.25], dtype=torch.float64))
    rows = torch.tensor([[0, 1, 2, 3], [4, 2, 0, 5]])
    for label, seed in itertools.product(range(k), range(3)):
        logq = soft(6, k, seed)
        held = Large(rows, kind, label).log_holds(logq).exp()
        wanted = rest.exp() + (1 - rest.exp()) * held
        found = Large(rows, kind, label, rest).log_holds(logq).exp()
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    # What is broken for sure leaves 1 − s, and what holds for sure costs nothing.
    sure = torch.from_numpy(np.eye(2)[[0, 0, 0, 0]]).log()
    both = Large(torch.tensor([[0, 1, 2, 3]]), Or, 1, rest[:1])
    assert float(both.log_holds(sure)) == pytest.approx(0, abs=1e-12)
    broken = torch.from_numpy(np.eye(2)[[0, 0, 0, 1]]).log()
    assert float(both.log_holds(broken)) == pytest.approx(math.log(0.2), abs=1e-12)


def test_many_members_and_one_of_them_soft():
    ids = tuple(list(INDEX)[:13])
    logq = soft(13, 2)
    hard = summed([Equal(ids)], logq)
    (made,) = factors([Equal(ids, strength=0.9)], INDEX, 2)
    assert isinstance(made, Large)
    assert float(made.log_holds(logq)) == pytest.approx(math.log(0.1 + 0.9 * math.exp(hard)))
    # Hard and soft ones of one shape are two factors, each with its own form.
    both = factors([Equal(ids), Equal(tuple(reversed(ids)), strength=0.9)], INDEX, 2)
    assert [f.log_rest is None for f in both] == [True, False]


def test_soft_relations_of_one_shape_are_evaluated_together():
    pairs = [("ab", 0.6), ("cd", 0.9), ("ef", 0.75)]
    made = factors([Equal(tuple(p), strength=s) for p, s in pairs], INDEX, 2)
    assert [tuple(f.log_weights.shape) for f in made] == [(3, 4)]
    lost = made[0].log_weights[:, [1, 2]].exp()
    np.testing.assert_allclose(lost, [[0.4, 0.4], [0.1, 0.1], [0.25, 0.25]])
    assert made[0].log_weights[:, [0, 3]].eq(0).all()
    (hard,) = factors([Equal(("a", "b"))], INDEX, 2)
    assert hard.log_weights is None


def test_soft_relations_take_nothing_from_hard_ones():
    """However many there are, a component of hard relations is enumerated as a whole."""
    hard = [ExactlyOne(tuple("abcde")), ExactlyOne(tuple("fghij"))]
    near = [Equal((x, y), strength=0.7) for x, y in zip("abcde", "fghij", strict=True)]
    inside = Equal(("a", "b"), strength=0.9)
    made = factors([*hard, *near, inside], INDEX, 2)
    sizes = sorted((f.members.shape[1], len(f.members), len(f.worlds)) for f in made)
    # The pair inside joins; those between, of 10 members in all, stay pairs.
    assert sizes == [(2, 5, 4), (5, 1, 5), (5, 1, 5)]
    faint = [Equal(r.members, strength=1e-14) for r in near]
    logq = soft(10, 2)
    assert summed([*hard, *faint], logq) == pytest.approx(summed(hard, logq), abs=1e-12)


def test_the_strongest_join_first():
    ids = list(INDEX)[:12]
    chain = [
        Equal((x, y), strength=0.5 + 0.01 * i) for i, (x, y) in enumerate(itertools.pairwise(ids))
    ]
    for order in (chain, chain[::-1]):
        made = factors(order, INDEX, 2)
        members = {tuple(sorted(row)) for f in made for row in f.members.tolist()}
        # Eight of two classes together, then what would have made them more, then the rest.
        assert members == {tuple(range(4, 12)), (3, 4), (0, 1, 2, 3)}
    assert max(len(f.worlds) for f in factors(chain, INDEX, 3)) == 3**5


def test_a_soft_contradiction_is_no_contradiction():
    relations = [Equal(("a", "b"), strength=0.7), Opposite(("a", "b"), strength=0.6)]
    logq = torch.log(torch.full((2, 2), 0.5, dtype=torch.float64))
    assert summed(relations, logq) == pytest.approx(math.log((0.4 + 0.3) / 2))
    with pytest.raises(InputError, match=r"satisfy all of: equal, opposite$"):
        factors(
            [Equal(("a", "b")), Opposite(("a", "b")), AtMostOne(("a", "b"), strength=0.5)], INDEX, 2
        )


def test_scaled_is_the_power_of_what_a_breach_weighs():
    (listed,) = factors([Equal(("a", "b"), strength=0.75)], INDEX, 2)
    closed = Large(listed.members, Equal, 1, torch.tensor([0.25]).log().double())
    logq = torch.from_numpy(np.eye(2)).log()
    for made in (listed, closed):
        assert float(made.scaled(0.5).log_holds(logq)) == pytest.approx(math.log(0.5))
        assert float(made.scaled(2).log_holds(logq)) == pytest.approx(math.log(0.0625))
    (hard,) = factors([Equal(("a", "b"))], INDEX, 2)
    assert hard.scaled(0.5) is hard and Large(listed.members, Equal, 1).scaled(2).log_rest is None
