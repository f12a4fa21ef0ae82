"""What everything that reads relations makes of soft ones, against a sum over all labellings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import And, AtMostOne, Equal, ExactlyOne, Opposite, Or, Relation
from consilience.evaluation.baselines import agreement_only, structure_only
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.evidence.relation_factors import Large, factors
from consilience.objective.coherence import TERMS, default_terms
from consilience.objective.evidence_tables import evidence_table
from consilience.objective.term import Terms
from consilience.planning.planner import PlanSettings, shot_round
from consilience.prompts.framing import framings
from consilience.results.explanation import Explainer
from consilience.solvers.annealing import Annealing
from consilience.solvers.belief_propagation import BeliefPropagation
from consilience.solvers.exhaustive import Exhaustive, corners
from consilience.solvers.factor_graph import to_networkx
from consilience.solvers.fixed_point import Problem, Result
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.solvers.starts import draw
from problems import leaning, softmax
from zoo import alone, dataset, pairs

Soft = tuple[type[Relation], tuple[int, ...], float]
HARD = default_terms() | {"entropy": TERMS["entropy"].at(1e-3)}


def tied(n: int, relations: Sequence[Soft], k: int = 2) -> Dataset:
    bare = dataset(n, k)
    made = [kind(tuple(bare.ids[i] for i in at), strength=s) for kind, at, s in relations]
    return bare.with_relations(made)


def leaning_so(nats: Sequence[float], relations: Sequence[Soft]) -> Evidence:
    """Zero-shot predictions of these log-odds, and the relations."""
    data = tied(len(nats), relations)
    return collect(data, [alone()], [pairs(data, leaning(nats))], bias="none")


def value(ev: Evidence, terms: Terms, worlds: np.ndarray) -> np.ndarray:
    """N J of hard labellings conditioned on uniform labels, in nats."""
    problem = Problem(ev, terms)
    uniform = torch.full((len(worlds), ev.n, ev.k), -math.log(ev.k), dtype=torch.float64)
    hard = corners(torch.from_numpy(worlds), ev.k)
    return ev.n * problem.value(problem.condition(uniform), hard).numpy()


def every(n: int, k: int = 2) -> np.ndarray:
    return np.array(list(product(range(k), repeat=n)))


PROBLEM: list[Soft] = [
    (Equal, (0, 1), 0.9),
    (AtMostOne, (1, 2), 0.6),
    (Opposite, (3, 4), 1.0),
    (Or, (2, 3, 5), 0.8),
]
NATS = [2.0, -1.0, 1.5, 0.4, 0.3, -0.7]


@pytest.mark.parametrize("weight", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("heat", [0.5, 1.0, 3.0])
def test_belief_propagation_finds_the_exact_marginals_of_one_component(weight, heat):
    ev = leaning_so(NATS, PROBLEM)
    terms = default_terms() | {
        "logical consistency": TERMS["logical consistency"].at(weight),
        "entropy": TERMS["entropy"].at(heat),
    }
    problem = Problem(ev, terms)
    worlds = every(6)
    worlds = worlds[worlds[:, 3] != worlds[:, 4]]
    p = softmax(value(ev, terms, worlds) / problem.temperature)
    wanted = np.einsum("w,wnk->nk", p, np.eye(2)[worlds])
    uniform = torch.zeros(1, 6, 2, dtype=torch.float64)
    conditioned = problem.condition(torch.log_softmax(uniform, -1))
    ended = BeliefPropagation(steps=500).maximise(problem.objective(conditioned), uniform)
    assert bool(ended.converged)
    np.testing.assert_allclose(torch.softmax(ended.theta[0], -1), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", [Equal, AtMostOne, ExactlyOne, And, Or])
def test_a_soft_closed_form_sends_what_listing_does(kind):
    data = tied(4, [(kind, (0, 1, 2, 3), 0.7)])
    (listed,) = factors(data.relations, data.index, 2)
    closed = Large(listed.members, kind, 1, torch.tensor([0.3]).log().double())
    found = []
    for made in (listed, closed):
        ev = replace(leaning_so(NATS[:4], []), factors=(made,))
        terms = default_terms() | {"logical consistency": TERMS["logical consistency"].at(1.7)}
        found.append(solve(ev, terms, BeliefPropagation(starts=1, steps=500)).labels)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    free = solve(leaning_so(NATS[:4], []), default_terms(), BeliefPropagation(starts=1)).labels
    assert np.abs(found[0] - free).max() > 0.01


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(3, 6), marks=pytest.mark.slow)])
@pytest.mark.parametrize("solver", [Exhaustive(), Annealing(), LBFGS()], ids=repr)
def test_solvers_find_the_best_labels_of_all(solver, seeds):
    for seed in seeds:
        nats = np.random.default_rng(seed).normal(scale=1.5, size=6).tolist()
        ev = leaning_so(nats, PROBLEM)
        worlds = every(6)
        best = worlds[value(ev, HARD, worlds).argmax()]
        assert solve(ev, HARD, solver, seed=seed).labels.argmax(axis=1).tolist() == best.tolist()


def of_pull(pull: float, strength: float, solver) -> list[int]:
    ev = leaning_so([pull, -0.5], [(Equal, (0, 1), strength)])
    return solve(ev, HARD, solver).labels.argmax(axis=1).tolist()


@pytest.mark.parametrize("solver", [Exhaustive(), Annealing(), LBFGS(), BeliefPropagation()])
def test_a_soft_relation_gives_way_where_the_evidence_is_stronger(solver):
    assert of_pull(3.0, 0.05, solver) == [1, 0]
    assert of_pull(3.0, 0.95, solver) == [1, 1]
    assert of_pull(3.0, 1.0, solver) == [1, 1]


def test_annealing_breaks_a_soft_relation_among_many():
    nats = [2.0] * 12 + [-9.0]
    everybody = tuple(range(13))
    together = np.eye(2)[[1] * 13]
    for strength, last in ((0.9, 0), (1.0, 1)):
        ev = leaning_so(nats, [(Equal, everybody, strength)])
        assert isinstance(ev.factors[0], Large)
        labels = solve(ev, HARD, Annealing(sweeps=20), start=together, starts=1).labels
        assert labels.argmax(axis=1).tolist() == [1] * 12 + [last]


def test_a_start_weighs_what_it_breaks():
    # Two nats against one: a relation worth more than the difference keeps the labels equal.
    for strength, wanted in ((0.2, [1, 0]), (0.9, [1, 1])):
        ev = leaning_so([4.0, -1.0], [(Equal, (0, 1), strength)])
        second = draw(ev, 2, 0, None)[1]
        assert second.argmax(dim=-1).tolist() == wanted


def test_the_table_of_evidence_says_what_holds():
    ev = leaning_so([2.0, -1.0, 0.5], [(Equal, (0, 1), 0.8)])
    sure = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    (row,) = evidence_table(ev, "logical consistency", sure).to_dict("records")
    assert row["graded"] == pytest.approx(-math.log(0.2)) and not row["holds"]
    (row,) = evidence_table(ev, "logical consistency", sure[[0, 0, 2]]).to_dict("records")
    assert row["graded"] == pytest.approx(0, abs=1e-12) and row["holds"]


def test_another_device_gets_the_weights_too():
    ev = leaning_so([1.0] * 13, [(Equal, (0, 1), 0.8)])
    large = Large(torch.arange(13).unsqueeze(0), Equal, 1, torch.tensor([-0.1]).double())
    moved = replace(ev, factors=(*ev.factors, large)).to("meta")
    assert {f.members.device.type for f in moved.factors} == {"meta"}
    assert moved.factors[0].log_weights.is_meta and moved.factors[1].log_rest.is_meta


def test_structure_alone_is_the_mean_over_weighed_labellings():
    data = tied(3, [(ExactlyOne, (0, 1, 2), 1.0), (Equal, (0, 1), 0.9)])
    # One of three is true; the worlds in which the first two differ weigh a tenth.
    weight = np.array([1.0, 0.1, 0.1]) / 1.2
    found = structure_only(data).labels[:, 1]
    np.testing.assert_allclose(found, [weight[1], weight[2], weight[0]], atol=1e-12)
    # The number of relations is that of those declared, not of those proposed.
    assert agreement_only(data) is None
    assert agreement_only(tied(3, [(ExactlyOne, (0, 1, 2), 1.0), (Equal, (0, 1), 1.0)])) is not None


def test_an_explanation_says_that_it_is_soft_and_how():
    bare = dataset(3)
    a, b, c = bare.ids
    data = bare.with_relations(
        [
            Equal((a, b), strength=0.83),
            AtMostOne((a, c), strength=0.6, prior=True),
            Opposite((b, c)),
        ]
    )
    ev = collect(data, [alone()], [pairs(data, leaning([1.0, 1.0, -1.0]))], bias="none")
    terms = default_terms()
    table = Explainer(data, ev, terms, solve(ev, terms), priors=False).table(a)
    said = dict(zip(table["what"], table["kind"], strict=True))
    assert said[f"equal: {b}=1"] == "soft relation (0.83)"
    assert said[f"at-most-one: {c}=0"] == "soft relation (0.6), design prior, not counted"


def test_a_picture_has_the_relation():
    graph = to_networkx(leaning_so([1.0, 1.0], [(Equal, (0, 1), 0.8)]))
    assert [d["worlds"] for _, d in graph.nodes(data=True) if d["kind"] == "relation"] == [4]


def test_a_mate_by_a_soft_relation_is_no_shot():
    data = tied(8, [(Equal, (0, 1), 0.6)])
    settings = PlanSettings(shots=6, block=8)
    labels = np.eye(2)[np.arange(8) % 2]
    queries = shot_round(data, framings(data.task), labels, round=1, seed=0, settings=settings)
    shown = {(q.target, id) for q in queries for id, _ in q.shots}
    assert len(shown) > 20
    assert shown.isdisjoint({data.ids[:2], data.ids[1::-1]})


def test_a_data_set_keeps_them_and_its_fingerprint_tells_them_apart():
    bare = Dataset("five", [Example(f"claim number {i}", "one") for i in range(5)])
    a, b, c, d, e = bare.ids
    hard = [
        Equal((a, b)),
        Opposite((b, c), prior=True),
        ExactlyOne((c, d, e), prior=True),
        And((a, b, d), label=0),
    ]
    data = bare.with_relations(hard)
    # As it was before there were soft relations: runs in old stores are found again.
    assert data.fingerprint == "51c348ae1d8411fd"
    more = data.with_relations([Equal((c, d), strength=0.7)], "Some are soft.")
    prints = {data.fingerprint, more.fingerprint}
    prints |= {data.with_relations([Equal((c, d), strength=s)]).fingerprint for s in (0.71, 1.0)}
    assert len(prints) == 4
    again = Dataset.from_json(more.to_json())
    assert again.relations == more.relations and again.fingerprint == more.fingerprint
    assert (data.note, more.note) == ("", "Some are soft.")
    assert more.with_relations([], "And more.").note == "Some are soft. And more."


def test_relations_have_one_order_whatever_order_they_come_in():
    bare = dataset(2)
    made = [
        AtMostOne(bare.ids, label=label, strength=s) for label in (0, 1) for s in (0.6, 0.9, 1.0)
    ]
    assert bare.with_relations(made).relations == bare.with_relations(made[::-1]).relations
    assert bare.with_relations(made).relations == tuple(made)


def test_a_solve_with_soft_relations_ends_well():
    assert solve(leaning_so(NATS, PROBLEM), default_terms()).result is Result.SETTLED
