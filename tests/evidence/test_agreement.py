"""What wordings are worth: agreement with the others, held out, and errors that are shared."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.evidence.agreement import (
    MOST,
    PRIOR,
    list_weights,
    prediction_weights,
    shared_error,
)
from consilience.evidence.context_offsets import Contexts


def answered(parts, n: int = 300, k: int = 2, times: int = 1, seed: int = 0):
    """Centred answers of wordings, each (loading on the signal, noise, error shared in a wording).

    Gives answers (T, K), targets and wordings (T,); every example is asked `times` in each.
    """
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, k))
    z, target, wording = [], [], []
    for w, (loading, noise, shared) in enumerate(parts):
        common = shared * rng.normal(size=(n, k))
        for _ in range(times):
            z.append(loading * signal + common + noise * rng.normal(size=(n, k)))
            target.append(np.arange(n))
            wording.append(np.full(n, w))
    said = np.concatenate(z)
    centred = said - said.mean(axis=1, keepdims=True)
    return centred, np.concatenate(target), np.concatenate(wording)


def zero_shot(group: np.ndarray) -> Contexts:
    """The contexts of predictions without shots, of these groups."""
    return Contexts(np.full(len(group), -1), group, ())


def weighed(z, target, group, wording=None) -> np.ndarray:
    """The weight of each prediction, by its group of contexts; a group is a wording if not told."""
    wording = group if wording is None else wording
    shared = shared_error(z, target, wording)
    return prediction_weights(z, target, zero_shot(group), wording, shared)


def worth(parts, **given) -> np.ndarray:
    """The mean weight of each wording."""
    z, target, wording = answered(parts, **given)
    weight = weighed(z, target, wording)
    assert weight.mean() == pytest.approx(1) and (weight >= 0).all()
    return np.array([weight[wording == w].mean() for w in range(len(parts))])


GOOD = (1.0, 0.6, 0.0)


@pytest.mark.parametrize("k", [2, 3])
def test_equal_wordings_have_equal_weights(k):
    np.testing.assert_allclose(worth([GOOD] * 3, k=k), 1, atol=0.15)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("bad", [(0.0, 1.0, 0.0), (-1.0, 0.6, 0.0)], ids=["noise", "opposite"])
def test_a_wording_of_noise_or_of_the_opposite_has_next_to_no_weight(bad, k):
    found = worth([GOOD, GOOD, GOOD, bad], k=k)
    assert found[3] < 0.2 * found[:3].min()
    np.testing.assert_allclose(found[:3], found[:3].mean(), rtol=0.15)


def test_a_wording_that_is_noisier_weighs_less_and_none_weighs_too_much():
    found = worth([GOOD, GOOD, (1.0, 1.5, 0.0)])
    assert found[2] < 0.6 * found[:2].min()
    sharp = worth([(1.0, 0.02, 0.0), *[(1.0, 2.0, 0.0)] * 5])
    assert sharp[0] > 2 * sharp[1:].max()
    # Bounded before the mean is made 1.
    assert sharp.max() / sharp.mean() <= MOST / np.mean([MOST, *[PRIOR / (300 + PRIOR)] * 5])


def test_of_few_examples_all_wordings_are_taken_to_be_alike():
    found = worth([GOOD, GOOD, (0.0, 1.0, 0.0)], n=6)
    many = worth([GOOD, GOOD, (0.0, 1.0, 0.0)], n=600)
    assert found[2] / found[:2].mean() > 0.5 > 0.1 > many[2] / many[:2].mean()


def test_one_wording_alone_has_weight_one():
    z, target, wording = answered([GOOD], times=3)
    np.testing.assert_array_equal(weighed(z, target, wording), 1)
    assert shared_error(z, target, wording) == 0
    none = np.zeros(0, dtype=np.int64)
    assert weighed(np.zeros((0, 2)), none, none).shape == (0,)


def test_wordings_that_no_example_has_both_of_cannot_be_compared():
    z, target, wording = answered([GOOD, (0.0, 1.0, 0.0)])
    kept = (target % 2) == wording
    found = weighed(z[kept], target[kept], wording[kept])
    np.testing.assert_array_equal(found, 1)


def test_shared_errors_are_told_from_noise():
    """ρ: the part of the error of an answer that its wording makes again."""
    for shared, wanted in ((0.0, 0.0), (0.5, 0.25 / 1.25), (1.0, 0.5), (2.0, 0.8)):
        found = shared_error(*answered([(1.0, 1.0, shared)] * 3, n=600, times=3))
        assert found == pytest.approx(wanted, abs=0.06)


def test_without_a_second_answer_nothing_is_known_of_what_is_shared():
    assert shared_error(*answered([(1.0, 1.0, 2.0)] * 3, times=1)) == 0


def test_answers_that_share_their_errors_count_as_fewer():
    """Seven answers in one wording beside one in another: how much the seven say together."""

    def lead(shared: float) -> float:
        z, target, wording = answered([(1.0, 0.5, shared)] * 2, times=7)
        kept = (wording == 0) | (np.arange(len(z)) < 8 * 300)
        z, target, wording = z[kept], target[kept], wording[kept]
        weight = weighed(z, target, wording)
        return float(weight[wording == 0].sum() / weight[wording == 1].sum())

    # With ρ = 0.8 seven are worth 1.2.
    assert lead(1.0) < 1.5 < 3.0 < lead(0.0)


def test_with_and_without_shots_a_wording_is_weighed_apart():
    """Zero-shot it says nothing, with shots it does."""
    z, target, part = answered([(0.0, 1.0, 0.0), GOOD, (0.0, 1.0, 0.0), GOOD])
    weight = weighed(z, target, part, part // 2)
    mean = [weight[part == p].mean() for p in range(4)]
    assert max(mean[0], mean[2]) < 0.3 * min(mean[1], mean[3])


def test_neither_order_nor_names_of_classes_matter():
    z, target, wording = answered([GOOD, (0.7, 1.0, 0.5), (1.0, 0.4, 0.3)], k=3, times=2)
    weight = weighed(z, target, wording)
    order = np.random.default_rng(2).permutation(len(z))
    again = weighed(z[order], target[order], wording[order])
    np.testing.assert_allclose(again, weight[order], atol=1e-9)
    turned = weighed(z[:, [2, 0, 1]], target, 2 - wording)
    np.testing.assert_allclose(turned, weight, atol=1e-9)


def test_a_list_of_shots_does_not_matter_to_the_weight_by_wording():
    z, target, wording = answered([GOOD, (0.0, 1.0, 0.0)], times=2)
    context = np.arange(len(z)) // 100
    shared = shared_error(z, target, wording)
    by_list = prediction_weights(z, target, Contexts(context, wording, ()), wording, shared)
    np.testing.assert_array_equal(by_list, weighed(z, target, wording))


# --- lists of shots


def lists(parts, weight=None, group=None, **given) -> np.ndarray:
    """The mean weight of each list of shots, that says what a wording of `answered` would."""
    z, target, part = answered(parts, **given)
    group = np.zeros(len(z), np.int64) if group is None else np.array(group)[part]
    each = np.ones(len(z)) if weight is None else np.array(weight, float)[part]
    found = list_weights(z, target, Contexts(part, group, ()), each)
    assert found.mean() == pytest.approx(1) and (found >= 0).all()
    return np.array([found[part == c].mean() for c in range(len(parts))])


@pytest.mark.parametrize("k", [2, 3])
def test_lists_of_shots_that_agree_have_equal_weights(k):
    np.testing.assert_allclose(lists([GOOD] * 4, k=k), 1, atol=0.15)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("bad", [(0.0, 1.0, 0.0), (-1.0, 0.6, 0.0)], ids=["noise", "opposite"])
def test_a_list_that_says_something_else_has_next_to_no_weight(bad, k):
    found = lists([GOOD, GOOD, GOOD, bad], k=k)
    assert found[3] < 0.2 * found[:3].min()
    np.testing.assert_allclose(found[:3], found[:3].mean(), rtol=0.15)


def test_it_has_under_one_wording_or_several_and_of_few_answers_more():
    """Each list has a wording of its own, or all share one."""
    bad = (0.0, 1.0, 0.0)
    one, own = lists([GOOD, GOOD, GOOD, bad]), lists([GOOD, GOOD, GOOD, bad], group=range(4))
    np.testing.assert_allclose(one, own)
    few = lists([GOOD, GOOD, GOOD, bad], n=8)
    assert few[3] / few[:3].mean() > 0.5 > one[3] / one[:3].mean()


def test_a_single_list_or_none_has_the_weight_by_wording():
    z, target, _ = answered([GOOD], times=2)
    none = np.zeros(len(z), np.int64)
    weight = np.where(np.arange(len(z)) % 2, 0.5, 1.5)
    for contexts in (Contexts(none, none, ()), zero_shot(none)):
        np.testing.assert_allclose(list_weights(z, target, contexts, weight), weight)
    empty = none[:0]
    assert list_weights(z[:0], empty, zero_shot(empty), weight[:0]).shape == (0,)


def test_a_list_has_its_weight_beside_that_by_wording():
    found = lists([GOOD] * 4, weight=[1.5, 1.5, 0.5, 0.5])
    np.testing.assert_allclose(found / [1.5, 1.5, 0.5, 0.5], 1, atol=0.15)


def test_answers_without_shots_are_one_list_for_each_wording():
    z, target, part = answered([GOOD, GOOD, (0.0, 1.0, 0.0), GOOD])
    # Without shots in two wordings, of which the second says nothing, and two lists.
    context = np.array([0, -1, -1, 1])[part]
    found = list_weights(
        z, target, Contexts(context, np.array([0, 1, 2, 0])[part], ()), np.ones(len(z))
    )
    mean = np.array([found[part == p].mean() for p in range(4)])
    assert mean[2] < 0.2 * mean[[0, 1, 3]].min()
    np.testing.assert_allclose(mean[[0, 1, 3]], mean[[0, 1, 3]].mean(), rtol=0.15)


def test_what_only_one_list_was_asked_about_says_nothing_of_how_far_it_agrees():
    """The last list has many examples to itself."""
    z, target, part = answered([GOOD] * 3, n=600)
    kept = (part == 2) | (target < 300)
    found = list_weights(z[kept], target[kept], zero_shot(part[kept]), np.ones(int(kept.sum())))
    mean = np.array([found[part[kept] == p].mean() for p in range(3)])
    np.testing.assert_allclose(mean / mean.mean(), 1, atol=0.15)


def test_of_several_models_a_nat_is_a_nat():
    z, target, wording = answered([GOOD, GOOD, GOOD, (3.0, 1.8, 0.0)])
    lists, one = Contexts(wording, wording, ()), np.ones(len(z))
    alike = list_weights(z, target, lists, one)
    apart = list_weights(z, target, lists, one, models=True)
    louder = [weight[wording == 3].mean() / weight[wording < 3].mean() for weight in (alike, apart)]
    # Of one model what spreads three times as far is as much noisier; of several it is surer.
    assert louder[0] < 0.75 and louder[1] == pytest.approx(1, abs=0.1)
    assert alike.mean() == pytest.approx(1) and apart.mean() == pytest.approx(1)


def test_a_model_that_is_noisier_counts_for_less_by_how_far_it_agrees():
    z, target, wording = answered([GOOD, GOOD, GOOD, (1.0, 1.8, 0.0)], n=1000)
    lists, one = Contexts(wording, wording, ()), np.ones(len(z))
    weight = list_weights(z, target, lists, one, models=True)
    each = [weight[wording == w].mean() for w in range(4)]
    # The correlation of each with the sum of the others, weighed as they are; worth ρ / (1 − ρ²).
    rho = []
    for w in range(4):
        mine, rest = z[wording == w], np.zeros((1000, 2))
        for other in set(range(4)) - {w}:
            rest += each[other] * z[wording == other]
        rho.append((mine * rest).sum() / np.sqrt((mine**2).sum() * (rest**2).sum()))
    against = np.array([r / (1 - r**2) for r in rho])
    against /= against.mean()
    usual = (1000 * against[3] + PRIOR) / (1000 + PRIOR)
    # None of them counts for more than the usual one.
    assert each[0] == each[1] == each[2]
    assert each[3] / each[0] == pytest.approx(usual, rel=0.05)


def test_models_that_repeat_each_other_are_worth_no_more_than_others():
    z, target, wording = answered([GOOD, (1.0, 0.8, 0.0), GOOD, GOOD, GOOD, GOOD])
    z[wording == 5] = z[wording == 4]
    weight = list_weights(z, target, Contexts(wording, wording, ()), np.ones(len(z)), models=True)
    each = np.array([weight[wording == w].mean() for w in range(6)])
    assert each[4] == each[5] and each[4] < 1.5 * each[0]


def test_a_model_of_another_labelling_counts_for_next_to_nothing():
    z, target, wording = answered([GOOD, GOOD, GOOD, (-1.0, 0.6, 0.0)])
    weight = list_weights(z, target, Contexts(wording, wording, ()), np.ones(len(z)), models=True)
    assert weight[wording == 3].mean() < 0.2 * weight[wording < 3].mean()


@pytest.mark.parametrize("missing", [0.0, 0.002, 0.5])
def test_an_error_that_a_wording_shares_is_seen_where_answers_are_missing(missing):
    z, target, wording = answered([(1.0, 0.5, 1.0)] * 4, n=400, times=2)
    kept = np.random.default_rng(1).random(len(z)) >= missing
    # Half of the variance of one answer's error is that of the wording: 1 / (1 + 0.5²).
    assert shared_error(z[kept], target[kept], wording[kept]) == pytest.approx(0.8, abs=0.03)
