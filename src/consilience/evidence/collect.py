"""Predictions become evidence: bias is taken out, bounds are marked, contrasts find their twins.

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

from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from consilience.data.arrays import Floats
from consilience.data.dataset import Dataset
from consilience.data.relations import active_relations
from consilience.errors import InputError, SolveError
from consilience.evidence.agreement import prediction_weights, shared_error
from consilience.evidence.arrays import ContrastArrays, PredictionArrays, ShotArrays
from consilience.evidence.context_offsets import contexts_of
from consilience.evidence.evidence import FLOOR, Evidence, Tally
from consilience.evidence.label_bias import BIAS_METHODS, Bias, unbiased
from consilience.evidence.mixture import LEANING, PAIRED
from consilience.evidence.relation_factors import factors
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.store.rows import Prediction

_Heard = Sequence[tuple[int, Query, Prediction]]
"""The round, the query and the prediction of each answer that counts."""


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
    heard, absent, silent = _heard(rounds)
    shots, shown = _shots(heard, dataset, drawn)
    asked, taken = _predictions(heard, dataset, framings, bias, drawn)
    contrasts, brief = _contrasts([q for _, q, _ in heard], dataset, asked, floor)
    logp, k = asked.logp.numpy(), dataset.task.k
    return Evidence(
        ids=dataset.ids,
        k=k,
        framings=tuple(f.name for f in framings),
        predictions=replace(
            asked,
            shown=shown,
            brief=torch.from_numpy(brief),
        ),
        shots=shots,
        contrasts=contrasts,
        factors=factors(active_relations(dataset.relations, priors), dataset.index, k),
        tally=Tally(
            bias=taken,
            absent=absent,
            silent=silent,
            unsure=sum(q.contrast is not None for _, q, _ in heard) - len(contrasts),
            mean_mass=float(np.mean([p.mass for _, _, p in heard])),
        ),
        floor=floor,
        shared=shared_error(_centred(logp), asked.target.numpy(), asked.framing.numpy()),
        leaning=PAIRED if bias == "paired" else LEANING,
        shares=shares,
    )


def _heard(
    rounds: Sequence[Sequence[tuple[Query, Prediction | None]]],
) -> tuple[_Heard, int, int]:
    """The predictions that say something, and how many are absent, and bounded throughout.

    One counts once, however often the plan came upon it. SolveError where there is none.
    """
    heard: list[tuple[int, Query, Prediction]] = []
    seen: set[str] = set()
    absent = 0
    for r, queries in enumerate(rounds):
        for q, p in queries:
            if p is None:
                absent += 1
            elif p.key not in seen:
                seen.add(p.key)
                if any(p.exact):
                    heard.append((r, q, p))
    if not heard:
        planned = sum(map(len, rounds))
        raise SolveError(
            f"no prediction to learn from: {planned} planned, {absent} absent, "
            f"{len(seen)} with every label only bounded; the store has the reason of each failure"
        )
    return heard, absent, len(seen) - len(heard)


def _shots(heard: _Heard, dataset: Dataset, drawn: Container[int]) -> tuple[ShotArrays, Tensor]:
    """The lists of shots whose labels are on record, and which (T) each prediction showed."""
    lists: dict[tuple[tuple[str, int], ...], int] = {}
    on_record: dict[tuple[tuple[str, int], ...], int] = {(): -1}
    shown = []
    for r, q, _ in heard:
        if r in drawn:
            shown.append(-1)
            continue
        if q.shots not in lists:
            known = tuple(shot for shot in q.shots if shot[1] >= 0)
            lists[q.shots] = on_record.setdefault(known, len(on_record) - 1)
        shown.append(lists[q.shots])
    rows = [(at, dataset.index[id], c) for shots, at in on_record.items() for id, c in shots]
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    columns = (torch.from_numpy(column.copy()) for column in table.T)
    return ShotArrays(*columns), torch.tensor(shown)


def _predictions(
    heard: _Heard,
    dataset: Dataset,
    framings: Sequence[Framing],
    bias: str,
    drawn: Container[int],
) -> tuple[PredictionArrays, Bias]:
    """The predictions, freed of bias and weighed, and what was taken; as if none had shots."""
    position = {framing.name: f for f, framing in enumerate(framings)}
    raw = log_softmax(np.array([p.logprobs for _, _, p in heard], dtype=np.float64), axis=1)
    framing = np.array([position[q.framing] for _, q, _ in heard], dtype=np.int64)
    target = np.array([dataset.index[q.target] for _, q, _ in heard], dtype=np.int64)
    zero = np.array([not q.shots for _, q, _ in heard], dtype=bool)
    bounded = np.array([not all(p.exact) for _, _, p in heard], dtype=bool)
    random = [r in drawn and bool(q.shots) for r, q, _ in heard]
    contexts = contexts_of([q for _, q, _ in heard], random)
    logp, taken = unbiased(raw, framing, target, zero, bounded, framings, bias, contexts)
    weight = prediction_weights(_centred(logp), target, contexts, framing)
    none = torch.zeros(len(heard), dtype=torch.bool)
    made = PredictionArrays(
        keys=tuple(p.key for _, _, p in heard),
        target=torch.from_numpy(target),
        logp=torch.from_numpy(logp),
        weight=torch.from_numpy(weight),
        information=torch.from_numpy(np.log(dataset.task.k) + (np.exp(logp) * logp).sum(axis=1)),
        shown=none.long() - 1,
        zero=torch.from_numpy(zero),
        drawn=torch.tensor(random),
        brief=none,
        bounded=torch.from_numpy(bounded),
        framing=torch.from_numpy(framing),
        round=torch.tensor([r for r, _, _ in heard]),
        context=torch.from_numpy(contexts.context),
        kind=torch.from_numpy(contexts.group),
    )
    return made, taken


def _centred(logp: Floats) -> Floats:
    return np.asarray(logp - logp.mean(axis=1, keepdims=True))


def _contrasts(
    queries: Sequence[Query], dataset: Dataset, asked: PredictionArrays, floor: float
) -> tuple[ContrastArrays, NDArray[np.bool_]]:
    """The contrasts that are surer than the floor, and which predictions (T) are part of any."""
    logp, target = asked.logp.numpy(), asked.target.numpy()
    flips = _flips(queries, dataset)
    brief = np.array([q.contrast is not None for q in queries], dtype=bool)
    brief[flips[:, 0]] = True
    # Of both together: a guard on the twin alone would favour the labels that it happened to show.
    base = log_softmax((logp[flips[:, 0]] + logp[flips[:, 1]]) / 2, axis=1)
    flips = flips[np.exp(base.max(axis=1, initial=-np.inf)) > floor]
    pairs = np.stack([target[flips[:, 0]], flips[:, 2]], axis=1)
    pair = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    columns = (torch.from_numpy(column.copy()) for column in (*flips.T, pair))
    return ContrastArrays(*columns), brief


def _flips(queries: Sequence[Query], dataset: Dataset) -> NDArray[np.int64]:
    """Contrasts and their twins (F, 5): twin, contrast, example flipped, label from, label to.

    The twin is the nearest query before it, else after it, that shows the shot otherwise. Where
    nobody recorded the label that a shot had in one of the two, nobody knows what was flipped.
    """
    twice = {(q.target, q.framing) for q in queries if q.contrast is not None}
    alike: dict[object, list[int]] = {}
    for t, q in enumerate(queries):
        if (q.target, q.framing) in twice:
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
