"""Lists of prompts: each is answered as it is alone, and what a list cannot bring comes alone."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest

from consilience.errors import BudgetSpent, Interrupted, ServerError
from consilience.models import interrupts
from consilience.models.budget import Budget
from consilience.models.openai import OpenAIModel
from consilience.models.plausible import check_end
from consilience.models.price import tokens_in
from consilience.models.probe import probe
from consilience.models.prompt_lists import (
    FIRST,
    LONGEST,
    SLOW,
    UNDER_WAY,
    PromptLists,
    each_alone,
    ends_all,
)
from consilience.models.server import Server
from consilience.models.wire import refused
from wire_client import KEYS, all_requests, asked, found, request
from wire_client import QUICK as QUICK_PATIENCE
from wire_model import Faults
from wire_server import DIALECTS, MODEL, serve

MANY = [request(f"The {i}th stone of the north is warm.") for i in range(150)]
BY_ID = {"tokenizer": "vllm", "label_ids": True}
"""Capabilities that give the same values however often a prompt is asked."""

HOSTILE = ("first", "joined", "reversed", "unnumbered")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def gathered(capabilities, requests, **options):
    """What came of each request, an answer or an exception, asked at once."""

    async def work():
        model = OpenAIModel(capabilities, **({"patience": QUICK_PATIENCE} | options))
        try:
            return await asyncio.gather(*map(model.ask, requests), return_exceptions=True)
        finally:
            await model.close()

    return asyncio.run(work())


def in_waves(capabilities, *waves, **options):
    """The answers to the requests of each wave, asked at once, one wave after the other."""

    async def work():
        model = OpenAIModel(capabilities, **({"patience": QUICK_PATIENCE} | options))
        try:
            return [await asyncio.gather(*map(model.ask, wave)) for wave in waves]
        finally:
            await model.close()

    return asyncio.run(work())


def alone(dialect, requests, **more):
    """The answers to some requests, each sent alone to a server that was asked nothing before."""
    with serve(dialect) as server:
        return asked(found(server.url, **more), requests)


def known(capabilities):
    """What `found` takes, of capabilities without lists."""
    left_out = ("base_url", "model", "lists")
    return {name: v for name, v in capabilities.to_json().items() if name not in left_out}


def lists_of(server):
    """How long the lists were that a server was sent; 1 for a prompt alone."""
    prompts = [r["body"]["prompt"] for r in server.questions]
    return [len(p) if isinstance(p, list) else 1 for p in prompts]


def test_where_cached_tokens_are_told_they_stay_known():
    with serve("vllm") as server:
        here = asyncio.run(probe(server.url, MODEL, patience=QUICK_PATIENCE))
        assert here.lists and here.cached_tokens
        server.requests.clear()
        asked(here, MANY[:20])
        assert lists_of(server) == [1] * 20


@pytest.mark.parametrize("name", ["openai-legacy", "sglang"])
def test_each_prompt_of_a_list_is_answered_as_it_is_alone(name):
    with serve(name) as server:
        here = asyncio.run(probe(server.url, MODEL, patience=QUICK_PATIENCE))
        assert here.lists
        server.requests.clear()
        *_, together = in_waves(here, MANY[40:], MANY[40:], MANY[40:], MANY[:40])
        first = next(
            i for i, r in enumerate(server.questions) if MANY[0].prompt in r["body"]["prompt"]
        )
        server.requests[:] = server.questions[first:]
        apart = alone(name, MANY[:40], **known(here))
        spent = sum(answer.usage["prompt_tokens"] for answer in apart)
        assert [(a.logprobs, a.exact, a.mass) for a in together] == [
            (a.logprobs, a.exact, a.mass) for a in apart
        ]
        assert sum(lists_of(server)) >= 40  # and more where a label is looked for in longer lists
        assert 10 < max(lists_of(server)) <= LONGEST
        charged = sum(question["prompt_tokens"] for question in server.questions)
        assert sum(answer.usage["prompt_tokens"] for answer in together) == charged == spent
        for answer in together:
            first = answer.raw.get("first", answer.raw)
            at, count = first.get("of_a_list", (0, 1))
            assert 0 <= at < count <= LONGEST
            assert len(first["choices"]) == 1


def test_lists_are_no_longer_than_that_and_one_question_is_no_list():
    with serve("openai-legacy") as server:
        here = found(server.url, k=5, k_max=5, lists=True)
        in_waves(here, *[MANY] * 4)
        sent = lists_of(server)
        lists = [length for length in sent if length > 1]
        assert all(length <= FIRST * 2**answered for answered, length in enumerate(lists))
        assert max(sent) == LONGEST
        server.requests.clear()
        for one in MANY[:3]:
            asked(here, [one])
        assert [type(r["body"]["prompt"]) for r in server.questions] == [str] * 3


def test_questions_that_differ_in_more_than_the_prompt_are_never_in_one_list():
    with serve("vllm") as server:
        here = found(server.url, **BY_ID, lists=True)
        mixed = all_requests("text")
        together = asked(here, mixed)
        assert max(lists_of(server)) > 1
    apart = alone("vllm", mixed, **BY_ID)
    assert [a.logprobs for a in together] == [a.logprobs for a in apart]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_server_that_answers_lists_otherwise_is_found_out(kind):
    with serve(replace(DIALECTS["sglang"], lists=kind)) as server:
        assert not asyncio.run(probe(server.url, MODEL, patience=QUICK_PATIENCE)).lists


@pytest.mark.parametrize("kind", ["refused", "first", "joined", "unnumbered"])
def test_a_server_that_does_so_from_today_on_is_asked_one_by_one(kind, caplog):
    with serve(replace(DIALECTS["openai-legacy"], lists=kind)) as server:
        here = found(server.url, k=5, k_max=5, lists=True)
        together = asked(here, MANY[:20])
        assert sorted(lists_of(server))[:20] == [1] * 20
    apart = alone("openai-legacy", MANY[:20], k=5, k_max=5)
    assert [a.exact for a in together] == [a.exact for a in apart]
    if kind != "refused":  # a refusal may be about one of the prompts
        assert "prompts are sent one by one from now on" in caplog.text


@pytest.mark.parametrize("kind", ["first", "joined"])
def test_a_list_that_is_answered_whole_but_not_for_each_is_paid_once(kind):
    with serve(replace(DIALECTS["openai-legacy"], lists=kind)) as server:
        asked(found(server.url, k=5, k_max=5, lists=True), MANY[:20])
        assert sum(length > 1 for length in lists_of(server)) == 1


@pytest.mark.parametrize("kind", ["each", "first", "joined", "unnumbered"])
def test_what_was_charged_is_in_an_answer_or_counted_as_of_no_use(kind):
    async def work(url, budget):
        here = found(url, k=5, k_max=5, lists=True)
        model = OpenAIModel(here, patience=QUICK_PATIENCE, budget=budget)
        answers = await asyncio.gather(*map(model.ask, MANY[:20]))
        await model.close()
        return sum(sum(tokens_in(a.usage)) for a in answers), sum(tokens_in(model.unused))

    budget = Budget(max_tokens=10**6)
    with serve(replace(DIALECTS["openai-legacy"], lists=kind)) as server:
        used, unused = asyncio.run(work(server.url, budget))
    assert used + unused == budget.tokens
    assert (unused > 0) == (kind != "each")


def test_a_prompt_that_is_refused_takes_no_other_with_it():
    class About(Faults):
        def of(self, number, text, nth):
            return "400" if "7th stone" in text else None

    with serve("openai-legacy", faults=About()) as server:
        here = found(server.url, k=5, k_max=5, lists=True)
        came = gathered(here, MANY[:16])
        failed = [i for i, one in enumerate(came) if isinstance(one, Exception)]
        assert failed == [7]
        assert isinstance(came[7], ServerError)


@pytest.mark.parametrize(
    ("status", "text", "all_of_them"),
    [
        *((401, "no", True), (402, "no", True), (403, "no access", True), (404, "no", True)),
        *((403, "the input was flagged", False), (403, "blocked", False), (405, "no", False)),
    ],
)
def test_a_refusal_of_a_list_may_be_of_one_prompt(status, text, all_of_them):
    assert ends_all(refused("POST x", status, {}, text).error) == all_of_them


@pytest.mark.parametrize("fault", ["500", "429:0.01", "cut", "malformed", "empty", "200-error"])
def test_a_passing_fault_of_a_list_ends_in_the_same_answers(fault):
    with serve("vllm", faults=Faults({5: fault, 6: fault})) as server:
        together = asked(found(server.url, **BY_ID, lists=True), MANY[:12])
        assert max(lists_of(server)) > 1
    assert [a.logprobs for a in together] == [a.logprobs for a in alone("vllm", MANY[:12], **BY_ID)]


def test_what_stops_everybody_is_told_to_all_and_sent_once_a_list():
    with serve("openai-legacy", key="sk-right") as server:
        came = gathered(found(server.url, k=5, k_max=5, lists=True), MANY[:16])
        assert all(isinstance(one, ServerError) and one.fatal for one in came)
        assert len(server.questions) < 16


@pytest.mark.parametrize("most", [5, 13, 40])
def test_a_budget_of_calls_counts_prompts(most):
    with serve("openai-legacy") as server:
        here = found(server.url, k=5, k_max=5, lists=True)
        came = gathered(here, MANY[:40], budget=Budget(most))
        answered = [one for one in came if not isinstance(one, Exception)]
        assert len(answered) == sum(lists_of(server)) == most
        assert sum(isinstance(one, BudgetSpent) for one in came) == 40 - most


def test_a_budget_of_tokens_is_kept_with_lists():
    with serve("openai-legacy") as server:
        budget = Budget(max_tokens=3_000)
        came = gathered(found(server.url, k=5, k_max=5, lists=True), MANY[:90], budget=budget)
        spent = sum(q["prompt_tokens"] for q in server.questions) + sum(lists_of(server))
        assert budget.tokens == spent <= 3_000
        assert any(isinstance(one, BudgetSpent) for one in came)
        assert any(not isinstance(one, Exception) for one in came)


def test_the_model_is_asked_in_one_event_loop_after_another():
    with serve("vllm") as server:
        model = OpenAIModel(found(server.url, **BY_ID, lists=True), patience=QUICK_PATIENCE)

        async def some(few):
            try:
                return await asyncio.gather(*map(model.ask, few))
            finally:
                await model.close()

        one, other = (asyncio.run(some(MANY[:9])) for _ in range(2))
        assert [a.logprobs for a in one] == [a.logprobs for a in other]


def test_at_an_interrupt_nobody_waits_for_a_list_that_is_not_sent(monkeypatch):
    with serve("openai-legacy") as server:
        monkeypatch.setattr(interrupts._State, "stopping", True)
        came = gathered(found(server.url, k=5, k_max=5, lists=True), MANY[:8])
        assert [type(one) for one in came] == [Interrupted] * 8
        assert not server.questions


def test_lists_are_short_where_a_server_is_slow(monkeypatch):
    monkeypatch.setattr("consilience.models.prompt_lists.QUICK", 0.001)
    monkeypatch.setattr("consilience.models.prompt_lists.SLOW", 0.02)
    with serve("openai-legacy", delay=0.03) as server:
        in_waves(found(server.url, k=5, k_max=5, lists=True), *[MANY[:20]] * 4)
        sent = lists_of(server)
        assert 1 < max(sent) <= FIRST
        assert sent[-20:] == [1] * 20


def test_before_one_is_answered_there_is_one_list_at_a_time():
    with serve(replace(DIALECTS["openai-legacy"], lists="refused"), delay=0.05) as server:
        asked(found(server.url, k=5, k_max=5, lists=True), MANY[:40])
        sent = lists_of(server)
        assert sum(length > 1 for length in sent) == 1
        assert sum(length == 1 for length in sent) == 40
    with serve("openai-legacy", delay=0.05) as server:
        in_waves(found(server.url, k=5, k_max=5, lists=True), MANY[:40], MANY[:40])
        sent = lists_of(server)
        first = [
            length
            for length, so_far in zip(sent, itertools.accumulate(sent), strict=True)
            if so_far <= 40
        ]
        assert sum(first) == 40 and sum(length > 1 for length in first) == 1
        assert sum(sent) == 80


def test_questions_whose_likes_were_all_answered_go_in_lists_again():
    with serve("openai-legacy") as server:
        in_waves(found(server.url, k=5, k_max=5, lists=True), *[MANY[:16]] * 4)
        assert lists_of(server)[-4:] == [16 // UNDER_WAY] * 4


class Filtering:
    """A connection to a server whose filter ends the answer to one prompt, alone or in a list."""

    base_url, model = "http://localhost/v1", "tiny"

    def __init__(self, whole: bool) -> None:
        self.whole, self.sent, self.unused = whole, [], {}

    async def call(self, method, path, body, read, *, root=False):
        prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
        self.sent.append(prompts)
        await asyncio.sleep(0.01)
        choices = [
            {"index": i, "finish_reason": "content_filter" if "bad" in p else "length", "text": p}
            for i, p in enumerate(prompts)
        ]
        if self.whole and any("bad" in prompt for prompt in prompts):
            choices = [{"index": 0, "finish_reason": "content_filter", "text": ""}]
        answer = {"choices": choices, "usage": {"prompt_tokens": 10 * len(prompts)}}
        return answer, read(answer)

    async def close(self):
        pass


@pytest.mark.parametrize("whole", [False, True])
def test_a_filter_ends_one_prompt_and_no_list_for_good(whole):
    server = Filtering(whole)
    lists = PromptLists(server)

    def read(response):
        [choice] = response["choices"]
        check_end(choice)
        return choice["text"]

    async def wave(prompts):
        calls = [
            lists.call("POST", "/completions", {"logprobs": 5, "prompt": p}, read) for p in prompts
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    async def work():
        good = [f"good {i}" for i in range(8)]
        await wave(good)  # lists are known to be taken
        return await wave([*good[:5], "bad 00", *good[5:]]), await wave(good)

    answered, later = asyncio.run(work())
    filtered = answered.pop(5)
    assert [said for _, said in answered] == [said for _, said in later]
    assert [said for _, said in later] == [f"good {i}" for i in range(8)]
    assert filtered.reason == "filtered"
    # What a list took for it is counted here; what fails as a whole, or alone, by the server.
    assert server.unused == ({} if whole else {"prompt_tokens": 10})
    # Where a list tells of each prompt nothing is asked twice.
    assert sum("bad 00" in prompts for prompts in server.sent) == (2 if whole else 1)
    assert any(len(prompts) > 1 for prompts in server.sent[-5:])


def test_a_list_that_fails_makes_the_next_shorter():
    lists = PromptLists(Server("http://localhost/v1", "tiny"))
    for took, longest in [(0.1, 8), (5.0, 8), (0.1, 16), (SLOW, 8), (SLOW, 4), (0.1, 8)]:
        lists._learn(took)
        assert lists._longest == longest


def test_parts_of_a_usage_add_up_to_the_whole_and_follow_the_prompts():
    usage = {"prompt_tokens": 101, "prompt_tokens_details": {"cached_tokens": 50}, "cost": 0.5}
    choices = [{"index": i, "text": "abc"[i]} for i in (2, 0, 1)]
    each = each_alone(
        {"id": "x", "choices": choices, "usage": usage}, ["a" * 10, "b" * 70, "c" * 20]
    )
    assert [one["usage"]["prompt_tokens"] for one in each] == [10, 71, 20]
    assert [one["usage"]["prompt_tokens_details"]["cached_tokens"] for one in each] == [5, 35, 10]
    assert [one["usage"]["cost"] for one in each] == pytest.approx([0.05, 0.35, 0.1])
    assert [one["of_a_list"] for one in each] == [[0, 3], [1, 3], [2, 3]]
    assert [one["choices"] for one in each] == [[{"index": 0, "text": t}] for t in "abc"]
    assert all(one["id"] == "x" for one in each)


@pytest.mark.parametrize(
    "response",
    [
        *(None, [], {}, {"choices": None}, {"choices": [1, 2]}, {"choices": [{}, {}]}),
        {"choices": [{"index": 0}]},
        {"choices": [{"index": 0}, {"index": 0}]},
        {"choices": [{"index": 0}, {"index": True}]},
        {"choices": [{"index": 0}, {"index": 1}, {"index": "2"}]},
        {"choices": [{"index": 1}, {"index": 2}]},
    ],
)
def test_what_is_no_answer_to_a_list_of_two_is_none(response):
    assert each_alone(response, ["one", "two"]) is None
