"""Landmarks on the command line: what they change, and mistakes found before anything is spent."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from command import consilience
from made_up import FILE_OPTIONS, TASK_OPTIONS, claims, write_csv
from wire_client import KEYS
from wire_model import PseudoModel
from wire_server import serve

SMALL = ["--calls-per-example", 3, "--set", "planning.settled=0", "--set", "planning.shots=4"]

DETAILS = ("--set", "output.details=yes")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "OPENAI_BASE_URL", "CONSILIENCE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(claims(24), tmp_path_factory.mktemp("data") / "claims.csv")


@pytest.fixture(scope="module")
def store(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "s.db"
    consilience(*simulated(data), "--store", path)
    return path


def simulated(data: Path, *more: object) -> list[object]:
    return ["run", data, *FILE_OPTIONS, "--model", "simulated:noisy", *SMALL, *more]


def labels(printed: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(printed)))


def marks(count: int = 8, **other: str) -> list[dict[str, str]]:
    """The first rows of the data with their label, as a user who knows them would give them."""
    rows = [{"text": f"{r['question']} {r['claim']}", "label": r["truth"]} for r in claims(24)]
    return [row | other for row in rows[:count]]


def the_line(done: Any) -> str:
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return str(done.stderr)


def test_landmarks_calibrate_and_are_marked(store: Path) -> None:
    write_csv(marks(), Path("known.csv"))
    before = consilience("solve", "--store", store, "--details")
    assert "Probabilities are uncalibrated." in before.stderr
    done = consilience("solve", "--store", store, "--landmarks", "known.csv", "--details")
    assert "Probabilities are calibrated by temperature " in done.stderr
    assert "Orientation: by the meaning of the label names; " in done.stderr
    said = {row["text"]: row["label"] for row in marks()}
    for old, new in zip(labels(before.stdout), labels(done.stdout), strict=True):
        assert new["row"] == old["row"]
        text = f"{new['question']} {new['claim']}"
        assert (new["landmark"] == "true") == (text in said)
        assert new["label"] == said.get(text, old["label"])
    consilience("export", "labels.csv", "--store", store, "--landmarks", "known.csv")
    exported = labels(Path("labels.csv").read_text())
    assert [row["label"] for row in exported] == [row["label"] for row in labels(done.stdout)]


def test_a_run_and_its_store_are_calibrated_alike(data: Path) -> None:
    rows = [row | {"label": row["truth"]} for row in claims(24)[:8]]
    write_csv(rows, Path("known.csv"))
    write_csv(marks(), Path("texts.csv"))
    more = ["--landmarks", "known.csv", "--set", "landmarks.calibration=temperature"]
    run = consilience(*simulated(data, "--store", "s.db", *more))
    solved = consilience("solve", "--store", "s.db", "--landmarks", "texts.csv", *more[2:])
    assert run.stdout == solved.stdout
    report = json.loads(
        consilience(*simulated(data, "--store", "s.db", *more, "--json", *DETAILS)).stdout
    )
    assert report["probabilities"].startswith("calibrated by temperature ")
    assert sum(row["landmark"] for row in report["labels"]) == 8


def test_landmarks_are_not_scored(data: Path, store: Path) -> None:
    write_csv([row | {"label": row["truth"]} for row in claims(24)[:8]], Path("known.csv"))
    words = ["evaluate", data, *FILE_OPTIONS, "--label", "truth", "--store", store]
    done = consilience(*words, "--landmarks", "known.csv")
    assert "The 8 landmarks are left out of every score." in done.stdout
    assert "Probabilities are calibrated by temperature " in done.stdout
    assert "uncalibrated" in consilience(*words).stdout
    table = json.loads(consilience(*words, "--landmarks", "known.csv", "--json").stdout)
    write_csv([row | {"label": row["truth"]} for row in claims(24)[:2]], Path("few.csv"))
    few = [*words, "--landmarks", "few.csv"]
    assert "needs 5 landmarks or more, got 2" in the_line(consilience(*few, code=2))
    assert (
        "2 landmarks are left out"
        in consilience(*few, "--set", "landmarks.calibration=none").stdout
    )
    assert table[-1]["method"] == "consilience"


BAD = {
    "an id": ([{"id": "nobody", "label": "True"}], "known.csv, row 1 (line 2), landmark 'nobody'"),
    "a text": (marks(8, text="x"), "landmark 'x': no such example"),
    "a label": (marks(8, label="maybe"), "'maybe' is none of the classes False, True"),
    "few": (marks(4), "needs 5 landmarks or more, got 4"),
    "one class": (marks(8, label="True"), "of two classes or more"),
    "no label": (marks(8, label=""), "there is no landmark"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_found_before_anything_is_sent(data: Path, store: Path, case: str) -> None:
    rows, message = BAD[case]
    write_csv(rows, Path("known.csv"))
    copy = [{"text": f"{r['question']} {r['claim']}"} for r in claims(24)]
    write_csv(copy, Path("texts.csv"))
    with serve("vllm", model=PseudoModel(world=True)) as server:
        run = [
            "run",
            "texts.csv",
            *TASK_OPTIONS,
            "--model",
            "openai:tiny",
            "--base-url",
            server.url,
            *SMALL,
        ]
        for words in (run, ["solve", "--store", store]):
            line = the_line(consilience(*words, "--landmarks", "known.csv", code=2))
            assert message in line
        assert server.requests == []
    assert not Path("consilience.db").exists()


def test_options_that_do_nothing_are_refused(store: Path) -> None:
    for method in ("temperature", "platt", "none"):
        words = ["solve", "--store", store, "--set", f"landmarks.calibration={method}"]
        assert "is done by landmarks" in the_line(consilience(*words, code=2))
    line = the_line(consilience("solve", "--store", store, "--landmarks", "no.csv", code=2))
    assert "no.csv does not exist" in line
