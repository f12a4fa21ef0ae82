"""The census on the command line: what is said of it, what landmarks choose, what is left out."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from command import Done, consilience
from consilience.cli.concepts import within
from consilience.cli.results import opened
from consilience.concepts.concept import Concept
from consilience.data.arrays import saying
from consilience.data.dataset import Dataset
from consilience.models.simulated import WORLDS, true_label, world_dataset
from consilience.results.result import Found
from describing import Sorter, honest, told
from made_up import TASK_OPTIONS, write_csv
from wire_client import KEYS
from wire_server import MODEL, serve

RUN = ["run", "distractor", "--model", "simulated:distractor"]
GROUPS = ["--set", "data.groups=200"]
ASK = "If the first is not the one meant: vouch for these rows"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "OPENAI_BASE_URL", "CONSILIENCE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


class Kept(NamedTuple):
    """A store, what its run printed as JSON, and the talk beside it."""

    store: Path
    report: dict[str, Any]
    talk: str


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    path = tmp_path_factory.mktemp("stored") / "s.db"
    done = consilience(*RUN, *GROUPS, "--store", path, "--json")
    return Kept(path, json.loads(done.stdout), done.stderr)


@pytest.fixture(scope="module")
def found(kept: Kept) -> Found:
    """The run, solved again from its store."""
    return opened(str(kept.store), None)


@pytest.fixture
def store(kept: Kept, tmp_path: Path) -> Path:
    return Path(shutil.copy(kept.store, tmp_path / "s.db"))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def truth(id: str) -> int:
    return true_label(WORLDS["distractor"], 0, id)


def right(report: dict[str, Any]) -> float:
    return float(np.mean([row["label"] == str(bool(truth(row["id"]))) for row in report["labels"]]))


def vouched(report: dict[str, Any]) -> list[object]:
    """The option that vouches for what was asked, written to a file."""
    rows = [{"id": row["id"], "label": str(truth(row["id"]))} for row in report["questions"]]
    assert len(rows) == 3
    return ["--landmarks", write_csv(rows, Path("known.csv"))]


# ---- what is said -------------------------------------------------------------------------------


def test_a_run_says_what_it_found_and_what_to_vouch_for(kept: Kept, found: Found) -> None:
    count = len(found.concepts)
    assert count > 1
    [line] = [line for line in kept.talk.splitlines() if line.startswith("Concepts: ")]
    assert line.startswith(f"Concepts: {count} found on ")
    assert all(f"{concept.support:.3f}" in line for concept in found.concepts)
    assert "chosen by" not in line
    assert f"Verdict: {found.verdict}." in kept.talk
    *_, talk = kept.talk.split(ASK)
    named = talk.splitlines()[1:4]
    assert [line.split()[0] for line in named] == found.questions(3)
    for line, id in zip(named, found.questions(3), strict=True):
        assert line.endswith(found.dataset.texts[found.dataset.index[id]])
    # A store says the same.
    solved = consilience("solve", "--store", kept.store).stderr
    assert line in solved and all(line in solved for line in named)


def test_the_same_as_json(kept: Kept, found: Found) -> None:
    report = kept.report
    assert report["verdict"] == {
        "kind": found.verdict.kind.value,
        "information": pytest.approx(found.verdict.information),
        "decided": pytest.approx(found.verdict.decided),
        "reasons": list(found.verdict.reasons),
    }
    assert [row["number"] for row in report["concepts"]] == [
        n + 1 for n in range(len(found.concepts))
    ]
    for row, concept in zip(report["concepts"], found.concepts, strict=True):
        for name in ("support", "lead", "error", "confidence"):
            assert row[name] == pytest.approx(getattr(concept, name))
    assert [row["id"] for row in report["questions"]] == found.questions(3)


def test_concepts_are_listed_with_typical_examples(kept: Kept, found: Found) -> None:
    words = ["concepts", "--store", kept.store, "--typical", 3]
    done = json.loads(consilience(*words, "--json").stdout)
    assert done["run"] == found.run.id == kept.report["run"]
    assert done["questions"] == kept.report["questions"]
    assert len(done["concepts"]) == len(found.concepts)
    names = found.dataset.task.classes
    for row, concept, known in zip(
        done["concepts"], found.concepts, kept.report["concepts"], strict=True
    ):
        assert {key: row[key] for key in known} == known
        assert [e["class"] for e in row["typical"]] == [names[0]] * 3 + [names[1]] * 3
        for example in row["typical"]:
            own = concept.labels[found.dataset.index[example["id"]]]
            assert names[own.argmax()] == example["class"]
            assert example["probability"] == pytest.approx(own.max()) and own.max() > 0.5
    printed = consilience(*words).stdout
    for row in done["concepts"]:
        assert f"Concept {row['number']}: {row['examples']} examples, support " in printed
        assert all(example["text"] in printed for example in row["typical"])
    assert all(row["id"] in printed for row in done["questions"])


def test_examples_without_a_label_are_not_of_a_concept() -> None:
    data, _ = world_dataset("noisy", 12)
    labels = np.full((12, 2), 0.5)
    inside = [1, 4, 5, 11]
    labels[inside] = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.501, 0.499]]
    concept = Concept(0, labels, 0.0, 0.0, 0.0, 0.0)
    assert np.flatnonzero(saying(concept.labels)).tolist() == inside
    some, own = within(data, concept)
    assert isinstance(some, Dataset)
    assert list(some.ids) == [data.ids[i] for i in inside]
    assert own.tolist() == labels[inside].tolist()
    assert some.task == data.task and not some.relations


@pytest.mark.parametrize(
    "why",
    [
        ["--set", "data.groups=40"],
        pytest.param([*GROUPS, "--set", "planning.census=0"], marks=pytest.mark.slow),
    ],
)
def test_a_run_without_a_census(why: list[object]) -> None:
    done = consilience(*RUN, *why, "--calls-per-example", 4, "--store", "none.db", "--json")
    report = json.loads(done.stdout)
    assert report["concepts"] == report["questions"] == []
    assert "Concepts:" not in done.stderr and ASK not in done.stderr
    assert "Verdict: " in done.stderr and report["verdict"]["kind"] in done.stderr
    for words in (["concepts"], ["describe", "--concept", 1, "--model", "simulated:easy"]):
        failed = consilience(*words, "--store", "none.db", code=2)
        assert f"run {report['run']} had no census" in failed.stderr
        assert failed.stderr.count("\n") == 1 and failed.stdout == ""


# ---- landmarks choose ---------------------------------------------------------------------------


@pytest.mark.slow
def test_landmarks_choose_the_truth_before_the_budget_is_spent(kept: Kept, store: Path) -> None:
    more = [*vouched(kept.report), "--set", "landmarks.calibration=none", "--store", store]
    done = consilience(*RUN, *GROUPS, *more, "--json")
    report = json.loads(done.stdout)
    assert report["run"] != kept.report["run"]
    assert right(kept.report) < 0.65 < 0.75 < right(report)
    assert "; chosen by 3 landmarks." in done.stderr
    assert ASK not in done.stderr
    # What the first run asked zero-shot is not asked again.
    assert report["calls"] <= 1600 - 400
    # What the landmarks chose stays chosen when the store is read.
    assert "chosen by 3 landmarks" in consilience("solve", "--store", store).stderr


@pytest.mark.slow
def test_a_plan_with_landmarks_is_of_the_same_run(kept: Kept) -> None:
    more = [*GROUPS, *vouched(kept.report), "--calls-per-example", 6, "--store", "steps.db"]
    plan = ["plan", *RUN[1:], *more, "--output", "round.jsonl"]
    asked = 0
    for _ in range(3):
        consilience(*plan)
        done = consilience("ask", "round.jsonl", *RUN[2:], "--json")
        asked += json.loads(done.stdout)["calls"]
    head = json.loads(Path("round.jsonl").read_text().splitlines()[0])
    assert head["round"] == 2
    done = consilience(*RUN, *more, "--set", "landmarks.calibration=none", "--json")
    report = json.loads(done.stdout)
    assert report["run"] == head["run"]
    assert report["concepts"] and report["calls"] <= 1200 - asked
    assert "nothing is left to ask" in consilience(*plan).stderr
    # Another share, or no landmarks, is another run.
    for other in (
        ["--set", "planning.census=0.2", *more],
        [w for w in more if w not in vouched(kept.report)],
    ):
        consilience("plan", *RUN[1:], *other, "--output", "other.jsonl")
        assert json.loads(Path("other.jsonl").read_text().splitlines()[0])["run"] != head["run"]


def test_a_share_that_is_none_is_misuse() -> None:
    for share in ("1", "-0.1", "nan"):
        failed = consilience(*RUN, "--set", f"planning.census={share}", code=2)
        assert "planning.census" in failed.stderr and failed.stderr.count("\n") == 1


# ---- abstention ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_open_labels_are_left_out_on_demand(kept: Kept, store: Path) -> None:
    consilience("export", "all.csv", "--store", store)
    done = consilience("export", "some.csv", "--store", store, "--decided-only")
    all_of_them, some = (rows_of(Path(f"{name}.csv").read_text()) for name in ("all", "some"))
    left = [row for row in all_of_them if row["open"] == "false"]
    assert some == left and 0 < len(left) < len(all_of_them) == 200
    assert f"{200 - len(left)} of 200 labels are open and left out" in done.stderr
    assert f"{len(left)} rows written to some.csv" in done.stderr
    again = ["--store", store, "--output", "run.csv", "--set", "output.decided_only=yes"]
    done = consilience(*RUN, *GROUPS, *again)
    assert Path("run.csv").read_text() == Path("some.csv").read_text()
    assert done.stderr.count("labels are open and left out") == 1
    assert kept.report["verdict"]["decided"] == pytest.approx(len(left) / 200)


# ---- describe -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run that had a census, of a model whose concept is the state of things."""
    folder = tmp_path_factory.mktemp("described")
    data = write_csv(told(), folder / "claims.csv")
    how = [
        "--text",
        "{claim}",
        *TASK_OPTIONS,
        "--calls-per-example",
        12,
        "--set",
        "planning.census=0.9",
    ]
    with serve("vllm", model=Sorter(True)) as server:
        model = ["--model", f"openai:{MODEL}", "--base-url", server.url]
        consilience("run", data, *how, *model, "--store", folder / "s.db")
    return folder / "s.db"


def describe(server: Any, store: Path, *more: object, code: int = 0) -> Done:
    model = ["--model", f"openai:{MODEL}", "--base-url", server.url]
    small = [
        "--set",
        "describing.orders=2",
        "--set",
        "describing.typical=4",
        "--set",
        "describing.check=6",
    ]
    return consilience("describe", "--store", store, *model, *small, *more, code=code)


@pytest.mark.slow
def test_a_concept_is_put_into_words_on_its_sample(
    claims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Path(shutil.copy(claims, tmp_path / "s.db"))
    found = opened(str(store), None)
    # Here a runoff may have asked about everybody; ten examples are taken out of the sample.
    labels = found.concepts[0].labels.copy()
    labels[:10] = 0.5
    found = replace(found, concepts=(replace(found.concepts[0], labels=labels),))
    command = import_module("consilience.cli.describe")
    monkeypatch.setattr(command, "opened", lambda *given, **options: found)
    inside = {found.dataset.ids[i] for i in np.flatnonzero(saying(found.concepts[0].labels))}
    with serve("vllm", model=Sorter(True), writes=honest) as server:
        cost = json.loads(describe(server, store, "--concept", 1, "--dry-run", "--json").stdout)
        done = describe(server, store, "--concept", "1")
        plain = json.loads(describe(server, store, "--concept", "all", "--json").stdout)
        both = describe(server, store, "--concept", 1, "--optimum", 0, code=2)
        wrong = [describe(server, store, "--concept", n, code=2) for n in ("0", "9", "x")]
    assert cost["calls"] == 26
    assert done.stdout.startswith("Concept 1: ")
    assert "support " in done.stdout and "reproduces 100% of the labels" in done.stdout
    assert "concept 1: 26 calls made" in done.stderr
    assert len(plain["labellings"]) == len(found.concepts)
    first = plain["labellings"][0]
    assert first["concept"] == 1 and first["support"] == pytest.approx(found.concepts[0].support)
    assert sum(first["counts"].values()) == first["examples"] == len(inside)
    assert 20 <= len(inside) < len(found.dataset)
    assert {example["id"] for example in first["typical"]} <= inside
    assert "leave one out" in both.stderr
    for failed in wrong:
        assert "this run has 1" in failed.stderr and failed.stderr.count("\n") == 1
