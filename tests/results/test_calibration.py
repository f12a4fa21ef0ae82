"""Probabilities scaled by landmarks: known answers, few landmarks, and the liking for names."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from consilience.data.dataset import Dataset, Gold
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.evaluation.evaluation import AS_ASKED, evaluate
from consilience.evaluation.metrics import ece
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.evidence.mixture import fit_mixture
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.prompts.framing import framings
from consilience.prompts.query import Query
from consilience.results import calibration as module
from consilience.results.calibration import LIMIT, SCALINGS, WORTH, Calibration, calibrate
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import Optimum
from zoo import dataset, prediction, task

EMPTY = np.array([], dtype=np.int64)


def world(k: int, n: int = 3000, seed: int = 0, spread: float = 2.0) -> tuple[Any, Any]:
    """Calibrated soft labels (n, k), and classes drawn from them."""
    rng = np.random.default_rng(seed)
    q = softmax(spread * rng.normal(size=(n, k)), axis=1)
    return q, (rng.random(n)[:, None] > q.cumsum(axis=1)[:, :-1]).sum(axis=1)


def marks(at: Any, classes: Any) -> Landmarks:
    """Landmarks at these positions; their ids play no part in the scaling."""
    return Landmarks(tuple(map(str, at)), tuple(map(int, at)), tuple(map(int, classes)))


def scaled(q: Any, y: Any, count: int, method: str = "auto") -> Calibration:
    return calibrate(q, marks(np.arange(count), y[:count]), method)


def loss(q: Any, y: Any) -> float:
    return float(-np.log(q[np.arange(len(y)), y]).mean())


# ---- known answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("planted", [0.5, 2.0, 4.0])
def test_a_planted_temperature_is_recovered_from_many_landmarks(k: int, planted: float) -> None:
    q, y = world(k)
    solved = softmax(planted * np.log(q), axis=1)
    made = scaled(solved, y, 2000, "temperature")
    (found,) = made.parameters["temperature"]
    assert found == pytest.approx(planted, rel=0.1)
    np.testing.assert_allclose(made.labels, q, atol=0.05)
    np.testing.assert_array_equal(made.labels.argmax(axis=1), solved.argmax(axis=1))
    assert made.scores["temperature"] < made.scores["none"]
    assert made.sentence.startswith(f"calibrated by temperature {found:.2f} on 2000 landmarks (cro")


def test_a_planted_slope_and_shift_are_recovered() -> None:
    q, y = world(2)
    solved = softmax(2 * np.log(q) + np.array([0.0, 1.5]), axis=1)
    made = scaled(solved, y, 2000)
    assert made.method == "platt"
    assert made.parameters["slope"] == pytest.approx((0.5,), abs=0.05)
    assert made.parameters["shift"] == pytest.approx((-0.75,), abs=0.15)
    np.testing.assert_allclose(made.labels, q, atol=0.05)
    assert made.scores["platt"] == min(made.scores.values())
    assert "Platt scaling (slope 0.5" in made.sentence


def test_of_three_classes_each_has_a_slope_and_a_shift_of_its_own() -> None:
    q, y = world(3)
    solved = softmax(2 * np.log(q) + np.array([0.0, 1.5, -1.0]), axis=1)
    made = scaled(solved, y, 2000)
    assert made.method == "platt"
    assert {name: len(of) for name, of in made.parameters.items()} == {"slope": 3, "shift": 3}
    np.testing.assert_allclose(made.labels.sum(axis=1), 1)
    weights = np.ones((1, 1000))
    before, after = (ece(p[2000:], y[2000:], weights)[0] for p in (solved, made.labels))
    assert after < 0.05 < before


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", SCALINGS)
def test_without_landmarks_the_labels_stay(k: int, name: str) -> None:
    q, _ = world(k, 200)
    made = SCALINGS[name](q, EMPTY, EMPTY)
    np.testing.assert_allclose(made.apply(q), q, atol=1e-4)
    for parameter, of in made.parameters.items():
        np.testing.assert_allclose(of, 0 if parameter == "shift" else 1, atol=1e-3)


# ---- few landmarks ------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("count", [5, 20])
def test_landmarks_that_are_all_right_leave_the_labels_soft(k: int, count: int) -> None:
    q, _ = world(k, 400)
    right = q.argmax(axis=1)
    made = scaled(q, right, count, "temperature")
    assert 0.3 < made.parameters["temperature"][0] < 1
    platt = scaled(q, right, count, "platt")
    assert max(platt.parameters["slope"]) < 4
    for labels in (made.labels, platt.labels):
        assert np.isfinite(labels).all()
        assert (labels.min(axis=1) > 0).all()


def test_the_fewer_the_landmarks_the_less_changes() -> None:
    q, _ = world(2, 400)
    found = [
        scaled(q, q.argmax(axis=1), count, "temperature").parameters["temperature"][0]
        for count in (5, 10, 20)
    ]
    assert 1 > found[0] > found[1] > found[2]


def test_the_labels_as_solved_are_worth_some_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    q, y = world(2, 400)
    solved = softmax(3 * np.log(q), axis=1)
    found = []
    for worth in (1.0, WORTH, 100.0, 1e4):
        monkeypatch.setattr(module, "WORTH", worth)
        found.append(scaled(solved, y, 20, "temperature").parameters["temperature"][0])
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(1, abs=0.05)


HARD = np.eye(2)[np.arange(40) % 2]
EXTREME = {
    "hard": HARD,
    "unsure": np.full((40, 2), 0.5),
    "nearly unsure": np.full((40, 2), 0.5) + (HARD - 0.5) * 1e-7,
    "all alike": np.tile([0.0, 1.0], (40, 1)),
}


@pytest.mark.parametrize("kind", EXTREME)
@pytest.mark.parametrize("said", ["right", "wrong", "mixed"])
@pytest.mark.parametrize("method", ["temperature", "platt", "auto"])
def test_extreme_labels_stay_finite(kind: str, said: str, method: str) -> None:
    q = EXTREME[kind]
    right = np.arange(40) % 2
    y = {"right": right, "wrong": 1 - right, "mixed": np.arange(40) // 2 % 2}[said]
    made = scaled(q, y, 12, method)
    assert np.isfinite(made.labels).all()
    np.testing.assert_allclose(made.labels.sum(axis=1), 1)
    if kind == "nearly unsure":
        # A handful of landmarks does not make sure what stayed unsure.
        assert np.abs(made.labels - made.labels[0]).max() < 1e-5
    for name, of in made.parameters.items():
        assert np.isfinite(of).all()
        if name != "shift":
            assert max(of) <= LIMIT


def test_no_scaling_turns_the_labels_round() -> None:
    q, _ = world(2, 400)
    against = 1 - q.argmax(axis=1)
    made = scaled(q, against, 60, "platt")
    assert made.parameters["slope"] == (0.0,)
    seen = (np.eye(2)[against[:60]].sum(axis=0) + WORTH * q.mean(axis=0)) / (60 + WORTH)
    np.testing.assert_allclose(made.labels, np.tile(seen, (400, 1)), atol=1e-6)
    assert scaled(q, against, 60, "temperature").parameters["temperature"][0] <= LIMIT


# ---- the choice ---------------------------------------------------------------------------------


def test_temperature_is_left_only_for_what_is_clearly_better() -> None:
    q, y = world(2, 3000)
    shifted = softmax(np.log(q) + np.array([0.0, 2.0]), axis=1)
    assert scaled(shifted, y, 500).method == "platt"
    chosen = [scaled(*world(2, 400, seed), 20).method for seed in range(8)]
    assert chosen.count("temperature") >= 6


def test_the_scores_are_of_landmarks_held_out() -> None:
    q, y = world(2, 400)
    made = scaled(q, y, 12)
    assert list(made.scores) == ["temperature", "platt", "none"]
    assert made.scores["none"] == pytest.approx(loss(q[:12], y[:12]))
    fitted = scaled(q, y, 12, "platt")
    assert made.scores["platt"] > loss(fitted.labels[:12], y[:12])
    assert made.scores == fitted.scores
    seeds = [calibrate(q, marks(range(12), y[:12]), seed=seed).scores["platt"] for seed in (1, 2)]
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize("k", [2, 3])
def test_the_order_of_landmarks_and_other_calls_change_nothing(k: int) -> None:
    data = dataset(40, k)
    q, y = world(k, 40)
    before = q.copy()
    said = dict(zip(data.ids[:12], y[:12].tolist(), strict=True))
    one = calibrate(q, Landmarks.of(said, data))
    other = calibrate(q, Landmarks.of(dict(reversed(said.items())), data))
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(q, before)
    assert one.scores == other.scores


@pytest.mark.parametrize(
    ("count", "method", "message"),
    [
        (4, "auto", "needs 5 landmarks or more, got 4"),
        (4, "platt", "needs 5 landmarks or more, got 4"),
        (12, "isotonic", "the ways are: auto, temperature, platt, none"),
    ],
)
def test_too_few_landmarks_calibrate_nothing(count: int, method: str, message: str) -> None:
    q, y = world(2, 40)
    with pytest.raises(InputError, match=message):
        scaled(q, y, count, method)
    left = scaled(q, y, 1, "none")
    np.testing.assert_array_equal(left.labels, q)
    assert (left.method, left.sentence) == ("none", "uncalibrated")


def test_landmarks_of_one_class_calibrate_nothing() -> None:
    q, _ = world(2, 40)
    with pytest.raises(InputError, match="of two classes or more, all 9 have one"):
        scaled(q, np.ones(40, int), 9)


def test_gold_is_not_even_a_name_here() -> None:
    assert Gold not in vars(module).values()


# ---- what was found -----------------------------------------------------------------------------

SETTINGS = Settings(calls_per_example=4.0, plan=PlanSettings(shots=8), settled=0.0)


@pytest.fixture(scope="module")
def run() -> tuple[Found, Gold]:
    data, gold = world_dataset("noisy", 60)
    model = SimulatedModel("noisy")
    return elicit(data, model, settings=SETTINGS, solver=LBFGS(starts=1)), gold


def said_of(found: Found, gold: Gold, every: int = 5) -> dict[str, int]:
    return {id: gold.labels[id] for id in found.dataset.ids[::every]}


def test_the_table_has_the_labels_vouched_for_and_marks_them(run: tuple[Found, Gold]) -> None:
    found, gold = run
    # One landmark contradicts what the labels are sure of.
    said = said_of(found, gold)
    odd = next(iter(said))
    said[odd] = 1 - int(found.labels.set_index("id").loc[odd, "label"])
    made = found.calibrated(said)
    table = made.labels.set_index("id")
    marked = table[table["landmark"]]
    assert set(marked.index) == set(said)
    assert {id: int(label) for id, label in marked["label"].items()} == said
    assert (marked["probability"] == 1).all()
    assert made.calibration is not None
    others = table[~table["landmark"]][["p_False", "p_True"]].to_numpy()
    rest = [i for i, id in enumerate(found.dataset.ids) if id not in said]
    np.testing.assert_array_equal(others, made.calibration.labels[rest])
    assert "landmark" in made.table(details=True).columns
    assert "landmark" not in found.labels.columns


def test_what_is_uncalibrated_says_so_and_what_is_not_says_how(run: tuple[Found, Gold]) -> None:
    found, gold = run
    made = found.calibrated(said_of(found, gold), "temperature")
    # Beside what a nat was taken to be worth.
    assert re.fullmatch(r"uncalibrated( \(log-odds × [\d.]+\))?", found.probabilities)
    assert made.probabilities.startswith("calibrated by temperature ")
    assert " on 12 landmarks (cross-validated log loss " in made.probabilities
    assert made.polarity.startswith("by the meaning of the label names; ")
    only = found.calibrated(said_of(found, gold), "none")
    assert only.probabilities == "uncalibrated"
    np.testing.assert_array_equal(only.labels["epistemic"], found.labels["epistemic"])
    rest = ~only.labels["landmark"].to_numpy()
    np.testing.assert_array_equal(only.solution.labels[rest], found.solution.labels[rest])
    with pytest.raises(InputError, match="calibrated already"):
        made.calibrated(said_of(found, gold))
    with pytest.raises(InputError, match="needs 5 landmarks"):
        found.calibrated(dict(list(said_of(found, gold).items())[:4]))


def test_calibrating_changes_nothing_of_what_was_found(run: tuple[Found, Gold]) -> None:
    found, gold = run
    before = found.solution.labels.copy(), found.table()
    found.calibrated(said_of(found, gold))
    np.testing.assert_array_equal(found.solution.labels, before[0])
    assert found.table().equals(before[1])


def test_another_optimum_brings_its_own_relevance_and_uncertainty(run: Any) -> None:
    found, gold = run
    first = found.solution.optima[0]
    other = np.random.default_rng(0).dirichlet([0.3, 0.3], size=len(first.labels))
    truth = np.array([gold.labels[id] for id in found.dataset.ids])
    other[::3] = np.where(np.eye(2)[truth[::3]] > 0, 0.95, 0.05)
    worse = Optimum(1 - first.labels, first.coherence - 1, 1)
    right = Optimum(other, first.coherence - 2, 1)
    solution = replace(found.solution, optima=(worse, right))
    found = replace(found, solution=replace(solution, labels=worse.labels))
    made = found.calibrated(said_of(found, gold, 3), "temperature")
    assert made.orientation is not None
    assert made.orientation.optimum == 1
    assert "they fit optimum 2 of 2 better" in made.polarity
    assert not np.array_equal(made.solution.relevance, found.solution.relevance)
    assert not np.array_equal(made.uncertainty.epistemic, found.uncertainty.epistemic)


def test_landmarks_are_not_scored(run: tuple[Found, Gold]) -> None:
    found, gold = run
    said = said_of(found, gold)
    # Wrong ones would lower every score, right ones raise it.
    made = found.calibrated(said, "temperature")
    scored = evaluate(made, gold)
    assert scored.scored == 48
    rest = [i for i, id in enumerate(found.dataset.ids) if id not in said]
    truth = np.array([gold.labels[id] for id in found.dataset.ids])
    right = made.solution.labels.argmax(axis=1) == truth
    assert scored.scores["consilience"]["accuracy"].estimate == pytest.approx(right[rest].mean())
    without = Gold({id: label for id, label in gold.labels.items() if id not in said})
    plain = evaluate(found, without)
    assert scored.scores[AS_ASKED] == plain.scores[AS_ASKED]
    lines = scored.note.splitlines()
    assert lines[-1] == "The 12 landmarks are left out of every score."
    assert lines[-2].startswith("Probabilities are calibrated by temperature ")
    with pytest.raises(InputError, match="gold has no label"):
        evaluate(made, Gold(said))


# ---- the liking for label names -----------------------------------------------------------------

WORDING = ("plain", "negated")
LIKING = {"True": 1.2, "False": -1.2}


def liked(positives: float, way: str, n: int = 200) -> tuple[Evidence, Any, Any]:
    """Evidence of a model that likes to say True; the signal put in (n,), and the classes."""
    rng = np.random.default_rng(0)
    data: Dataset = dataset(n)
    made = framings(task(2), WORDING)
    y = (np.arange(n) < positives * n).astype(int)
    signal = np.where(y == 1, 1.5, -1.5) + 0.5 * rng.normal(size=n)
    believed = np.stack([-signal / 2, signal / 2], axis=1)
    rows = []
    for framing in made:
        likes = np.array([LIKING[name] for name in framing.label_names])
        for i, id in enumerate(data.ids):
            query = Query(id, (), framing.name)
            rows.append((query, prediction(query, log_softmax(believed[i] + likes))))
    return collect(data, made, [rows], bias=way), signal, y


def seen(evidence: Evidence) -> Any:
    """The log-odds of class 1 of each prediction, by framing."""
    odds = (evidence.predictions.logp[:, 1] - evidence.predictions.logp[:, 0]).numpy()
    return odds.reshape(2, -1)


@pytest.mark.parametrize("positives", [0.1, 0.5, 0.9])
def test_paired_framings_recover_a_liking_whatever_the_balance(positives: float) -> None:
    evidence, signal, _ = liked(positives, "paired")
    assert evidence.tally.bias["wording, zero-shot"] == pytest.approx(LIKING)
    for odds in seen(evidence):
        np.testing.assert_allclose(odds, signal, atol=1e-9)


@pytest.mark.parametrize("positives", [0.1, 0.5, 0.9])
def test_the_offsets_of_contexts_leave_the_line_to_the_mixture(positives: float) -> None:
    """The mean signal goes with the liking, and the mixture finds it, whatever the balance."""
    evidence, _, y = liked(positives, "contexts")
    assert evidence.tally.bias.keys() == {"plain, zero-shot", "negated, zero-shot"}
    for odds in seen(evidence):
        assert odds.mean() == pytest.approx(0, abs=0.1)
    mean = evidence.predictions.logp.reshape(2, -1, 2).mean(dim=0)
    added = fit_mixture(mean[None], torch.ones(1, len(y), dtype=torch.bool)).frequency[0]
    assert np.mean((mean + added).argmax(dim=1).numpy() == y) > 0.97


def test_where_nothing_is_taken_out_the_liking_stays() -> None:
    evidence, signal, _ = liked(0.5, "none")
    assert evidence.tally.bias == {}
    for framing, odds in zip(framings(task(2), WORDING), seen(evidence), strict=True):
        gap = LIKING[framing.label_names[1]] - LIKING[framing.label_names[0]]
        np.testing.assert_allclose(odds - signal, gap, atol=1e-9)


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(InputError, match="there are: contexts, paired, none"):
        liked(0.5, "median")
