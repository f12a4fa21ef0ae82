"""The factor graph against the objective that it stands for, and the picture of it."""

from __future__ import annotations

import sys
from itertools import product

import networkx as nx
import numpy as np
import pytest
import torch

from consilience.data.relations import AtMostOne, Equal, ExactlyOne, Opposite
from consilience.errors import MissingExtra, SolveError
from consilience.evidence.collect import collect
from consilience.evidence.relation_factors import Factor
from consilience.objective.coherence import TERMS, default_terms
from consilience.objective.conditioning import condition
from consilience.objective.pair_terms import couplings
from consilience.objective.term import Term
from consilience.prompts.query import Query
from consilience.solvers.exhaustive import corners
from consilience.solvers.factor_graph import Graph, Pairs, factor_graph, facts, fields, to_networkx
from consilience.solvers.fixed_point import COLD, Problem
from consilience.solvers.solution import solve
from problems import chain, leaning, made, ring, sure_of
from zoo import alone, dataset, pairs, prediction

OBJECTIVE = default_terms() | {"couplings": TERMS["couplings"].at(1.5)}


def some_evidence(k: int, ties=()):
    rng = np.random.default_rng(k)
    rows = [(i, rng.dirichlet(np.ones(k)), ()) for i in range(5)]
    links = [(0, 1, 2.0), (1, 0, -0.7), (3, 1, -1.9), (2, 4, 1.1), (3, 4, 0.6)]
    return made(5, rows, links, k, ties)


def one_way(k: int):
    """Contrasts between two labels of the shot only, whose answers are any."""
    rng, data = np.random.default_rng(9), dataset(5, k)
    asked = pairs(data, [(i, rng.dirichlet(np.ones(k)), ()) for i in range(5)])
    for i, j in ((0, 1), (1, 0), (3, 1), (2, 4)):
        for label, at in ((0, None), (k - 1, 0)):
            query = Query(data.ids[i], ((data.ids[j], label),), "one", 7, at)
            sure = np.log(rng.dirichlet(np.ones(k))) + 6 * np.eye(k)[i % k]
            asked.append((query, prediction(query, sure)))
    return collect(data, [alone(k)], [asked], bias="none")


def graph_of(ev, terms=OBJECTIVE, labels: np.ndarray | None = None) -> tuple[Graph, Problem]:
    problem = Problem(ev, terms)
    logq = torch.full((1, ev.n, ev.k), -np.log(ev.k), dtype=torch.float64)
    logq = logq if labels is None else torch.from_numpy(np.log(labels)).unsqueeze(0)
    return factor_graph(problem.objective(problem.condition(logq)), logq), problem


def energy(graph: Graph, worlds: np.ndarray) -> np.ndarray:
    """Fields and couplings of hard labellings (W, N), in nats."""
    field = graph.field[0].numpy()
    total = field[np.arange(len(field)), worlds].sum(axis=1)
    for factor in graph.factors:
        if isinstance(factor, Pairs):
            for (i, j), table in zip(factor.members, factor.table[0].numpy(), strict=True):
                total = total + table[worlds[:, int(i)], worlds[:, int(j)]]
    return total


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("make", [some_evidence, one_way])
def test_its_energy_is_the_objective_of_hard_labels(make, k):
    ev = make(k)
    assert ev.f
    labels = np.random.default_rng(0).dirichlet(np.ones(k), size=5)
    graph, problem = graph_of(ev, labels=labels)
    worlds = np.array(list(product(range(k), repeat=5)))
    conditioned = problem.condition(torch.from_numpy(np.log(labels)).unsqueeze(0))
    logq = corners(torch.from_numpy(worlds), k)
    values = [float(problem.value(conditioned, world.unsqueeze(0))) * 5 for world in logq]
    # The fields are centred, so the two differ by a constant.
    apart = np.array(values) - energy(graph, worlds)
    np.testing.assert_allclose(apart, apart[0], atol=1e-9)
    assert np.ptp(values) > 1


def test_the_fields_of_the_default_terms_are_the_evidence():
    ev = some_evidence(3)
    labels = np.random.default_rng(1).dirichlet(np.ones(3), size=5)
    graph, _ = graph_of(ev, default_terms(), labels)
    conditioned = condition(ev, torch.from_numpy(labels).unsqueeze(0))
    weight = {name: term.weight for name, term in default_terms().items()}
    wanted = (
        weight["mutual predictability"] * conditioned.log_pool
        + weight["direct consistency"] * conditioned.linear_pool
        + weight["prior fidelity"] * conditioned.prior
        + weight["class frequency"] * conditioned.frequency
    )
    wanted = wanted - wanted.mean(dim=-1, keepdim=True)
    np.testing.assert_allclose(graph.field, wanted, atol=1e-9)
    # They are linear, and so the same at all labels.
    for other in (corners(torch.tensor([[0, 1, 2, 0, 1]]), 3), graph.field):
        np.testing.assert_allclose(fields(graph.rest, other), wanted, atol=1e-9)


def test_a_term_that_is_not_linear_is_made_so_at_the_labels():
    ev = some_evidence(2)
    terms = {
        "mine": Term(lambda s: -(s.q[:, 1] - 0.3).square().mean(), 2.0),
        "entropy": TERMS["entropy"].at(1.0),
    }
    for q in (0.1, 0.8):
        graph, _ = graph_of(ev, terms, np.tile([1 - q, q], (5, 1)))
        gained = graph.field[0, :, 1] - graph.field[0, :, 0]
        np.testing.assert_allclose(gained, -4 * (q - 0.3), atol=1e-9)


def test_couplings_of_a_pair_are_added_whichever_was_the_target():
    graph, _ = graph_of(some_evidence(2))
    (coupled,) = graph.factors
    assert coupled.members.tolist() == [[0, 1], [1, 3], [2, 4], [3, 4]]
    gained = (coupled.table[0, :, 0, 0] - coupled.table[0, :, 0, 1]).numpy()
    # Two contrasts of a pair weigh 2/3 together; half the change of the log-odds; weight 1.5. The
    # mean over all is taken out of each.
    rises = np.array([2.0, -0.7, -1.9, 1.1, 0.6])
    rises -= rises.mean()
    each = 1.5 * 2 / 3 * rises / 2
    np.testing.assert_allclose(gained, [each[0] + each[1], *each[2:]], atol=1e-9)


def test_what_is_not_recognised_goes_into_the_fields():
    ev = some_evidence(2)
    wrapped = {"mine": Term(lambda s: couplings(s), 1.5), "entropy": TERMS["entropy"].at(1.0)}
    graph, _ = graph_of(ev, wrapped, np.tile([0.2, 0.8], (5, 1)))
    assert graph.factors == () and float(graph.field.abs().max()) > 0.1
    saturating, _ = graph_of(
        ev,
        {
            "ranking": TERMS["ranking propagation"].at(1.0),
            "entropy": TERMS["entropy"].at(1.0),
        },
    )
    assert saturating.factors == ()
    plain, _ = graph_of(
        ev, {"mine": TERMS["couplings"].at(0.0), "entropy": TERMS["entropy"].at(1.0)}
    )
    assert plain.factors == () and float(plain.field.abs().max()) == 0


def test_a_relation_is_a_fact_as_long_as_it_has_a_weight():
    ev = some_evidence(2, [(ExactlyOne, (0, 1, 2)), (Equal, (3, 4))])
    for weight in (0.01, 40.0):
        terms = OBJECTIVE | {"logical consistency": TERMS["logical consistency"].at(weight)}
        graph, problem = graph_of(ev, terms)
        assert [type(f) for f in graph.factors] == [Pairs, Factor, Factor]
        assert facts(problem) == ev.factors == graph.factors[1:]
    without = {name: term for name, term in OBJECTIVE.items() if name != "logical consistency"}
    graph, problem = graph_of(ev, without)
    assert facts(problem) == () and [type(f) for f in graph.factors] == [Pairs]


@pytest.mark.parametrize(
    ("terms", "temperature"),
    [
        (
            {"entropy": TERMS["entropy"].at(0.7), "prior": TERMS["prior fidelity"].at(0.2)},
            0.9,
        ),
        ({"entropy": TERMS["entropy"].at(0.7), "again": TERMS["entropy"].at(0.1)}, 0.8),
        ({"prior": TERMS["prior fidelity"].at(0.2)}, 0.2),
        ({"entropy": TERMS["entropy"].at(-0.5)}, COLD),
        ({"couplings": TERMS["couplings"].at(1.0)}, COLD),
    ],
    ids=["both", "twice", "prior alone", "rewarded", "neither"],
)
def test_the_temperature_is_the_weight_of_the_entropy(terms, temperature):
    graph, problem = graph_of(some_evidence(2), terms)
    assert graph.temperature == pytest.approx(temperature) == problem.temperature


def test_a_term_that_is_not_finite():
    terms = OBJECTIVE | {"broken": Term(lambda s: s.q.sum() * float("nan"), 1.0)}
    with pytest.raises(SolveError, match="not finite"):
        graph_of(some_evidence(2), terms)


# The picture.


def picture():
    ties = [(ExactlyOne, (0, 1, 2)), (Opposite, (3, 4))]
    return made(6, leaning([1.0, 0, 0, -2.0, 0, 0.5]), [(0, 3, 2.0), (5, 3, -2.0)], ties=ties)


def test_examples_couplings_and_relations_are_drawn():
    ev = picture()
    graph = to_networkx(ev)
    examples = [id for id, kind in graph.nodes(data="kind") if kind == "example"]
    assert examples == list(ev.ids)
    odds = graph.nodes[ev.ids[5]]["field_1"] - graph.nodes[ev.ids[5]]["field_0"]
    assert odds > 0 and "label" not in graph.nodes[ev.ids[5]]
    # Two contrasts of each pair: 2/3 of half of 2 nats.
    assert graph.edges[ev.ids[0], ev.ids[3]]["coupling"] == pytest.approx(2 / 3)
    assert graph.edges[ev.ids[3], ev.ids[5]]["coupling"] == pytest.approx(-2 / 3)
    relations = {
        node: graph.nodes[node] for node, kind in graph.nodes(data="kind") if kind != "example"
    }
    assert [r["worlds"] for r in relations.values()] == [3, 2]
    assert [set(graph[node]) for node in relations] == [set(ev.ids[:3]), set(ev.ids[3:5])]
    assert graph.number_of_edges() == 2 + 3 + 2


def test_the_labels_of_a_solution_are_drawn_and_read_under():
    ev = picture()
    solution = solve(ev)
    graph = to_networkx(ev, solution)
    for i, id in enumerate(ev.ids):
        label = graph.nodes[id]["label"]
        assert label == solution.labels[i].argmax()
        assert graph.nodes[id]["probability"] == pytest.approx(solution.labels[i].max())
    without = to_networkx(ev)
    fields_of = [[g.nodes[id]["field_1"] for id in ev.ids] for g in (graph, without)]
    assert fields_of[0] != fields_of[1]


def test_the_terms_decide_what_is_drawn():
    ev = picture()
    only = {"couplings": TERMS["couplings"].at(3.0), "entropy": TERMS["entropy"].at(1.0)}
    graph = to_networkx(ev, terms=only)
    assert graph.number_of_nodes() == 6 and graph.number_of_edges() == 2
    assert graph.edges[ev.ids[0], ev.ids[3]]["coupling"] == pytest.approx(2)
    assert {graph.nodes[id]["field_1"] for id in ev.ids} == {0}


def test_the_coupling_of_three_classes_is_positive_where_labels_go_together():
    rows = [(i, sure_of(1, 0.4, 3), ()) for i in range(4)]
    ev = made(4, rows, [(0, 1, 1.5), (2, 3, -1.5)], 3)
    graph = to_networkx(ev)
    gained = graph.edges[ev.ids[0], ev.ids[1]]["coupling"]
    assert gained > 0.1
    assert graph.edges[ev.ids[2], ev.ids[3]]["coupling"] == pytest.approx(-gained)


def test_a_large_relation_is_drawn():
    ev = made(14, leaning([0.5] * 14), ties=[(AtMostOne, tuple(range(14)))])
    graph = to_networkx(ev)
    node = graph.nodes["relation 0"]
    assert node["relation"] == "at-most-one" and graph.degree["relation 0"] == 14


def test_it_can_be_written_and_read(tmp_path):
    ev = picture()
    graph = to_networkx(ev, solve(ev))
    nx.write_graphml(graph, tmp_path / "graph.graphml")
    again = nx.read_graphml(tmp_path / "graph.graphml")
    assert dict(again.nodes(data=True)) == dict(graph.nodes(data=True))
    assert nx.utils.edges_equal(again.edges(data=True), graph.edges(data=True))


def test_networkx_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingExtra, match=r"consilience\[graph\]") as caught:
        to_networkx(picture())
    assert "\n" not in str(caught.value)


def test_a_ring_is_a_ring():
    ev = made(6, leaning([0.0] * 6), ring(4) + chain(2, -8 / 1))
    assert nx.cycle_basis(to_networkx(ev)) != []
