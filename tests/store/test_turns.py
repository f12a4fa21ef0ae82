"""Which request is sent next: by whole families to a server with slots, firsts first to others."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import JSONResponse
from starlette.routing import Route

from consilience.data.dataset import Dataset, Example
from consilience.models.capabilities import Capabilities
from consilience.models.openai import OpenAIModel
from consilience.prompts.framing import framings
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.runner import ask, requests
from consilience.store.turns import BySlot, FirstsFirst
from wire_model import tokenize
from wire_run import running

ROWS, BLOCKS, SHOTS = 20, 6, 8


class SlotServer:
    """A server that keeps one prompt in each of its slots, as llama-server does.

    A request without the number of a slot goes to the one whose prompt begins most alike, and what
    is in use is not free. `computed` are the characters that no slot had.
    """

    def __init__(self, slots: int) -> None:
        self.kept = [""] * slots
        self.free = [asyncio.Lock() for _ in range(slots)]
        self.prompts: dict[int, list[str]] = defaultdict(list)
        self.computed = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/props", self.props, methods=["GET"]),
                Route("/tokenize", self.tokenize, methods=["POST"]),
                Route("/v1/completions", self.answer, methods=["POST"]),
            ]
        )

    async def props(self, asked: Asked) -> JSONResponse:
        return JSONResponse({"total_slots": len(self.kept)})

    async def tokenize(self, asked: Asked) -> JSONResponse:
        return JSONResponse({"tokens": tokenize((await asked.json())["content"])})

    async def answer(self, asked: Asked) -> JSONResponse:
        body: dict[str, Any] = json.loads(await asked.body())
        prompt = body["prompt"]
        slot = body.get("id_slot")
        if slot is None:
            idle = [s for s, lock in enumerate(self.free) if not lock.locked()]
            slot = max(idle or range(len(self.free)), key=lambda s: same(self.kept[s], prompt))
        async with self.free[slot]:
            self.computed += len(prompt) - same(self.kept[slot], prompt)
            self.kept[slot] = prompt
            self.prompts[slot].append(prompt)
            await asyncio.sleep(0.001)
        top = [{"token": " True", "logprob": -0.5}, {"token": " False", "logprob": -1.5}]
        said = {"content": [{"token": " True", "logprob": -0.5, "top_logprobs": top}]}
        return JSONResponse({"model": "tiny", "choices": [{"text": " True", "logprobs": said}]})


def same(a: str, b: str) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def planned() -> tuple[Dataset, list[Query]]:
    """Blocks with a list of shots each, their queries mixed."""
    texts = [f"The lamp number {i} is lit at night." for i in range(BLOCKS * SHOTS + ROWS)]
    data = Dataset("lamps", [Example(text) for text in texts])
    rows = data.ids[-ROWS:]
    lists = [
        tuple((id, i % 2) for i, id in enumerate(data.ids[b * SHOTS : (b + 1) * SHOTS]))
        for b in range(BLOCKS)
    ]
    return data, [Query(id, shots, "plain") for id in rows for shots in lists]


def asked_of(slots: int, tokenizer: Any, concurrency: int) -> tuple[SlotServer, float]:
    """The server after all was asked, and what it computed beside the least that it could."""
    server = SlotServer(slots)
    data, queries = planned()
    with running(server.app()) as address, Store() as store:
        found = Capabilities(
            f"{address}/v1", "tiny", "completions", "text", 2, 2, tokenizer=tokenizer
        )
        model = OpenAIModel(found)
        rows = requests(queries, data, framings(data.task, ["plain"]), model)
        done = ask(rows.by_prefix(), model, store, concurrency=concurrency)
        prompts = sorted(request.prompt for _, request in rows)
    assert done.calls == len(queries) and not done.failures
    least = sum(map(len, prompts)) - sum(same(a, b) for a, b in pairwise(prompts))
    return server, server.computed / least


@pytest.mark.parametrize("slots", [1, 4, 16])
def test_a_server_with_slots_computes_each_list_of_shots_once(slots: int) -> None:
    server, ratio = asked_of(slots, "llama-server", 8)
    assert ratio < 1.1
    changes = sum(
        prompt.rpartition("\n\n")[0] != before.rpartition("\n\n")[0]
        for prompts in server.prompts.values()
        for before, prompt in pairwise(["", *prompts])
    )
    assert changes == BLOCKS
    assert len(server.prompts) == min(slots, BLOCKS, 8)


def test_a_server_that_does_not_tell_computes_more() -> None:
    assert asked_of(4, None, 8)[1] > 1.3


def started(turns: Any, workers: range) -> list[asyncio.Task[str | None]]:
    return [asyncio.ensure_future(turns.take(worker)) for worker in workers]


def test_a_slot_has_one_family_after_the_other() -> None:
    async def taken() -> list[str | None]:
        turns = BySlot(["abc", "de", "f"], 2)
        # Workers 0 and 2 belong to the first slot, 1 and 3 to the second.
        assert list(await asyncio.gather(*started(turns, range(4)))) == ["a", "d", "b", "e"]
        (other,) = started(turns, range(1, 2))
        await asyncio.sleep(0)
        turns.done("d")
        await asyncio.sleep(0.01)
        assert not other.done()
        turns.done("e")
        assert await other == "f"
        assert await turns.take(0) == "c"
        for key in "abc":
            turns.done(key)
        return [await turns.take(0), await turns.take(2)]

    assert asyncio.run(taken()) == [None, None]


def test_the_rest_of_a_family_follows_its_first() -> None:
    async def others() -> list[str | None]:
        turns = FirstsFirst(["abc", "d", "ef"])
        assert [await turns.take(0) for _ in range(3)] == ["a", "d", "e"]
        waiting = started(turns, range(4))
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        turns.done("d")  # nothing depends on it
        turns.done("e")
        await asyncio.sleep(0)
        assert [task.done() for task in waiting] == [True, False, False, False]
        turns.done("a")
        return list(await asyncio.gather(*waiting))

    assert asyncio.run(others()) == ["f", "b", "c", None]
