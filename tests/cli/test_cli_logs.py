"""The log of an operator: what was sent again, what was given up, each round, and no secret."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest

from command import consilience
from consilience.elicitation.session import elicit
from consilience.models.simulated import SimulatedModel, world_dataset
from made_up import TASK_OPTIONS
from odd_server import said, serve_odd

KEY = "sk-very-secret-0123456789"
CHEAP = ["--calls-per-example", 2, "--set", "planning.census=0", "--set", "planning.shots=4"]


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONSILIENCE_API_KEY", KEY)
    path = tmp_path / "claims.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([f"Lamp {i} is lit."] for i in range(8))])
    return path


def words(claims: Path, url: str) -> list[object]:
    said_of_the_model = ["--model", "openai:tiny", "--base-url", url]
    return ["run", claims, *TASK_OPTIONS, *said_of_the_model, "--output", claims.parent / "l.csv"]


def test_what_is_sent_again_is_a_line_without_the_key(claims: Path, tmp_path: Path) -> None:
    once = iter([said(503, f"busy; you sent {KEY}")])
    log = tmp_path / "run.log"
    with serve_odd(lambda request, body, text: next(once, None) if text else None) as server:
        run = [*words(claims, server.url), *CHEAP, "--store", tmp_path / "s.db"]
        done = consilience("--log-file", log, *run)
    lines = log.read_text("utf-8").splitlines()
    assert len([line for line in lines if "HTTP 503" in line and "is sent again" in line]) == 1
    assert [line for line in lines if "labels, round 0: 8 queries, 0 of them in the store" in line]
    assert KEY not in log.read_text("utf-8") + done.stderr
    assert "is sent again" not in done.stderr
    assert log.stat().st_mode & 0o077 == 0
    # The log ends with the command.
    assert not logging.getLogger("consilience").handlers


def test_what_is_given_up_is_a_line_on_stderr(claims: Path, tmp_path: Path) -> None:
    reply = said(400, {"error": {"code": "content_filter"}})
    with serve_odd(lambda request, body, text: reply if "Lamp 3" in text else None) as server:
        run = [*words(claims, server.url), *CHEAP, "--store", tmp_path / "s.db"]
        done = consilience("--log-level", "warning", *run)
    assert "given up" in done.stderr and " WARNING consilience." in done.stderr
    assert " INFO " not in done.stderr


def test_each_round_says_how_far_the_run_is(claims: Path, tmp_path: Path) -> None:
    with serve_odd(lambda request, body, text: None) as server:
        run = [*words(claims, server.url), *CHEAP, "--store", tmp_path / "s.db"]
        done = consilience(*run)
    assert "labels, round 1: 8 queries; 16 of at most 16 in all" in done.stderr


def test_a_log_that_cannot_be_written_is_refused(claims: Path, tmp_path: Path) -> None:
    done = consilience("--log-file", tmp_path, "datasets", "list", code=2)
    assert done.stderr.startswith("consilience") and "cannot write the log" in done.stderr


@pytest.mark.parametrize("name", ["claims.csv", "task.toml", "s.db", "l.csv", "known.csv"])
def test_the_log_is_none_of_the_files_of_the_command(
    claims: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = claims.parent
    monkeypatch.chdir(folder)
    Path("task.toml").write_text(
        '[data]\nfile = "claims.csv"\n[task]\nquestion = "Is it lit?"\n'
        '[task.classes]\nno = ""\nyes = ""\n[model]\nname = "openai:tiny"\n'
        'base_url = "http://127.0.0.1:9/v1"\n[landmarks]\nfile = "known.csv"\n'
        '[output]\nstore = "s.db"\ntable = "l.csv"\n'
    )
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = consilience("--log-file", f"../{folder.name}/{name}", "run", "task.toml", code=2)
    assert done.stderr.endswith(f"{name} is a file of this command; name another --log-file\n")
    assert all((folder / name).read_bytes() == was for name, was in before.items())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_that_cannot_be_written_ends_and_the_command_goes_on(
    claims: Path, tmp_path: Path
) -> None:
    with serve_odd(lambda request, body, text: None) as server:
        run = [*words(claims, server.url), *CHEAP, "--store", tmp_path / "s.db"]
        done = consilience("--log-file", "/dev/full", *run)
    assert done.stderr.count("/dev/full ends here, it cannot be written") == 1
    assert "Traceback" not in done.stderr
    assert (tmp_path / "l.csv").exists()


WRITES = {
    "labels": ["run", "cities", "--output", "cities.csv"],
    "a plan": ["plan", "cities", "--output", "new.jsonl"],
    "an export": ["export", "deep/labels.csv", "--store", "../s.db"],
    "a page": ["report", "--output", "page.html", "--store", "../s.db"],
    "a log": ["--log-file", "cities.csv", "run", "cities"],
}


@pytest.mark.parametrize("by", ["setting", "environment"])
@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_written_to_the_folder_of_the_publishers_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, by: str
) -> None:
    folder = tmp_path / "publisher"
    (folder / "deep").mkdir(parents=True)
    (folder / "cities.csv").write_text("statement,label,city,country\nOslo.,1,Oslo,Norway\n")
    monkeypatch.chdir(folder)
    data, _ = world_dataset("noisy", 12)
    elicit(data, SimulatedModel("noisy"), calls_per_example=1, store=tmp_path / "s.db")
    words = WRITES[name]
    if by == "setting":
        words = [*words, "--set", f"data.folder={folder}"]
    else:
        monkeypatch.setenv("CONSILIENCE_DATA_DIR", "../publisher")
    if "cities" in words:
        words = [*words, "--model", "simulated:noisy"]
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    done = consilience(*words, code=2)
    assert "the folder of the publishers' files; name a file elsewhere" in done.stderr
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before
