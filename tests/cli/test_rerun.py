"""`rerun` repeats a run from its record and says what differs."""

from __future__ import annotations

import json

import pytest

from command import consilience
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.models.openai import OpenAIModel
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.store.database import Store
from consilience.store.schema import versions
from made_up import FILE_OPTIONS, claims, write_csv
from odd_server import said, serve_odd
from wire_client import QUICK, found
from wire_model import number_of

SMALL = ("--calls-per-example", 3, "--set", "planning.shots=4", "--set", "planning.settled=0")


def answering(word, turned=()):
    """A reply by a hash of the question; targets that have one of these words are turned round."""

    def reply(request, body, text):
        if not text:
            return None
        target = text.rpartition("\n\n")[2]
        # What the last question is decides, whatever the shots are.
        values = [-0.3, -1.5] if number_of(word, target) % 2 else [-1.5, -0.3]
        if any(one in target for one in turned):
            values = values[::-1]
        entries = [
            {"token": t, "logprob": v} for t, v in zip((" True", " False"), values, strict=True)
        ]
        entries.sort(key=lambda entry: -entry["logprob"])
        content = [{**entries[0], "top_logprobs": entries}]
        return said(200, {"choices": [{"logprobs": {"content": content}}], "model": "tiny"})

    return reply


@pytest.fixture
def data(tmp_path):
    return write_csv(claims(), tmp_path / "claims.csv")


def test_a_run_on_a_server_is_repeated_and_what_changed_is_told(data, tmp_path, monkeypatch):
    store, secret = tmp_path / "s.db", "sesame-opens"
    with serve_odd(answering("m")) as server:
        words = [*FILE_OPTIONS, "--model", "openai:tiny", "--base-url", server.url, *SMALL]
        words += ["--set", f"model.headers.x-pass={secret}", "--store", store]
        consilience("run", data, *words)
        assert secret.encode() not in store.read_bytes()
        with Store(store, readonly=True) as db:
            run = db.run()
            assert db.command(run.id)["task"] and "headers" not in db.command(run.id)["model"]
        again = ["rerun", run.id[:6], "--store", store]
        done = consilience(*again)
        assert "every answer and label is the same" in done.stderr
        assert f"asked again into {tmp_path / 's-rerun.db'}" in done.stderr
        asked = len(server.questions)
        shown = json.loads(consilience(*again, "--json").stdout)
        assert len(server.questions) == asked  # what is there is not asked again
        assert (shown["same"], shown["run"], shown["rerun"]) == (True, run.id, run.id)
        assert shown["questions_then"] == shown["answered_both_times"] == run.planned
        assert shown["labels"] == [] and shown["versions"] == {} == shown["settings"]

        server.reply = answering("another")
        monkeypatch.setattr(
            "consilience.elicitation.rerun.versions", lambda: versions() | {"numpy": "1.0"}
        )
        done = consilience(*again, "--into", tmp_path / "other.db")
        assert "the two runs differ" in done.stderr and "another label: " in done.stderr
        assert f"version numpy: {versions()['numpy']} then, 1.0 now" in done.stderr
        shown = json.loads(consilience(*again, "--into", tmp_path / "other.db", "--json").stdout)
    assert not shown["same"] and shown["labels"] and shown["other_answers"] > 5
    # Of the questions with shots only those are compared that both runs asked.
    assert 24 <= shown["answered_both_times"] < run.planned
    assert shown["furthest_apart_nats"] > 0.1 and shown["probability_moved_at_most"] > 0.1


def test_one_row_that_is_answered_otherwise_is_the_one_that_is_named(data, tmp_path):
    word = claims()[0]["claim"]
    with serve_odd(answering("m")) as server:
        words = ["--model", "openai:tiny", "--base-url", server.url, "--store", tmp_path / "s.db"]
        consilience("run", data, *FILE_OPTIONS, *words, "--calls-per-example", 1)
        server.reply = answering("m", turned=[word])
        with Store(tmp_path / "s.db", readonly=True) as db:
            run = db.run().id
        again = consilience("rerun", run, "--store", tmp_path / "s.db", "--json")
    shown = json.loads(again.stdout)
    assert shown["other_answers"] == 1 and shown["answered_both_times"] == 24


def test_a_run_that_no_command_made_is_repeated_too(tmp_path):
    examples, _ = world_dataset("easy", 20)
    settings = Settings(calls_per_example=3)
    with Store(tmp_path / "s.db") as store:
        first = elicit(examples, SimulatedModel("easy"), store=store, settings=settings, seed=4)
        with serve_odd(answering("m")) as server:
            what = found(server.url, k=5, k_max=5)
            store.save_probe("tiny", what.base_url, what.to_json())
            model = OpenAIModel(what, patience=QUICK)
            second = elicit(examples, model, store=store, settings=settings, seed=5)
            for run in (first, second):
                store.close()
                words = ["rerun", run.run.id, "--store", tmp_path / "s.db", "--json"]
                assert json.loads(consilience(*words).stdout)["same"]


def test_what_cannot_be_repeated_is_refused(data, tmp_path):
    consilience("rerun", "abc", "--store", tmp_path / "none.db", code=2)
    examples, _ = world_dataset("easy", 20)
    with Store(tmp_path / "s.db") as store:
        settings = Settings(calls_per_example=2)
        run = elicit(examples, SimulatedModel("easy"), store=store, settings=settings).run.id
    words = ["rerun", run, "--store", tmp_path / "s.db"]
    done = consilience(*words, "--into", tmp_path / "s.db", code=2)
    assert "a store of their own" in done.stderr
    done = consilience(*words, "--model", "simulated:noisy", code=2)
    assert "asked simulated:easy, not simulated:noisy" in done.stderr
    assert "no run 'zzz'" in consilience("rerun", "zzz", *words[2:], code=1).stderr
