"""Where a solve begins: what is first, what is drawn, and that what is drawn keeps relations."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from consilience.data.relations import AtMostOne, Equal, ExactlyOne, Opposite
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.evidence.relation_factors import Factor, Large
from consilience.objective.conditioning import condition
from consilience.solvers import starts
from consilience.solvers.adam import Adam
from consilience.solvers.belief_propagation import BeliefPropagation
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.solvers.starts import FEW_EXAMPLES, SPREAD, STARTS, default_starts, draw
from problems import balanced, chain, leaning, made
from scenes import N, case, gathered, scene
from zoo import ONE, dataset, evidence, flipped, pairs, random_rows


def uniform(ev: Evidence) -> torch.Tensor:
    return torch.full((1, ev.n, ev.k), 1 / ev.k, dtype=torch.float64)


def untied(seed: int, k: int = 2, n: int = 8) -> Evidence:
    """Evidence of a few predictions for each example, without relations or contrasts."""
    return evidence(n, random_rows(np.random.default_rng(seed), n, k, shown=3), k)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_as_many_starts_as_are_asked_for(count):
    for ev in (case(0, 3)[0], untied(0, 3)):
        theta = draw(ev, count, 0, None)
        assert theta.shape == (count, ev.n, 3) and theta.dtype == torch.float64
        assert torch.isfinite(theta).all()
        # Every other drawn start follows the evidence, and two of those may come to the same.
        hard = {tuple(start.argmax(dim=-1).tolist()) for start in theta}
        assert len(hard) >= count - count // 3


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_first_start_is_what_is_given_else_the_zero_shot_answer(count):
    ev, _ = case(1)
    q = torch.softmax(draw(ev, count, 0, None)[0], dim=-1)
    np.testing.assert_allclose(q, condition(ev, uniform(ev)).prior[0].exp(), atol=1e-12)
    np.testing.assert_allclose(q[7], 0.5)
    given = np.random.default_rng(0).dirichlet([1, 1], size=N)
    given[3] = [0, 1]
    q = torch.softmax(draw(ev, count, 0, given)[0], dim=-1)
    np.testing.assert_allclose(q, given, atol=1e-11)


def test_the_second_is_what_the_evidence_says_under_the_first():
    ev = untied(2)
    given = np.random.default_rng(0).dirichlet([1, 1], size=8)
    for start in (None, given):
        first, second = draw(ev, 2, 0, start)
        said = condition(ev, torch.softmax(first, dim=-1).unsqueeze(0)).log_pool[0]
        assert torch.equal(second, said)
    assert not torch.equal(draw(ev, 2, 0, None)[1], second)


def test_every_other_drawn_start_is_noise_and_those_between_have_followed_the_evidence(
    monkeypatch,
):
    """Of two bodies of evidence under the same noise nothing but the evidence differs."""
    one, two = (draw(untied(seed), 9, 0, None) for seed in (2, 3))
    assert torch.equal(one[3::2], two[3::2])
    assert ((one - two)[2::2].abs().amax(dim=(1, 2)) > 0.1).all()
    # Before they follow, the evidence counts for less from one to the next.
    monkeypatch.setattr(starts, "FOLLOWED", 0)
    one, two = (draw(untied(seed), 9, 0, None) for seed in (2, 3))
    said, apart = one[1] - two[1], one[2::2] - two[2::2]
    weight = [float((a * said).sum() / said.square().sum()) for a in apart]
    for a, w in zip(apart, weight, strict=True):
        np.testing.assert_allclose(a, w * said, atol=1e-12)
    assert 1 >= weight[0] > weight[1] > weight[2] > weight[3] > 0


def test_the_noise_is_as_wide_as_it_says():
    noise = draw(untied(3, n=300), 5, 0, None)[3]
    assert float(noise.std()) == pytest.approx(SPREAD, rel=0.1)
    assert float(noise.mean()) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("k", [2, 3])
def test_the_seed_decides_bit_for_bit(k):
    ev, _ = case(4, k)
    one, two, other = (draw(ev, 6, seed, None) for seed in (5, 5, 6))
    assert one.numpy().tobytes() == two.numpy().tobytes()
    # The given, what the evidence says and what contrasts say are not drawn.
    assert torch.equal(one[:3], other[:3])
    assert not any(torch.equal(a, b) for a, b in zip(one[3:], other[3:], strict=True))


TIED = {
    "a scene": lambda k: gathered(*scene(5, k)),
    "a chain": lambda k: evidence(
        8, random_rows(np.random.default_rng(k), 8, k), k, [(Equal, (i, i + 1)) for i in range(7)]
    ),
    "all different": lambda k: evidence(
        k,
        random_rows(np.random.default_rng(k), k, k),
        k,
        [(Opposite, p) for p in combinations(range(k), 2)],
    ),
    "groups": lambda k: evidence(
        12,
        random_rows(np.random.default_rng(k), 12, k),
        k,
        [
            (ExactlyOne, (0, 1, 2)),
            (ExactlyOne, (5, 4, 3)),
            (AtMostOne, (6, 7, 8)),
            (Opposite, (9, 10)),
        ],
    ),
}


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("make", TIED.values(), ids=TIED)
def test_every_start_after_the_first_keeps_the_relations_that_can_be_listed(make, k):
    ev = make(k)
    theta = draw(ev, 12, 0, np.full((ev.n, k), 1 / k))
    kept = [factor for factor in ev.factors if isinstance(factor, Factor)]
    assert kept
    hard = theta.argmax(dim=-1)
    for factor in kept:
        allowed = {tuple(world) for world in factor.worlds.tolist()}
        for members in factor.members:
            assert all(tuple(labels) in allowed for labels in hard[1:, members].tolist())
            # By a margin, so that a few steps do not undo it.
            best = theta[1:, members].topk(2, dim=-1).values
            assert float((best[..., 0] - best[..., 1]).min()) >= SPREAD - 1e-9
    # What is given is taken as it is.
    assert (theta[0] == theta[0, 0, 0]).all()


def test_of_the_labellings_allowed_it_is_the_most_probable():
    rows = [(0, [0.4, 0.6], ()), (1, [0.1, 0.9], ()), (2, [0.45, 0.55], ())]
    ev = evidence(3, rows, ties=[(ExactlyOne, (0, 1, 2))])
    assert draw(ev, 2, 0, None).argmax(dim=-1).tolist() == [[1, 1, 1], [0, 1, 0]]


def test_large_relations_are_left_to_the_objective():
    ev = evidence(13, leaning([2.0] * 13), ties=[(AtMostOne, tuple(range(13)))])
    assert isinstance(ev.factors[0], Large)
    assert draw(ev, 2, 0, None)[1].argmax(dim=-1).tolist() == [1] * 13


def test_the_start_from_contrasts_exists_only_with_contrasts():
    """Known: the first of a chain that attracts; the starts with no contrasts know of no other."""
    field = leaning(1.5 * np.eye(8)[0])
    coupled, without = made(8, field, balanced(6, chain(6, 4.0))), made(8, field)
    for count in (3, 6):
        third = draw(coupled, count, 0, None)[2]
        assert third[:6].argmax(dim=-1).tolist() == [1] * 6
        assert float((third[:6, 1] - third[:6, 0]).min()) > 0.5
        drawn = draw(without, count, 0, None)[2]
        assert not torch.equal(drawn, draw(without, count, 1, None)[2])
        assert torch.equal(third, draw(coupled, count, 1, None)[2])
    # Of two starts there is none to spare for it.
    assert torch.equal(draw(coupled, 2, 0, None)[1], draw(coupled, 3, 0, None)[1])


@pytest.mark.parametrize("k", [2, 3])
def test_the_start_from_contrasts_sees_no_label_that_was_shown(k):
    """Whatever shots were labelled with, it is zero-shot answers and contrasts alone."""
    data, (first, flips) = scene(6, k)
    other = [row for row in first if not row[0].shots]
    assert len(other) < len(first)
    starts = [draw(gathered(data, [rows, flips]), 3, 0, None)[2] for rows in (first, other)]
    torch.testing.assert_close(*starts, rtol=0, atol=1e-12)


def test_the_start_from_contrasts_keeps_relations():
    data = dataset(4, ties=[(Opposite, (0, 1))])
    rows = pairs(data, [(2, [0.1, 0.9], ())])
    # Both attract the third, as far as contrasts go; a fourth has its contrasts the other way.
    for i, j in permutations((0, 1, 2), 2):
        rows += flipped(data, i, [(j, 1)], 0, 0, [0.1, 0.9], [0.6, 0.4])
        rows += flipped(data, 3, [(j, 1)], 0, 0, [0.6, 0.4], [0.1, 0.9], repeat=i)
    hard = draw(collect(data, [ONE], [rows], bias="none"), 3, 0, None).argmax(dim=-1)
    assert hard[2, 2] == 1 and int(hard[2, 0] + hard[2, 1]) == 1


def test_few_examples_have_several_starts_and_more_have_one():
    assert default_starts(FEW_EXAMPLES) == STARTS > 1 == default_starts(FEW_EXAMPLES + 1)
    few, more = (
        evidence(n, [(i, [0.4, 0.6], ()) for i in range(n)])
        for n in (FEW_EXAMPLES, FEW_EXAMPLES + 1)
    )
    for ev, count in ((few, STARTS), (more, 1)):
        for solver in (LBFGS(), Adam(), BeliefPropagation()):
            assert sum(o.starts for o in solve(ev, solver=solver).optima) == count
        assert sum(o.starts for o in solve(ev, starts=3).optima) == 3
