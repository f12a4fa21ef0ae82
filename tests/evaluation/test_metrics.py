"""Metrics agree with scikit-learn, their intervals cover, and the undefined is said to be so."""

import inspect
import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from consilience.errors import InputError
from consilience.evaluation.metrics import (
    STATISTICS,
    Interval,
    aurc,
    covered_accuracy,
    departure,
    ece,
    pgr,
    score,
)


def made(k=2, n=300, per_group=5, seed=0, ties=False):
    """Probabilities that know something of gold, and groups."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 1.2 * np.eye(k)[gold]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if ties:
        p = np.round(p, 1)
        p[:, -1] = 1 - p[:, :-1].sum(axis=1)
        p = np.clip(p, 0, 1)
    return p, gold, [f"g{i // per_group}" for i in range(n)]


def reference(name, p, gold, w):
    k = p.shape[1]
    if name == "accuracy":
        return sk.accuracy_score(gold, p.argmax(axis=1), sample_weight=w)
    if name == "auroc" and k == 2:
        return sk.roc_auc_score(gold, p[:, 1], sample_weight=w)
    if name == "auroc":
        return sk.roc_auc_score(gold, p, sample_weight=w, multi_class="ovr", average="macro")
    if name == "brier":
        labels = list(range(k))
        return sk.brier_score_loss(gold, p, sample_weight=w, labels=labels, scale_by_half=True)
    return sk.log_loss(gold, p, sample_weight=w, labels=list(range(k)))


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("name", ["accuracy", "auroc", "brier", "log_loss"])
def test_statistics_agree_with_scikit_learn(name, k):
    p, gold, groups = made(k)
    weights = np.random.default_rng(1).multinomial(300, np.full(300, 1 / 300), size=4).astype(float)
    for w, got in zip(weights, STATISTICS[name](p, gold, weights), strict=True):
        assert got == pytest.approx(reference(name, p, gold, w), abs=1e-12)
    plain = score(p, gold, groups, resamples=10)[name].estimate
    assert plain == pytest.approx(reference(name, p, gold, None), abs=1e-12)


def test_ties_count_half_in_the_area():
    p, gold, groups = made(ties=True)
    got = score(p, gold, groups, resamples=10)["auroc"].estimate
    assert got == pytest.approx(sk.roc_auc_score(gold, p[:, 1]), abs=1e-12)
    same = score(np.full((300, 2), 0.5), gold, groups, resamples=10)
    assert same["auroc"].estimate == same["accuracy"].estimate == 0.5


def test_a_tie_between_classes_earns_the_same_in_every_order():
    p = np.array([[0.4, 0.4, 0.2]] * 3)
    for shift in range(3):
        got = score(np.roll(p, shift, axis=1), np.arange(3), list("abc"), resamples=10)
        assert got["accuracy"].estimate == pytest.approx(1 / 3)


def test_calibration_error_by_hand():
    # Confidence 0.8 and right 3 times of 4 in one half; 0.6 and always right in the other.
    p = np.array([[0.2, 0.8]] * 4 + [[0.4, 0.6]] * 4)
    gold = np.array([1, 1, 1, 0, 1, 1, 1, 1])
    assert ece(p, gold, np.ones((1, 8)))[0] == pytest.approx(0.5 * 0.05 + 0.5 * 0.4)
    # Leaving the second half out by weight leaves the error of the first.
    assert ece(p, gold, np.array([[1.0] * 4 + [0.0] * 4]))[0] == pytest.approx(0.05)


def test_calibration_error_uses_bins_of_equal_mass():
    p, gold, _ = made(n=1000)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == gold
    order = np.argsort(confidence)
    bins = np.array_split(order, 10)
    by_hand = sum(len(b) / 1000 * abs(confidence[b].mean() - right[b].mean()) for b in bins)
    assert ece(p, gold, np.ones((1, 1000)))[0] == pytest.approx(by_hand, abs=1e-12)


def sure(*confidences):
    return np.array([[1 - c, c] for c in confidences])


def test_the_risk_coverage_curve_by_hand():
    # Ranked by confidence the errors are 0, 1, 0, 0: risks 0, 1/2, 1/3, 1/4.
    p, gold = sure(0.6, 0.9, 0.7, 0.8), np.array([1, 1, 1, 0])
    area = (0 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    assert aurc(p, gold, np.ones((1, 4)))[0] == pytest.approx(area, abs=1e-12)
    # The least confident left out, the most confident twice: errors 0, 0, 1, 0.
    got = aurc(p, gold, np.array([[0.0, 2.0, 1.0, 1.0]]))[0]
    assert got == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4, abs=1e-12)


def test_equal_confidences_have_no_order_in_the_risk_coverage_curve():
    # The error is first or second: risks 1, 1/2 or 0, 1/2, and then 1/3 in both cases.
    for gold in ([0, 1, 1], [1, 0, 1]):
        got = aurc(sure(0.9, 0.9, 0.8), np.array(gold), np.ones((1, 3)))[0]
        assert got == pytest.approx(((1 + 0) / 2 + 1 / 2 + 1 / 3) / 3, abs=1e-12)
    # Where nothing is told apart the risk is the error at any coverage.
    even = np.full((5, 2), 0.5)
    assert aurc(even, np.ones(5, int), np.ones((1, 5)))[0] == pytest.approx(0.5)


def test_accuracy_at_coverage_by_hand():
    p, gold = sure(0.6, 0.7, 0.8, 0.9, 0.95), np.array([0, 1, 0, 1, 1])
    # The least confident of five, an error, is left out; one error in four remains.
    assert covered_accuracy(p, gold, np.ones((1, 5)))[0] == pytest.approx(3 / 4)
    # Of the two that tie where the 80 % end, one of which is wrong, one counts: half an error.
    tied, gold = sure(0.6, 0.6, 0.8, 0.9, 0.95), np.array([0, 1, 0, 1, 1])
    assert covered_accuracy(tied, gold, np.ones((1, 5)))[0] == pytest.approx(1 - 1.5 / 4)
    # Weights are numbers of examples: of six, 4.8 count, 0.8 of them of the least confident, wrong.
    twice = np.array([[2.0, 1.0, 1.0, 1.0, 1.0]])
    assert covered_accuracy(p, np.array([0, 1, 1, 1, 1]), twice)[0] == pytest.approx(1 - 0.8 / 4.8)


def test_departure_by_hand():
    gold = np.array([0, 1])
    assert departure(sure(0.5, 0.9), gold, np.ones((1, 2)))[0] == pytest.approx(0.2)
    one = np.array([[1.0, 0.0, 0.0, 0.0]])
    assert departure(one, np.array([0]), np.ones((1, 1)))[0] == pytest.approx((0.75 + 3 * 0.25) / 4)


def test_examples_without_gold_are_not_scored():
    p, gold, groups = made()
    hidden = gold.copy()
    hidden[::3] = -1
    kept = hidden >= 0
    names = [g for g, k in zip(groups, kept, strict=True) if k]
    p[0] = math.nan  # has no gold, so it needs no probabilities either
    assert score(p, hidden, groups, resamples=50) == score(p[kept], gold[kept], names, resamples=50)


def test_nothing_is_flipped_silently():
    p, gold, groups = made()
    plain = score(p, gold, groups, resamples=50)
    swapped = score(p[:, ::-1], gold, groups, resamples=50)
    assert plain["accuracy"].estimate > 0.7
    for name in ("accuracy", "auroc"):
        assert swapped[name].estimate == pytest.approx(1 - plain[name].estimate)


def test_the_undefined_is_nan_with_a_reason():
    p, gold, groups = made()
    one = score(p, np.ones_like(gold), groups, resamples=50)["auroc"]
    assert math.isnan(one.estimate) and math.isnan(one.lower)
    assert str(one) == "undefined (a class is not in gold)"
    three = score(made(3)[0], gold, groups, resamples=50)
    assert math.isnan(three["auroc"].estimate) and not math.isnan(three["accuracy"].estimate)
    for interval in score(p, np.full_like(gold, -1), groups).values():
        assert math.isnan(interval.estimate) and interval.reason == "no example has gold"
    single = score(p, gold, ["g"] * 300)["accuracy"]
    assert single.estimate > 0.7 and math.isnan(single.lower)
    assert str(single).endswith("(no interval from a single group)")


def test_a_rare_class_has_no_interval():
    p, gold, groups = made()
    gold = (np.arange(300) == 7).astype(int)
    got = score(p, gold, groups)["auroc"]
    assert not math.isnan(got.estimate) and math.isnan(got.lower)
    assert "undefined in 3" in got.reason  # (1 − 1/60)^60 = 36 % of the resamples lack the group


def test_an_impossible_gold_class_is_an_infinite_loss():
    p, gold, groups = made()
    p[0] = np.eye(2)[1 - gold[0]]
    got = score(p, gold, groups, resamples=50)["log_loss"]
    assert got.estimate == math.inf and "probability 0" in str(got)
    gold[0] = -1
    assert math.isfinite(score(p, gold, groups, resamples=50)["log_loss"].estimate)


def test_intervals_are_seeded_and_every_knob_counts():
    p, gold, groups = made()
    first = score(p, gold, groups)
    assert first == score(p, gold, groups) and list(first) == list(STATISTICS)
    for changed in ({"seed": 1}, {"resamples": 500}):
        other = score(p, gold, groups, **changed)
        assert other["auroc"] != first["auroc"] and other["auroc"][0] == first["auroc"][0]
        assert other["accuracy"] == first["accuracy"]  # needs no resamples
    for name, interval in first.items():
        assert name == "ece" or interval.lower <= interval.estimate <= interval.upper
    assert np.isnan(first["ece"].lower) and str(first["ece"]) == f"{first['ece'].estimate:.3f}"
    order = np.random.default_rng(0).permutation(300)
    shuffled = score(p[order], gold[order], [groups[i] for i in order])
    for name, interval in first.items():
        assert shuffled[name][:3] == pytest.approx(interval[:3], abs=1e-12, nan_ok=True)


def clustered(rng, groups=60, size=4):
    """Right or wrong mostly by group; the expected accuracy is 0.7."""
    skill = rng.beta(0.7, 0.3, groups)
    right = (rng.random((groups, size)) < skill[:, None]).ravel()
    return np.where(right[:, None], [0.2, 0.8], [0.8, 0.2]), np.ones(len(right), dtype=np.int64)


def covers(truth, groups, size, alike, runs=200):
    """How often the interval of the accuracy holds the truth.

    Of the rows of a group, the share `alike` is right or wrong together.
    """
    rng, held = np.random.default_rng(0), 0
    names = np.repeat(np.arange(groups), size)
    for _ in range(runs):
        own, whole = rng.random(len(names)) < truth, rng.random(groups) < truth
        right = np.where(rng.random(len(names)) < alike, whole[names], own)
        p = np.where(right[:, None], [0.2, 0.8], [0.8, 0.2])
        gold = np.ones(len(names), dtype=np.int64)
        got = score(p, gold, names, only=["accuracy"], resamples=1)["accuracy"]
        held += got.lower <= truth <= got.upper
    return held / runs


@pytest.mark.parametrize(
    ("truth", "groups", "size", "alike"),
    [
        *((0.9, 12, 1, 0.0), (0.97, 20, 1, 0.0), (0.98, 40, 1, 0.0), (0.9, 100, 1, 0.0)),
        *((0.8, 3, 10, 0.5), (0.8, 5, 10, 0.5), (0.8, 10, 6, 0.0), (0.8, 10, 6, 0.5)),
        *((0.8, 10, 6, 1.0), (0.7, 60, 4, 0.7)),
    ],
)
def test_the_interval_of_an_accuracy_covers(truth, groups, size, alike):
    assert covers(truth, groups, size, alike) >= 0.92


def test_groups_widen_the_interval_of_an_accuracy():
    p, gold = clustered(np.random.default_rng(0))
    by_group = score(p, gold, np.arange(240) // 4, only=["accuracy"])["accuracy"]
    alone = score(p, gold, np.arange(240), only=["accuracy"])["accuracy"]
    assert by_group.upper - by_group.lower > 1.3 * (alone.upper - alone.lower)
    # Where rows of a group have nothing in common grouping makes no difference worth the name.
    mixed = np.random.default_rng(0).permutation(240)
    by_chance = score(p[mixed], gold, np.arange(240) // 4, only=["accuracy"])["accuracy"]
    assert by_chance.upper - by_chance.lower < 1.15 * (alone.upper - alone.lower)


def test_nothing_wrong_among_few_is_not_certainty():
    p, gold = np.full((20, 2), [0.1, 0.9]), np.ones(20, dtype=np.int64)
    p[:, 1] += np.linspace(0, 0.05, 20)
    p[:, 0] = 1 - p[:, 1]
    found = score(p, gold, np.arange(20))
    for name in ("accuracy", "covered_accuracy"):
        assert found[name].estimate == found[name].upper == 1
    # Clopper and Pearson: 0.025 ** (1 / 20), and of the 16 most confident.
    assert 0.75 < found["accuracy"].lower <= 0.832
    assert 0.7 < found["covered_accuracy"].lower <= 0.794
    # Two groups of ten that are right throughout say less than twenty rows.
    assert score(p, gold, np.arange(20) // 10)["accuracy"].lower < 0.5
    assert found["aurc"].estimate == 0
    assert str(found["aurc"]) == "0.000 (no interval: no resample differs)"


def test_few_groups_have_an_interval_of_shares_alone():
    p, gold, groups = made(n=60, per_group=6)
    for name, interval in score(p, gold, groups, resamples=50).items():
        if name in ("accuracy", "covered_accuracy"):
            assert interval.lower < interval.estimate < interval.upper
        elif name != "ece":
            assert interval.reason == "no interval from 10 groups"


def test_labels_that_say_nothing_are_exactly_as_good_as_chance():
    _, gold, groups = made()
    found = score(np.full((300, 2), 0.5), gold, groups, resamples=50)
    for name in ("accuracy", "auroc", "brier"):
        assert found[name].lower == found[name].estimate == found[name].upper


def test_resampled_intervals_are_expanded_for_few_groups():
    p, gold, groups = made(n=100, per_group=5)
    got = score(p, gold, groups, only=["brier"], resamples=4000)["brier"]
    squares = ((p[:, 1] - gold) ** 2).reshape(20, 5).mean(axis=1)
    half = stats.t.ppf(0.975, 19) * squares.std(ddof=1) / math.sqrt(20)
    assert (got.upper - got.lower) / 2 == pytest.approx(half, rel=0.05)


def with_accuracy(share, n=1000):
    """Probabilities for gold 1 of which that share is right."""
    return np.where((np.arange(n) % 100 < 100 * share)[:, None], [0.1, 0.9], [0.9, 0.1])


def test_the_gap_recovered():
    gold, groups = np.ones(1000, dtype=int), np.arange(1000) // 2
    zero, half, full = (with_accuracy(x) for x in (0.6, 0.75, 0.9))
    got = pgr(half, zero, full, gold, groups)
    assert got.estimate == pytest.approx(0.5) and 0.4 < got.lower < 0.5 < got.upper < 0.6
    assert pgr(full, zero, full, gold, groups)[:3] == pytest.approx((1, 1, 1))
    assert pgr(zero, half, full, gold, groups).estimate == pytest.approx(-1)
    for golden in (zero, with_accuracy(0.5)):
        none = pgr(half, zero, golden, gold, groups)
        assert str(none) == "undefined (golden shots are no better than zero-shot)"
    # A gap of one percent among 1,000 is in doubt, and an interval would be an invention.
    rng = np.random.default_rng(0)
    doubtful = pgr(half, zero, rng.permutation(with_accuracy(0.61)), gold, groups)
    assert doubtful.estimate == pytest.approx(15) and math.isnan(doubtful.lower)
    assert "no interval: undefined in" in str(doubtful)


def test_how_an_interval_prints():
    assert str(Interval(0.8431, 0.8009, 0.88)) == "0.843 [0.801, 0.880]"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probabilities": np.ones((300, 3)) / 3, "gold": np.full(300, 3)}, "0 to 2"),
        ({"gold": np.full(300, -2)}, "-1 or a class"),
        ({"gold": np.zeros(299, dtype=int)}, "do not fit"),
        ({"groups": ["g"]}, "do not fit"),
        ({"probabilities": np.full((300, 2), np.nan)}, "between 0 and 1"),
        ({"probabilities": np.full((300, 2), 1.5)}, "between 0 and 1"),
        ({"probabilities": np.full((300, 1), 1.0)}, "do not fit"),
        ({"resamples": 0}, "one resample or more"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    p, gold, groups = made()
    with pytest.raises(InputError, match=words):
        score(**({"probabilities": p, "gold": gold, "groups": groups} | change))


def test_every_statistic_says_what_it_is():
    assert all(inspect.getdoc(statistic) for statistic in STATISTICS.values())


def test_one_statistic_alone_is_that_of_all() -> None:
    rng = np.random.default_rng(4)
    labels = rng.dirichlet([1, 1], size=60)
    gold, groups = rng.integers(2, size=60), rng.integers(20, size=60)
    everything = score(labels, gold, groups.tolist(), resamples=50)
    alone = score(labels, gold, groups.tolist(), only=["accuracy"], resamples=50)
    assert alone == {"accuracy": everything["accuracy"]}
