"""Class shares and the scale of log-odds: found where answers tell them, else left as they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from consilience.evidence import mixture
from consilience.evidence.evidence import Evidence
from consilience.evidence.known_classes import moved
from consilience.evidence.mixture import (
    APART,
    BELIEVED,
    BELIEVED_OF_MANY,
    FEWEST_EXAMPLES,
    LEANING,
    LEAST_SCALE,
    LOOKED,
    MOST_SCALE,
    Mixture,
    fit_mixture,
)
from consilience.objective.coherence import TERMS, class_frequency, default_terms
from consilience.objective.conditioning import State, condition
from consilience.results.uncertainty import structural_confidence
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from scenes import one, softmax
from zoo import evidence


def made(
    shares, n: int = 1000, distance: float = 3.0, variance: float = 1.0, lean: float = 0.0, seed=0
) -> tuple[np.ndarray, np.ndarray]:
    """Classes, and centred answers (N, K) that are normal about a centre for each class."""
    rng = np.random.default_rng(seed)
    k = len(shares)
    truth = rng.choice(k, size=n, p=shares)
    noise = rng.normal(scale=np.sqrt(variance), size=(n, k))
    z = distance * np.eye(k)[truth] + noise + lean * np.eye(k)[-1]
    return truth, z - z.mean(axis=1, keepdims=True)


def fit(z: np.ndarray, known=None, **given) -> Mixture:
    """What is told of one set of answers."""
    known = np.ones(len(z), dtype=bool) if known is None else known
    found = fit_mixture(torch.from_numpy(z)[None], torch.from_numpy(known)[None], **given)
    return Mixture(found.scale[0], found.frequency[0], found.clusters[0], found.apart[0])


def added(z: np.ndarray, **given) -> np.ndarray:
    return fit(z, **given).frequency.numpy()


def right(z: np.ndarray, truth: np.ndarray) -> float:
    return float((z.argmax(axis=1) == truth).mean())


# --- where clusters lie apart


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.8])
def test_shares_are_recovered_where_clusters_are_apart(share):
    """log π/(1 − π) over κ is added: the line lies where both classes are as likely."""
    truth, z = made([1 - share, share], distance=5.0)
    found = fit(z)
    frequency = found.frequency.numpy()
    assert frequency.sum() == pytest.approx(0, abs=1e-9) and found.clusters > 0.99
    # Distance over variance, 5 / 1.
    wanted = np.log(share / (1 - share)) / 5.0
    assert frequency[1] - frequency[0] == pytest.approx(wanted, abs=0.35)
    assert right(z + frequency, truth) > 0.98


@pytest.mark.parametrize(("share", "distance"), [(0.5, 2.5), (0.1, 7.0), (0.01, 3.5)])
def test_fits_that_are_left_behind_change_nothing(monkeypatch, share, distance):
    """A rare class far away among them, whose wide fit is far behind before it is found."""
    _, z = made([1 - share, share], n=2048, distance=distance)
    left = fit(z)
    monkeypatch.setattr(mixture, "FAR_BEHIND", np.inf)
    kept = fit(z)
    np.testing.assert_allclose(left.frequency, kept.frequency, atol=1e-9)
    np.testing.assert_allclose(left.scale, kept.scale, atol=1e-9)


@pytest.mark.parametrize("lean", [-1.5, 1.5])
@pytest.mark.parametrize("share", [0.15, 0.5])
def test_what_the_answers_lean_to_is_taken_off(share, lean):
    truth, z = made([1 - share, share], distance=4.0, lean=lean)
    assert right(z + added(z), truth) > max(0.95, right(z, truth) - 0.005)


@pytest.mark.parametrize("units", [0.2, 1.0, 3.0])
def test_the_scale_is_that_of_clusters_that_are_apart(units):
    """Answers said in other units: a nat is worth as much less."""
    _, z = made([0.5, 0.5], distance=4.0)
    wanted = np.clip(BELIEVED * 4.0 / 1.0 / units, LEAST_SCALE, MOST_SCALE)
    assert float(fit(units * z).scale) == pytest.approx(wanted, rel=0.25)


def test_the_scale_is_never_more_or_less_than_its_bounds():
    _, z = made([0.5, 0.5], distance=6.0, variance=0.5)
    assert float(fit(0.01 * z).scale) == pytest.approx(MOST_SCALE)
    assert float(fit(100 * z).scale) == pytest.approx(LEAST_SCALE)
    for k in (2, 3):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            answers = rng.standard_t(2, size=(60, k)) * 10.0 ** rng.integers(-3, 3)
            found = fit(answers - answers.mean(axis=1, keepdims=True))
            assert (
                LEAST_SCALE <= float(found.scale) <= MOST_SCALE and 0 <= float(found.clusters) <= 1
            )
            assert bool(torch.isfinite(found.frequency).all())


# --- where they do not


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_of_one_cluster_little_is_told(seed, spread):
    """Its middle is no class: the answers are not made surer, and nobody is put on one side."""
    rng = np.random.default_rng(seed)
    x = spread * rng.normal(size=400)
    z = np.stack([-x, x], axis=1) / 2
    found = fit(z)
    assert float(found.scale) < 2.0 / min(spread, 2.0)
    moved = z + found.frequency.numpy()
    assert 0.25 < (moved.argmax(axis=1) == 1).mean() < 0.75
    apart = fit(made([0.5, 0.5], n=400, distance=5.0, seed=seed)[1])
    assert found.clusters < apart.clusters


def test_of_a_few_examples_nothing_is_told():
    _, z = made([0.9, 0.1], n=FEWEST_EXAMPLES, distance=5.0)
    few, enough = fit(z[:-1]), fit(z)
    assert (float(few.scale), float(few.clusters)) == (1.0, 0.0)
    assert (few.frequency == 0).all()
    assert float(enough.scale) != 1.0


def test_of_answers_that_do_not_vary_nothing_is_told():
    for z in (np.zeros((100, 2)), np.tile([1.0, -1.0], (100, 1))):
        found = fit(z)
        assert float(found.scale) == 1.0 and (found.frequency == 0).all()


@pytest.mark.parametrize("k", [3, 4])
@pytest.mark.parametrize("distance", [2.0, 4.0])
def test_of_more_than_two_classes_shares_are_equal_unless_they_lie_apart(k, distance):
    truth, z = made([0.7, *[0.3 / (k - 1)] * (k - 1)], distance=distance)
    found = fit(z)
    labels = softmax(float(found.scale) * (z + added(z)))
    shares = labels.mean(axis=0)
    if distance < APART:
        assert found.apart < 0.01
        np.testing.assert_allclose(shares, 1 / k, atol=0.01)
    else:
        assert found.apart > 0.99
        assert shares[0] == pytest.approx(0.7, abs=0.1)
        assert (labels.argmax(axis=1) == truth).mean() > 0.93
    assert float(found.scale) == pytest.approx(BELIEVED_OF_MANY * distance, rel=0.3)
    assert found.clusters > 0.99


# --- what does not matter


def test_turned_classes_and_another_order_turn_it_and_change_nothing():
    _, z = made([0.8, 0.2], n=300, distance=2.0)
    usual = fit(z)
    order = np.random.default_rng(1).permutation(300)
    for other in (z[:, ::-1].copy(), z[order], z + np.arange(300)[:, None]):
        again = fit(other)
        assert float(again.scale) == pytest.approx(float(usual.scale), rel=1e-6)
        assert float(again.clusters) == pytest.approx(float(usual.clusters), abs=1e-6)
    np.testing.assert_allclose(added(z[:, ::-1].copy()), added(z)[::-1], atol=1e-8)
    np.testing.assert_allclose(added(z[order]), added(z), atol=1e-8)
    np.testing.assert_allclose(added(z + np.arange(300)[:, None]), added(z), atol=1e-8)


def test_who_was_not_asked_does_not_count():
    _, z = made([0.8, 0.2], n=300)
    known = np.arange(300) % 3 > 0
    other = z.copy()
    other[~known] = 7 * np.random.default_rng(2).normal(size=(100, 2))
    np.testing.assert_allclose(
        fit(other, known).frequency.numpy(), fit(z[known]).frequency.numpy(), atol=1e-9
    )


@pytest.mark.parametrize("k", [2, 3])
def test_a_batch_is_its_labellings_one_by_one(k):
    shares = [[1 - s, *[s / (k - 1)] * (k - 1)] for s in (0.05, 0.5, 0.9)]
    several = [made(share, n=200, seed=7)[1] for share in shares]
    several += [0.1 * several[0], np.zeros((200, k))]
    batch = torch.from_numpy(np.stack(several))
    together = fit_mixture(batch, torch.ones(5, 200, dtype=torch.bool))
    for s, z in enumerate(several):
        alone = fit(z)
        for name in ("scale", "frequency", "clusters"):
            torch.testing.assert_close(
                getattr(together, name)[s], getattr(alone, name), rtol=0, atol=1e-9
            )
    none = fit_mixture(batch[:0], torch.ones(0, 200, dtype=torch.bool))
    assert none.scale.shape == (0,) and none.frequency.shape == (0, k)


def test_the_prior_on_what_answers_lean_to_decides_where_they_cannot_tell():
    """One cluster off the middle: a leaning by default, else that one class is more frequent."""
    rng = np.random.default_rng(0)
    x = 0.8 + rng.normal(size=400)
    z = np.stack([-x, x], axis=1) / 2
    free, held = added(z), added(z, leaning=0.01)
    assert LEANING > 1
    # Where all of it may be a leaning about half are of each class.
    assert ((z + free).argmax(axis=1) == 1).mean() < ((z + held).argmax(axis=1) == 1).mean()


# --- in the objective


def rare(k: int = 2, n: int = 60) -> Evidence:
    """Zero-shot answers of which most are of the first class; the last example has none."""
    _, z = made([0.8, *[0.2 / (k - 1)] * (k - 1)], n=n, variance=1.5)
    return evidence(n + 1, [(i, softmax(row), ()) for i, row in enumerate(z)], k)


@pytest.mark.parametrize("k", [2, 3])
def test_the_term_its_gradient_and_the_plain_loop(k):
    ev = rare(k)
    theta = torch.from_numpy(np.random.default_rng(3).normal(size=(ev.n, k))).requires_grad_(True)
    conditioned = one(condition(ev, torch.softmax(theta.detach(), -1).unsqueeze(0)))

    def value(theta: torch.Tensor) -> torch.Tensor:
        return class_frequency(State(ev, conditioned, torch.log_softmax(theta, dim=-1)))

    assert torch.autograd.gradcheck(value, (theta,))
    value(theta).backward()
    assert theta.grad.abs().max() > 1e-3
    assert (conditioned.frequency[-1] == 0).all()
    q = torch.softmax(theta.detach(), -1)
    by_hand = float((q * conditioned.frequency).sum()) / ev.n
    assert value(theta).item() == pytest.approx(by_hand, abs=1e-12)


def test_conditioned_evidence_is_in_nats_of_what_they_are_worth():
    """Answers that say too little are scaled up, and what is held fixed is not estimated."""
    _, z = made([0.5, 0.5], n=200, distance=4.0)
    rows = [(i, softmax(0.2 * row), ()) for i, row in enumerate(z)]
    ev = evidence(200, rows)
    q = torch.full((1, 200, 2), 0.5, dtype=torch.float64)
    own, held = condition(ev, q), condition(replace(ev, scale=1.0), q)
    assert float(own.scale[0]) > 4.0 and float(held.scale[0]) == 1.0
    for conditioned in (own, held):
        gap = (conditioned.log_pool[0, :, 1] - conditioned.log_pool[0, :, 0]).numpy()
        wanted = float(conditioned.scale[0]) * 0.2 * (z[:, 1] - z[:, 0])
        np.testing.assert_allclose(gap, wanted, atol=1e-6)


def test_its_weight_changes_the_labels_but_not_of_who_was_not_asked():
    ev, terms = rare(), default_terms()
    frequency = terms["class frequency"]
    usual = solve(ev, terms, LBFGS(starts=1)).labels
    more = solve(
        ev, terms | {"class frequency": frequency.at(2 * frequency.weight)}, LBFGS(starts=1)
    ).labels
    assert np.abs(more - usual).max() > 0.01
    lead = np.sign(condition(ev, torch.from_numpy(usual)[None]).frequency[0, 0, 0].item())
    assert (lead * (more[:-1, 0] - usual[:-1, 0]) > -1e-9).all()
    np.testing.assert_allclose(usual[-1], 0.5, atol=1e-4)


def test_it_is_of_other_examples():
    ev = rare()
    labels = np.random.default_rng(4).dirichlet([1, 1], size=ev.n)
    alone = structural_confidence(ev, {"it": TERMS["class frequency"].at(1.0)}, labels)
    np.testing.assert_allclose(alone[:-1], 1)
    assert np.isnan(alone[-1])
    without = {n: t for n, t in default_terms().items() if n != "class frequency"}
    assert (structural_confidence(ev, without, labels)[:-1] < 1e-9).all()
    shared = structural_confidence(ev, default_terms(), labels)[:-1]
    assert ((shared > 0) & (shared < 1)).all()


# --- shares that are given


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.5, 0.3), (0.97, 0.01, 0.02)])
@pytest.mark.parametrize(("distance", "lean"), [(1.0, 0.0), (1.0, 2.0), (3.0, 0.0)])
def test_the_mean_labels_have_the_shares_that_are_given(shares, distance, lean):
    _, z = made([1 / len(shares)] * len(shares), distance=distance, lean=lean)
    found = fit(z, shares=shares)
    labels = torch.softmax(found.scale * (torch.from_numpy(z) + found.frequency), dim=-1)
    np.testing.assert_allclose(labels.mean(dim=0), shares, atol=1e-4)


def test_a_given_share_puts_the_line_where_close_clusters_do_not_show_it():
    truth, z = made((0.9, 0.1), distance=1.2, lean=1.5)
    told = right(z + added(z, shares=(0.9, 0.1)), truth)
    assert told > 0.88 > right(z + added(z), truth) + 0.1


def test_given_shares_hold_in_labels_that_are_solved():
    rows = [(i, [p, 1 - p], ()) for i, p in enumerate(np.linspace(0.3, 0.8, 60))]
    known = replace(evidence(60, rows), shares=(0.25, 0.75))
    labels = solve(known, default_terms(), LBFGS(starts=1)).labels
    assert labels[:, 0].mean() == pytest.approx(0.25, abs=0.05)
    assert (labels.argmax(axis=1) == 0).mean() < 0.4


# --- where some classes are given


def test_given_classes_move_where_the_others_lie_once_many_are_put_right():
    """A few about the line say nothing of it; many, drawn at random, do."""
    truth, z = made([0.9, 0.1], n=400, distance=1.5, lean=1.0)
    alone = z + added(z)
    few, many = (np.full(len(z), -1) for _ in range(2))
    at = np.argsort(np.abs(alone[:, 1] - alone[:, 0]))[:6]
    few[at] = 1 - alone[at].argmax(axis=1)
    assert np.abs(added(z, held=torch.from_numpy(few)) - added(z)).max() < 0.1
    many[:100] = truth[:100]
    told = z + added(z, held=torch.from_numpy(many))
    assert right(told[100:], truth[100:]) > right(alone[100:], truth[100:]) + 0.1


def test_given_classes_count_wherever_they_stand():
    """The first LOOKED examples are fitted; corrections after them move the line as well."""
    rng = np.random.default_rng(3)
    n = 3 * LOOKED
    x = 1.5 * rng.normal(size=n)
    truth = (x + 0.3 * rng.normal(size=n) > 1.5).astype(int)
    z = np.stack([-x / 2, x / 2], axis=1)
    alone = z + added(z)
    wrong = np.flatnonzero((alone.argmax(axis=1) == 1) & (truth == 0))
    scores = []
    for at in (wrong[wrong < LOOKED][:60], wrong[wrong >= LOOKED][:60]):
        held = np.full(n, -1)
        held[at] = 0
        scores.append(right(z + added(z, held=torch.from_numpy(held)), truth))
    assert min(scores) > right(alone, truth) + 0.15
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


@pytest.mark.parametrize(("more", "share"), [(0, 1 / (1 + math.exp(3))), (2, 0.5), (4, None)])
def test_classes_move_by_how_many_more_of_the_given_ones_that_puts_right(more, share):
    """Sure answers on either side of where some of the given ones are; nobody else is counted."""
    z = torch.tensor([[5.0, -5.0]] * 4 + [[90.0, -90.0]] * 3).double().unsqueeze(0)
    held = torch.tensor([1] * more + [-1] * (4 - more) + [0, -1, -1])
    there, scale = torch.ones(1, 7, 1).double(), torch.ones(1).double()
    before, placed = torch.zeros(1, 2).double(), torch.tensor([[-40.0, 40.0]]).double()
    found = moved(before, placed, z, scale, held, there)
    share = 1 - 1 / (1 + math.exp(3)) if share is None else share
    np.testing.assert_allclose(found, share * placed, rtol=1e-3)
