"""Soft labels by back-propagation through the coherence objective; one verb, solvers as values.

    solution = solve(evidence, terms, solver=LBFGS(starts=16), seed=0)

The labels are q = softmax(θ), so no constraint is needed. What an optimum is, and the loop around
every solver, are in `fixed_point`; a solver is one of `lbfgs`, `adam`, `belief_propagation`,
`annealing` and `exhaustive`, or anything with their shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import default_terms
from consilience.objective.term import Terms
from consilience.solvers.fixed_point import FixedPoints, Problem, Result, Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.starts import default_starts, draw
from consilience.solvers.term_checks import check_objective, check_terms


@dataclass(frozen=True, slots=True)
class Optimum:
    """A labelling that some starts ended in: soft labels (N, K), coherence, number of starts."""

    labels: NDArray[np.float64]
    coherence: float
    starts: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a solve took and came to.

    `coherence` is in nats per example, `terms` the unweighted value of each term; `start` says
    which start won (0 is the given or the zero-shot one), `lead` by how much over the next
    distinct optimum (nats per example; infinite where all starts agree, below 0 where that one is
    no optimum because it still moved).
    """

    coherence: float
    terms: dict[str, float]
    steps: int
    conditionings: int
    start: int
    lead: float


@dataclass(frozen=True, slots=True)
class Solution:
    """Soft labels (N, K) in the order of the ids, how the solve ended, and the other optima.

    `relevance` (T) is how far above chance today's labels agree with those each prediction showed.
    """

    labels: NDArray[np.float64]
    result: Result
    stats: Stats
    optima: tuple[Optimum, ...]
    relevance: NDArray[np.float64] = field(repr=False)


def solve(
    evidence: Evidence,
    terms: Terms | None = None,
    solver: Solver | None = None,
    *,
    seed: int = 0,
    start: NDArray[np.float64] | None = None,
    starts: int | None = None,
    device: str | torch.device | None = None,
) -> Solution:
    """The most coherent labels, from the evidence alone.

    The first start is `start` (N, K) or the zero-shot answer; the others are drawn: there are
    `starts` in all, else as many as the solver says, else `default_starts`. `device` is where the
    tensors live, "cuda" for instance. InputError for a term of the user's own that cannot be used.
    """
    terms = default_terms() if terms is None else terms
    solver = LBFGS() if solver is None else solver
    check_objective(terms, solver)
    evidence = evidence if device is None else evidence.to(device)
    check_terms(evidence, terms, solver)
    starts = solver.starts if starts is None else starts
    theta = draw(evidence, default_starts(evidence.n) if starts is None else starts, seed, start)
    return _best(solver.settle(Problem(evidence, terms), theta))


def _best(settled: FixedPoints) -> Solution:
    """The most coherent of the optima that starts ended in, and the others."""
    # Labels that still moved are no optimum, however coherent they were where they were left.
    moving = [result is Result.UNSETTLED for result in settled.results]
    value = settled.value.tolist()
    order = sorted(range(len(value)), key=lambda s: (moving[s], -value[s]))
    best = order[0]
    labels = settled.logq.exp()
    optima = _distinct(labels[order], settled.value[order])
    lead = optima[0].coherence - optima[1].coherence if len(optima) > 1 else float("inf")
    return Solution(
        labels=optima[0].labels,
        result=settled.results[best],
        stats=Stats(
            coherence=float(settled.value[best]),
            terms={name: float(value[best]) for name, value in settled.terms.items()},
            steps=settled.steps,
            conditionings=settled.conditionings,
            start=best,
            lead=lead,
        ),
        optima=optima,
        relevance=settled.relevance[best].cpu().numpy(),
    )


def _distinct(labels: Tensor, value: Tensor) -> tuple[Optimum, ...]:
    """Optima whose hard labels differ in more than one example in a hundred, best first.

    An example that is undecided in both does not count: there rounding chooses the hard label.
    """
    hard = labels.argmax(dim=-1)
    kept: list[tuple[int, int]] = []
    for s in range(len(labels)):
        for position, (other, starts) in enumerate(kept):
            apart = (labels[s] - labels[other]).abs().amax(dim=-1) > 0.01
            if ((hard[s] != hard[other]) & apart).double().mean() <= 0.01:
                kept[position] = (other, starts + 1)
                break
        else:
            kept.append((s, 1))
    return tuple(Optimum(labels[s].cpu().contiguous().numpy(), float(value[s]), c) for s, c in kept)
