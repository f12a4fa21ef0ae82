"""Answers that nobody would write by hand, through the whole client over a socket.

What comes back is an answer that could be true, or one line; never anything else.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.errors import ModelError
from consilience.models.base import Answer
from consilience.models.openai import OpenAIModel
from consilience.models.server import RetryPolicy
from fuzzed import fuzzing
from odd_server import OddServer, said, serve_odd
from wire_client import found, request

AT_ONCE = 25
"""So many answers are drawn together."""

ONCE = RetryPolicy(timeout=10, total=20, attempts=1, pause=0.001, longest_pause=0.002)

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([-0.1, 0, 1e308, "True", " False", "length", "stop", "content_filter"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["True", " True", "False", " False", "true", "Tr", "\n", "Yes", ""])
LOGPROBS = st.floats(-30, 0) | st.sampled_from([-1e9, 0.0, -9999.0, 0.5])


@st.composite
def bodies(draw: st.DrawFn) -> Any:
    """A response to a completions request as it should be, perhaps with a fault or two."""
    top = draw(st.dictionaries(NAMES, LOGPROBS, min_size=1, max_size=6))
    token = draw(st.sampled_from(sorted(top)))
    body = {
        "id": "x",
        "object": "text_completion",
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "text": token,
                "finish_reason": "length",
                "logprobs": {
                    "tokens": [token],
                    "token_logprobs": [top[token]],
                    "top_logprobs": [top],
                    "text_offset": [0],
                },
            }
        ],
        "usage": {"prompt_tokens": draw(st.integers(0, 99)), "completion_tokens": 1},
    }
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        spoil(draw, body)
    return body


def spoil(draw: st.DrawFn, body: Any) -> None:
    """Puts something else, or nothing, in the place of one value of a response."""
    at = body
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and draw(st.booleans()):
            at = at[key]
            continue
        if draw(st.booleans()):
            at[key] = draw(ANYTHING)
        else:
            del at[key]
        return


class Said:
    """What the server answers to each row, by its number."""

    bodies: list[Any]


@pytest.fixture(scope="module")
def server() -> Iterator[OddServer]:
    def reply(request: Any, body: Any, text: str) -> Any:
        row = int(text.rpartition("row ")[2].partition(" ")[0])
        return said(200, json.dumps(Said.bodies[row]))

    with serve_odd(reply) as server:
        yield server


async def outcomes(url: str, count: int) -> list[Answer | BaseException]:
    model = OpenAIModel(found(url), patience=ONCE)
    try:
        asked = (model.ask(request(f"row {i} is lit")) for i in range(count))
        return await asyncio.gather(*asked, return_exceptions=True)
    finally:
        await model.close()


def possible(answer: Answer) -> bool:
    """Whether an answer could be one: log-probabilities of both labels, and their mass."""
    return (
        len(answer.logprobs) == len(answer.exact) == 2
        and all(math.isfinite(x) and x <= 1e-3 for x in answer.logprobs)
        and 0 <= answer.mass <= 1.001
    )


def told(answers: list[Answer | BaseException]) -> int:
    """How many were read; AssertionError for what is neither an answer nor a line of ours."""
    read = 0
    for answer in answers:
        if isinstance(answer, Answer):
            assert possible(answer), answer
            read += 1
        else:
            assert isinstance(answer, ModelError), repr(answer)
            assert "\n" not in str(answer) and len(str(answer)) < 1000, answer
    return read


@pytest.mark.parametrize("count", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_an_answer_is_read_or_refused_in_a_line(server: OddServer, count: int) -> None:
    seen, read = 0, 0

    @fuzzing(count)
    @given(st.lists(bodies(), min_size=AT_ONCE, max_size=AT_ONCE))
    def check(drawn: list[Any]) -> None:
        nonlocal seen, read
        Said.bodies = deepcopy(drawn)
        seen += len(drawn)
        read += told(asyncio.run(outcomes(server.url, len(drawn))))

    check()
    assert seen >= count * AT_ONCE
    # A fuzz that nothing gets through tests the first check alone.
    assert read >= seen / 5
