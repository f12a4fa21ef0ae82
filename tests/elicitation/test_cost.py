"""The cost: what is said before is what is spent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.elicitation.cost import estimate
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError, ServerError
from consilience.models.base import Answer, Request
from consilience.models.capabilities import Capabilities
from consilience.models.label_tree import label_tree
from consilience.models.local import LocalModel
from consilience.models.openai import OpenAIModel
from consilience.models.price import Price
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.prompts.query import Query
from consilience.prompts.token_estimates import round_up
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store
from recorder import Recorder

DATA, _ = world_dataset("noisy", 40)
SETTINGS = Settings(calls_per_example=4.0, plan=PlanSettings(shots=6), settled=0.0)


@pytest.fixture
def store():
    with Store() as opened:
        yield opened


@pytest.mark.parametrize(
    "change",
    [
        {"calls_per_example": 2.0},
        {"calls_per_example": 3.7},
        {"calls_per_example": 6.0, "framings": ("plain",)},
        {"calls_per_example": 5.0, "framings": ("letters", "sets")},
        {"calls_per_example": 2.5, "framings": ("sets",), "anchor": "whether a door is open"},
        {"calls_per_example": 4.0, "plan": PlanSettings(shots=2)},
    ],
    ids=str,
)
def test_calls_and_tokens_are_those_of_the_run(store: Store, change: dict[str, Any]) -> None:
    settings = replace(SETTINGS, **change)
    model = SimulatedModel("noisy")
    said = estimate(DATA, model, settings, store)
    done = elicit(DATA, model, settings=settings, store=store, solver=LBFGS(starts=1)).asked
    assert said.calls == done.calls == int(settings.calls_per_example * 40)
    assert said.prompt_tokens == pytest.approx(done.prompt_tokens, rel=0.05)
    assert 0 < said.fresh_tokens < said.prompt_tokens
    assert said.known == 0


def test_an_estimate_asks_nothing_and_knows_what_is_known(store: Store) -> None:
    model = Recorder(usage={"prompt_tokens": 10})
    assert estimate(DATA, model, SETTINGS, store).known == 0
    assert model.asked == []
    elicit(
        DATA, model, settings=replace(SETTINGS, calls_per_example=2.0), store=store,
        solver=LBFGS(starts=1),
    )  # fmt: skip
    # Of another run, which asked the same without shots.
    said = estimate(DATA, model, SETTINGS, store)
    assert (said.known, said.calls, len(model.asked)) == (40, 120, 80)
    assert estimate(DATA, Recorder(name="other"), SETTINGS, store).known == 0


class Failing(Recorder):
    """Answers so often, and then breaks down."""

    def __init__(self, times: int) -> None:
        super().__init__(usage={"prompt_tokens": 10})
        self.times = times

    async def ask(self, request: Request) -> Answer:
        if len(self.asked) >= self.times:
            raise ServerError("broken", fatal=True)
        return await super().ask(request)


@pytest.mark.parametrize("times", [20, 40, 100, 160])
def test_of_a_run_that_has_begun_it_tells_what_is_left(store: Store, times: int) -> None:
    whole = estimate(DATA, Failing(0), SETTINGS, store, price=Price(1.0))
    broken = Failing(times)
    with suppress(ServerError):
        elicit(DATA, broken, settings=SETTINGS, store=store, concurrency=1)
    said = estimate(DATA, broken, SETTINGS, store, price=Price(1.0))
    assert (said.known, said.calls, said.output_tokens) == (times, *[160 - times] * 2)
    again = Failing(1000)
    elicit(DATA, again, settings=SETTINGS, store=store, concurrency=1)
    assert len(again.asked) == said.calls
    if times == 160:
        assert (said.prompt_tokens, said.fresh_tokens, said.money) == (0, 0, 0.0)
    else:
        sent = sum(len(str(request.prompt)) for request in again.asked)
        ratio = float(said.basis.split()[0])
        assert said.prompt_tokens == pytest.approx(sent / ratio, rel=0.05)
        assert said.money > 0 and whole.money is not None and said.calls < whole.calls


def test_a_run_whose_labels_have_settled_has_nothing_left_to_ask(store: Store) -> None:
    model = Recorder(usage={"prompt_tokens": 10})
    settings = replace(SETTINGS, calls_per_example=40.0, settled=0.2)
    found = elicit(DATA, model, settings=settings, store=store)
    assert found.saved > 0
    said = estimate(DATA, model, settings, store, price=Price(1.0))
    assert (said.calls, said.known, said.money) == (0, len(model.asked), 0.0)
    # One that was stopped at the end of a round is not at its end.
    again = replace(settings, settled=0.0, calls_per_example=4.0)
    broken = Failing(40)
    with suppress(ServerError):
        elicit(DATA, broken, settings=again, store=store, seed=1, concurrency=1)
    assert estimate(DATA, broken, again, store, seed=1).calls == 80


def test_tokens_are_counted_by_what_the_store_has_seen(store: Store) -> None:
    model = Recorder(usage={"prompt_tokens": 100})
    others = Dataset("others", [Example(f"{text} Or not.") for text in DATA.texts], task=DATA.task)
    guess = estimate(others, model, SETTINGS, store)
    assert guess.basis == "4 characters to a token, a guess"
    elicit(
        DATA, model, settings=replace(SETTINGS, calls_per_example=2.0), store=store,
        solver=LBFGS(starts=1),
    )  # fmt: skip
    ratio = sum(len(str(request.prompt)) for request in model.asked) / (100 * len(model.asked))
    said = estimate(others, model, SETTINGS, store)
    assert said.basis == f"{ratio:.2f} characters to a token, as the store has seen for this model"
    assert said.prompt_tokens == pytest.approx(guess.prompt_tokens * 4 / ratio, rel=1e-3)


def test_what_is_shared_is_fresh_once(store: Store) -> None:
    # Two framings in turn, zero-shot: of each the first prompt is new, then only the target.
    settings = replace(SETTINGS, calls_per_example=1.0)
    model = Recorder()
    said = estimate(DATA, model, settings, store)
    elicit(DATA, model, settings=settings, store=store, solver=LBFGS(starts=1), concurrency=1)
    texts = {str(r.prompt): DATA.texts[DATA.index[r.query.target]] for r in model.asked}
    assert said.prompt_tokens == round_up(sum(map(len, texts)) / 4)
    whole = [prompt for i, prompt in enumerate(texts) if i in (0, 20)]
    others = [text for i, text in enumerate(texts.values()) if i not in (0, 20)]
    assert said.fresh_tokens == round_up(sum(map(len, whole + others)) / 4)


def test_a_larger_block_has_less_that_is_fresh(store: Store) -> None:
    model = SimulatedModel("noisy")
    shared = estimate(DATA, model, SETTINGS, store)
    plan = replace(SETTINGS.plan, block=1)
    alone = estimate(DATA, model, replace(SETTINGS, plan=plan), store)
    assert shared.calls == alone.calls
    assert shared.fresh_tokens < 0.8 * alone.fresh_tokens
    assert shared.prompt_tokens == pytest.approx(alone.prompt_tokens, rel=0.05)


def test_money_is_tokens_times_the_price(store: Store) -> None:
    model = SimulatedModel("noisy")
    assert estimate(DATA, model, SETTINGS, store).money is None
    said = estimate(DATA, model, SETTINGS, store, price=Price(2.5))
    assert said.money == pytest.approx((said.prompt_tokens + said.output_tokens) * 2.5 / 1e6)
    assert said.output_tokens == said.calls
    cheap = estimate(DATA, model, SETTINGS, store, price=Price(2.5, 0.0, 0.0))
    assert cheap.money == pytest.approx(said.fresh_tokens * 2.5 / 1e6)
    assert said.to_json()["money"] == said.money
    assert set(said.to_json()) == {
        *(
            "calls",
            "requests",
            "known",
            "prompt_tokens",
            "fresh_tokens",
            "output_tokens",
            "money",
            "basis",
        ),
    }


def test_names_that_are_asked_word_by_word_are_so_many_requests(store: Store) -> None:
    task = Task("Which?", [f"kind {c}" for c in range(40)], None, None)
    data = Dataset("kinds", [Example(f"The lamp number {i} is lit.") for i in range(60)], task=task)
    here = Capabilities("http://localhost:1/v1", "m", "completions", "text", 20, 20)
    said = estimate(data, OpenAIModel(here), SETTINGS, store, price=Price(1.0))
    # The codes of forty classes begin with one of three letters.
    assert said.calls == 240 and said.requests == said.output_tokens == 4 * 240
    whole = estimate(data, Recorder(), SETTINGS, store, price=Price(1.0))
    assert whole.requests == whole.calls
    assert said.prompt_tokens == pytest.approx(4 * whole.prompt_tokens, rel=0.01)


class WordByWord(Recorder):
    """A model that takes several requests for an answer, each as long as its prompt."""

    def requests_for(self, names: Sequence[str]) -> int:
        return len(list(label_tree(tuple(names)).branches()))

    async def ask(self, request: Request) -> Answer:
        answer = await super().ask(request)
        sent = self.requests_for(request.label_names) * len(str(request.prompt))
        return replace(answer, usage={"prompt_tokens": sent // 3})


@pytest.mark.parametrize("framings", [("names",), ("letters",), ("names", "letters")])
def test_what_was_asked_word_by_word_is_counted_once_in_an_estimate(
    store: Store, framings: tuple[str, ...]
) -> None:
    task = Task("How true is it?", ("mostly false", "mostly true"), None, None)
    data = Dataset("x", [Example(f"The lamp number {i} is lit.") for i in range(30)], task=task)
    settings, model = replace(SETTINGS, framings=framings, calls_per_example=3.0), WordByWord()
    fresh = estimate(data, model, settings, store)
    done = elicit(data, model, settings=settings, store=store, solver=LBFGS(starts=1)).asked
    assert fresh.prompt_tokens * 4 / 3 == pytest.approx(done.prompt_tokens, rel=0.02)
    # Also where the store holds answers that took one request each.
    said = []
    for count in (0, 1):
        for i in range(40 * count):
            asked = Request(Query(f"id {i}"), f"A prompt {i}.", ("no", "yes"))
            usage = {"prompt_tokens": len(str(asked.prompt)) // 3}
            store.add(model, asked, Answer((-0.1, -3.0), (True, True), 1.0, usage=usage), 0.0)
        said.append(estimate(data, model, settings, store, seed=1))
    rest = elicit(data, model, settings=settings, store=store, solver=LBFGS(starts=1), seed=1).asked
    assert [one.prompt_tokens for one in said] == pytest.approx([rest.prompt_tokens] * 2, rel=0.02)
    share = fresh.fresh_tokens / fresh.prompt_tokens
    for one in said:
        assert one.fresh_tokens == pytest.approx(share * one.prompt_tokens, rel=0.2)


def test_messages_are_counted_like_text(store: Store) -> None:
    text = estimate(DATA, Recorder(), SETTINGS, store)
    chat = estimate(DATA, Recorder(style="chat"), SETTINGS, store)
    assert chat.prompt_tokens == pytest.approx(text.prompt_tokens, rel=0.1)


def test_contrasts_are_counted_and_the_budget_holds(store: Store) -> None:
    settings = replace(SETTINGS, plan=replace(SETTINGS.plan, contrasts=0.5))
    model = SimulatedModel("noisy")
    said = estimate(DATA, model, settings, store)
    done = elicit(DATA, model, settings=settings, store=store, solver=LBFGS(starts=1))
    assert done.run.planned <= said.calls <= 160


def test_a_budget_below_the_first_round_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="zero-shot round"):
        estimate(DATA, SimulatedModel("noisy"), replace(SETTINGS, calls_per_example=0.9), store)


@pytest.mark.parametrize(("value", "whole"), [(0.0, 0), (1.0, 1), (1.01, 2), (7.999, 8)])
def test_a_cost_is_not_rounded_down(value: float, whole: int) -> None:
    assert round_up(value) == whole


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 12])
def test_no_more_is_asked_than_was_foreseen_however_few_the_rows(n: int) -> None:
    data = Dataset("x", [Example(f"A claim number {i}.") for i in range(n)])
    settings, model = Settings(calls_per_example=8, settled=0.0), SimulatedModel("easy")
    for seed in range(4):
        with Store() as store, Store() as empty:
            foreseen = estimate(data, model, settings, empty, seed=seed).calls
            given = {"settings": settings, "seed": seed, "solver": LBFGS(starts=1)}
            found = elicit(data, model, store=store, **given)
        assert found.asked.calls <= foreseen
        # Of three or four rows some questions come twice, and those are asked once.
        assert found.asked.calls == foreseen or n in (3, 4)


def test_names_that_begin_alike_are_asked_whole_of_a_model_that_reads_them_whole() -> None:
    alike = Task("What is it?", ("very negative", "very positive"))
    assert Settings().suited(LocalModel, alike).framings == ("names",)
    assert Settings().suited(SimulatedModel("easy"), alike).framings is None
    assert Settings().suited(LocalModel, Task("Good?", ("no", "yes"))).framings is None
    said = Settings(framings=("letters",))
    assert said.suited(LocalModel, alike) is said
