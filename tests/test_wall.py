"""The wall: nothing from the prompts to the labels can receive gold, and none of it matters."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import consilience
from consilience.data import relations
from consilience.data.dataset import Dataset, Gold
from consilience.data.task import Task
from consilience.datasets import load_dataset
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.solvers.lbfgs import LBFGS
from made_up import claims, write_csv
from recorder import Recorder
from signatures import signatures

OPEN = {
    # What gold is made of and kept in, and the table of the user, who may have it there.
    *("data.dataset", "data.readers", "data.export", "datasets"),
    *("data.frames", "data.result_table"),
    # What scores with it, and what a person sees.
    *("evaluation", "cli", "__main__"),
}
"""Modules that may know gold, and packages whose modules may."""

COMPETITORS = "evaluation.baselines."
"""They compete without gold, but for the one module that is told it."""

TOLD = {"evaluation.baselines.golden"}

EVERY = sorted(
    found.name.removeprefix("consilience.")
    for found in pkgutil.walk_packages(consilience.__path__, "consilience.")
)

BEHIND = [
    name
    for name in EVERY
    if name not in OPEN | TOLD
    and (name.partition(".")[0] not in OPEN or name.startswith(COMPETITORS))
]
"""Every module between the data set and the labels: all that the package has, but those."""

WALLED = {"planning", "evidence", "objective", "solvers", "concepts", "results", "elicitation"}
"""The packages between what is asked and the labels; all of their modules are behind the wall."""

MAKES_GOLD = {"models.simulated"}
"""Returns the truth of a world beside its data set, and takes none: the one exception."""

SETTINGS = Settings(calls_per_example=3.0, plan=PlanSettings(shots=4, block=6))


def module(name: str) -> ModuleType:
    return import_module(f"consilience.{name}")


def test_no_module_of_the_walled_packages_is_left_out() -> None:
    files = {
        (Path(name) / file.relative_to(folder).with_suffix("")).as_posix().replace("/", ".")
        for name in WALLED
        for folder in [Path(consilience.__path__[0]) / name]
        for file in folder.rglob("*.py")
        if file.name != "__init__.py"
    }
    assert len(files) > 30
    assert files <= set(BEHIND)


def test_gold_is_not_even_a_name_behind_the_wall() -> None:
    inside = {name: vars(module(name)) for name in set(BEHIND) - MAKES_GOLD}
    # Compared by what it is: some names stand for arrays.
    held = [n for n, names in inside.items() if any(value is Gold for value in names.values())]
    assert held == []
    assert [name for name, names in inside.items() if "Gold" in names] == []


def test_no_function_behind_the_wall_takes_gold() -> None:
    taken = [(name, *each) for name in BEHIND for each in signatures(module(name))]
    assert len(taken) > 2000
    annotated = [(name, f) for name, f, p in taken if "Gold" in str(p.annotation)]
    called = ("gold", "truth", "golden", "reference")
    assert annotated == []
    assert [(name, f, p.name) for name, f, p in taken if p.name in called] == []


def test_the_search_for_signatures_finds_what_does_take_gold() -> None:
    for name, function in (
        ("evaluation.evaluation", "evaluate.evaluate"),
        ("evaluation.baselines.golden", "golden_shots.golden_shots"),
    ):
        assert (function, "gold") in [(f, p.name) for f, p in signatures(module(name))]


def test_relations_have_no_argument_that_could_hold_the_labels_of_a_data_set() -> None:
    takers = {f for f, p in signatures(relations) if p.name in ("labels", "label", "y")}
    # `holds` is put to candidate labellings; `label` is the class that a relation speaks of.
    assert {name.partition(".")[2] for name in takers} == {"holds", "__init__"}
    assert not any(f.startswith("Relation.of") for f in takers)
    maker = inspect.signature(Dataset.from_records)
    assert "label" not in maker.parameters
    assert "labels" not in maker.parameters


def test_a_world_gives_the_same_labels_whatever_its_gold(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(data: Dataset) -> Any:
        model = SimulatedModel("grouped")
        return elicit(data, model, settings=SETTINGS, solver=LBFGS(starts=2)).labels

    data, gold = world_dataset("grouped", 24)
    before = found(data)
    turned = {id: 1 - label for id, label in gold.labels.items()}
    for spoilt in (turned, {}, dict.fromkeys(gold.labels, 1)):
        object.__setattr__(gold, "labels", spoilt)
        again, _ = world_dataset("grouped", 24)
        assert found(again).equals(before)

    def refused(*given: Any) -> None:
        raise AssertionError("gold was made")

    # And where nobody can make any.
    monkeypatch.setattr("consilience.data.dataset.Gold.__init__", refused)
    assert found(data).equals(before)


def test_a_file_gives_the_same_labels_whatever_its_gold(tmp_path: Path) -> None:
    rows = claims(16)
    turned = {"True": "False", "False": "True"}
    shuffled = [r["truth"] for r in rows[5:] + rows[:5]]
    variants = {
        "as it is": rows,
        "turned": [r | {"truth": turned[r["truth"]]} for r in rows],
        "shuffled": [r | {"truth": t} for r, t in zip(rows, shuffled, strict=True)],
        "one": [rows[0], *(r | {"truth": ""} for r in rows[1:])],
        "absent": [{k: v for k, v in r.items() if k != "truth"} for r in rows],
    }
    tables, sent, golds = [], [], []
    for name, made in variants.items():
        data, gold = load_dataset(
            write_csv(made, tmp_path / f"{name}.csv"),
            text="{question} {claim}",
            group="question",
            relations={"exactly-one": True},
            label=None if name == "absent" else "truth",
            task=Task(),
        )
        model = Recorder()
        found = elicit(data, model, settings=SETTINGS, solver=LBFGS(starts=2), concurrency=1)
        tables.append(found.table().drop(columns="truth", errors="ignore"))
        sent.append([str(request.prompt) for request in model.asked])
        golds.append(gold and dict(gold.labels))
    assert golds[0] != golds[1] != golds[2]
    assert (len(golds[3]), golds[4]) == (1, None)
    assert all(table.equals(tables[0]) for table in tables)
    assert all(prompts == sent[0] for prompts in sent)
