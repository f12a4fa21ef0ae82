"""Belief propagation against the marginals of all labellings, and what it says of itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from consilience.data.relations import And, AtMostOne, Equal, ExactlyOne, Opposite, Or
from consilience.errors import InputError, SolveError
from consilience.evidence.evidence import Evidence
from consilience.evidence.relation_factors import Factor, Large
from consilience.objective.coherence import TERMS, default_terms
from consilience.objective.term import Role, Term
from consilience.solvers.belief_propagation import BeliefPropagation
from consilience.solvers.exhaustive import corners
from consilience.solvers.factor_graph import factor_graph, fields
from consilience.solvers.fixed_point import Objective, Problem, Result, chosen
from consilience.solvers.solution import solve
from problems import PROBLEMS, balanced, leaning, made, ring, softmax

OBJECTIVE = default_terms() | {"couplings": TERMS["couplings"].at(1.0)}


def under_uniform(ev: Evidence, terms=OBJECTIVE) -> Objective:
    problem = Problem(ev, terms)
    logq = torch.full((1, ev.n, ev.k), -np.log(ev.k), dtype=torch.float64)
    return problem.objective(problem.condition(logq))


def beliefs(objective: Objective, solver=None, start: np.ndarray | None = None):
    """The beliefs conditioned on uniform labels, (N, K), and whether they came to rest."""
    ev = objective.problem.evidence
    theta = torch.zeros(1, ev.n, ev.k, dtype=torch.float64)
    theta = theta if start is None else torch.from_numpy(start).unsqueeze(0)
    ended = (solver or BeliefPropagation(steps=500)).maximise(objective, theta)
    return torch.softmax(ended.theta[0], dim=-1).numpy(), bool(ended.converged)


def marginals(objective: Objective, relations=()) -> np.ndarray:
    """Those of p(y) ∝ exp(N J(y)/λ) over the labellings in which relations hold, by listing all."""
    problem = objective.problem
    n, k = problem.evidence.n, problem.evidence.k
    worlds = np.array(list(product(range(k), repeat=n)))
    for kind, at in relations:
        worlds = worlds[kind(tuple(map(str, at))).holds(worlds[:, list(at)])]
    soft = {name: t for name, t in problem.terms.items() if t.role is not Role.LOGIC}
    conditioned = chosen(objective.conditioned, torch.zeros(len(worlds), dtype=torch.int64))
    values = Problem(problem.evidence, soft).value(
        conditioned, corners(torch.from_numpy(worlds), k)
    )
    p = softmax(n * values.numpy() / problem.temperature)
    return np.einsum("w,wnk->nk", p, np.eye(k)[worlds])


TREES = {
    "a chain": ([(0, 1, 2.0), (1, 2, -1.5), (3, 2, 1.0), (3, 4, -2.5), (5, 4, 1.0)], []),
    "a star": ([(0, i, 2.0 - i) for i in range(1, 6)], []),
    "a tree of couplings and relations": (
        [(0, 3, 2.0), (5, 4, -1.5)],
        [(ExactlyOne, (0, 1, 2)), (Opposite, (3, 4))],
    ),
    "one component": ([], [(Equal, (0, 1)), (Opposite, (1, 2)), (AtMostOne, (2, 3, 4))]),
    "a conjunction": ([(0, 5, 1.5), (1, 4, -1.5)], [(And, (0, 1, 2, 3))]),
    "a disjunction": ([(4, 5, 1.5), (1, 0, -1.5)], [(Or, (1, 2, 3, 4))]),
}
"""Couplings and relations without a loop; couplings differ, for what they share is taken out."""


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", TREES)
def test_it_is_exact_without_loops(name, k):
    links, ties = TREES[name]
    rng = np.random.default_rng(k)
    rows = [(i, rng.dirichlet(np.ones(k)), ()) for i in range(6)]
    objective = under_uniform(made(6, rows, links, k, ties))
    found, rested = beliefs(objective)
    assert rested
    np.testing.assert_allclose(found, marginals(objective, ties), atol=1e-6)


@pytest.mark.parametrize("kind", [AtMostOne, ExactlyOne, Equal, And, Or])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("k", [2, 3])
def test_the_closed_form_of_a_relation_sends_what_listing_its_worlds_does(kind, label, k):
    rng = np.random.default_rng(0)
    rows = [(i, rng.dirichlet(np.ones(k)), ()) for i in range(6)]
    ev = made(6, rows, [(0, 4, 2.0), (3, 5, -2.0)], k)
    counted = Large(torch.tensor([[0, 1, 2, 3]]), kind, label)
    worlds = np.array(list(product(range(k), repeat=4)))
    worlds = worlds[kind(tuple("abcd"), label=label).holds(worlds)]
    listed = Factor(counted.members, torch.from_numpy(worlds))
    one, two = (beliefs(under_uniform(replace(ev, factors=(f,)))) for f in (counted, listed))
    assert one[1] and two[1]
    np.testing.assert_allclose(one[0], two[0], atol=1e-6)


@pytest.mark.parametrize("kind", [AtMostOne, ExactlyOne, Equal, And, Or])
def test_thirteen_tied_examples(kind):
    ties = [(kind, tuple(range(13)))]
    ev = made(13, leaning(np.random.default_rng(1).normal(size=13)), ties=ties)
    assert isinstance(ev.factors[0], Large)
    objective = under_uniform(ev)
    found, rested = beliefs(objective)
    assert rested
    # Sharp as well as soft: no message is lost to rounding.
    np.testing.assert_allclose(found, marginals(objective, ties), atol=1e-6)
    sharp = under_uniform(
        ev,
        OBJECTIVE
        | {
            "entropy": TERMS["entropy"].at(1e-3),
            "prior fidelity": TERMS["entropy"].at(0.0),
        },
    )
    np.testing.assert_allclose(beliefs(sharp)[0], marginals(sharp, ties), atol=1e-4)


def test_what_a_relation_rules_out_has_no_probability():
    ties = [(ExactlyOne, (0, 1)), (Equal, (0, 2))]
    ev = made(3, [(0, [1e-9, 1 - 1e-9], ()), (1, [1e-9, 1 - 1e-9], ())], ties=ties)
    labels, _ = beliefs(under_uniform(ev))
    np.testing.assert_allclose(labels[0, 1] + labels[1, 1], 1, atol=1e-6)
    np.testing.assert_allclose(labels[0], labels[2], atol=1e-6)
    np.testing.assert_allclose(labels, 0.5, atol=1e-6)


def test_around_a_weak_loop_it_is_close():
    objective = under_uniform(made(7, leaning([0.5, 0, 0, 0, -0.2, 0.3, 0]), balanced(5, ring(5))))
    found, rested = beliefs(objective)
    exact = marginals(objective)
    assert rested and 1e-6 < np.abs(found - exact).max() < 0.02


def test_without_entropy_labels_are_those_of_the_best_labelling():
    terms = {name: t for name, t in OBJECTIVE.items() if name not in ("entropy", "prior fidelity")}
    links, ties = TREES["a tree of couplings and relations"]
    objective = under_uniform(
        made(6, leaning([1.0, 0.3, -0.4, 0.2, 0.1, 0.7]), links, ties=ties), terms
    )
    found, _ = beliefs(objective)
    exact = marginals(objective, ties)
    assert (found.argmax(axis=1) == exact.argmax(axis=1)).all() and found.max(axis=1).min() > 0.999


def test_without_relations_and_couplings_it_is_the_objective_solved():
    ev = PROBLEMS["learner of three classes"]()
    one, two = (solve(ev, solver=s) for s in (BeliefPropagation(), None))
    np.testing.assert_allclose(one.labels, two.labels, atol=2e-3)
    assert one.result is Result.SETTLED


def test_a_term_that_is_not_linear_is_followed():
    """Labels that are softmax(fields/λ) with the fields taken where they are."""
    terms = OBJECTIVE | {"mine": Term(lambda s: -(s.q[:, 1] - 0.3).square().mean(), 3.0)}
    objective = under_uniform(made(4, leaning([1.0, -0.5, 0.2, 2.0])), terms)
    found, rested = beliefs(objective)
    graph = factor_graph(objective, torch.from_numpy(np.log(found)).unsqueeze(0))
    assert rested and graph.factors == ()
    np.testing.assert_allclose(
        found, softmax(graph.field[0].numpy() / graph.temperature), atol=1e-5
    )
    apart = fields(graph.rest, torch.zeros(1, 4, 2, dtype=torch.float64)) - graph.field
    assert float(apart.abs().max()) > 0.1


def test_where_nothing_decides_it_does_not_either():
    found, _ = beliefs(under_uniform(PROBLEMS["nothing but ties"]()))
    np.testing.assert_allclose(found, 0.5, atol=1e-6)


def test_with_loops_a_start_decides_between_two_ways():
    links = balanced(6, [(i, j, 2.5) for i in range(6) for j in range(i)])
    objective = under_uniform(
        made(8, leaning([0.0] * 8), links), OBJECTIVE | {"entropy": TERMS["entropy"].at(0.1)}
    )
    for label in (0, 1):
        start = np.zeros((8, 2))
        start[:6, label] = 3.0
        found, _ = beliefs(objective, start=start)
        assert (found[:6].argmax(axis=1) == label).all() and found[:6].max(axis=1).min() > 0.9


def test_messages_that_do_not_come_to_rest_are_reported():
    ev = PROBLEMS["ferromagnet on a chain"]()
    solution = solve(ev, OBJECTIVE, BeliefPropagation(starts=1, steps=2))
    assert solution.result is Result.RESTLESS
    assert "`damping`" in solution.result.value and solution.result.value.endswith(".")
    assert solve(ev, OBJECTIVE, BeliefPropagation(starts=1)).result is Result.SETTLED


def test_damping_helps_messages_to_rest():
    links = balanced(5, [(i, j, -4.0) for i in range(5) for j in range(i)])
    objective = under_uniform(made(7, leaning([0.3, -0.2, 0.1, 0.2, 0, 0.5, 0]), links))
    rested = [beliefs(objective, BeliefPropagation(damping=d))[1] for d in (0.0, 0.5)]
    assert rested == [False, True]


def test_the_tolerance_is_how_close_it_comes():
    links, ties = TREES["a chain"]
    objective = under_uniform(made(6, leaning([1.0, 0, 0, 0, 0, 0]), links, ties=ties))
    exact = marginals(objective)
    off = [
        np.abs(beliefs(objective, BeliefPropagation(tolerance=t))[0] - exact).max()
        for t in (0.1, 1e-9)
    ]
    assert off[0] > 1e-4 > 1e-9 > off[1]


def test_a_batch_of_starts_is_its_starts_one_by_one():
    ev = PROBLEMS["learner with relations"]()
    theta = torch.from_numpy(np.random.default_rng(0).normal(size=(3, ev.n, ev.k)))
    problem = Problem(ev, OBJECTIVE)
    together = BeliefPropagation().settle(problem, theta)
    for s in range(3):
        alone = BeliefPropagation().settle(problem, theta[s : s + 1])
        np.testing.assert_allclose(together.logq[s].exp(), alone.logq[0].exp(), atol=1e-6)


def test_each_start_has_its_own_resampling():
    ev = PROBLEMS["couplings across relations"]()
    weight = torch.from_numpy(np.random.default_rng(0).exponential(size=(2, ev.t)))
    theta = torch.zeros(2, ev.n, ev.k, dtype=torch.float64)
    together = BeliefPropagation().settle(Problem(ev, OBJECTIVE, weight), theta)
    assert float((together.logq[0] - together.logq[1]).abs().max()) > 0.01
    for s in range(2):
        alone = BeliefPropagation().settle(Problem(ev, OBJECTIVE, weight[s : s + 1]), theta[:1])
        np.testing.assert_allclose(together.logq[s].exp(), alone.logq[0].exp(), atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"starts": 0}, {"steps": 0}, {"conditionings": 0}, {"tolerance": 0.0}),
        *({"damping": 1.0}, {"damping": -0.1}),
    ],
    ids=str,
)
def test_a_wrong_setting(wrong):
    with pytest.raises(InputError, match="must be"):
        BeliefPropagation(**wrong)


def test_a_term_that_is_not_finite():
    terms = OBJECTIVE | {"broken": Term(lambda s: s.q.sum() * float("nan"), 1.0)}
    with pytest.raises(SolveError, match="not finite"):
        solve(made(2, leaning([1.0, 0.5])), terms, BeliefPropagation())
