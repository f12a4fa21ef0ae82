"""The batched L-BFGS beside scipy's and PyTorch's own on the same evidence, and what starts change.

    uv run python benchmarks/solvers.py             # measures, writes results/solvers.json
    uv run python benchmarks/solvers.py passes      # that list anew, the others stay
    uv run python benchmarks/solvers.py --table     # prints the tables of the documentation from it

All three maximise the same objective in the same loop of conditionings and stop by the same rule,
at the first point they look at from which one more step along the natural gradient would move no
probability by more than 1e-4. The libraries take one start after the other; ours takes all in one
batch. Evaluations are of objective and gradient, one for each start. All run on one thread in one
process, by turns; of several times the least counts. The evidence is that of `made_evidence`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_evidence import make_evidence, tensors
from numpy.typing import NDArray
from recorded import RecordedRun, Recording, evidence_of, read
from recorded import files as recordings
from scipy.optimize import minimize
from torch import Tensor

from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import default_terms
from consilience.solvers.fixed_point import (
    FixedPoints,
    Objective,
    OptimizeResult,
    Problem,
    natural_step,
    settle,
    slope,
)
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.solvers.starts import draw, first_labels

RESULTS = Path(__file__).parent / "results" / "solvers.json"
SIZES, STARTS, WORLDS = (100, 1_000, 10_000, 100_000), (1, 8), ("plain", "tied")
REPEATS, LONG = 3, 2.0
"""How often each is timed, but no more where it took so many seconds."""

OURS = LBFGS()
Maximise = Callable[[Objective, Tensor], OptimizeResult]


@dataclass
class Counted:
    """An objective that counts how often it is evaluated, once for each start."""

    objective: Objective
    evaluations: list[int] = field(default_factory=list)

    @property
    def problem(self) -> Problem:
        """The problem that it is of."""
        return self.objective.problem

    def __call__(self, theta: Tensor) -> Tensor:
        """The value for each start."""
        self.evaluations.append(len(theta))
        return self.objective(theta)

    def slope(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The value for each start, and the gradient."""
        self.evaluations.append(len(theta))
        return self.objective.slope(theta)


class _Reached(Exception):
    """One more step would change next to nothing."""


def _near(objective: Objective, theta: Tensor, gradient: Tensor) -> bool:
    step = natural_step(theta, gradient, objective.problem.temperature)
    return bool(step.abs().max() <= OURS.tolerance)


def by_scipy(objective: Objective, theta: Tensor) -> OptimizeResult:
    """The L-BFGS-B of scipy, for one start."""
    at = theta

    def cost(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal at
        at = torch.from_numpy(x).view(theta.shape)
        value, gradient = slope(objective, at)
        if _near(objective, at, gradient):
            raise _Reached
        return -float(value), -gradient.flatten().numpy()

    options = {"maxiter": OURS.steps, "maxcor": OURS.memory, "ftol": 0.0, "gtol": 0.0}
    try:
        steps = minimize(
            cost, theta.flatten().numpy(), jac=True, method="L-BFGS-B", options=options
        )
    except _Reached:
        return OptimizeResult(at.clone(), 0, torch.tensor([True]))
    return OptimizeResult(torch.from_numpy(steps.x).view(theta.shape), 0, torch.tensor([False]))


def by_torch(objective: Objective, theta: Tensor) -> OptimizeResult:
    """PyTorch's L-BFGS with its strong-Wolfe line search, for one start."""
    at = theta.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [at],
        max_iter=OURS.steps,
        history_size=OURS.memory,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        value, gradient = slope(objective, at)
        if _near(objective, at.detach(), gradient):
            raise _Reached
        at.grad = -gradient
        return -value.sum()

    try:
        optimizer.step(closure)
    except _Reached:
        return OptimizeResult(at.detach().clone(), 0, torch.tensor([True]))
    return OptimizeResult(at.detach(), 0, torch.tensor([False]))


METHODS: dict[str, Maximise] = {"ours": OURS.maximise, "scipy": by_scipy, "torch": by_torch}


def solved(name: str, problem: Problem, theta: Tensor) -> tuple[list[FixedPoints], int]:
    """The optima of all starts, and the evaluations that they took together."""
    evaluations: list[int] = []

    def maximise(objective: Objective, theta: Tensor) -> OptimizeResult:
        counted = Counted(objective, evaluations)
        return METHODS[name](counted, theta)  # type: ignore[arg-type]

    parts = [theta] if name == "ours" else list(theta.split(1))
    found = [settle(problem, maximise, part, OURS.conditionings) for part in parts]
    return found, sum(evaluations)


def compared(world: str, n: int, starts: int) -> dict[str, Any]:
    """The three of them on one evidence from the same starts."""
    evidence, _ = make_evidence(n, tied=world == "tied")
    problem = Problem(evidence, default_terms())
    theta = draw(evidence, starts, 0, None)
    rows: dict[str, dict[str, Any]] = {}
    for name in [name for _ in range(REPEATS) for name in METHODS]:
        if name in rows and rows[name]["seconds"] > LONG:
            continue
        began = time.perf_counter()
        found, evaluations = solved(name, problem, theta)
        seconds = time.perf_counter() - began
        values = torch.cat([f.value for f in found])
        rows[name] = {
            "seconds": min(seconds, rows.get(name, {}).get("seconds", np.inf)),
            "evaluations": evaluations,
            "conditionings": sum(f.conditionings for f in found),
            "coherence": float(values.max()),
            "worst": float(values.min()),
            "settled": sum(r.name == "SETTLED" for f in found for r in f.results),
        }
    return {"world": world, "labels": n, "starts": starts, "methods": rows}


def passes(n: int) -> dict[str, Any]:
    """What conditioning, and objective and gradient, cost beside reading their arrays once."""
    evidence, _ = make_evidence(n, tied=True)
    problem = Problem(evidence, default_terms())
    theta = draw(evidence, 1, 0, None)
    conditioned = problem.condition(torch.log_softmax(theta, dim=-1))
    objective = problem.objective(conditioned)
    pools = [
        conditioned.log_pool,
        conditioned.linear_pool,
        conditioned.prior,
        conditioned.frequency,
        theta,
    ]
    pools += [f.members for f in evidence.factors]
    logq = torch.log_softmax(theta, dim=-1)
    tasks: dict[str, Callable[[], object]] = {
        "read_evidence": lambda: [array.sum() for array in tensors(evidence)],
        "condition": lambda: problem.condition(logq),
        "read_pools": lambda: [array.sum() for array in pools],
        "objective": lambda: slope(objective, theta),
    }
    least = dict.fromkeys(tasks, np.inf)
    for _ in range(25):
        for name, task in tasks.items():
            # Of the processor: others may use it between.
            began = time.process_time()
            task()
            least[name] = min(least[name], time.process_time() - began)
    size = sum(array.numel() * array.element_size() for array in tensors(evidence))
    return {"labels": n, "bytes": size, "seconds": least}


def starts_changed(world: str, n: int) -> dict[str, Any]:
    """What the default starts change in the labels of made evidence, beside one."""
    evidence, truth = make_evidence(n, tied=world == "tied")
    return {"evidence": world, "labels": n, **_one_and_many(evidence, truth, None)}


def starts_changed_in(recording: Recording, run: RecordedRun) -> dict[str, Any]:
    """The same for recorded answers of a real model."""
    evidence = evidence_of(recording, run).weighed()
    found = _one_and_many(evidence, recording.gold, first_labels(evidence))
    return {"evidence": f"{recording.name}, {run.method}", "labels": evidence.n, **found}


def _one_and_many(
    evidence: Evidence, gold: NDArray[np.int64], start: NDArray[np.float64] | None
) -> dict[str, Any]:
    found, seconds = {}, {}
    for starts in STARTS:
        began = time.perf_counter()
        found[starts] = solve(evidence, start=start, starts=starts)
        seconds[starts] = time.perf_counter() - began
    one, many = (found[starts] for starts in STARTS)
    hard, other = one.labels.argmax(axis=1), many.labels.argmax(axis=1)
    known = gold >= 0
    return {
        "seconds": [seconds[starts] for starts in STARTS],
        "gained": many.stats.coherence - one.stats.coherence,
        "moved": float(np.abs(one.labels - many.labels).max()),
        "changed": float((hard != other).mean()),
        "accuracy": [float((labels == gold)[known].mean()) for labels in (hard, other)],
    }


def starts_of_all() -> Iterator[dict[str, Any]]:
    """What more starts change, on recorded answers and on made evidence."""
    for path in recordings():
        recording = read(path)
        for run in recording.runs:
            yield starts_changed_in(recording, run)
    for n, world in product(SIZES[:-1], WORLDS):
        yield starts_changed(world, n)


def compared_all() -> Iterator[dict[str, Any]]:
    """The solvers side by side, on evidence of every size."""
    for n, world, starts in product(SIZES, WORLDS, STARTS):
        # Eight starts of a library take minutes of more labels, and are eight times one.
        if n <= 1_000 or starts == 1:
            yield compared(world, n, starts)


LISTS: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
    "starts": starts_of_all,
    "passes": lambda: map(passes, SIZES),
    "compared": compared_all,
}


def main() -> None:
    """Measures and keeps the figures, after each so that they stay if the rest never is."""
    torch.set_num_threads(1)
    named = [name for name in sys.argv[1:] if name in LISTS]
    if "--table" not in sys.argv:
        compared("tied", 100, 1)  # what is loaded once is not counted
        made: dict[str, list[Any]] = json.loads(RESULTS.read_text()) if named else {}
        for name in named or LISTS:
            made[name] = []
            for row in LISTS[name]():
                made[name].append(row)
                RESULTS.write_text(json.dumps(made, indent=1) + "\n")
                print(name, json.dumps(row), flush=True)
    print(table(json.loads(RESULTS.read_text())))


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """The three tables: solvers side by side, starts, and passes."""
    parts = [
        _solvers(found["compared"]),
        "What eight starts change beside one:",
        _starts(found["starts"]),
        "Conditioning the evidence once, and objective and gradient between conditionings, in "
        "times that it takes to add up all arrays of the evidence once:",
        _passes(found["passes"]),
    ]
    return "\n\n".join(parts)


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    rule = "| --- " * words + "| --: " * (len(head) - words) + "|"
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(r)} |" for r in rows)])


def _solvers(rows: Sequence[dict[str, Any]]) -> str:
    head = ("evidence", "labels", "starts", "seconds", "scipy", "PyTorch", "evaluations", "scipy")
    lines = []
    for row in rows:
        m = row["methods"]
        own = m["ours"]["seconds"]
        times = [f"{m[name]['seconds'] / own:.1f} ×" for name in ("scipy", "torch")]
        count = [f"{m[name]['evaluations']:,}" for name in METHODS]
        less = [
            f"{m[name]['coherence'] - m['ours']['coherence']:+.0e}" for name in ("scipy", "torch")
        ]
        lines.append(
            (
                row["world"],
                f"{row['labels']:,}",
                str(row["starts"]),
                f"{own:.2f}",
                *times,
                *count,
                *less,
            )
        )
    return _rows((*head, "PyTorch", "coherence, scipy", "PyTorch"), lines, 1)


def _starts(rows: Sequence[dict[str, Any]]) -> str:
    head = (
        "evidence",
        "labels",
        "time",
        "coherence gained",
        "most moved",
        "labels changed",
        "accuracy, one",
        "eight",
    )
    lines = [
        (
            row["evidence"],
            f"{row['labels']:,}",
            f"{row['seconds'][1] / row['seconds'][0]:.1f} ×",
            f"{row['gained']:+.0e}",
            f"{row['moved']:.3f}",
            f"{row['changed']:.1%}",
            *(f"{value:.3f}" for value in row["accuracy"]),
        )
        for row in rows
    ]
    return _rows(head, lines, 1)


def _passes(rows: Sequence[dict[str, Any]]) -> str:
    head = ("labels", "arrays, MB", "conditioning once", "objective and gradient")
    lines = []
    for row in rows:
        s = row["seconds"]
        lines.append(
            (
                f"{row['labels']:,}",
                f"{row['bytes'] / 1e6:.1f}",
                f"{s['condition'] / s['read_evidence']:.0f} ×",
                f"{s['objective'] / s['read_evidence']:.1f} ×",
            )
        )
    return _rows(head, lines, 0)


if __name__ == "__main__":
    main()
