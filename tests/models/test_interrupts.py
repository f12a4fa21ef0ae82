"""Ctrl-C and SIGTERM, as a terminal and a service manager send them to a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from consilience.models.interrupts import OnInterrupt
from made_up import TASK_OPTIONS
from odd_server import said, serve_odd

ROWS = 400
LANES = ("--set", "model.concurrency=8")


@pytest.fixture
def claims(tmp_path):
    path = tmp_path / "claims.csv"
    path.write_text("text\n" + "".join(f"The lamp number {i} is lit.\n" for i in range(ROWS)))
    return path


def started(claims, server, store, *more):
    """A run in a process of its own, once it has asked a few rows."""
    words = [
        "run",
        claims,
        *TASK_OPTIONS,
        "--model",
        "openai:tiny",
        "--base-url",
        server.url,
        "--store",
        store,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "consilience", *map(str, words), *LANES, *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # As a shell starts it in the foreground, whoever runs the tests.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    give_up = time.monotonic() + 120
    while len(rows_asked(server)) < 20 and time.monotonic() < give_up:
        time.sleep(0.02)
    return process


def rows_asked(server):
    """The prompts about rows, those in lists too."""
    prompts = [r["body"].get("prompt", "") for r in server.questions]
    each = [q for p in prompts for q in (p if isinstance(p, list) else [p])]
    return [prompt for prompt in each if "lamp number" in prompt]


def kept(store):
    """How many answers about rows are in the store; the canary's are about none."""
    rows = "SELECT count(*) FROM predictions WHERE framing != 'canary'"
    with sqlite3.connect(store) as db:
        count = db.execute(rows).fetchone()[0]
    db.close()
    return count


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_what_is_under_way(number, claims, tmp_path):
    store = tmp_path / "s.db"
    with serve_odd(lambda r, b, t: None, delay=0.4) as server:
        process = started(claims, server, store)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        asked = len(rows_asked(server))
    assert process.returncode == 1
    assert "what is under way is waited for and kept" in err
    assert "the same command goes on" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert out == ""
    # All that was asked is kept, and nothing was asked after the signal but what had begun.
    assert kept(store) == asked <= 20 + 2 * 8


@pytest.mark.slow
def test_the_second_signal_stops_at_once(claims, tmp_path):
    store = tmp_path / "s.db"
    with serve_odd(lambda r, b, t: None, delay=0.2) as server:
        process = started(claims, server, store)
        server.delay = 30.0
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert time.monotonic() - before < 10
        server.delay = 0.0
    assert process.returncode == 1
    assert "interrupted" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert kept(store) >= 12


@pytest.mark.slow
def test_pauses_are_not_waited_for(claims, tmp_path):
    """A server that asks for a minute: nothing is under way, so the first signal ends it."""
    wait = said(429, "slow down", **{"retry-after": "50"})
    slow = []

    def reply(request, body, text):
        return wait if slow and text else None

    with serve_odd(reply, delay=0.05) as server:
        process = started(claims, server, tmp_path / "s.db")
        slow.append(True)
        time.sleep(0.5)
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert time.monotonic() - before < 10
    assert process.returncode == 1
    assert "Traceback" not in err


def test_a_signal_wakes_who_is_in_the_block_and_nobody_who_has_left_it():
    async def woken(*, left):
        times = []
        block = OnInterrupt(asyncio.get_running_loop(), lambda: times.append(1))
        with block:
            block()
            if not left:
                await asyncio.sleep(0.01)
        # A task that is cancelled once it has its answer would end in a traceback.
        await asyncio.sleep(0.01)
        return len(times)

    assert [asyncio.run(woken(left=left)) for left in (False, True)] == [1, 0]
