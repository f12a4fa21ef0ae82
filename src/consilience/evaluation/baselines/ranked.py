"""The ranked bootstrap: shots of each class come from the examples that rank highest for it.

What a prompt adds to all its answers is taken off before they are ranked, and every class has its
share of the ranking whatever the likelier class of anybody is. So answers that are all of one
class, but rank the examples, are as good a start as any.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from consilience.data.arrays import Floats
from consilience.data.random_streams import generator
from consilience.evaluation.baselines.base import OFFSETS, Baseline, BaselineContext, Rounds
from consilience.evaluation.baselines.shots import semantic_framings
from consilience.planning.planner import zero_shot_round

ROUNDS = 4
"""Rounds with shots, unless the whole budget goes into them."""

_LAST = 2
"""So many rounds at the end are averaged, unless the later half of all is."""

SHARE = 0.5
"""The share of the examples that may be shown, evenly over the classes."""


def ranked_bootstrap(
    bench: BaselineContext, *, long: bool = False, start: str = "zero-shot"
) -> Baseline:
    """Rounds with shots from the extremes of the last round's ranking; the last two averaged.

    `start` is the ranking of the zero-shot answers in the first framing that means something, or
    a ``random`` one. `long` spends the whole budget and averages the later half of the rounds.
    """
    rounds: Rounds = []
    heard = np.ones(len(bench.data), dtype=bool)
    if start == "random":
        rng = generator(bench.seed, "baselines.ranked")
        labels = rng.dirichlet(np.ones(bench.data.task.k), size=len(bench.data))
    else:
        first = zero_shot_round(bench.data, semantic_framings(bench)[:1])
        rounds = [bench.asked(first)]
        labels, heard = bench.pooled(rounds, OFFSETS), bench.heard(rounds)
    zero, spent = len(rounds), sum(map(len, rounds))
    while spent < bench.budget and (long or len(rounds) - zero < ROUNDS):
        hard, pool = extremes(labels, heard)
        queries = bench.shots(hard, len(rounds) - zero + 1, spent, pool=pool)
        if not queries:
            break
        rounds.append(bench.asked(queries))
        spent += len(queries)
        labels = bench.renewed(labels, rounds[-1:], OFFSETS)
        heard = bench.heard(rounds)
    shown = rounds[zero:]
    used = (shown[len(shown) // 2 :] if long else shown[-_LAST:]) or rounds
    name = "ranked bootstrap" + ", long" * long + ", random start" * (start == "random")
    found = bench.renewed(labels, used, OFFSETS)
    # A start that was drawn is no answer.
    found[~bench.heard(rounds)] = 1 / bench.data.task.k
    return bench.scored(name, rounds, found, used)


def extremes(labels: Floats, heard: NDArray[np.bool_]) -> tuple[Floats, list[int]]:
    """The class (N, K), one-hot, that each example ranks highest for, and who may be shown.

    The highest-ranked for each class, `SHARE` of the examples in all. Who was not `heard` is never
    among them.
    """
    n, k = labels.shape
    score = np.where(heard[:, None], labels, -1.0)
    rank = np.argsort(np.argsort(-score, axis=0, kind="stable"), axis=0)
    own = rank.argmin(axis=1)
    highest = rank[np.arange(n), own] < max(1, int(SHARE * heard.sum() / k))
    return np.eye(k)[own], np.flatnonzero(highest & heard).tolist()
