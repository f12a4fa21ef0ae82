"""What the model says nothing of is never a shot, and no baseline makes a label of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.elicitation.settings import Settings
from consilience.errors import AnswerError
from consilience.evaluation.baselines import BASELINES, BaselineContext
from consilience.evaluation.metrics import score
from consilience.models.base import Answer, Request
from consilience.store.database import Store

N = 60
TASK = Task("Is it odd?", ("No", "Yes"))
DATA = Dataset("numbers", [Example(f"item number {i}") for i in range(N)], task=TASK)
GOLD = np.arange(N) % 2
SILENT = np.arange(N) % 3 == 0


class Reticent:
    """Right about two of three examples; of the third it fails, or names no label at all."""

    name, style, settings = "reticent", "text", {}

    def __init__(self, mode: str, only_shots: bool) -> None:
        self.mode, self.only, self.asked = mode, only_shots, []

    async def ask(self, request: Request) -> Answer:
        self.asked.append(request.query)
        i = DATA.index[request.query.target]
        if SILENT[i] and (request.query.shots or not self.only):
            if self.mode == "fails":
                raise AnswerError("nothing")
            return Answer((-5.0, -5.0), (False, False), 0.0)
        p = 0.9 if GOLD[i] else 0.1
        return Answer((math.log(1 - p), math.log(p)), (True, True), 1.0)


def labelled(name: str, model: Reticent, **changed: object) -> np.ndarray:
    settings = Settings(**{"calls_per_example": 6.0, "framings": ("names",), **changed})
    with Store() as store:
        bench = BaselineContext(DATA, model, store=store, settings=settings, concurrency=1)
        return BASELINES[name](bench).labels


ROUNDS = ["bootstrap", "bootstrap-confident", "ranked", "ranked-random", "iterative-pseudo"]


@pytest.mark.parametrize("name", ["bootstrap", "bootstrap-confident", "ranked"])
def test_a_known_label_stays_whichever_way_a_later_answer_says_nothing(name: str) -> None:
    for mode in ("fails", "bounded"):
        labels = labelled(name, Reticent(mode, only_shots=True))
        assert score(labels, GOLD, DATA.groups, only=["accuracy"])["accuracy"].estimate == 1.0


@pytest.mark.parametrize("mode", ["fails", "bounded"])
@pytest.mark.parametrize("name", ROUNDS)
def test_who_was_never_answered_is_never_shown(name: str, mode: str) -> None:
    model = Reticent(mode, only_shots=False)
    labelled(name, model)
    rounds = [query for query in model.asked if query.shots]
    # A start that was drawn is shown once, before anybody was asked.
    later = rounds[N:] if name == "ranked-random" else rounds
    shown = {DATA.index[id] for query in later for id, _ in query.shots}
    assert shown and not SILENT[sorted(shown)].any()


@pytest.mark.parametrize("name", ["gibbs", "n-pass"])
def test_sampling_makes_no_label_of_silence(name: str) -> None:
    labels = labelled(name, Reticent("fails", only_shots=False))
    np.testing.assert_allclose(labels[SILENT], 0.5)
    assert (labels[~SILENT].argmax(axis=1) == GOLD[~SILENT]).mean() > 0.9


def test_a_budget_for_no_sweep_gives_labels_that_sum_to_one() -> None:
    labels = labelled("gibbs", Reticent("fails", False), framings=("sets",), calls_per_example=0.5)
    np.testing.assert_allclose(labels, 0.5)
