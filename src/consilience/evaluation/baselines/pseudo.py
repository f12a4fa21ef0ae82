"""Iterative pseudo-labelling: the most confident answers become the shots of the next chunk.

Gu et al. 2025 (2503.03062), "IterPSD". A first chunk is annotated without shots; each next one,
half of it the examples nearest to those annotated and half drawn (their ε of 0.5), under shots
that were annotated with most confidence; no annotation is changed later. Then all are asked with
the surest annotations for shots. `bootstrap_confident` differs in that: it labels all anew in
each round, and takes the surest of each class, where the filter here is one for all classes, as
theirs is. Their threshold, 0.9 of a confidence that the model puts into words, is here a share.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from consilience.data.random_streams import generator
from consilience.evaluation.baselines.base import Baseline, BaselineContext, Rounds, hard_labels
from consilience.evaluation.baselines.shots import semantic_framings
from consilience.planning.embeddings import TfidfSvd, Vectors
from consilience.planning.planner import zero_shot_round

CHUNKS = 8
"""The examples are annotated in so many chunks."""

_SURE = 0.5
"""The share of the annotations, the most confident ones, that may be shots."""

NEAR = 0.5
"""The share of a chunk that is nearest to what is annotated."""


def iterative_pseudo(bench: BaselineContext) -> Baseline:
    """One call each to annotate, in chunks, and the rest of the budget under the surest."""
    n, k = len(bench.data), bench.data.task.k
    rng = generator(bench.seed, "baselines.pseudo")
    rounds: Rounds = []
    labels = np.full((n, k), 1 / k)
    vectors = TfidfSvd().embed(bench.data.texts)
    done = np.zeros(n, dtype=bool)
    heard = done.copy()
    for size in [len(part) for part in np.array_split(np.arange(n), min(CHUNKS, n))]:
        chunk = _next_chunk(vectors, done, size, rng)
        # A number of its own, far from those of the rounds that come after.
        number = 1000 + len(rounds)
        queries = bench.shots(hard_labels(labels), number, 0, surest(labels, heard), chunk)
        if not queries:
            inside = {bench.data.ids[i] for i in chunk}
            first = zero_shot_round(bench.data, semantic_framings(bench)[:1])
            queries = [q for q in first if q.target in inside]
        rounds.append(bench.asked(queries))
        done[chunk] = True
        labels = bench.renewed(labels, rounds[-1:])
        heard = bench.heard(rounds)
    annotated, spent = len(rounds), sum(map(len, rounds))
    while spent < bench.budget:
        pool = surest(labels, heard)
        queries = bench.shots(hard_labels(labels), len(rounds), spent, pool=pool)
        if not queries:
            break
        rounds.append(bench.asked(queries))
        spent += len(queries)
    used = rounds[annotated:] or rounds
    found = bench.renewed(labels, used)
    return bench.scored("iterative pseudo-labels", rounds, found, used)


def surest(labels: NDArray[np.float64], heard: NDArray[np.bool_]) -> list[int]:
    """The most confident half of those that were heard, whatever their class."""
    known = np.flatnonzero(heard)
    order = np.argsort(-labels[known].max(axis=1), kind="stable")
    return [int(i) for i in np.sort(known[order][: int(np.ceil(_SURE * len(known)))])]


def _next_chunk(
    vectors: Vectors, done: NDArray[np.bool_], size: int, rng: np.random.Generator
) -> list[int]:
    """So many of those not annotated yet: the nearest to the annotated, and others drawn."""
    left = rng.permutation(np.flatnonzero(~done))
    near = int(NEAR * size) if done.any() else 0
    if near:
        like = (vectors[left] @ vectors[done].T).max(axis=1)
        left = left[np.argsort(-like, kind="stable")]
        left = np.concatenate([left[:near], rng.permutation(left[near:])])
    return [int(i) for i in left[:size]]
