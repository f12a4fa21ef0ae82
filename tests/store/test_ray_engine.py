"""A plan asked on Ray: the predictions of the engine in this process, whatever dies on the way."""

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from command import consilience
from consilience.errors import InputError, MissingExtra, ServerError
from consilience.models.endpoints import Endpoints
from consilience.models.event_loop import run
from consilience.models.openai import OpenAIModel
from consilience.store.database import Store
from consilience.store.prediction_keys import prediction_key
from consilience.store.ray_engine import (
    RayWorker,
    ServedModel,
    ask_on_ray,
    keep_answers,
    query_tables,
)
from consilience.store.runner import ask
from made_up import FILE_OPTIONS, claims, write_csv
from wire_client import QUICK, TARGETS, found, request
from wire_model import Faults
from wire_server import MODEL, serve

ONCE = {"patience": replace(QUICK, attempts=1)}
SERVER = Path(__file__).parents[1] / "helpers" / "wire_server.py"


def model(server, **more):
    return OpenAIModel(found(server.url, **more), patience=QUICK)


def all_of(pool, requests):
    """The answers of a pool, one after the other."""

    async def work():
        try:
            return [await pool.ask(r) for r in requests]
        finally:
            await pool.close()

    return run(work())


def test_a_question_goes_to_another_server_where_one_fails():
    asked = [request(target) for target in TARGETS]
    with serve("vllm") as one, serve("vllm") as two:
        gone = model(one)
        alone = all_of(Endpoints([model(two)]), asked)
        both = all_of(Endpoints([model(one), model(two)]), asked)
        assert [a.logprobs for a in both] == [a.logprobs for a in alone]
        assert len(one.questions) == len(two.questions) - len(asked) == len(asked) // 2
    with serve("vllm") as two:
        pool = Endpoints([gone, model(two)])
        assert [a.logprobs for a in all_of(pool, asked)] == [a.logprobs for a in alone]
        assert len(two.questions) == len(asked)
    with pytest.raises(ServerError, match=r"Connection|connect"):
        all_of(Endpoints([gone, gone], pause=0.001), asked)


def test_servers_that_differ_are_refused():
    with serve("vllm") as one, pytest.raises(InputError, match="can do different things"):
        Endpoints([model(one), model(one, k=5)])


def test_what_no_server_allows_is_not_tried_again():
    with serve("vllm", key="another") as one, serve("vllm", key="another") as two:
        pool = Endpoints([model(one), model(two)])
        with pytest.raises(ServerError, match="HTTP 401"):
            all_of(pool, [request()])
        assert (len(one.questions), len(two.questions)) == (1, 1)


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with serve("vllm") as one, Store() as store:
        served = ServedModel(f"openai:{MODEL}", {one.url: found(one.url)})
        asked = request()
        planned = [(prediction_key(served.opened(), asked), asked)]
        with pytest.raises(MissingExtra, match=r"consilience\[ray\]"):
            ask_on_ray(planned, served, store)


def test_what_a_worker_brings_is_kept_as_what_is_asked_here():
    asked = [request(target) for target in TARGETS]
    kept = []
    for elsewhere in (False, True):
        # The third question is refused, the fifth cannot be read.
        faults = Faults({3: "400", 5: "malformed"})
        with serve("vllm", faults=faults) as server, Store() as store:
            served = ServedModel(f"openai:{MODEL}", {server.url: found(server.url)}, ONCE)
            pool = served.opened()
            planned = {prediction_key(pool, r): r for r in asked}
            if elsewhere:
                (table,) = query_tables(planned, 100)
                done = keep_answers(RayWorker(served, 1)(table), planned, pool, store)
            else:
                done = ask(list(planned.items()), pool, store, concurrency=1)
            keys = list(planned)
            assert (done.calls, len(done.failures)) == (len(asked) - 2, 2)
            assert list(done.refused.values()) == ["refused"]
            answers = [
                p and (p.key, p.query, p.logprobs, p.mass, p.usage) for p in store.predictions(keys)
            ]
            wrong = [
                (key, error.replace(server.url, "URL"), body)
                for key, error, body in store.failures(keys)
            ]
            kept.append((answers, wrong))
    assert kept[0] == kept[1]


def answers(store):
    with Store(store, readonly=True) as db:
        assert db.verify() == []
        keys = [key for rows in db.rounds(db.run().id) for key, _ in rows]
        return keys, {p.key: (p.logprobs, p.exact, p.mass) for p in db.predictions(keys) if p}


def start(log, delay=0):
    words = [sys.executable, str(SERVER), "--world", "--log", str(log), "--delay", str(delay)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def asked_of(log):
    """The prompts of the questions that a server got, those of the probe left out."""
    lines = map(json.loads, log.read_text().splitlines()) if log.exists() else []
    return [r["body"]["prompt"] for r in lines if "lives at" in str(r["body"].get("prompt", ""))]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_server_dies_half_way_and_the_plan_completes(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray keeps a token of its own
    data = write_csv(claims(300), tmp_path / "claims.csv")
    small = ["--calls-per-example", 3, "--set", "planning.shots=4"]
    serial, url = start(tmp_path / "serial.log")
    first, one = start(tmp_path / "one.log", delay=40)
    second, two = start(tmp_path / "two.log", delay=40)
    try:
        name = ["--model", "openai:tiny"]
        here = [*name, "--base-url", url, "--store", "serial.db"]
        consilience("plan", data, *FILE_OPTIONS, *here, *small, "--output", "serial.jsonl")
        consilience("ask", "serial.jsonl", *here, "--set", "model.concurrency=1")
        there = [*name, "--base-url", one, "--store", "ray.db"]
        consilience("plan", data, *FILE_OPTIONS, *there, *small, "--output", "ray.jsonl")
        words = [
            "ask",
            "ray.jsonl",
            *there,
            "--base-url",
            two,
            "--engine",
            "ray",
            "--workers",
            2,
            "--json",
        ]
        words += ["--set", "model.concurrency=4"]

        def kill_half_way():
            give_up = time.monotonic() + 400
            while len(asked_of(tmp_path / "one.log")) < 75 and time.monotonic() < give_up:
                time.sleep(0.02)
            first.send_signal(signal.SIGKILL)

        killer = threading.Thread(target=kill_half_way)
        killer.start()
        done = json.loads(consilience(*words).stdout)
        killer.join()
        assert first.wait(10) == -signal.SIGKILL
        assert (done["calls"], done["failed"]) == (300, 0)
        assert answers("ray.db") == answers("serial.db")
        asked = [asked_of(tmp_path / f"{name}.log") for name in ("one", "two")]
        for texts in asked:
            assert len(set(texts)) == len(texts)
        # Asked of both is only what the first was killed over: two workers, four at once.
        assert 75 <= len(asked[0]) < 250
        assert len(set(asked[0]) & set(asked[1])) <= 8
        assert len(set(asked[0]) | set(asked[1])) == 300
        again = json.loads(consilience(*words).stdout)
        assert (again["calls"], again["known"]) == (0, 300)
        assert [asked_of(tmp_path / f"{name}.log") for name in ("one", "two")] == asked
    finally:
        for process in (serial, first, second):
            process.kill()
            process.wait()
            process.stdout.close()
        import ray

        ray.shutdown()
