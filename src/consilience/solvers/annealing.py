"""Simulated annealing over hard labels, as in ICM (Wen et al. 2025, 2506.10139, algorithm 1).

One example is offered another label; a labelling that is better is taken, one that is worse by Δ
nats with probability exp(−Δ/T), and T falls, T_n = max(T_min, T_0 / (1 + β log n)). Three things
differ. The evidence is what is stored, and is held fixed as read until the run is over. Where
relations tie examples they move together, from one labelling that is allowed to another, so that
none has to be repaired. And the last sweeps are run at T_min from the best labelling so far,
because a temperature that falls with log n alone is still warm when the time is up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from consilience.data.random_streams import generator
from consilience.data.relations import And, Equal, ExactlyOne, Or
from consilience.errors import InputError
from consilience.evidence.relation_factors import Factor, Large
from consilience.solvers.exhaustive import TIE, corners
from consilience.solvers.factor_graph import facts
from consilience.solvers.fixed_point import (
    FixedPoints,
    Objective,
    OptimizeResult,
    Problem,
    Result,
    finite,
    settle,
)

_LAST = 4
"""One in so many sweeps, at the end, is run at the lowest temperature."""


@dataclass(frozen=True, slots=True)
class Annealing:
    """Simulated annealing over hard labels, all starts in one batch; the best labels seen stay.

    A sweep offers each example a change once. The temperature, in nats, is max(`coldest`,
    `hottest` / (1 + `cooling` log n)) at proposal n, and `coldest` in the last quarter of the
    sweeps. `seed` is that of the proposals, and `conditionings` that of `LBFGS`. It needs no
    gradient, so a term may have jumps. Among relations in too large a component to be listed, a
    change that keeps one and breaks another is refused.
    """

    starts: int = 8
    sweeps: int = 40
    hottest: float = 10.0
    coldest: float = 0.01
    cooling: float = 2.0
    seed: int = 0
    conditionings: int = 50

    def __post_init__(self) -> None:
        if (
            min(self.starts, self.sweeps, self.conditionings) < 1
            or min(self.coldest, self.cooling) <= 0
        ):
            raise InputError(
                f"starts, sweeps, coldest, cooling and conditionings must be positive: {self}"
            )
        if self.hottest < self.coldest:
            raise InputError(f"hottest must be at least coldest: {self}")

    def settle(self, problem: Problem, theta: Tensor) -> FixedPoints:
        """The best labels that each start comes upon."""
        return settle(problem, self.maximise, theta, self.conditionings, settled=Result.RUN)

    def maximise(self, objective: Objective, theta: Tensor) -> OptimizeResult:
        """The best hard labels seen from each start; SolveError where a value is not finite."""
        rng = generator(self.seed, "annealing")
        walk = _Walk(objective, theta.argmax(dim=-1), theta.shape[-1])
        moves = _moves(objective.problem, theta)
        warm = self.sweeps - max(1, self.sweeps // _LAST)
        taken = 0
        for sweep in range(self.sweeps):
            if sweep == warm:
                walk.turn_back()
            for m in rng.permutation(len(moves)).tolist():
                taken += 1
                cooled = self.hottest / (1 + self.cooling * math.log(taken))
                temperature = max(self.coldest, cooled) if sweep < warm else self.coldest
                tied, members = moves[m]
                walk.step(tied, members, temperature, rng)
        everywhere = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
        return OptimizeResult(corners(walk.best, walk.k), taken, everywhere)


class _Walk:
    """Hard labels (S, N) on their way, their value (S,) in nats in all, and the best so far."""

    def __init__(self, objective: Objective, labels: Tensor, k: int) -> None:
        self.objective, self.k = objective, k
        self.labels = self.best = labels
        self.value = self.most = self._worth(labels)

    def turn_back(self) -> None:
        """Goes back to the best labels so far."""
        self.labels, self.value = self.best, self.most

    def step(
        self, tied: Factor | Large, members: Tensor, temperature: float, rng: np.random.Generator
    ) -> None:
        """Offers `members` (m,) other labels, and takes them or not (Metropolis et al. 1953)."""
        now = self.labels[:, members]
        if isinstance(tied, Factor):
            then = _another_world(tied.worlds, now, rng)
        else:
            then = _turned(tied, now, self.k, rng)
        offered = self.labels.index_copy(1, members, then)
        value = self._worth(offered)
        luck = torch.from_numpy(rng.exponential(size=len(now))).to(now.device)
        taken = self.value - value <= temperature * luck
        self.labels = torch.where(taken.unsqueeze(1), offered, self.labels)
        self.value = torch.where(taken, value, self.value)
        # A tie is no reason to leave: else labels would wander from one round to the next.
        better = self.value > self.most + TIE
        self.best = torch.where(better.unsqueeze(1), self.labels, self.best)
        self.most = torch.where(better, self.value, self.most)

    def _worth(self, labels: Tensor) -> Tensor:
        with torch.no_grad():
            return finite(labels.shape[1] * self.objective(corners(labels, self.k)))


def _moves(problem: Problem, like: Tensor) -> list[tuple[Factor | Large, Tensor]]:
    """What may change at once, with its members (m,): each once for each of its members."""
    _, n, k = like.shape
    tied = facts(problem)
    free = torch.ones(n, dtype=torch.bool, device=like.device)
    for factor in tied:
        # What moves in closed form keeps its relation, and a soft one may be broken.
        if isinstance(factor, Factor) or factor.log_rest is None:
            free[factor.members.flatten()] = False
    alone = Factor(torch.nonzero(free), torch.arange(k, device=like.device).unsqueeze(1))
    return [(factor, row) for factor in (*tied, alone) for row in factor.members for _ in row]


def _another_world(worlds: Tensor, now: Tensor, rng: np.random.Generator) -> Tensor:
    """Another of the labellings that are allowed, (S, m), by exp(−number of labels changed)."""
    changed = (worlds != now.unsqueeze(1)).sum(dim=-1)
    noise = torch.from_numpy(rng.gumbel(size=changed.shape)).to(now.device)
    score = torch.where(changed == 0, -torch.inf, noise - changed)
    return worlds[score.argmax(dim=-1)]


def _turned(tied: Large, now: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    """Labels (S, m) with that of one member changed, and those that the relation then changes."""

    def drawn(low: int, high: int) -> Tensor:
        return torch.from_numpy(rng.integers(low, high, size=(len(now), 1))).to(now.device)

    m = now.shape[1]
    defined = tied.kind in (And, Or)
    at = drawn(0, m - 1 if defined else m)
    label = (now.gather(1, at) + drawn(1, k)) % k
    if tied.kind is Equal:
        return label.expand_as(now)
    then = now.scatter(1, at, label)
    other = (tied.label + drawn(1, k)) % k
    if defined:
        parts = then[:, :-1] == tied.label
        whole = parts.all(dim=1) if tied.kind is And else parts.any(dim=1)
        last = torch.where(then[:, -1:] == tied.label, other, then[:, -1:])
        return torch.cat([then[:, :-1], torch.where(whole.unsqueeze(1), tied.label, last)], dim=1)
    # Who had the label that only one may have gives it up; where one must, another takes it.
    lost = (label == tied.label) & (then == tied.label)
    then = torch.where(lost, other, then).scatter(1, at, label)
    if tied.kind is ExactlyOne:
        heir = (at + drawn(1, m)) % m
        nobody = (then != tied.label).all(dim=1, keepdim=True)
        then = then.scatter(1, heir, torch.where(nobody, tied.label, then.gather(1, heir)))
    return then
