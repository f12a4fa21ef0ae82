"""Intervals hold the truth as often as they say, and are never wider than without the labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from consilience.data.dataset import Dataset
from consilience.elicitation.session import elicit
from consilience.errors import InputError
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.results.estimation import estimates, prediction_powered, share_interval
from consilience.solvers.lbfgs import LBFGS

DRAWS = 400
"""At a coverage of .95 six standard errors below it are .885."""


@pytest.mark.parametrize("right", [1.0, 0.97, 0.9, 0.6, 0.1])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.03])
@pytest.mark.parametrize("landmarks", [10, 40])
def test_they_hold_the_truth_and_are_never_wider(
    landmarks: int, share: float, right: float
) -> None:
    rng = np.random.default_rng(1)
    held, width, alone = 0, 0.0, 0.0
    for _ in range(DRAWS):
        truth = (rng.random(400) < share).astype(float)
        foretold = np.where(rng.random(400) < right, truth, 1 - truth).clip(0.02, 0.98)
        drawn = rng.choice(400, landmarks, replace=False)
        made = prediction_powered(truth[drawn], foretold[drawn], foretold)
        assert made.high - made.low <= made.alone_high - made.alone_low + 1e-12
        assert made.low <= made.value <= made.high
        held += made.low <= truth.mean() <= made.high
        width += made.high - made.low
        alone += made.alone_high - made.alone_low
    assert held / DRAWS >= 0.9
    # Labels that are good are worth many landmarks, and bad ones cost nothing.
    if right >= 0.97:
        assert width < 0.85 * alone


def test_half_the_level_holds_half_as_often() -> None:
    # A test that every interval passes would say nothing.
    rng = np.random.default_rng(2)
    held = []
    for _ in range(1000):
        truth = (rng.random(400) < 0.5).astype(float)
        foretold = np.where(rng.random(400) < 0.7, truth, 1 - truth)
        drawn = rng.choice(400, 60, replace=False)
        made = prediction_powered(truth[drawn], foretold[drawn], foretold, level=0.5)
        held.append(made.low <= truth.mean() <= made.high)
    assert np.mean(held) == pytest.approx(0.5, abs=0.08)


def test_labels_that_say_nothing_are_not_trusted() -> None:
    seen = np.array([0.0, 1, 1, 0, 1])
    made = prediction_powered(seen, np.full(5, 0.3), np.full(50, 0.3))
    assert made.weight == 0 and (made.low, made.high) == (made.alone_low, made.alone_high)
    # When all rows are landmarks, nothing is left to be unsure of.
    assert prediction_powered(seen, seen, seen).low == prediction_powered(seen, seen, seen).high


def test_accuracy_and_shares_of_a_run() -> None:
    data, gold = world_dataset("pretrained", 200, 3)
    found = elicit(data, SimulatedModel("pretrained"), calls_per_example=3, solver=LBFGS(starts=2))
    names = data.task.classes
    truth = np.array([gold.labels[id] for id in data.ids])
    accuracy = (found.soft_labels.argmax(axis=1) == truth).mean()
    inside = 0
    for seed in range(40):
        drawn = np.random.default_rng(seed).choice(200, 30, replace=False)
        marks = {data.ids[i]: names[truth[i]] for i in drawn}
        made = estimates(found, marks)
        assert list(made) == ["accuracy", "share of False", "share of True"]
        inside += made["accuracy"].low <= accuracy <= made["accuracy"].high
        assert made["share of True"].value + made["share of False"].value == pytest.approx(1)
    assert inside >= 34
    # What was corrected is known, and no landmark.
    told = {data.ids[i]: names[truth[i]] for i in range(100)}
    known = found.corrected(told)
    marks = {data.ids[i]: names[truth[i]] for i in range(90, 140)}
    made = estimates(known, marks)["share of True"]
    assert made.landmarks == 40
    assert made.low <= truth.mean() <= made.high
    before = estimates(found, marks)["share of True"]
    assert made.high - made.low < before.high - before.low
    with pytest.raises(InputError, match="estimate from the labels as solved"):
        estimates(found.calibrated(marks), marks)
    with pytest.raises(InputError, match="two landmarks or more, got 1"):
        estimates(found, {data.ids[0]: names[truth[0]]})


@pytest.mark.parametrize(("count", "drawn"), [(40, 30), (40, 20), (100, 50), (30, 30)])
@pytest.mark.parametrize("heavy", [False, True], ids=["one row each", "some of many rows"])
def test_they_hold_it_where_much_of_the_table_is_labelled(
    count: int, drawn: int, heavy: bool
) -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(DRAWS):
        truth = (rng.random(count) < 0.9).astype(float)
        foretold = np.where(truth == 1, 0.85, 0.65) + 0.1 * rng.normal(size=count)
        rows = 1.0 + heavy * (rng.poisson(2, count) + 8 * (rng.random(count) < 0.1))
        at = rng.choice(count, drawn, replace=False)
        made = prediction_powered(
            truth[at], foretold[at].clip(0, 1), foretold.clip(0, 1), rows=(rows[at], rows)
        )
        held += made.low - 1e-9 <= np.average(truth, weights=rows) <= made.high + 1e-9
    assert held / DRAWS >= 0.9
    if drawn == count:
        assert held == DRAWS and made.high - made.low < 1e-9


def test_shares_are_of_rows_where_a_text_has_many() -> None:
    data, gold = world_dataset("easy", 60)
    most = [id for id in data.ids if gold.labels[id] == 1][:1]
    rows = [{"text": text} for text in data.texts]
    rows += [{"text": data.texts[data.index[most[0]]]}] * 140
    table = Dataset.from_records(rows, text="text", task=data.task)
    found = elicit(table, SimulatedModel("easy"), calls_per_example=6, solver=LBFGS(starts=1))
    truth = np.mean([gold.labels[example] for example in table.origin.examples])
    every = dict(gold.labels)
    exact = estimates(found, every)
    assert exact["share of True"].value == pytest.approx(truth)
    assert exact["share of True"].high - exact["share of True"].low < 1e-9
    some = estimates(found, {id: every[id] for id in [*most, *data.ids[:20]]})
    assert some["share of True"].low <= truth <= some["share of True"].high
    corrected = found.corrected({most[0]: 1})
    rest = estimates(corrected, {id: every[id] for id in data.ids if id != most[0]})
    assert rest["share of True"].value == pytest.approx(truth)
    said = float(found.shares.split("True ")[1].split("%")[0]) / 100
    assert said == pytest.approx((found.table()["label"] == "True").mean(), abs=0.1)


def test_the_interval_of_a_share_by_hand() -> None:
    """15 of 20 and z² imagined rows, half of them right: Student's t about a share of these."""
    right, z = np.repeat([1.0, 0.0], [15, 5]), 1.959964
    groups = 20 + z * z
    share = (15 + z * z / 2) / groups
    half = t.ppf(0.975, groups - 1) * math.sqrt(share * (1 - share) / (groups - 1))
    found = share_interval(right, np.ones(20), np.arange(20), 0.95)
    assert found == pytest.approx((share - half, share + half), abs=1e-6)
    # Rows of a group that are all alike are as many as there are groups.
    thrice = np.repeat(right, 3), np.ones(60), np.repeat(np.arange(20), 3)
    assert share_interval(*thrice, 0.95) == pytest.approx(found)
