"""Predictions as evidence: tensors that the objective reads, with bias removed and bounds marked.

What is done to a prediction before it counts, in this order:

1. Its log-probabilities are normalised over the labels. A bounded label keeps its bound, the
   most that it can be, so that the evidence for the others is understated, never overstated.
   A prediction in which every label is bounded says nothing and is left out, and counted.
2. The liking for label names is taken out (see `label_bias`).

A contrast is a query asked a second time with the label of one shot flipped. Its difference from
its twin says what the label of that shot does to the target: the only evidence about a shot's
label that there is.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from consilience.data.dataset import Dataset
from consilience.data.relations import active_relations
from consilience.errors import InputError, SolveError
from consilience.evidence.agreement import list_weights, prediction_weights, shared_error
from consilience.evidence.context_offsets import Contexts, contexts_of
from consilience.evidence.label_bias import BIAS_METHODS, Bias, unbiased
from consilience.evidence.mixture import LEANING, PAIRED
from consilience.evidence.relation_factors import Factor, Large, factors, implied_classes
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.store.rows import Prediction

if TYPE_CHECKING:
    pass

FLOOR = 0.6
"""Below this probability of its best label a prediction is not trusted with anything further."""

PER_PREDICTION = (
    *("target", "logp", "weight", "information", "shots"),
    *("zero", "drawn", "brief", "bounded", "framing", "round", "context", "kind"),
)
FLIP_FIELDS = ("flip_twin", "flip_contrast", "flip_example", "flip_from", "flip_to")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All predictions about a data set, and its relations, as float64 and int64 tensors.

    T predictions, N examples, K classes, M shots in all.

    - `target` (T): the example asked about; `logp` (T, K): what was answered, in nats.
    - `weight` (T): how much an answer counts beside others about its example, see `agreement`.
    - `zero` (T): no shots were shown; `drawn` (T): shots whose labels were drawn at random;
      `brief` (T): part of a contrast; `bounded` (T): some label was only bounded.
    - `information` (T): that of an answer, log K − H(p), nats; `shots` (T): how many were shown
      with a label on record.
    - `framing` (T): the position of the framing in `framings`; `round` (T); `context` (T): which
      list of shots under which framing, −1 without shots; `kind` (T): which kind of context.
    - `shot_of`, `shot_example`, `shot_label` (M): which prediction showed which example as what.
    - `flip_twin`, `flip_contrast` (F): the predictions of a twin and its contrast;
      `flip_example`, `flip_from`, `flip_to` (F): the shot flipped, its label in the twin and in
      the contrast. Only flips whose two answers together are surer than `floor` are here.
    - `flip_pair` (F): which pair of target and shot a flip is of, numbered from 0.
    - `rivals` (R, 2): all pairs of predictions of one target.
    - `factors`: the relations, made ready for the logical term.
    - `keys` (T): the predictions' keys in the store.
    - `bias`: nats taken from each label name, by family and shots; None where not known.
    - `unsure`: contrasts left out because with their twin they are less sure than `floor`, or
      have none.
    - `leaning`: the standard deviation, in nats, of what the answers as a whole lean to a class.
    - `shares` (K): how frequent the classes are, where that is known; else it is read off the
      answers of two classes, and those of more are taken to be equal (see `mixture`).
    - `shared`: how the errors of two answers in one wording about one example are correlated.
    - `scale`: what a nat of the answers' log-odds is worth, where it is held fixed; else it is read
      off the answers (see `mixture`).
    - `held` (N): the class that the user says an example has, −1 where nothing was said; None where
      nothing was said of any.
    - `absent`: predictions planned but not there; `silent`: there, but every label bounded.
    """

    ids: tuple[str, ...]
    k: int
    target: Tensor
    logp: Tensor
    weight: Tensor
    information: Tensor
    shots: Tensor
    zero: Tensor
    drawn: Tensor
    brief: Tensor
    bounded: Tensor
    framing: Tensor
    round: Tensor
    context: Tensor
    kind: Tensor
    shot_of: Tensor
    shot_example: Tensor
    shot_label: Tensor
    flip_twin: Tensor
    flip_contrast: Tensor
    flip_example: Tensor
    flip_from: Tensor
    flip_to: Tensor
    flip_pair: Tensor
    rivals: Tensor
    framings: tuple[str, ...]
    factors: tuple[Factor | Large, ...]
    keys: tuple[str, ...]
    bias: Bias
    floor: float
    unsure: int
    absent: int
    silent: int
    mean_mass: float
    leaning: float = LEANING
    scale: float | None = None
    shares: tuple[float, ...] | None = None
    shared: float = 0.0
    held: Tensor | None = None

    def __repr__(self) -> str:
        return (
            f"Evidence({self.t:,} predictions of {self.n:,} examples, K={self.k}, "
            f"{self.f:,} contrasts, framings {', '.join(self.framings)}; {self.absent:,} absent, "
            f"{self.silent:,} silent)"
        )

    @property
    def n(self) -> int:
        """The number of examples."""
        return len(self.ids)

    @property
    def t(self) -> int:
        """The number of predictions that count."""
        return len(self.target)

    @property
    def untouched(self) -> Tensor:
        """Which answers (T) no found label has touched: zero-shot ones, or with labels drawn."""
        return self.zero | self.drawn

    @property
    def f(self) -> int:
        """The number of contrasts that count."""
        return len(self.flip_twin)

    def only(self, keep: Tensor) -> Evidence:
        """The evidence of some of the predictions, by a mask (T,); a flip needs both of its two."""
        place = torch.cumsum(keep, dim=0) - 1
        shots = keep[self.shot_of]
        flips = keep[self.flip_twin] & keep[self.flip_contrast]
        rivals = self.rivals[keep[self.rivals].all(dim=1)]
        chosen: dict[str, Any] = {name: getattr(self, name)[keep] for name in PER_PREDICTION}
        chosen |= {name: getattr(self, name)[shots] for name in ("shot_example", "shot_label")}
        chosen |= {name: getattr(self, name)[flips] for name in (*FLIP_FIELDS[2:], "flip_pair")}
        chosen |= {name: place[getattr(self, name)[flips]] for name in FLIP_FIELDS[:2]}
        chosen |= {name: _renumbered(chosen[name]) for name in ("context", "kind")}
        keys = tuple(key for key, kept in zip(self.keys, keep.tolist(), strict=True) if kept)
        return replace(
            self, **chosen, shot_of=place[self.shot_of[shots]], rivals=place[rivals], keys=keys
        )

    def holding(self, classes: Mapping[int, int]) -> Evidence:
        """The same evidence, in which the user says which class some examples have.

        What hard relations then leave to others is held too.
        """
        if not classes:
            return replace(self, held=None)
        held = torch.full((self.n,), -1, dtype=torch.int64)
        for at, label in implied_classes(self.factors, classes, self.k).items():
            held[at] = label
        return replace(self, held=held)

    def weighed(self) -> Evidence:
        """The same with each list of shots weighed by how far it agrees with the others.

        For evidence about one labelling: see `agreement`.
        """
        z = self.logp - self.logp.mean(dim=1, keepdim=True)
        contexts = Contexts(self.context.numpy(), self.kind.numpy(), ())
        made = list_weights(z.numpy(), self.target.numpy(), contexts, self.weight.numpy())
        return replace(self, weight=torch.from_numpy(made))

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
    floor: float = FLOOR,
    bias: str = "contexts",
    drawn: Container[int] = (),
    shares: tuple[float, ...] | None = None,
) -> Evidence:
    """The evidence in the rounds of a run; a prediction that is absent is None.

    `priors` lets design priors count beside the logical facts, `floor` is how probable the best
    label of a twin and its contrast together must be for the two to count, `bias` how the liking
    for label names is taken out. In the rounds `drawn` labels of shots were drawn at random: they
    are not on record. `shares` are those of the classes, where they are known. A shot whose label
    is negative was shown with a label that nobody recorded.
    """
    if bias not in BIAS_METHODS:
        raise InputError(f"no way {bias!r} to take out bias; there are: {', '.join(BIAS_METHODS)}")
    position = {framing.name: f for f, framing in enumerate(framings)}
    flat = [(r, q, p) for r, queries in enumerate(rounds) for q, p in queries]
    # One prediction counts once, however often the plan came upon it.
    first: dict[str, tuple[int, Query, Prediction]] = {}
    for r, q, p in flat:
        if p is not None:
            first.setdefault(p.key, (r, q, p))
    there = list(first.values())
    absent = sum(p is None for _, _, p in flat)
    heard = [(r, q, p) for r, q, p in there if any(p.exact)]
    if not heard:
        raise SolveError(
            f"no prediction to learn from: {len(flat)} planned, {absent} absent, "
            f"{len(there)} with every label only bounded; the store has the reason of each failure"
        )
    raw = log_softmax(np.array([p.logprobs for _, _, p in heard], dtype=np.float64), axis=1)
    framing = np.array([position[q.framing] for _, q, _ in heard], dtype=np.int64)
    target = np.array([dataset.index[q.target] for _, q, _ in heard], dtype=np.int64)
    zero = np.array([not q.shots for _, q, _ in heard], dtype=bool)
    bounded = np.array([not all(p.exact) for _, _, p in heard], dtype=bool)
    random = [r in drawn and bool(q.shots) for r, q, _ in heard]
    contexts = contexts_of([q for _, q, _ in heard], random)
    logp, taken = unbiased(raw, framing, target, zero, bounded, framings, bias, contexts)
    z = logp - logp.mean(axis=1, keepdims=True)
    weight = prediction_weights(z, target, contexts, framing)
    shots = [
        (t, dataset.index[id], label)
        for t, (r, q, _) in enumerate(heard)
        for id, label in q.shots
        if label >= 0 and r not in drawn
    ]
    shot_table = np.array(shots, dtype=np.int64).reshape(-1, 3)
    flips = _flips([q for _, q, _ in heard], dataset)
    brief = np.array([q.contrast is not None for _, q, _ in heard], dtype=bool)
    contrasts = int(brief.sum())
    brief[flips[:, 0]] = True
    # Of both together: a guard on the twin alone would favour the labels that it happened to show.
    base = log_softmax((logp[flips[:, 0]] + logp[flips[:, 1]]) / 2, axis=1)
    sure = np.exp(base.max(axis=1, initial=-np.inf)) > floor
    flips = flips[sure]
    twin, contrast, example, before, after = (torch.from_numpy(c.copy()) for c in flips.T)
    relations = active_relations(dataset.relations, priors)
    return Evidence(
        ids=dataset.ids,
        k=dataset.task.k,
        target=torch.from_numpy(target),
        logp=torch.from_numpy(logp),
        weight=torch.from_numpy(weight),
        information=torch.from_numpy(np.log(dataset.task.k) + (np.exp(logp) * logp).sum(axis=1)),
        shots=torch.from_numpy(np.bincount(shot_table[:, 0], minlength=len(heard))),
        zero=torch.from_numpy(zero),
        drawn=torch.tensor(random),
        brief=torch.from_numpy(brief),
        bounded=torch.from_numpy(bounded),
        framing=torch.from_numpy(framing),
        round=torch.tensor([r for r, _, _ in heard]),
        context=torch.from_numpy(contexts.context),
        kind=torch.from_numpy(contexts.group),
        shot_of=torch.from_numpy(shot_table[:, 0].copy()),
        shot_example=torch.from_numpy(shot_table[:, 1].copy()),
        shot_label=torch.from_numpy(shot_table[:, 2].copy()),
        flip_twin=twin,
        flip_contrast=contrast,
        flip_example=example,
        flip_from=before,
        flip_to=after,
        flip_pair=_numbered(target[flips[:, 0]], flips[:, 2]),
        rivals=rivals_of(target),
        framings=tuple(position),
        factors=factors(relations, dataset.index, dataset.task.k),
        keys=tuple(p.key for _, _, p in heard),
        bias=taken,
        floor=floor,
        unsure=contrasts - int(sure.sum()),
        absent=absent,
        silent=len(there) - len(heard),
        mean_mass=float(np.mean([p.mass for _, _, p in heard])),
        leaning=PAIRED if bias == "paired" else LEANING,
        shares=shares,
        shared=shared_error(z, target, framing),
    )


def _flips(queries: Sequence[Query], dataset: Dataset) -> NDArray[np.int64]:
    """Contrasts and their twins (F, 5): twin, contrast, example flipped, label from, label to.

    The twin is the nearest query before it, else after it, that shows the shot otherwise. Where
    nobody recorded the label that a shot had in one of the two, nobody knows what was flipped.
    """
    alike: dict[object, list[int]] = {}
    for t, q in enumerate(queries):
        alike.setdefault(_unlabelled(q), []).append(t)
    found: list[tuple[int, int, int, int, int]] = []
    for t, q in enumerate(queries):
        if q.contrast is None:
            continue
        at = q.contrast
        id, shown = q.shots[at]
        twins = [
            o
            for o in alike[_unlabelled(q)]
            if _differ(queries[o], q) == [at] and min(queries[o].shots[at][1], shown) >= 0
        ]
        if twins:
            twin = min(twins, key=lambda o: (o > t, abs(o - t)))
            found.append((twin, t, dataset.index[id], queries[twin].shots[at][1], shown))
    return np.array(found, dtype=np.int64).reshape(-1, 5)


def _unlabelled(query: Query) -> object:
    """What a query and its contrast have in common."""
    return query.target, query.framing, query.repeat, tuple(id for id, _ in query.shots)


def _differ(one: Query, two: Query) -> list[int]:
    """The positions in which two lists of the same shots show another label."""
    return [p for p, (a, b) in enumerate(zip(one.shots, two.shots, strict=True)) if a != b]


def _renumbered(values: Tensor) -> Tensor:
    """Numbers from 0 in the order in which they first come; −1 stays."""
    found: dict[int, int] = {-1: -1}
    return torch.tensor([found.setdefault(v, len(found) - 1) for v in values.tolist()]).long()


def _numbered(target: NDArray[np.int64], shot: NDArray[np.int64]) -> Tensor:
    """The number of each row's pair among the distinct pairs."""
    pairs = np.stack([target, shot], axis=1)
    return torch.from_numpy(np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1))


def rivals_of(target: NDArray[np.int64]) -> Tensor:
    """All pairs of predictions (R, 2) of one target, each pair once."""
    order = np.argsort(target, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(target[order])) + 1)
    return torch.from_numpy(np.concatenate([run[_pairs_among(len(run))] for run in runs]))


@lru_cache(maxsize=256)
def _pairs_among(count: int) -> NDArray[np.int64]:
    """All pairs of so many positions, each once; remembered, for most targets have as many."""
    return np.stack(np.triu_indices(count, 1), axis=1)
