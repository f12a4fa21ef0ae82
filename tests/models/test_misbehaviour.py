"""Each kind of misbehaviour, once and for good: classified, nothing invented, nothing leaked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from consilience.errors import ModelError
from consilience.models.base import Answer
from consilience.models.openai import OpenAIModel
from consilience.models.server import RetryPolicy
from hostile_replies import answer, http
from misbehaviour import KINDS, Kind
from raw_server import Asked, RawServer, Write, serve_raw
from wire_client import found, request

pytestmark = pytest.mark.slow

KEY = "sk-very/secret+0123456789"
ATTEMPTS = 2
PATIENCE = RetryPolicy(timeout=10, attempts=ATTEMPTS, pause=0.001, longest_pause=0.002)
SLOW = ("a pause", "a slow drip")
"""The kinds that end when the time is over."""
QUESTION = request("The lamp is lit.")


def right(asked: Asked, write: Write) -> None:
    write(http(answer(asked)))


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with serve_raw(right) as server:
        yield server


@pytest.fixture(scope="module")
def calm(server: RawServer) -> Any:
    [said] = put(server, 1)
    return said


@pytest.fixture(autouse=True)
def with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIENCE_API_KEY", KEY)


def put(server: RawServer, times: int, name: str = "") -> list[Answer | ModelError]:
    """What comes of asking one question so many times, one after the other."""
    patience = replace(PATIENCE, timeout=0.5) if name in SLOW else PATIENCE

    async def work() -> list[Answer | ModelError]:
        model = OpenAIModel(found(server.url), patience=patience)
        came: list[Answer | ModelError] = []
        for _ in range(times):
            try:
                came.append(await model.ask(QUESTION))
            except ModelError as error:
                came.append(error)
        await model.close()
        return came

    server.asked.clear()
    return asyncio.run(work())


def refused(error: Answer | ModelError, kind: Kind) -> None:
    """The failure that a kind is to end in, in one line without the key."""
    assert isinstance(error, ModelError)
    assert (error.fatal, error.reason is not None) == (kind.taken == "all", kind.taken == "row")
    line = str(error)
    assert line.isprintable() and len(line) < 1_000 and "http://127.0.0.1" in line
    for text in (line, error.body or ""):
        assert KEY not in text.replace("\\", "")


def test_there_are_more_than_a_hundred() -> None:
    assert len(KINDS) > 100


@pytest.mark.parametrize("name", KINDS)
def test_it_passes_and_changes_no_answer(name: str, server: RawServer, calm: Answer) -> None:
    kind, number = KINDS[name], count()
    server.says = lambda asked, write: (right if next(number) else kind.says)(asked, write)
    first, second = put(server, 2, name)
    if kind.taken in ("row", "all"):
        refused(first, kind)
        assert len(server.asked) == 2
    else:
        assert isinstance(first, Answer)
        assert (first.logprobs, first.exact, first.mass) == (calm.logprobs, calm.exact, calm.mass)
        assert KEY not in json.dumps(first.raw)
        assert len(server.asked) == 2 + (kind.taken == "again")
    assert isinstance(second, Answer) and second.logprobs == calm.logprobs


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.taken != "read"])
def test_it_lasts_and_ends_in_a_line(name: str, server: RawServer) -> None:
    kind = KINDS[name]
    server.says = kind.says
    [error] = put(server, 1, name)
    refused(error, kind)
    assert len(server.asked) == (ATTEMPTS if kind.taken == "again" else 1)
