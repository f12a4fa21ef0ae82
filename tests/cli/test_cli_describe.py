"""`describe` on the command line: what it prints, what it spends, and mistakes in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from command import consilience
from consilience.results.result import Found
from consilience.solvers.solution import Optimum
from describing import Sorter, honest, told
from made_up import TASK_OPTIONS, write_csv
from wire_client import KEYS
from wire_model import Faults
from wire_server import MODEL, serve

RUN = ["--text", "{claim}", "--set", "data.group=about", *TASK_OPTIONS]
RUN += ["--calls-per-example", 3, "--set", "planning.settled=0"]
SMALL = [
    "--set",
    "describing.orders=2",
    "--set",
    "describing.typical=4",
    "--set",
    "describing.check=6",
]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "OPENAI_BASE_URL", "CONSILIENCE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run that labelled the claims by their states."""
    folder = tmp_path_factory.mktemp("labelled")
    data = write_csv(told(), folder / "claims.csv")
    with serve("vllm", model=Sorter(True)) as server:
        model = ["--model", f"openai:{MODEL}", "--base-url", server.url]
        consilience("run", data, *RUN, *model, "--store", folder / "s.db")
    return folder / "s.db"


@pytest.fixture
def store(labelled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(labelled, tmp_path / "s.db"))


def describe(server: Any, store: Path, *more: object, code: int = 0) -> Any:
    model = ["--model", f"openai:{MODEL}", "--base-url", server.url]
    return consilience("describe", "--store", store, *model, *SMALL, *more, code=code)


def writing(**options: Any) -> Any:
    return serve("vllm", **({"model": Sorter(True), "writes": honest} | options))


def test_the_words_and_how_far_they_hold(store: Path) -> None:
    with writing() as server:
        done = describe(server, store)
        assert len(server.notes) == 2
        first, *lines = done.stdout.splitlines()
        assert first.startswith("Labelling 0 (chosen): 30 False, 30 True; coherence ")
        assert "reproduces 100% of the labels of 6 typical examples not shown" in first
        assert "(a guess: 50%)" in first
        assert sum("100% of 6" in line for line in lines) == 2
        assert sum("Group 1 items are" in line for line in lines) == 2
        # Five of each class, not all that were shown.
        assert [sum(f" is {s} " in line for line in lines) for s in ("cold", "warm")] == [5, 5]
        assert "26 calls made" in done.stderr and "labels are those of" not in done.stderr
        sent = len(server.questions)
        again = describe(server, store)
        assert again.stdout == done.stdout and len(server.questions) == sent
        assert "0 calls made (0 prompt tokens), 26 answers found" in again.stderr
        key = json.loads(describe(server, store, "--json").stdout)["labellings"][0]["descriptions"][
            0
        ]["key"]
    assert json.loads(consilience("store", "show", store, key).stdout)["text"].startswith(" items")
    assert "2 texts, 0 failed calls" in consilience("store", "stats", store).stderr
    consilience("store", "verify", store)


def test_the_same_as_json(store: Path) -> None:
    with writing() as server:
        done = describe(server, store, "--optimum", "all", "--json")
    told_of = json.loads(done.stdout)
    assert told_of["model"] == MODEL and len(told_of["run"]) == 12
    first = told_of["labellings"][0]
    assert (first["optimum"], first["chosen"]) == (0, True)
    assert first["counts"] == {"False": 30, "True": 30}
    assert (first["calls"], first["known"], first["failed"], first["empty"]) == (26, 0, 0, 0)
    state = {"False": "cold", "True": "warm"}
    for said in first["descriptions"]:
        assert (said["agreement"], said["checked"], said["guess"]) == (1.0, 6, 0.5)
        for group, name in said["groups"].items():
            assert f"{group} items are {state[name]}" in said["text"]
    assert len(first["typical"]) == 16
    assert all(e["text"].endswith(state[e["class"]]) for e in first["typical"])
    assert [made["optimum"] for made in told_of["labellings"]] == list(
        range(len(told_of["labellings"]))
    )


def test_another_optimum_is_another_labelling(store: Path, monkeypatch: Any) -> None:

    command = import_module("consilience.cli.describe")
    opened = command.opened

    def with_another(*given: Any, **options: Any) -> Found:
        found = opened(*given, **options)
        [one, *_] = found.solution.optima
        other = one.labels.copy()
        other[:10] = other[:10, ::-1]
        made = Optimum(other, one.coherence - 1, 2)
        return replace(found, solution=replace(found.solution, optima=(one, made)))

    monkeypatch.setattr(command, "opened", with_another)
    with writing() as server:
        both = json.loads(describe(server, store, "--optimum", "all", "--json").stdout)
        other = json.loads(describe(server, store, "--optimum", 1, "--json").stdout)
        one, second = both["labellings"]
        assert (one["chosen"], second["chosen"]) == (True, False)
        assert second["descriptions"] == other["labellings"][0]["descriptions"]
        assert second["starts"] == 2 and second["coherence"] == one["coherence"] - 1
        assert [d["agreement"] for d in one["descriptions"]] == [1.0, 1.0]
        assert min(d["agreement"] for d in second["descriptions"]) < 1.0
        failed = describe(server, store, "--optimum", 2, code=2)
    assert "--optimum 2: this run has 0 to 1, or all" in failed.stderr


def test_a_dry_run_spends_nothing_and_is_right(store: Path) -> None:
    before = store.read_bytes()
    with writing() as server:
        done = describe(server, store, "--dry-run", "--json", "--set", "budget.price=3")
        cost = json.loads(done.stdout)
        # The server is another one than that of the run, and is not even probed.
        assert server.requests == [] and store.read_bytes() == before
        assert (cost["calls"], cost["known"], cost["written_tokens"]) == (26, 0, 120)
        assert cost["money"] == pytest.approx((cost["prompt_tokens"] + 120 + 24) * 3e-6)
        assert "written tokens" in describe(server, store, "--dry-run").stdout
        describe(server, store)
        after = json.loads(describe(server, store, "--dry-run", "--json").stdout)
        assert (after["calls"], after["known"], after["prompt_tokens"]) == (0, 26, 0)


def test_without_a_check_only_the_words(store: Path) -> None:
    with writing() as server:
        done = describe(server, store, "--set", "describing.check=0")
        bare = json.loads(describe(server, store, "--set", "describing.check=0", "--json").stdout)
    assert "Best description not checked." in done.stdout
    assert "2 calls made" in done.stderr
    assert bare["labellings"][0]["descriptions"][0]["agreement"] is None


def test_the_words_of_another_model_are_named_as_such(tmp_path: Path) -> None:
    data = write_csv(told(), tmp_path / "claims.csv")
    store = tmp_path / "simulated.db"
    consilience("run", data, *RUN, "--model", "simulated:easy", "--store", store)
    with writing() as server:
        done = describe(server, store, "--set", "describing.check=0")
    assert f"the labels are those of simulated:easy, in the words of {MODEL}" in done.stderr


# ---- mistakes -----------------------------------------------------------------------------------


def the_line(done: Any) -> str:
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return str(done.stderr.splitlines()[-1])


def test_a_simulated_model_does_not_write(store: Path) -> None:
    done = consilience(
        "describe", "--store", store, "--model", "simulated:easy", "--dry-run", code=2
    )
    assert the_line(done).startswith("consilience: simulated:easy does not write text; use a model")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--optimum", "1x"], "--optimum 1x: this run has 0"),
        (["--optimum", "-1"], "--optimum -1: this run has 0"),
        (["--optimum", "99"], "more solving.starts may find more"),
        (["--set", "describing.orders=0"], "describing.orders"),
        (["--run", "nope"], "no run 'nope'"),
        (["--store", "gone.db"], "there is no store gone.db"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(
    store: Path, words: list[str], said: str
) -> None:
    code = 1 if "--run" in words else 2
    with writing() as server:
        done = describe(server, store, *words, code=code)
        assert server.requests == []
    assert said in the_line(done) and done.stderr.count("\n") == 1


def test_a_model_has_to_be_named(store: Path) -> None:
    assert consilience("describe", "--store", store, code=2).stderr.startswith(
        "consilience: no model; say --model"
    )


def test_a_refused_key_and_a_slow_server_are_one_line(store: Path) -> None:
    with writing() as server:
        describe(server, store, "--set", "describing.check=0")  # probes it
        server.key = "another"
        done = describe(
            server, store, "--set", "describing.orders=4", "--set", "describing.check=0", code=1
        )
        assert "HTTP 401" in the_line(done) and "CONSILIENCE_API_KEY" in the_line(done)
        server.key, server.faults = None, Faults(always="hang")
        slow = ["--set", "model.timeout=0.1", "--set", "model.retries=0"]
        done = describe(
            server,
            store,
            "--set",
            "describing.longest=50",
            "--set",
            "describing.check=0",
            *slow,
            code=1,
        )
        assert "gave no description in 2 calls" in the_line(done)
        assert "no answer within 0.1 s" in the_line(done)
        # What was written before is not lost, and is not asked for again.
        server.faults, sent = Faults(), len(server.questions)
        done = describe(
            server, store, "--set", "describing.orders=4", "--set", "describing.check=0"
        )
        assert len(server.questions) == sent + 2
    assert "2 calls made" in done.stderr
    assert "4 texts, 4 failed calls" in consilience("store", "stats", store).stderr
