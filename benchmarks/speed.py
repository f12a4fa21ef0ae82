"""The objective and its gradient beside the same loss written as a loop over predictions.

    uv run python benchmarks/speed.py             # measures, writes results/speed.json
    uv run python benchmarks/speed.py --table     # prints the line of the README from it

1,000 labels, 20,000 predictions of 12 shots each, groups of four tied by a relation; reading the
evidence, the default objective, and its gradient in θ. The loop is written as one writes it first,
in PyTorch, one prediction after the other, and must give the same value and the same gradient.
Both run in one process on one thread; only the ratio means anything.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import program
import torch
from torch import Tensor

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import ExactlyOne
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import DEFAULT_WEIGHTS, coherence, default_terms
from consilience.objective.conditioning import ZERO_SHOT_WEIGHT, condition
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.store.rows import Prediction

RESULTS = Path(__file__).parent / "results" / "speed.json"
EXAMPLES, PREDICTIONS, SHOTS, GROUP = 1000, 20_000, 12, 4


def evidence() -> Evidence:
    """Answers drawn at random, one in ten of them zero-shot."""
    rng = np.random.default_rng(0)
    examples = [Example(f"statement {i}") for i in range(EXAMPLES)]
    ids = Dataset("speed", examples).ids
    ties = [ExactlyOne(tuple(ids[i : i + GROUP])) for i in range(0, EXAMPLES, GROUP)]
    data = Dataset("speed", examples, ties)
    framing = Framing("one", "alone", "Judge.", "Answer:", ("False", "True"))
    rows = []
    for t in range(PREDICTIONS):
        target, *others = rng.choice(EXAMPLES, size=SHOTS + 1, replace=False)
        shots = tuple((ids[j], int(rng.integers(2))) for j in others) if t % 10 else ()
        query = Query(ids[target], shots, "one", repeat=t)
        logp = tuple(np.log(rng.dirichlet([1.0, 1.0])).tolist())
        rows.append(
            (query, Prediction(str(t), query, ("False", "True"), logp, (True, True), 1.0, {}, 0.0))
        )
    return collect(data, [framing], [rows])


def vectorised(e: Evidence, theta: Tensor) -> tuple[float, Tensor]:
    """The package's own: value and gradient."""
    theta = theta.detach().requires_grad_(True)
    logq = torch.log_softmax(theta, dim=-1).unsqueeze(0)
    value = coherence(e, default_terms(), condition(e, logq.detach().exp()), logq)
    (gradient,) = torch.autograd.grad(value.sum(), theta)
    return float(value.detach()), gradient


def looped(e: Evidence, theta: Tensor) -> tuple[float, Tensor]:
    """The same, one prediction and one example at a time."""
    theta = theta.detach().requires_grad_(True)
    logq = torch.log_softmax(theta, dim=-1)
    q = logq.exp()
    fixed = q.detach()
    shots: dict[int, list[tuple[int, int]]] = {}
    for t, j, c in zip(*(column.tolist() for column in e.shown_shots()), strict=True):
        shots.setdefault(t, []).append((j, c))
    mine: dict[int, list[int]] = {}
    for t, i in enumerate(e.predictions.target.tolist()):
        mine.setdefault(i, []).append(t)
    half = math.log(2)
    terms = dict.fromkeys(DEFAULT_WEIGHTS, torch.zeros((), dtype=torch.float64))
    for i in range(e.n):
        of_i = mine.get(i, [])
        zeros = [t for t in of_i if e.predictions.zero[t]]
        total = sum(ZERO_SHOT_WEIGHT / len(zeros) if e.predictions.zero[t] else 1.0 for t in of_i)
        log_pool, linear = torch.zeros(2).double(), torch.zeros(2).double()
        for t in of_i:
            share = (ZERO_SHOT_WEIGHT / len(zeros) if e.predictions.zero[t] else 1.0) / total
            relevance = torch.ones(()).double()
            if t in shots:
                agreed = torch.stack([fixed[j, c] for j, c in shots[t]]).mean()
                relevance = ((agreed - 0.5) / 0.5).clamp(min=0)
            told = half + (e.predictions.logp[t].exp() * e.predictions.logp[t]).sum()
            log_pool = log_pool + share * (
                relevance * e.predictions.logp[t] - (1 - relevance) * (half + told)
            )
            linear = linear + share * (
                relevance * e.predictions.logp[t].exp() + (1 - relevance) / 2
            )
        if not of_i:
            log_pool, linear = log_pool - half, linear + 0.5
        prior = torch.zeros(2).double()
        for t in zeros:
            prior = prior + e.predictions.logp[t] / len(zeros)
        prior = torch.log_softmax(prior, dim=-1)
        gained = {
            "mutual predictability": (q[i] * log_pool).sum(),
            "direct consistency": (q[i] * linear.log()).sum(),
            "prior fidelity": -(q[i] * (logq[i] - prior)).sum(),
            "entropy": -(q[i] * logq[i]).sum(),
        }
        terms = {name: value + gained.get(name, 0.0) / e.n for name, value in terms.items()}
    held = torch.zeros((), dtype=torch.float64)
    for factor in e.factors:
        for members in factor.members.tolist():
            worlds = [
                sum(logq[i, c] for i, c in zip(members, world, strict=True))
                for world in factor.worlds.tolist()
            ]
            held = held + torch.logsumexp(torch.stack(worlds), dim=0)
    terms["logical consistency"] = held / e.n
    value = sum(weight * terms[name] for name, weight in DEFAULT_WEIGHTS.items())
    (gradient,) = torch.autograd.grad(value, theta)
    return float(value.detach()), gradient


def seconds(run: Callable[[], object], times: int) -> float:
    """The median time of a run."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure() -> dict[str, float]:
    """Both, after checking that they are the same function."""
    torch.set_num_threads(1)
    made = evidence()
    theta = torch.from_numpy(np.random.default_rng(1).normal(size=(EXAMPLES, 2)))
    (one, slope), (two, other) = vectorised(made, theta), looped(made, theta)
    assert abs(one - two) < 1e-9 and (slope - other).abs().max() < 1e-9, (one, two)
    fast = seconds(lambda: vectorised(made, theta), 21)
    slow = seconds(lambda: looped(made, theta), 3)
    return {"loop_seconds": slow, "vectorised_seconds": fast, "ratio": slow / fast}


def table(found: dict[str, float]) -> str:
    """One sentence with the ratio."""
    return (
        f"Objective and gradient for {EXAMPLES:,} labels and {PREDICTIONS:,} predictions: "
        f"{found['ratio']:,.0f} times as fast as the same loss written as a loop over predictions "
        "(`uv run python benchmarks/speed.py`, both in one process on one thread)."
    )


if __name__ == "__main__":
    program.once(__doc__, measure, table, RESULTS)
