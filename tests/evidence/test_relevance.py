"""How relevant a prediction is that was shown labels: by today's labels, or by where they stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from consilience.evidence.mixture import FEWEST_EXAMPLES
from consilience.objective.conditioning import condition
from zoo import evidence

N = 40
"""Examples, enough that where a label stands among all says something; example 0 is asked."""


def graded(k: int = 2, step: float = 0.1, n: int = N, seed: int = 0) -> np.ndarray:
    """Labels (N, K) whose log-odds of the last class rise evenly over examples in random order."""
    theta = np.zeros((n, k))
    theta[np.random.default_rng(seed).permutation(n), -1] = step * (np.arange(n) - (n - 1) / 2)
    p = np.exp(theta)
    return p / p.sum(axis=1, keepdims=True)


def relevance(q: np.ndarray, shots) -> np.ndarray:
    """The relevance of a prediction about example 0 for each list of shots."""
    n, k = q.shape
    ev = evidence(n, [(0, np.full(k, 1 / k), some) for some in shots], k)
    return condition(ev, torch.from_numpy(q).unsqueeze(0)).relevance[0].numpy()


def by_probability(q: np.ndarray, shots) -> list[float]:
    """The same from the mean probability of the labels shown alone."""
    chance = 1 / q.shape[1]
    mean = [np.mean([q[i, label] for i, label in some]) for some in shots]
    return [max(0.0, (m - chance) / (1 - chance)) for m in mean]


def single(q: np.ndarray, label: int) -> list:
    """One list with one shot for each example but the one that is asked, all with this label."""
    return [[(i, label)] for i in range(1, len(q))]


@pytest.mark.parametrize("k", [2, 3])
def test_unsure_labels_that_stand_at_the_top_are_relevant(k):
    q = graded(k, step=0.002)
    top = [int(i) for i in q[:, -1].argsort()[::-1] if i][:6]
    shots = [[(i, k - 1) for i in top]]
    assert by_probability(q, shots)[0] < 0.05
    assert relevance(q, shots)[0] > 0.7


def test_of_two_classes_both_ends_are_and_reversed_labels_are_not():
    q = graded(step=0.002)
    low, *_, high = (int(i) for i in q[:, 1].argsort() if i)
    right, wrong = [(low, 0), (high, 1)], [(low, 1), (high, 0)]
    found = relevance(q, [right, wrong, [(low, 0), (high, 0)]])
    assert found[0] > 0.8
    assert found[1:] == pytest.approx([0.0, 0.0], abs=0.05)
    assert found[1] == 0


def test_the_surer_of_a_label_the_more_relevant_and_below_the_middle_not_at_all():
    q = graded(step=0.01)
    found = relevance(q, single(q, 1))
    order = q[1:, 1].argsort()
    assert (np.diff(found[order]) >= 0).all() and found.max() > 0.8
    assert (found[q[1:, 1] < 0.5] == 0).all() and (found[q[1:, 1] > 0.5] > 0).all()


@pytest.mark.parametrize("k", [2, 3])
def test_where_labels_stand_does_not_depend_on_how_sure_they_are(k):
    # So unsure that their probabilities tell nothing.
    faint, fainter = (relevance(q, single(q, k - 1)) for q in (graded(k, 2e-3), graded(k, 2e-4)))
    np.testing.assert_allclose(fainter, faint, atol=0.02)
    assert faint.max() > 0.8


def test_the_larger_of_the_two_counts():
    for step, above in ((0.05, True), (0.5, False)):
        q = graded(step=step)
        shots = single(q, 1)
        found, least = relevance(q, shots), np.array(by_probability(q, shots))
        assert (found >= least - 1e-12).all() and (found > least + 0.1).any() == above
    sure = 0.02 + 0.96 * (np.arange(N) % 2)
    hard = np.stack([1 - sure, sure], axis=1)
    assert relevance(hard, [[(1, 1)], [(2, 1)]]) == pytest.approx([0.96, 0.0])


def test_equal_labels_stand_at_one_place_as_far_as_rounding_tells():
    q = graded(step=0.01)
    tied = np.stack([1 - q[:, 1].round(2), q[:, 1].round(2)], axis=1)
    found = relevance(tied, single(tied, 1))
    for value in np.unique(tied[1:, 1]):
        same = found[tied[1:, 1] == value]
        np.testing.assert_allclose(same, same[0], atol=1e-12)
    rounded = tied + 1e-13 * np.random.default_rng(1).normal(size=(N, 1)) * [[1, -1]]
    np.testing.assert_allclose(relevance(rounded, single(tied, 1)), found, atol=1e-6)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_labels_that_are_all_alike_make_nothing_relevant(k):
    for row in (np.full(k, 1 / k), np.exp(-np.arange(k)) / np.exp(-np.arange(k)).sum()):
        q = np.tile(row, (N, 1))
        shots = [[(1, label)] for label in range(k)]
        assert relevance(q, shots) == pytest.approx(by_probability(q, shots), abs=1e-6)


def test_of_few_examples_where_labels_stand_says_nothing():
    for n in (FEWEST_EXAMPLES - 1, FEWEST_EXAMPLES):
        q = graded(step=0.01, n=n)
        found, alone = relevance(q, single(q, 1)), by_probability(q, single(q, 1))
        if n < FEWEST_EXAMPLES:
            assert found == pytest.approx(alone)
        else:
            assert found.max() > 5 * max(alone)


def test_without_shots_or_with_sure_labels_nothing_changes():
    q = np.eye(3)[np.arange(N) % 3]
    found = relevance(q, [[], [(1, 1), (2, 2)], [(1, 2), (2, 1)], [(1, 1), (2, 1)]])
    assert found == pytest.approx([1.0, 1.0, 0.0, 0.25])


@pytest.mark.parametrize("k", [2, 3])
def test_a_batch_is_its_labellings_one_by_one_in_any_order(k):
    several = [graded(k, 0.01, seed=s) for s in range(3)] + [np.full((N, k), 1 / k)]
    shots = [[(1, 0), (2, k - 1)], [(3, k - 1)], [(4, 0)], []]
    ev = evidence(N, [(0, np.full(k, 1 / k), some) for some in shots], k)
    found = condition(ev, torch.from_numpy(np.stack(several))).relevance.numpy()
    for q, row in zip(several, found, strict=True):
        np.testing.assert_allclose(row, relevance(q, shots), atol=1e-12)
        order = [0, *(1 + np.random.default_rng(3).permutation(N - 1))]
        moved = [[(order.index(i), label) for i, label in some] for some in shots]
        np.testing.assert_allclose(relevance(q[order], moved), row, atol=1e-12)
        turned = [[(i, k - 1 - label) for i, label in some] for some in shots]
        np.testing.assert_allclose(relevance(q[:, ::-1].copy(), turned), row, atol=1e-12)
