"""What a model cannot read is told before it is asked, with the number of shots that would fit."""

from __future__ import annotations

import asyncio
from copy import copy

import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.elicitation.prompt_lengths import check_lengths, too_long
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.models.base import Model
from consilience.models.local import LocalModel, open_local
from consilience.models.openai import OpenAIModel, open_openai
from consilience.models.simulated import SimulatedModel
from consilience.planning.planner import PlanSettings
from consilience.store.database import Store
from wire_server import MODEL, serve

TASK = Task("Which team should answer?", ("billing", "technical"))


def tickets(words: int, count: int = 60, long: int = 0) -> Dataset:
    """Rows of so many words each, the first `long` of them of a thousand more."""
    texts = [f"Ticket {i}: " + "late " * (words + (1000 if i < long else 0)) for i in range(count)]
    return Dataset("tickets", [Example(text) for text in texts], task=TASK)


def settings(shots: int) -> Settings:
    return Settings(calls_per_example=4, plan=PlanSettings(shots=shots))


@pytest.fixture(scope="module")
def pocket() -> LocalModel:
    """A model that reads 1,024 tokens."""
    return open_local("pocket")


def test_prompts_that_fit_need_no_word(pocket: LocalModel) -> None:
    assert pocket.context == 1024
    assert check_lengths(tickets(3), pocket, settings(8)) is None


def test_the_setting_and_the_shots_that_fit_are_named_before_anything_is_asked(
    pocket: LocalModel,
) -> None:
    data = tickets(50)
    found = too_long(data, pocket, settings(24))
    assert found is not None and found.refused and found.share > 0.9
    assert found.longest > found.limit == 1024 and 0 < found.fits < 24
    with Store() as store:
        with pytest.raises(InputError, match="was not asked") as error:
            elicit(data, pocket, settings=settings(24), store=store)
        assert f"--set planning.shots={found.fits}" in str(error.value)
        assert "\n" not in str(error.value)
        assert not store.known(store.rounds(store.runs()[0].id))
    # With so many all is read; with a few more it is not.
    assert check_lengths(data, pocket, settings(found.fits)) is None
    assert check_lengths(data, pocket, settings(found.fits + 1), begun=True) is not None


def test_a_few_long_rows_end_no_run(pocket: LocalModel) -> None:
    """They are said, and the rows that fit are asked."""
    found = too_long(tickets(3, count=200, long=2), pocket, settings(4))
    assert found is not None and 0 < found.share < 0.2 and not found.refused
    assert found.fits == 0 and "shorten" in found.sentence


def test_tokens_are_those_that_the_model_reads(pocket: LocalModel) -> None:
    data = tickets(50)
    found = too_long(data, pocket, settings(24))
    assert found is not None
    shorter, longer = (
        reading(pocket, found.longest),
        reading(pocket, found.longest - 1),
    )
    assert too_long(data, shorter, settings(24)) is None
    assert too_long(data, longer, settings(24)) is not None


def reading(model: LocalModel, context: int) -> LocalModel:
    other = copy(model)
    other.context = context
    return other


@pytest.mark.parametrize("kind", ["vllm", "llama-server"])
def test_what_a_server_tells_is_compared_with_characters(kind: str) -> None:
    with serve(kind) as server:
        model = asyncio.run(open_openai(MODEL, server.url))
        assert isinstance(model, OpenAIModel) and model.context == server.dialect.context
        before = len(server.requests)
        fits, about, surely = (tickets(words, count=120) for words in (5, 40, 400))
        assert check_lengths(fits, model, settings(8)) is None
        said = check_lengths(about, model, settings(48 if kind == "llama-server" else 90))
        assert said is not None and "about" in said and "planning.shots=" in said
        with pytest.raises(InputError, match=r"planning\.shots="):
            check_lengths(surely, model, settings(24))
        assert len(server.requests) == before


def test_a_model_without_a_limit_is_asked_whatever_it_is() -> None:
    model: Model = SimulatedModel("easy")
    assert check_lengths(tickets(500), model, settings(24)) is None
