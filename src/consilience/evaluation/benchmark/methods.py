"""What a benchmark compares: every method by name, and what is known of each before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from consilience.data.dataset import Gold
from consilience.data.task import Task
from consilience.elicitation.session import elicit
from consilience.errors import InputError
from consilience.evaluation import baselines
from consilience.evaluation.baselines.base import (
    Baseline,
    BaselineContext,
    QueryAnswers,
    prompt_tokens,
)
from consilience.evaluation.baselines.contextual import CONTENT_FREE
from consilience.evaluation.baselines.golden import golden_shots, majority
from consilience.evaluation.baselines.structural import structure_only
from consilience.prompts.framing import framings
from consilience.results.result import Found

Method = Callable[[BaselineContext, Gold], Baseline]


def consilience(bench: BaselineContext) -> Baseline:
    """The method that this package is about, with the budget of the bench."""
    found = elicit(
        bench.data,
        bench.model,
        settings=bench.settings,
        store=bench.store,
        seed=bench.seed,
        concurrency=bench.concurrency,
        progress=bench.progress,
    )
    keys = [key for rows in bench.store.rounds(found.run.id) for key, _ in rows]
    kept = bench.store.predictions(list(dict.fromkeys(keys)))
    n = len(bench.data)
    return Baseline(
        "consilience",
        found.soft_labels,
        found.run.planned / n,
        prompt_tokens(kept) / n,
        bench.readouts([_with_shots(bench, found)]),
        found.verdict.kind.value,
    )


def _with_shots(bench: BaselineContext, found: Found) -> QueryAnswers:
    """All that a run asked with shots, whatever for, and what was answered."""
    rows = [row for rows in bench.store.rounds(found.run.id) for row in rows if row[1].shots]
    said = bench.store.predictions([key for key, _ in rows])
    return [(query, prediction) for (_, query), prediction in zip(rows, said, strict=True)]


def _blind(
    method: Callable[[BaselineContext], Baseline], bench: BaselineContext, gold: Gold
) -> Baseline:
    return method(bench)


BENCHMARK_METHODS: Mapping[str, Method] = {
    "majority": lambda bench, gold: majority(bench.data, gold),
    "structure": lambda bench, gold: structure_only(bench.data),
    **{name: partial(_blind, method) for name, method in baselines.BASELINES.items()},
    "consilience": partial(_blind, consilience),
    "golden": golden_shots,
}
"""Everything that is compared, by the name that tables and the command line use."""

FREE = ("majority", "structure")
"""The methods that ask nothing; they stand beside all others."""

FULL = tuple(name for name in BENCHMARK_METHODS if name.endswith("-full"))
"""The methods that spend what their authors spend; compared only where they are named."""

FIXED = (*FREE, *(name for name in BENCHMARK_METHODS if name.startswith("zero-shot")), *FULL)
"""The methods that no budget changes: one row for each draw."""

FAMILIES = ("plain", "names", "negated", "letters")
"""The families of framings that are each asked alone, as ``zero-shot-FAMILY``."""

START, CEILING = "zero-shot-all", "golden"
"""Between them lies the gap that PGR is a share of."""

NEED_MEANING = (
    *("zero-shot", "zero-shot-all", "zero-shot-contextual", "zero-shot-batch", "vote", "n-pass"),
    *("ranked", "ranked-long", "iterative-pseudo", "icm-zero-shot", "unsupervised-full"),
)
"""The methods that ask without shots, for which label names must mean something."""

OWN = ("census", "first")
"""The settings that only this package's own method reads; the rows of others hold without them."""

USUAL = tuple(name for name in BENCHMARK_METHODS if name not in FULL)
"""What is compared if nobody says what."""

PUBLISHED = {"gibbs-full": 35.0, "icm-full": 271.0, "unsupervised-full": 41.0}
"""Calls per label of those that no budget bounds, at most, as published; for an estimate only."""


def suits(name: str, task: Task) -> bool:
    """Whether a method can be put to a task: a statement that is not there cannot be asked."""
    try:
        alone(name, task)
    except InputError:
        return False
    return True


def alone(name: str, task: Task) -> int:
    """In how many framings a method asks that has a family of its own; 0 where it has none."""
    family = name.removeprefix("zero-shot-")
    return len(framings(task, (family,))) if name != family and family in FAMILIES else 0


def fixed_calls(task: Task, n: int, semantic: int) -> dict[str, float]:
    """The calls for N examples of each method that no budget changes, `semantic` framings given."""
    zero = [name for name in FIXED if name.startswith("zero-shot") and suits(name, task)]
    each = {name: float(alone(name, task) or 1) for name in zero}
    each |= {**dict.fromkeys(FREE, 0.0), START: float(semantic), **PUBLISHED}
    each["zero-shot-contextual"] += len(CONTENT_FREE) / n
    return {name: calls * n for name, calls in each.items()}
