"""What was found: its tables, and the reasons behind each label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from consilience.data.dataset import Dataset, Example, Gold
from consilience.data.relations import AtMostOne, Opposite
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS

SETTINGS = Settings(calls_per_example=4.0, plan=PlanSettings(shots=4), settled=0.0)


def found_on(data: Dataset, world: str) -> Found:
    return elicit(data, SimulatedModel(world), settings=SETTINGS, solver=LBFGS(starts=1))


@pytest.fixture(scope="module")
def found() -> Found:
    bare, _ = world_dataset("grouped", 24)
    ids = bare.ids
    fact = AtMostOne((ids[0], ids[5]))
    data = Dataset("grouped", bare.examples, [*bare.relations, fact], note=bare.note)
    return found_on(data, "grouped")


@pytest.fixture(scope="module")
def four() -> Found:
    return found_on(world_dataset("k4", 12)[0], "k4")


@pytest.mark.parametrize("which", ["found", "four"])
def test_the_table_of_labels(which: str, request: pytest.FixtureRequest) -> None:
    made: Found = request.getfixturevalue(which)
    q, labels, classes = made.solution.labels, made.labels, made.dataset.task.classes
    assert list(labels.columns) == [
        *("id", "label", "name", "probability", "epistemic", "aleatoric", "structural"),
        *("predictions", "open"),
        *(f"p_{name}" for name in classes),
    ]
    first, second = np.sort(q, axis=1)[:, [-1, -2]].T
    np.testing.assert_array_equal(labels["open"], first < 3 * second)
    assert tuple(labels["id"]) == made.dataset.ids
    np.testing.assert_array_equal(labels["probability"], q.max(axis=1))
    np.testing.assert_array_equal(labels["label"], q.argmax(axis=1))
    assert list(labels["name"]) == [classes[label] for label in labels["label"]]
    np.testing.assert_array_equal(labels[[f"p_{name}" for name in classes]], q)
    np.testing.assert_allclose(q.sum(axis=1), 1)
    assert (labels["predictions"] == 4).all()


@pytest.mark.parametrize("which", ["found", "four"])
def test_uncertainties_are_entropies(which: str, request: pytest.FixtureRequest) -> None:
    made: Found = request.getfixturevalue(which)
    epistemic, aleatoric = made.labels["epistemic"], made.labels["aleatoric"]
    assert (epistemic >= 0).all()
    assert (aleatoric >= 0).all()
    assert ((epistemic + aleatoric) <= np.log(made.dataset.task.k) + 1e-9).all()
    assert epistemic.max() > 1e-4
    # The least sure by their labels are the least sure by these.
    total = (epistemic + aleatoric).to_numpy()
    unsure = -np.sort(made.solution.labels, axis=1)[:, -1]
    assert np.corrcoef(total, unsure)[0, 1] > 0.8


@pytest.mark.parametrize("which", ["found", "four"])
def test_an_explanation_has_the_predictions_of_the_example(
    which: str, request: pytest.FixtureRequest
) -> None:
    made: Found = request.getfixturevalue(which)
    evidence = made.evidence
    for i, id in enumerate(made.dataset.ids):
        rows = made.explain(id)
        rows = rows[rows["kind"].isin(["zero-shot", "with shots"])]
        mine = np.flatnonzero(evidence.predictions.target.numpy() == i)
        assert list(rows["round"]) == evidence.predictions.round.numpy()[mine].tolist()
        framings = [evidence.framings[f] for f in evidence.predictions.framing.numpy()[mine]]
        assert list(rows["what"]) == framings
        assert list(rows["kind"] == "zero-shot") == evidence.predictions.zero.numpy()[mine].tolist()
        np.testing.assert_allclose(
            rows["relevance"].astype(float), made.solution.relevance[mine], atol=1e-6
        )
    assert made.explain(made.dataset.ids[0])["log_odds"].notna().any()


def test_an_explanation_names_facts_and_priors_and_what_the_others_are(found: Found) -> None:
    ids = found.dataset.ids
    labels = found.labels.set_index("id")["label"]
    rows = found.explain(ids[0]).set_index("kind")
    assert rows.loc["logical fact", "what"] == f"at-most-one: {ids[5]}={labels[ids[5]]}"
    (prior,) = [r for r in found.dataset.relations if r.prior and ids[0] in r.members]
    others = ", ".join(f"{m}={labels[m]}" for m in prior.members if m != ids[0])
    assert rows.loc["design prior, not counted", "what"] == f"exactly-one: {others}"
    assert "logical fact" not in set(found.explain(ids[1])["kind"])
    counted = replace(
        found, run=replace(found.run, settings={**found.run.settings, "priors": True})
    )
    assert "design prior" in set(counted.explain(ids[0])["kind"])


@pytest.mark.parametrize("id", ["", "nobody"])
def test_an_example_that_is_not_there_is_said_not_to_be(found: Found, id: str) -> None:
    with pytest.raises(InputError, match=r"ids are in `table\(\)`"):
        found.explain(id)


READERS: dict[str, Any] = {
    "csv": lambda path: pd.read_csv(path, dtype={"id": str, "label": str}, keep_default_na=False),
    "jsonl": lambda path: pd.read_json(
        path, lines=True, dtype={"id": str, "label": str}, precise_float=True
    ),
    "parquet": pd.read_parquet,
}


@pytest.mark.parametrize("suffix", READERS)
def test_what_is_written_is_the_table(found: Found, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels.{suffix}"
    found.export(path)
    table = found.table()
    assert list(table.columns) == [
        *("id", "text", "group", "label", "probability", "uncertainty", "open")
    ]
    assert tuple(table["id"]) == found.dataset.ids
    assert tuple(table["text"]) == found.dataset.texts
    assert tuple(table["group"]) == found.dataset.groups
    pd.testing.assert_frame_equal(READERS[suffix](path), table, check_dtype=False, rtol=1e-12)


def test_a_file_of_another_kind_is_refused(found: Found, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the suffix is the format"):
        found.export(tmp_path / "labels.xls")


def test_looking_changes_nothing(found: Found) -> None:
    before = found.solution.labels.copy()
    for id in found.dataset.ids[:3]:
        found.explain(id)
    found.labels["label"].sum()
    table = found.table()
    table["probability"] = 0.0
    np.testing.assert_array_equal(found.solution.labels, before)
    assert (found.labels["probability"] >= 0.5).all()
    assert Gold not in {type(value) for value in vars(found).values()}


def test_a_fact_that_is_violated_by_the_answers_is_kept_by_the_labels() -> None:
    bare = Dataset("pair", [Example("The lamp is lit."), Example("The lamp is not lit.")])
    data = Dataset("pair", bare.examples, [Opposite(bare.ids)])
    # Asked in one framing the two are exactly alike, and nothing tells which one is false.
    settings = replace(SETTINGS, calls_per_example=8.0)
    made = elicit(data, SimulatedModel("noisy"), settings=settings, solver=LBFGS(starts=1))
    assert set(made.labels["label"]) == {0, 1}


@pytest.mark.parametrize("which", ["found", "four"])
def test_the_table_of_predictions(which: str, request: pytest.FixtureRequest) -> None:
    made: Found = request.getfixturevalue(which)
    classes, table = made.dataset.task.classes, made.prediction_table()
    assert list(table.columns) == [
        *("key", "target", "framing", "repeat", "contrast", "shots"),
        *(f"logp_{name}" for name in classes),
        *("exact", "mass", "seconds"),
    ]
    assert list(table["key"]) == list(made.predictions) and table["key"].is_unique
    for row, said in zip(table.to_dict("records"), made.predictions.values(), strict=True):
        assert [row[f"logp_{name}"] for name in classes] == list(said.logprobs)
        assert row["shots"] == [(id, classes[c]) for id, c in said.query.shots]
        assert (row["target"], row["framing"]) == (said.query.target, said.query.framing)
        assert (row["exact"], row["mass"]) == (all(said.exact), said.mass)
