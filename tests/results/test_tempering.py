"""Probabilities of labels that are doubted: no surer than what speaks for them, ranking kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.results.diagnosis import Kind
from consilience.results.tempering import (
    believable,
    guess,
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


SHARES = (0.9, 0.1)


def test_doubted_labels_of_known_shares_fall_back_to_these() -> None:
    labels = soft(2)
    np.testing.assert_allclose(tempered(labels, 1.0, SHARES), labels)
    nothing = tempered(labels, 1e-9, SHARES)
    np.testing.assert_allclose(nothing, np.tile(SHARES, (N, 1)), atol=1e-6)
    # Even ones are what is meant where none are known.
    np.testing.assert_allclose(tempered(labels, 0.3, (0.5, 0.5)), tempered(labels, 0.3))
    half = tempered(labels, 0.5, SHARES)
    np.testing.assert_array_equal(half[:, 0].argsort(), labels[:, 0].argsort())
    wanted = (np.log(labels[:, 0] / labels[:, 1]) + np.log(9)) / 2
    np.testing.assert_allclose(np.log(half[:, 0] / half[:, 1]), wanted)


def test_with_known_shares_a_guess_is_the_most_frequent_class() -> None:
    rare = np.arange(N) % 10 == 0
    labels = np.where(rare[:, None], [0.1, 0.9], [0.95, 0.05])
    # Zero-shot answers that rank the rare ones first, and would call more than half of all so.
    common = ([0.4, 0.6], [0.55, 0.45])
    rows = [(i, [0.001, 0.999] if rare[i] else common[i % 2], ()) for i in range(N)]
    told = replace(evidence(N, rows), shares=SHARES)
    assert zero_shot_agreement(labels, told) > 0.95 > zero_shot_agreement(labels, evidence(N, rows))
    assert guess(labels, told) == 0.9
    assert 0.9 < believable(labels, told) < 1
    # Answers that rank nothing: no more is believed than the share.
    unrelated = [(i, ([0.51, 0.49], [0.49, 0.51])[i % 2], ()) for i in range(N)]
    none = replace(evidence(N, unrelated), shares=SHARES)
    assert believable(labels, none) == pytest.approx(0.9)
    factor = temper_factor(labels, 0.9, SHARES)
    assert tempered(labels, factor, SHARES).max(axis=1).mean() == pytest.approx(0.9, abs=1e-3)
