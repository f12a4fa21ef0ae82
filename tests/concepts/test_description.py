"""Descriptions: what is shown, what is asked, what is kept, and how far a story holds."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter

import numpy as np
import pytest

from consilience.concepts.description import LEAD, LONGEST_TEXT, DescribeOptions, describe, foreseen
from consilience.concepts.exemplars import typical
from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.errors import AnswerError, InputError, ModelError, ServerError
from consilience.models.base import Answer, Completion, Model, Request, Writer
from consilience.models.openai import OpenAIModel
from consilience.models.price import Price
from consilience.models.server import RetryPolicy
from consilience.models.simulated import SimulatedModel
from consilience.models.wire import written_text
from consilience.store.database import Store
from describing import STATES, Sorter, data, honest, idle, lying, shown_in
from wire_client import KEYS, QUICK, found
from wire_model import Faults
from wire_server import serve

DATA = data()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def labels_of(dataset=DATA, sure=0.9):
    """Soft labels that follow the states; the longer the text the surer."""
    k = dataset.task.k
    q = np.full((len(dataset), k), (1 - sure) / (k - 1))
    for i, text in enumerate(dataset.texts):
        q[i, STATES.index(text.split()[-1])] = sure
    return q


def model_at(server, **options):
    chat = options.pop("chat", False)
    said = {"api": "chat", "style": "chat"} if chat else {}
    return OpenAIModel(found(server.url, **said), patience=options.pop("patience", QUICK))


def prompts(server):
    return [server.text(record["body"]) for record in server.notes]


def described(server, dataset=DATA, store=None, chat=False, how=None, **options):
    with store or Store() as kept:
        model = model_at(server, chat=chat)
        return describe(
            dataset, labels_of(dataset), model, store=kept, how=how or DescribeOptions(), **options
        )


# ---- how far a story holds ----------------------------------------------------------------------


@pytest.mark.parametrize(("dialect", "chat"), [("vllm", False), ("openai-chat", True)])
@pytest.mark.parametrize(("story", "agreement"), [(honest, 1.0), (lying, 0.0)])
def test_a_description_is_worth_what_it_reproduces(dialect, chat, story, agreement):
    with serve(dialect, model=Sorter(True), writes=story) as server:
        made = described(server, chat=chat)
        bodies = [record["body"] for record in server.notes]
        checks = len(server.questions) - len(bodies)
    assert [d.agreement for d in made.descriptions] == [agreement] * 4
    assert {d.checked for d in made.descriptions} == {20}
    assert made.descriptions[0].guess == 0.5
    assert f"reproduces {agreement:.0%} of the labels of 20" in made.descriptions[0].sentence
    # Four texts, but with two different contents: the orders differ in what comes first as well.
    assert (len(bodies), checks) == (4, 2 * 2 * 20)
    assert (made.asked.calls, made.asked.known, made.asked.failures) == (84, 0, {})
    for body in bodies:
        assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0, 1, 60)
        assert body.get("stop") == (None if chat else ["\n\n"])
        assert "logprobs" not in body
    for d in made.descriptions:
        names = dict(re.findall(r"Group (\d) items are (\w+)", d.text))
        right = {n: STATES[c] for n, c in zip("12", d.groups, strict=True)}
        assert (names == right) == (story is honest)
        assert d.text.startswith("Group 1" if chat else LEAD)


def test_a_story_that_says_nothing_is_a_guess_and_comes_last():
    def story(prompt):
        return honest(prompt) if prompt.index("cold") < prompt.index("warm") else idle(prompt)

    with serve("vllm", model=Sorter(True), writes=story) as server:
        made = described(server)
    held = [d.agreement for d in made.descriptions]
    assert held == sorted(held, reverse=True) and held[:2] == [1.0, 1.0]
    assert all(0.2 <= share <= 0.8 for share in held[2:])


def test_more_than_two_classes_each_have_each_name():
    dataset = data(90, k=3)
    with serve("vllm", model=Sorter(True), writes=honest) as server:
        made = described(server, dataset, how=DescribeOptions(orders=3))
    assert sorted(d.groups for d in made.descriptions) == [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    assert [d.agreement for d in made.descriptions] == [1.0] * 3
    assert {d.checked for d in made.descriptions} == {20}
    assert made.descriptions[0].guess == pytest.approx(7 / 20)


# ---- what is shown ------------------------------------------------------------------------------


def test_the_names_are_swapped_in_half_of_the_orders_and_so_is_what_comes_first():
    with serve("vllm", model=Sorter(True), writes=honest) as server:
        described(server, how=DescribeOptions(shown=5))
        orders = []
        for prompt in prompts(server):
            groups = shown_in(prompt)
            assert [len(items) for _, items in groups] == [5, 5]
            states = {n: {item.split()[-1] for item in items} for n, items in groups}
            assert all(len(kinds) == 1 for kinds in states.values())
            orders.append((groups[0][0], states[1].pop()))
        said = prompts(server)
    assert Counter(orders) == Counter([(1, "cold"), (2, "cold"), (1, "warm"), (2, "warm")])
    # Names of classes would tell the model what to say.
    assert not any(re.search("True|False|claim", prompt) for prompt in said)
    lists = [frozenset(items) for prompt in said for _, items in shown_in(prompt)]
    assert len(set(lists)) > 4


def test_other_seeds_other_examples_and_the_same_seed_the_same():
    asked = []
    for seed in (0, 0, 1):
        with serve("vllm", model=Sorter(True), writes=honest) as server:
            described(server, how=DescribeOptions(seed=seed, check=0))
            asked.append(sorted(prompts(server)))
    assert asked[0] == asked[1] != asked[2]


def test_what_a_description_is_checked_on_was_never_shown_nor_were_its_mates():
    with serve("vllm", model=Sorter(True), writes=honest) as server:
        made = described(server)
        seen = {item for p in prompts(server) for _, items in shown_in(p) for item in items}
    groups = [{DATA.groups[i] for own in part for i in own}
              for part in (made.typical.shown, made.typical.held)]  # fmt: skip
    assert groups[0] and groups[1] and groups[0].isdisjoint(groups[1])
    shown = {f"- {DATA.texts[i]}" for own in made.typical.shown for i in own}
    assert seen <= shown and len(seen) > 16


def test_the_surest_examples_are_typical_and_the_typical_ones_unlike_each_other():
    texts = [f"{'again and again the same' if i % 2 else ANIMAL[i % 5]} {i}" for i in range(200)]
    dataset = Dataset("many", [Example(text) for text in texts])
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, len(dataset))
    first = rng.random(len(dataset)) < 0.5
    q = np.stack([np.where(first, p, 1 - p), np.where(first, 1 - p, p)], axis=1)
    made = typical(dataset, q, shown=6, held=0)
    for c, own in zip(made.classes, made.shown, strict=True):
        members = np.flatnonzero(q.argmax(axis=1) == c)
        surest = members[np.argsort(-q[members, c])][:18]
        assert len(own) == 6 and set(own) <= set(surest.tolist())
        assert own[0] == surest[0]
        # Half of the surest are nearly one text; all kinds that there are should be shown.
        kinds = [{dataset.texts[i].rsplit(" ", 1)[0] for i in part} for part in (own, surest)]
        assert kinds[0] == kinds[1] and len(kinds[0]) >= 4
    assert made.held == ((), ())


ANIMAL = ("one gorbel", "a minty thing", "tarrow or quill", "besk besides", "orrin at sea")


def test_a_long_text_is_cut_and_put_on_one_line():
    lines = [Example(f"{state}\n\n{'long ' * 200}{i} {state}")
             for i, state in enumerate(STATES[:2] * 6)]  # fmt: skip
    dataset = Dataset("long", lines)
    q = labels_of(dataset)
    with serve("vllm") as server, Store() as store:
        describe(dataset, q, model_at(server), store=store, how=DescribeOptions(check=0, orders=1))
        [prompt] = prompts(server)
    items = [item for _, items in shown_in(prompt) for item in items]
    assert len(items) == 12 and all(len(item) <= LONGEST_TEXT + 4 for item in items)
    assert all(item.endswith(" …") for item in items)


def test_few_examples_are_shared_out_and_one_class_is_none():
    dataset = data(4)
    made = typical(dataset, labels_of(dataset), shown=8, held=20)
    assert [len(own) for own in made.shown] == [2, 2]  # one group: nothing to hold back
    single = Dataset("two", [Example("It is cold"), Example("That is warm")])
    made = typical(single, labels_of(single), shown=8, held=20)
    assert [len(own) for own in made.shown] == [1, 1] and made.held == ((), ())
    q = np.tile([0.9, 0.1], (len(DATA), 1))
    with pytest.raises(InputError, match="all 60 examples are labelled 'False'"):
        typical(DATA, q, shown=8, held=20)
    with pytest.raises(InputError, match=r"shape \(60, 2\), got \(60, 3\)"):
        typical(DATA, np.ones((60, 3)), shown=8, held=20)


# ---- what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (" is warm. Group 2 is cold.\n\nAnd so on", f"{LEAD} is warm. Group 2 is cold."),
        (" is warm.\nGroup 2 is", f"{LEAD} is warm."),
        (" is warm and group 2", f"{LEAD} is warm and group 2"),
    ],
)
def test_a_description_is_one_line_of_whole_sentences(said, kept):
    with serve("vllm", writes=lambda prompt: said) as server:
        made = described(server, how=DescribeOptions(orders=1, check=0))
    [only] = made.descriptions
    assert (only.text, only.checked, only.sentence) == (kept, 0, "not checked")
    assert math.isnan(only.agreement)


def test_a_text_without_a_word_is_kept_and_counted_and_not_asked_for_again():
    empty = iter([True, True, False, False])
    with serve("vllm", writes=lambda p: "\n" if next(empty) else honest(p)) as server:
        with Store() as store:
            model = model_at(server)
            how = DescribeOptions(check=0)
            for _ in range(2):
                made = describe(DATA, labels_of(), model, store=store, how=how, concurrency=1)
                assert (len(made.descriptions), made.empty) == (2, 2)
            assert store.stats().texts == 4
        assert len(server.notes) == 4
    with (
        serve("vllm", writes=lambda prompt: "") as server,
        pytest.raises(ModelError, match="no description in 4 calls: every text was empty"),
    ):
        described(server)


def test_the_greatest_length_is_the_user_s():
    with serve("vllm", writes=lambda prompt: " w" * 100) as server:
        made = described(server, how=DescribeOptions(check=0, max_tokens=7))
    assert {len(d.text.split()) for d in made.descriptions} == {len(LEAD.split()) + 7}
    for wrong in ({"orders": 0}, {"shown": 0}, {"max_tokens": 0}, {"check": -1}):
        with pytest.raises(InputError, match="at least 1"):
            DescribeOptions(**wrong)


# ---- the store ----------------------------------------------------------------------------------


def test_nothing_is_asked_twice_and_everything_is_kept(tmp_path):
    with serve("vllm", model=Sorter(True), writes=honest) as server:
        first = described(server, store=Store(tmp_path / "s.db"))
        sent = len(server.questions)
        again = described(server, store=Store(tmp_path / "s.db"))
        assert len(server.questions) == sent == first.asked.calls
        other = described(
            server, store=Store(tmp_path / "s.db"), how=DescribeOptions(max_tokens=61, check=0)
        )
        assert other.asked.calls == 4
    assert again.descriptions == first.descriptions
    assert (again.asked.calls, again.asked.known) == (0, sent)
    with Store(tmp_path / "s.db", readonly=True) as store:
        assert store.stats().texts == 8 and store.verify() == []
        detail = store.detail(first.descriptions[0].key)
        assert detail["settings"] == {
            "api": "completions", "extra": {}, "max_tokens": 60, "stop": "\n\n",
            "temperature": 0, "top_p": 1,
        }  # fmt: skip
        assert detail["prompt"].endswith(LEAD) and detail["usage"]["prompt_tokens"] > 100
        assert detail["raw"]["choices"][0]["text"] == detail["text"]
        assert store.runs() == []


def test_serial_and_concurrent_send_the_same():
    sent = []
    for concurrency in (1, 8):
        with serve("vllm", model=Sorter(True), writes=honest) as server:
            described(server, concurrency=concurrency)
            sent.append(sorted(str(r["body"]) for r in server.questions))
    assert sent[0] == sent[1]


HASTY = RetryPolicy(timeout=2, total=10, attempts=1, pause=0.002, longest_pause=0.02)


def test_a_call_that_fails_midway_loses_nothing(tmp_path):
    # The second text fails for good, and so does one question of a test.
    with serve(
        "vllm", model=Sorter(True), writes=honest, faults=Faults({2: "503", 30: "503"})
    ) as server:
        with Store(tmp_path / "s.db") as store:
            model = model_at(server, patience=HASTY)
            first = describe(DATA, labels_of(), model, store=store, concurrency=1)
            assert (len(first.descriptions), len(first.asked.failures)) == (3, 2)
            # An example without a complete answer is left out, not guessed.
            assert sorted({d.checked for d in first.descriptions}) == [19, 20]
            assert store.stats().failures == 2
            rows = store._rows("SELECT error, body, key FROM text_failures")
            assert [("HTTP 503" in r["error"], "as asked" in r["body"]) for r in rows] == [
                (True, True)
            ]
            assert store.verify() == []
        sent = len(server.questions)
        with Store(tmp_path / "s.db") as store:
            again = describe(DATA, labels_of(), model, store=store, concurrency=1)
        # The two that failed are asked again; the text has the words of another, already tested.
        assert len(server.questions) == sent + 2 == sent + again.asked.calls
        assert (len(again.descriptions), again.asked.failures) == (4, {})
        assert rows[0]["key"] in {d.key for d in again.descriptions}


@pytest.mark.parametrize("fault", ["401", "402", "404"])
def test_what_would_fail_again_ends_the_asking_at_once(fault):
    with serve("vllm", faults=Faults(always=fault)) as server, Store() as store:
        with pytest.raises(ServerError, match=f"HTTP {fault}") as caught:
            describe(DATA, labels_of(), model_at(server), store=store, concurrency=1)
        assert "\n" not in str(caught.value)
        assert (len(server.questions), store.stats().failures) == (1, 1)


def test_a_fault_that_passes_is_sent_again_and_one_that_stays_is_one_line():
    with serve("vllm", model=Sorter(True), writes=honest, faults=Faults(rate=0.3)) as server:
        made = described(server)
        assert len(server.questions) > 84
    assert [d.agreement for d in made.descriptions] == [1.0] * 4 and not made.asked.failures
    brief = RetryPolicy(timeout=0.05, total=0.2, attempts=1, pause=0.002, longest_pause=0.02)
    with serve("vllm", faults=Faults(always="hang"), hang=0.3) as server, Store() as store:
        with pytest.raises(ModelError, match=r"in 4 calls: .*no answer within 0\.05 s") as caught:
            describe(DATA, labels_of(), model_at(server, patience=brief), store=store)
        assert "\n" not in str(caught.value) and store.stats().failures == 4


@pytest.mark.parametrize("answer", [{"choices": []}, {"choices": [{}]}, {"choices": [{"text": 3}]}])
def test_what_is_no_text_is_an_error_and_no_empty_text(answer):
    with pytest.raises(AnswerError, match="text"):
        written_text(answer)
    # Where everything went into thinking, the text is there and empty.
    assert written_text({"choices": [{"message": {"content": None}}]}) == ""


async def write_once(model):
    try:
        return await model.write("The", 9)
    finally:
        await model.close()


def test_the_length_goes_where_the_server_takes_it():
    sent = []
    for extra in ({}, {"max_tokens": None, "max_completion_tokens": 1}, {"max_tokens": 3}):
        with serve("vllm", writes=honest) as server:
            model = OpenAIModel(found(server.url), patience=QUICK, extra_body=extra)
            asyncio.run(write_once(model))
            body = server.notes[0]["body"]
            sent.append((body.get("max_tokens"), body.get("max_completion_tokens")))
            assert model.writing["extra"] == extra
    assert sent == [(9, None), (None, 9), (9, None)]


# ---- before anything is spent -------------------------------------------------------------------


def test_what_it_takes_is_known_before():
    how = DescribeOptions(orders=2, shown=4, check=10)
    with serve("vllm", model=Sorter(True), writes=honest) as server, Store() as store:
        model = model_at(server)
        cost = foreseen(DATA, [labels_of()], model, store=store, how=how, price=Price(2.0))
        assert server.requests == [] and store.stats().models == ()
        made = describe(DATA, labels_of(), model, store=store, how=how)
        assert cost["calls"] == made.asked.calls == 2 + 2 * 2 * 10
        assert (cost["known"], cost["written_tokens"]) == (0, 120)
        assert cost["money"] == pytest.approx((cost["prompt_tokens"] + 120 + 40) * 2e-6)
        sent = sum(len(r["body"]["prompt"]) for r in server.questions)
        assert sent / 4 <= cost["prompt_tokens"] < 2.5 * sent / 4
        # All of it is known now; one more check is not, and its size is known from the text.
        after = foreseen(DATA, [labels_of()] * 2, model, store=store, how=how)
        assert (after["calls"], after["known"], after["prompt_tokens"]) == (0, 42, 0)
        assert after["money"] is None
        sent = len(server.questions)
        more = DescribeOptions(orders=4, shown=4, check=10)
        cost = foreseen(DATA, [labels_of()], model, store=store, how=more)
        assert (cost["calls"], cost["known"]) == (2 + 2 * 2 * 10, 42)
        assert len(server.questions) == sent


class Talker:
    """A model of one's own, as a user would bring it."""

    name, style, settings, writing = "mine", "text", {}, {"version": 1}

    async def ask(self, request: Request) -> Answer:
        return Answer((-0.1, -2.5), (True, True), 0.98)

    async def write(self, prompt, max_tokens) -> Completion:
        return Completion(" is one thing, and Group 2 another.")


def test_a_model_of_one_s_own_will_do_and_one_that_does_not_write_is_refused():
    assert isinstance(Talker(), Writer) and isinstance(Talker(), Model)
    with Store() as store:
        made = describe(DATA, labels_of(), Talker(), store=store)
        # It says False to everything: both framings cancel, and a tie is no agreement to speak of.
        assert made.descriptions[0].checked == 20 and made.descriptions[0].agreement == 0.5
        simulated = SimulatedModel("easy")
        assert not isinstance(simulated, Writer)
        for call in (describe, foreseen):
            labels = labels_of() if call is describe else [labels_of()]
            with pytest.raises(InputError, match="simulated:easy does not write text; use"):
                call(DATA, labels, simulated, store=store)
        with pytest.raises(InputError, match="concurrency must be at least 1"):
            describe(DATA, labels_of(), Talker(), store=store, concurrency=0)
        assert store.stats().texts == 4


class Indifferent:
    """Writes one sentence about any groups, and finds every answer equally probable."""

    name, style, settings, writing = "indifferent", "chat", {}, {}

    async def ask(self, request):
        k = len(request.label_names)
        return Answer((-math.log(k),) * k, (True,) * k, 1.0)

    async def write(self, prompt, max_tokens):
        return Completion("They differ.", {}, {})


@pytest.mark.parametrize("k", [26, 27])
@pytest.mark.parametrize("check", [0, 1])
def test_more_classes_than_letters_are_described_and_tested(k, check):
    task = Task(question="Which?", classes=tuple(f"topic {i}" for i in range(k)))
    many = Dataset("x", [Example(f"text {i} about {i % k}") for i in range(4 * k)], task=task)
    q = np.full((len(many), k), 0.1 / (k - 1))
    q[np.arange(len(many)), np.arange(len(many)) % k] = 0.9
    how = DescribeOptions(orders=1, check=check)
    with Store() as store:
        there = foreseen(many, [q], Indifferent(), store=store, how=how)
        made = describe(many, q, Indifferent(), store=store, how=how)
    assert [d.checked for d in made.descriptions] == [check]
    assert made.asked.calls == there["calls"]
