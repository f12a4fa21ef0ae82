"""Every labelling, one after the other: the answer that the other solvers are measured by."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from consilience.errors import InputError
from consilience.models.threads import one_thread
from consilience.solvers.fixed_point import FixedPoints, Problem, Result, assess, chosen

_MOST = 2**16
"""The most labellings that are tried: 16 examples of two classes."""

BATCH = 4096
"""How many labellings are evaluated at a time."""

TIE = 1e-9
"""Labellings whose coherence differs by less are as good as each other."""

OFF = -69.0
"""The log-probability, in nats, of a class that an example does not have (about 1e-30).

Not −∞, so that a labelling that breaks a relation has a coherence, and a poor one.
"""


def corners(labels: Tensor, k: int) -> Tensor:
    """Log labels (S, N, K) of hard labels (S, N)."""
    held = torch.nn.functional.one_hot(labels, k).to(torch.float64)
    return (1 - held) * OFF


@dataclass(frozen=True, slots=True)
class Exhaustive:
    """All K^N hard labellings, at most 65,536; the best among those that are optima.

    Labels are hard, whatever the weight of the entropy. `optima` is how many are looked for, best
    first; `starts` is not used, because no start can be missed.
    """

    optima: int = 1

    def __post_init__(self) -> None:
        if self.optima < 1:
            raise InputError(f"at least one optimum must be looked for: {self}")

    @property
    def starts(self) -> int:
        """One: where it begins does not matter."""
        return 1

    def settle(self, problem: Problem, theta: Tensor) -> FixedPoints:
        """The best labellings; InputError where there are too many to try."""
        if problem.weight is not None and len(problem.weight) > 1:
            raise InputError("the exhaustive solver takes one resampling at a time")
        _, n, k = theta.shape
        if k**n > _MOST:
            raise InputError(
                f"{k}^{n} labellings are more than the {_MOST} that can be tried; "
                "use LBFGS, or fewer examples"
            )
        with one_thread():
            every = torch.tensor(list(product(range(k), repeat=n)), device=theta.device)
            own = self._values(problem, every, k)
            found, tried = self._stable(problem, every, own, k)
            results = [Result.SETTLED if found else Result.UNSETTLED] * max(len(found), 1)
            best = torch.tensor(found or [int(own.argmax())], device=theta.device)
            return assess(problem, corners(every[best], k), results, len(every), tried + 1)

    def _values(self, problem: Problem, every: Tensor, k: int, under: int | None = None) -> Tensor:
        """The coherence of each labelling, conditioned on itself or on labelling `under`."""
        values = []
        fixed = None if under is None else problem.condition(corners(every[under : under + 1], k))
        for batch in torch.split(every, BATCH):
            logq = corners(batch, k)
            if fixed is None:
                conditioned = problem.condition(logq)
            else:
                first = torch.zeros(len(batch), dtype=torch.int64, device=every.device)
                conditioned = chosen(fixed, first)
            values.append(problem.value(conditioned, logq))
        return torch.cat(values)

    def _stable(
        self, problem: Problem, every: Tensor, own: Tensor, k: int
    ) -> tuple[list[int], int]:
        """The first labellings, best first, that are optima."""
        found: list[int] = []
        tried = 0
        order = torch.argsort(own, descending=True, stable=True)
        others = every.shape[1] * (k - 1)
        for batch in torch.split(order, max(1, BATCH // others)):
            # Nearly all are worse than a neighbour: only the others are compared with everything.
            tops = self._nearby(problem, every[batch], k) <= own[batch] + TIE
            for s in batch[tops].tolist():
                tried += 1
                if float(self._values(problem, every, k, under=s).max()) <= float(own[s]) + TIE:
                    found.append(s)
                    if len(found) == self.optima:
                        return found, tried
        return found, tried

    def _nearby(self, problem: Problem, labels: Tensor, k: int) -> Tensor:
        """The best value among the labellings that differ in one label, conditioned on it (S,)."""
        s, n = labels.shape
        turn = torch.arange(1, k, device=labels.device).repeat(n)
        at = torch.arange(n, device=labels.device).repeat_interleave(k - 1)
        turned = torch.zeros(len(at), n, dtype=labels.dtype, device=labels.device)
        turned[torch.arange(len(at), device=labels.device), at] = turn
        near = (labels.unsqueeze(1) + turned) % k
        of = torch.arange(s, device=labels.device).repeat_interleave(len(at))
        conditioned = chosen(problem.condition(corners(labels, k)), of)
        return problem.value(conditioned, corners(near.flatten(0, 1), k)).view(s, -1).amax(dim=1)
