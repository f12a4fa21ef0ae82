"""Probabilities of labels that are doubted: no surer than what speaks for them, ranking kept."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.results.diagnosis import Kind
from consilience.results.tempering import (
    believable,
    temper_factor,
    tempered,
    zero_shot_agreement,
)
from consilience.solvers.lbfgs import LBFGS
from zoo import evidence

N = 80


def soft(k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.3), size=N)


@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("most", [0.6, 0.75])
def test_the_mean_probability_is_no_more_than_asked(k: int, most: float) -> None:
    labels = soft(k)
    made = tempered(labels, temper_factor(labels, most))
    assert made.max(axis=1).mean() == pytest.approx(min(most, labels.max(axis=1).mean()))
    np.testing.assert_allclose(made.sum(axis=1), 1)
    # One factor for all: each row keeps its class, and rows keep their order.
    np.testing.assert_array_equal(made.argmax(axis=1), labels.argmax(axis=1))
    if k == 2:
        np.testing.assert_array_equal(made[:, 0].argsort(), labels[:, 0].argsort())


def test_labels_that_are_not_too_sure_stay_as_they_are() -> None:
    labels = soft(2)
    assert temper_factor(labels, 1.0) == 1.0
    assert temper_factor(labels, labels.max(axis=1).mean()) == 1.0
    certain = np.eye(2)[np.arange(N) % 2]
    assert tempered(certain, temper_factor(certain, 0.5)).max() < 0.7


@pytest.mark.parametrize("asked", [0, 20, 60])
def test_the_agreement_is_that_of_enough_zero_shot_answers(asked: int) -> None:
    hard = np.arange(N) % 2
    labels = np.where(np.eye(2)[hard] > 0, 0.9, 0.1)
    # Zero-shot answers agree with the labels of all but every fifth; those with shots never count.
    said = np.where(np.arange(N) % 5 == 0, 1 - hard, hard)
    rows = [(i, [0.7, 0.3] if said[i] == 0 else [0.3, 0.7], ()) for i in range(asked)]
    rows += [(i, [0.3, 0.7], [((i + 1) % N, 0)]) for i in range(N)]
    made = evidence(N, rows)
    wanted = 0.8 if asked == 60 else 1.0
    assert zero_shot_agreement(labels, made) == pytest.approx(wanted)
    assert zero_shot_agreement(labels[:, ::-1], made) == (0.5 if asked == 60 else 1.0)
    # Half-way from a guess: a doubted labelling is the one meant once in two times at best.
    assert believable(labels, made) == pytest.approx((wanted + 0.5) / 2)


@pytest.mark.slow
def test_a_run_is_tempered_where_its_verdict_doubts_it() -> None:
    made = {}
    for world in ("easy", "no-answer"):
        data, _ = world_dataset(world, 160)
        settings = Settings(calls_per_example=8.0)
        model, solver = SimulatedModel(world), LBFGS(starts=2)
        made[world] = elicit(data, model, settings=settings, solver=solver)
    sure, unsure = made["easy"], made["no-answer"]
    assert sure.verdict.kind is Kind.COHERENT
    assert sure.soft_labels.tobytes() == sure.solution.labels.tobytes()
    assert unsure.verdict.kind is not Kind.COHERENT
    most = believable(unsure.solution.labels, unsure.evidence)
    assert unsure.soft_labels.max(axis=1).mean() <= most + 1e-9
    np.testing.assert_allclose(unsure.labels["probability"], unsure.soft_labels.max(axis=1))
