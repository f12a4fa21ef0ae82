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

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from consilience.data.dataset import Dataset
from consilience.data.relations import active_relations
from consilience.errors import InputError
from consilience.evidence.agreement import prediction_weights, shared_error
from consilience.evidence.arrays import ContrastArrays, PredictionArrays
from consilience.evidence.evidence import FLOOR, Evidence, Tally
from consilience.evidence.label_bias import BIAS_METHODS, Bias, unbiased
from consilience.evidence.mixture import LEANING, PAIRED
from consilience.evidence.relation_factors import factors
from consilience.evidence.run_answers import RunAnswers
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.store.rows import Prediction


def collect(
    dataset: Dataset,
    framings: Sequence[Framing],
    rounds: Sequence[Sequence[tuple[Query, Prediction | None]]],
    *,
    priors: bool = False,
    floor: float = FLOOR,
    bias: str = "contexts",
    shares: tuple[float, ...] | None = None,
) -> Evidence:
    """The evidence in the rounds of a run; a prediction that is absent is None.

    `priors` lets design priors count beside the logical facts, `floor` is how probable the best
    label of a twin and its contrast together must be for the two to count, `bias` how the liking
    for label names is taken out. `shares` are those of the classes, where they are known. A shot
    whose label is negative was shown with a label that nobody recorded.
    """
    answers = RunAnswers(dataset, framings)
    for answered in rounds:
        answers.add(answered)
    return evidence_of(answers, priors=priors, floor=floor, bias=bias, shares=shares)


def evidence_of(
    answers: RunAnswers,
    *,
    priors: bool = False,
    floor: float = FLOOR,
    bias: str = "contexts",
    shares: tuple[float, ...] | None = None,
) -> Evidence:
    """The evidence in the answers of a run so far; see `collect`. SolveError where none counts."""
    if bias not in BIAS_METHODS:
        raise InputError(f"no way {bias!r} to take out bias; there are: {', '.join(BIAS_METHODS)}")
    dataset, columns = answers.dataset, answers.columns
    asked, taken, shared = _predictions(answers, bias)
    contrasts, brief = _contrasts(answers.queries, columns.contrast, dataset, asked, floor)
    k = dataset.task.k
    return Evidence(
        ids=dataset.ids,
        k=k,
        framings=tuple(f.name for f in answers.framings),
        predictions=replace(asked, brief=torch.from_numpy(brief)),
        shots=answers.shots,
        contrasts=contrasts,
        factors=factors(active_relations(dataset.relations, priors), dataset.index, k),
        tally=Tally(
            bias=taken,
            absent=answers.absent,
            silent=answers.silent,
            unsure=int(columns.contrast.sum()) - len(contrasts),
            mean_mass=float(np.mean(columns.mass)),
        ),
        floor=floor,
        shared=shared,
        leaning=PAIRED if bias == "paired" else LEANING,
        shares=shares,
    )


def _predictions(answers: RunAnswers, bias: str) -> tuple[PredictionArrays, Bias, float]:
    """The predictions, freed of bias and weighed, as if none were contrasts; and what was taken.

    Last how the errors of two answers in one wording about one example are correlated.
    """
    columns, contexts, framings = answers.columns, answers.contexts.all, answers.framings
    target, framing, zero, bounded = columns.target, columns.framing, columns.zero, columns.bounded
    raw = log_softmax(columns.logprobs, axis=1)
    logp, taken = unbiased(raw, framing, target, zero, bounded, framings, bias, contexts)
    z = np.asarray(logp - logp.mean(axis=1, keepdims=True))
    shared = shared_error(z, target, framing)
    weight = prediction_weights(z, target, contexts, framing, shared)
    k = answers.dataset.task.k
    made = PredictionArrays(
        keys=tuple(answers.keys),
        target=torch.from_numpy(target),
        logp=torch.from_numpy(logp),
        weight=torch.from_numpy(weight),
        information=torch.from_numpy(np.log(k) + (np.exp(logp) * logp).sum(axis=1)),
        shown=torch.from_numpy(columns.shown),
        zero=torch.from_numpy(zero),
        brief=torch.zeros(len(target), dtype=torch.bool),
        bounded=torch.from_numpy(bounded),
        framing=torch.from_numpy(framing),
        round=torch.from_numpy(columns.round),
        context=torch.from_numpy(contexts.context),
        kind=torch.from_numpy(contexts.group),
    )
    return made, taken, shared


def _contrasts(
    queries: Sequence[Query],
    flipped: NDArray[np.bool_],
    dataset: Dataset,
    asked: PredictionArrays,
    floor: float,
) -> tuple[ContrastArrays, NDArray[np.bool_]]:
    """The contrasts that are surer than the floor, and which predictions (T) are part of any.

    `flipped` (T,) says which queries are contrasts.
    """
    logp, target = asked.logp.numpy(), asked.target.numpy()
    flips = _flips(queries if flipped.any() else [], dataset)
    brief = flipped.copy()
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
