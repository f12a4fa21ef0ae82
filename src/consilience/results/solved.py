"""The labels that evidence supports, with all that is said of them: the same way for every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from consilience.concepts.concept import Concept
from consilience.evidence.evidence import Evidence
from consilience.objective.conditioning import condition
from consilience.objective.term import Terms
from consilience.results.uncertainty import Uncertainty, uncertainty
from consilience.solvers.adam import Adam
from consilience.solvers.fixed_point import Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import Solution, solve
from consilience.solvers.starts import first_labels


class SolvedLabels(NamedTuple):
    """A solution, the uncertainty of its labels, and what a nat of the answers' log-odds is worth.

    See `Found` for each.
    """

    solution: Solution
    uncertainty: Uncertainty
    log_odds_scale: float


def solve_all(
    evidence: Evidence,
    terms: Terms,
    solver: Solver,
    concepts: Sequence[Concept],
    *,
    seed: int,
    device: str | None = None,
) -> SolvedLabels:
    """The labels of a run, from all starts, the first of them at the concept it went on with.

    Uncertainty is that of soft labels, found by gradients. `device` is where it is solved.
    """
    start = concepts[0].labels if concepts else first_labels(evidence)
    solution = solve(evidence, terms, solver, seed=seed, start=start, device=device)
    soft = solver if isinstance(solver, LBFGS | Adam) else LBFGS()
    conditioned = condition(evidence, torch.from_numpy(solution.labels)[None])
    unsure = uncertainty(evidence, terms, soft, solution, seed=seed)
    return SolvedLabels(solution, unsure, float(conditioned.scale[0]))
