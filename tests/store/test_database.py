"""The store keeps what it acknowledged, bit for bit, and can prove it."""

import hashlib
import json
import math
import random
import re
import sqlite3
import struct
import sys
from dataclasses import replace

import pytest

from consilience.data.dataset import Dataset
from consilience.data.relations import AtMostOne
from consilience.data.task import Task
from consilience.errors import AnswerError, StoreError
from consilience.models.base import Completion
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.prediction_keys import prediction_key
from consilience.store.texts import Text, text_key
from stored import DATA, IDS, MODEL, NOTE, TEXTS, WRITTEN, Named, answer, ask, filled


def bits(value):
    return struct.pack("<d", value)


# --- identity ------------------------------------------------------------------------------


def test_the_key_depends_on_everything_that_decides_the_answer():
    base = ask()
    keys = {
        prediction_key(MODEL, base),
        prediction_key(Named(name="other"), base),
        prediction_key(Named(settings={"temperature": 1.0}), base),
        prediction_key(MODEL, replace(base, prompt="another prompt")),
        prediction_key(MODEL, replace(base, prompt=[{"role": "user", "content": "prompt 0"}])),
        prediction_key(MODEL, replace(base, label_names=("True", "False"))),
        prediction_key(MODEL, ask(repeat=1)),
    }
    assert len(keys) == 7
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", key) for key in keys)


def test_the_key_depends_on_nothing_else():
    base = prediction_key(MODEL, ask())
    assert prediction_key(MODEL, ask(framing="renamed", shots=())) == base
    reordered = {"endpoint": "completions", "temperature": 0}
    assert prediction_key(Named(settings=reordered), ask()) == base


def test_the_key_is_what_the_documentation_says():
    # A change here makes every store useless: put another tag beside "sha256:" instead.
    content = (
        '{"label_names":["False","True"],"model":"m","prompt":"d\\u00e9j\\u00e0 vu","repeat":2,'
        '"settings":{"endpoint":"chat","temperature":0.5,"top_p":1}}'
    )
    model = Named("m", settings={"top_p": 1.0, "temperature": 0.5, "endpoint": "chat"})
    assert prediction_key(model, ask(prompt="déjà vu", repeat=2)) == (
        "sha256:" + hashlib.sha256(content.encode()).hexdigest()
    )


@pytest.mark.parametrize("settings", [{"a": math.nan}, {"a": {1, 2}}, {"a": math.inf}])
def test_settings_that_are_not_plain_data_are_refused(settings):
    with pytest.raises(StoreError, match="plain JSON"):
        prediction_key(Named(settings=settings), ask())


# --- texts ---------------------------------------------------------------------------------


def test_the_key_of_a_text_depends_on_what_decides_it():
    keys = {
        text_key(MODEL, NOTE),
        text_key(Named(name="other"), NOTE),
        text_key(Named(writing={"temperature": 1}), NOTE),
        text_key(MODEL, replace(NOTE, prompt="What else?")),
        text_key(MODEL, replace(NOTE, max_tokens=61)),
    }
    assert len(keys) == 5
    # How the model is asked for labels is no part of it.
    assert text_key(Named(settings={"k": 5}), NOTE) in keys
    content = (
        '{"model":"tiny","prompt":"What is it?",'
        '"settings":{"max_tokens":60,"stop":"\\n\\n","temperature":0}}'
    )
    assert text_key(MODEL, NOTE) == "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def test_a_text_comes_back_as_it_was_first_written():
    with Store() as store:
        key = store.add_text(MODEL, NOTE, WRITTEN, 0.125)
        assert key == text_key(MODEL, NOTE)
        assert store.add_text(MODEL, NOTE, Completion("other"), 0.5) == key
        known = Text(key, " déjà vu", {"prompt_tokens": 4}, 0.125)
        assert store.texts(["sha256:0", key]) == [None, known]
        detail = store.detail(key)
        assert (detail["prompt"], detail["raw"]) == (NOTE.prompt, WRITTEN.raw)
        assert detail["settings"] == MODEL.writing | {"max_tokens": 60}
        half = store.add_text(MODEL, replace(NOTE, max_tokens=1), Completion("cut \ud83d"), 0.0)
        assert store.texts([half])[0].text == "cut \\ud83d"
        with pytest.raises(AnswerError, match="seconds"):
            store.add_text(MODEL, replace(NOTE, max_tokens=2), WRITTEN, math.nan)
        with pytest.raises(StoreError, match="no prediction sha256:0, and no text"):
            store.detail("sha256:0")
        assert store.stats().texts == 2 and store.verify() == []


# --- predictions ---------------------------------------------------------------------------


def test_a_prediction_comes_back_as_it_went_in():
    with Store() as store:
        request = ask(repeat=2)
        key = store.add(MODEL, request, answer(), 0.125)
        [got] = store.predictions([key])
        assert got.query == request.query
        assert (got.logprobs, got.exact, got.mass) == ((-0.25, -1.5), (True, True), 0.75)
        assert (got.label_names, got.seconds) == (("False", "True"), 0.125)
        assert got.usage == {"prompt_tokens": 11, "completion_tokens": 1}
        detail = store.detail(key)
        assert detail["prompt"] == "prompt 0" and detail["raw"] == answer().raw
        assert detail["settings"] == MODEL.settings


def test_predictions_follow_the_order_of_the_keys():
    with Store() as store:
        keys = [store.add(MODEL, ask(i), answer(-0.001 * i), 0.0) for i in range(1200)]
        random.Random(0).shuffle(keys)
        asked = [*keys, "sha256:unknown", keys[0]]
        got = store.predictions(asked)
        assert [p and p.key for p in got] == [*keys, None, keys[0]]
        known = store.known(asked)
        assert known == set(keys)
        # No copies: the keys of a run are large.
        assert {id(key) for key in known} <= {id(key) for key in asked}
        assert store.predictions([]) == [] and store.known([]) == set()


def test_every_double_survives_bit_for_bit(tmp_path):
    draw = random.Random(0)
    finite = (struct.unpack("<d", draw.randbytes(8))[0] for _ in range(10_000))
    values = [-abs(x) for x in finite if math.isfinite(x)][:2000]
    values += [-0.0, -5e-324, -sys.float_info.max]
    with Store(tmp_path / "a.db") as store:
        keys = []
        for i, value in enumerate(values):
            mass, seconds = draw.random() ** 9, draw.expovariate(0.1)
            got = answer(value, mass=mass, usage={"x": value}, raw=[value])
            keys.append((store.add(MODEL, ask(i), got, seconds), value, mass, seconds))
    with Store(tmp_path / "a.db") as store:
        store.export_jsonl(tmp_path / "a.jsonl")
        with Store() as other:
            other.import_jsonl(tmp_path / "a.jsonl")
            for reader in (store, other):
                for key, value, mass, seconds in keys:
                    [got] = reader.predictions([key])
                    assert bits(got.logprobs[0]) == bits(got.usage["x"]) == bits(value)
                    assert bits(got.mass) == bits(mass) and bits(got.seconds) == bits(seconds)
                assert bits(reader.detail(keys[0][0])["raw"][0]) == bits(values[0])


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"logprobs": (-math.inf, -1.0)}, 0.0),
        ({"logprobs": (math.nan, -1.0)}, 0.0),
        ({"logprobs": (0.1, -1.0)}, 0.0),
        ({"logprobs": (-1.0,)}, 0.0),
        ({"exact": (True,)}, 0.0),
        ({"mass": math.nan}, 0.0),
        ({"mass": 1.1}, 0.0),
        ({"mass": -0.1}, 0.0),
        ({}, math.nan),
        ({}, -1.0),
    ],
)
def test_values_that_cannot_be_a_prediction_are_refused(changes, seconds):
    with Store() as store:
        with pytest.raises(AnswerError, match="cannot be kept") as caught:
            store.add(MODEL, ask(), answer(**changes), seconds)
        assert json.loads(caught.value.body) == answer().raw
        assert store.stats().models == ()


def test_adding_a_known_key_keeps_the_first_answer():
    with Store() as store:
        key = store.add(MODEL, ask(), answer(), 1.0)
        assert store.add(MODEL, ask(framing="other"), answer(-2.0), 2.0) == key
        [got] = store.predictions([key])
        assert (got.logprobs[0], got.seconds, got.query.framing) == (-0.25, 1.0, "plain")


@pytest.mark.parametrize(
    "raw", [None, [], {"a": [1, 2.5, None, True]}, "日本 \x00 \ud83d", {"x": math.inf}, 10**40]
)
def test_the_raw_response_is_kept_as_it_is(raw):
    with Store() as store:
        key = store.add(MODEL, ask(prompt="ü \ud83d \x00"), answer(raw=raw), 0.0)
        assert store.detail(key)["raw"] == raw
        assert store.detail(key)["prompt"] == "ü \ud83d \x00"
        assert store.verify() == []


def test_a_raw_response_that_is_not_plain_data_is_refused():
    with Store() as store, pytest.raises(StoreError, match="plain JSON"):
        store.add(MODEL, ask(), answer(raw=object()), 0.0)


def test_an_unknown_key_has_no_detail():
    with Store() as store, pytest.raises(StoreError, match="no prediction sha256:x"):
        store.detail("sha256:x")


# --- data sets, runs, plans ----------------------------------------------------------------


def test_a_data_set_survives_whole():
    task = Task("Which?", ("a", "b", "c"), None, None)
    data = Dataset("k3", TEXTS, [AtMostOne((IDS[0], IDS[2]), prior=True, label=2)], task=task)
    with Store() as store:
        assert store.save_dataset(data) == store.save_dataset(data) == data.fingerprint
        assert store.dataset(data.fingerprint).to_json() == data.to_json()
        with pytest.raises(StoreError, match="no data set"):
            store.dataset("nothing")


def test_a_run_is_what_its_inputs_are():
    with Store() as store:
        run = store.start_run(DATA, MODEL, {"calls": 4}, seed=0)
        assert store.start_run(DATA, MODEL, {"calls": 4.0}, seed=0) == run
        others = [
            store.start_run(DATA, MODEL, {"calls": 4}, seed=1),
            store.start_run(DATA, MODEL, {"calls": 5}, seed=0),
            store.start_run(DATA, Named("other"), {"calls": 4}, seed=0),
            store.start_run(DATA, Named(settings={}), {"calls": 4}, seed=0),
            store.start_run(DATA, Named(style="chat"), {"calls": 4}, seed=0),
            store.start_run(Dataset("x", TEXTS), MODEL, {"calls": 4}, seed=0),
        ]
        assert len({run, *others}) == 7
        assert [r.id for r in store.runs()] == [*reversed(others), run]
        assert store.run().id == others[-1] and store.run(run[:6]).id == run
        found = store.run(run)
        assert found.model_settings == MODEL.settings and found.settings == {"calls": 4}
        assert found.dataset == DATA.fingerprint and found.dataset_name == "tiny"
        assert {"python", "consilience", "torch"} <= found.versions.keys()
        with pytest.raises(StoreError, match=f"no run 'zz'; the runs are: .*{run}"):
            store.run("zz")
        with pytest.raises(StoreError, match="several runs"):
            store.run("")


def test_a_store_without_runs_says_so():
    with Store() as store, pytest.raises(StoreError, match="no runs yet"):
        store.run()


def test_a_plan_is_kept_in_order_and_never_changed():
    with Store() as store:
        run = store.start_run(DATA, MODEL, {}, seed=0)
        shots = ((IDS[2], 0), (IDS[1], 1))
        rows = [
            (prediction_key(MODEL, ask(i)), Query(IDS[i % 6], shots, "f", i, (None, 0)[i % 2]))
            for i in range(9)
        ]
        assert store.rounds(run) == []
        store.add_round(run, 0, rows[:5])
        store.add_round(run, 0, tuple(rows[:5]))
        store.add_round(run, 1, rows[5:])
        assert store.rounds(run) == [rows[:5], rows[5:]]
        with pytest.raises(StoreError, match="another plan"):
            store.add_round(run, 0, rows[:4])
        with pytest.raises(StoreError, match="another plan"):
            store.add_round(run, 1, rows[5:][::-1])
        for round, content in [(3, rows), (2, []), (-1, rows)]:
            with pytest.raises(StoreError, match="cannot follow its 2 rounds"):
                store.add_round(run, round, content)
        with pytest.raises(StoreError, match="FOREIGN KEY"):
            store.add_round("unknown", 0, rows)
        assert store.rounds(run) == [rows[:5], rows[5:]]


def test_a_run_counts_what_is_answered_and_what_failed():
    with Store() as store:
        run = store.start_run(DATA, MODEL, {}, seed=0)
        requests = [ask(i) for i in range(6)]
        keys = [prediction_key(MODEL, request) for request in requests]
        store.add_round(run, 0, [(k, r.query) for k, r in zip(keys[:4], requests, strict=False)])
        store.add_round(run, 1, [(k, r.query) for k, r in zip(keys[4:], requests[4:], strict=True)])
        for i in (0, 0, 1):
            store.add_failure(keys[i], requests[i], "HTTP 503", None)
        for i in (1, 2, 5):
            store.add(MODEL, requests[i], answer(), 0.0)
        found = store.run(run)
        assert (found.rounds, found.planned, found.answered, found.failed) == (2, 6, 3, 1)
        assert store.verify() == []


def test_what_came_back_with_a_failure_is_kept(tmp_path):
    with Store(tmp_path / "a.db") as store:
        store.add_failure(prediction_key(MODEL, ask()), ask(), "HTTP 200, no choices", "{} \ud83d")
        assert store.stats().failures == 1 and store.verify() == []
    db = sqlite3.connect(tmp_path / "a.db")
    assert db.execute("SELECT error, body FROM failures").fetchone() == (
        "HTTP 200, no choices",
        "{} \\ud83d",
    )
    db.close()


def test_the_newest_probe_is_the_one_that_counts():
    with Store() as store:
        assert store.probe("m", "http://x") is None
        store.save_probe("m", "http://x", {"n": 1})
        store.save_probe("m", "http://x", {"n": 2})
        store.save_probe("m", "http://y", {"n": 3})
        assert store.probe("m", "http://x") == {"n": 2}


def test_statistics():
    with filled() as store:
        stats = store.stats()
        [tiny] = stats.models
        assert (tiny.model, tiny.predictions, tiny.calls) == ("tiny", 20, 20)
        assert tiny.bounded == pytest.approx(7 / 20) and tiny.exact == pytest.approx(13 / 20)
        assert (tiny.prompt_tokens, tiny.cached_tokens, tiny.completion_tokens) == (220, None, 20)
        assert tiny.mean_mass == pytest.approx(0.75) and tiny.seconds == pytest.approx(10)
        assert (stats.failures, stats.texts) == (2, 1)
        assert (stats.runs, stats.datasets) == (1, 1)
        store.add(Named("other"), ask(), answer(usage={"calls": 3}), 0.0)
        other = store.stats().models[0]
        assert (other.calls, other.prompt_tokens) == (3, None)


def test_characters_per_token_are_those_that_were_charged():
    with Store() as store:
        assert store.characters_per_token("tiny") is None
        store.add(MODEL, ask(prompt="é" * 30), answer(usage={"prompt_tokens": 10}), 0.0)
        store.add(MODEL, ask(prompt="x" * 99), answer(usage={}), 0.0)
        assert store.characters_per_token("tiny") == 3.0
        messages = [{"role": "user", "content": "y" * 20}, {"role": "assistant", "content": "z"}]
        store.add(MODEL, ask(prompt=messages), answer(usage={"prompt_tokens": 7}), 0.0)
        assert store.characters_per_token("tiny") == 51 / 17
        assert store.characters_per_token("other") is None


def test_labels_are_kept_once_and_read_with_their_texts(tmp_path):
    with filled(tmp_path / "a.db") as store:
        run = store.run().id
        sql = "SELECT created, example, text, label, class, probability, open FROM labels"
        kept = [tuple(row) for row in store._rows(sql)]
        assert [row[1:] for row in kept] == [
            (IDS[0], "text 1", 1, "True", 0.75, 0),
            (IDS[1], "text 2", None, None, None, 1),
        ]
        rows = [dict(row) for row in store._rows("SELECT * FROM labels")]
        store.save_labels(run, rows)
        assert [tuple(row) for row in store._rows(sql)] == kept
        store.save_labels(run, rows[:1])
        assert len(store._rows(sql)) == 3


def test_prompts_are_read_as_texts():
    with Store() as store:
        store.add(MODEL, ask(prompt='Is it?\n\n"déjà":'), answer(), 0.0)
        turns = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "Yes"}]
        store.add(MODEL, ask(prompt=turns), answer(), 0.0)
        prompts = [row[0] for row in store._rows("SELECT prompt FROM prompts")]
    assert prompts == ['Is it?\n\n"déjà":', "user: Is it?\n\nassistant: Yes"]


def test_what_a_block_shares_is_written_once():
    shots = tuple((id, i % 2) for i, id in enumerate(IDS[1:]))
    shown = "\n\n".join(f"a text of some length, number {i}\nAnswer: yes" for i in range(30))
    raw = {"choices": [{"top": {f"word {i}": -0.125 * i for i in range(40)}}]}
    with Store() as store:
        prompts = [f"Is it?\n\n{shown}\n\ntarget {i}\n\nin two parts\nAnswer:" for i in range(9)]
        for i, prompt in enumerate(prompts):
            made = answer(raw=raw | {"id": f"cmpl-{i}"})
            store.add(MODEL, ask(i, prompt=prompt, shots=shots), made, 0.5)
        rows = store._rows("SELECT head, tail, length(raw) FROM answers")
        # The first cannot know what the others will share.
        assert len({row[0] for row in rows}) == 2
        assert all(len(row[1]) < 60 and row[2] < 120 for row in rows[1:])
        assert len({row[0] for row in store._rows("SELECT shots FROM answers")}) == 1
        kept = [
            store.detail(row[0])
            for row in store._rows("SELECT key FROM predictions ORDER BY rowid")
        ]
        assert [row["prompt"] for row in kept] == prompts
        assert [row["raw"]["id"] for row in kept] == [f"cmpl-{i}" for i in range(9)]
        assert store.verify() == []
