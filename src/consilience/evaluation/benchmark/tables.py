"""The tables of a benchmark, made from its rows alone: means over seeds, and how sure they are.

A mean over seeds has the 95 % interval of Student's t; of a single seed the interval over groups
is shown instead. PGR is the ratio of two means over seeds, (method − zero-shot, all framings) /
(golden shots − zero-shot, all framings); its interval is that of a ratio, and where the gap is not
above zero with 95 % confidence there is none to recover, and no PGR.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

from consilience.errors import InputError
from consilience.evaluation.benchmark.benchmark import Row
from consilience.evaluation.benchmark.methods import BENCHMARK_METHODS, CEILING, START
from consilience.evaluation.benchmark.result_file import Results

MEASURES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "pgr": "PGR",
    "auroc": "AUROC",
    "ece": "ECE",
    "brier": "Brier",
    "aurc": "AURC",
    "covered_accuracy": "accuracy at 80 %",
    "departure": "mean |p − 1/K|",
    "calls_per_example": "calls",
    "prompt_tokens_per_example": "prompt tokens",
    "fresh_ratio": "uncached, × zero-shot",
}
"""What tables show of a method, by the name in `Summary.values`, and the head of its column."""

_PLAIN = ("calls_per_example", "prompt_tokens_per_example", "fresh_ratio")
"""The measures that are shown without an interval."""

NOTE = (
    "Mean ± half-width of the 95 % interval over seeds (Student's t); of a single seed the "
    "interval over groups. PGR: share of the gap from zero-shot-all to golden. AURC: mean error "
    "of the most confident examples over all coverages. Uncached: characters per prediction that "
    "no prefix cache can serve, relative to those of one zero-shot pass."
)


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with the bounds of its interval.

    `within` is the mean half-width of the intervals over groups.
    """

    mean: float
    lower: float = math.nan
    upper: float = math.nan
    within: float = math.nan
    seeds: int = 1

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.upper - self.lower) / 2

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        if math.isnan(self.lower):
            return f"{self.mean:.3f}"
        if self.seeds > 1:
            return f"{self.mean:.3f} ± {self.half:.3f}"
        return f"{self.mean:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


@dataclass(frozen=True)
class Summary:
    """What a method came to on a case at a budget, over all its seeds."""

    setup: str
    data: str
    model: str
    budget: float | None
    method: str
    seeds: int
    absent: int
    values: Mapping[str, Mean]

    def to_json(self) -> dict[str, Any]:
        """One flat row; `_lower` and `_upper` bound the interval, `_within` is that over groups."""
        names = ("setup", "data", "model", "budget", "method", "seeds", "absent")
        flat = {name: getattr(self, name) for name in names}
        for name, value in self.values.items():
            flat[name] = value.mean
            if name not in _PLAIN:
                flat |= {f"{name}_{part}": getattr(value, part) for part in ("lower", "upper")}
                flat[f"{name}_within"] = value.within
        return flat


@dataclass(frozen=True)
class Table:
    """A table of words under a title."""

    title: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table as Markdown, in which a bar within a cell is no end of it."""
        lines = [self.head, ["---"] * len(self.head), *self.body]
        lines = [[cell.replace("|", r"\|") for cell in line] for line in lines]
        return "\n".join([f"{self.title}\n", *(f"| {' | '.join(line)} |" for line in lines)])

    def __str__(self) -> str:
        lines = [list(self.head), *map(list, self.body)]
        widths = [max(len(line[c]) for line in lines) for c in range(len(self.head))]
        padded = [
            "  ".join(x.ljust(w) for x, w in zip(line, widths, strict=True)) for line in lines
        ]
        return "\n".join([self.title, *(line.rstrip() for line in padded)])


def over_seeds(values: Sequence[float], level: float = 0.95) -> Mean:
    """The mean of the values that are defined, with Student's interval where there are several."""
    found = np.array([v for v in values if math.isfinite(v)])
    if not len(found):
        return Mean(math.nan, seeds=0)
    mean = float(found.mean())
    if len(found) < 2:
        return Mean(mean)
    # Not `stats.sem`, whose checks of its arguments take longer than a table has.
    half = _quantile(level, len(found)) * float(found.std(ddof=1)) / math.sqrt(len(found))
    return Mean(mean, mean - half, mean + half, seeds=len(found))


@lru_cache
def _quantile(level: float, seeds: int) -> float:
    """Student's quantile for the mean of so many seeds."""
    return float(stats.t.ppf((1 + level) / 2, seeds - 1))


def recovered(
    method: Sequence[float], start: Sequence[float], ceiling: Sequence[float], level: float = 0.95
) -> Mean:
    """The share of the gap between `start` and `ceiling` that a method closes, over paired seeds.

    A ratio of means R = a / g; its standard error is that of the mean of a_s − R · g_s, over g.
    Undefined where the gap is not above zero with this confidence, or has no interval.
    """
    won = np.array(method) - np.array(start)
    gap = np.array(ceiling) - np.array(start)
    whole = over_seeds(gap.tolist(), level)
    if not (whole.lower > 0 if len(gap) > 1 else len(gap) and gap[0] > 0):
        return Mean(math.nan, seeds=len(gap))
    ratio = float(won.mean() / gap.mean())
    if len(gap) < 2:
        return Mean(ratio)
    half = over_seeds((won - ratio * gap).tolist(), level).half / float(gap.mean())
    return Mean(ratio, ratio - half, ratio + half, seeds=len(gap))


def summarise(results: Results, ids: Collection[str] | None = None) -> list[Summary]:
    """One summary per case, budget and method, of all rows or of those with these ids.

    A method that no budget changes stands under every budget.
    """
    rows = [row for id, row in results.rows.items() if ids is None or id in ids]
    setups = sorted({row.setup for row in rows}, key=lambda s: (results.setups[s]["data"], s))
    found = []
    for setup in setups:
        mine = [row for row in rows if row.setup == setup]
        said = results.setups[setup]
        bounded = sorted({row.budget for row in mine if row.budget is not None})
        budgets: list[float | None] = [*bounded] or [None]
        for budget in budgets:
            shown = [row for row in mine if row.budget in (None, budget)]
            by_method = {name: _by_seed(shown, name) for name in BENCHMARK_METHODS}
            for name, own in by_method.items():
                if own:
                    values = _values(own, by_method[START], by_method[CEILING])
                    absent = sum(row.absent for row in own.values())
                    called = setup, said["data"], said["model"]
                    found.append(Summary(*called, budget, name, len(own), absent, values))
    return found


def _by_seed(rows: Sequence[Row], method: str) -> dict[int, Row]:
    return {row.seed: row for row in rows if row.method == method}


def _values(
    own: Mapping[int, Row], start: Mapping[int, Row], ceiling: Mapping[int, Row]
) -> dict[str, Mean]:
    values = {}
    for name in MEASURES:
        if name == "pgr":
            values[name] = _pgr(own, start, ceiling)
        elif name in _PLAIN:
            values[name] = over_seeds([plain_value(row, name) for row in own.values()])
        else:
            values[name] = _scored([row.scores[name] for row in own.values()])
    return values


def plain_value(row: Row, name: str) -> float:
    """A measure of a row that has no interval within the run."""
    if name != "fresh_ratio":
        return float(getattr(row, name))
    return row.fresh / row.fresh_zero_shot if row.fresh_zero_shot else math.nan


def _scored(found: Sequence[Any]) -> Mean:
    """The mean over seeds; of a single seed with the interval over its groups."""
    within = over_seeds([(i.upper - i.lower) / 2 for i in found]).mean
    mean = over_seeds([i.estimate for i in found])
    lower, upper = (mean.lower, mean.upper) if len(found) > 1 else (found[0].lower, found[0].upper)
    return Mean(mean.mean, lower, upper, within, mean.seeds)


def _pgr(own: Mapping[int, Row], start: Mapping[int, Row], ceiling: Mapping[int, Row]) -> Mean:
    seeds = sorted(own.keys() & start.keys() & ceiling.keys())
    a, z, g = (
        [rows[s].scores["accuracy"].estimate for s in seeds] for rows in (own, start, ceiling)
    )
    share = recovered(a, z, g)
    inner = [own[s].scores["pgr"] for s in seeds if "pgr" in own[s].scores]
    within = over_seeds([(i.upper - i.lower) / 2 for i in inner]).mean
    if len(seeds) == 1 and inner and not math.isnan(share.mean):
        return Mean(share.mean, inner[0].lower, inner[0].upper, within)
    return Mean(share.mean, share.lower, share.upper, within, share.seeds)


def ahead(results: Results, ids: Collection[str] | None, of: Summary, by: str) -> Mean:
    """The accuracy of the method `by` minus that of another, paired over seeds."""
    rows = [
        row
        for id, row in results.rows.items()
        if row.setup == of.setup and row.budget in (None, of.budget) and (ids is None or id in ids)
    ]
    first, second = _by_seed(rows, by), _by_seed(rows, of.method)
    seeds = sorted(first.keys() & second.keys())

    def accuracy(row: Row) -> float:
        return row.scores["accuracy"].estimate

    return over_seeds([accuracy(first[s]) - accuracy(second[s]) for s in seeds])


def tables(results: Results, ids: Collection[str] | None = None) -> list[Table]:
    """For each case the accuracy at each budget, and all measures at the largest."""
    found = summarise(results, ids)
    if not found:
        raise InputError("there are no results yet")
    made = []
    for setup in dict.fromkeys(s.setup for s in found):
        mine = [s for s in found if s.setup == setup]
        title = _title(mine[0], found)
        budgets = list(dict.fromkeys(s.budget for s in mine))
        methods = [name for name in BENCHMARK_METHODS if any(s.method == name for s in mine)]
        at = {(s.method, s.budget): s for s in mine}
        heads = [_calls(b) for b in budgets]

        def cell(method: str, budget: float | None, at: Mapping[Any, Summary] = at) -> str:
            one = at.get((method, budget))
            return "" if one is None else str(one.values["accuracy"])

        if len(budgets) > 1:
            body = [[m, *(cell(m, b) for b in budgets)] for m in methods]
            made.append(Table(f"{title}: accuracy", ["method", *heads], body))
        last = [s for s in mine if s.budget == budgets[-1]]
        with_gap = any(s.method == "consilience" for s in last)
        head = ["method", *MEASURES.values(), *(["consilience − it"] if with_gap else [])]
        body = [
            [
                s.method,
                *(_shown(name, s.values[name]) for name in MEASURES),
                *([_signed(ahead(results, ids, s, "consilience"))] if with_gap else []),
            ]
            for s in last
        ]
        made.append(Table(f"{title}: all measures at {heads[-1]}", head, body))
    return made


def overview(found: Sequence[Summary], budget: float | None, measure: str = "accuracy") -> Table:
    """One measure at one budget: a row for each method, a column for each case."""
    found = [s for s in found if s.budget == budget]
    cases = list(dict.fromkeys(s.setup for s in found))
    names = {s.setup: s.data for s in found}
    at = {(s.method, s.setup): s for s in found}
    body = [
        [m, *(_shown(measure, at[m, c].values[measure]) if (m, c) in at else "" for c in cases)]
        for m in BENCHMARK_METHODS
        if any(s.method == m for s in found)
    ]
    title = f"{MEASURES[measure]}, {_calls(budget)}"
    return Table(title, ["method", *(names[c] for c in cases)], body)


def notes(summaries: Sequence[Summary]) -> str:
    """What has to be known to read the tables; predictions that are absent among it."""
    absent = sum({(s.setup, s.method, s.budget): s.absent for s in summaries}.values())
    return NOTE + (f" {absent:,} predictions failed and are absent." if absent else "")


def render_tables(made: Sequence[Table], markdown: bool) -> str:
    """Tables one after the other."""
    show: Callable[[Table], str] = Table.markdown if markdown else str
    return "\n\n".join(show(table) for table in made)


def _title(of: Summary, among: Sequence[Summary]) -> str:
    """The case, its model, and, where another case is called the same, its setup."""
    same = {s.setup for s in among if (s.data, s.model) == (of.data, of.model)}
    setup = f", setup {of.setup}" if len(same) > 1 else ""
    return f"{of.data} ({of.model}{setup}), {of.seeds} seed{'s' if of.seeds > 1 else ''}"


def _calls(budget: float | None) -> str:
    return "no budget" if budget is None else f"{budget:g} calls"


def _shown(name: str, value: Mean) -> str:
    if name not in _PLAIN or math.isnan(value.mean):
        return str(value)
    if name == "prompt_tokens_per_example":
        return f"{value.mean:,.0f}"
    return f"{value.mean:.4g}" if name == "calls_per_example" else f"{value.mean:.2f}"


def _signed(value: Mean) -> str:
    if math.isnan(value.mean):
        return "–"
    half = "" if math.isnan(value.lower) else f" ± {value.half:.3f}"
    return f"{value.mean:+.3f}{half}"
