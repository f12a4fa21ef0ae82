"""Epistemic and aleatoric uncertainty where both are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from consilience.data.relations import Equal, Opposite
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import TERMS, default_terms
from consilience.objective.conditioning import State
from consilience.objective.term import Term
from consilience.prompts.query import Query
from consilience.results.uncertainty import Uncertainty, structural_confidence, uncertainty, weights
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from zoo import ONE, dataset, evidence, pairs, prediction, random_rows


def measured(n, rows, k=2, ties=(), **options) -> tuple[Uncertainty, np.ndarray]:
    ev = evidence(n, rows, k, ties)
    solution = solve(ev, solver=LBFGS(starts=1))
    return uncertainty(ev, default_terms(), LBFGS(), solution, **options), solution.labels


def unsure(q: np.ndarray) -> np.ndarray:
    return -(q * np.log(q)).sum(axis=1)


@pytest.mark.parametrize("k", [2, 3])
def test_predictions_that_agree_leave_nothing_epistemic(k):
    answers = np.random.default_rng(k).dirichlet(np.ones(k), size=4)
    rows = [(i, p, ()) for i, p in enumerate(answers) for _ in range(5)]
    found, labels = measured(4, rows, k)
    assert found.epistemic.max() < 1e-6
    np.testing.assert_allclose(found.aleatoric, unsure(labels), atol=1e-3)


def test_predictions_that_conflict_are_epistemic():
    conflict = [(0, p, ()) for p in ([1e-4, 1 - 1e-4], [1 - 1e-4, 1e-4])]
    unsure = [(1, [0.5, 0.5], ())] * 2
    found, _ = measured(2, conflict + unsure, replicates=64)
    assert found.epistemic[0] > 0.1 and found.epistemic[1] < 1e-6
    assert found.aleatoric[0] < found.aleatoric[1] - 0.1


def test_asking_more_removes_what_is_epistemic():
    conflict = [[0.02, 0.98], [0.98, 0.02]]
    rows = [(i, p, ()) for i, times in enumerate((1, 16)) for p in conflict * times]
    found, _ = measured(2, rows, replicates=64)
    assert found.epistemic[0] > 3 * found.epistemic[1] > 0


def test_answers_that_share_errors_say_less_together():
    conflict = [(0, p, ()) for p in ([0.02, 0.98], [0.3, 0.7])] * 8
    apart = evidence(1, conflict)
    alone = uncertainty(apart, default_terms(), LBFGS(), solve(apart), replicates=256)
    shared = replace(apart, shared=0.5)
    both = uncertainty(shared, default_terms(), LBFGS(), solve(shared), replicates=256)
    # All of one example and one wording: their weights move together, and together change nothing.
    assert both.epistemic[0] < alone.epistemic[0]
    asked = replace(apart.predictions, framing=torch.arange(apart.t) % 2)
    halves = replace(shared, predictions=asked, framings=("plain", "names-0"))
    words = uncertainty(halves, default_terms(), LBFGS(), solve(halves), replicates=256)
    # Each wording says one thing, so what is drawn is how much either counts.
    assert words.epistemic[0] > 1.5 * alone.epistemic[0]


@pytest.mark.parametrize("shared", [0.0, 0.3, 1.0])
def test_weights_are_exponential_and_correlated_within_a_wording_of_an_example(shared):
    rows = [(i, [0.5, 0.5], ()) for i in (0, 0, 0, 1, 2)]
    ev = evidence(3, rows)
    asked = replace(ev.predictions, framing=torch.tensor([0, 0, 1, 0, 0]))
    ev = replace(ev, predictions=asked, framings=("plain", "names-0"), shared=shared)
    drawn = weights(ev, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.05)
    np.testing.assert_allclose(drawn.var(axis=0), 1, atol=0.1)
    wanted = np.eye(5)
    wanted[0, 1] = wanted[1, 0] = shared
    np.testing.assert_allclose(np.corrcoef(drawn.T), wanted, atol=0.04)


def test_what_is_epistemic_is_half_the_variance_of_the_log_odds_times_that_of_the_label():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=1.5, size=(8, 1)) + 0.3 * rng.normal(size=(8, 6))
    p = 1 / (1 + np.exp(-logits))
    rows = [(i, [1 - x, x], ()) for i in range(8) for x in p[i]]
    terms = {
        "mutual predictability": TERMS["mutual predictability"].at(1.0),
        "entropy": TERMS["entropy"].at(1.0),
    }
    ev = evidence(8, rows)
    solution = solve(ev, terms, LBFGS(starts=1))
    found = uncertainty(ev, terms, LBFGS(), solution, replicates=256)
    weight = rng.exponential(size=(4000, 1, 6))
    odds = (weight * logits).sum(axis=-1) / weight.sum(axis=-1)
    label = solution.labels.prod(axis=1)
    np.testing.assert_allclose(found.epistemic, label * odds.var(axis=0) / 2, rtol=0.25)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_even_answers_are_wholly_aleatoric(k):
    found, _ = measured(3, [(i, np.full(k, 1 / k), ()) for i in range(3) for _ in range(3)], k)
    np.testing.assert_allclose(found.aleatoric, math.log(k), atol=1e-6)
    assert found.epistemic.max() < 1e-6


@pytest.mark.parametrize("k", [2, 3])
def test_nats_are_bounded(k):
    rows = random_rows(np.random.default_rng(3), 10, k, zero=1, shown=3)
    found, _ = measured(10, rows, k, [(Opposite, (0, 1)), (Equal, (2, 3))])
    for part in (found.epistemic, found.aleatoric, found.structural):
        assert part.shape == (10,) and part.min() >= 0
    assert found.structural.max() <= 1
    assert (found.epistemic + found.aleatoric).max() <= math.log(k) + 1e-12
    assert found.epistemic.max() > 1e-3


def test_the_seed_decides():
    rows = random_rows(np.random.default_rng(4), 6, 2)
    one, two, other = (measured(6, rows, seed=seed)[0] for seed in (1, 1, 2))
    assert one.epistemic.tobytes() == two.epistemic.tobytes()
    assert np.abs(one.epistemic - other.epistemic).max() > 1e-4


def test_the_number_of_replicates_counts():
    rows = random_rows(np.random.default_rng(5), 6, 2)
    assert measured(6, rows, replicates=1)[0].epistemic.max() < 1e-12
    few, many = (measured(6, rows, replicates=r)[0] for r in (2, 16))
    assert np.abs(few.epistemic - many.epistemic).max() > 1e-3


# --- structural confidence

PLAIN = {
    "mutual predictability": TERMS["mutual predictability"].at(1.0),
    "entropy": TERMS["entropy"].at(1.0),
}


def odds(p) -> float:
    return math.log(p[1] / p[0])


def structural(ev: Evidence, terms=None) -> np.ndarray:
    terms = terms or default_terms()
    return structural_confidence(ev, terms, solve(ev, terms, LBFGS(starts=1)).labels)


def contrasts(own: list[float]) -> Evidence:
    """Example 0 answered with example 1 shown both ways; example 1 has zero-shot answers `own`."""
    data = dataset(4)
    asked = pairs(data, [(1, p, ()) for p in own])
    # The second pair says the opposite: what all contrasts share counts as repeating the label.
    for target, shot, p in ((0, 1, [0.1, 0.9]), (2, 3, [0.9, 0.1])):
        for label, said, at in ((1, p, None), (0, p[::-1], 0)):
            query = Query(data.ids[target], ((data.ids[shot], label),), "one", 0, at)
            asked.append((query, prediction(query, np.log(said))))
    return collect(data, [ONE], [asked], floor=0.4, bias="none")


@pytest.mark.parametrize("k", [2, 3])
def test_zero_shot_answers_are_wholly_ones_own(k):
    rows = random_rows(np.random.default_rng(k), 6, k, zero=3, shown=0)
    assert (structural(evidence(6, rows, k)) < 1e-9).all()


@pytest.mark.parametrize("k", [2, 3])
def test_what_only_relations_speak_of_rests_on_others(k):
    rows = [(i, np.eye(k)[i % k] * 0.8 + 0.2 / k, ()) for i in range(3)]
    ties = [(Equal, (0, 3)), (Opposite if k == 2 else Equal, (1, 4))]
    found = structural(evidence(5, rows, k, ties))
    assert found[3] == pytest.approx(1) and found[4] == pytest.approx(1)
    assert found[2] < 1e-9 and 0 < found[0] < 1 and 0 < found[1] < 1


def test_shots_count_by_their_log_odds_share_and_relevance():
    own, shown, sure = [0.4, 0.6], [0.05, 0.95], [0.001, 0.999]
    rows = [(0, own, ()), (0, shown, [(1, 1), (2, 1)]), (1, sure, ()), (2, sure, ()), (3, own, ())]
    ev = evidence(4, rows)
    solution = solve(ev, PLAIN)
    relevance = solution.relevance[1]
    # One zero-shot answer weighs half as much as one prediction with shots.
    others, alone = 2 / 3 * relevance * odds(shown), 1 / 3 * odds(own)
    found = structural_confidence(ev, PLAIN, solution.labels)
    assert 0.9 < relevance < 1
    assert found[0] == pytest.approx(others / (others + alone), abs=1e-3)
    np.testing.assert_allclose(found[1:], 0, atol=1e-9)
    # The two together are the log-odds of the label.
    q = solution.labels[0]
    assert others + alone == pytest.approx(math.log(q[1] / q[0]), abs=1e-2)


def test_shots_whose_labels_were_abandoned_do_not_count():
    sure = [0.001, 0.999]
    rows = [(0, [0.4, 0.6], ()), (0, [0.9, 0.1], [(1, 0)]), (1, sure, ()), (1, sure, [(2, 1)])]
    assert structural(evidence(3, [*rows, (2, sure, ())]))[0] < 0.01


def test_own_and_others_that_disagree_are_shares_of_what_pulls():
    rows = [(0, [0.2, 0.8], ()), (0, [0.8, 0.2], [(1, 1)]), (1, [1e-9, 1 - 1e-9], ())]
    found = structural(evidence(2, rows), PLAIN)
    assert found[0] == pytest.approx(2 / 3, abs=1e-3)


def test_shots_that_contradict_each_other_cancel():
    said = ([0.9, 0.1], [0.1, 0.9])
    rows = [(0, p, [(1 + s, 1)]) for s, p in enumerate(said)]
    rows += [(0, [0.3, 0.7], ()), *((i, [1e-9, 1 - 1e-9], ()) for i in (1, 2))]
    assert structural(evidence(3, rows), PLAIN)[0] < 1e-6


def test_couplings_are_of_others():
    terms = default_terms()
    found = structural(contrasts([[0.1, 0.9]]), terms)
    assert found[0] == pytest.approx(1) and 0 < found[1] < 1
    off = terms | {"couplings": TERMS["couplings"].at(0.0)}
    assert structural(contrasts([[0.1, 0.9]]), off)[1] < 1e-9


def test_where_nothing_pulls_nothing_is_said():
    rows = [(0, [0.5, 0.5], ()), (1, [0.3, 0.7], ())]
    found = structural(evidence(3, rows))
    assert np.isnan(found[[0, 2]]).all() and found[1] < 1e-9
    assert np.isnan(structural(evidence(3, rows), {"entropy": TERMS["entropy"].at(1.0)})).all()


def test_a_term_of_ones_own_is_told_by_what_it_does():
    def alone(state: State):
        return state.q[:, 1].mean()

    def tied(state: State):
        return (state.q[state.evidence.shots.example, 1] * 1.0).sum() / state.evidence.n

    rows = [(0, [0.5, 0.5], ()), (0, [0.5, 0.5], [(1, 1)])]
    unsure_too = {"entropy": TERMS["entropy"].at(1.0)}
    assert (structural(evidence(2, rows), {"mine": Term(alone, 0.5)} | unsure_too) < 1e-9).all()
    found = structural(evidence(2, rows), {"mine": Term(tied, 0.5)} | unsure_too)
    assert np.isnan(found[0]) and found[1] == pytest.approx(1)


OF_OTHERS = {"logical consistency", "downstream consistency", "averaging", "ranking across"}
SILENT = {"couplings", "ranking propagation", "entropy", "class frequency"}
"""Terms that speak of pairs only, and terms that have nothing to say here."""


@pytest.mark.parametrize("name", TERMS)
def test_every_term_has_its_share(name):
    rows = random_rows(np.random.default_rng(6), 7, 2, zero=1, shown=2)
    ev = evidence(7, rows, ties=[(Opposite, (0, 1))])
    # Of these labels each example has a shot that agrees with them.
    labels = np.random.default_rng(0).dirichlet([1, 1], size=7)
    found = structural_confidence(ev, {name: TERMS[name].at(1.0)}, labels)
    said = found[~np.isnan(found)]
    assert len(said) == (0 if name in SILENT else 2 if name == "logical consistency" else 7)
    if name in OF_OTHERS:
        np.testing.assert_allclose(said, 1)
    elif name == "prior fidelity":
        np.testing.assert_allclose(said, 0, atol=1e-9)
    else:
        assert ((said > 0) & (said < 1)).all()


def test_turned_classes_and_the_weight_of_it_all_change_nothing():
    rows = random_rows(np.random.default_rng(7), 6, 2)
    turned = [(i, p[::-1], [(j, 1 - c) for j, c in shots]) for i, p, shots in rows]
    terms = default_terms()
    doubled = {name: term.at(2 * term.weight) for name, term in terms.items()}
    ties = [(Opposite, (0, 1))]
    wanted = structural(evidence(6, rows, ties=ties), terms)
    assert wanted.min() > 0.1 and wanted.max() < 1
    np.testing.assert_allclose(structural(evidence(6, turned, ties=ties), terms), wanted, atol=1e-3)
    np.testing.assert_allclose(structural(evidence(6, rows, ties=ties), doubled), wanted, atol=1e-3)


def test_hard_labels_have_a_share_too():
    rows = [(0, [0.3, 0.7], ()), (1, [0.2, 0.8], ())]
    ev = evidence(2, rows, ties=[(Opposite, (0, 1))])
    terms = default_terms() | {"logical consistency": TERMS["logical consistency"].at(40.0)}
    for labels in ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]):
        found = structural_confidence(ev, terms, np.array(labels))
        assert np.isfinite(found).all() and (found > 0.9).all()


def test_the_uncertainty_of_a_solution_has_it():
    rows = random_rows(np.random.default_rng(8), 6, 2)
    ev = evidence(6, rows)
    solution = solve(ev)
    found = uncertainty(ev, default_terms(), LBFGS(), solution)
    wanted = structural_confidence(ev, default_terms(), solution.labels)
    assert found.structural.tobytes() == wanted.tobytes()
