"""The second opinion: that it tells a run under a wrong concept from one under the truth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from consilience.elicitation.session import Session
from consilience.elicitation.settings import Settings
from consilience.evidence.evidence import Evidence
from consilience.models.simulated import WORLDS, SimulatedModel, true_label, world_dataset
from consilience.objective.term import Term
from consilience.planning.planner import PlanSettings
from consilience.results.shot_free_check import ShotFreeCheck, check_without_shots
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.store.database import Store
from scenes import gathered, scene
from zoo import evidence, random_rows

SETTINGS = Settings(calls_per_example=16.0, census=0.0, plan=PlanSettings(contrasts=1.0))


def labels_of(concept: int, ids) -> np.ndarray:
    return np.array([true_label(WORLDS["noisy"], concept, id) for id in ids])


@cache
def run(
    seed: int, wrong: int | None, examples: int = 400
) -> tuple[Evidence, np.ndarray, ShotFreeCheck]:
    """A run whose shots carry the labels found; or, first, those of a `wrong` concept."""
    data, _ = world_dataset("noisy", examples, seed)
    with Store() as store:
        session = Session(data, SimulatedModel("noisy"), store, settings=SETTINGS, seed=seed)
        while queries := session.next_queries():
            session.ask(queries, concurrency=1)
            session.learn()
            if wrong is not None and session.round == 1:
                session.state.labels = 0.9 * np.eye(2)[labels_of(wrong, data.ids)] + 0.05
        ev = session.state.evidence
    solution = solve(ev, solver=LBFGS(starts=1), seed=seed, start=session.labels)
    opinion = check_without_shots(ev, solution, seed=seed)
    return ev, solution.labels, opinion


@pytest.mark.slow
def test_it_tells_runs_under_a_wrong_concept_from_those_under_the_truth() -> None:
    pairs = [(run(seed, None), run(seed, 1)) for seed in range(6)]
    for pair in pairs:
        # The labels are as good as they can be, each of its own concept: they do not tell.
        for concept, (ev, labels, _) in enumerate(pair):
            assert (labels.argmax(axis=1) == labels_of(concept, ev.ids)).mean() > 0.8
    # The second opinion does, but for one draw.
    agreed, doubted = ([pair[which][2] for pair in pairs] for which in (0, 1))
    assert not any(opinion.dissents for opinion in agreed)
    assert sum(opinion.dissents for opinion in doubted) >= 5
    gaps = [a.agreement - d.agreement for a, d in zip(agreed, doubted, strict=True)]
    assert np.mean(gaps) > 0.15


def test_it_follows_from_what_no_found_label_has_touched():
    ev, labels, opinion = run(0, None, 60)
    untouched = ev.shot_counts < 2
    assert untouched.any() and not untouched.all()
    alone = solve(ev.only(untouched))
    assert alone.labels.tobytes() == opinion.labels.tobytes()
    same = alone.labels.argmax(axis=1) == labels.argmax(axis=1)
    assert opinion.agreement == same.mean()
    share = opinion.agreement
    assert opinion.error == pytest.approx(np.sqrt(share * (1 - share) / (len(same) - 1)))


def test_there_is_none_without_zero_shot_answers_and_contrasts():
    rows = random_rows(np.random.default_rng(0), 6, 2, zero=0, shown=2)
    with_shots = evidence(6, rows)
    assert check_without_shots(with_shots, solve(with_shots)) is None
    one = evidence(6, [*rows, (0, [0.2, 0.8], ())])
    assert check_without_shots(one, solve(one)).labels.shape == (6, 2)
    data, (_, flips) = scene(0, 2)
    contrasts = gathered(data, [flips])
    assert not contrasts.predictions.zero.any()
    assert check_without_shots(contrasts, solve(contrasts)).agreement > 0


def test_of_one_example_there_is_an_opinion_without_an_error():
    ev = evidence(1, [(0, [0.2, 0.8], ())])
    opinion = check_without_shots(ev, solve(ev))
    assert opinion.agreement == 1 and np.isnan(opinion.error)
    assert opinion.labels.argmax() == 1


def test_where_nothing_but_zero_shot_answers_was_asked_it_agrees():
    ev = evidence(8, random_rows(np.random.default_rng(1), 8, 3, zero=3, shown=0), 3)
    solution = solve(ev)
    opinion = check_without_shots(ev, solution)
    assert (opinion.agreement, opinion.error) == (1.0, 0.0)
    assert opinion.labels.tobytes() == solution.labels.tobytes()


def test_terms_and_seed_are_those_of_the_solve():
    ev = evidence(6, random_rows(np.random.default_rng(2), 6, 2, zero=2, shown=2))
    terms = {"mine": Term(lambda state: -(state.q[:, 1] - 0.25).square().mean(), 1.0)}
    opinion = check_without_shots(ev, solve(ev), terms, seed=3)
    np.testing.assert_allclose(opinion.labels[:, 1], 0.25, atol=1e-3)
    same = solve(ev.only(ev.predictions.zero), terms, seed=3)
    assert opinion.labels.tobytes() == same.labels.tobytes()
