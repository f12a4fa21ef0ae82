"""The terms against closed forms, finite differences and a plain loop; what moves and what not."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from consilience.coherence import (
    coherence,
    default_terms,
    direct_consistency,
    entropy,
    evaluate_terms,
    logical_consistency,
    mutual_predictability,
    prior_fidelity,
)
from consilience.evidence import Evidence
from consilience.reading import ZERO_SHOT_WEIGHT, Reading, State, read
from consilience.relations import And, AtMostOne, Equal, ExactlyOne, Opposite
from zoo import evidence, random_rows

TIES = [(Opposite, (0, 1)), (Equal, (1, 2)), (ExactlyOne, (3, 4, 5)), (And, (6, 3, 0))]
NAMES = list(default_terms())


def case(seed: int, k: int = 2, n: int = 8) -> tuple[Evidence, torch.Tensor]:
    """Random evidence with relations, some examples without predictions, and random logits."""
    rng = np.random.default_rng(seed)
    rows = [r for r in random_rows(rng, n, k, zero=2, shown=2) if r[0] != 7]
    rows = [r for r in rows if r[0] != 5 or r[2]]
    theta = torch.from_numpy(2 * rng.normal(size=(n, k)))
    return evidence(n, rows, k, TIES), theta


def one(reading: Reading) -> Reading:
    """The reading of the only labelling in a batch."""
    return Reading(*(getattr(reading, f.name)[0] for f in fields(Reading)))


def state(ev: Evidence, q: list[list[float]]) -> State:
    soft = torch.tensor(q, dtype=torch.float64)
    return State(ev, one(read(ev, soft.unsqueeze(0))), soft.log())


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_each_term(name, k):
    ev, theta = case(1, k)
    reading = one(read(ev, torch.softmax(theta, -1).unsqueeze(0)))
    _, term = default_terms()[name]

    def value(theta: torch.Tensor) -> torch.Tensor:
        return term(State(ev, reading, torch.log_softmax(theta, dim=-1)))

    theta.requires_grad_(True)
    assert torch.autograd.gradcheck(value, (theta,))
    value(theta).backward()
    assert theta.grad.abs().max() > 1e-3


def test_the_gradient_of_the_sum():
    ev, theta = case(2, 3)
    batch = torch.stack([theta, -theta]).requires_grad_(True)
    reading = read(ev, torch.softmax(batch.detach(), -1))

    def value(theta: torch.Tensor) -> torch.Tensor:
        return coherence(ev, default_terms(), reading, torch.log_softmax(theta, dim=-1))

    assert torch.autograd.gradcheck(value, (batch,))


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
    assert s.reading.log_pool[0].tolist() == pytest.approx(logs)
    assert s.reading.linear_pool[0].tolist() == pytest.approx(linear)
    assert float(mutual_predictability(s)) == pytest.approx(sum(logs) / 2)
    assert float(direct_consistency(s)) == pytest.approx(sum(linear) / 2)
    norm = math.exp(logs[0]) + math.exp(logs[1])
    wanted = [math.exp(x) / norm for x in logs]
    assert s.reading.prior[0].exp().tolist() == pytest.approx(wanted)


def test_zero_shot_answers_together_weigh_as_half_a_prediction():
    bare, shown = [0.2, 0.8], [0.9, 0.1]
    sure = [[0.5, 0.5], [0.0, 1.0]]
    w = ZERO_SHOT_WEIGHT
    mixed = [(w * math.log(a) + math.log(b)) / (1 + w) for a, b in zip(bare, shown, strict=True)]
    for zeros in (1, 3):
        rows = [(0, bare, ())] * zeros + [(0, shown, [(1, 1)])]
        pool = state(evidence(2, rows), sure).reading.log_pool[0]
        assert pool.tolist() == pytest.approx(mixed)


def test_logical_consistency_of_two_opposites():
    ev = evidence(2, [(0, [0.5, 0.5], ())], ties=[(Opposite, (0, 1))])
    s = state(ev, [[0.3, 0.7], [0.4, 0.6]])
    assert float(logical_consistency(s)) == pytest.approx(math.log(0.3 * 0.6 + 0.7 * 0.4) / 2)


def test_an_example_never_asked_is_read_as_ignorance():
    s = state(evidence(2, [(0, [0.2, 0.8], ())]), [[0.3, 0.7], [0.1, 0.9]])
    for pool in (s.reading.log_pool, s.reading.linear_pool, s.reading.prior):
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
    found = read(ev, torch.from_numpy(q).unsqueeze(0)).relevance
    assert found.flatten().tolist() == pytest.approx([relevance])


def test_relevance_of_soft_labels():
    rows = [(0, [0.5, 0.5], [(1, 1), (2, 0), (3, 1)])]
    q = torch.tensor([[[0.5, 0.5], [0.1, 0.9], [0.7, 0.3], [0.6, 0.4]]]).double()
    mean = (0.9 + 0.7 + 0.4) / 3
    assert float(read(evidence(4, rows), q).relevance) == pytest.approx((mean - 0.5) / 0.5)


def test_what_is_not_relevant_says_nothing():
    rows = [(0, [0.1, 0.9], [(1, 1)])]
    stale = state(evidence(2, rows), [[0.2, 0.8], [1 - 1e-15, 1e-15]])
    assert stale.reading.log_pool[0].tolist() == pytest.approx([-math.log(2)] * 2)
    assert stale.reading.linear_pool[0].tolist() == pytest.approx([-math.log(2)] * 2)
    half = state(evidence(2, rows), [[0.2, 0.8], [0.25, 0.75]])
    mixed = [(math.log(p) - math.log(2)) / 2 for p in (0.1, 0.9)]
    assert half.reading.log_pool[0].tolist() == pytest.approx(mixed)
    assert half.reading.linear_pool[0].exp().tolist() == pytest.approx([0.3, 0.7])


def test_no_gradient_flows_into_the_labels_of_shots():
    rows = [(0, [0.1, 0.9], [(1, 1), (2, 0)]), (0, [0.3, 0.7], ())]
    ev = evidence(3, rows)
    theta = torch.tensor([[[0.3, 0.1], [-0.2, 0.9], [0.8, -0.5]]], dtype=torch.float64)
    moved = theta.clone()
    moved[0, 1] = torch.tensor([1.0, -1.0])
    # The labels of shots decide how the evidence is read …
    first, second = (read(ev, torch.softmax(t, -1)) for t in (theta, moved))
    assert float(first.relevance[0, 0]) > 0.2 and float(second.relevance[0, 0]) < 0.1
    # … but as read, it pulls only the target.
    theta.requires_grad_(True)
    for term in (mutual_predictability, direct_consistency):
        terms = {"it": (1.0, term)}
        value = coherence(ev, terms, first, torch.log_softmax(theta, dim=-1)).sum()
        (gradient,) = torch.autograd.grad(value, theta)
        assert gradient[0, 0].abs().min() > 0.01
        assert gradient[0, 1:].abs().max() < 1e-15


def by_hand(ev: Evidence, q: list[list[float]], weight: list[float]) -> dict[str, float]:
    """Every term, written as the formulas are, with loops over numbers."""
    n, k = len(q), len(q[0])
    logp, zero = ev.logp.tolist(), ev.zero.tolist()
    shots = list(
        zip(*(t.tolist() for t in (ev.shot_of, ev.shot_example, ev.shot_label)), strict=True)
    )
    mutual = direct = prior = unsure = 0.0
    for i in range(n):
        mine = [t for t in range(ev.t) if int(ev.target[t]) == i]
        bare = sum(weight[t] for t in mine if zero[t])
        log_pool, linear_pool, total = [0.0] * k, [0.0] * k, 0.0
        for t in mine:
            shown = [q[j][c] for of, j, c in shots if of == t]
            r = 1.0
            if shown:
                r = max(0.0, (sum(shown) / len(shown) - 1 / k) / (1 - 1 / k))
            w = weight[t] * (0.5 / bare if zero[t] else 1.0)
            total += w
            for c in range(k):
                log_pool[c] += w * (r * logp[t][c] - (1 - r) * math.log(k))
                linear_pool[c] += w * (r * math.exp(logp[t][c]) + (1 - r) / k)
        p0 = [0.0] * k
        for c in range(k):
            p0[c] = sum(weight[t] * logp[t][c] for t in mine if zero[t]) / bare if bare else 0.0
        norm = math.log(sum(map(math.exp, p0)))
        for c in range(k):
            m = log_pool[c] / total if mine else -math.log(k)
            d = math.log(linear_pool[c] / total) if mine else -math.log(k)
            mutual += q[i][c] * m / n
            direct += q[i][c] * d / n
            prior -= q[i][c] * (math.log(q[i][c]) - (p0[c] - norm)) / n
            unsure -= q[i][c] * math.log(q[i][c]) / n
    held = 0.0
    for factor in ev.factors:
        for members in factor.members.tolist():
            worlds = factor.worlds.tolist()
            held += math.log(
                sum(math.prod(q[i][c] for i, c in zip(members, w, strict=True)) for w in worlds)
            )
    return dict(zip(NAMES, (mutual, direct, prior, held / n, unsure), strict=True))


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("resampled", [False, True])
def test_the_batch_is_the_plain_loop(k, resampled):
    ev, theta = case(3, k)
    q = torch.softmax(torch.stack([theta, -theta, theta.roll(1, 0)]), dim=-1)
    drawn = np.random.default_rng(4).exponential(size=(3, ev.t))
    weight = torch.from_numpy(drawn) if resampled else None
    values = evaluate_terms(ev, default_terms(), read(ev, q, weight), q.log())
    total = coherence(ev, default_terms(), read(ev, q, weight), q.log())
    for s in range(3):
        w = drawn[s].tolist() if resampled else [1.0] * ev.t
        wanted = by_hand(ev, q[s].tolist(), w)
        assert {name: float(v[s]) for name, v in values.items()} == pytest.approx(wanted, abs=1e-12)
        assert float(total[s]) == pytest.approx(
            sum(default_terms()[name][0] * v for name, v in wanted.items()), abs=1e-12
        )


def values_of(
    ev: Evidence, q: torch.Tensor, weight: torch.Tensor | None = None
) -> dict[str, float]:
    batch = q.unsqueeze(0)
    found = evaluate_terms(ev, default_terms(), read(ev, batch, weight), batch.log())
    return {name: float(v) for name, v in found.items()}


@pytest.mark.parametrize("k", [2, 3])
def test_the_numbering_of_examples_does_not_matter(k):
    ev, theta = case(5, k)
    q = torch.softmax(theta, -1)
    to = torch.from_numpy(np.random.default_rng(6).permutation(ev.n))
    other = replace(
        ev,
        target=to[ev.target],
        shot_example=to[ev.shot_example],
        factors=tuple(replace(f, members=to[f.members]) for f in ev.factors),
    )
    renumbered = torch.empty_like(q)
    renumbered[to] = q
    assert values_of(other, renumbered) == pytest.approx(values_of(ev, q), abs=1e-12)
    assert values_of(other, q) != pytest.approx(values_of(ev, q), abs=1e-3)


@pytest.mark.parametrize(("k", "turn"), [(2, [1, 0]), (3, [1, 2, 0]), (3, [2, 1, 0])])
def test_the_numbering_of_classes_does_not_matter(k, turn):
    ev, theta = case(7, k)
    q, to = torch.softmax(theta, -1), torch.tensor(turn)
    back = torch.argsort(to)
    other = replace(
        ev,
        logp=ev.logp[:, back],
        shot_label=to[ev.shot_label],
        factors=tuple(replace(f, worlds=to[f.worlds]) for f in ev.factors),
    )
    assert values_of(other, q[:, back]) == pytest.approx(values_of(ev, q), abs=1e-12)
    assert values_of(other, q) != pytest.approx(values_of(ev, q), abs=1e-3)


def test_a_weight_of_two_is_a_prediction_made_twice():
    rows = random_rows(np.random.default_rng(8), 6, 2, zero=2)
    twice = [row for i, row in enumerate(rows) for _ in range(1 + i % 2)]
    q = torch.from_numpy(np.random.default_rng(9).dirichlet([1, 1], size=6))
    weight = torch.tensor([[1.0 + i % 2 for i in range(len(rows))]], dtype=torch.float64)
    wanted = values_of(evidence(6, twice), q)
    assert values_of(evidence(6, rows), q, weight) == pytest.approx(wanted, abs=1e-12)
    assert values_of(evidence(6, rows), q) != pytest.approx(wanted, abs=1e-3)


def test_labels_that_fit_are_worth_more():
    rows = [(i, [0.1, 0.9], ()) for i in range(3)]
    ev = evidence(3, rows, ties=[(AtMostOne, (0, 1))])
    fits, wrong = (state(ev, [[1 - p, p]] * 3) for p in (0.9, 0.1))
    for term in (mutual_predictability, direct_consistency, prior_fidelity):
        assert float(term(fits)) > float(term(wrong)) + 1
    assert float(logical_consistency(fits)) < float(logical_consistency(wrong)) - 0.5
