"""Soft labels by back-propagation through the coherence objective; one verb, solvers as values.

    solution = solve(evidence, terms, solver=LBFGS(starts=16), seed=0)

The labels are q = softmax(θ), so no constraint is needed. All starts are optimised as one batch.
Around the solver runs a loop that reads the evidence again under the labels found (see
`coherence`) until they stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from consilience.coherence import Terms, coherence, default_terms, evaluate_terms
from consilience.errors import InputError, SolveError
from consilience.evidence import Evidence
from consilience.reading import read

ESCAPES = 8
"""How often L-BFGS is run again after labels that were stuck in a corner have been set free."""

STREAM = 20
"""What tells the random numbers of this module from those of others that use the same seed."""

Objective = Callable[[Tensor], Tensor]
"""θ (S, N, K) → the value for each start (S,), in nats per example."""


class Result(Enum):
    """How a solve ended, as a sentence that ends in advice."""

    SETTLED = "The labels settled: reading the evidence again under them changes nothing."
    UNSETTLED = (
        "The labels were still moving when the readings were used up: evidence and labels chase "
        "each other. Raise `readings`, or look at the examples near 1/K."
    )
    MAX_STEPS = (
        "The last optimisation stopped before the gradient vanished, at its limit of steps or at "
        "a kink. Raise `steps`, or lower the weight of the term that was added last, or smooth it."
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """What a solver returns: θ (S, N, K), the steps taken, and whether the gradient vanished."""

    theta: Tensor
    steps: int
    converged: bool


class Solver(Protocol):
    """A way to maximise: a frozen dataclass whose fields are its hyperparameters."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def starts(self) -> int:
        """The number of starting points, optimised in one batch."""
        ...

    @property
    def readings(self) -> int:
        """How often the evidence may be read again under the labels found."""
        ...

    def maximise(self, objective: Objective, theta: Tensor) -> Ended:
        """The best θ near `theta` (S, N, K) for each start."""
        ...


@dataclass(frozen=True, slots=True)
class LBFGS:
    """L-BFGS with a strong-Wolfe line search, all starts in one batch.

    The starts do not interact in the objective, which is summed over them; only the step length
    is shared. `steps` limits one run, and `tolerance` is the largest entry of the gradient, in
    nats, at which it stops.
    """

    starts: int = 8
    steps: int = 200
    tolerance: float = 1e-4
    readings: int = 50

    def __post_init__(self) -> None:
        if min(self.starts, self.steps, self.readings) < 1 or self.tolerance <= 0:
            raise InputError(f"starts, steps, readings and tolerance must be positive: {self}")

    def maximise(self, objective: Objective, theta: Tensor) -> Ended:
        """The maximum near each start; SolveError where the objective is not finite.

        Where q is almost hard the gradient ∂/∂θ vanishes with it, right or wrong. The natural
        gradient (∂/∂θ)/q does not, so a step along it tells who is stuck; these are set free.
        """
        theta, gradient, steps = self._climb(objective, theta)
        for _ in range(ESCAPES):
            q = torch.softmax(theta, dim=-1)
            better = torch.softmax(theta + gradient / q.clamp(min=1e-300), dim=-1)
            stuck = (better - q).abs().amax(dim=-1, keepdim=True) > 2 * self.tolerance
            if not stuck.any():
                break
            freed = torch.where(stuck, ((q + better) / 2).log(), theta)
            freed, slope, taken = self._climb(objective, freed)
            steps += taken
            gained = (objective(freed) > objective(theta)).view(-1, 1, 1)
            if not gained.any():
                break
            theta = torch.where(gained, freed, theta)
            gradient = torch.where(gained, slope, gradient)
        return Ended(theta, steps, bool(gradient.abs().max() <= self.tolerance))

    def _climb(self, objective: Objective, theta: Tensor) -> tuple[Tensor, Tensor, int]:
        """Where one run of L-BFGS from `theta` stops, the gradient there, and the steps."""
        theta = theta.clone().requires_grad_(True)
        n = theta.shape[1]
        optimiser = torch.optim.LBFGS(
            [theta],
            max_iter=self.steps,
            max_eval=4 * self.steps,
            tolerance_grad=self.tolerance,
            tolerance_change=1e-12,
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            # Nats in all, not per example: else the tolerance would mean less on more data.
            loss = -n * objective(theta).sum()
            if not torch.isfinite(loss):
                raise SolveError(
                    "the objective is not finite; look at the term that was added last, "
                    "and at relations that allow no labels"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        steps = int(optimiser.state[theta]["n_iter"])
        # L-BFGS also stops where its line search finds no way on; only the gradient tells.
        closure()
        assert theta.grad is not None
        return theta.detach(), -theta.grad, steps


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
    distinct optimum (nats per example; infinite where all starts agree).
    """

    coherence: float
    terms: dict[str, float]
    steps: int
    readings: int
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
) -> Solution:
    """The most coherent labels, from the evidence alone.

    The first start is `start` (N, K) or the zero-shot answer; the others are random.
    """
    terms = default_terms() if terms is None else terms
    if not terms:
        raise InputError("an objective needs at least one term; default_terms() has five")
    solver = solver or LBFGS()
    theta = _starts(evidence, solver.starts, seed, start)
    settled = settle(evidence, terms, solver, theta)
    order = torch.argsort(settled.value, descending=True, stable=True).tolist()
    best = order[0]
    labels = settled.logq.exp()
    optima = _distinct(labels[order], settled.value[order])
    lead = optima[0].coherence - optima[1].coherence if len(optima) > 1 else float("inf")
    return Solution(
        labels=optima[0].labels,
        result=settled.result,
        stats=Stats(
            coherence=float(settled.value[best]),
            terms={name: float(value[best]) for name, value in settled.terms.items()},
            steps=settled.steps,
            readings=settled.readings,
            start=best,
            lead=lead,
        ),
        optima=optima,
        relevance=settled.relevance[best].cpu().numpy(),
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of the reading loop, for each start: log labels, value, terms, relevance (S, T)."""

    logq: Tensor
    value: Tensor
    terms: dict[str, Tensor]
    relevance: Tensor
    result: Result
    steps: int
    readings: int


def settle(
    evidence: Evidence,
    terms: Terms,
    solver: Solver,
    theta: Tensor,
    weight: Tensor | None = None,
) -> Settled:
    """Solves, reads the evidence again under the labels found, and so on until they stay.

    `theta` (S, N, K) are the starts; `weight` (S, T) weighs the predictions for each of them.
    """
    with _one_thread():
        return _settle(evidence, terms, solver, theta, weight)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread inside the block: sums are then added up in one order on any machine.

    The tensors are small, and a second thread costs more than it brings.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _settle(
    evidence: Evidence, terms: Terms, solver: Solver, theta: Tensor, weight: Tensor | None
) -> Settled:
    steps = 0
    result = Result.UNSETTLED
    logq = torch.log_softmax(theta, dim=-1)
    for readings in range(1, solver.readings + 1):  # noqa: B007 (its last value is reported)
        reading = read(evidence, logq.exp(), weight)

        def objective(theta: Tensor, reading: object = reading) -> Tensor:
            return coherence(evidence, terms, reading, torch.log_softmax(theta, dim=-1))  # type: ignore[arg-type]

        ended = solver.maximise(objective, logq)
        steps += ended.steps
        moved = torch.log_softmax(ended.theta, dim=-1)
        change = float((moved.exp() - logq.exp()).abs().max())
        logq = moved
        if change < 1e-3:
            result = Result.SETTLED if ended.converged else Result.MAX_STEPS
            break
    reading = read(evidence, logq.exp(), weight)
    values = evaluate_terms(evidence, terms, reading, logq)
    value = coherence(evidence, terms, reading, logq)
    return Settled(logq, value, values, reading.relevance, result, steps, readings)


def _starts(evidence: Evidence, count: int, seed: int, start: NDArray[np.float64] | None) -> Tensor:
    shape = (1, evidence.n, evidence.k)
    device = evidence.logp.device
    if start is None:
        uniform = torch.full(shape, 1 / evidence.k, dtype=torch.float64, device=device)
        first = read(evidence, uniform).prior
    elif start.shape != shape[1:]:
        raise InputError(f"a start of shape {start.shape} for labels of shape {shape[1:]}")
    else:
        first = torch.from_numpy(start).to(device).clamp(min=1e-12).log().unsqueeze(0)
    drawn = np.random.default_rng([seed, STREAM]).normal(scale=3.0, size=(count - 1, *shape[1:]))
    return torch.cat([first, torch.from_numpy(drawn).to(device)])


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
    return tuple(Optimum(labels[s].cpu().numpy(), float(value[s]), c) for s, c in kept)
