"""Simulated annealing: what it may propose, what it finds, and what each setting does."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from consilience.data.relations import And, AtMostOne, Equal, ExactlyOne, Opposite, Or
from consilience.errors import InputError, SolveError
from consilience.evidence.relation_factors import Large
from consilience.objective.coherence import TERMS, default_terms
from consilience.objective.term import Term
from consilience.solvers.annealing import Annealing, _another_world, _turned, _Walk
from consilience.solvers.exhaustive import corners
from consilience.solvers.fixed_point import Problem, Result
from consilience.solvers.solution import solve
from problems import PROBLEMS, leaning, made

OBJECTIVE = default_terms() | {
    "couplings": TERMS["couplings"].at(1.0),
    "entropy": TERMS["entropy"].at(1e-3),
}
KINDS = (Equal, AtMostOne, ExactlyOne, And, Or)


def objective_of(ev, terms=OBJECTIVE):
    problem = Problem(ev, terms)
    logq = torch.full((1, ev.n, ev.k), -np.log(ev.k), dtype=torch.float64)
    return problem.objective(problem.condition(logq))


def test_labels_are_hard_and_the_schedule_is_run_to_its_end():
    ev = PROBLEMS["learner of two classes"]()
    solution = solve(ev, OBJECTIVE, Annealing(starts=2, sweeps=5))
    assert set(np.round(solution.labels, 12).flatten()) == {0, 1}
    assert solution.result is Result.RUN and "`sweeps`" in solution.result.value
    assert solution.stats.steps == 5 * ev.n * solution.stats.conditionings


def test_a_proposal_is_another_world_that_is_allowed_and_mostly_a_near_one():
    worlds = torch.tensor([w for w in product((0, 1), repeat=4) if sum(w) in (1, 2)])
    now = torch.tensor([[0, 1, 0, 0]]).expand(4000, 4)
    then = _another_world(worlds, now, np.random.default_rng(0))
    changed = (then != now).sum(dim=1)
    assert int(changed.min()) == 1 and set(then.sum(dim=1).tolist()) == {1, 2}
    assert {tuple(w) for w in then.tolist()} == {tuple(w) for w in worlds.tolist()} - {(0, 1, 0, 0)}
    # Three worlds one label away, three with two, three with three.
    shares = np.bincount(changed.numpy(), minlength=4)[1:] / 4000
    np.testing.assert_allclose(shares, np.exp([-1, -2, -3]) / np.exp([-1, -2, -3]).sum(), atol=0.03)


def test_where_one_world_is_allowed_it_stays():
    worlds = torch.tensor([[1, 0]])
    there = _another_world(worlds, torch.tensor([[1, 0], [0, 0]]), np.random.default_rng(0))
    assert there.tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_relation_among_many_is_kept_by_each_change(kind, label, k):
    tied = Large(torch.arange(5).unsqueeze(0), kind, label)
    relation = kind(tuple("abcde"), label=label)
    worlds = np.array(list(product(range(k), repeat=5)))
    allowed = worlds[relation.holds(worlds)]
    reached, rng = [], np.random.default_rng(0)
    now = torch.from_numpy(allowed)
    for _ in range(60):
        now = _turned(tied, now, k, rng)
        assert relation.holds(now.numpy()).all()
        reached.append(now.numpy())
    # From anywhere to anywhere.
    everywhere = {tuple(w) for w in np.concatenate(reached).tolist()}
    assert everywhere == {tuple(w) for w in allowed.tolist()}


@pytest.mark.parametrize("kind", [AtMostOne, ExactlyOne, Equal, And, Or])
def test_thirteen_tied_examples(kind):
    ties = [(kind, tuple(range(13)))]
    nats = np.random.default_rng(2).normal(size=13)
    ev = made(14, leaning([*nats, 0.5]), ties=ties)
    assert isinstance(ev.factors[0], Large)
    worlds = np.array(list(product((0, 1), repeat=13)))
    worlds = worlds[kind(tuple(map(str, range(13)))).holds(worlds)]
    best = worlds[(worlds * nats).sum(axis=1).argmax()]
    found = solve(ev, OBJECTIVE, Annealing(starts=2, sweeps=12)).labels.argmax(axis=1)
    assert found.tolist() == [*best.tolist(), 1]


def test_tied_examples_move_together():
    """No single change leads from one side to the other."""
    ties = [(Equal, tuple(range(6))), (Opposite, (5, 6))]
    ev = made(7, leaning([1.0, -0.2, -0.3, -0.4, -0.1, -0.3, 0.5]), ties=ties)
    start = np.eye(2)[[1] * 6 + [0]]
    solution = solve(ev, OBJECTIVE, Annealing(starts=1), start=start)
    assert solution.labels.argmax(axis=1).tolist() == [0] * 6 + [1]
    assert solution.stats.terms["logical consistency"] == pytest.approx(0)


def test_a_start_that_breaks_a_relation_is_left():
    ev = made(3, leaning([1.0, 1.2, 0.8]), ties=[(ExactlyOne, (0, 1, 2))])
    solution = solve(ev, OBJECTIVE, Annealing(starts=1), start=np.eye(2)[[1, 1, 1]])
    assert solution.labels.argmax(axis=1).tolist() == [0, 1, 0]


def test_a_relation_without_weight_binds_nobody():
    ev = made(3, leaning([1.0, 1.2, 0.8]), ties=[(ExactlyOne, (0, 1, 2))])
    for terms in (
        OBJECTIVE | {"logical consistency": TERMS["logical consistency"].at(0.0)},
        {name: term for name, term in OBJECTIVE.items() if name != "logical consistency"},
    ):
        assert solve(ev, terms, Annealing(starts=1)).labels.argmax(axis=1).tolist() == [1, 1, 1]


def test_a_term_with_jumps():
    """That exactly three labels are 1: nothing that a gradient could follow."""
    ev = made(8, leaning([-1.0, -0.3, -2.0, -0.1, -0.8, -0.6, -1.5, -0.7]))
    terms = OBJECTIVE | {
        "three": Term(lambda s: -((s.q[:, 1] > 0.5).double().sum() - 3).abs(), 0.5)
    }
    found = solve(ev, terms, Annealing()).labels.argmax(axis=1)
    assert np.flatnonzero(found).tolist() == [1, 3, 5]


def test_the_best_labels_seen_are_kept():
    """Hot to the end, the walk leaves the best labels again and again."""
    ev = PROBLEMS["spin glass of all with all"]()
    objective, theta = objective_of(ev), torch.zeros(3, ev.n, 2, dtype=torch.float64)
    conditioned = replace(
        objective.conditioned,
        **{
            name: getattr(objective.conditioned, name).expand(
                3, *getattr(objective.conditioned, name).shape[1:]
            )
            for name in objective.conditioned.__dataclass_fields__
        },
    )
    wide = replace(objective, conditioned=conditioned)
    hot = Annealing(hottest=50.0, coldest=50.0, sweeps=60).maximise(wide, theta)
    cold = Annealing(sweeps=20).maximise(wide, theta)
    assert float(wide(hot.theta).min()) == pytest.approx(float(wide(cold.theta).max()))


def test_a_tie_is_no_reason_to_leave():
    ev = made(8, leaning([0.0] * 6 + [1.0]), ties=[(Opposite, (0, 1)), (Opposite, (2, 3))])
    hard = [0, 1, 1, 0, 1, 0, 1, 0]
    start = np.eye(2)[hard]
    solution = solve(ev, OBJECTIVE, Annealing(starts=1, sweeps=3), start=start)
    assert solution.result is Result.RUN and solution.stats.conditionings == 1
    assert solution.labels.argmax(axis=1).tolist() == hard


def ended(**settings):
    """The values that starts end with on a rough problem in too few sweeps."""
    ev = PROBLEMS["spin glass on a grid"]()
    problem = Problem(ev, OBJECTIVE)
    theta = corners(torch.from_numpy(np.random.default_rng(0).integers(2, size=(24, ev.n))), 2)
    objective = problem.objective(problem.condition(theta))
    return objective(Annealing(**settings).maximise(objective, theta).theta).numpy()


def test_what_each_setting_does():
    quick = ended(sweeps=2)
    # More sweeps find better labels; so does cooling, rather than staying hot or quenching.
    assert ended(sweeps=20).mean() > quick.mean() + 1e-4
    assert ended(sweeps=8, hottest=300.0, cooling=0.1).mean() < ended(sweeps=8).mean()
    assert ended(sweeps=8, coldest=5.0).mean() < ended(sweeps=8).mean()
    assert ended(sweeps=2, seed=1).tolist() != quick.tolist()
    assert ended(sweeps=2).tolist() == quick.tolist()


def test_the_last_sweeps_begin_at_the_best_labels_so_far(monkeypatch):
    hot = {"hottest": 1e6, "cooling": 1e-9, "sweeps": 8}
    back = ended(**hot)
    monkeypatch.setattr(_Walk, "turn_back", lambda self: None)
    assert back.mean() > ended(**hot).mean() + 1e-4


def test_too_few_conditionings_are_reported():
    ev = PROBLEMS["learner that is often turned"]()
    solution = solve(ev, OBJECTIVE, Annealing(starts=2, sweeps=4, conditionings=1))
    assert solution.result is Result.UNSETTLED and solution.stats.conditionings == 1


@pytest.mark.parametrize(
    "wrong",
    [
        *({"starts": 0}, {"sweeps": 0}, {"conditionings": 0}, {"coldest": 0.0}, {"cooling": 0.0}),
        {"hottest": 0.001},
    ],
    ids=str,
)
def test_a_wrong_setting(wrong):
    with pytest.raises(InputError, match="must be"):
        Annealing(**wrong)


def test_a_term_that_is_not_finite():
    terms = OBJECTIVE | {"broken": Term(lambda s: s.q.sum() * float("nan"), 1.0)}
    with pytest.raises(SolveError, match="not finite"):
        solve(made(2, leaning([1.0, 0.5])), terms, Annealing())
