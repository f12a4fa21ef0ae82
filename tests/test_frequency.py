"""How frequent the classes are: where it is known, where it is told wrongly, where nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from consilience.coherence import TERMS, class_frequency, default_terms
from consilience.evidence import Evidence
from consilience.frequency import FEWEST, LEANING, class_frequency_of
from consilience.lbfgs import LBFGS
from consilience.reading import State, read
from consilience.solvers import solve
from consilience.uncertainty import structural_confidence
from test_coherence import one
from test_solvers import softmax
from zoo import evidence


def mixture(
    shares, n: int = 2000, distance: float = 2.5, variance: float = 1.25, leaning=0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Classes, and log-odds of a mixture of normal distributions; calibrated if m = v·2, K = 2."""
    rng = np.random.default_rng(seed)
    k = len(shares)
    truth = rng.choice(k, size=n, p=shares)
    z = distance * (np.eye(k)[truth] - 1 / k)
    noise = rng.normal(scale=np.sqrt(variance), size=(n, k)) * np.sqrt(k / (k - 1))
    z = z + noise - noise.mean(axis=1, keepdims=True)
    lean = np.asarray(leaning) * np.eye(k)[-1]
    return truth, z + lean - lean.mean()


def told(z: np.ndarray, known=None) -> np.ndarray:
    """What is added to each example, (N, K)."""
    known = np.ones(len(z), dtype=bool) if known is None else known
    return class_frequency_of(
        torch.from_numpy(z).unsqueeze(0), torch.from_numpy(known).unsqueeze(0)
    )[0].numpy()


def right(z: np.ndarray, truth: np.ndarray) -> float:
    return float((z.argmax(axis=1) == truth).mean())


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.8, 0.98])
def test_a_rare_class_is_found_to_be_rare(share):
    """The odds of the shares, over what a nat of log-odds is worth, are what is added."""
    truth, z = mixture([1 - share, share], distance=2.5, variance=2.0)
    added = told(z)
    assert (added == added[0]).all() and added[0].sum() == pytest.approx(0, abs=1e-9)
    worth = 2.5 / 2.0 / 2  # the noise of two centred logits has twice the variance of one
    wanted = np.log(share / (1 - share)) / max(worth, 1)
    assert added[0, 1] - added[0, 0] == pytest.approx(wanted, abs=0.1 + 0.25 * abs(wanted))
    assert right(z + added, truth) >= right(z, truth) - 0.002
    if min(share, 1 - share) <= 0.1:
        assert right(z + added, truth) > right(z, truth) + 0.03


@pytest.mark.parametrize("scale", [0.1, 0.25, 4.0])
def test_a_model_that_is_unsure_does_not_make_one_class_of_all(scale):
    """Log-odds that say too little: taken at their word, one class in ten would be none."""
    truth, z = mixture([0.9, 0.1], distance=5.0, variance=1.0)
    z = scale * z
    assert right(z + told(z), truth) >= right(z, truth)
    assert np.abs(told(z)).max() < 2.5 * scale


def test_what_is_even_stays_even():
    truth, z = mixture([0.5, 0.5])
    assert np.abs(told(z)).max() < 0.1
    assert right(z + told(z), truth) == pytest.approx(right(z, truth), abs=0.005)


@pytest.mark.parametrize("leaning", [-0.3, 0.3])
def test_a_leaning_is_no_frequency(leaning):
    """Answers without an opinion that lean to a class: what is added takes that away, or little."""
    rng = np.random.default_rng(0)
    x = leaning / 2 + 0.05 * rng.normal(size=400)
    z = np.stack([-x, x], axis=1)
    added = told(z)[0]
    assert np.sign(added[1] - added[0]) == -np.sign(leaning)
    assert abs(leaning + added[1] - added[0]) < abs(leaning)


@pytest.mark.parametrize("seed", range(5))
def test_where_nothing_is_known_nothing_is_told(seed):
    z = 0.2 * np.random.default_rng(seed).normal(size=(400, 1)) * np.array([[-1.0, 1.0]])
    assert np.abs(told(z)).max() < 2 * LEANING


@pytest.mark.parametrize("k", [3, 4])
def test_of_several_classes(k):
    shares = np.array([0.7, *[0.3 / (k - 1)] * (k - 1)])
    truth, z = mixture(shares, distance=3.0, variance=1.5)
    added = told(z)[0]
    assert added.argmax() == 0 and np.ptp(added[1:]) < 0.6
    assert right(z + added, truth) > right(z, truth) + 0.02


def test_turned_classes_and_another_order_turn_it_and_change_nothing():
    _, z = mixture([0.8, 0.2], n=300)
    np.testing.assert_allclose(told(z[:, ::-1].copy()), told(z)[:, ::-1], atol=1e-9)
    order = np.random.default_rng(1).permutation(300)
    np.testing.assert_allclose(told(z[order]), told(z)[order], atol=1e-9)
    np.testing.assert_allclose(told(z + np.arange(300)[:, None]), told(z), atol=1e-9)


def test_who_was_not_asked_does_not_count():
    _, z = mixture([0.8, 0.2], n=300)
    known = np.arange(300) < 200
    other = z.copy()
    other[200:] = 7 * np.random.default_rng(2).normal(size=(100, 2))
    assert (told(other, known)[200:] == 0).all()
    np.testing.assert_allclose(told(other, known)[:200], told(z[:200]), atol=1e-12)


def test_of_a_few_examples_nothing_is_told():
    _, z = mixture([0.9, 0.1], n=FEWEST)
    assert (told(z[:-1]) == 0).all() and np.abs(told(z)).max() > 0.1


def test_a_batch_is_its_labellings_one_by_one():
    """They come to rest after different numbers of steps."""
    made = [mixture([1 - s, s], n=200, seed=7)[1] for s in (0.02, 0.5, 0.9)]
    made.append(0.1 * made[0])
    batch = torch.from_numpy(np.stack(made))
    together = class_frequency_of(batch, torch.ones(4, 200, dtype=torch.bool))
    for z, found in zip(made, together.numpy(), strict=True):
        np.testing.assert_allclose(found, told(z), atol=1e-12)
    assert class_frequency_of(batch[:0], torch.ones(0, 200, dtype=torch.bool)).shape == (0, 200, 2)


def rare(k: int = 2, n: int = 60) -> Evidence:
    """Zero-shot answers of which most are of the first class; the last example has none."""
    _, z = mixture([0.8, *[0.2 / (k - 1)] * (k - 1)], n=n, distance=3.0, variance=1.5)
    return evidence(n + 1, [(i, softmax(row), ()) for i, row in enumerate(z)], k)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_term_its_gradient_and_the_plain_loop(k):
    ev = rare(k)
    theta = torch.from_numpy(np.random.default_rng(3).normal(size=(ev.n, k))).requires_grad_(True)
    reading = one(read(ev, torch.softmax(theta.detach(), -1).unsqueeze(0)))

    def value(theta: torch.Tensor) -> torch.Tensor:
        return class_frequency(State(ev, reading, torch.log_softmax(theta, dim=-1)))

    assert torch.autograd.gradcheck(value, (theta,))
    value(theta).backward()
    assert theta.grad.abs().max() > 1e-3
    q = torch.softmax(theta, -1).tolist()
    added = told(ev.logp.numpy())[0]
    by_hand = sum(q[i][c] * added[c] for i in range(ev.n - 1) for c in range(k)) / ev.n
    assert value(theta).item() == pytest.approx(by_hand, abs=1e-12)


def test_its_weight_changes_the_labels_but_not_of_who_was_not_asked():
    ev, terms = rare(), default_terms()
    weight, term = terms["class frequency"]
    usual = solve(ev, terms, LBFGS(starts=1)).labels
    more = solve(ev, terms | {"class frequency": (2 * weight, term)}, LBFGS(starts=1)).labels
    assert np.abs(more - usual).max() > 0.01
    assert (more[:-1, 0] > usual[:-1, 0]).all()
    np.testing.assert_allclose(usual[-1], 0.5, atol=1e-4)


def test_it_is_of_other_examples():
    ev = rare()
    labels = np.random.default_rng(4).dirichlet([1, 1], size=ev.n)
    alone = structural_confidence(ev, {"it": (1.0, TERMS["class frequency"])}, labels)
    np.testing.assert_allclose(alone[:-1], 1)
    assert np.isnan(alone[-1])
    without = {n: t for n, t in default_terms().items() if n != "class frequency"}
    assert (structural_confidence(ev, without, labels)[:-1] < 1e-9).all()
    shared = structural_confidence(ev, default_terms(), labels)[:-1]
    assert ((shared > 0) & (shared < 1)).all()
