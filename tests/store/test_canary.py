"""The canary: a model that is swapped behind its name is heard, and the store tells them apart."""

from __future__ import annotations

import json

import pytest

from command import consilience
from consilience.data.dataset import Dataset, Example
from consilience.models.budget import Budget
from consilience.models.openai import OpenAIModel
from consilience.prompts.framing import framings
from consilience.prompts.query import Query
from consilience.store import canary as canaries
from consilience.store.canary import FEW, Canary, canary_for
from consilience.store.database import Store
from consilience.store.recovery import collect_garbage
from consilience.store.runner import ask, requests
from consilience.store.voices import FIXED_QUESTIONS, RARE, VOICE_TOLERANCE
from made_up import FILE_OPTIONS, claims, write_csv
from odd_server import said, serve_odd
from wire_client import QUICK, found

DATA = Dataset("lamps", [Example(f"The lamp number {i} is lit.") for i in range(400)])


class Shifting:
    """A server that answers every prompt alike, by a model that can be swapped."""

    def __init__(self, true=-0.4, build=None):
        self.true, self.build, self.texts = true, build, []

    def __call__(self, request, body, text):
        self.texts.append(text)
        entries = [{"token": t, "logprob": v} for t, v in ((" True", self.true), (" False", -1.8))]
        content = [{**entries[0], "top_logprobs": entries}]
        answer = {"choices": [{"logprobs": {"content": content}}], "model": "large"}
        return said(200, answer | {"system_fingerprint": self.build})

    @property
    def checks(self):
        return sum(
            text.count(statement) for text in self.texts for statement in FIXED_QUESTIONS.values()
        )


def asking(server, store, count, concurrency=4, canary=True, budget=None):
    """What one run of so many questions came to."""
    model = OpenAIModel(found(server.url, k=5, k_max=5), patience=QUICK, budget=budget)
    one = Canary(model, store) if canary else None
    queries = [Query(id, framing="plain") for id in DATA.ids[:count]]
    planned = requests(queries, DATA, framings(DATA.task, ["plain"]), model)
    return ask(planned, model, store, concurrency=concurrency, canary=one)


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_swap_is_heard_in_a_run_and_on_resuming(concurrency, monkeypatch, tmp_path):
    monkeypatch.setattr(canaries, "EVERY", 50)
    reply = Shifting()

    def swapped(request, body, text):
        # The name stays; what answers is another one from the 135th question on.
        reply.true = -0.4 if len(reply.texts) < 135 else -1.0
        return reply(request, body, text)

    with serve_odd(swapped) as server, Store(tmp_path / "s.db") as store:
        done = asking(server, store, 200, concurrency)
        assert done.calls == 200 and reply.checks >= 8
        [note] = done.notes
        assert "answers fixed questions otherwise than before (log-probabilities" in note
        assert "-0.40" in note and "now " in note and "-1.00" in note and "\n" not in note
        # The same again is no news; nothing is asked of what is known.
        assert asking(server, store, 300, concurrency).notes == []
        before = reply.checks
        assert asking(server, store, 300, concurrency).known == 300 and reply.checks == before
        first, second = store.sources()
        assert (first.voice, second.voice) == (1, 2)
        assert first.predictions + second.predictions == 300
        # Told apart at the first check after the swap.
        assert 100 <= first.predictions <= 135 + 50 + concurrency
        assert store.verify() == []


def test_a_swap_between_two_runs_is_heard_before_anything_else_is_asked():
    reply = Shifting()
    with serve_odd(reply) as server, Store() as store:
        asking(server, store, 10)
        reply.true = -1.2
        reply.texts.clear()
        assert len(asking(server, store, 20).notes) == 1
        first, second, *_ = reply.texts
        assert "tomato" in first and "early" in second
        # The first is back: told again, and known again.
        reply.true = -0.4
        assert len(asking(server, store, 30).notes) == 1
        assert [(s.voice, s.predictions) for s in store.sources()] == [(1, 20), (2, 10)]


def test_what_a_server_rounds_and_what_is_rare_is_no_other_model():
    reply = Shifting()
    with serve_odd(reply) as server, Store() as store:
        for true in (-0.4, -0.4 - 0.9 * VOICE_TOLERANCE, -0.4):
            reply.true = true
            assert asking(server, store, 10 + 5 * reply.checks).notes == []
        reply.true = RARE - 1
        asking(server, store, 60)
        reply.true = RARE - 4
        assert asking(server, store, 90).notes == []
        assert len({source.voice for source in store.sources()}) == 2


def test_builds_are_told_apart_too():
    reply = Shifting(build="fp_1")
    with serve_odd(reply) as server, Store() as store:
        asking(server, store, 10, canary=False)
        reply.build = "fp_2"
        assert "store sources" in asking(server, store, 25, canary=False).notes[0]
        found = [(s.served, s.build, s.voice, s.predictions) for s in store.sources()]
    assert found == [("large", "fp_1", 0, 10), ("large", "fp_2", 0, 15)]


def test_a_check_that_fails_changes_nothing_and_is_kept():
    def reply(request, body, text):
        return said(400, "no such statement") if "tomato" in text else None

    with serve_odd(reply) as server, Store() as store:
        done = asking(server, store, 20)
        assert (done.calls, done.failures, done.refused, done.notes) == (20, {}, {}, [])
        assert store.stats().failures == 1
        assert [source.voice for source in store.sources()] == [0]


def test_its_calls_count_in_the_budget():
    with serve_odd(lambda r, b, t: None) as server, Store() as store:
        done = asking(server, store, 20, budget=Budget(12))
        assert len(server.questions) == 12
    assert (done.calls, "12 calls is spent" in done.ended) == (10, True)


def test_it_is_asked_by_a_run_and_comes_over_where_garbage_is_left(tmp_path):
    data = write_csv(claims(), tmp_path / "claims.csv")
    with serve_odd(lambda r, b, t: None) as server:
        words = [*FILE_OPTIONS, "--model", "openai:tiny", "--base-url", server.url]
        words += ["--store", tmp_path / "s.db", "--calls-per-example", 9]
        consilience("run", data, *words)
        asked = [body for body in map(json.dumps, server.requests) if "tomato" in body]
        assert len(asked) == 1
    shown = json.loads(consilience("store", "sources", tmp_path / "s.db", "--json").stdout)
    assert [(row["model"], row["served"], row["voice"]) for row in shown] == [("tiny", "tiny", 1)]
    with Store(tmp_path / "s.db", readonly=True) as store:
        run = store.run().id
    collect_garbage(tmp_path / "s.db", tmp_path / "kept.db", [run])
    with Store(tmp_path / "kept.db", readonly=True) as store:
        assert [source.voice for source in store.sources()] == [1]


def test_a_small_run_and_a_model_that_is_computed_here_have_none():
    from consilience.models.simulated import SimulatedModel

    with Store() as store:
        assert canary_for(SimulatedModel("easy"), store, FEW) is None
        model = OpenAIModel(found("http://127.0.0.1:1/v1"))
        assert canary_for(model, store, FEW - 1) is None
        assert isinstance(canary_for(model, store, FEW), Canary)
