"""Adam (Kingma and Ba 2015, 1412.6980): for objectives too rough for a line search."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from consilience.errors import InputError
from consilience.solvers.fixed_point import (
    FixedPoints,
    Objective,
    OptimizeResult,
    Problem,
    Slopes,
    natural_step,
    settle,
    slope,
)

CHECK = 10
"""Whether to stop is looked at once in so many steps."""


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam with a step length that falls from `rate` as 1/√step, all starts in one batch.

    `starts`, `steps`, `tolerance` and `conditionings` are those of `LBFGS`.
    """

    starts: int | None = None
    steps: int = 3000
    rate: float = 0.3
    tolerance: float = 1e-3
    conditionings: int = 50

    def __post_init__(self) -> None:
        given = 1 if self.starts is None else self.starts
        if min(given, self.steps, self.conditionings) < 1 or min(self.rate, self.tolerance) <= 0:
            raise InputError(
                f"starts, steps, rate, tolerance and conditionings must be positive: {self}"
            )

    def settle(self, problem: Problem, theta: Tensor) -> FixedPoints:
        """The optimum that each start leads to."""
        return settle(problem, self.maximise, theta, self.conditionings)

    def maximise(self, objective: Objective, theta: Tensor) -> OptimizeResult:
        """The maximum near each start; SolveError where the objective is not finite."""
        slopes = objective.slopes
        del objective  # with the conditioned evidence
        theta = theta.detach().clone()
        optimiser = torch.optim.Adam([theta], lr=self.rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: (1 + step) ** -0.5)
        for step in range(1, self.steps + 1):
            _, gradient = slope(slopes, theta)
            if step % CHECK == 1 and bool(self._converged(slopes, theta, gradient).all()):
                break
            theta.grad = -gradient
            optimiser.step()
            schedule.step()
        _, gradient = slope(slopes, theta)
        return OptimizeResult(theta, step, self._converged(slopes, theta, gradient))

    def _converged(self, slopes: Slopes, theta: Tensor, gradient: Tensor) -> Tensor:
        step = natural_step(theta, gradient, slopes.problem.temperature)
        return step.abs().amax(dim=(1, 2)) <= self.tolerance
