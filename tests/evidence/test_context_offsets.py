"""Offsets of contexts: planted ones are found, and the signal that they stand beside is kept."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.evidence.context_offsets import (
    MANY,
    ContextNumbers,
    Contexts,
    Offsets,
    fit_offsets,
)
from consilience.prompts.query import Query


def centred(x: np.ndarray) -> np.ndarray:
    """Rows (…, K) that sum to 0."""
    return x - x.mean(axis=-1, keepdims=True)


def asked(target: np.ndarray, context: np.ndarray, group: np.ndarray) -> Contexts:
    """Which context and group each prediction is of; −1 is a prompt without shots."""
    del target
    return Contexts(context, group, tuple(f"group {g}" for g in range(int(group.max()) + 1)))


def rounds(n: int, times: int, block: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets and contexts: everybody so many times, each time in blocks drawn anew."""
    rng = np.random.default_rng(seed)
    target = np.concatenate([rng.permutation(n) for _ in range(times)])
    return target, np.arange(len(target)) // block


def planted(k: int = 2, n: int = 120, times: int = 4, block: int = 20, noise: float = 0.5):
    """Signal (N, K), offsets of contexts (C, K), answers (T, K), targets and contexts (T,)."""
    rng = np.random.default_rng(k)
    target, context = rounds(n, times, block)
    signal = centred(1.5 * rng.normal(size=(n, k)))
    signal -= signal.mean(axis=0)
    offset = centred(rng.normal(size=(context.max() + 1, k)) + np.eye(k)[0])
    z = signal[target] + offset[context] + centred(noise * rng.normal(size=(len(target), k)))
    return signal, offset, z, target, context


def every(z: np.ndarray) -> np.ndarray:
    return np.ones(len(z), dtype=bool)


def fitted(
    z: np.ndarray, target: np.ndarray, context: np.ndarray, group=None, used=None
) -> Offsets:
    group = np.zeros(len(z), np.int64) if group is None else group
    used = every(z) if used is None else used
    return fit_offsets(z, target, asked(target, context, group), used)


@pytest.mark.parametrize("k", [2, 3])
def test_planted_offsets_are_recovered(k):
    signal, offset, z, target, context = planted(k)
    found = fitted(z, target, context)
    assert found.taken.shape == z.shape
    np.testing.assert_allclose(found.taken.sum(axis=1), 0, atol=1e-9)
    # A mean of 20 noisy answers is off by some .1; the raw answers are off by what was planted.
    assert np.abs(found.taken - offset[context]).mean() < 0.15 < np.abs(offset[context]).mean()
    np.testing.assert_allclose(found.groups["group 0"], offset.mean(axis=0), atol=0.3)
    # All answers of a context are moved alike.
    for c in range(context.max() + 1):
        assert np.ptp(found.taken[context == c], axis=0).max() == 0
    assert np.corrcoef((z - found.taken)[:, 0], signal[target, 0])[0, 1] > 0.9


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_two_classes_fitted_by_the_first_alone_are_as_if_both_were(share):
    _, _, z, target, context = planted(2)
    used = np.random.default_rng(5).random(len(z)) < share
    # Twice the same two columns: four classes, of which each is fitted for itself.
    both = fitted(np.hstack([z, z]), target, context, used=used)
    found = fitted(z, target, context, used=used)
    np.testing.assert_allclose(found.taken, both.taken[:, :2], atol=1e-12)
    np.testing.assert_allclose(found.groups["group 0"], both.groups["group 0"][:2], atol=1e-12)


def test_each_framing_has_an_offset_of_its_own():
    rng = np.random.default_rng(0)
    n = 100
    target = np.tile(np.arange(n), 2)
    group = np.repeat([0, 1], n)
    signal = centred(rng.normal(size=(n, 2)))
    signal -= signal.mean(axis=0)
    likes = np.array([[2.0, -2.0], [-0.7, 0.7]])
    z = signal[target] + likes[group] + centred(0.3 * rng.normal(size=(2 * n, 2)))
    # Without shots there is no list, and the framing is all there is.
    found = fitted(z, target, np.full(2 * n, -1), group)
    for g, like in enumerate(likes):
        np.testing.assert_allclose(found.groups[f"group {g}"], like, atol=0.1)
        np.testing.assert_allclose(found.taken[group == g], np.tile(like, (n, 1)), atol=0.1)


def test_the_first_list_moves_nothing_that_was_asked_without_one():
    _, _, z, target, context = planted(n=60, times=4, block=20)
    z[context == 0] += [4.0, -4.0]
    alone = centred(np.random.default_rng(1).normal(size=(60, 2))) + np.array([0.5, -0.5])
    z, target = np.concatenate([z, alone]), np.concatenate([target, np.arange(60)])
    context = np.concatenate([context, np.full(60, -1)])
    found = fitted(z, target, context, (context < 0).astype(np.int64))
    np.testing.assert_allclose(found.groups["group 1"], found.taken[-1], atol=1e-9)
    np.testing.assert_allclose(found.groups["group 1"], [0.5, -0.5], atol=0.3)


def blocks_of_a_kind(times: int):
    """Each time two blocks of 30; the first time one class each, then mixed."""
    rng = np.random.default_rng(3)
    signal = np.repeat([[1.5, -1.5], [-1.5, 1.5]], 30, axis=0)
    orders = [np.arange(60), *(rng.permutation(60) for _ in range(times - 1))]
    target = np.concatenate(orders)
    context = np.arange(len(target)) // 30
    offset = centred(0.5 * rng.normal(size=(context.max() + 1, 2)))
    z = signal[target] + offset[context] + centred(0.3 * rng.normal(size=(len(target), 2)))
    return signal, offset, z, target, context


def test_a_block_of_one_class_does_not_lose_its_signal_to_its_offset():
    signal, _, z, target, context = blocks_of_a_kind(5)
    first = np.arange(60)
    # Less the mean of each block nothing would be left of the first two.
    blockwise = z[first] - np.repeat([z[:30].mean(axis=0), z[30:60].mean(axis=0)], 30, axis=0)
    assert abs(blockwise[:30, 0].mean() - blockwise[30:, 0].mean()) < 1e-9
    left = (z - fitted(z, target, context).taken)[first]
    assert left[:30, 0].mean() - left[30:, 0].mean() > 0.8 * 3.0
    assert ((left[:, 0] > 0) == (signal[target[first], 0] > 0)).mean() > 0.98


def test_examples_that_meet_several_contexts_tell_signal_and_offset_apart():
    """Where each meets one alone, what its block has in common passes for an offset."""
    gaps = []
    for times in (1, 2, 5):
        _, offset, z, target, context = blocks_of_a_kind(times)
        taken = fitted(z, target, context).taken[:60]
        gaps.append(np.abs(taken - offset[context[:60]]).mean())
    assert gaps[0] > 1.0 > 0.15 > max(gaps[1:])


def test_of_few_predictions_an_offset_is_shrunk():
    """A block of one moves hardly; one of twenty by almost all that its answers say."""
    rng = np.random.default_rng(1)
    target = np.concatenate([np.arange(80), np.arange(80), [0], np.arange(20)])
    context = np.concatenate([np.arange(160) // 20, [8], np.full(20, 9)])
    signal = centred(rng.normal(size=(80, 2)))
    z = signal[target] + centred(0.5 * rng.normal(size=(len(target), 2)))
    z[context >= 8] += np.array([0.8, -0.8])
    taken = fitted(z, target, context).taken[:, 0]
    base = taken[context < 8].mean()
    assert 0 < taken[context == 8][0] - base < 0.45
    assert 0.55 < taken[context == 9][0] - base < 1.05


def test_bounded_predictions_do_not_decide_and_are_moved_all_the_same():
    _, _, z, target, context = planted()
    used = np.random.default_rng(0).random(len(z)) < 0.7
    before = fitted(z, target, context, used=used).taken
    moved = z.copy()
    moved[~used] = [30.0, -30.0]
    after = fitted(moved, target, context, used=used).taken
    np.testing.assert_array_equal(before, after)
    assert (np.abs(after[~used]).max(axis=1) > 0).all()


def test_where_nothing_can_be_used_nothing_is_taken():
    _, _, z, target, context = planted()
    found = fitted(z, target, context, used=np.zeros(len(z), dtype=bool))
    np.testing.assert_array_equal(found.taken, np.zeros_like(z))


def test_a_context_of_which_nothing_is_known_is_moved_as_its_framing():
    _, _, z, target, context = planted()
    found = fitted(z, target, context, used=context != 3)
    np.testing.assert_allclose(
        found.taken[context == 3], np.tile(found.groups["group 0"], (20, 1)), atol=1e-12
    )


@pytest.mark.parametrize("k", [2, 3])
def test_neither_order_nor_numbers_nor_names_of_classes_matter(k):
    _, _, z, target, context = planted(k)
    taken = fitted(z, target, context).taken
    order = np.random.default_rng(5).permutation(len(z))
    again = fitted(z[order], target[order], context[order]).taken
    np.testing.assert_allclose(again, taken[order], atol=1e-6)
    renumbered = fitted(z, target.max() - target, context.max() - context).taken
    np.testing.assert_allclose(renumbered, taken, atol=1e-6)
    turned = fitted(z[:, ::-1].copy(), target, context).taken
    np.testing.assert_allclose(turned[:, ::-1], taken, atol=1e-6)


def test_what_an_answer_shifts_by_moves_the_offset_by_it():
    """One framing: a common constant is a leaning, never signal."""
    _, _, z, target, context = planted()
    lean = np.array([2.5, -2.5])
    taken, more = (fitted(x, target, context).taken for x in (z, z + lean))
    np.testing.assert_allclose((more - taken).mean(axis=0), lean, atol=0.15)


def test_contexts_are_lists_under_framings_and_groups_are_by_how_many_are_shown():
    few, many = (("a", 0), ("b", 1)), tuple((f"s{i}", i % 2) for i in range(MANY))
    queries = [
        Query("x", (), "one"),
        Query("y", few, "one"),
        Query("z", few, "one", repeat=1),
        Query("x", few[::-1], "one"),
        Query("x", few, "two"),
        Query("x", many, "one"),
        Query("y", (), "one"),
    ]
    numbers = ContextNumbers()
    numbers.add(queries[:3])
    numbers.add(queries[3:])
    found = numbers.all
    assert (found.context < 0).tolist() == [True, *[False] * 5, True]
    # The same list is the same context, and in another order or framing it is another.
    assert found.context[1] == found.context[2]
    assert len(set(found.context[[1, 3, 4, 5]].tolist())) == 4
    assert [found.names[g] for g in found.group] == [
        "one, zero-shot",
        *["one, with shots, few"] * 3,
        "two, with shots, few",
        "one, with shots",
        "one, zero-shot",
    ]
