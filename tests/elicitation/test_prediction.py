"""New rows: as good as in the run at a quarter of the calls, each by itself; a run that grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from consilience.data.dataset import Dataset, Gold, Task
from consilience.data.relations import Equal
from consilience.elicitation.contexts import known_contexts
from consilience.elicitation.few_answers import Answered, FewAnswers
from consilience.elicitation.prediction import extend, predict, predict_blocks
from consilience.elicitation.session import elicit, solve_run
from consilience.elicitation.settings import Settings, settings_from
from consilience.errors import InputError, ModelError
from consilience.models.base import Answer, Request
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.results.joint import together
from consilience.results.result import Found
from consilience.store.database import Store

WORLD = "pretrained"


class Counted:
    """The model of a world that counts what it is asked, and refuses the texts in `refused`."""

    def __init__(self, refused: tuple[str, ...] = ()) -> None:
        self.inner = SimulatedModel(WORLD)
        self.name, self.style, self.settings = (
            self.inner.name,
            self.inner.style,
            self.inner.settings,
        )
        self.asked: list[Request] = []
        self.refused = refused

    async def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        if request.query.target in self.refused:
            raise ModelError("refused by a filter", reason="refused")
        return await self.inner.ask(request)


def part(data: Dataset, ids: set[str]) -> Dataset:
    return Dataset(data.name, [e for e in data.examples if e.id in ids], task=data.task)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Dataset, Dataset, Gold]:
    """A run of 200 examples, 100 that come later, all of them, and their truth."""
    data, gold = world_dataset(WORLD, 300, 2)
    later = set(np.random.default_rng(0).choice(data.ids, 100, replace=False).tolist())
    path = tmp_path_factory.mktemp("store") / "s.db"
    found = elicit(part(data, set(data.ids) - later), Counted(), store=path)
    path.with_name("before.db").write_bytes(path.read_bytes())
    return found, part(data, later), data, gold


def accuracy(labels: np.ndarray, data: Dataset, gold: Gold) -> float:
    return float((labels.argmax(axis=1) == [gold.labels[id] for id in data.ids]).mean())


@pytest.mark.slow
def test_as_good_as_in_the_run_at_a_quarter_of_the_calls(
    world: tuple[Found, Dataset, Dataset, Gold],
) -> None:
    found, new, data, gold = world
    model = Counted()
    made = predict(found, new, model)
    assert len(model.asked) == made.asked.calls == 200
    whole = elicit(data, Counted())
    inside = accuracy(whole.soft_labels[[data.index[id] for id in new.ids]], new, gold)
    interval = 1.96 * np.sqrt(inside * (1 - inside) / 100)
    assert abs(accuracy(made.soft_labels, new, gold) - inside) <= interval
    # Probabilities mean as much as those of the run.
    hit = made.soft_labels.argmax(axis=1) == [gold.labels[id] for id in new.ids]
    assert made.soft_labels.max(axis=1).mean() == pytest.approx(hit.mean(), abs=0.12)
    again = predict(found, new, model)
    assert again.asked.calls == 0 and len(model.asked) == 200
    assert np.array_equal(again.soft_labels, made.soft_labels)


def test_the_offset_of_a_list_is_what_the_run_took_from_its_answers(
    world: tuple[Found, Dataset, Dataset, Gold],
) -> None:
    found = world[0]
    # A row of the run, read by itself under a list that it was asked under, says what it said.
    with Store(str(found.place)) as store:
        for context in known_contexts(found, store)[:4]:
            mine = [
                t
                for t in range(found.evidence.t)
                if found.evidence.framings[int(found.evidence.predictions.framing[t])]
                == context.framing
            ]
            raw = store.predictions([found.evidence.predictions.keys[t] for t in mine])
            under = [
                (t, p)
                for t, p in zip(mine, raw, strict=True)
                if p is not None and p.query.shots == context.shots
            ]
            assert len(under) == context.targets >= 10
            for t, p in under:
                z = np.array(p.logprobs) - np.mean(p.logprobs) - context.offset
                kept = found.evidence.predictions.logp[t].numpy()
                assert z == pytest.approx(kept - kept.mean(), abs=1e-9)


@pytest.mark.parametrize("calls", [1, 2, 4])
def test_the_rows_of_the_run_read_from_few_answers_get_its_labels_on_average(
    world: tuple[Found, Dataset, Dataset, Gold], calls: int
) -> None:
    found = world[0]
    assert found.doubt == 1.0
    asked, relevance = found.evidence.predictions, found.solution.relevance
    worth = asked.weight.numpy() * relevance + 10 * (asked.shown >= 0).numpy()
    rows: dict[int, list[Answered]] = {}
    for t in np.argsort(-worth, kind="stable").tolist():
        mine = rows.setdefault(int(asked.target[t]), [])
        if len(mine) < calls and not asked.brief[t]:
            z = asked.logp[t].numpy()
            mine.append(Answered(z - z.mean(), float(asked.weight[t]), float(relevance[t])))
    reader = FewAnswers(found, calls)
    labels = found.solution.labels[list(rows)]
    k = found.evidence.k
    read = np.array([reader.read(answers)[:k] for answers in rows.values()])
    assert read.mean(axis=0) == pytest.approx(labels.mean(axis=0), abs=1e-4)
    # With another line they would not.
    reader.line = reader.line + np.array([0.5, -0.5])
    moved = np.array([reader.read(answers)[:k] for answers in rows.values()])
    assert abs(moved.mean(axis=0) - labels.mean(axis=0)).max() > 0.02


def test_a_row_depends_on_no_other_and_blocks_come_in_the_order_of_rows(
    world: tuple[Found, Dataset, Dataset, Gold],
) -> None:
    found, new, _, _ = world
    whole = predict(found, new, Counted())
    some = set(new.ids[:7])
    alone = predict(found, part(new, some), Counted())
    assert np.array_equal(alone.soft_labels, whole.soft_labels[:7])
    frame = pd.DataFrame({"text": list(new.texts)[::-1]})
    blocks = list(predict_blocks(found, frame, Counted(), block=30))
    assert [len(b.dataset) for b in blocks] == [30, 30, 30, 10]
    table = pd.concat([b.table() for b in blocks], ignore_index=True)
    assert list(table["text"]) == list(frame["text"])
    assert list(table["row"]) == list(range(1, 101))
    assert list(table["probability"][::-1]) == list(whole.labels["probability"])


def test_rows_of_the_run_keep_their_label_and_who_is_refused_has_none(
    world: tuple[Found, Dataset, Dataset, Gold],
) -> None:
    found, new, data, _ = world
    ids = {*found.dataset.ids[:5], *data.sample(1).ids}
    # Without the run's answers nobody knows what a list adds.
    with Store() as apart, pytest.raises(InputError, match="no answers of run"):
        predict(found, new, Counted(), store=apart)
    fresh, _ = world_dataset(WORLD, 4, 77)
    rows = Dataset(data.name, [*part(data, ids).examples, *fresh.examples], task=data.task)
    model = Counted(refused=fresh.ids[:1])
    made = predict(found, rows, model)
    assert {r.query.target for r in model.asked} <= set(rows.ids) - set(found.dataset.ids)
    labels = made.labels.set_index("id")
    for id in found.dataset.ids[:5]:
        old = found.labels.set_index("id").loc[id]
        assert labels.loc[id, "probability"] == old["probability"]
    assert labels.loc[fresh.ids[0]].isna()[["label", "name", "probability"]].all()
    assert bool(labels.loc[fresh.ids[0], "open"])
    assert fresh.ids[0] in made.asked.refused


def test_what_cannot_be_is_refused_before_anything_is_asked(
    world: tuple[Found, Dataset, Dataset, Gold],
) -> None:
    found, new, data, _ = world
    other = Counted()
    other.name = "other"
    with pytest.raises(InputError, match=r"the run asked .* not other"):
        predict(found, new, other)
    with pytest.raises(InputError, match="one call or more, got 0"):
        predict(found, new, Counted(), calls=0)
    with pytest.raises(InputError, match="another task"):
        stranger = Dataset("x", new.examples, task=Task("Is it so?", ("no", "yes"), None, None))
        predict(found, stranger, Counted())
    with pytest.raises(InputError, match=r"cannot extend run .*: 200 rows of the run"):
        extend(found, new, Counted())
    with pytest.raises(InputError, match="no row is new"):
        extend(found, found.dataset, Counted())
    memory = elicit(part(data, set(data.ids[:40])), Counted(), calls_per_example=2)
    with pytest.raises(InputError, match="the run is in memory"):
        predict(memory, new, Counted())


@pytest.mark.slow
def test_a_grown_table_asks_its_new_rows_alone(
    world: tuple[Found, Dataset, Dataset, Gold], tmp_path: Path
) -> None:
    found, new, data, gold = world
    path = tmp_path / "s.db"
    path.write_bytes(Path(str(found.place)).with_name("before.db").read_bytes())
    with Store(path) as store:
        run = store.run(found.run.id)
        own = solve_run(store, run.id, found.dataset, settings_from(run.settings))
    told = own.corrected({found.dataset.ids[0]: data.task.classes[0]})
    # A new row that means the same as an old one has its label.
    tied = data.with_relations([Equal((found.dataset.ids[0], new.ids[0]))])
    model = Counted()
    grown = extend(told, tied, model)
    assert {r.query.target for r in model.asked} == set(new.ids)
    assert len(model.asked) == grown.asked.calls == 200
    assert len(grown.dataset) == 300 and grown.corrections == told.corrections
    at = [tied.index[id] for id in new.ids]
    assert grown.soft_labels[at[0], 0] == 1.0
    assert accuracy(grown.soft_labels[at], new, gold) > 0.8
    old = [tied.index[id] for id in found.dataset.ids]
    same = grown.soft_labels[old].argmax(axis=1) == told.soft_labels.argmax(axis=1)
    assert same.mean() > 0.95
    with Store(path) as store:
        assert store.verify() == []
        run = store.run()
        assert run.id == grown.run.id and run.settings["extends"] == found.run.id
        again = solve_run(store, run.id, store.dataset(run.dataset), settings_from(run.settings))
    assert np.array_equal(again.soft_labels, grown.soft_labels)


def test_calibrated_labels_calibrate_new_ones(
    world: tuple[Found, Dataset, Dataset, Gold],
) -> None:
    found, new, data, gold = world
    marks = {id: data.task.classes[gold.labels[id]] for id in found.dataset.ids[:60]}
    plain = predict(found, new, Counted())
    for method in ("temperature", "platt"):
        calibrated = found.calibrated(marks, method)
        made = predict(calibrated, new, Counted())
        assert made.asked.calls == 0
        # The scaling that was fitted, applied to what these rows would have without it.
        raw = plain.soft_labels if found.doubt == 1 else None
        assert raw is not None and calibrated.calibration is not None
        odds = np.log(raw[:, 1] / raw[:, 0])
        of = calibrated.calibration.parameters
        line = odds / of["temperature"][0] if "temperature" in of else None
        if line is None:
            line = of["slope"][0] * odds + of["shift"][0]
        assert np.log(made.soft_labels[:, 1] / made.soft_labels[:, 0]) == pytest.approx(
            line, rel=1e-5, abs=1e-5
        )


def test_a_label_that_the_run_gave_without_an_answer_stays() -> None:
    data, gold = world_dataset(WORLD, 60)
    silent, partner, vouched = data.ids[3:6]
    tied = Dataset("d", data.examples, [Equal((silent, partner))], task=data.task)
    model = Counted((data.texts[3], silent, vouched))
    with Store() as store:
        found = elicit(tied, model, calls_per_example=4, store=store)
        some = {id: gold.labels[id] for id in [vouched, *data.ids[10:30]]}
        for run in (found, found.calibrated(some)):
            own = run.labels.set_index("id")
            again = predict(run, tied, model, store=store).labels.set_index("id")
            assert own.loc[silent, "predictions"] == 0 and own.loc[silent, "label"] in (0, 1)
            columns = ["label", "name", "probability", "predictions"]
            pd.testing.assert_frame_equal(
                again.loc[list(tied.ids), columns], own[columns], check_dtype=False
            )


@pytest.mark.parametrize("name", ["noisy", "k4"])
def test_a_grown_table_keeps_the_classes_that_landmarks_named(name: str) -> None:
    """Of neutral sets landmarks say which class is which; new rows are shown the same classes."""
    data, gold = world_dataset(name, 160)
    later = set(data.ids[::2])
    old = part(data, set(data.ids) - later)
    marks = {id: data.task.classes[gold.labels[id]] for id in old.ids[:20]}
    settings, model = Settings(calls_per_example=8, framings=("sets",)), SimulatedModel(name)
    with Store(":memory:") as store:
        found = elicit(old, model, settings=settings, store=store)
        named = found.calibrated(marks, "none")
        assert named.orientation is not None
        assert named.orientation.order != tuple(range(data.task.k))
        grown = extend(named, data, model, store=store)
        # What is asked does not depend on what landmarks call the classes.
        plain = extend(found, data, model, store=store)
        assert grown.run.id == plain.run.id
        assert plain.asked.calls == 0
    assert grown.calibration is not None
    assert set(grown.calibration.landmarks.ids) == set(marks)
    if name == "noisy":
        assert accuracy(grown.soft_labels, data, gold) > 0.8


def test_runs_solved_together_are_not_extended_and_nothing_is_asked() -> None:
    data, _ = world_dataset(WORLD, 60)
    old = part(data, set(data.ids[:40]))
    with Store(":memory:") as store:
        runs = [
            elicit(old, Counted(), calls_per_example=3, store=store, seed=seed) for seed in (0, 1)
        ]
        model = Counted()
        with pytest.raises(InputError, match="extend one of them"):
            extend(together(runs), data, model, store=store)
    assert not model.asked
