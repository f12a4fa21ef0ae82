"""What Python's functions are handed and is of another kind: one line, before a call is spent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import consilience as cs
from consilience.data.dataset import Dataset, Gold
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings

DATA, GOLD = world_dataset("easy", 40)
MODEL = SimulatedModel("easy")
LABEL = {"calls_per_example": 2.0}


def elicit(**given: Any) -> cs.Found:
    """A run of two calls for each example."""
    return cs.elicit(**{"data": DATA, "model": MODEL, **LABEL, **given})


def label(given: Any) -> None:
    """A run whose one argument is replaced."""
    elicit(**given)


class Mine:
    """A model of one's own that is right."""

    name, style, settings = "mine", "text", {}

    async def ask(self, request: cs.Request) -> Any:
        """Which class it is does not matter."""
        return cs.Answer((-1.0, -1.0), exact=(True, True), mass=0.7)


def mine(**parts: Any) -> dict[str, object]:
    """The same with other parts, as the model of a run; a part that is None is left out."""
    made = {**vars(Mine), **parts}
    return {"model": type("Mine", (), {k: v for k, v in made.items() if v is not None})()}


async def no_answer(self: Mine, request: cs.Request) -> tuple[float, float]:
    """What is forgotten first."""
    return -1.0, -1.0


async def generating(self: Mine, request: cs.Request) -> Any:
    """One that gives an answer where it is to return it."""
    yield await Mine.ask(self, request)


WRONG: dict[str, tuple[Callable[[Any], object], Any, str]] = {
    "a table for a data set": (label, {"data": pd.DataFrame({"a": ["b"]})}, "from_records.*DataFr"),
    "a name for a data set": (label, {"data": "easy"}, "Dataset.*'easy'"),
    "a name for a model": (label, {"model": "openai:tiny"}, "open_model.*'openai:tiny'"),
    "no model": (label, {"model": None}, "open_model.*None"),
    "a class for a model": (label, {"model": Mine}, "open_model.*got a type"),
    "a model without a name": (label, mine(name=None), "a name, a style and.*Mine has no name"),
    "a model without a style": (label, mine(style=None), "Mine has no style"),
    "a model without settings": (label, mine(settings=None), "Mine has no settings"),
    "a number for a model's name": (label, mine(name=3), "name of a model is a text; got 3"),
    "a style that is none": (label, mine(style="say"), "style of mine is one of text, .*'say'"),
    "settings in a list": (label, mine(settings=[]), "settings of mine are a dict.*got a list"),
    "a model that does not wait": (
        *(label, mine(ask=lambda self, request: cs.Answer((-1.0, -1.0), (True, True), 0.7))),
        "`ask` of mine is to be written with `async def`; got a Answer",
    ),
    "a model that generates": (
        *(label, mine(ask=generating)),
        "to be written with `async def`; got a async_generator",
    ),
    "no answer": (label, mine(ask=no_answer), "`ask` of mine is to return an Answer; got a tuple"),
    "a seed below 0": (label, {"seed": -1}, "from 0 on; got -1"),
    "a seed in words": (label, {"seed": "one"}, "seed is a whole number.*'one'"),
    "settings of a task file": (
        *(label, {"settings": {"plan": {"shots": 6}}}),
        r"settings are Settings\(calls_per_example=8\); got a dict",
    ),
    "no settings at all": (label, {"settings": {}}, "settings are Settings.*got a dict"),
    "no store": (label, {"store": None}, "a store is the path.*':memory:'; got None"),
    "calls in words": (label, {"calls_per_example": "8"}, "calls per example are a number.*'8'"),
    "a function for a term": (
        *(label, {"terms": cs.default_terms() | {"mine": max}}),
        r"the term 'mine' is to be a Term\(",
    ),
    "terms in a list": (label, {"terms": [1]}, "a dictionary of Term by name; got a list"),
    "connections in words": (label, {"concurrency": "3"}, "concurrency is a whole number.*'3'"),
    "texts for examples": (lambda given: Dataset("d", given), ["a", "b"], "Example.*'a'"),
    "no name of a model": (cs.open_model, None, "a model is named by a text"),
    "no name of a data set": (cs.load_dataset, None, "a data set is named by"),
    "groups in words": (
        *(lambda given: cs.load_dataset("easy", groups=given), "30"),
        "how many groups.*'30'",
    ),
    "gold first": (lambda given: cs.evaluate(*given), (GOLD, GOLD), "`elicit` found; got a Gold"),
    "no path": (lambda given: elicit().export(given), None, "the path of a file; got None"),
    "no page": (lambda given: elicit().report(given), None, "the path of a file; got None"),
    "no gold": (lambda given: cs.evaluate(elicit(), given), None, "'easy' has no gold; give Gold"),
    "labels for gold": (lambda given: cs.evaluate(elicit(), given), {"a": 1}, "Gold.*a dict"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_of_another_kind_is_said_in_a_line(name: str) -> None:
    function, given, message = WRONG[name]
    with pytest.raises(InputError, match=message) as error:
        function(given)
    assert "\n" not in str(error.value)


def test_what_is_as_good_is_taken(tmp_path: Path) -> None:
    assert elicit(**mine()).run.model == "mine"
    store = tmp_path / "a.db"
    asked = Settings(calls_per_example=np.float64(2), plan=PlanSettings(shots=np.int64(6)))
    found = elicit(seed=np.int64(3), store=store, settings=asked, concurrency=np.int64(2))
    assert found.run.seed == 3 and found.run.settings["plan"]["shots"] == 6
    assert elicit(seed=3, store=store, settings=asked).run.id == found.run.id
    assert len(cs.load_dataset("easy", groups=np.int64(30))[0]) == 30
    assert cs.evaluate(found, Gold(GOLD.labels)).scored == len(DATA)
