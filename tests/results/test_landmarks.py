"""Landmarks: read from anything, refused in one line, and the labelling that they mean."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from consilience.data.dataset import Dataset, Example, Gold
from consilience.data.relations import AtMostOne, Equal
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.objective.coherence import TERMS, evaluate_terms
from consilience.objective.conditioning import condition
from consilience.planning.planner import PlanSettings
from consilience.results import landmarks as module
from consilience.results.landmarks import Landmarks, oriented, renamed, renamings
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import Optimum, Solution, solve
from zoo import alone, dataset, evidence, random_rows

SIX = dataset(6)
THREE = dataset(9, 3)


# ---- making them --------------------------------------------------------------------------------


def test_a_class_is_its_name_or_its_number() -> None:
    a, b, c, d = SIX.ids[:4]
    made = Landmarks.of({c: "true", a: 1, b: False, d: np.int64(0)}, SIX)
    assert made == Landmarks((a, b, c, d), (0, 1, 2, 3), (1, 0, 1, 0))
    assert len(made) == 4
    assert Landmarks.of(made, SIX) is made
    assert Landmarks.of({THREE.ids[2]: "Class 2", THREE.ids[0]: 1}, THREE).classes == (1, 2)


WRITERS: dict[str, Any] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("column", ["id", "text"])
def test_a_file_names_examples_by_id_or_by_text(tmp_path: Path, suffix: str, column: str) -> None:
    named = list(SIX.ids if column == "id" else SIX.texts)
    frame = pd.DataFrame({column: named[:3], "label": ["True", None, "False"], "mood": "odd"})
    path = tmp_path / f"landmarks.{suffix}"
    WRITERS[suffix](frame, path)
    assert Landmarks.of(path, SIX) == Landmarks((SIX.ids[0], SIX.ids[2]), (0, 2), (1, 0))
    assert Landmarks.of(str(path), SIX) == Landmarks.of(frame, SIX)


def test_a_text_may_be_made_of_columns_as_that_of_the_data() -> None:
    data = Dataset("made", [Example("one two"), Example("three four")])
    rows = [{"a": "three", "b": "four", "label": 1}]
    assert Landmarks.of(rows, data, "{a} {b}").ids == (Example("three four").id,)


BAD: dict[str, tuple[Any, str]] = {
    "an id": ({"nobody": 1}, "row 1, landmark 'nobody': no such example in 'zoo'"),
    "a text": ([{"text": "what", "label": 1}], "row 1, landmark 'what': no such example"),
    "an empty id": ([{"id": None, "label": 1}], "row 1, landmark '': no such example"),
    "a label": ({SIX.ids[0]: "maybe"}, "'maybe' is none of the classes False, True"),
    "a number": ({SIX.ids[0]: 2}, "'2' is none of the classes"),
    "a list": ({SIX.ids[0]: [1]}, "holds a list, expected text or a number"),
    "two labels": (
        [{"id": SIX.ids[0], "label": 1}, {"id": SIX.ids[0], "label": 0}],
        "row 2, .*was called 'True' before, and is now called 'False'",
    ),
    "no label": ([{"id": SIX.ids[0], "label": ""}], "there is no landmark"),
    "no column": ([{"id": SIX.ids[0], "name": "True"}], "no column 'label'"),
    "neither column": ([{"claim": "x", "label": "True"}], "no column 'text'"),
    "nothing": ({}, "has no rows"),
    "a file": ("none.csv", "none.csv does not exist"),
    "gold": (Gold({SIX.ids[0]: 1}), "got a Gold"),
    "others": (Landmarks((THREE.ids[0],), (0,), (0,)), "belong to another data set"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_refused_in_one_line(case: str) -> None:
    source, message = BAD[case]
    data = dataset(3) if case == "others" else SIX
    if case == "others":
        source = Landmarks((THREE.ids[8],), (8,), (0,))
    with pytest.raises(InputError, match=message) as error:
        Landmarks.of(source, data)
    assert "\n" not in str(error.value)


def test_the_same_said_twice_is_one_landmark() -> None:
    rows = [{"id": SIX.ids[0], "label": said} for said in ("True", 1, "yes")]
    assert len(Landmarks.of(rows, SIX)) == 1


def test_gold_is_not_even_a_name_here() -> None:
    assert Gold not in vars(module).values()


# ---- which labelling ----------------------------------------------------------------------------


def solution(*optima: Any) -> Solution:
    """A solution with these optima, best first."""
    labels = [np.asarray(q, dtype=np.float64) for q in optima]
    n, k = labels[0].shape
    made = solve(evidence(n, [(i, [1 / k] * k, ()) for i in range(n)], k), solver=LBFGS(starts=1))
    found = tuple(Optimum(q, -0.1 * place, 1) for place, q in enumerate(labels))
    return replace(made, labels=labels[0], optima=found)


def sure(classes: Any, k: int = 2, p: float = 1.0) -> np.ndarray:
    return np.where(np.eye(k)[np.asarray(classes)] > 0, p, (1 - p) / (k - 1))


def vouching(data: Dataset, classes: Any) -> Landmarks:
    return Landmarks.of(dict(zip(data.ids, map(int, classes), strict=False)), data)


def test_landmarks_turn_labels_whose_names_mean_nothing() -> None:
    q = sure([0, 1, 1, 0, 1, 0], p=0.8)
    for said in ([0, 1, 1], [1, 0, 0]):
        made = oriented(solution(q), vouching(SIX, said), named=False)
        assert made.order == ((0, 1) if said[0] == 0 else (1, 0))
        np.testing.assert_array_equal(made.labels, q[:, made.order])
        assert made.optimum == 0
        assert made.sentence.endswith("3 of 3 landmarks agree")


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_any_renaming_of_three_classes_is_found(order: tuple[int, ...]) -> None:
    truth = np.arange(9) % 3
    q = sure(truth, 3, 0.7)
    # The solution calls order[c] what is class c.
    turned = q[:, np.argsort(order)]
    made = oriented(solution(turned), vouching(THREE, truth), named=False)
    assert made.order == order
    np.testing.assert_allclose(made.labels, q)


def test_above_four_classes_only_shifts_are_tried() -> None:
    assert len(renamings(4)) == 24
    assert renamings(2) == [(0, 1), (1, 0)]
    assert renamings(2, [1]) == [(0, 1)]
    assert renamings(4, [1, 2]) == [(0, 1, 2, 3), (3, 1, 2, 0)]
    ways = renamings(6)
    assert ways[0] == tuple(range(6))
    assert len(ways) == 6
    truth = np.arange(12) % 6
    data = dataset(12, 6)
    made = oriented(solution(sure((truth + 2) % 6, 6, 0.9)), vouching(data, truth), named=False)
    np.testing.assert_array_equal(made.labels.argmax(axis=1), truth)


def test_names_that_mean_something_are_never_turned() -> None:
    q = sure([0, 1, 1, 0, 1, 0], p=0.9)
    made = oriented(solution(q), vouching(SIX, [1, 0, 0, 1, 0, 1]), named=True)
    np.testing.assert_array_equal(made.labels, q)
    assert made.sentence.startswith("by the meaning of the label names; 0 of 6 landmarks agree")
    assert "may be of something else" in made.sentence


def test_few_landmarks_settle_the_direction_weakly() -> None:
    q = sure([0, 1, 1, 0, 1, 0])
    one = oriented(solution(q), vouching(SIX, [1]), named=False)
    # ∫(1 − ε/2)dε against ∫ε/2 dε: 3/4 and 1/4.
    assert one.sentence.startswith("weakly, by 1 landmark (odds 3 to 1 against the next)")
    assert one.order == (1, 0)
    assert not oriented(solution(q), vouching(SIX, [0, 1, 1, 0]), named=False).sentence.startswith(
        "weakly"
    )


@pytest.mark.parametrize(("optima", "needed"), [(2, 4), (3, 5), (7, 6)])
def test_another_optimum_needs_clear_evidence(optima: int, needed: int) -> None:
    """Odds of 20 per rival; n unanimous ones give 2 (2^(n+1) − 1) / 2 or so: 15 for 3, 31 for 4."""
    data = dataset(12)
    q, other = sure(np.zeros(12, int)), sure(np.ones(12, int))
    odd = [sure((np.arange(12) + r) % 2) for r in range(2)] * 3
    found = solution(q, other, *odd[: optima - 2])
    for count in range(1, 9):
        made = oriented(found, vouching(data, [1] * count), named=True)
        assert made.optimum == (1 if count >= needed else 0), count
    assert "they fit optimum 2 of" in made.sentence


@pytest.mark.parametrize("named", [True, False])
def test_the_most_coherent_is_left_by_mistake_in_at_most_one_case_of_twenty(named: bool) -> None:
    rng = np.random.default_rng(0)
    n, left, ways = 12, 0, np.array([(0, 1), (1, 0)])
    data = dataset(n)
    empty = solution(np.full((n, 2), 0.5))
    for _ in range(400):
        q = rng.dirichlet(np.full(2, 0.3), size=(10, n))
        share = rng.random()
        meant = q[0] if named else q[0][:, ways[rng.integers(2)]]
        p = (1 - share) * meant[:, 1] + share / 2
        found = replace(empty, optima=tuple(Optimum(one, 0.0, 1) for one in q))
        landmarks = vouching(data, rng.random(n) < p)
        left += oriented(found, landmarks, named=named).optimum > 0
    assert left <= 20


def test_ties_go_to_the_more_coherent_and_to_the_names_as_they_are() -> None:
    q = sure([0, 1, 1, 0, 1, 0], p=0.9)
    mirror = q[:, ::-1]
    made = oriented(solution(q, mirror), vouching(SIX, [1, 0, 0, 1, 0, 1]), named=False)
    assert (made.optimum, made.order) == (0, (1, 0))
    undecided = oriented(solution(np.full((6, 2), 0.5)), vouching(SIX, [1, 1]), named=False)
    assert (undecided.optimum, undecided.order) == (0, (0, 1))


def test_labels_that_know_nothing_do_not_replace_labels_that_are_too_sure() -> None:
    data = dataset(20)
    truth = np.arange(20) % 2
    wrong = np.where(np.arange(20) < 6, 1 - truth, truth)
    made = oriented(solution(sure(wrong), np.full((20, 2), 0.5)), vouching(data, truth), named=True)
    assert made.optimum == 0 and made.sentence.endswith("14 of 20 landmarks agree")


def test_labels_that_are_hardly_sure_are_read_all_the_same() -> None:
    data = dataset(12)
    truth = np.arange(12) % 2
    found = solution(sure(1 - truth, p=0.5001))
    made = oriented(found, vouching(data, truth), named=False)
    assert made.order == (1, 0) and made.sentence.endswith("12 of 12 landmarks agree")
    assert not made.sentence.startswith("weakly")


@pytest.mark.parametrize("k", [2, 3])
def test_renamed_evidence_says_the_same_of_renamed_labels(k: int) -> None:
    rng = np.random.default_rng(k)
    order = (1, 0) if k == 2 else (2, 0, 1)
    one = evidence(6, random_rows(rng, 6, k), k, [(Equal, (0, 1))])
    other = renamed(one, order)
    q = torch.from_numpy(rng.dirichlet(np.ones(k), size=(1, 6)))
    terms = dict(TERMS)
    before = evaluate_terms(one, terms, condition(one, q), q.log())
    turned = q[..., list(order)]
    after = evaluate_terms(other, terms, condition(other, turned), turned.log())
    for name in TERMS:
        torch.testing.assert_close(before[name], after[name])
    assert renamed(one, range(k)) is one
    assert alone(k).label_names


# ---- in a run -----------------------------------------------------------------------------------

NEUTRAL = Settings(
    calls_per_example=2.0,
    framings=("sets",),
    plan=PlanSettings(shots=6),
    settled=0.0,
)


def neutral(data: Dataset) -> Any:
    model = SimulatedModel("easy")
    return elicit(data, model, settings=NEUTRAL, solver=LBFGS(starts=1))


def test_neutral_sets_get_their_polarity_from_landmarks() -> None:
    data, gold = world_dataset("easy", 60)
    truth = np.array([gold.labels[id] for id in data.ids])
    found = neutral(data)
    assert "undetermined" in found.polarity
    planted = sure(1 - truth, p=0.9)
    solution = replace(found.solution, labels=planted, optima=(Optimum(planted, 0.0, 1),))
    found = replace(found, solution=solution)
    said = {id: gold.labels[id] for id in data.ids[::6]}
    right = found.calibrated(said)
    wrong = found.calibrated({id: 1 - label for id, label in said.items()})
    np.testing.assert_array_equal(right.solution.labels.argmax(axis=1), truth)
    np.testing.assert_array_equal(wrong.solution.labels.argmax(axis=1), 1 - truth)
    assert (right.orientation.order, wrong.orientation.order) == ((1, 0), (0, 1))
    assert right.framings[0].label_names == found.framings[0].label_names[::-1]
    assert right.run == found.run
    for made in (right, wrong):
        assert made.polarity.startswith("by 10 landmarks (odds ")
        assert made.polarity.endswith("10 of 10 landmarks agree")
    # The evidence is turned with the labels, so that it says the same of them.
    for id in data.ids[1:4]:
        pd.testing.assert_frame_equal(right.explain(id), wrong.explain(id))


def test_a_relation_that_speaks_of_a_class_forbids_to_rename_it() -> None:
    bare, _ = world_dataset("easy", 24)
    facts = [AtMostOne(bare.ids[i : i + 2]) for i in range(0, 24, 2)]
    data = Dataset("facts", bare.examples, facts)
    found = neutral(data)
    made = found.calibrated(dict.fromkeys(data.ids[:3], 1), "none")
    assert made.orientation is not None
    assert made.orientation.order == (0, 1)
    assert made.polarity.startswith("by the relations, which speak of classes")
    prior = Dataset("priors", bare.examples, [replace(fact, prior=True) for fact in facts])
    free = neutral(prior)
    assert "relations" not in free.calibrated(dict.fromkeys(data.ids[:3], 1), "none").polarity


# ---- shares that are given, and classes that are called by numbers ------------------------------


def test_classes_of_other_shares_are_not_renamed() -> None:
    assert renamings(2, shares=(0.2, 0.8)) == [(0, 1)]
    assert renamings(2, shares=(0.5, 0.5)) == [(0, 1), (1, 0)]
    assert renamings(4, shares=(0.3, 0.2, 0.3, 0.2)) == [
        (0, 1, 2, 3), (0, 3, 2, 1), (2, 1, 0, 3), (2, 3, 0, 1)
    ]  # fmt: skip


def test_shares_say_which_class_is_which_and_explanations_stay_whole() -> None:
    data, gold = world_dataset("easy", 300)
    settings = Settings(calls_per_example=6, framings=("sets",), shares={"True": 0.2})
    found = elicit(data, SimulatedModel("easy"), settings=settings, seed=1)
    assert found.polarity == "by the shares given"
    at = np.random.default_rng(1).choice(300, 20, replace=False)
    made = found.calibrated({data.ids[i]: gold.labels[data.ids[i]] for i in at}, "none")
    assert made.orientation.order == (0, 1)
    assert "by the shares given" in made.polarity
    told = made.explain(data.ids[0])
    assert abs(told.loc[told["kind"] == "rest", "pull"].sum()) < 0.05


@pytest.mark.parametrize("classes", [("1", "0"), ("2", "1"), ("1.0", "0.0")], ids="-".join)
def test_a_run_knows_its_landmarks_again(classes: tuple[str, ...]) -> None:
    from consilience.elicitation.session import replay
    from consilience.elicitation.settings import settings_from
    from consilience.store.database import Store

    world, gold = world_dataset("easy", 80)
    task = replace(world.task, classes=classes)
    data = Dataset("numbers", world.examples, task=task)
    said = {id: classes[gold.labels[id]] for id in world.ids[:6]}
    vouched = Landmarks.of(said, data)
    assert vouched.classes == tuple(gold.labels[id] for id in world.ids[:6])
    with Store() as store:
        model = SimulatedModel("easy")
        found = elicit(data, model, calls_per_example=4, store=store, landmarks=vouched)
        kept = store.run(found.run.id).settings
        same = elicit(data, model, calls_per_example=4, store=store, landmarks=said)
        assert same.run.id == found.run.id
        state = replay(store, found.run.id, data, settings_from(kept))
    assert Landmarks.recorded(kept["landmarks"], data) == vouched
    assert state._vouched == dict(zip(vouched.at, vouched.classes, strict=True))
