"""Labels held fixed: by every solver, moved by none, and moving what is tied to them."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.data.relations import Equal, ExactlyOne
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import default_terms
from consilience.solvers.adam import Adam
from consilience.solvers.annealing import Annealing
from consilience.solvers.belief_propagation import BeliefPropagation
from consilience.solvers.exhaustive import Exhaustive
from consilience.solvers.fixed_point import Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from zoo import Row, evidence

TIES = [(Equal, (0, 1)), (ExactlyOne, (2, 3, 4))]
SOLVERS = [LBFGS(), Adam(), BeliefPropagation(), Annealing(), Exhaustive()]


def unlike() -> Evidence:
    """Evidence for class 0 of examples 0 and 1, for 2 among 2 to 4, and of 5 for class 1."""
    yes = [0.2, 0.25, 0.9, 0.3, 0.2, 0.85]
    rows: list[Row] = [(i, (1 - p, p), ()) for i, p in enumerate(yes)]
    return evidence(6, rows, ties=TIES)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_every_solver_holds_them_and_moves_what_is_tied(solver: Solver) -> None:
    free = solve(unlike(), solver=solver).labels.argmax(axis=1)
    assert free.tolist() == [0, 0, 1, 0, 0, 1]
    held = solve(unlike().holding({0: 1, 3: 1}), solver=solver)
    assert held.labels.argmax(axis=1).tolist() == [1, 1, 0, 1, 0, 1]
    # What follows from them with certainty is certain.
    assert held.labels[[0, 1, 3], 1] == pytest.approx(1, abs=1e-9)
    assert held.labels[[2, 4], 0] == pytest.approx(1, abs=1e-9)
    # The other optima hold them too.
    assert all((o.labels[[0, 3]].argmax(axis=1) == 1).all() for o in held.optima)


def test_of_all_labellings_that_hold_them_the_best_is_found() -> None:
    rng = np.random.default_rng(3)
    rows: list[Row] = [(i, rng.dirichlet((1, 1)), ()) for i in range(8)]
    given = evidence(8, rows, ties=[(Equal, (0, 1)), (ExactlyOne, (2, 3, 4))]).holding({1: 0, 4: 1})
    best = solve(given, solver=Exhaustive()).labels
    assert (solve(given, solver=Annealing()).labels.argmax(1) == best.argmax(1)).all()
    assert best[:2].argmax(axis=1).tolist() == [0, 0]
    assert best[2:5].argmax(axis=1).tolist() == [0, 0, 1]


def test_a_prediction_whose_shot_was_wrong_counts_for_less() -> None:
    sure = [(i, (0.02, 0.98), ()) for i in (1, 2)]
    shown: list[Row] = [*sure, (0, (0.1, 0.9), [(1, 1)]), (0, (0.9, 0.1), [(2, 1)])]
    given = evidence(3, shown)
    terms = default_terms()
    assert solve(given, terms).labels[0, 1] == pytest.approx(0.5, abs=0.05)
    one_wrong = solve(given.holding({2: 0}), terms)
    assert one_wrong.relevance[3] == 0 and one_wrong.labels[0, 1] > 0.7


def test_nothing_held_changes_nothing() -> None:
    before, after = solve(unlike()), solve(unlike().holding({0: 1}).holding({}))
    assert np.array_equal(before.labels, after.labels)
