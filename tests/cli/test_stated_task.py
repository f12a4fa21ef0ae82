"""The task is stated and shown: what nobody said is refused, a prompt comes before the bill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import consilience as cs
from command import consilience
from consilience.errors import InputError
from consilience.prompts.framing import framings
from made_up import TASK_OPTIONS, claims, write_csv

MODEL = ["--model", "simulated:easy", "--calls-per-example", 4]
QUESTION, CLASSES = ["--question", "Is it urgent?"], ["--classes", "no,yes"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_csv(claims(12), Path("claims.csv"))


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ([], '--question "SENTENCE" and --classes NAME,NAME'),
        (QUESTION, "--classes NAME,NAME"),
        (CLASSES, '--question "SENTENCE"'),
        (["--set", "task.statement=It is urgent"], '--question "SENTENCE" and --classes NAME,NAME'),
    ],
)
def test_a_file_without_a_task_is_refused_before_anything_is_asked(
    path: Path, command: str, said: list[str], missing: str
) -> None:
    words = [path, "--text", "claim", "--model", "simulated:easy", "--store", "s.db", *said]
    done = consilience(command, *words, code=2)
    wanted = f"nobody said what is asked about the rows of 'claims': add {missing} (class 0 first)"
    assert wanted in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == "" and not Path("s.db").exists()


def test_a_bench_of_a_file_needs_its_task(path: Path) -> None:
    words = ["--data", path, "--set", "data.text=claim", "--set", "data.label=truth"]
    words += ["--model", "simulated:easy"]
    words += ["--output", "r.json"]
    assert "nobody said what is asked" in consilience("bench", *words, code=2).stderr


def test_a_named_data_set_has_its_task() -> None:
    assert consilience("run", "easy", *MODEL, "--dry-run").stdout


def test_a_table_without_a_task_is_refused_in_python(path: Path) -> None:
    model = cs.open_model("simulated:easy")
    frames = (
        cs.Dataset.from_records(claims(12), text="claim", name="claims"),
        cs.load_dataset(path, text="claim")[0],
    )
    for data in frames:
        with pytest.raises(InputError, match="nobody said what is asked about 'claims': give the"):
            cs.elicit(data, model)
    task = cs.Task(question="Is it so?", classes=("no", "yes"))
    data, _ = cs.load_dataset(path, text="claim", task=task)
    assert len(cs.elicit(data, model, calls_per_example=2).table()) == 12


def test_what_is_only_looked_at_needs_no_task(path: Path) -> None:
    done = consilience("datasets", "show", path, "--text", "claim", "--examples", 1)
    assert "to label it, `run` needs --question and --classes" in done.stderr
    done = consilience("datasets", "show", path, "--text", "claim", *TASK_OPTIONS)
    assert "to label it" not in done.stderr


@pytest.mark.parametrize(
    ("task", "statement", "opposite"),
    [
        (cs.Task(), "The claim is right", "The claim is wrong"),
        (cs.Task(statement="It is urgent"), "It is urgent", None),
        (cs.Task(statement="It is urgent", opposite="It can wait"), "It is urgent", "It can wait"),
        (cs.Task(question="Is it urgent?"), None, None),
        (cs.Task(classes=("no", "yes")), None, None),
        (cs.Task(question="Is it urgent?", statement="It is urgent"), "It is urgent", None),
        (cs.Task(question="Which?", classes=("a", "b", "c")), None, None),
        (cs.Task(opposite=None), "The claim is right", None),
        (cs.Task(statement=None, opposite=None), None, None),
    ],
)
def test_no_sentence_of_another_task_is_asked(
    task: cs.Task, statement: str | None, opposite: str | None
) -> None:
    assert (task.statement, task.opposite) == (statement, opposite)
    said = " ".join(f"{f.instruction} {f.lead}" for f in framings(task))
    assert "claim" not in said or "claim" in task.question
    if opposite is None:
        with pytest.raises(InputError, match="the framing `negated` needs"):
            framings(task, ["negated"])


def test_a_statement_alone_asks_nothing_of_claims(path: Path) -> None:
    words = ["datasets", "show", path, "--text", "question", *QUESTION, *CLASSES]
    shown = json.loads(consilience(*words, "--set", "task.statement=It is urgent", "--json").stdout)
    assert not any("claim" in row["prompt"] for row in shown)
    more = ["--set", "task.statement=It is urgent", "--json", "--set"]
    dropped = json.loads(consilience(*words, *more, "task.framings=plain,negated").stdout)
    assert {row["framing"] for row in dropped} == {"plain"}
    alone = consilience(*words, *more, "task.framings=negated", code=2)
    assert "`negated` needs a task of two" in alone.stderr


@pytest.mark.parametrize("more", [["--dry-run"], [], ["--dry-run", "--json"]])
def test_one_whole_prompt_is_shown_first(path: Path, more: list[str]) -> None:
    words = ["run", path, "--text", "claim", *QUESTION, *CLASSES, *MODEL, *more]
    told = consilience(*words).stderr
    start = told.index("── a prompt (names-0; class 'no' is 'no', 'yes' is 'yes')")
    block = told[start:].split("\n──")[0].split("\n", 1)[1]
    assert block.startswith("Is it urgent? Answer with one of: no, yes.\n\n")
    assert block.endswith("\nAnswer:") and any(row["claim"] in block for row in claims(12))
    assert start < told.index("calls to") if not more else True
