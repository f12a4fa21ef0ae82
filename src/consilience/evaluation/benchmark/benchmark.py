"""The benchmark: methods compared at the same number of calls per example.

A *case* is a data set, drawn anew for each seed, and the model that labels it. A *job* is one draw
of a case at one budget; all its methods share a store, so that what two of them ask is asked once.
What a method comes to in a job is a *row*: scores with intervals over groups, calls, tokens. Its id
is a hash of everything that decides it, so that a row which a file of results has is not made
again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consilience.data.dataset import Dataset, Gold
from consilience.elicitation.cost import estimate, token_ratio
from consilience.elicitation.settings import PLAN_VERSION, Settings
from consilience.errors import InputError, SolveError
from consilience.evaluation.baselines.base import Baseline, BaselineContext
from consilience.evaluation.baselines.golden import gold_array
from consilience.evaluation.benchmark.methods import (
    BENCHMARK_METHODS,
    CEILING,
    FIXED,
    FREE,
    NEED_MEANING,
    OWN,
    START,
    fixed_calls,
    suits,
)
from consilience.evaluation.benchmark.scores import (
    CALIBRATED,
    OWN_LABELS,
    calibrated_scores,
    readout_scores,
)
from consilience.evaluation.calibration_curve import BinCount, bin_counts
from consilience.evaluation.metrics import Interval, pgr, score
from consilience.models.base import Model
from consilience.models.threads import one_thread
from consilience.planning.planner import zero_shot_round
from consilience.prompts.framing import Prompt
from consilience.prompts.shared_prefixes import flat, fresh
from consilience.prompts.token_estimates import CHARACTERS_PER_TOKEN
from consilience.store.database import Store
from consilience.store.identities import plain, tagged_hash
from consilience.store.runner import requests
from consilience.store.schema import decode

VERSION = 2
"""Raised when the same inputs would come to other rows, so that old ones are not taken for new.

Where only the method `consilience` would, raising PLAN_VERSION is enough."""


@dataclass(frozen=True)
class Case:
    """A data set and the model that labels it, opened by functions that another process can call.

    `data` draws the data set of a seed, `options` say which one it is beside its name; `store` is
    the file that keeps predictions.
    """

    name: str
    data: Callable[[int], tuple[Dataset, Gold]]
    model: Callable[[], Model]
    store: str | Path = ":memory:"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One draw of a case at one budget, and the rows that are wanted of it, method to id.

    `budget` is None for the methods that no budget changes. Where `gap`, both ends of the gap
    that PGR needs were asked for, and their labels are found again if only other rows are wanted.
    """

    case: Case
    setup: str
    data: Dataset
    gold: Gold
    seed: int
    budget: float | None
    settings: Settings
    wanted: Mapping[str, str]
    gap: bool = False
    concurrency: int = 16

    @property
    def order(self) -> tuple[str, ...]:
        """The methods in the order in which they run; both ends of the gap first."""
        ends = (START, CEILING) if self.gap else ()
        return (*ends, *(name for name in self.wanted if name not in ends))

    def calls(self, model: Model) -> dict[str, float]:
        """The most that each method asks, in calls, without what the store holds."""
        n = len(self.data)
        semantic = sum(f.semantic for f in self.settings.framings_for(self.data))
        fixed = fixed_calls(self.data.task, n, semantic)
        return {name: fixed.get(name, self.settings.budget(self.data)) for name in self.order}


@dataclass(frozen=True)
class Row:
    """What a method came to in a job.

    `budget` is None where none bounds the method; `calls_per_example` is what it really asked.
    `fresh` is the characters per prediction that no prefix cache can serve (see `shared_prefixes`),
    `fresh_zero_shot` the same for one zero-shot pass in all framings of the case. `absent` counts
    the predictions that failed. `confidence` is the mean probability of the likeliest class,
    `verdict` what the method says of its labels; `readouts` has the scores in `SCORED` of the
    answers behind the row, read in each of the ways of `baselines.READOUTS`. `bins` are the
    `bin_counts` of the labels, and of those that landmarks have calibrated.
    """

    id: str
    setup: str
    method: str
    seed: int
    budget: float | None
    fingerprint: str
    examples: int
    scored: int
    calls_per_example: float
    prompt_tokens_per_example: float
    fresh: float
    fresh_zero_shot: float
    absent: int
    seconds: float
    scores: Mapping[str, Interval] = field(default_factory=dict)
    confidence: float = math.nan
    verdict: str = ""
    readouts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bins: Mapping[str, Sequence[BinCount]] = field(default_factory=dict)


class Ledger(Store):
    """A store that notes which predictions were wanted, in the order in which they were."""

    def __init__(self, path: str | Path = ":memory:") -> None:
        super().__init__(path)
        self.wanted: dict[str, None] = {}

    def known(self, keys: Any) -> set[str]:  # noqa: ANN401 (an iterable, read once)
        """Those of the keys that have a prediction; all of them are noted."""
        keys = list(keys)
        self.wanted |= dict.fromkeys(keys)
        return super().known(keys)

    def prompts(self) -> list[Prompt]:
        """The prompts of the predictions that were wanted and are there, in that order."""
        rows = (decode(dict(row)) for row in self._chosen("key, prompt", list(self.wanted)))
        found = {row["key"]: row["prompt"] for row in rows}
        return [found[key] for key in self.wanted if key in found]


def setup_of(case: Case, model: Model, settings: Settings) -> dict[str, Any]:
    """What the rows of a case have in common, seed, budget and method apart."""
    decided = asdict(settings)
    # Set by each job.
    for name in ("calls_per_example", "settled", *OWN):
        del decided[name]
    return {
        "data": case.name,
        "options": plain(case.options),
        "model": model.name,
        "style": model.style,
        "model_settings": plain(model.settings),
        "settings": plain(decided),
        "versions": {"consilience": metadata.version("consilience"), "bench": VERSION},
    }


def short_hash(content: object) -> str:
    """The hash of plain JSON data that ids are made of."""
    return tagged_hash(content).removeprefix("sha256:")[:16]


def check_methods(names: Sequence[str]) -> tuple[str, ...]:
    """The methods of these names in the order of the tables, those that ask nothing added."""
    for name in names:
        if name not in BENCHMARK_METHODS:
            raise InputError(f"no method {name!r}; the methods are: {', '.join(BENCHMARK_METHODS)}")
    return tuple(name for name in BENCHMARK_METHODS if name in {*FREE, *names})


def plan_jobs(
    case: Case,
    model: Model,
    methods: Sequence[str],
    budgets: Sequence[float],
    seeds: Iterable[int],
    settings: Settings,
    *,
    concurrency: int = 16,
) -> list[Job]:
    """All jobs of a case, one for each seed and budget, checked before anything is asked.

    The whole of each budget is used, so that all methods have asked the same.
    """
    methods = check_methods(methods)
    gap = START in methods and CEILING in methods
    setup = short_hash(setup_of(case, model, settings))
    own = [PLAN_VERSION, *(getattr(settings, name) for name in OWN)]
    jobs = []
    for seed in seeds:
        data, gold = case.data(seed)
        truth = gold_array(data, gold)
        for budget in (None, *budgets):
            able = [name for name in methods if suits(name, data.task)]
            mine = [name for name in able if (name in FIXED) == (budget is None)]
            calls = settings.calls_per_example if budget is None else budget
            suited = settings.suited(model, data.task)
            chosen = replace(suited, calls_per_example=calls, settled=0.0)
            if budget is not None:
                chosen.budget(data)
            identity = [setup, data.fingerprint, short_hash(truth.tolist()), seed, budget]
            wanted = {
                name: short_hash([*identity, name, *(own if name == "consilience" else ())])
                for name in mine
            }
            made = Job(
                case=case,
                setup=setup,
                data=data,
                gold=gold,
                seed=seed,
                budget=budget,
                settings=chosen,
                wanted=wanted,
                gap=gap and budget is not None,
                concurrency=concurrency,
            )
            _refuse_blind(made)
            jobs.append(made)
    return jobs


def _refuse_blind(job: Job) -> None:
    """InputError where methods ask without shots and no framing means anything then."""
    blind = not any(framing.semantic for framing in job.settings.framings_for(job.data))
    if blind and (unfit := [name for name in job.order if name in NEED_MEANING]):
        raise InputError(
            f"{', '.join(unfit)}: no framing means anything without shots; add plain, "
            "negated or letters, or leave these methods out"
        )


def pending(jobs: Sequence[Job], done: Collection[str]) -> list[Job]:
    """The jobs without the rows that are there, in an order in which all cases soon have some."""
    left = [
        replace(job, wanted={name: id for name, id in job.wanted.items() if id not in done})
        for job in jobs
    ]
    return sorted((job for job in left if job.wanted), key=lambda job: job.seed)


def measure(job: Job, model: Model) -> Iterator[Row]:
    """The rows of a job, each as soon as it is there; the same in any process."""
    truth, groups = gold_array(job.data, job.gold), job.data.groups
    ends: dict[str, Any] = {}
    with one_thread(), Ledger(job.case.store) as store:
        bench = BaselineContext(
            job.data,
            model,
            store=store,
            settings=job.settings,
            seed=job.seed,
            concurrency=job.concurrency,
        )
        once = fresh(zero_shot_prompts(bench))
        for name in job.order:
            store.wanted.clear()
            began = time.perf_counter()
            found = BENCHMARK_METHODS[name](bench, job.gold)
            seconds = time.perf_counter() - began
            if job.gap and name in (START, CEILING):
                ends[name] = found.labels
            if name not in job.wanted:
                continue
            scores = score(found.labels, truth, groups)
            if job.gap and len(ends) == 2:
                scores["pgr"] = pgr(found.labels, ends[START], ends[CEILING], truth, groups)
            prompts = store.prompts()
            if store.wanted and not prompts:
                raise SolveError(
                    f"{name} on {job.case.name}, seed {job.seed}: none of its {len(store.wanted)} "
                    "questions was answered, so it has no labels to score; see the log"
                )
            spent = {
                "fresh": fresh(prompts),
                "fresh_zero_shot": once,
                "absent": len(store.wanted) - len(prompts),
                "seconds": round(seconds, 2),
            }
            yield _row(job, name, found, truth, scores, spent)


def _row(
    job: Job,
    name: str,
    found: Baseline,
    truth: NDArray[np.int64],
    scores: Mapping[str, Interval],
    spent: Mapping[str, Any],
) -> Row:
    """The row of a method; `spent` is what asking took."""
    mended, mended_bins = calibrated_scores(found.labels, truth, job.data, job.seed)
    return Row(
        id=job.wanted[name],
        setup=job.setup,
        method=name,
        seed=job.seed,
        budget=job.budget,
        fingerprint=job.data.fingerprint,
        examples=len(job.data),
        scored=int((truth >= 0).sum()),
        calls_per_example=found.calls_per_example,
        prompt_tokens_per_example=found.prompt_tokens_per_example,
        scores=scores,
        confidence=float(found.labels.max(axis=1).mean()),
        verdict=found.verdict,
        readouts={
            **{name: readout_scores(q, truth) for name, q in found.readouts.items()},
            **({CALIBRATED: mended} if mended else {}),
        },
        bins={
            OWN_LABELS: bin_counts(found.labels, truth),
            **({CALIBRATED: mended_bins} if mended else {}),
        },
        **spent,
    )


def zero_shot_prompts(bench: BaselineContext) -> list[Prompt]:
    """The prompts of one zero-shot pass in all framings that mean something."""
    queries = zero_shot_round(bench.data, bench.framings)
    return [r.prompt for _, r in requests(queries, bench.data, bench.framings, bench.model)]


@dataclass(frozen=True)
class Spend:
    """What a job will take at most, without what its store holds and what its methods share."""

    rows: int
    calls: int
    prompt_tokens: int
    basis: str


def spend(job: Job, model: Model) -> Spend:
    """Calls and tokens of a job, nothing sent.

    Prompts without shots are counted as they are, all others as this package's own are planned.
    """
    there = Path(job.case.store).exists()
    with Store(job.case.store, readonly=True) if there else Store() as store:
        bench = BaselineContext(job.data, model, store=store, settings=job.settings, seed=job.seed)
        ratio = store.characters_per_token(model.name) or CHARACTERS_PER_TOKEN
        sent, basis = token_ratio(store, model.name, getattr(model, "requests_for", None))
        plainly = zero_shot_prompts(bench)
    with Store() as empty:
        cost = estimate(job.data, model, job.settings, empty, seed=job.seed)
    alone = float(np.mean([len(flat(p)) for p in plainly])) / ratio if plainly else 0.0
    shown = cost.prompt_tokens * CHARACTERS_PER_TOKEN / sent / max(1, cost.calls)
    calls = job.calls(model)
    tokens = sum(
        asked * (alone if name in ("zero-shot", START, "vote") else shown)
        for name, asked in calls.items()
    )
    return Spend(len(job.wanted), int(sum(calls.values())), math.ceil(tokens), basis)
