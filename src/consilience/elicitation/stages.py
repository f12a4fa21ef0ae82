"""The stages of a run, in their order, and what each asks.

1. Zero-shot: every example, without shots.
2. Discovery: short bootstraps on a sample, each towards another concept (see `discovery`).
3. Decision: a runoff and duels between the concepts found (see `ranking`).
4. Bootstrap: shots with the labels found so far, until calls or changes are at an end.

A stage is a function from what the run knows to the queries of its next round.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from consilience.concepts.ranking import deciding_round, others
from consilience.data.random_streams import generator
from consilience.elicitation.state import RunState
from consilience.planning.planner import SoftLabels, shot_round
from consilience.prompts.query import Query

Stage = Callable[[RunState], list[Query]]
"""The queries of the next round, given what a run knows."""


def stage_of(state: RunState) -> Stage:
    """The stage that the next round of a run belongs to."""
    if state.round < state.census.begin:
        return zero_shot_stage
    if state.round < state.census.end:
        return discovery_stage
    if state.ranking is not None and state.round < state.ranking.end:
        return decision_stage
    return bootstrap_stage


def zero_shot_stage(state: RunState) -> list[Query]:
    """Every example without shots, in as many framings as its share of the budget has room for."""
    return state.settings.zero_shot(state.dataset)


def discovery_stage(state: RunState) -> list[Query]:
    """A round of the bootstrap towards one of the concepts of the census."""
    return state.census.queries(
        state.dataset,
        state.framings,
        state.evidence if state.answered else None,
        round=state.round,
        seed=state.seed,
        plan=state.settings.plan,
    )


def decision_stage(state: RunState) -> list[Query]:
    """A round of a runoff or of a duel between concepts."""
    assert state.ranking is not None, "no concepts were found"
    return deciding_round(
        state.ranking,
        state.census,
        state.dataset,
        state.framings,
        state.evidence,
        round=state.round,
        seed=state.seed,
        plan=state.settings.plan,
    )


def bootstrap_stage(state: RunState) -> list[Query]:
    """Every example once, under shots with the labels so far; the least sure first where it ends.

    Before anything was solved the labels are drawn.
    """
    labels = _drawn(state) if state.labels is None else state.labels
    if state.ranking is not None and state.round == state.ranking.end:
        chosen = state.ranking.concepts[0].number
        if chosen not in state.ranking.runoff:
            # Outside the sample nobody has a label of the concept yet.
            against = others(state.ranking, chosen)
            return _shots(state, labels, pool=state.census.sample, against=against)
    return _shots(state, labels)


def _drawn(state: RunState) -> SoftLabels:
    """A class for each example, all as often; none (1/K) where asking has got no answer."""
    n, k = len(state.dataset), state.dataset.task.k
    made = np.eye(k)[generator(state.seed, "drawn labels").permutation(n) % k]
    return np.where((state.unheard & state.answered)[:, None], 1 / k, made)


def _shots(
    state: RunState,
    labels: SoftLabels,
    *,
    pool: tuple[int, ...] | None = None,
    against: tuple[NDArray[np.int64], ...] = (),
) -> list[Query]:
    """A round with shots, at most what is left of the budget; see `shot_round`."""
    plan = state.settings.plan
    left = state.settings.budget(state.dataset) - state.planned
    room = int(left / (1 + 2 * plan.contrasts))
    targets = None
    if room < len(state.dataset):
        targets = np.argsort(labels.max(axis=1), kind="stable")[:room].tolist()
    return shot_round(
        state.dataset,
        state.framings,
        labels,
        round=state.round,
        seed=state.seed,
        settings=plan,
        targets=targets,
        pool=pool,
        against=against,
    )
