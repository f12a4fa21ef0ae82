"""Every method that finds labels without gold gives the same ones whatever the gold, or without."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.data.dataset import Dataset, Gold
from consilience.elicitation.settings import Settings
from consilience.evaluation.baselines.base import BaselineContext
from consilience.evaluation.benchmark.methods import BENCHMARK_METHODS, FULL
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.store.database import Store

TOLD = {"majority", "golden"}
"""The two rows that are made of gold, and say so."""

BLIND = [name for name in BENCHMARK_METHODS if name not in TOLD]
WORLD = "grouped"
SETTINGS = Settings(calls_per_example=3.0, plan=PlanSettings(shots=4, block=6), settled=0.0)


def _raise(*given: Any) -> Any:
    raise AssertionError("gold was looked at")


class Untouchable:
    """Gold of which nothing can be read, asked or even compared."""

    __getattribute__ = __len__ = __iter__ = __getitem__ = __contains__ = _raise  # type: ignore[assignment]
    __bool__ = __eq__ = __hash__ = __repr__ = __copy__ = __deepcopy__ = _raise  # type: ignore[assignment]


def golds(gold: Gold) -> dict[str, Any]:
    ids = list(gold.labels)
    noise = {id: (7 * i * i + 3 * i) % 5 % 2 for i, id in enumerate(ids)}
    return {
        "as it is": gold,
        "its complement": Gold({id: 1 - label for id, label in gold.labels.items()}),
        "noise": Gold(noise),
        "nothing": Gold({}),
        "untouchable": Untouchable(),
    }


def labels(name: str, data: Dataset, gold: Any) -> bytes:
    with Store() as store:
        bench = BaselineContext(
            data, SimulatedModel(WORLD), store=store, settings=SETTINGS, seed=3, concurrency=1
        )
        return BENCHMARK_METHODS[name](bench, gold).labels.tobytes()


LONG = {*FULL, "consilience", "iterative-pseudo"}
"""The methods that take a second or more; they are tried in CI."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in BLIND]
)
def test_labels_are_the_same_to_the_bit_without_a_look(name: str) -> None:
    data, gold = world_dataset(WORLD, 8)
    assert labels(name, data, gold) == labels(name, data, Untouchable())


@pytest.mark.slow
@pytest.mark.parametrize("name", BLIND)
def test_labels_are_the_same_to_the_bit_whatever_the_gold(name: str) -> None:
    data, gold = world_dataset(WORLD, 16)
    found = {what: labels(name, data, given) for what, given in golds(gold).items()}
    assert len(set(found.values())) == 1, name


@pytest.mark.parametrize("name", sorted(TOLD))
def test_the_rows_that_are_made_of_gold_do_look(name: str) -> None:
    data, gold = world_dataset(WORLD, 16)
    with pytest.raises(AssertionError, match="looked at"):
        labels(name, data, Untouchable())
    turned = golds(gold)["its complement"]
    assert labels(name, data, gold) != labels(name, data, turned)
