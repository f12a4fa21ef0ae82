"""A model that is swapped behind its name is noticed, in a run and when it goes on."""

from __future__ import annotations

import json
import sqlite3

import pytest
from test_gate import questions

from consilience.errors import ServerError
from consilience.models.openai import OpenAIModel
from consilience.models.served import Served, Watch, served_by
from consilience.store.database import Store
from consilience.store.runner import ask
from odd_server import said, serve_odd
from wire_client import QUICK, found


def answer(model, build=None):
    entries = [{"token": t, "logprob": v} for t, v in ((" True", -0.4), (" False", -1.2))]
    content = {"choices": [{"logprobs": {"content": [{**entries[0], "top_logprobs": entries}]}}]}
    return said(200, content | {"model": model, "system_fingerprint": build})


def asking(server, store, count, concurrency=1):
    model = OpenAIModel(found(server.url, k=5, k_max=5), patience=QUICK)
    return ask(questions(model, count), model, store, concurrency=concurrency)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_another_model_in_the_middle_ends_it_and_is_kept_apart(concurrency, tmp_path):
    seen = []

    def reply(request, body, text):
        seen.append(1)
        return answer("large-1" if len(seen) <= 10 else "small-1")

    with serve_odd(reply) as server, Store(tmp_path / "s.db") as store:
        with pytest.raises(ServerError, match=r"'small-1', and did with 'large-1' before"):
            asking(server, store, 40, concurrency)
        assert len(seen) <= 10 + concurrency
    with Store(tmp_path / "s.db") as store:
        raws = store.latest("tiny")
    with sqlite3.connect(tmp_path / "s.db") as db:
        others = [json.loads(body) for (body,) in db.execute("SELECT body FROM failures")]
    db.close()
    assert {raw["model"] for raw in raws} == {"large-1"}
    assert others and {raw["model"] for raw in others} == {"small-1"}


def test_another_model_on_resuming_is_refused_and_another_build_is_told():
    name, build = "large-1", "fp_1"
    with serve_odd(lambda r, b, t: answer(name, build)) as server, Store() as store:
        assert asking(server, store, 10).notes == []
        build = "fp_2"
        done = asking(server, store, 20)
        assert done.calls == 10
        assert [note for note in done.notes if "another build ('fp_2')" in note] == done.notes != []
        name = "large-2"
        with pytest.raises(ServerError, match="two models' answers"):
            asking(server, store, 30)
        # What is known is not asked, so nobody is compared.
        assert asking(server, store, 20).known == 20


def test_who_says_nothing_is_not_suspected():
    watch = Watch("m", [Served(None, None)])
    for raw in (None, {}, {"model": 3}, {"first": {"model": None}}, [1]):
        assert watch.check(raw) is None
    assert served_by({"first": {"model": "a", "system_fingerprint": "b"}}) == ("a", "b")
