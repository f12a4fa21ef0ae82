"""The terms against closed forms, finite differences and a plain loop; what moves and what not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import AtMostOne, Opposite
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.evidence.relation_factors import Factor, Large
from consilience.objective import conditioning
from consilience.objective.coherence import (
    DEFAULT_WEIGHTS,
    TERMS,
    coherence,
    default_terms,
    direct_consistency,
    entropy,
    evaluate_terms,
    logical_consistency,
    mutual_predictability,
    prior_fidelity,
)
from consilience.objective.conditioning import ZERO_SHOT_WEIGHT, State, condition
from consilience.objective.term import Term
from consilience.solvers.fixed_point import Problem, raw_slope
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.solvers.starts import draw
from scenes import (
    ALL,
    FLIPPED,
    N,
    by_hand,
    case,
    gathered,
    kl,
    one,
    scene,
    softmax,
    state,
    told,
)
from zoo import (
    ONE,
    dataset,
    evidence,
    flipped,
    pairs,
    renamed,
    turned,
)


def values_of(ev: Evidence, q, weight: torch.Tensor | None = None) -> dict[str, float]:
    """The value of every term."""
    s = state(ev, q, weight)
    return {name: float(term(s)) for name, term in TERMS.items()}


def test_the_scene_has_everything():
    ev, _ = case(0)
    assert {type(f) for f in ev.factors} == {Factor, Large}
    assert (
        int(ev.predictions.bounded.sum()) == 3
        and ev.f == len(FLIPPED)
        and 7 not in ev.predictions.target
    )
    assert torch.bincount(ev.contrasts.pair).tolist() == [2, 1, 1, 3, 1]
    assert default_terms() == {name: TERMS[name].at(w) for name, w in DEFAULT_WEIGHTS.items()}


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("name", sorted(set(TERMS) - {"class frequency"}))
def test_the_gradient_of_each_term(name, k):
    """But for class frequency, which needs more examples: see `test_mixture`."""
    ev, theta = case(1, k)
    conditioned = one(condition(ev, torch.softmax(theta, -1).unsqueeze(0)))

    def value(theta: torch.Tensor) -> torch.Tensor:
        return TERMS[name](State(ev, conditioned, torch.log_softmax(theta, dim=-1)))

    theta.requires_grad_(True)
    assert torch.autograd.gradcheck(value, (theta,))
    value(theta).backward()
    assert theta.grad.abs().max() > 1e-3


def test_the_gradient_of_the_sum():
    ev, theta = case(2, 3)
    batch = torch.stack([theta, -theta]).requires_grad_(True)
    conditioned = condition(ev, torch.softmax(batch.detach(), -1))

    def value(theta: torch.Tensor) -> torch.Tensor:
        return coherence(ev, ALL, conditioned, torch.log_softmax(theta, dim=-1))

    assert torch.autograd.gradcheck(value, (batch,))


@pytest.mark.parametrize("k", [2, 4])
def test_relations_pull_their_members_and_nobody_else(k):
    ev, theta = case(1, k)
    problem = Problem(ev, {"it": TERMS["logical consistency"].at(1.0)})
    _, gradient = raw_slope(
        problem.objective(problem.condition(theta.unsqueeze(0))), theta.unsqueeze(0)
    )
    free = gradient[0].abs().amax(dim=-1) == 0
    assert free.nonzero().flatten().tolist() == [7, 21]


@pytest.mark.parametrize("k", [2, 3])
def test_labels_without_any_doubt_have_a_value_and_a_slope(k):
    ev, theta = case(2, k)
    problem, batch = Problem(ev, ALL), 1000 * theta.unsqueeze(0)
    logq = torch.log_softmax(batch, -1)
    assert float(logq.exp().min()) == 0
    value, gradient = raw_slope(problem.objective(problem.condition(logq)), batch)
    assert torch.isfinite(value).all() and torch.isfinite(gradient).all()


def test_closed_forms_of_a_single_answer():
    q, p = [0.3, 0.7], [0.2, 0.8]
    s = state(evidence(1, [(0, p, ())]), [q])
    cross = 0.3 * math.log(0.2) + 0.7 * math.log(0.8)
    assert float(mutual_predictability(s)) == pytest.approx(cross)
    assert float(direct_consistency(s)) == pytest.approx(cross)
    assert float(prior_fidelity(s)) == pytest.approx(-kl(q, p))
    assert float(entropy(s)) == pytest.approx(-(0.3 * math.log(0.3) + 0.7 * math.log(0.7)))
    assert float(logical_consistency(s)) == 0.0
    agree = state(evidence(1, [(0, p, ())]), [p])
    assert float(prior_fidelity(agree)) == pytest.approx(0, abs=1e-15)


def test_terms_are_per_example():
    s = state(evidence(2, [(0, [0.2, 0.8], ())]), [[0.3, 0.7], [0.5, 0.5]])
    one_alone = 0.3 * math.log(0.2) + 0.7 * math.log(0.8)
    assert float(mutual_predictability(s)) == pytest.approx((one_alone - math.log(2)) / 2)
    assert float(prior_fidelity(s)) == pytest.approx(-kl([0.3, 0.7], [0.2, 0.8]) / 2)


def test_the_two_pools_differ_in_what_the_predictions_disagree_in():
    s = state(evidence(1, [(0, [0.1, 0.9], ()), (0, [0.6, 0.4], ())]), [[0.5, 0.5]])
    logs = [(math.log(0.1) + math.log(0.6)) / 2, (math.log(0.9) + math.log(0.4)) / 2]
    linear = [math.log(0.35), math.log(0.65)]
    assert s.conditioned.log_pool[0].tolist() == pytest.approx(logs)
    assert s.conditioned.linear_pool[0].tolist() == pytest.approx(linear)
    assert float(mutual_predictability(s)) == pytest.approx(sum(logs) / 2)
    assert float(direct_consistency(s)) == pytest.approx(sum(linear) / 2)
    norm = math.exp(logs[0]) + math.exp(logs[1])
    wanted = [math.exp(x) / norm for x in logs]
    assert s.conditioned.prior[0].exp().tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("w", [ZERO_SHOT_WEIGHT, 2.0])
@pytest.mark.parametrize("zeros", [1, 3])
def test_zero_shot_answers_together_weigh_as_half_a_prediction(zeros, w, monkeypatch):
    monkeypatch.setattr(conditioning, "ZERO_SHOT_WEIGHT", w)
    bare, shown = [0.2, 0.8], [0.9, 0.1]
    mixed = [(w * math.log(a) + math.log(b)) / (1 + w) for a, b in zip(bare, shown, strict=True)]
    rows = [(0, bare, ())] * zeros + [(0, shown, [(1, 1)])]
    pool = state(evidence(2, rows), [[0.5, 0.5], [0.0, 1.0]]).conditioned.log_pool[0]
    assert pool.tolist() == pytest.approx(mixed)


def test_the_two_of_a_contrast_share_the_weight_of_the_zero_shot_answers():
    data = dataset(3)
    rows = pairs(data, [(0, [0.2, 0.8], ()), (0, [0.3, 0.7], [(1, 1), (2, 0)])])
    rows += flipped(data, 0, [(1, 1)], 0, 0, [0.1, 0.9], [0.2, 0.8])
    share = state(collect(data, [ONE], [rows], bias="none"), np.eye(2)[[1, 1, 0]]).conditioned.share
    few = ZERO_SHOT_WEIGHT / 3
    assert share.tolist() == pytest.approx([x / (1 + 3 * few) for x in (few, 1, few, few)])
    # The prior is the zero-shot answer, and no shot is in it.
    prior = state(collect(data, [ONE], [rows], bias="none"), np.eye(2)[[1, 1, 0]]).conditioned.prior
    assert prior[0].exp().tolist() == pytest.approx([0.2, 0.8])


def test_logical_consistency_of_two_opposites():
    ev = evidence(2, [(0, [0.5, 0.5], ())], ties=[(Opposite, (0, 1))])
    s = state(ev, [[0.3, 0.7], [0.4, 0.6]])
    assert float(logical_consistency(s)) == pytest.approx(math.log(0.3 * 0.6 + 0.7 * 0.4) / 2)


def test_an_example_never_asked_is_read_as_ignorance():
    s = state(evidence(2, [(0, [0.2, 0.8], ())]), [[0.3, 0.7], [0.1, 0.9]])
    for pool in (s.conditioned.log_pool, s.conditioned.linear_pool, s.conditioned.prior):
        assert pool[1].tolist() == pytest.approx([-math.log(2)] * 2)


@pytest.mark.parametrize(
    ("k", "labels", "shots", "relevance"),
    [
        (2, [1, 0], [(1, 1), (2, 0)], 1.0),
        (2, [1, 0], [(1, 0), (2, 1)], 0.0),
        (2, [1, 0], [(1, 1), (2, 1)], 0.0),
        (2, [1, 0], [], 1.0),
        (3, [2, 0], [(1, 2), (2, 0)], 1.0),
        (3, [2, 0], [(1, 0), (2, 1)], 0.0),
        (3, [2, 0], [(1, 2), (2, 1)], 0.25),
    ],
)
def test_relevance_of_hard_labels(k, labels, shots, relevance):
    ev = evidence(3, [(0, np.arange(1, k + 1) / np.arange(1, k + 1).sum(), shots)], k)
    q = np.eye(k)[[0, *labels]]
    found = condition(ev, torch.from_numpy(q).unsqueeze(0)).relevance
    assert found.flatten().tolist() == pytest.approx([relevance])


def test_relevance_of_soft_labels():
    rows = [(0, [0.5, 0.5], [(1, 1), (2, 0), (3, 1)])]
    q = torch.tensor([[[0.5, 0.5], [0.1, 0.9], [0.7, 0.3], [0.6, 0.4]]]).double()
    mean = (0.9 + 0.7 + 0.4) / 3
    assert float(condition(evidence(4, rows), q).relevance) == pytest.approx((mean - 0.5) / 0.5)


def test_a_label_that_is_given_counts_in_relevance_as_the_others_do_on_average():
    q = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    rows = [(0, [0.2, 0.3, 0.5], [(1, 1)]), (0, [0.2, 0.3, 0.5], [(1, 2), (2, 0)])]
    given = evidence(4, rows, k=3).holding({1: 1})
    sure = (0.5 + 0.6 + 0.8) / 3  # the likeliest class of those that nobody vouched for
    means = np.array([sure, ((1 - sure) / 2 + 0.6) / 2])
    found = condition(given, q.double().unsqueeze(0)).relevance[0]
    np.testing.assert_allclose(found, (means - 1 / 3) / (2 / 3), atol=1e-6)


def test_where_all_labels_are_given_they_count_as_they_are():
    given = evidence(2, [(0, [0.2, 0.8], [(1, 1)]), (1, [0.2, 0.8], [(0, 1)])]).holding(
        {0: 0, 1: 1}
    )
    found = condition(given, torch.eye(2, dtype=torch.float64).unsqueeze(0)).relevance[0]
    assert found.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("p", [[0.1, 0.9], [0.5, 0.5], [0.2, 0.7, 0.1]])
def test_what_is_not_relevant_moves_no_label_but_what_it_told_is_missing(p):
    k = len(p)
    ev = evidence(2, [(0, p, [(1, 1)])], k)
    spread, ignorance = [1 / k] * k, [-math.log(k)] * k
    sure = 1e-15 + (1 - k * 1e-15) * np.eye(k)[0]
    stale = state(ev, [spread, sure.tolist()])
    assert stale.conditioned.log_pool[0].tolist() == pytest.approx([-math.log(k) - told(p)] * k)
    assert stale.conditioned.linear_pool[0].tolist() == pytest.approx(ignorance)


def test_what_is_half_relevant_says_half():
    half = state(evidence(2, [(0, [0.1, 0.9], [(1, 1)])]), [[0.2, 0.8], [0.25, 0.75]])
    lost = -math.log(2) - told([0.1, 0.9])
    mixed = [(math.log(p) + lost) / 2 for p in (0.1, 0.9)]
    assert half.conditioned.log_pool[0].tolist() == pytest.approx(mixed)
    assert half.conditioned.linear_pool[0].exp().tolist() == pytest.approx([0.3, 0.7])


@pytest.mark.parametrize("p", [[0.1, 0.9], [0.2, 0.7, 0.1]])
def test_what_is_explained_costs_nothing_and_what_is_left_out_what_it_told(p):
    """At the best labels of the target, softmax of the pool; else dropping evidence were free."""
    k = len(p)
    ev = evidence(2, [(0, p, [(1, 1)])], k)
    worth = []
    for best, shown in ((p, 1), ([1 / k] * k, 0)):
        s = state(ev, [best, (1e-15 + (1 - k * 1e-15) * np.eye(k)[shown]).tolist()])
        mutual, unsure = 2 * float(mutual_predictability(s)), 2 * float(entropy(s))
        # The other example was never asked: ignorance, and no doubt.
        worth.append(mutual + math.log(k) + unsure)
    assert worth == pytest.approx([0.0, -told(p)])


def test_no_gradient_flows_into_the_labels_of_shots():
    rows = [(0, [0.1, 0.9], [(1, 1), (2, 0)]), (0, [0.3, 0.7], ())]
    ev = evidence(3, rows)
    theta = torch.tensor([[[0.3, 0.1], [-0.2, 0.9], [0.8, -0.5]]], dtype=torch.float64)
    moved = theta.clone()
    moved[0, 1] = torch.tensor([1.0, -1.0])
    # The labels of shots decide how the evidence is read …
    first, second = (condition(ev, torch.softmax(t, -1)) for t in (theta, moved))
    assert float(first.relevance[0, 0]) > 0.2 and float(second.relevance[0, 0]) < 0.1
    # … but as read, it pulls only the target.
    theta.requires_grad_(True)
    for term in (mutual_predictability, direct_consistency):
        terms = {"it": Term(term)}
        value = coherence(ev, terms, first, torch.log_softmax(theta, dim=-1)).sum()
        (gradient,) = torch.autograd.grad(value, theta)
        assert gradient[0, 0].abs().min() > 0.01
        assert gradient[0, 1:].abs().max() < 1e-15


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("resampled", [False, True])
def test_the_batch_is_the_plain_loop(k, resampled):
    ev, theta = case(3, k)
    q = torch.softmax(torch.stack([theta, -theta, theta.roll(1, 0)]), dim=-1)
    drawn = np.random.default_rng(4).exponential(size=(3, ev.t))
    weight = torch.from_numpy(drawn) if resampled else None
    conditioned = condition(ev, q, weight)
    values = evaluate_terms(ev, ALL, conditioned, q.log())
    for s in range(3):
        wanted = by_hand(ev, q[s].tolist(), drawn[s].tolist() if resampled else [1.0] * ev.t)
        found = {name: float(values[name][s]) for name in wanted}
        assert found == pytest.approx(wanted, abs=1e-12)
    total = sum(term.weight * values[name] for name, term in default_terms().items())
    np.testing.assert_allclose(
        coherence(ev, default_terms(), conditioned, q.log()), total, atol=1e-12
    )


def everything_on() -> dict:
    """An objective in which every term has a say."""
    return {name: term.at(0.3) for name, term in TERMS.items()} | default_terms()


def solved(ev: Evidence) -> np.ndarray:
    return solve(ev, everything_on(), LBFGS(starts=1)).labels


@pytest.mark.parametrize("k", [2, 3])
def test_the_order_of_examples_does_not_matter(k):
    data, rounds = scene(5, k)
    # Other texts have other ids, and examples stand in the order of their ids.
    examples = [Example(f"statement {i}") for i in range(N)]
    names = {id: example.id for id, example in zip(data.ids, examples, strict=True)}
    ties = [replace(r, members=tuple(names[m] for m in r.members)) for r in data.relations]
    other_data = Dataset("zoo", examples, ties, task=data.task)
    ev = gathered(data, rounds)
    other = gathered(other_data, [[renamed(q, p, names) for q, p in r] for r in rounds])
    order = [other_data.index[names[id]] for id in data.ids]
    assert order != sorted(order)
    theta = case(5, k)[1]
    q, mixed = torch.softmax(theta, -1), torch.empty_like(theta)
    mixed[order] = q
    assert values_of(other, mixed) == pytest.approx(values_of(ev, q), abs=1e-12)
    np.testing.assert_allclose(solved(other)[order], solved(ev), atol=1e-6)


@pytest.mark.parametrize("turn", [(1, 0), (1, 2, 0), (2, 1, 0)])
def test_the_numbering_of_classes_does_not_matter(turn):
    k = len(turn)
    data, rounds = scene(7, k)
    relations = [replace(r, label=turn[r.label]) for r in data.relations]
    other_data = Dataset("zoo", data.examples, relations, task=data.task)
    ev = gathered(data, rounds)
    other = gathered(other_data, [[turned(q, p, turn) for q, p in r] for r in rounds])
    q, back = torch.softmax(case(7, k)[1], -1), [turn.index(c) for c in range(k)]
    assert values_of(other, q[:, back]) == pytest.approx(values_of(ev, q), abs=1e-12)
    np.testing.assert_allclose(solved(other), solved(ev)[:, back], atol=1e-6)


def test_the_same_predictions_twice_change_not_one_bit():
    data, rounds = scene(8, 2)
    ev, again = (gathered(data, r) for r in (rounds, [*rounds, rounds[1][::2], rounds[0][:9]]))
    q = torch.softmax(case(8)[1], -1)
    assert values_of(again, q) == values_of(ev, q)
    one, two = (solve(e, everything_on(), LBFGS(starts=3)) for e in (ev, again))
    assert one.labels.tobytes() == two.labels.tobytes() and one.stats == two.stats


def asked_twice(rounds, which):
    """The rounds with those rows a second time, as repeats with the same answers."""
    again = []
    for query, said in (row for i, row in enumerate(rounds[0] + rounds[1]) if which(i)):
        query = replace(query, repeat=query.repeat + 100)
        again.append((query, replace(said, key=f"{query}", query=query)))
    return [*rounds, again]


@pytest.mark.parametrize("k", [2, 3])
def test_a_weight_of_two_is_a_prediction_made_twice(k):
    data, rounds = scene(9, k)
    q, ev = torch.softmax(case(9, k)[1], -1), gathered(data, rounds)
    everything = gathered(data, asked_twice(rounds, lambda i: True))
    assert everything.t == 2 * ev.t and everything.f == 2 * ev.f
    wanted = values_of(everything, q)
    two = torch.full((1, ev.t), 2.0, dtype=torch.float64)
    assert values_of(ev, q, two) == pytest.approx(wanted, abs=1e-12)
    # It is no mere factor: zero-shot answers keep their share, and contrasts are shrunk by number.
    plain = values_of(ev, q)
    same = {name for name in TERMS if plain[name] == pytest.approx(wanted[name], abs=1e-9)}
    # Of so few examples nobody knows how frequent the classes are.
    assert same == {"prior fidelity", "logical consistency", "entropy", "class frequency"}


@pytest.mark.parametrize("k", [2, 3])
def test_a_weight_of_two_for_some_of_them(k):
    data, rounds = scene(10, k)
    q, ev = torch.softmax(case(10, k)[1], -1), gathered(data, rounds)
    often = torch.arange(ev.t) % 3 == 0
    # Of a contrast both or none, for a flip weighs as the mean of its two.
    often[ev.contrasts.flipped] = often[ev.contrasts.twin]
    some = gathered(data, asked_twice(rounds, lambda i: bool(often[i])))
    found, wanted = values_of(ev, q, 1.0 + often.double().unsqueeze(0)), values_of(some, q)
    # What is taken for repeating the label just seen is a mean over contrasts, whatever they weigh.
    meant = {name for name in TERMS if name != "couplings"}
    assert {n: found[n] for n in meant} == pytest.approx({n: wanted[n] for n in meant}, abs=1e-12)
    assert found["couplings"] != pytest.approx(wanted["couplings"], abs=1e-9)
    assert wanted != pytest.approx(values_of(ev, q), abs=1e-3)


def test_labels_that_fit_are_worth_more():
    rows = [(i, [0.1, 0.9], ()) for i in range(3)]
    ev = evidence(3, rows, ties=[(AtMostOne, (0, 1))])
    fits, wrong = (state(ev, [[1 - p, p]] * 3) for p in (0.9, 0.1))
    for term in (mutual_predictability, direct_consistency, prior_fidelity):
        assert float(term(fits)) > float(term(wrong)) + 1
    assert float(logical_consistency(fits)) < float(logical_consistency(wrong)) - 0.5


def learner(n: int, seed: int = 0) -> tuple[np.ndarray, Evidence]:
    """A truth, and a model that leans to it alone and follows it where shots show it."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    rows = []
    for i in range(n):
        lean = 2 * truth[i] - 1
        rows.append((i, softmax(np.array([0, 0.7 * lean + 0.7 * rng.normal()])), ()))
        for _ in range(3):
            shown = rng.choice([j for j in range(n) if j != i], size=4, replace=False)
            shots = [(int(j), int(truth[j])) for j in shown]
            rows.append((i, softmax(np.array([0, 2 * lean + rng.normal()])), shots))
    return truth, evidence(n, rows)


@pytest.mark.parametrize("unsure", [0.0, 0.02, -0.05], ids=["alone", "entropy", "confidence"])
def test_the_averaging_form_alone_collapses_to_one_label_for_everybody(unsure):
    """From all 16 starts, the zero-shot answer among them, whatever the model said."""
    truth, ev = learner(20)
    terms = {"averaging": TERMS["averaging"].at(1.0), "entropy": TERMS["entropy"].at(unsure)}
    starts = draw(ev, 16, 0, None)
    assert (starts[0].argmax(dim=-1).numpy() == truth).mean() > 0.8
    settled = LBFGS().settle(Problem(ev, terms), starts)
    labels = settled.logq.exp()
    assert float(labels.amax(dim=1).sub(labels.amin(dim=1)).max()) < 1e-3
    # All labellings of this sort are its optima, and none is better.
    np.testing.assert_allclose(settled.terms["averaging"], 0, atol=1e-6)


def test_the_default_objective_does_not_collapse():
    truth, ev = learner(20)
    settled = LBFGS().settle(Problem(ev, default_terms()), draw(ev, 16, 0, None))
    assert (settled.logq.argmax(dim=-1).numpy() == truth).all()
    # Also with a little of the averaging form in it.
    mixed = solve(ev, default_terms() | {"averaging": TERMS["averaging"].at(0.1)})
    assert mixed.labels.argmax(axis=1).tolist() == truth.tolist()
