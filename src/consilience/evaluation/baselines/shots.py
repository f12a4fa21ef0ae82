"""Baselines without a loop: zero-shot, zero-shot repeated, shots with random labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from consilience.data.random_streams import generator
from consilience.errors import InputError
from consilience.evaluation.baselines.base import Baseline, BaselineContext, Rounds
from consilience.planning.planner import SoftLabels, zero_shot_round
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query


def zero_shot(bench: BaselineContext, *, every: bool = False) -> Baseline:
    """No shots: the first framing that means something, or `every` one, bias removed."""
    semantic = semantic_framings(bench)
    rounds = [bench.asked(zero_shot_round(bench.data, semantic if every else semantic[:1]))]
    name = "zero-shot, all framings" if every else "zero-shot"
    return bench.finished(name, rounds, rounds)


def zero_shot_in(bench: BaselineContext, family: str) -> Baseline:
    """No shots, in the framings of one family alone, whatever those of the settings are."""
    own = bench.with_settings(framings=(family,), anchor=None, first=1.0)
    rounds = [own.asked(zero_shot_round(own.data, own.framings))]
    return own.finished(f"zero-shot, {family}", rounds, rounds)


def vote(bench: BaselineContext) -> Baseline:
    """No shots, asked again and again: the framings in turn, then each once more, all averaged.

    The whole budget goes into it; self-consistency (Wang et al. 2022, 2203.11171) of an answer
    without reasoning, with the mean of the log-probabilities for the vote. A server that answers
    a prompt always alike repeats itself, and then this is zero-shot in all framings at the price
    of a vote. The N-pass baseline of Choi et al. 2026, whose passes see labels, is `n_pass`.
    """
    semantic = semantic_framings(bench)
    rounds: Rounds = []
    spent = 0
    while spent < bench.budget:
        repeat, f = divmod(len(rounds), len(semantic))
        # The ids are hashes, so those that the last pass has room for are as good as a draw.
        ids = bench.data.ids[: bench.budget - spent]
        rounds.append(bench.asked([Query(id, (), semantic[f].name, repeat) for id in ids]))
        spent += len(ids)
    return bench.finished("n-vote, zero-shot", rounds, rounds)


def random_shots(bench: BaselineContext) -> Baseline:
    """Shots with random labels (Min et al. 2022, 2202.12837), the whole budget on such rounds."""
    return with_shots(bench, "random-label shots", random_labels(bench))


def random_labels(bench: BaselineContext) -> Callable[[int], SoftLabels]:
    """A label drawn for each example, anew in each round."""
    n, k = len(bench.data), bench.data.task.k

    def labels(round: int) -> SoftLabels:
        return np.eye(k)[
            generator(bench.seed, "baselines.random labels", round).integers(k, size=n)
        ]

    return labels


def with_shots(bench: BaselineContext, name: str, labels: Callable[[int], SoftLabels]) -> Baseline:
    """As many rounds as the budget has, shots labelled by `labels(round)`; all rounds count."""
    rounds = shot_rounds(bench, labels)
    return bench.finished(name, rounds, rounds)


def shot_rounds(
    bench: BaselineContext,
    labels: Callable[[int], SoftLabels],
    aside: Callable[[Sequence[Query]], int] = lambda queries: 0,
) -> Rounds:
    """As many rounds as the budget has, if the queries of a round need calls `aside` beside them.

    Of the last round as many queries remain as there is room for.
    """
    rounds: Rounds = []
    spent = 0
    while spent < bench.budget:
        round = len(rounds) + 1
        queries = bench.shots(labels(round), round, spent)
        while queries and spent + len(queries) + aside(queries) > bench.budget:
            queries.pop()
        if not queries:
            break
        rounds.append(bench.asked(queries))
        spent += len(queries) + aside(queries)
    return rounds


def semantic_framings(bench: BaselineContext) -> list[Framing]:
    """The framings that mean something without shots; InputError if there are none."""
    semantic = [framing for framing in bench.framings if framing.semantic]
    if not semantic:
        raise InputError("no framing means anything zero-shot; add plain, negated or letters")
    return semantic
