"""The whole command against a server in another process, over real HTTP: stop, resume, compare."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from command import consilience
from consilience.store.database import Store
from made_up import FILE_OPTIONS, claims, write_csv

HELPERS = Path(__file__).parents[1] / "helpers"
SHARED = Path(__file__).parents[3] / "shared" / "data"


@contextmanager
def server(log: Path, *options: str) -> Iterator[str]:
    """The base URL of the fixture server in a process of its own."""
    command = [sys.executable, str(HELPERS / "wire_server.py"), "--log", str(log), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def requests_in(log: Path) -> list[dict[str, object]]:
    """The bodies that asked for log-probabilities, without those of the probe."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line["body"] for line in lines if line["body"] and "logprobs" in line["body"]]


def prompts_in(log: Path) -> list[str]:
    found = [body.get("prompt") or json.dumps(body.get("messages")) for body in requests_in(log)]
    return [str(prompt) for prompt in found if "lives at" in str(prompt)]


def run_words(data: Path, url: str, store: Path, output: Path) -> list[object]:
    return [
        *("run", data, *FILE_OPTIONS, "--model", "openai:tiny", "--base-url", url),
        *(
            "--store",
            store,
            "--output",
            output,
            "--calls-per-example",
            6,
            "--set",
            "planning.settled=0",
        ),
        *("--set", "planning.shots=4", "--set", "planning.block=6"),
    ]


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_file_is_labelled_over_either_endpoint_and_the_labels_are_right(
    tmp_path: Path, api: str
) -> None:
    data = write_csv(claims(), tmp_path / "claims.csv")
    log, output = tmp_path / "log", tmp_path / "labels.csv"
    with server(log, "--world") as url:
        words = run_words(data, url, tmp_path / "s.db", output)
        consilience(*words, "--set", f"model.api={api}", "--set", "output.details=yes")
    labels = pd.read_csv(output)
    assert len(labels) == 24
    assert (labels["predictions"] == 6).all()
    # The fixture's model answers each claim by a rule, so the labels must be that rule.
    from wire_model import number_of

    texts = labels["question"] + " " + labels["claim"]
    truth = [number_of("truth", text.split("\n")[0]) % 2 for text in texts]
    assert (labels["label"] == truth).mean() >= 0.9


def test_killed_in_the_middle_nothing_is_asked_twice_and_the_labels_are_the_same(
    tmp_path: Path,
) -> None:
    data = write_csv(claims(), tmp_path / "claims.csv")
    with server(tmp_path / "log0", "--world") as url:
        consilience(*run_words(data, url, tmp_path / "whole.db", tmp_path / "whole.csv"))

    log = tmp_path / "log1"
    store = tmp_path / "killed.db"
    with server(log, "--world", "--delay", "20") as url:
        words = run_words(data, url, store, tmp_path / "resumed.csv")
        first = subprocess.Popen(
            [sys.executable, "-m", "consilience", *map(str, words), "--set", "model.concurrency=4"],
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while len(prompts_in(log)) < 70 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        asked_before = prompts_in(log)
        with Store(store, readonly=True) as db:
            planned = [key for rows in db.rounds(db.run().id) for key, _ in rows]
            kept = {db.detail(key)["prompt"] for key in db.known(planned)}
            assert db.verify() == []
        assert 40 <= len(kept) < 144
        # What was sent and not kept was on its way when the process died, and no more than that.
        assert len(set(asked_before) - kept) <= 4
        consilience(*words)
        asked_after = prompts_in(log)[len(asked_before) :]
    assert kept.isdisjoint(asked_after)
    assert len(asked_after) == len(set(asked_after))
    assert (tmp_path / "resumed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_serial_and_concurrent_give_the_same_bits(tmp_path: Path) -> None:
    data = write_csv(claims(), tmp_path / "claims.csv")
    with server(tmp_path / "log", "--world", "--delay", "1") as url:
        for concurrency in (1, 16):
            words = run_words(
                data, url, tmp_path / f"{concurrency}.db", tmp_path / f"{concurrency}.csv"
            )
            consilience(*words, "--set", f"model.concurrency={concurrency}")
    prompts = prompts_in(tmp_path / "log")
    half = len(prompts) // 2
    assert sorted(prompts[:half]) == sorted(prompts[half:])
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "16.csv").read_bytes()


OURS = ("question", "claim", "label", "probability", "uncertainty", "open")
"""What a row is told by, and what was found; the rest is the user's own."""


@pytest.mark.slow
def test_gold_and_the_order_of_rows_change_not_one_bit(tmp_path: Path) -> None:
    rows = claims(12)
    flipped = {"True": "False", "False": "True"}
    variants = {
        "as it is": (rows, ["--label", "truth"]),
        "permuted": ([r | {"truth": flipped[r["truth"]]} for r in rows], ["--label", "truth"]),
        "erased": ([rows[0], *(r | {"truth": ""} for r in rows[1:])], ["--label", "truth"]),
        "absent": ([{k: v for k, v in r.items() if k != "truth"} for r in rows], []),
        "unnamed": (rows, []),
        "backwards": (rows[::-1], ["--label", "truth"]),
    }
    outputs = []
    with server(tmp_path / "log", "--world") as url:
        for name, (made, options) in variants.items():
            data = write_csv(made, tmp_path / f"{name}.csv")
            output = tmp_path / f"labels {name}.csv"
            words = run_words(data, url, tmp_path / f"{name}.db", output)
            consilience(
                *words,
                *options,
                "--calls-per-example",
                4,
                "--set",
                "relations.priors=exactly-one",
                "--set",
                "relations.count_priors=yes",
            )
            with output.open(encoding="utf-8", newline="") as file:
                found = csv.DictReader(file)
                outputs.append(tuple(sorted(tuple(row[c] for c in OURS) for row in found)))
    assert len(set(outputs)) == 1


def test_what_a_stored_run_says_needs_no_server(tmp_path: Path) -> None:
    data = write_csv(claims(), tmp_path / "claims.csv")
    store, output = tmp_path / "s.db", tmp_path / "labels.csv"
    with server(tmp_path / "log", "--world") as url:
        consilience(*run_words(data, url, store, output))
    assert consilience("solve", "--store", store).stdout.startswith('"row","question"')
    consilience("export", tmp_path / "again.parquet", "--store", store)
    written = pd.read_csv(output, dtype={"truth": str, "label": str})
    again = pd.read_parquet(tmp_path / "again.parquet")
    pd.testing.assert_frame_equal(written, again, check_dtype=False, check_exact=True)
    scored = consilience(
        *("evaluate", data, *FILE_OPTIONS, "--label", "truth", "--store", store, "--json")
    )
    methods = [row["method"] for row in json.loads(scored.stdout)]
    assert methods == ["majority", "structure only", "zero-shot, as asked", "consilience"]
    id = written["row"][0]
    explained = json.loads(consilience("explain", id, "--store", store, "--json").stdout)
    # Six answers, then terms and what the solver left.
    assert sum(row["prediction"] is not None for row in explained) == 6
    assert consilience("store", "verify", store).stdout == ""


def publishers_folder(tmp_path: Path) -> Path:
    """The folder with the publisher's file, or with a made-up one of the same schema and size."""
    if (SHARED / "truthfulqa" / "TruthfulQA.csv").exists():
        return SHARED
    pairs = claims(2 * 790)
    rows = [
        {
            "Type": "Made up",
            "Category": "Animals",
            "Question": one["question"],
            "Best Answer": one["claim"],
            "Best Incorrect Answer": two["claim"],
            "Correct Answers": one["claim"],
            "Incorrect Answers": two["claim"],
            "Source": "",
        }
        for one, two in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    (tmp_path / "truthfulqa").mkdir()
    write_csv(rows, tmp_path / "truthfulqa" / "TruthfulQA.csv")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("api", ["completions", "chat"])
def test_the_whole_of_truthfulqa_is_labelled_by_one_command(tmp_path: Path, api: str) -> None:
    log, output = tmp_path / "log", tmp_path / "labels.parquet"
    with server(log) as url:
        consilience(
            *("run", "truthfulqa", "--set", f"data.folder={publishers_folder(tmp_path)}"),
            *("--model", "openai:tiny", "--base-url", url, "--set", f"model.api={api}"),
            *(
                "--calls-per-example",
                3,
                "--set",
                "model.top_logprobs=20",
                "--set",
                "model.concurrency=8",
            ),
            *("--store", tmp_path / "tqa.db", "--output", output, "--set", "output.details=yes"),
        )
    labels = pd.read_parquet(output)
    assert len(labels) == 1580
    assert labels["group"].nunique() == 790
    # One zero-shot, and two with shots: with so few calls there is no census.
    assert labels["predictions"].min() >= 2 and labels["predictions"].median() == 3
