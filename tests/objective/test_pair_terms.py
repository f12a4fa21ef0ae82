"""Terms about pairs against a plain loop and known answers: what is shown, flipped, preferred."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import permutations, product

import numpy as np
import pytest
import torch

from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import TERMS, default_terms, evaluate_terms
from consilience.objective.conditioning import condition
from consilience.objective.pair_terms import (
    couplings,
    downstream_consistency,
    flip_effect,
    ranking_across,
    ranking_propagation,
    ranking_within,
)
from consilience.objective.term import Term
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from problems import balanced, chain, leaning, made, sure_of
from scenes import ALL, by_hand, case, shares_by_hand, softmax, state
from zoo import alone, dataset, evidence, flipped, pairs

MARGINS = {"ranking within": 1.0, "ranking across": 0.0, "ranking propagation": 0.0}


def log_logistic(x: float) -> float:
    return -math.log(1 + math.exp(-x))


# --- the plain loop ----------------------------------------------------------------------------


def effects_by_hand(ev: Evidence) -> list[list[float]]:
    """What each flip did, less its mean, less what all have in common."""
    k, logp = ev.k, ev.predictions.logp.tolist()
    made = []
    for twin, contrast in zip(
        ev.contrasts.twin.tolist(), ev.contrasts.flipped.tolist(), strict=True
    ):
        rise = [logp[twin][c] - logp[contrast][c] for c in range(k)]
        made.append([x - sum(rise) / k for x in rise])
    shown = list(zip(ev.contrasts.before.tolist(), ev.contrasts.after.tolist(), strict=True))
    common = sum(d[a] - d[b] for d, (a, b) in zip(made, shown, strict=True)) / ev.f
    for d, (a, b) in zip(made, shown, strict=True):
        d[a] -= common / 2
        d[b] += common / 2
    return made


def flips_by_hand(ev: Evidence, q, weight: list[float], margin: float) -> tuple[float, float]:
    """Couplings and the ranking along propagation."""
    n, k, logp, target = ev.n, ev.k, ev.predictions.logp.tolist(), ev.predictions.target.tolist()
    flips = torch.stack(
        [
            ev.contrasts.twin,
            ev.contrasts.flipped,
            ev.contrasts.example,
            ev.contrasts.before,
            ev.contrasts.after,
        ],
        dim=1,
    ).tolist()
    mean = [(weight[twin] + weight[contrast]) / 2 for twin, contrast, *_ in flips]
    pair = [(target[twin], j) for twin, _, j, _, _ in flips]
    coupled = ranked = 0.0
    for f, (twin, contrast, j, a, b) in enumerate(flips):
        v = mean[f] / (1 + sum(m for m, p in zip(mean, pair, strict=True) if p == pair[f]))
        d, mine = effects_by_hand(ev)[f], q[target[twin]]
        coupled += v * (q[j][a] - q[j][b]) * sum(mine[c] * d[c] / 2 for c in range(k)) / n
        for c in range(k):
            rise = logp[twin][c] - logp[contrast][c]
            kept, turned = q[j][a] * log_logistic(rise - margin), q[j][b]
            ranked += v * mine[c] * (kept + turned * log_logistic(-rise - margin)) / n
    return coupled, ranked


def rankings_by_hand(ev: Evidence, q, weight: list[float], margins) -> tuple[float, float]:
    """The ranking within each prediction and across those of one target."""
    n, k, logp, target = ev.n, ev.k, ev.predictions.logp.tolist(), ev.predictions.target.tolist()
    conditioned = shares_by_hand(ev, q, weight)
    within = across = 0.0
    for t, (r, s) in enumerate(conditioned):
        for c in range(k):
            ahead = [logp[t][c] - logp[t][o] for o in range(k) if o != c]
            fit = sum(log_logistic(x - margins["ranking within"]) for x in ahead) / (k - 1)
            within += s * r * q[target[t]][c] * fit / n
        for u, (other, share) in enumerate(conditioned):
            if target[u] != target[t] or not r > other:
                continue
            for c in range(k):
                ahead = log_logistic(logp[t][c] - logp[u][c] - margins["ranking across"])
                across += s * share * (r - other) * q[target[t]][c] * ahead / n
    return within, across


def downstream_by_hand(ev: Evidence, q, weight: list[float]) -> float:
    """Weighted means of advantages over the cells of example and label shown."""
    n, k, logp, target = ev.n, ev.k, ev.predictions.logp.tolist(), ev.predictions.target.tolist()
    fit = [sum(q[i][c] * logp[t][c] for c in range(k)) for t, i in enumerate(target)]
    counts = [
        t
        for t in range(ev.t)
        if not ev.predictions.zero[t] and max(q[target[t]]) > 0.6 and weight[t] > 0
    ]
    shots = torch.stack(ev.shown_shots(), dim=1).tolist()
    total = 0.0
    for j in range(n):
        for a in range(k):
            showed = [t for t, example, label in shots if (example, label) == (j, a)]
            gained = number = 0.0
            for t in showed:
                if t in counts:
                    peers = [u for u in counts if target[u] == target[t]]
                    mean = sum(weight[u] * fit[u] for u in peers) / sum(weight[u] for u in peers)
                    gained += weight[t] * (fit[t] - mean)
                    number += weight[t]
            total += q[j][a] * (gained / number * number / (number + 1) if number else 0.0) / n
    return total


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("resampled", [False, True])
@pytest.mark.parametrize("more", [0.0, 0.7])
def test_the_batch_is_the_plain_loop(k, resampled, more):
    """The margins, too, `more` than they are."""
    ev, theta = case(3, k)
    q = torch.softmax(torch.stack([theta, -theta]), dim=-1)
    drawn = np.random.default_rng(4).exponential(size=(2, ev.t))
    margins = {name: margin + more for name, margin in MARGINS.items()}
    terms = ALL | {
        name: Term(partial(TERMS[name].function, margin=m)) for name, m in margins.items()
    }
    weight = torch.from_numpy(drawn) if resampled else None
    values = evaluate_terms(ev, terms if more else ALL, condition(ev, q, weight), q.log())
    for s in range(2):
        p, w = q[s].tolist(), drawn[s].tolist() if resampled else [1.0] * ev.t
        coupled, ranked = flips_by_hand(ev, p, w, margins["ranking propagation"])
        within, across = rankings_by_hand(ev, p, w, margins)
        wanted = {
            "couplings": coupled,
            "downstream consistency": downstream_by_hand(ev, p, w),
            "ranking within": within,
            "ranking across": across,
            "ranking propagation": ranked,
        }
        assert {n: float(values[n][s]) for n in wanted} == pytest.approx(wanted, abs=1e-12)
        # Together with those of `coherence` these are all.
        assert {*wanted, *by_hand(ev, p, w)} == {*TERMS}


# --- couplings ---------------------------------------------------------------------------------


def contrast(i: int, j: int, a: int, b: int, effect, k: int = 2, repeat: int = 0, base: int = 0):
    """A target, a shot, its labels in twin and contrast, and what the flip does to the logits.

    `base` is the label that the target has in both: one that is unsure would not count.
    """
    middle, half = 3 * np.eye(k)[base], np.asarray(effect, dtype=float) / 2
    return i, j, a, b, softmax(middle + half), softmax(middle - half), repeat


def with_contrasts(n: int, contrasts, k: int = 2, rows=()) -> Evidence:
    data = dataset(n, k)
    asked = pairs(data, rows)
    for i, j, a, b, said, turned, repeat in contrasts:
        asked += flipped(data, i, [(j, a)], 0, b, said, turned, repeat)
    return collect(data, [alone(k)], [asked], bias="none")


def test_the_energy_of_an_ising_model():
    """Two contrasts whose mean is 0, of ±2 nats in the log-odds; m = q(1) − q(0) are the spins."""
    ev = with_contrasts(4, [contrast(0, 1, 1, 0, [-1, 1]), contrast(2, 3, 1, 0, [1, -1])])
    np.testing.assert_allclose(flip_effect(ev), [[-1, 1], [1, -1]], atol=1e-12)
    spin = np.array([0.2, -0.6, 0.8, 0.4])
    q = np.stack([1 - spin, 1 + spin], axis=1) / 2
    # Each coupling is J = d/2, of which a single contrast is trusted with one half.
    energy = (spin[0] * spin[1] - spin[2] * spin[3]) * (1 / 2) * (1 / 2)
    assert float(couplings(state(ev, q))) == pytest.approx(energy / 4)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_flips_are_shrunk_by_their_number(n):
    opposite = [contrast(2, 3, 1, 0, [1, -1], repeat=r) for r in range(n)]
    ev = with_contrasts(4, [contrast(0, 1, 1, 0, [-1, 1], repeat=r) for r in range(n)] + opposite)
    s = state(ev, np.eye(2)[[1, 1, 0, 1]])
    assert s.conditioned.flip_weight.tolist() == pytest.approx([1 / (n + 1)] * 2 * n)
    assert float(couplings(s)) == pytest.approx(2 * (n / (n + 1)) / 2 / 4)


def spins(labels: np.ndarray) -> np.ndarray:
    return labels[:, 1] - labels[:, 0]


ISING = {"field": TERMS["prior fidelity"].at(1.0), "couplings": TERMS["couplings"].at(1.0)}


@pytest.mark.parametrize("anchor", [0, 3, 5])
@pytest.mark.parametrize("side", [-1.5, 1.5])
@pytest.mark.parametrize("nats", [-4.0, 4.0], ids=["antiferromagnet", "ferromagnet"])
def test_one_known_label_propagates_through_a_chain(nats, side, anchor):
    """Both ways: from the shots to the targets and from the targets to the shots."""
    field = np.eye(8)[anchor] * side
    ev = made(8, leaning(field), balanced(6, chain(6, nats)))
    found = spins(solve(ev, ISING).labels)
    wanted = np.sign(side) * np.sign(nats) ** np.abs(np.arange(6) - anchor)
    np.testing.assert_array_equal(np.sign(found[:6]), wanted)
    assert np.abs(found[:6]).min() > 0.2
    # Mean field: m = tanh(h/2 + Σ J m), J = d/2 · n/(n + 1) with n = 2 contrasts for each link.
    j = np.zeros((6, 6))
    for a in range(5):
        j[a, a + 1] = j[a + 1, a] = nats / 4 * 2 / 3
    np.testing.assert_allclose(found[:6], np.tanh(field[:6] / 2 + j @ found[:6]), atol=1e-3)
    hard = solve(ev).labels[:6].argmax(axis=1)
    np.testing.assert_array_equal(2 * hard - 1, wanted)


def test_without_contrasts_nothing_propagates():
    found = solve(made(6, leaning(np.eye(6)[0] * 1.5))).labels
    assert found[0, 1] > 0.7
    np.testing.assert_allclose(found[1:], 0.5, atol=1e-4)


def test_three_classes_propagate():
    """Potts couplings: a chain of five that attract, and a pair apart that repels as much."""
    asked = []
    for i, j, nats in [*[(i, i + 1, 4.0) for i in range(5)], *[(6, 7, -4.0)] * 5]:
        for (a, b), base in product(permutations(range(3), 2), range(3)):
            effect = nats * (np.eye(3)[a] - np.eye(3)[b])
            asked.append(contrast(i, j, a, b, effect, 3, len(asked), base))
    ev = with_contrasts(8, asked, 3, [(0, sure_of(2, 2.0, 3), ())])
    for terms in (ISING, default_terms()):
        labels = solve(ev, terms).labels[:6]
        assert labels.argmax(axis=1).tolist() == [2] * 6 and labels[:, 2].min() > 0.6


@pytest.mark.parametrize("k", [2, 3])
def test_what_all_contrasts_show_alike_is_no_coupling(k):
    """The model repeats the label it has just seen, and that is all it does."""
    rng = np.random.default_rng(0)
    copied = []
    for repeat in range(12):
        i, j = rng.choice(5, size=2, replace=False).tolist()
        a, b = rng.choice(k, size=2, replace=False).tolist()
        copied.append(contrast(i, j, a, b, 2.5 * (np.eye(k)[a] - np.eye(k)[b]), k, repeat))
    ev = with_contrasts(5, copied, k)
    assert ev.f == 12
    np.testing.assert_allclose(flip_effect(ev), 0, atol=1e-12)
    assert float(couplings(state(ev, np.eye(k)[[0, 1, 1, 0, 1]]))) == pytest.approx(0, abs=1e-12)


def believer(truth: np.ndarray, k: int, known: float = 1.0, copying: float = 2.0):
    """Contrasts of a model that goes along with shots, and repeats their labels even more.

    A shot with its true label makes the target's more probable, by `known` nats.
    """
    rng = np.random.default_rng(len(truth) + k)
    n, asked = len(truth), []
    for i in range(n):
        for j in rng.choice([j for j in range(n) if j != i], size=5, replace=False).tolist():
            a, b = rng.choice(k, size=2, replace=False).tolist()
            effect = known * (float(a == truth[j]) - float(b == truth[j])) * np.eye(k)[truth[i]]
            effect = effect + copying * (np.eye(k)[a] - np.eye(k)[b])
            asked.append(contrast(i, j, a, b, effect, k))
    return asked


BALANCES = {
    "50 %": (2, [0, 1] * 20),
    "10 %": (2, [1] * 4 + [0] * 36),
    "thirds": (3, [0, 1, 2] * 13),
    "8 in 10": (3, [0] * 32 + [1] * 4 + [2] * 4),
}


@pytest.mark.parametrize(("k", "labels"), BALANCES.values(), ids=BALANCES)
def test_with_the_copying_every_coupling_keeps_its_sign(k, labels):
    truth = np.array(labels)
    ev = with_contrasts(len(truth), believer(truth, k), k)
    rise = (
        ev.predictions.logp[ev.contrasts.twin] - ev.predictions.logp[ev.contrasts.flipped]
    ).numpy()
    shot, target = truth[ev.contrasts.example], truth[ev.predictions.target[ev.contrasts.twin]]
    right, wrong = (side.numpy() == shot for side in (ev.contrasts.before, ev.contrasts.after))
    assert right.sum() > 40 and wrong.sum() > 40

    def kept(effect: np.ndarray) -> float:
        """How often the target's true class gains most by the true label, and loses by another."""
        gains, loses = effect.argmax(axis=1) == target, effect.argmin(axis=1) == target
        return np.concatenate([gains[right], loses[wrong]]).mean()

    assert kept(rise) < 0.9 and kept(flip_effect(ev).numpy()) == 1


@pytest.mark.parametrize(("k", "labels"), BALANCES.values(), ids=BALANCES)
def test_contrasts_and_one_known_label_give_all_the_others(k, labels):
    truth = np.array(labels)
    known = [(0, sure_of(truth[0], 4.0, k), ())]
    ev = with_contrasts(len(truth), believer(truth, k), k, known)
    labels = solve(ev, ISING, LBFGS(starts=16)).labels
    np.testing.assert_array_equal(labels.argmax(axis=1), truth)


# --- downstream consistency --------------------------------------------------------------------


def gains(ev: Evidence, q) -> float:
    return float(downstream_consistency(state(ev, q)))


def test_the_shot_under_which_a_target_fits_better_gains_by_hand():
    rows = [(0, [0.1, 0.9], [(1, 1)]), (0, [0.4, 0.6], [(2, 1)]), (3, [0.5, 0.5], ())]
    ev = evidence(4, rows)
    q = np.array([[0, 1], [0.3, 0.7], [0.8, 0.2], [0.5, 0.5]])
    lead = (math.log(0.9) - math.log(0.6)) / 2
    # Each was shown once, so counts half.
    assert gains(ev, q) == pytest.approx(lead * (0.7 - 0.2) / 2 / 4)
    # A zero-shot answer shows nothing, and is nothing to compare with.
    more = evidence(4, [*rows, (0, [0.01, 0.99], ())])
    assert gains(more, q) == pytest.approx(gains(ev, q))


@pytest.mark.parametrize("n", [1, 3])
def test_a_gain_is_shrunk_by_how_often_it_was_seen(n):
    rows = [(0, [0.1, 0.9], [(1, 1)])] * n + [(0, [0.4, 0.6], [(2, 1)])] * n
    lead = (math.log(0.9) - math.log(0.6)) / 2
    q = np.eye(2)[[1, 1, 0]]
    assert gains(evidence(3, rows), q) == pytest.approx(lead * n / (n + 1) / 3)


@pytest.mark.parametrize("k", [2, 3])
def test_to_be_shown_is_no_vote(k):
    """Where all prompts show the same, however well all goes, there is nothing to gain."""
    rng = np.random.default_rng(k)
    shots = [(6, 1), (7, 0)]
    rows = [(i, rng.dirichlet(np.ones(k)), shots) for i in range(6) for _ in range(3)]
    labels = np.eye(k)[[1, 0, 1, 0, 1, 0, 1, 0]]
    assert gains(evidence(8, rows, k), labels) == pytest.approx(0, abs=1e-12)
    other = [(i, p, shots[:1] if t % 3 else shots) for t, (i, p, _) in enumerate(rows)]
    assert abs(gains(evidence(8, other, k), labels)) > 1e-3


@pytest.mark.parametrize("k", [2, 3])
def test_what_some_labels_gain_others_lose(k):
    """Advantages sum to 0 over each target, so the gains sum to 0 over all labels shown."""
    ev, theta = case(4, k)
    ev = replace(ev.only(~ev.predictions.brief), floor=0.0)
    s = state(ev, torch.softmax(theta, -1))
    q = s.q.requires_grad_(True)
    (slope,) = torch.autograd.grad(downstream_consistency(s), q)
    _, example, label = ev.shown_shots()
    shown = torch.bincount(example * k + label, minlength=ev.n * k)
    gained = slope.flatten() * (shown + 1)
    assert float(gained.sum()) == pytest.approx(0, abs=1e-12)
    assert float(gained.max()) > 0.01 > -0.01 > float(gained.min())


def test_targets_less_sure_than_the_floor_do_not_count():
    ev = evidence(3, [(0, [0.3, 0.7], [(1, 1)]), (0, [0.6, 0.4], [(2, 1)])])
    unsure, sure = ([[1 - p, p], [0, 1], [1, 0]] for p in (0.59, 0.61))
    assert gains(ev, unsure) == 0 and gains(ev, sure) > 1e-3
    low, high = (replace(ev, floor=floor) for floor in (0.5, 0.7))
    assert gains(low, unsure) > 1e-3 and gains(high, sure) == 0


# --- rankings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 1.0, 2.5])
def test_within_a_prediction_by_hand(margin):
    ev = evidence(1, [(0, [0.2, 0.5, 0.3], ())], 3)
    for c, p in enumerate([0.2, 0.5, 0.3]):
        others = [math.log(p / o) for o in (0.2, 0.5, 0.3)]
        fit = sum(log_logistic(x - margin) for i, x in enumerate(others) if i != c) / 2
        found = ranking_within(state(ev, np.eye(3)[[c]]), margin)
        assert float(found) == pytest.approx(fit)


def preferred(term, ev: Evidence, q) -> float:
    """By how much the term prefers label 1 to label 0 for the first example, times N."""
    conditioned = state(ev, q).conditioned
    ends = [torch.as_tensor([end, *q[1:]], dtype=torch.float64) for end in ([0, 1], [1, 0])]
    one, zero = (
        float(term(replace(state(ev, q), conditioned=conditioned, logq=e.log()))) for e in ends
    )
    return ev.n * (one - zero)


@pytest.mark.parametrize("label", [0, 1])
def test_of_two_predictions_that_disagree_the_more_relevant_one_decides(label):
    """The first is right under the label 1 of its shot, the second under the label 0."""
    ev = evidence(2, [(0, [0.3, 0.7], [(1, 1)]), (0, [0.7, 0.3], [(1, 0)])])
    lead = preferred(ranking_across, ev, [[0.5, 0.5], np.eye(2)[label].tolist()])
    gap = math.log(0.7 / 0.3)
    decided = (log_logistic(gap) - log_logistic(-gap)) / 4
    assert lead == pytest.approx(decided if label else -decided) and decided > 0.1
    # Where both are as relevant, neither comes before the other.
    alike = evidence(2, [(0, [0.3, 0.7], [(1, label)]), (0, [0.7, 0.3], [(1, label)])])
    assert float(ranking_across(state(alike, np.eye(2)[[1, label]]))) == 0


@pytest.mark.parametrize("label", [0, 1])
def test_of_two_predictions_that_agree_it_counts_which_one_says_more(label):
    """Both say 1; but the first, right under the label 1 of its shot, speaks less for it."""
    ev = evidence(2, [(0, [0.4, 0.6], [(1, 1)]), (0, [0.05, 0.95], [(1, 0)])])
    gap = [math.log(0.4 / 0.05), math.log(0.6 / 0.95)]
    less = (log_logistic(gap[1]) - log_logistic(gap[0])) / 4
    more = (log_logistic(-gap[1]) - log_logistic(-gap[0])) / 4
    lead = preferred(ranking_across, ev, [[0.5, 0.5], np.eye(2)[label].tolist()])
    assert lead == pytest.approx(less if label else more) and less < 0 < more


@pytest.mark.parametrize("name", MARGINS)
def test_every_margin_does_something(name):
    ev, theta = case(5)
    s = state(ev, torch.softmax(theta, -1))
    asked = [
        float(TERMS[name].function(s, margin)) for margin in (MARGINS[name] + 2, MARGINS[name])
    ]
    assert asked[0] < asked[1] - 1e-3 and asked[1] == float(TERMS[name](s))


def test_a_ranking_along_propagation_saturates_where_couplings_do_not():
    def fitting(term, nats: float) -> float:
        """The value of labels that go with two contrasts that have nothing in common."""
        asked = [contrast(0, 1, 1, 0, [-nats, nats]), contrast(2, 3, 1, 0, [nats, -nats])]
        return float(term(state(with_contrasts(4, asked), np.eye(2)[[1, 1, 0, 1]])))

    assert [fitting(couplings, nats) for nats in (4.0, 8.0, 16.0)] == pytest.approx([0.5, 1, 2])
    ranked = [fitting(ranking_propagation, nats) for nats in (0.5, 8.0, 16.0)]
    assert ranked[0] < -0.1 and -1e-3 < ranked[1] < ranked[2] <= 0


def test_a_ranking_along_propagation_prefers_the_label_that_speaks_for_the_target():
    ev = with_contrasts(2, [contrast(0, 1, 1, 0, [-1, 1])])
    assert preferred(ranking_propagation, ev, [[0.5, 0.5], [0, 1]]) > 0.1
    assert preferred(ranking_propagation, ev, [[0.5, 0.5], [1, 0]]) < -0.1
    # Unlike couplings: what all contrasts show alike stays in, so that one alone has a say.
    assert preferred(couplings, ev, [[0.5, 0.5], [0, 1]]) == pytest.approx(0, abs=1e-12)
