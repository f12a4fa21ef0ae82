"""Bootstraps: each round shows the labels that the model gave in the last one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from consilience.data.arrays import Floats
from consilience.data.relations import active_relations
from consilience.evaluation.baselines.base import Baseline, BaselineContext, Rounds, hard_labels
from consilience.evidence.best_labelling import best_labelling, put_on_top
from consilience.evidence.relation_factors import factors
from consilience.planning.planner import zero_shot_round

CONFIDENT = 0.5
"""The share of each predicted class that `bootstrap_confident` draws its shots from."""


def bootstrap(bench: BaselineContext) -> Baseline:
    """Shots labelled by the model's own last answers, round after round, from zero-shot ones.

    Shrivastava et al. 2026 ("Eliciting base models with simple unsupervised techniques"), shots
    drawn at random and balanced over the predicted classes. The later half of the rounds is
    averaged, which does better than the last one alone.
    """
    return _bootstrapped(bench, "bootstrap")


def bootstrap_confident(bench: BaselineContext) -> Baseline:
    """As `bootstrap`, but only the most confident half of each predicted class may be shots.

    Gu et al. 2025 (2503.03062, "Naive-SemiICL"), whose demonstrations are the self-labelled
    examples that the model is surest of, in rounds as in their "IterPSD". The half is taken of
    each class by itself, for else the filter would prefer the class that the model prefers.
    """
    return _bootstrapped(bench, "bootstrap, confident shots", share=CONFIDENT)


def bootstrap_relations(bench: BaselineContext) -> Baseline:
    """As `bootstrap`, with the labels made consistent after each round, and those found at the end.

    Shrivastava et al. 2026, "bootstrapping + logical consistency": the labels shown next are the
    most probable ones under the answers that the relations allow. Design priors count where
    `settings.priors` lets them. `best_labelling` says what becomes of relations too large to be
    enumerated.
    """
    data = bench.data
    tied = factors(active_relations(data.relations, bench.settings.priors), data.index, data.task.k)
    return _bootstrapped(
        bench,
        "bootstrap, consistent",
        settle=lambda labels: put_on_top(labels, best_labelling(labels, tied)),
    )


def most_confident(labels: Floats, share: float) -> NDArray[np.int64]:
    """The examples with the most confident labels, this share of each predicted class."""
    hard, sure = labels.argmax(axis=1), labels.max(axis=1)
    chosen = []
    for c in np.unique(hard):
        mine = np.flatnonzero(hard == c)
        ranked = mine[np.argsort(-sure[mine], kind="stable")]
        chosen.append(ranked[: math.ceil(share * len(mine))])
    return np.sort(np.concatenate(chosen))


def _bootstrapped(
    bench: BaselineContext,
    name: str,
    *,
    share: float = 1.0,
    settle: Callable[[Floats], Floats] = lambda labels: labels,
) -> Baseline:
    """Zero-shot answers, then rounds under the labels so far, each put through `settle`."""
    n = len(bench.data)
    first = zero_shot_round(bench.data, bench.framings, max(1, bench.budget // n))
    rounds: Rounds = [bench.asked(first)]
    labels = settle(bench.pooled(rounds))
    spent = len(rounds[0])
    while spent < bench.budget:
        hard = hard_labels(labels)
        pool = None if share == 1 else most_confident(labels, share).tolist()
        queries = bench.shots(hard, len(rounds), spent, pool=pool)
        if not queries:
            break
        rounds.append(bench.asked(queries))
        spent += len(queries)
        # An example that the last round said nothing of keeps the label it had.
        labels = settle(bench.renewed(labels, rounds[-1:]))
    later = rounds[1 + (len(rounds) - 1) // 2 :] or rounds
    return bench.scored(name, rounds, settle(bench.renewed(labels, later)), later)
