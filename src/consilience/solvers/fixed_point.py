"""The loop around a solver: solve, condition the evidence on the labels found, until they stay.

An optimum is the best labelling for the evidence conditioned on it. Every solver, by gradients, by
sampling or by trying all, looks for one; of several the one with the highest coherence is the
answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from functools import cached_property, partial
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor

from consilience.errors import SolveError
from consilience.evidence.evidence import Evidence
from consilience.evidence.few_classes import log_normalised, normalised
from consilience.models.threads import one_thread
from consilience.objective.closed_form import Parts, separated, through_softmax
from consilience.objective.coherence import coherence, evaluate_terms, weighted_sum
from consilience.objective.conditioning import ConditionedEvidence, Weighing, condition, weigh
from consilience.objective.pools import at_lists
from consilience.objective.term import Role, Terms, weight_of
from consilience.solvers.clamping import HARD, clamped

STAYED = 1e-3
"""Labels have settled when no probability moves by more than this from one round to the next."""


_Held = TypeVar("_Held")

COLD = 1e-3
"""The lowest temperature, in nats, that is told from none."""


class Result(Enum):
    """How a solve ended, as a sentence that ends in advice."""

    SETTLED = "The labels settled: conditioning the evidence on them again changes nothing."
    UNSETTLED = (
        "The labels were still moving after the last of `conditionings`: evidence and labels chase "
        "each other. Raise `conditionings`, or look at the examples near 1/K."
    )
    MAX_STEPS = (
        "The last optimisation stopped before the gradient vanished, at its limit of steps or at "
        "a kink. Raise `steps`, or lower the weight of the term that was added last, or smooth it."
    )
    RESTLESS = (
        "The messages of belief propagation were still changing when the steps were used up: there "
        "are couplings that contradict each other around a loop. Raise `damping` or `steps`, or "
        "compare with LBFGS."
    )
    RUN = (
        "The annealing ran its schedule to the end, and conditioning the evidence again on its "
        "best labels changes nothing. Raise `sweeps` or `starts` to see whether there are better "
        "ones."
    )


@dataclass(frozen=True)
class Problem:
    """What is to be made coherent: evidence, objective, and a resampling of the predictions.

    `weight` (S, T) weighs the predictions for each of S starts; None weighs all alike.
    """

    evidence: Evidence
    terms: Terms
    weight: Tensor | None = None

    @property
    def temperature(self) -> float:
        """λ, what keeps labels soft: the weights of entropy and of prior fidelity, which has one.

        At least `COLD`, in nats. Where nothing else bends, one step of length 1/λ along the
        natural gradient leads to the optimum.
        """
        return max(weight_of(self.terms, Role.ENTROPY) + weight_of(self.terms, Role.PRIOR), COLD)

    def at(self, index: Tensor) -> Problem:
        """The problem of some of the starts, by their numbers."""
        if self.weight is None or len(index) == len(self.weight):
            return self
        return Problem(self.evidence, self.terms, self.weight[index])

    def held(self, logq: Tensor) -> Tensor:
        """Log labels (S, N, K) in which those that the user corrected are as given."""
        return clamped(self.evidence, logq)

    @cached_property
    def _weighing(self) -> Weighing:
        return weigh(self.evidence, self.weight)

    def condition(self, logq: Tensor) -> ConditionedEvidence:
        """The evidence read under log labels (S, N, K)."""
        return condition(self.evidence, self.held(logq).exp(), self._weighing)

    def value(self, conditioned: ConditionedEvidence, logq: Tensor) -> Tensor:
        """The coherence of log labels (S, N, K), (S,), in nats per example."""
        return coherence(self.evidence, self.terms, conditioned, self.held(logq))

    def values(self, conditioned: ConditionedEvidence, logq: Tensor) -> dict[str, Tensor]:
        """The unweighted value of each term, name → (S,)."""
        return evaluate_terms(self.evidence, self.terms, conditioned, self.held(logq))

    def objective(self, conditioned: ConditionedEvidence) -> Objective:
        """The coherence on conditioned evidence as a function of θ, q = softmax(θ)."""
        return Objective(self, conditioned)


@dataclass(frozen=True)
class Objective:
    """The coherence, evidence conditioned, as a function of θ (S, N, K), q = softmax(θ): → (S,)."""

    problem: Problem
    conditioned: ConditionedEvidence

    def __call__(self, theta: Tensor) -> Tensor:
        """The value for each start, in nats per example."""
        return self.problem.value(self.conditioned, torch.log_softmax(theta, dim=-1))

    @cached_property
    def slopes(self) -> Slopes:
        """What its slope is found from."""
        evidence = self.problem.evidence
        parts = separated(self.problem.terms, self.conditioned, evidence)
        if not parts.others:
            return Slopes(self.problem, parts, None)
        read = evidence, self.conditioned
        if any(
            array.is_inference() for array in (evidence.predictions.logp, self.conditioned.labels)
        ):
            read = _saveable(read)
        return Slopes(self.problem, parts, partial(coherence, read[0], parts.others, read[1]))

    def slope(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The value in nats in all, not per example, (S,), and its gradient in θ."""
        return self.slopes.slope(theta)


@dataclass(frozen=True, slots=True)
class Slopes:
    """What the slope of an objective is found from: far less than conditioned evidence, as a rule.

    `others` gives the value, in nats per example, of terms that are back-propagated, from log
    labels (S, N, K); where there are any, it holds the conditioned evidence.
    """

    problem: Problem
    parts: Parts
    others: Callable[[Tensor], Tensor] | None

    # Whether the caller records gradients or not: here they are needed.
    @torch.inference_mode(False)
    def slope(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The value in nats in all, not per example, (S,), and its gradient in θ."""
        parts, evidence = self.parts, self.problem.evidence
        free = log_normalised(theta.detach())
        q = free.exp()
        logq = self.problem.held(free)
        value, gradient = parts.separable.slope(q if logq is free else logq.exp(), logq)
        for weight, added in parts.sloped:
            value += weight * added(logq, gradient, weight)
        if self.others is not None:
            logq.requires_grad_(True)
            more = evidence.n * self.others(logq)
            value = value + more.detach()
            # No constant has a gradient; a term that hides its own was refused (see `term_checks`).
            if more.requires_grad:
                gradient += torch.autograd.grad(more.sum(), logq)[0]
        if evidence.held is not None:
            gradient.masked_fill_((evidence.held >= 0).unsqueeze(1), 0.0)
        return value, through_softmax(q, gradient)


@torch.inference_mode(False)
def _saveable(thing: _Held) -> _Held:
    """The same, with copies of tensors made in `torch.inference_mode`: no gradient can save one."""
    made: object = thing
    if isinstance(thing, Tensor):
        made = thing.clone() if thing.is_inference() else thing
    elif isinstance(thing, tuple) and thing and is_dataclass(thing[0]):
        made = tuple(map(_saveable, thing))
    elif is_dataclass(thing) and not isinstance(thing, type):
        parts = {field.name: getattr(thing, field.name) for field in fields(thing) if field.init}
        made = replace(thing, **{name: _saveable(part) for name, part in parts.items()})
    return cast(_Held, made)


@dataclass(frozen=True, slots=True)
class OptimizeResult:
    """What an optimisation returns: θ (S, N, K), the steps taken, and who converged (S,)."""

    theta: Tensor
    steps: int
    converged: Tensor


@dataclass(frozen=True, slots=True)
class FixedPoints:
    """The end of the loop for each of S starts, of S candidates, or of S replicates.

    Log labels (S, N, K), value (S,) and unweighted terms conditioned on themselves, its `of_list`
    and `shown`, how each ended, and the steps and conditionings that all of them took together.
    """

    logq: Tensor
    value: Tensor
    terms: dict[str, Tensor]
    of_list: Tensor
    shown: Tensor
    results: tuple[Result, ...]
    steps: int
    conditionings: int

    @property
    def relevance(self) -> Tensor:
        """How relevant each prediction is, (S, T), see `ConditionedEvidence`."""
        return at_lists(self.of_list, self.shown)


class Solver(Protocol):
    """A way to find optima: a frozen dataclass whose fields are its hyperparameters."""

    @property
    def starts(self) -> int | None:
        """The number of starting points, in one batch; None for as many as examples ask for."""
        ...

    def settle(self, problem: Problem, theta: Tensor) -> FixedPoints:
        """The optima that are reached from the starts `theta` (S, N, K)."""
        ...


def settle(
    problem: Problem,
    maximise: Callable[[Objective, Tensor], OptimizeResult],
    theta: Tensor,
    conditionings: int,
    settled: Result = Result.SETTLED,
    short: Result = Result.MAX_STEPS,
) -> FixedPoints:
    """Conditions and maximises until the labels of every start stay, at most `conditionings` times.

    Starts that have settled are left alone while the others go on. Their result is `settled`, or
    `short` where the last maximisation had not converged.
    """
    with one_thread():
        logq = problem.held(log_normalised(theta))
        results = [Result.UNSETTLED] * len(theta)
        active = torch.arange(len(theta), device=theta.device)
        steps = taken = 0
        while len(active) and taken < conditionings:
            taken += 1
            mine, before = problem.at(active), bounded(logq[active])
            # No name holds conditioned evidence: the next is made when this one is gone.
            ended = maximise(mine.objective(mine.condition(before)), before)
            steps += ended.steps
            moved = problem.held(log_normalised(ended.theta))
            logq[active] = moved
            stayed = moved.exp_().sub_(before.exp_()).abs_().amax(dim=(1, 2)) < STAYED
            for s in active[stayed].tolist():
                results[s] = short
            for s in active[stayed & ended.converged].tolist():
                results[s] = settled
            active = active[~stayed]
            del before, ended, moved  # not held while the evidence is conditioned again
        return assess(problem, logq, results, steps, taken)


def assess(
    problem: Problem, logq: Tensor, results: list[Result], steps: int, conditionings: int
) -> FixedPoints:
    """Labels with their coherence, each conditioned on itself."""
    logq = problem.held(logq)
    conditioned = problem.condition(logq)
    terms = problem.values(conditioned, logq)
    return FixedPoints(
        logq,
        weighted_sum(problem.terms, terms),
        terms,
        conditioned.of_list,
        conditioned.shown,
        tuple(results),
        steps,
        conditionings,
    )


def chosen(conditioned: ConditionedEvidence, index: Tensor) -> ConditionedEvidence:
    """The conditioned evidence of some of the labellings, by their numbers."""
    return ConditionedEvidence(
        *(getattr(conditioned, field.name)[index] for field in fields(ConditionedEvidence))
    )


def slope(objective: Objective | Slopes, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The value in nats (not per example), (S,), and its gradient in θ; SolveError if not finite.

    Nats in all: else a tolerance would mean less on more data.
    """
    value, gradient = raw_slope(objective, theta)
    finite(value.sum() + gradient.sum())
    return value, gradient


def finite(values: Tensor) -> Tensor:
    """The values or slopes of an objective; SolveError if one is not finite."""
    # A sum is finite only where all that it adds up is.
    if not bool(torch.isfinite(values.sum())):
        raise SolveError(
            "the objective is not finite; look at the term that was added last, "
            "and at relations that allow no labels"
        )
    return values


def raw_slope(objective: Objective | Slopes, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The same where not being finite is an answer."""
    return objective.slope(theta)


def bounded(theta: Tensor) -> Tensor:
    """Log labels, none below `HARD`."""
    return log_normalised(theta).clamp_(min=HARD)


def natural_step(theta: Tensor, gradient: Tensor, temperature: float) -> Tensor:
    """How far a step 1/λ along the natural gradient would move each probability, (S, N, K).

    Where q is almost hard the gradient ∂/∂θ vanishes with it, right or wrong. The natural
    gradient (∂/∂θ)/q (Amari 1998) does not, so this tells an optimum from a corner; a shorter
    step would not tell one where λ is small.
    """
    q = normalised(theta)
    ahead = (gradient / q.clamp(min=1e-300)).div_(temperature).add_(theta)
    return normalised(ahead).sub_(q)
