"""Doubtful rows go out, corrections come back, new rows follow, training files go."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from command import consilience
from consilience.results.corrections import OF_RUN
from consilience.store.database import Store
from made_up import TASK_OPTIONS, write_csv
from wire_client import KEYS

MODEL = ["--model", "simulated:noisy"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "OPENAI_BASE_URL", "CONSILIENCE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


MANY = 30
"""So many rows were labelled: too few for anything to be fitted to their distribution."""


def tickets(first: int, count: int) -> list[dict[str, str]]:
    numbers = range(first, first + count)
    return [{"ticket": f"T-{i}", "message": f"The lamp number {i} is lit."} for i in numbers]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of a run and its labels."""
    folder = tmp_path_factory.mktemp("kept")
    data = write_csv(tickets(0, MANY), folder / "tickets.csv")
    words = ["--text", "message", "--id", "ticket", *TASK_OPTIONS]
    spent = ["--calls-per-example", 4, "--set", "planning.shots=4", "--output", folder / "l.csv"]
    consilience("run", data, *words, *MODEL, *spent, "--store", folder / "s.db")
    return folder


@pytest.fixture
def store(kept: Path, tmp_path: Path) -> Path:
    """A store of one's own, and the labels of its run beside it."""
    for path in kept.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / "s.db"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_way_of_a_correction(store: Path, tmp_path: Path) -> None:
    shown = consilience("review", "--store", store, "--count", 5)
    assert "0 corrections so far" in shown.stderr
    assert shown.stdout.count("The lamp number") == 5
    consilience("review", "--store", store, "--output", "doubtful.csv")
    doubtful = rows((tmp_path / "doubtful.csv").read_text())
    assert len(doubtful) == MANY and {r["correction"] for r in doubtful} == {""}
    told = {r["ticket"]: "True" if r["label"] == "False" else "False" for r in doubtful[:3]}
    for row in doubtful[:3]:
        row["correction"] = told[row["ticket"]]
    write_csv(doubtful, tmp_path / "doubtful.csv")
    done = consilience(
        "review", "--store", store, "--corrections", "doubtful.csv", "--output", "labels.csv"
    )
    assert "3 corrections, kept in" in done.stderr and "0 calls" in done.stderr
    labels = {r["ticket"]: r for r in rows((tmp_path / "labels.csv").read_text())}
    assert {id: labels[id]["label"] for id in told} == told
    assert all(float(labels[id]["probability"]) == 1 for id in told)
    # They stay: another command knows of them, and the store is sound.
    solved = {r["ticket"]: r["label"] for r in rows(consilience("solve", "--store", store).stdout)}
    assert solved == {id: r["label"] for id, r in labels.items()}
    less = consilience("review", "--store", store, *("--take-back", next(iter(told))))
    assert "2 corrections, kept in" in less.stderr and "0 calls" in less.stderr
    again = consilience("review", "--store", store, *("--take-back", next(iter(told))), code=2)
    assert "was not corrected" in again.stderr
    consilience("store", "verify", store)


def test_landmarks_are_drawn_and_estimate(store: Path, tmp_path: Path) -> None:
    consilience("landmarks", "--store", store, "--count", 20, "--output", "marks.csv")
    marks = rows((tmp_path / "marks.csv").read_text())
    assert len(marks) == 20 and list(marks[0]) == ["ticket", "message", "label"]
    for i, row in enumerate(marks):
        row["label"] = ("False", "True")[i % 2]
    write_csv(marks, tmp_path / "marks.csv")
    made = json.loads(
        consilience("estimate", "--store", store, "--landmarks", "marks.csv", "--json").stdout
    )
    assert [r["of"] for r in made] == ["accuracy", "share of False", "share of True"]
    for one in made:
        assert one["low"] <= one["value"] <= one["high"] and one["landmarks"] == 20
        assert one["high"] - one["low"] <= one["alone_high"] - one["alone_low"] + 1e-12
    assert "name their file" in consilience("estimate", "--store", store, code=2).stderr


def test_new_rows_are_labelled_and_a_grown_table(store: Path, tmp_path: Path) -> None:
    write_csv(tickets(100, 10), tmp_path / "more.csv")
    printed = consilience("predict", "more.csv", "--store", store, *MODEL)
    assert "20 calls made" in printed.stderr
    new = rows(printed.stdout)
    assert [r["ticket"] for r in new] == [f"T-{i}" for i in range(100, 110)]
    assert all(r["label"] in ("False", "True") for r in new)
    again = consilience("predict", "more.csv", "--store", store, *MODEL, "--output", "new.csv")
    assert "0 calls made, 20 answers found" in again.stderr
    assert rows((tmp_path / "new.csv").read_text()) == new
    write_csv([*tickets(0, MANY), *tickets(100, 12)], tmp_path / "grown.csv")
    grown = consilience("predict", "grown.csv", "--extend", "--store", store, *MODEL)
    assert "4 calls made, 20 answers found" in grown.stderr
    assert len(rows(grown.stdout)) == MANY + 12
    assert "not in it" in consilience(
        "predict", "more.csv", "--extend", "--store", store, *MODEL, code=2
    ).stderr  # fmt: skip
    consilience("store", "verify", store)


@pytest.mark.parametrize("form", ["sft", "dpo", "reward", "chat"])
def test_labels_to_train_on(store: Path, tmp_path: Path, form: str) -> None:
    done = consilience("export", "t.jsonl", "--store", store, "--format", form)
    assert f"{MANY} records of {MANY} labelled texts" in done.stderr
    lines = (tmp_path / "t.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == MANY and "The lamp number" in lines[0]


def test_only_sure_labels_to_train_on(store: Path, tmp_path: Path) -> None:
    probabilities = [float(r["probability"]) for r in rows((tmp_path / "l.csv").read_text())]
    least = sorted(probabilities)[20]
    fewer = ["--format", "sft", "--min-probability", least]
    consilience("export", "f.jsonl", "--store", store, *fewer)
    sure = sum(p >= least for p in probabilities)
    assert len((tmp_path / "f.jsonl").read_text("utf-8").splitlines()) == sure


def test_what_does_not_go_together_is_refused(store: Path) -> None:
    for words, said in [
        (["export", "t.csv", "--format", "sft"], "let t.csv end in .jsonl"),
        (["export", "t.csv", "--min-probability", 0.5], "is for --format sft"),
        (["review", "--corrections", "missing.csv"], "missing.csv"),
        (["landmarks", "--count", MANY + 1], f"{MANY + 1} landmarks cannot be drawn from {MANY}"),
        (["predict", "t.csv"], "no model"),
    ]:
        assert said in consilience(*words, "--store", store, code=2).stderr


def test_nothing_that_a_command_reads_is_written_over(store: Path, tmp_path: Path) -> None:
    marks = [{"ticket": f"T-{i}", "label": ("False", "True")[i % 2]} for i in range(20)]
    write_csv(marks, tmp_path / "marks.csv")
    write_csv([{"ticket": "T-1", "correction": "True"}], tmp_path / "mended.csv")
    write_csv(tickets(100, 2), tmp_path / "more.csv")
    (tmp_path / "words.html").write_text("{}")
    shutil.copy(store, tmp_path / "s.html")
    (tmp_path / "linked.csv").symlink_to(tmp_path / "marks.csv")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    landmarks = ["--store", store, "--landmarks", "marks.csv"]
    plan = ["plan", "more.csv", "--text", "message", *TASK_OPTIONS, *MODEL, "--store", "s.db"]
    run = ["run", "more.csv", "--text", "message", *TASK_OPTIONS, *MODEL]
    for words, said in (
        (["solve", *landmarks, "--output", "./marks.csv"], "the file of landmarks"),
        (["solve", *landmarks, "--output", "linked.csv"], "the file of landmarks"),
        (["export", "marks.csv", *landmarks], "the file of landmarks"),
        ([*run, *landmarks, "--output", "marks.csv"], "the file of landmarks"),
        ([*run, "--store", "new.csv", "--output", tmp_path / "new.csv"], "the store"),
        (["review", *landmarks[:2], *_back("mended.csv"), "--output", "mended.csv"], "read here"),
        ([*plan, "--output", "more.csv"], "the table itself"),
        ([*plan, "--batch", "more.csv"], "the table itself"),
        ([*plan, "--output", "s.db"], "the store"),
        (["store", "export", "s.db", "s.db"], "read here"),
        (["report", "--store", "s.html"], "the store"),
        (
            ["report", *landmarks[:2], "--words", "words.html", "--output", "words.html"],
            "read here",
        ),
        (["legacy", "more.csv", "--output", "more.csv"], "read here"),
        (["bench", "--data", "more.csv", "--output", "more.csv"], "read here"),
    ):
        assert said in consilience(*words, code=2).stderr, words
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def _back(file: str) -> list[str]:
    return ["--corrections", file]


@pytest.mark.parametrize(
    ("words", "column"), [("landmarks --count 5", "label"), ("review", "correction")]
)
def test_what_a_person_filled_in_is_not_written_over(
    store: Path, tmp_path: Path, words: str, column: str
) -> None:
    again = [*words.split(), "--store", store, "--output", "mine.csv"]
    consilience(*again)
    consilience(*again)  # nobody has filled it in
    mine = rows((tmp_path / "mine.csv").read_text())
    mine[1][column] = "True"
    write_csv(mine, tmp_path / "mine.csv")
    kept = (tmp_path / "mine.csv").read_bytes()
    said = consilience(*again, code=2).stderr
    assert f"its column {column} is filled in (1 row)" in said and "another file" in said
    assert (tmp_path / "mine.csv").read_bytes() == kept


def test_a_count_is_kept_to_or_refused(store: Path, tmp_path: Path) -> None:
    consilience("review", "--store", store, "--count", 5, "--output", "five.csv")
    assert len(rows((tmp_path / "five.csv").read_text())) == 5
    write_csv([{"ticket": "T-1", "correction": "True"}], tmp_path / "mended.csv")
    words = ["review", "--store", store, "--count", 5, *_back("mended.csv")]
    assert "--count is for rows to correct" in consilience(*words, code=2).stderr


def test_files_to_train_on_have_no_details_and_a_suffix_of_any_case(
    store: Path, tmp_path: Path
) -> None:
    words = ["--store", store, "--format", "sft"]
    assert "leave it out" in consilience("export", "x.jsonl", *words, "--details", code=2).stderr
    consilience("export", "x.JSONL", *words)
    assert len((tmp_path / "x.JSONL").read_text().splitlines()) == MANY
    consilience("store", "export", store, "x.PARQUET")
    assert (tmp_path / "x.PARQUET").read_bytes()[:4] == b"PAR1"


def test_corrections_of_another_run_are_refused(store: Path, tmp_path: Path) -> None:
    with Store(store, readonly=True) as db:
        (run,) = db.runs()
    own = {"ticket": "T-1", "correction": "True", OF_RUN: f"run {run.id} of {run.dataset}"}
    write_csv([own | {OF_RUN: "run 0e1 of 1234567890abcdef"}], tmp_path / "mended.csv")
    said = consilience("review", "--store", store, *_back("mended.csv"), code=2).stderr
    assert "mended.csv corrects run 0e1" in said and "--run" in said
    write_csv([own], tmp_path / "mended.csv")
    done = consilience("review", "--store", store, *_back("mended.csv"))
    assert "1 corrections, kept in" in done.stderr


@pytest.mark.parametrize(("text", "id"), [("label", "ticket"), ("message", "label")])
def test_landmarks_of_a_table_whose_own_texts_or_ids_are_in_a_column_label(
    tmp_path: Path, text: str, id: str
) -> None:
    table = [{id: row["ticket"], text: row["message"]} for row in tickets(0, 20)]
    words = ["--text", text, "--id", id, *TASK_OPTIONS, *MODEL, "--calls-per-example", 2]
    consilience("run", write_csv(table, tmp_path / "t.csv"), *words, "--store", "s.db")
    drawn = consilience("landmarks", "--store", "s.db", "--count", 12)
    assert "into the column consilience_label" in drawn.stderr
    known = rows(drawn.stdout)
    assert all({id: row[id], text: row[text]} in table for row in known)
    write_csv([row | {"consilience_label": "yes"} for row in known], tmp_path / "known.csv")
    told = consilience("estimate", "--store", "s.db", "--landmarks", "known.csv", "--json")
    assert json.loads(told.stdout)[0]["landmarks"] == 12


def test_a_review_of_a_table_that_reviews_have_added_columns_to(tmp_path: Path) -> None:
    old = {"correction": "no", "consilience_correction": "no"}
    table = [row | old for row in tickets(0, 12)]
    words = ["--text", "message", "--id", "ticket", *TASK_OPTIONS, *MODEL]
    consilience("run", write_csv(table, tmp_path / "t.csv"), *words, "--store", "s.db")
    consilience("review", "--store", "s.db", "--output", "doubtful.csv")
    review = rows((tmp_path / "doubtful.csv").read_text())
    review[0]["consilience_consilience_correction"] = "yes"
    write_csv(review, tmp_path / "filled.csv")
    done = consilience("review", "--store", "s.db", "--corrections", "filled.csv")
    assert ": 1 corrections, kept" in done.stderr
    bare = write_csv(tickets(0, 12), tmp_path / "bare.csv")
    done = consilience("review", "--store", "s.db", "--corrections", bare, code=2)
    assert "bare.csv has no column 'correction'; the columns are" in done.stderr


@pytest.mark.parametrize(
    ("word", "said"),
    [("T-99", "no example's own id does"), ("T-", "has 4 digits or more"), ("", "4 digits")],
)
def test_what_is_no_row_is_told_apart_from_the_beginning_of_an_id(
    store: Path, word: str, said: str
) -> None:
    done = consilience("explain", word, "--store", store, code=2)
    assert f"has the id {word!r}, and" in done.stderr and said in done.stderr
