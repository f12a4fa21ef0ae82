"""Evidence of any size, made as arrays: what a model of a known kind answers, without asking one.

N examples of two classes are asked about once without shots and then `CALLS − 1` times under lists
of `SHOTS` shots, which blocks of `BLOCK` targets share; one shown label in five is wrong. An answer
is a signal that grows with the share of right labels, an error that all answers about an example
share, and noise of its own. In the tied world exactly one of each four examples is of class 1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_expit
from torch import Tensor

from consilience.data.relations import ExactlyOne
from consilience.evidence.arrays import ContrastArrays, PredictionArrays, ShotArrays
from consilience.evidence.evidence import Evidence, Tally
from consilience.evidence.relation_factors import factors

CALLS, SHOTS, BLOCK, GROUP, WRONG = 8, 12, 40, 4, 0.2


def make_evidence(
    n: int,
    *,
    tied: bool,
    seed: int = 0,
    calls: int = CALLS,
    shots: int = SHOTS,
    block: int = BLOCK,
) -> tuple[Evidence, NDArray[np.int64]]:
    """The evidence about N examples, and their classes (N,)."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=n)
    groups = np.arange(n - n % GROUP).reshape(-1, GROUP)
    if tied:
        truth[:] = 0
        truth[groups[:, 0] + rng.integers(GROUP, size=len(groups))] = 1
    blocks = -(-n // block)
    example = rng.integers(n, size=((calls - 1) * blocks, shots))
    wrong = rng.random(example.shape) < WRONG
    right = np.append(1 - 2 * wrong.mean(axis=1), 0.4)  # the last is that of no shots
    own = np.arange(n) // block
    shown = np.concatenate([np.full(n, -1), *(own + r * blocks for r in range(calls - 1))])
    target = np.tile(np.arange(n), calls)
    shared, noise = 0.6 * rng.normal(size=n), rng.normal(size=len(target))
    odds = 2.2 * right[shown] * (2 * truth - 1)[target] + shared[target] + noise
    logp = np.stack([log_expit(-odds), log_expit(odds)], axis=1)
    label = np.where(wrong, 1 - truth[example], truth[example])
    lists = np.repeat(np.arange(len(example)), shots)
    columns = (torch.from_numpy(column) for column in (lists, example.ravel(), label.ravel()))
    names = [str(i) for i in range(n)]
    ties = [ExactlyOne(tuple(names[i] for i in group)) for group in groups] if tied else []
    made = Evidence(
        ids=tuple(names),
        k=2,
        framings=("one",),
        predictions=_predictions(target, logp, shown, calls),
        shots=ShotArrays(*columns),
        contrasts=ContrastArrays(*[torch.zeros(0, dtype=torch.int64)] * 6),
        factors=factors(ties, {name: i for i, name in enumerate(names)}, 2),
        tally=Tally(bias={}, absent=0, silent=0, unsure=0, mean_mass=1.0),
    )
    return made, truth


def _predictions(
    target: NDArray[np.int64], logp: NDArray[np.float64], shown: NDArray[np.int64], calls: int
) -> PredictionArrays:
    zero, no = torch.from_numpy(shown < 0), torch.zeros(len(target), dtype=torch.bool)
    return PredictionArrays(
        keys=("",) * len(target),
        target=torch.from_numpy(target),
        logp=torch.from_numpy(logp),
        weight=torch.ones(len(target), dtype=torch.float64),
        information=torch.from_numpy(np.log(2) + (np.exp(logp) * logp).sum(axis=1)),
        shown=torch.from_numpy(shown),
        zero=zero,
        brief=no,
        bounded=no,
        framing=torch.zeros(len(target), dtype=torch.int64),
        round=torch.from_numpy(np.repeat(np.arange(calls), len(target) // calls)),
        context=torch.from_numpy(shown),
        kind=(~zero).long(),
    )


def tensors(evidence: Evidence) -> list[Tensor]:
    """All arrays of the evidence that a solve reads."""
    asked, shots = evidence.predictions, evidence.shots
    read = [asked.target, asked.logp, asked.weight, asked.information, asked.shown]
    read += [asked.zero, asked.brief, shots.list, shots.example, shots.label]
    return [*read, *(f.members for f in evidence.factors)]
