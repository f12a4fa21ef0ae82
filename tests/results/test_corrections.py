"""Corrections: free, kept, held fixed, shown as shots, and no sample to calibrate on."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from consilience.data.dataset import Dataset, Gold
from consilience.elicitation.session import Session, elicit, solve_run
from consilience.elicitation.settings import Settings, settings_from
from consilience.errors import InputError, StoreError
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.results.corrections import draw_landmarks, review_table
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store
from recorder import Recorder

SETTINGS = Settings(calls_per_example=4.0, plan=PlanSettings(shots=6, block=20), priors=True)
TWO = LBFGS(starts=2)
World = tuple[Found, Gold, Path]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    data, gold = world_dataset("grouped", 60, 1)
    path = tmp_path_factory.mktemp("store") / "s.db"
    elicit(data, SimulatedModel("grouped"), store=path, settings=SETTINGS, solver=TWO)
    return of(path), gold, path


def of(path: Path) -> Found:
    with Store(path, readonly=True) as store:
        run = store.run()
        data, settings = store.dataset(run.dataset), settings_from(run.settings)
        return solve_run(store, run.id, data, settings, solver=TWO)


@pytest.fixture
def run(world: World, tmp_path: Path) -> tuple[Found, Gold]:
    """A run in a file of its own, which corrections may go into."""
    path = tmp_path / "s.db"
    path.write_bytes(world[2].read_bytes())
    return replace(world[0], place=str(path)), world[1]


def errors(found: Found, gold: Gold) -> list[str]:
    hard = found.soft_labels.argmax(axis=1)
    return [id for i, id in enumerate(found.dataset.ids) if hard[i] != gold.labels[id]]


def test_they_are_free_kept_and_the_same_from_the_store(run: tuple[Found, Gold]) -> None:
    found, gold = run
    wrong = errors(found, gold)[:3]
    assert wrong
    names = found.dataset.task.classes
    made = found.corrected({id: names[gold.labels[id]] for id in wrong})
    assert made.asked.calls == 0 and found.corrections == {}
    at = [found.dataset.index[id] for id in wrong]
    assert made.soft_labels[at].max(axis=1).tolist() == [1.0] * len(wrong)
    assert made.labels["corrected"].sum() == len(wrong)
    assert made.uncertainty.epistemic[at] == pytest.approx(0, abs=1e-9)
    assert found.place is not None
    again = of(Path(found.place))
    assert np.array_equal(again.soft_labels, made.soft_labels)
    assert again.corrections == made.corrections == {id: gold.labels[id] for id in sorted(wrong)}
    # Of two corrections of one example the newer counts, and what is the same is not kept twice.
    with Store(Path(found.place)) as store:
        assert store.save_corrections(found.dataset, made.corrections) == 0
        assert store.save_corrections(found.dataset, {wrong[0]: 1 - gold.labels[wrong[0]]}) == 1
        assert store.corrections(found.dataset.fingerprint)[wrong[0]] == 1 - gold.labels[wrong[0]]
        assert store.verify() == []
        with pytest.raises(StoreError, match="append-only"), store._using("x") as db:
            db.execute("DELETE FROM corrections")


def test_taken_back_they_leave_no_trace_in_the_labels(run: tuple[Found, Gold]) -> None:
    found, gold = run
    one, two, three = errors(found, gold)[:3]
    names = found.dataset.task.classes
    made = found.corrected({id: names[gold.labels[id]] for id in (one, two)})
    less = made.corrected({one: None, three: names[gold.labels[three]]})
    assert less.corrections == {id: gold.labels[id] for id in sorted((two, three))}
    rows = [{"id": two, "correction": "take back"}, {"id": three, "correction": " take back "}]
    back = less.corrected(rows)
    assert back.corrections == {} and back.asked.calls == 0
    assert np.array_equal(back.soft_labels, found.soft_labels)
    again = of(Path(str(found.place)))
    assert again.corrections == {} and np.array_equal(again.soft_labels, found.soft_labels)
    with Store(Path(str(found.place))) as store:
        assert store.verify() == []
    with pytest.raises(InputError, match="cannot be taken back: it was not corrected"):
        back.corrected({one: None})


def test_they_move_those_whom_relations_tie_to_them(run: tuple[Found, Gold]) -> None:
    found, gold = run
    data = found.dataset
    # Of three of which one is true another is called true: to say which one is settles all three.
    groups = {}
    for id, group in zip(data.ids, data.groups, strict=True):
        groups.setdefault(group, []).append(id)
    wrong = set(errors(found, gold))
    told = {
        next(id for id in ids if gold.labels[id]): "True"
        for ids in groups.values()
        if wrong & set(ids)
    }
    assert told
    made = found.corrected(told)
    untouched = [id for id in errors(made, gold) if id not in told]
    before = [id for id in wrong if id not in told]
    assert len(untouched) < len(before)


def test_what_relations_forbid_is_refused(run: tuple[Found, Gold]) -> None:
    found, _ = run
    relation = found.dataset.relations[0]
    said = dict.fromkeys(relation.members[:2], "True")
    with pytest.raises(InputError, match=r"the relations among the rows .* cannot hold"):
        found.corrected(said)
    with Store(str(found.place)) as store:
        assert store.corrections(found.dataset.fingerprint) == {}


def test_later_rounds_show_them_and_never_with_another_class(run: tuple[Found, Gold]) -> None:
    found, gold = run
    data = found.dataset
    told = {id: gold.labels[id] for id in data.ids[:6]}
    found.corrected({id: data.task.classes[label] for id, label in told.items()})
    more = Settings(calls_per_example=6.0, plan=SETTINGS.plan, priors=True, settled=0)
    model = SimulatedModel("grouped")
    with Store(str(found.place)) as store:
        given = {"settings": more, "seed": found.run.seed, "solver": TWO}
        session = Session(data, model, store, **given)
        while queries := session.next_queries():
            session.ask(queries)
            session.learn()
        asked = store.rounds(session.run)
        shown = [s for _, q in asked[session.state.census.end] for s in q.shots if s[0] in told]
        assert shown and all(label == told[id] for id, label in shown)
        again = session.found()
        assert again.corrections == told
        at = [data.index[id] for id in told]
        assert again.soft_labels[at].argmax(axis=1).tolist() == list(told.values())


def test_they_calibrate_nothing(run: tuple[Found, Gold]) -> None:
    found, gold = run
    data = found.dataset
    names = data.task.classes
    first, rest = data.ids[:10], data.ids[10:30]
    made = found.corrected({id: names[gold.labels[id]] for id in first})
    calibrated = made.calibrated({id: names[gold.labels[id]] for id in (*first, *rest)})
    assert calibrated.calibration is not None
    assert calibrated.calibration.landmarks.ids == tuple(sorted(rest))
    at = [data.index[id] for id in first]
    assert calibrated.soft_labels[at].max(axis=1).tolist() == [1.0] * 10
    with pytest.raises(InputError, match="every landmark is a correction too"):
        made.calibrated({id: names[gold.labels[id]] for id in first})
    with pytest.raises(InputError, match="correct those as solved, then calibrate"):
        calibrated.corrected({data.ids[40]: "True"})


def table_of(count: int) -> pd.DataFrame:
    words = [f"The lamp number {i} is lit." for i in range(count)]
    return pd.DataFrame({"ticket": [f"T-{i:03}" for i in range(count)], "message": words})


@cache
def tickets() -> Found:
    table = pd.concat([table_of(40), table_of(1).assign(ticket="T-again")], ignore_index=True)
    data = Dataset.from_records(
        table, text="message", id="ticket", task=world_dataset("easy")[0].task
    )
    return elicit(data, Recorder(), calls_per_example=3, settings=None, solver=TWO)


def test_a_review_begins_with_the_doubtful_and_comes_back(tmp_path: Path) -> None:
    found = tickets()
    review = review_table(found)
    assert list(review.columns[:2]) == ["ticket", "message"]
    assert len(review) == 41 and set(review["correction"]) == {""}
    assert review["probability"].head(5).max() <= review["probability"].tail(5).min()
    review.loc[:1, "correction"] = ["True", "0"]
    review.to_csv(tmp_path / "r.csv", index=False)
    made = found.corrected(tmp_path / "r.csv")
    ids = [found.dataset.find(id) for id in review["ticket"][:2]]
    assert made.corrections == dict(sorted(zip(ids, (1, 0), strict=True)))
    # What was corrected is not asked about again, and an empty review corrects nothing.
    assert set(review_table(made)["ticket"]).isdisjoint(review["ticket"][:2])
    review["correction"] = ""
    with pytest.raises(InputError, match="nothing is corrected: no row has a correction"):
        found.corrected(review)
    with pytest.raises(InputError, match="correction 'T-999': no such example"):
        found.corrected({"T-999": "True"})
    with pytest.raises(InputError, match="'maybe' is none of the classes False, True"):
        found.corrected({"T-001": "maybe"})


def test_landmarks_are_drawn_from_all_rows_alike() -> None:
    found = tickets()
    drawn = [draw_landmarks(found, 20, seed) for seed in range(60)]
    assert all(list(d["label"]) == [""] * 20 for d in drawn)
    counts = pd.concat(drawn)["ticket"].value_counts()
    # 30 of 60 on average, six standard deviations of a binomial either way; no text twice.
    assert set(counts.index) == {f"T-{i:03}" for i in range(40)}
    assert counts.between(7, 53).all()
    assert draw_landmarks(found, 5, 3).equals(draw_landmarks(found, 5, 3))
    with pytest.raises(InputError, match="41 landmarks cannot be drawn from 40 different texts"):
        draw_landmarks(found, 41)
