"""Labels sampled from a live model's conditionals: Gibbs sampling, and passes without a return.

Both are of Choi et al. 2026 ("Structured Inference with Large Language Gibbs", 2606.19264). What
the model says of an example given labels of others is taken for a conditional probability, and a
label is drawn from it. Two things differ from their code, so that the methods are compared and
not the prompts. Shots are drawn as everywhere in this package, up to `settings.plan.shots` of
them, evenly over the classes as labelled at present, and never from among the examples that a
relation ties to the target, which there are all shown. And labels are drawn for a block of
`settings.plan.block` examples at a time, which see each other's labels only in the next sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from consilience.data.arrays import Floats, Integers
from consilience.data.random_streams import generator
from consilience.errors import InputError
from consilience.evaluation.baselines.base import Baseline, BaselineContext
from consilience.evaluation.baselines.exchange import Exchange
from consilience.evaluation.baselines.shots import semantic_framings
from consilience.planning.planner import shot_round
from consilience.prompts.query import Query


def gibbs(
    bench: BaselineContext, *, burn_in: int = 10, samples: int = 25, within_budget: bool = False
) -> Baseline:
    """The share of `samples` sweeps in which an example had each label, after `burn_in` sweeps.

    A sweep draws every example's label anew, in random order, from a balanced random start: one
    call per example, 35 in all as published. `within_budget` makes of both numbers as much, in
    proportion, as the budget has room for.
    """
    if burn_in < 0 or samples < 1:
        raise InputError(f"burn_in is at least 0 and samples at least 1: {burn_in}, {samples}")
    n, k = len(bench.data), bench.data.task.k
    name = "Gibbs sampling" if within_budget else "Gibbs sampling, full"
    if within_budget:
        sweeps = bench.budget // n
        burn_in = min(round(sweeps * burn_in / (burn_in + samples)), sweeps - 1)
        samples = sweeps - burn_in
    rng = generator(bench.seed, "baselines.gibbs.start")
    labels = rng.permutation(np.arange(n) % k)
    drawn = np.zeros(n, dtype=bool)
    counts = np.zeros((n, k))
    planned = warm = 0
    with Exchange(bench, (burn_in + samples) * n) as exchange:
        for sweep in range(burn_in + samples):
            warm = exchange.spent if sweep == burn_in else warm
            for block in _blocks(bench, rng):
                planned += 1
                queries = _with_shots(bench, labels, planned, block)
                said = exchange.conditionals(queries)
                drawn[_draw(labels, bench, queries, said, rng)] = True
            if sweep >= burn_in:
                # The start of who was never answered is no draw.
                counts[drawn, labels[drawn]] += 1
        used = [list(exchange.heard.items())[warm:]]
        return bench.scored(name, exchange.rounds, _shares(counts), used)


def n_pass(bench: BaselineContext) -> Baseline:
    """The share of passes in which an example was given each label; the baseline of Choi et al.

    A pass goes through all examples once, in random order, and draws each label given those that
    it has drawn so far, at first given none. As many passes as the budget has room for.
    """
    n, k = len(bench.data), bench.data.task.k
    semantic = semantic_framings(bench)
    rng = generator(bench.seed, "baselines.gibbs")
    counts = np.zeros((n, k))
    planned = 0
    with Exchange(bench, bench.budget // n * n) as exchange:
        for turn in range(bench.budget // n):
            labels = np.full(n, -1, dtype=np.int64)
            for block in _blocks(bench, rng):
                planned += 1
                known = np.flatnonzero(labels >= 0).tolist()
                if known:
                    queries = _with_shots(bench, labels, planned, block, known)
                else:
                    at = [(turn + i) % len(semantic) for i in block]
                    names = [semantic[f].name for f in at]
                    # An answer that was given in another pass is drawn from again, not paid again.
                    ids = [bench.data.ids[i] for i in block]
                    queries = [Query(i, (), name) for i, name in zip(ids, names, strict=True)]
                said = exchange.conditionals(queries, zero=not known)
                _draw(labels, bench, queries, said, rng)
            drawn = np.flatnonzero(labels >= 0)
            counts[drawn, labels[drawn]] += 1
        return bench.scored("n-pass", exchange.rounds, _shares(counts), exchange.rounds)


def _shares(counts: Floats) -> Floats:
    """How often each label was drawn (N, K) as shares; 1/K where none was."""
    total = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, counts / np.maximum(total, 1), 1 / counts.shape[1]))


def _blocks(bench: BaselineContext, rng: np.random.Generator) -> list[Integers]:
    """All examples in random order, cut into blocks."""
    n = len(bench.data)
    return np.array_split(rng.permutation(n), -(-n // bench.settings.plan.block))


def _with_shots(
    bench: BaselineContext,
    labels: Integers,
    round: int,
    block: Integers,
    pool: Sequence[int] | None = None,
) -> list[Query]:
    """A query for each example of a block, with shots as labelled at present."""
    return shot_round(
        bench.data,
        bench.framings,
        # Outside the pool an example may have no label; it is not shown then.
        np.eye(bench.data.task.k)[np.maximum(labels, 0)],
        round=round,
        seed=bench.seed,
        settings=replace(bench.settings.plan, contrasts=0.0),
        targets=block.tolist(),
        pool=pool,
    )


def _draw(
    labels: Integers,
    bench: BaselineContext,
    queries: Sequence[Query],
    said: Floats,
    rng: np.random.Generator,
) -> Integers:
    """Draws labels of targets from what was said of them, and says which; the others stay."""
    noise = rng.gumbel(size=said.shape)
    at = np.array([bench.data.index[query.target] for query in queries], dtype=np.int64)
    told = ~np.isnan(said).any(axis=1)
    labels[at[told]] = (said + noise)[told].argmax(axis=1)
    return at[told]
