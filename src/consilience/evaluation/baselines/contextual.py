"""Contextual calibration: the answer to an input without content is subtracted.

Zhao et al. 2021 ("Calibrate before use", 2102.09690): the probabilities of the labels after "N/A",
"[MASK]" and an empty input, averaged, are what the prompt prefers by itself, and an answer under
the same prompt is divided by them. Three more calls for each context; with shots they are paid
from the budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from consilience.data.dataset import example_id
from consilience.evaluation.baselines.base import (
    Baseline,
    BaselineContext,
    QueryAnswers,
    Rounds,
    answered_queries,
)
from consilience.evaluation.baselines.contexts import Context, less, whole_contexts
from consilience.evaluation.baselines.shots import random_labels, semantic_framings, shot_rounds
from consilience.models.base import Request
from consilience.planning.planner import zero_shot_round
from consilience.prompts.framing import render
from consilience.prompts.query import Query
from consilience.store.prediction_keys import prediction_key
from consilience.store.runner import ask

CONTENT_FREE = ("N/A", "[MASK]", "")
"""The inputs without content of the paper."""


def contextual_zero_shot(bench: BaselineContext) -> Baseline:
    """No shots, the first framing that means something, contextually calibrated."""
    rounds = [bench.asked(zero_shot_round(bench.data, semantic_framings(bench)[:1]))]
    return _calibrated(bench, "zero-shot, contextual calibration", rounds)


def contextual_random_shots(bench: BaselineContext) -> Baseline:
    """Shots with random labels, contextually calibrated; the calibration is in the budget."""

    def aside(queries: Sequence[Query]) -> int:
        return len(CONTENT_FREE) * len(set(whole_contexts(queries)))

    rounds = shot_rounds(bench, random_labels(bench), aside=aside)
    return _calibrated(bench, "random-label shots, contextual calibration", rounds)


def _calibrated(bench: BaselineContext, name: str, rounds: Rounds) -> Baseline:
    """The baseline of these rounds, what the prompts say of nothing asked and taken off."""
    contexts = [whole_contexts([q for q, _ in queries]) for queries in rounds]
    distinct = list(dict.fromkeys(c for made in contexts for c in made))
    asked = [_without_content(bench, context) for context in distinct]
    offsets = {c: _offset(bench, rows) for c, rows in zip(distinct, asked, strict=True)}
    used: Rounds = [
        [(q, p and less(p, offsets[c])) for (q, p), c in zip(queries, made, strict=True)]
        for queries, made in zip(rounds, contexts, strict=True)
    ]
    # Calibrated they are read as they are; that is what the calibration is for.
    return bench.finished(name, [*rounds, *asked], used, bias="none")


def _without_content(bench: BaselineContext, context: Context) -> QueryAnswers:
    """The inputs without content, asked in this context."""
    name, shots = context
    framing = next(f for f in bench.framings if f.name == name)
    texts = dict(zip(bench.data.ids, bench.data.texts, strict=True))
    shown = [(texts[id], label) for id, label in shots]
    queries = [Query(example_id(text), shots, name) for text in CONTENT_FREE]
    prompts = [render(framing, text, shown, bench.model.style) for text in CONTENT_FREE]
    made = [Request(q, p, framing.label_names) for q, p in zip(queries, prompts, strict=True)]
    rows = [(prediction_key(bench.model, request), request) for request in made]
    ask(rows, bench.model, bench.store, concurrency=bench.concurrency, progress=bench.progress)
    found = bench.store.predictions([key for key, _ in rows])
    return list(zip(queries, found, strict=True))


def _offset(bench: BaselineContext, rows: QueryAnswers) -> NDArray[np.float64]:
    """The log of the mean probabilities (K,) after inputs without content; 0 if none was heard."""
    said = [softmax(np.array(p.logprobs)) for _, p in answered_queries([rows])]
    return np.log(np.mean(said, axis=0)) if said else np.zeros(bench.data.task.k)
