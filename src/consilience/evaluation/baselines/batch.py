"""Batch calibration: the mean answer under a prompt is subtracted from every answer under it.

Zhou et al. 2024 (2309.17249): an answer is divided by the mean of the probabilities over the batch
that was asked under the same prompt. No further calls; it assumes that the classes of a batch are
equally frequent.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from consilience.evaluation.baselines.base import (
    Baseline,
    BaselineContext,
    QueryAnswers,
    Rounds,
    answered_queries,
)
from consilience.evaluation.baselines.contexts import less, whole_contexts
from consilience.evaluation.baselines.shots import random_labels, semantic_framings, shot_rounds
from consilience.planning.planner import zero_shot_round

FEWEST_IN_BATCH = 8
"""A context with fewer answers is calibrated by all answers of its framing in the round.

From one answer alone its mean takes off all that it says."""


def batch_zero_shot(bench: BaselineContext) -> Baseline:
    """No shots, the first framing that means something, batch calibrated."""
    rounds = [bench.asked(zero_shot_round(bench.data, semantic_framings(bench)[:1]))]
    used = [batch_calibrated(queries) for queries in rounds]
    return bench.finished("zero-shot, batch calibration", rounds, used, bias="none")


def batch_random_shots(bench: BaselineContext) -> Baseline:
    """Shots with random labels, batch calibrated."""
    rounds = shot_rounds(bench, random_labels(bench))
    used: Rounds = [batch_calibrated(queries) for queries in rounds]
    return bench.finished("random-label shots, batch calibration", rounds, used, bias="none")


def batch_calibrated(queries: QueryAnswers) -> QueryAnswers:
    """One round of predictions, each less the log of the mean probabilities in its context."""
    contexts = whole_contexts([q for q, _ in queries])
    batches: dict[object, list[NDArray[np.float64]]] = defaultdict(list)
    for row, context in zip(queries, contexts, strict=True):
        for query, heard in answered_queries([[row]]):
            said = softmax(np.array(heard.logprobs))
            batches[context].append(said)
            batches[query.framing].append(said)
    made: QueryAnswers = []
    for (query, prediction), context in zip(queries, contexts, strict=True):
        batch = (
            batches[context] if len(batches[context]) >= FEWEST_IN_BATCH else batches[query.framing]
        )
        if prediction is None or not batch:
            made.append((query, prediction))
        else:
            made.append((query, less(prediction, np.log(np.mean(batch, axis=0)))))
    return made
