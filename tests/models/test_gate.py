"""A server in trouble: how much is sent to it, how many at once, and what a budget allows."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from itertools import pairwise

import httpx2
import pytest

from consilience.data.dataset import Dataset, Example
from consilience.errors import BudgetSpent, InputError, ServerError
from consilience.models.budget import Budget
from consilience.models.gate import TRIALS
from consilience.models.openai import OpenAIModel
from consilience.models.server import RetryPolicy, Server
from consilience.prompts.framing import framings
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.runner import ask, requests
from odd_server import said, serve_odd
from wire_client import QUICK, asked, found, request

DATA = Dataset("claims", [Example(f"The lamp number {i} is lit.") for i in range(400)])
HASTY = replace(QUICK, timeout=60, total=240, attempts=6)
"""No request is sent twice because a busy machine took ten seconds over 256 answers at once."""


def questions(model, count=400):
    framing = framings(DATA.task, ["plain"])
    return requests([Query(id, framing="plain") for id in DATA.ids[:count]], DATA, framing, model)


def put(server, count, concurrency, *, patience=HASTY, budget=None, store=None):
    """What asking so many questions came to."""
    here = found(server.url, k=5, k_max=5)
    model = OpenAIModel(here, patience=patience, budget=budget)
    with Store(store or ":memory:") as db:
        return ask(questions(model, count), model, db, concurrency=concurrency)


@pytest.mark.parametrize("concurrency", [1, pytest.param(16, marks=pytest.mark.slow), 256])
@pytest.mark.parametrize("fault", ["500", "429", "html", "nothing"])
def test_a_failing_server_is_sent_little(concurrency, fault):
    answers = {
        "500": said(500, "dead"), "429": said(429, "slow down"),
        "html": said(200, "<html>"), "nothing": said(200, "{}"),
    }  # fmt: skip
    with serve_odd(lambda r, b, text: answers[fault] if text else None) as server:
        with pytest.raises(Exception, match=r"127\.0\.0\.1") as caught:
            put(server, 400, concurrency)
        assert len(server.questions) <= concurrency + TRIALS
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_server_that_comes_back_loses_nothing(concurrency):
    since = time.monotonic()

    def reply(request, body, text):
        down = 0.15 < time.monotonic() - since < 0.5
        return said(503, "restarting") if down and text else None

    patience = RetryPolicy(timeout=10, attempts=6, pause=0.05, longest_pause=0.3)
    with serve_odd(reply, delay=0.01) as server:
        since = time.monotonic()
        done = put(server, 200, concurrency, patience=patience)
    assert (done.calls, done.failures) == (200, {})


def test_a_row_on_which_the_server_fails_does_not_end_the_asking():
    bad = {DATA.texts[3], DATA.texts[200]}
    dead = said(500, "dead")
    with serve_odd(lambda r, b, t: dead if any(x in t for x in bad) else None) as server:
        done = put(server, 400, 16)
    assert (done.calls, len(done.failures)) == (398, 2)


@pytest.mark.parametrize("how", ["times out", "429"])
def test_a_server_that_does_one_thing_at_a_time_finishes(how):
    """More at once are turned away, or wait until they are given up."""
    turned_away, together = 0, []
    busy = asyncio.Lock()

    async def one_at_a_time(request, body, text):
        nonlocal turned_away
        if how == "429" and busy.locked():
            turned_away += 1
            return said(429, "one at a time")
        async with busy:
            together.append(len(together))
            await asyncio.sleep(0.03)
        return None

    patience = RetryPolicy(timeout=0.25, attempts=6, pause=0.02, longest_pause=0.3)
    with serve_odd(one_at_a_time) as server:
        done = put(server, 60, 16, patience=patience)
    assert (done.calls, done.failures) == (60, {})
    # It was one that cannot serve all at once, and little was asked in vain.
    assert 0 < (turned_away if how == "429" else len(together) - 60) < 120


def test_the_pause_that_one_answer_asks_for_holds_for_all():
    first = []

    def reply(request, body, text):
        if not text or first:
            return None
        first.append(time.monotonic())
        return said(429, "slow down", **{"retry-after": "0.4"})

    with serve_odd(reply) as server:
        put(server, 40, 4, patience=replace(QUICK, longest_pause=1))
        asked_in_pause = len(server.questions)
    assert asked_in_pause == 41
    assert time.monotonic() - first[0] >= 0.4


# ---- the budget --------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 7, 256])
@pytest.mark.parametrize("most", [1, 50, 119])
def test_calls_are_exact(concurrency, most):
    with serve_odd(lambda r, b, t: None) as server:
        done = put(server, 120, concurrency, budget=Budget(most))
        assert len(server.questions) == most
    assert done.calls == most
    assert "the budget of" in done.ended


def test_second_attempts_count(tmp_path):
    sick = [said(500, "once"), said(503, "twice")]
    with serve_odd(lambda r, b, t: sick.pop() if t and sick else None) as server:
        done = put(server, 400, 4, budget=Budget(20))
        assert len(server.questions) == 20
    assert done.calls == 18


@pytest.mark.parametrize("concurrency", [1, 64])
def test_tokens_are_never_more(concurrency):
    with serve_odd(lambda r, b, t: None) as server:
        budget = Budget(max_tokens=10_000)
        done = put(server, 400, concurrency, budget=budget)
        charged = sum(r["prompt_tokens"] + 1 for r in server.questions)
    assert charged == budget.tokens <= 10_000
    assert charged > 9_500
    assert 0 < done.calls < 400
    assert "tokens is spent" in done.ended


def test_a_budget_that_is_enough_changes_nothing():
    with serve_odd(lambda r, b, t: None) as server:
        budget = Budget(120, 10_000_000)
        done = put(server, 120, 16, budget=budget)
    assert (done.calls, done.ended, budget.calls) == (120, None, 120)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        Budget(0)


def test_what_nobody_charges_is_counted_as_set_aside():
    answer = {"choices": [{"logprobs": {"content": [{"token": " True", "logprob": -0.1}]}}]}
    with serve_odd(lambda r, b, t: said(200, answer) if t else None) as server:
        here = found(server.url, k=5, k_max=5)
        budget = Budget(max_tokens=1000)
        with pytest.raises(BudgetSpent):
            asked(here, [request(f"Row {i}.") for i in range(50)], budget=budget)
        assert 0 < budget.tokens <= 1000
        assert len(server.questions) < 10


def test_a_server_that_is_gone_says_so_once():
    with serve_odd(lambda r, b, t: None) as server:
        gone = server.url
    # However often one row may be tried, all asking ends first.
    often = replace(QUICK, attempts=100)
    with pytest.raises(ServerError, match="check that the server runs") as caught:
        asked(found(gone), [request(f"Row {i}.") for i in range(40)], patience=often)
    assert caught.value.fatal


@pytest.mark.parametrize("concurrency", [4, 32])
def test_a_broken_server_is_tried_by_one_request_at_a_time(concurrency):
    """Those under way together fail, and none that follows has another beside it."""
    beside, under_way, all_here = [], 0, asyncio.Event()

    async def failing(request, body, text):
        nonlocal under_way
        under_way += 1
        beside.append(under_way)
        if len(beside) == concurrency:
            all_here.set()
        # All that are let in together are here before the first of them fails, and fail as one.
        await asyncio.wait_for(all_here.wait(), 10)
        await asyncio.sleep(0.005)
        under_way -= 1
        return said(500, "dead")

    gone = pytest.raises(ServerError, match="times in a row")
    with serve_odd(failing) as server, gone:
        put(server, 400, concurrency)
    assert sorted(beside[:concurrency]) == list(range(1, concurrency + 1))
    assert beside[concurrency:] == [1] * TRIALS


@pytest.mark.parametrize(
    ("text", "charged"),
    [
        ("தமிழ் மொழி " * 40, 700),
        ("7381926455" * 90, 900),
        ("{}[]();" * 120, 840),
        (" " * 900, 900),
        ("SHOUTED" * 100, 700),
    ],
)
def test_what_is_no_word_is_not_rated_by_words(text, charged):
    """What English took says nothing of Tamil, nor of figures: a token may be a byte of them."""
    budget = Budget(max_tokens=20_000)

    async def spend(text, charged, most):
        body, held = {"prompt": text, "max_tokens": 1}, []
        while len(held) < most:
            try:
                held.append(await asyncio.wait_for(budget.reserve(body), 0.05))
            except (BudgetSpent, TimeoutError):
                break
        for aside in held:
            usage = {"prompt_tokens": charged, "completion_tokens": 1}
            budget.settle(body, aside, usage)
        return len(held)

    async def work():
        assert await spend("the cat sat on the mat " * 20, 110, 10) == 10
        return await spend(text, charged, 64)

    assert 0 < asyncio.run(work()) < 64
    assert budget.tokens <= 20_000


@pytest.mark.parametrize(
    ("usage", "answered", "tokens"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, 9, None),
        ({"prompt_tokens": 50, "completion_tokens": 1, "total_tokens": 951}, 5, 951 * 5),
    ],
)
def test_a_usage_is_not_taken_for_less_than_it_can_be(usage, answered, tokens):
    """Zeros tell nothing, and what the total alone has was thought and is charged."""
    budget = Budget(max_tokens=5000)

    async def work():
        server = Server(
            "http://h/v1", "m", transport=replying(200, {"usage": usage}), budget=budget
        )
        return [await refused_or_not(server, "x" * 440) for _ in range(20)]

    assert asyncio.run(work()).count(None) == answered
    assert budget.tokens == (tokens or 5000 - 5000 % (budget.tokens // answered))


async def refused_or_not(server, text):
    try:
        await server.call("POST", "/completions", {"prompt": text, "max_tokens": 1}, bool)
    except BudgetSpent as error:
        return str(error)
    return None


def replying(status, content):
    return httpx2.MockTransport(lambda request: httpx2.Response(status, json=content))


@pytest.mark.parametrize("path", ["/decisions", "/embeddings", "/completions"])
def test_whatever_asks_the_model_is_counted(path):
    budget = Budget(2)

    async def work():
        server = Server("http://h/v1", "m", transport=replying(200, {}), budget=budget)
        await server.call("GET", "/models", None, str)
        await server.call("POST", "/tokenize", {"prompt": "a"}, str, root=True)
        for _ in range(2):
            await server.call("POST", path, {"prompt": "a"}, str)
        with pytest.raises(BudgetSpent, match="is for one command"):
            await server.call("POST", path, {"prompt": "a"}, str)

    asyncio.run(work())
    assert budget.calls == 2


def test_answers_that_are_paid_and_of_no_use_count():
    """They are charged what they say, in the budget and in what the asking took."""
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    odd = [said(200, {"choices": [], "usage": usage}) for _ in range(3)]
    with serve_odd(lambda r, b, t: odd.pop() if t and odd else None) as server:
        budget = Budget(max_tokens=10_000)
        done = put(server, 10, 1, budget=budget)
        prompts = sum(r["prompt_tokens"] for r in server.questions if "prompt_tokens" in r)
    assert done.calls == 10
    assert (done.prompt_tokens, done.output_tokens) == (prompts + 21, 16)
    assert budget.tokens == prompts + 10 + 27


# ---- the pace ----------------------------------------------------------------------------------


def test_a_pause_that_is_asked_for_holds_at_a_pace_too():
    begun = []

    def reply(request):
        begun.append(time.monotonic())
        slow = httpx2.Response(429, headers={"retry-after": "0.3"})
        return slow if len(begun) == 1 else httpx2.Response(200, json={})

    asyncio.run(at_a_pace(reply, 8, QUICK))
    assert len(begun) == 9
    assert begun[1] - begun[0] >= 0.29
    assert all(b - a > 0.01 for a, b in pairwise(begun))


def test_waiting_for_its_turn_costs_a_request_none_of_its_patience():
    tried = []

    def reply(request):
        at = json.loads(request.content)["at"]
        tried.append(at)
        ill = at % 4 == 3 and tried.count(at) == 1
        return httpx2.Response(500 if ill else 200, json={})

    asyncio.run(at_a_pace(reply, 12, replace(QUICK, total=0.1)))
    assert len(tried) == 15


async def at_a_pace(reply, count, patience):
    """So many requests at once, of which 50 a second may start."""
    transport = httpx2.MockTransport(reply)
    options = {"requests_per_minute": 3000, "patience": replace(patience, longest_pause=1)}
    server = Server("http://h/v1", "m", transport=transport, **options)
    asking = (server.call("POST", "/x", {"at": at}, bool) for at in range(count))
    await asyncio.gather(*asking)
