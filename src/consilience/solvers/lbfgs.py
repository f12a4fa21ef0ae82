"""L-BFGS with a strong-Wolfe line search: many starts in one batch, each with its own steps.

The initial Hessian is λ times the Fisher information of q = softmax(θ), diag(q), rescaled as
usual, so that the first step is along the natural gradient: it does not vanish where a label is
almost hard, and for a separable objective of temperature λ it is Newton's. (Nocedal and Wright
2006, algorithms 7.4, 7.5 and 3.5; the bracketing keeps the invariants of algorithm 3.6 with a
simpler choice of the trial.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from consilience.errors import InputError
from consilience.evidence.few_classes import normalised
from consilience.solvers.fixed_point import (
    FixedPoints,
    Objective,
    OptimizeResult,
    Problem,
    Slopes,
    bounded,
    natural_step,
    raw_slope,
    settle,
    slope,
)

ARMIJO, CURVATURE = 1e-4, 0.9
"""The constants of the strong Wolfe conditions, as is usual for quasi-Newton directions."""

FLAT = 1e-10
"""A slope along a line, in nats, that is flat whatever it was at the start of the line.

From one corner to another it begins and ends next to nothing.
"""

FAR = 20.0
"""The longest first trial of a line search, in nats of each log-odds."""

_TRIALS = 25
"""The most evaluations in one line search."""


@dataclass(frozen=True, slots=True)
class LBFGS:
    """L-BFGS with a strong-Wolfe line search, all starts in one batch.

    `starts` is how many there are, by default as `default_starts` says. `steps` limits one run, and
    `tolerance` is the largest change of a probability that one more step along the natural gradient
    may still make where it stops; `memory` is the number of past steps that curvature is learned
    from, and `conditionings` how often the evidence may be conditioned.
    """

    starts: int | None = None
    steps: int = 200
    tolerance: float = 1e-4
    memory: int = 10
    conditionings: int = 50

    def __post_init__(self) -> None:
        given = 1 if self.starts is None else self.starts
        if min(given, self.steps, self.memory, self.conditionings) < 1 or self.tolerance <= 0:
            raise InputError(
                f"starts, steps, tolerance, memory and conditionings must be positive: {self}"
            )

    def settle(self, problem: Problem, theta: Tensor) -> FixedPoints:
        """The optimum that each start leads to."""
        return settle(problem, self.maximise, theta, self.conditionings)

    def maximise(self, objective: Objective, theta: Tensor) -> OptimizeResult:
        """The maximum near each start; SolveError where the objective is not finite."""
        slopes = objective.slopes
        del objective  # with the conditioned evidence, which is as large as many arrays of labels
        point = _point(slopes, theta)
        memory = _Memory(self.memory, slopes.problem.temperature)
        alive = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
        taken = 0
        converged = self._converged(slopes, point)
        while taken < self.steps and bool((moving := alive & ~converged).any()):
            taken += 1
            direction = memory.direction(point).clamp_(-FAR, FAR)
            ahead = (direction * point.gradient).sum(dim=(1, 2)) < 0
            if not bool(ahead.all()):
                fallback = -point.gradient / _fisher(point.theta) / memory.temperature
                direction = torch.where(_wide(ahead), direction, fallback.clamp(-FAR, FAR))
            found, moved = _search(slopes, point, direction.mul_(_wide(moving)))
            del direction
            # A start whose line search fails along the natural gradient itself is at its end.
            alive &= moved | ~moving | (ahead & memory.filled(moved))
            converged = self._converged(slopes, found)
            if not bool(converged.all()):
                forget = ~moved & moving
                memory.add(found.theta - point.theta, found.gradient - point.gradient, forget)
            point = found
        return OptimizeResult(point.theta, taken, converged)

    def _converged(self, slopes: Slopes, point: _Point) -> Tensor:
        step = natural_step(point.theta, point.gradient, -slopes.problem.temperature)
        return step.abs_().amax(dim=(1, 2)) <= self.tolerance


@dataclass(frozen=True, slots=True)
class _Point:
    """θ (S, N, K), the loss (S,) and its gradient there; the loss is to be made small."""

    theta: Tensor
    loss: Tensor
    gradient: Tensor


def _point(slopes: Slopes, theta: Tensor) -> _Point:
    value, gradient = slope(slopes, theta)
    return _Point(theta, -value, gradient.neg_())


def _wide(flags: Tensor) -> Tensor:
    return flags.view(-1, 1, 1)


def _dot(one: Tensor, two: Tensor) -> Tensor:
    return (one * two).sum(dim=(1, 2))


def _fisher(theta: Tensor) -> Tensor:
    return normalised(theta).clamp_(min=1e-300)


@dataclass(slots=True)
class _Memory:
    """The last steps and changes of the gradient, newest last, each (S, N, K).

    `temperature` stands for the curvature where none is remembered.
    """

    size: int
    temperature: float
    steps: list[Tensor] = field(default_factory=list)
    changes: list[Tensor] = field(default_factory=list)
    inverse: list[Tensor] = field(default_factory=list)

    def filled(self, like: Tensor) -> Tensor:
        """Which starts have a step with curvature to remember."""
        return sum((inverse > 0 for inverse in self.inverse), torch.zeros_like(like))

    def add(self, step: Tensor, change: Tensor, forget: Tensor) -> None:
        """Remembers a step of those starts in which it had curvature; `forget` clears a start."""
        curvature = _dot(step, change)
        useful = curvature > 1e-10 * _dot(change, change).sqrt() * _dot(step, step).sqrt()
        inverse = torch.where(useful, 1 / curvature.clamp(min=1e-300), torch.zeros_like(curvature))
        self.steps = [*self.steps, step][-self.size :]
        self.changes = [*self.changes, change][-self.size :]
        kept = (~forget).to(inverse.dtype)
        self.inverse = [i * kept for i in (*self.inverse, inverse)][-self.size :]

    def direction(self, point: _Point) -> Tensor:
        """The two-loop recursion: minus the inverse Hessian times the gradient."""
        fisher = _fisher(point.theta)
        ahead = point.gradient
        factors = []
        for step, change, inverse in self._newest_first():
            factor = inverse * _dot(step, ahead)
            ahead = ahead - _wide(factor) * change
            factors.append(factor)
        ahead = ahead / fisher * _wide(self._scale(fisher))
        for (step, change, inverse), factor in zip(
            reversed(self._newest_first()), reversed(factors), strict=True
        ):
            ahead = ahead + step * _wide(factor - inverse * _dot(change, ahead))
        return ahead.neg_()

    def _newest_first(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        return list(zip(self.steps, self.changes, self.inverse, strict=True))[::-1]

    def _scale(self, fisher: Tensor) -> Tensor:
        """s·y / (y · F⁻¹ y) of the newest step that had curvature; 1/λ without one."""
        scale = torch.full_like(fisher[:, 0, 0], 1 / self.temperature)
        for change, inverse in zip(self.changes, self.inverse, strict=True):
            bent = _dot(change, change / fisher)
            fits = (inverse > 0) & (bent > 0)
            scale = torch.where(fits, 1 / (inverse * bent).clamp(min=1e-300), scale)
        return scale.clamp(min=1e-6, max=1e6)


def _search(slopes: Slopes, point: _Point, direction: Tensor) -> tuple[_Point, Tensor]:
    """Points that satisfy the strong Wolfe conditions along `direction`, and who found one.

    A bracket [low, high] holds such a point as long as at `low` the loss has fallen and still
    falls, and at `high` it has risen too far or rises. Where the trials are used up the best
    point so far that has fallen is taken. The line is bent so as not to leave the bounds of θ.
    """
    first = _dot(point.gradient, direction)
    wants = first < 0
    low, high = torch.zeros_like(first), torch.full_like(first, float("inf"))
    low_loss, low_slope, high_loss = point.loss.clone(), first.clone(), torch.full_like(low, 0.0)
    length = torch.ones_like(first)
    best, open_ = point, wants.clone()
    fell = torch.zeros_like(wants)
    for _ in range(_TRIALS):
        if not open_.any():
            break
        theta = bounded((_wide(length) * direction).add_(point.theta))
        if not bool(open_.all()):
            theta = torch.where(_wide(open_), theta, best.theta)
        value, gradient = raw_slope(slopes, theta)
        loss, gradient = -value, gradient.neg_()
        here = _dot(gradient, direction)
        finite = torch.isfinite(loss) & torch.isfinite(here)
        lower = finite & (loss <= point.loss + ARMIJO * length * first)
        better = open_ & lower & (~fell | (loss <= best.loss))
        best = _of(better, _Point(theta, loss, gradient), best)
        fell |= better
        flat = lower & (here.abs() <= CURVATURE * first.abs().clamp(min=FLAT))
        open_ = open_ & ~flat
        down = lower & (here < 0)
        low, low_loss = torch.where(down, length, low), torch.where(down, loss, low_loss)
        low_slope = torch.where(down, here, low_slope)
        high, high_loss = torch.where(down, high, length), torch.where(down, high_loss, loss)
        length = torch.where(
            torch.isinf(high), 2 * length, _between(low, high, low_loss, low_slope, high_loss)
        )
    return best, fell


def _of(better: Tensor, one: _Point, other: _Point) -> _Point:
    """The one point for the starts that are `better` (S,) there, else the other."""
    if bool(better.all()):
        return one
    return _Point(
        torch.where(_wide(better), one.theta, other.theta),
        torch.where(better, one.loss, other.loss),
        torch.where(_wide(better), one.gradient, other.gradient),
    )


def _between(low: Tensor, high: Tensor, at_low: Tensor, slope: Tensor, at_high: Tensor) -> Tensor:
    """The minimum of the parabola through what is known, kept off the ends; else the middle."""
    width = torch.where(torch.isinf(high), torch.ones_like(high), high - low)
    bend = at_high - at_low - slope * width
    share = -slope * width / (2 * bend)
    share = torch.where(torch.isfinite(share), share, torch.full_like(share, 0.5))
    return low + width * share.clamp(0.1, 0.9)
