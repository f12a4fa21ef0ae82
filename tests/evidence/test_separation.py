"""Whether answers without shots are the sharper ones: known optima, and what changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from consilience.evidence.agreement import ZERO_SHOT_WEIGHT
from consilience.evidence.mixture import APART, FEWEST_EXAMPLES, LOOKED
from consilience.evidence.separation import (
    MOST_OF,
    RAREST,
    SHARPER,
    _fitted,
    shot_free_weights,
)

SHARP, BROAD = (1.0, 0.2), (1.0, 0.7)
"""How far a class moves its own column, in nats, and the standard deviation of the noise."""


def means(kinds, n: int = 2000, k: int = 2, seed: int = 0, shared: float = 0.0, share=None):
    """Classes (N,), and the means of an example's answers without and with shots, (N, K, 2)."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, size=n, p=share)
    common = rng.normal(size=(n, k))
    found = []
    for slope, noise in kinds:
        own = np.sqrt(1 - shared) * rng.normal(size=(n, k)) + np.sqrt(shared) * common
        found.append(slope * np.eye(k)[truth] + noise * own)
    x = np.stack(found, axis=-1)
    return truth, x - x.mean(axis=1, keepdims=True)


def asked(kinds, times=(2, 6), **given):
    """Answers of both kinds about every example, and which are which.

    Those of one kind about an example are all its mean.
    """
    _, x = means(kinds, **given)
    n = len(x)
    z = np.concatenate([np.tile(x[..., g], (times[g], 1)) for g in (0, 1)])
    target = np.tile(np.arange(n), sum(times))
    zero = np.arange(len(z)) < times[0] * n
    return z, target, np.ones(len(z)), zero, ~zero


def share(made: np.ndarray, zero: np.ndarray, n: int, times=(2, 6)) -> float:
    """The share of an example's evidence that answers without shots have."""
    free = ZERO_SHOT_WEIGHT * made[zero].mean()
    return float(free / (free + times[1] * made[~zero].mean()))


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_the_fit_finds_how_far_apart_classes_lie_and_what_each_kind_should_count(k, shared):
    kinds = np.array([(1.0, 0.25), (0.8, 0.4)])
    _, x = means(kinds, k=k, shared=shared)
    apart, best, shares = (found.numpy() for found in _fitted(torch.from_numpy(x), 0.1))
    slope, noise = kinds.T
    within = np.outer(noise, noise) * np.array([[1, shared], [shared, 1]])
    np.testing.assert_allclose(apart, slope / noise, rtol=0.06)
    wanted = np.linalg.solve(within, slope)
    np.testing.assert_allclose(best, wanted, rtol=0.15, atol=0.05 * wanted.max())
    np.testing.assert_allclose(shares, 1 / k, atol=0.03)


@pytest.mark.parametrize("k", [2, 4])
def test_sharper_answers_without_shots_count_as_much_as_the_best_sum_takes_of_them(k):
    kinds = (0.5, 0.1), (1.0, 0.6)
    given = asked(kinds, k=k)
    made = shot_free_weights(*given)
    zero = given[3]
    assert made.mean() == pytest.approx(1)
    best = (kinds[0][0] / kinds[0][1] ** 2) / (kinds[1][0] / kinds[1][1] ** 2)
    assert best > MOST_OF / (1 - MOST_OF)  # more than is allowed
    assert share(made, zero, 2000) == pytest.approx(MOST_OF)
    kinds = (1.0, 0.25), (1.0, 0.45)
    given = asked(kinds, k=k)
    made = shot_free_weights(*given)
    ratio = (kinds[1][1] / kinds[0][1]) ** 2
    assert share(made, zero, 2000) == pytest.approx(ratio / (1 + ratio), rel=0.05)


UNCHANGED = {
    "shots are as sharp": (SHARP, SHARP),
    "shots are sharper": (BROAD, SHARP),
    "hardly sharper": ((1.0, 0.2), (1.0, 0.2 * (SHARPER + 1) / 2)),
    "one broad cluster": ((0.0, 1.0), (0.0, 1.0)),
    "no classes to be seen": ((1.0, 0.5), (1.0, 2.0)),
    "nothing but noise": ((0.0, 1e-9), (0.0, 1e-9)),
}


@pytest.mark.parametrize("kinds", UNCHANGED.values(), ids=UNCHANGED)
@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("n", [100, 3 * LOOKED])
def test_elsewhere_nothing_changes(kinds, k, n):
    given = asked(kinds, k=k, n=n)
    assert shot_free_weights(*given) is given[2]


@pytest.mark.parametrize("part", ["without", "with", "neither", "few"])
def test_what_was_not_asked_tells_nothing(part):
    z, target, weight, zero, shown = asked((SHARP, BROAD))
    assert shot_free_weights(z, target, weight, zero, shown) is not weight
    kept = {
        "without": zero,
        "with": shown,
        "neither": np.zeros_like(zero),
        "few": zero | (target < FEWEST_EXAMPLES - 1),
    }[part]
    left = z[kept], target[kept], weight[kept], zero[kept], shown[kept]
    assert shot_free_weights(*left) is left[2]


def test_the_weight_of_either_kind_is_what_it_was_but_for_one_factor():
    z, target, weight, zero, shown = asked((SHARP, BROAD))
    weight = np.random.default_rng(1).uniform(0.5, 2, len(z))
    made = shot_free_weights(z, target, weight, zero, shown)
    factors = {round(float(f), 9) for f in made[zero] / weight[zero]}
    assert len(factors) == 1 and len({round(float(f), 9) for f in made[shown] / weight[shown]}) == 1
    assert (made[zero] / weight[zero]).mean() > (made[shown] / weight[shown]).mean()


def test_contrasts_take_no_part():
    z, target, weight, zero, shown = asked((SHARP, BROAD))
    made = shot_free_weights(z, target, weight, zero, shown)
    noise = 5 * np.random.default_rng(2).normal(size=z.shape)
    noise -= noise.mean(axis=1, keepdims=True)
    neither = np.zeros(len(z), dtype=bool)
    more = shot_free_weights(
        np.concatenate([z, noise]),
        np.concatenate([target, target]),
        np.concatenate([weight, weight]),
        np.concatenate([zero, neither]),
        np.concatenate([shown, neither]),
    )
    np.testing.assert_allclose(more[: len(z)] / more[0], made / made[0])


@pytest.mark.parametrize("k", [2, 3])
def test_order_of_predictions_and_classes_and_the_unit_do_not_matter(k):
    z, target, weight, zero, shown = asked((SHARP, BROAD), k=k, n=300)
    made = shot_free_weights(z, target, weight, zero, shown)
    order = np.random.default_rng(3).permutation(len(z))
    moved = shot_free_weights(z[order], target[order], weight, zero[order], shown[order])
    np.testing.assert_allclose(moved, made[order])
    turned = shot_free_weights(z[:, ::-1].copy(), target, weight, zero, shown)
    np.testing.assert_allclose(turned, made)
    np.testing.assert_allclose(
        shot_free_weights(7 * z, target, weight, zero, shown), made, rtol=0.05
    )


def test_a_rare_class_is_seen_as_well_but_not_one_of_a_few_answers():
    given = asked((SHARP, BROAD), share=(0.85, 0.15))
    assert share(shot_free_weights(*given), given[3], 2000) > 0.8
    given = asked((SHARP, BROAD), share=(1 - RAREST / 2, RAREST / 2))
    assert shot_free_weights(*given) is given[2]


def test_one_broad_cluster_does_not_lie_as_far_apart_as_classes_must():
    for k in (2, 3, 6):
        _, x = means(((0.0, 1.0), (0.0, 1.0)), k=k, n=LOOKED)
        apart, *_ = _fitted(torch.from_numpy(x), 1.0)
        assert float(apart.max()) < 2 * APART / 3
