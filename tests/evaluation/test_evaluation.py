"""Scores: the right rows, nothing flipped, nothing scored that has no gold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Gold
from consilience.data.relations import AtMostOne, Equal
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.evaluation.baselines import (
    Baseline,
    BaselineContext,
    bootstrap,
    golden_shots,
    random_shots,
    zero_shot,
)
from consilience.evaluation.evaluation import GOLDEN, ZERO_SHOT, Evaluation, evaluate, zero_shot_of
from consilience.evaluation.metrics import Interval, score
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store

SETTINGS = Settings(calls_per_example=8.0, settled=0.0)


@pytest.fixture(scope="module")
def scored() -> tuple[Found, Gold, list[Baseline]]:
    data, gold = world_dataset("noisy", 40, seed=1)
    model = SimulatedModel("noisy")
    with Store() as store:
        found = elicit(data, model, settings=SETTINGS, store=store, solver=LBFGS(starts=1))
        bench = BaselineContext(data, model, store=store, settings=SETTINGS)
        rows = [
            zero_shot(bench),
            zero_shot(bench, every=True),
            random_shots(bench),
            bootstrap(bench),
            golden_shots(bench, gold),
        ]
    return found, gold, rows


@pytest.fixture(scope="module")
def neutral() -> tuple[Found, Gold]:
    data, gold = world_dataset("easy", 24)
    settings = replace(SETTINGS, framings=("sets",), calls_per_example=2.0)
    return elicit(data, SimulatedModel("easy"), settings=settings, solver=LBFGS(starts=1)), gold


def estimate(scored: Evaluation, method: str, metric: str) -> float:
    return scored.scores[method][metric].estimate


def test_the_rows_stand_in_order_each_with_its_calls(scored: Any) -> None:
    found, gold, rows = scored
    made = evaluate(found, gold, rows)
    order = [
        *("majority", "structure only", ZERO_SHOT, "zero-shot", "random-label shots"),
        *("bootstrap", GOLDEN, "consilience"),
    ]
    assert list(made.scores) == list(made.calls) == order
    assert list(made.calls.values()) == [0.0, 0.0, 2.0, 1.0, 8.0, 8.0, 8.0, 8.0]
    assert made.scored == 40
    assert list(made.table["method"]) == order
    assert list(evaluate(found, gold).scores) == [*order[:3], "consilience"]


def test_the_gap_begins_at_zero_shot_and_ends_at_golden_shots(scored: Any) -> None:
    found, gold, rows = scored
    made = evaluate(found, gold, rows)
    assert made.scores[ZERO_SHOT]["pgr"][:2] == (0.0, 0.0)
    assert made.scores[GOLDEN]["pgr"][:2] == (1.0, 1.0)
    own, start, end = (estimate(made, m, "accuracy") for m in ("consilience", ZERO_SHOT, GOLDEN))
    assert end > start
    assert estimate(made, "consilience", "pgr") == pytest.approx((own - start) / (end - start))
    assert "pgr" not in evaluate(found, gold).scores["consilience"]
    assert "pgr" not in evaluate(found, gold, rows[:-1]).table.columns


def test_zero_shot_is_what_the_run_asked_itself(scored: Any) -> None:
    found, _, rows = scored
    own = zero_shot_of(found)
    assert own is not None
    asked = next(row for row in rows if row.name == ZERO_SHOT)
    assert own.calls_per_example == asked.calls_per_example == 2
    # The offsets of the run's prompts are known better than those of its zero-shot answers alone.
    np.testing.assert_allclose(own.labels, asked.labels, atol=0.15)
    assert np.abs(own.labels - asked.labels).mean() < 0.05


def test_nothing_is_flipped(scored: Any) -> None:
    found, gold, _ = scored
    turned = Gold({id: 1 - label for id, label in gold.labels.items()})
    right, wrong = evaluate(found, gold), evaluate(found, turned)
    for metric in ("accuracy", "auroc"):
        assert estimate(right, "consilience", metric) > 0.5
        assert estimate(wrong, "consilience", metric) == pytest.approx(
            1 - estimate(right, "consilience", metric)
        )
    assert "mirrored" not in str(wrong)
    assert "Orientation: by the meaning of the label names." in wrong.note


def test_where_the_orientation_is_undetermined_both_are_shown(neutral: Any) -> None:
    found, gold = neutral
    # Labels of neutral sets alone are even but for rounding, which a mirror does not keep.
    labels = np.random.default_rng(0).dirichlet([1.0, 1.0], size=len(found.dataset))
    found = replace(found, solution=replace(found.solution, labels=labels))
    made = evaluate(found, gold)
    assert list(made.scores) == [
        *("majority", "structure only", "consilience", "consilience, mirrored"),
    ]
    turned = evaluate(found, Gold({id: 1 - label for id, label in gold.labels.items()}))
    for metric in ("accuracy", "auroc", "brier"):
        mirrored = estimate(made, "consilience, mirrored", metric)
        assert mirrored == pytest.approx(estimate(turned, "consilience", metric))
    one, other = (estimate(made, m, "auroc") for m in ("consilience", "consilience, mirrored"))
    assert one + other == pytest.approx(1)
    assert one != other
    assert "Orientation: undetermined" in made.note
    given = Baseline(ZERO_SHOT, found.solution.labels, 1.0)
    assert ZERO_SHOT in evaluate(found, gold, [given]).scores


def test_only_what_has_gold_is_scored(scored: Any) -> None:
    found, gold, _ = scored
    some = Gold(dict(list(gold.labels.items())[:15]) | {"elsewhere": 0})
    made = evaluate(found, some)
    assert made.scored == 15
    labels = found.labels.set_index("id")["label"]
    right = [labels[id] == label for id, label in list(some.labels.items())[:15]]
    assert estimate(made, "consilience", "accuracy") == pytest.approx(np.mean(right))
    counts = np.bincount(list(some.labels.values())[:15], minlength=2)
    assert estimate(made, "majority", "accuracy") == pytest.approx(counts.max() / 15)


@pytest.mark.parametrize("labels", [{}, {"elsewhere": 1}, "a class too many"])
def test_gold_that_does_not_fit_is_refused(scored: Any, labels: Any) -> None:
    found, gold, _ = scored
    made = gold.labels | {found.dataset.ids[3]: 2} if isinstance(labels, str) else labels
    with pytest.raises(InputError, match="gold has"):
        evaluate(found, Gold(made))


def test_the_table_that_is_printed_has_intervals_and_its_notes(scored: Any) -> None:
    found, gold, rows = scored
    made = evaluate(found, gold, rows)
    lines = str(made).splitlines()
    assert lines[0].split() == [
        *("method", "accuracy", "auroc", "ece", "pgr", "calls", "per", "example"),
    ]
    own = next(line for line in lines if line.startswith("consilience"))
    interval = made.scores["consilience"]["accuracy"]
    assert f"{interval.estimate:.3f} [{interval.lower:.3f}, {interval.upper:.3f}]" in own
    assert own.endswith(" 8")
    assert lines[-3:] == made.note.splitlines()
    assert lines[-3].startswith("simulated world: ")
    assert "uncalibrated" in lines[-1]
    assert interval.lower <= interval.estimate <= interval.upper
    row = made.table.set_index("method").loc["consilience"]
    assert row["accuracy"] == interval.estimate
    assert (row["accuracy_lower"], row["accuracy_upper"]) == interval[1:3]
    # The majority ranks nobody above anybody.
    assert estimate(made, "majority", "auroc") == 0.5


def test_intervals_are_over_groups() -> None:
    data, gold = world_dataset("grouped", 30)
    found = elicit(data, SimulatedModel("grouped"), calls_per_example=2, solver=LBFGS(starts=1))
    made = evaluate(found, gold).scores["consilience"]["accuracy"]
    truth = np.array([gold.labels[id] for id in data.ids])
    assert made == score(found.solution.labels, truth, data.groups)["accuracy"]
    assert made != score(found.solution.labels, truth, data.ids)["accuracy"]
    assert len(set(data.groups)) == 10


def test_an_undefined_score_is_a_dash_and_no_number() -> None:
    undefined = Interval(float("nan"), float("nan"), float("nan"), "no gap")
    made = Evaluation({"one": {"accuracy": undefined}}, {"one": 1.5}, 0, "a note")
    assert str(made).splitlines()[1].split() == ["one", "–", "1.5"]


def test_four_classes_have_no_mirror_image() -> None:
    data, gold = world_dataset("k4", 16)
    settings = replace(SETTINGS, framings=("sets",), calls_per_example=2.0)
    found = elicit(data, SimulatedModel("k4"), settings=settings, solver=LBFGS(starts=1))
    assert "consilience, mirrored" not in evaluate(found, gold).scores
    assert isinstance(data, Dataset)


def test_agreement_stands_beside_what_says_who_agrees(scored: Any) -> None:
    found, gold, _ = scored
    assert "structure only, agreement" not in evaluate(found, gold).scores
    ids = found.dataset.ids
    relations = [Equal(ids[:2]), AtMostOne(ids[1:3])]
    tied = Dataset("tied", found.dataset.examples, relations, task=found.dataset.task)
    made = evaluate(replace(found, dataset=tied), gold)
    said = np.array([id in ids[:2] for id in ids])
    right = np.mean([said[i] == gold.labels[id] for i, id in enumerate(ids)])
    assert estimate(made, "structure only, agreement", "accuracy") == pytest.approx(right)
