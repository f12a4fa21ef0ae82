"""What the tests of the HTTP client share: requests, capabilities, and one way to ask."""

from __future__ import annotations

import asyncio

from consilience.data.task import Task
from consilience.models.base import Request
from consilience.models.capabilities import Capabilities
from consilience.models.openai import OpenAIModel
from consilience.models.server import RetryPolicy
from consilience.prompts.framing import framings, render
from consilience.prompts.query import Query
from wire_server import MODEL

KEYS = ("CONSILIENCE_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY")
QUICK = RetryPolicy(timeout=10, total=60, attempts=5, pause=0.002, longest_pause=0.02)
FRAMINGS = framings(Task(), ["plain", "negated", "letters"])
TARGETS = [f"The {i}th stone of the north is warm." for i in range(6)]
SHOTS = [("Snow is fire.", 0), ("Paris is the capital of France.", 1)]


def request(target=TARGETS[0], framing=FRAMINGS[0], style="text"):
    prompt = render(framing, target, SHOTS, style)
    return Request(Query(target, framing=framing.name), prompt, framing.label_names)


def found(url, **more):
    given = {"api": "completions", "style": "text", "k": 20, "k_max": 20} | more
    return Capabilities(url, MODEL, **given)


def asked(capabilities, requests, **options):
    """The answers to some requests, asked at once."""

    async def work():
        model = OpenAIModel(capabilities, **({"patience": QUICK} | options))
        try:
            return await asyncio.gather(*(model.ask(r) for r in requests))
        finally:
            await model.close()

    return asyncio.run(work())


def all_requests(style):
    return [request(t, f, style) for t in TARGETS for f in FRAMINGS]
