"""Predictions as evidence: tensors that the objective reads, with bias removed and bounds marked.

What is done to a prediction before it counts, in this order:

1. Its log-probabilities are normalised over the labels. A bounded label keeps its bound, the
   most that it can be, so that the evidence for the others is understated, never overstated.
   A prediction in which every label is bounded says nothing and is left out, and counted.
2. The liking for label names is taken out, per family of framings, from the paired framings:
   over a family each name stands for each class equally often, so what a name gets on average,
   whatever it stands for, is bias. Class balance is not assumed (Zhao et al. 2021 and Zhou et
   al. 2023 assume it). Where a family was not asked in all its framings nothing can be told and
   nothing is taken out; `Evidence.bias` says which is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from consilience.errors import SolveError
from consilience.examples import Dataset
from consilience.logic import Factor, factors
from consilience.prompts import Framing
from consilience.query import Query
from consilience.store import Prediction

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All predictions about a data set, and its relations, as float64 and int64 tensors.

    T predictions, N examples, K classes, M shots in all.

    - `target` (T): the example asked about; `logp` (T, K): what was answered, in nats.
    - `zero` (T): no shots were shown; `bounded` (T): some label was only bounded.
    - `framing` (T): the position of the framing in `framings`; `round` (T).
    - `shot_of`, `shot_example`, `shot_label` (M): which prediction showed which example as what.
    - `factors`: the relations, made ready for the logical term.
    - `bias`: nats taken from each label name, by family and shots; None where not known.
    - `absent`: predictions planned but not there; `silent`: there, but every label bounded.
    """

    ids: tuple[str, ...]
    k: int
    target: Tensor
    logp: Tensor
    zero: Tensor
    bounded: Tensor
    framing: Tensor
    round: Tensor
    shot_of: Tensor
    shot_example: Tensor
    shot_label: Tensor
    framings: tuple[str, ...]
    factors: tuple[Factor, ...]
    bias: dict[str, dict[str, float] | None]
    absent: int
    silent: int
    mean_mass: float

    @property
    def n(self) -> int:
        """The number of examples."""
        return len(self.ids)

    @property
    def t(self) -> int:
        """The number of predictions that count."""
        return len(self.target)

    def to(self, device: str | torch.device) -> Evidence:
        """The same evidence on another device."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name in self.__dataclass_fields__
            if isinstance(value := getattr(self, name), Tensor)
        }
        return replace(self, **moved, factors=tuple(f.to(device) for f in self.factors))


def collect(
    dataset: Dataset,
    framings: Sequence[Framing],
    rounds: Sequence[Sequence[tuple[Query, Prediction | None]]],
    *,
    priors: bool = False,
) -> Evidence:
    """The evidence in the rounds of a run; a prediction that is absent is None.

    `priors` lets design priors count beside the logical facts.
    """
    position = {framing.name: f for f, framing in enumerate(framings)}
    flat = [(r, q, p) for r, queries in enumerate(rounds) for q, p in queries]
    there = [(r, q, p) for r, q, p in flat if p is not None]
    heard = [(r, q, p) for r, q, p in there if any(p.exact)]
    if not heard:
        raise SolveError(
            f"no prediction to learn from: {len(flat)} planned, {len(flat) - len(there)} absent, "
            f"{len(there)} with every label only bounded; the store has the reason of each failure"
        )
    raw = log_softmax(np.array([p.logprobs for _, _, p in heard], dtype=np.float64), axis=1)
    framing = np.array([position[q.framing] for _, q, _ in heard], dtype=np.int64)
    target = np.array([dataset.index[q.target] for _, q, _ in heard], dtype=np.int64)
    zero = np.array([not q.shots for _, q, _ in heard], dtype=bool)
    bounded = np.array([not all(p.exact) for _, _, p in heard], dtype=bool)
    logp, bias = _unbiased(raw, framing, target, zero, bounded, framings)
    shots = [
        (t, dataset.index[id], label) for t, (_, q, _) in enumerate(heard) for id, label in q.shots
    ]
    shot_table = np.array(shots, dtype=np.int64).reshape(-1, 3)
    relations = [r for r in dataset.relations if priors or not r.prior]
    return Evidence(
        ids=dataset.ids,
        k=dataset.task.k,
        target=torch.from_numpy(target),
        logp=torch.from_numpy(logp),
        zero=torch.from_numpy(zero),
        bounded=torch.from_numpy(bounded),
        framing=torch.from_numpy(framing),
        round=torch.tensor([r for r, _, _ in heard]),
        shot_of=torch.from_numpy(shot_table[:, 0].copy()),
        shot_example=torch.from_numpy(shot_table[:, 1].copy()),
        shot_label=torch.from_numpy(shot_table[:, 2].copy()),
        framings=tuple(position),
        factors=factors(relations, dataset.index, dataset.task.k),
        bias=bias,
        absent=len(flat) - len(there),
        silent=len(there) - len(heard),
        mean_mass=float(np.mean([p.mass for _, _, p in heard])),
    )


def _unbiased(
    raw: Floats,
    framing: NDArray[np.int64],
    target: NDArray[np.int64],
    zero: NDArray[np.bool_],
    bounded: NDArray[np.bool_],
    framings: Sequence[Framing],
) -> tuple[Floats, dict[str, dict[str, float] | None]]:
    """`raw` (T, K) without the liking for names, and what was taken out, per family and shots."""
    logp = raw.copy()
    bias: dict[str, dict[str, float] | None] = {}
    for family in dict.fromkeys(f.family for f in framings):
        members = [f for f, made in enumerate(framings) if made.family == family]
        for shown, chosen in (("zero-shot", zero), ("with shots", ~zero)):
            of_family = chosen & np.isin(framing, members)
            if not of_family.any():
                continue
            liking = _liking(
                raw, framing, target, of_family & ~bounded, [framings[f] for f in members], members
            )
            bias[f"{family}, {shown}"] = liking
            if liking is None:
                continue
            for f in members:
                taken = np.array([liking[name] for name in framings[f].label_names])
                logp[of_family & (framing == f)] -= taken
    return np.asarray(log_softmax(logp, axis=1)), bias


def _liking(
    raw: Floats,
    framing: NDArray[np.int64],
    target: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    family: Sequence[Framing],
    members: Sequence[int],
) -> dict[str, float] | None:
    """What each name gets on average whatever it stands for, centred, in nats; None if unknown.

    Counted over the examples that were asked in every framing of the family (their own signal
    cancels exactly) where these are at least half of those asked in any one; else over all (it
    cancels on average, because chance decided who was asked how). Bounds are not values, so
    bounded predictions do not take part.
    """
    # A family in which a name keeps its class cannot tell liking from signal.
    stands_for = {
        name: {f.label_names.index(name) for f in family if name in f.label_names}
        for name in family[0].label_names
    }
    if any(len(classes) < raw.shape[1] for classes in stands_for.values()):
        return None
    asked_in = [set(target[chosen & (framing == f)].tolist()) for f in members]
    paired = set.intersection(*asked_in)
    if not all(asked_in):
        return None
    most = max(len(asked) for asked in asked_in)
    use = chosen & np.isin(target, sorted(paired)) if 2 * len(paired) >= most else chosen
    total = dict.fromkeys(stands_for, 0.0)
    for f, made in zip(members, family, strict=True):
        rows = use & (framing == f)
        # Per example first: one asked more often in one framing must not tilt the balance.
        index, inverse, counts = np.unique(target[rows], return_inverse=True, return_counts=True)
        sums = np.zeros((len(index), raw.shape[1]))
        np.add.at(sums, inverse, raw[rows])
        mean = (sums / counts[:, None]).mean(axis=0)
        for c, name in enumerate(made.label_names):
            total[name] += float(mean[c]) / len(members)
    centre = float(np.mean(list(total.values())))
    return {name: value - centre for name, value in total.items()}
