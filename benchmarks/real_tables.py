"""The tables of `real.py`, made from its rows alone: every method read in the same ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consilience.evaluation.benchmark.benchmark import Row
    from consilience.evaluation.benchmark.result_file import Results
    from consilience.evaluation.benchmark.tables import Mean

ALONE = ("zero-shot-plain", "zero-shot-names", "zero-shot-negated", "zero-shot-letters")
"""Zero-shot in one family of framings each."""

BEST = "zero-shot, best of these"
OWN = "its own"
READOUTS = (OWN, "against 0", "offsets off")
"""The labels of a method as it gives them, and its answers in the two ways that are everybody's."""

LANDMARKS = "20 landmarks"
"""The labels of a method once so many landmarks have calibrated them, on all other examples."""

KNOWN, REACHED = 0.75, 0.65
"""A set qualifies where golden shots have this AUROC, and zero-shot or random-label shots that."""

DRAWN = ("random-shots", "bootstrap-confident", "ranked", "consilience", "golden")
"""Methods that are measured on every draw of a set: it has the draws that all of these have."""

Key = tuple[str, str, str, float | None]
"""Model, set, method, budget."""


def cells(results: Results) -> dict[Key, dict[int, Row]]:
    """The rows by model (its fingerprint apart), set, method and budget, each by draw."""
    made: dict[Key, dict[int, Row]] = {}
    for row in sorted(results.rows.values(), key=lambda row: (row.seed, row.id)):
        setup = results.setups[row.setup]
        key = (model_of(setup), setup["data"], row.method, row.budget)
        made.setdefault(key, {})[row.seed] = row
    return made


def model_of(setup: Mapping[str, Any]) -> str:
    """What a model is called: its name without kind and fingerprint."""
    return str(setup["model"]).partition("@")[0].removeprefix("local:")


class Figures:
    """The rows of one model at one budget, and those that no budget changes.

    On the sets that something was asked about at this budget, and on the draws that all methods
    have which are measured on every one (`DRAWN`): what stands in a column is of the same examples.
    """

    def __init__(self, made: Mapping[Key, Mapping[int, Row]], model: str, budget: float) -> None:
        from consilience.evaluation.benchmark.methods import BENCHMARK_METHODS as ORDER

        mine = {
            (name, method, at): rows
            for (of, name, method, at), rows in made.items()
            if of == model and at in (None, budget)
        }
        budgeted = {name for name, _, at in mine if at is not None}
        self.sets = sorted(budgeted or {name for name, _, _ in mine})
        self.all_rows = {
            (name, method): rows for (name, method, _), rows in mine.items() if name in self.sets
        }
        self.draws = {name: self._common(name) for name in self.sets}
        self.rows = {
            (name, method): {d: row for d, row in rows.items() if d in self.draws[name]}
            for (name, method), rows in self.all_rows.items()
        }
        self.methods = [m for m in ORDER if any(m == other for _, other in self.rows)]

    def _common(self, name: str) -> set[int]:
        """The draws of a set that all of `DRAWN` have which were measured on it."""
        drawn = [rows for (of, m), rows in self.all_rows.items() if of == name and m in DRAWN]
        every = drawn or [rows for (of, _), rows in self.all_rows.items() if of == name]
        return set.intersection(*map(set, every))

    def values(self, name: str, method: str, metric: str, readout: str) -> dict[int, float]:
        """A score of a method on a set by draw; of one that asks nothing in every readout its own.

        `BEST` is the framing whose zero-shot answers have the best AUROC, which gold tells.
        """
        if method == BEST:
            there = [m for m in ALONE if (name, m) in self.rows]
            best = max(there, key=lambda m: self.mean(name, m, "auroc", readout), default=None)
            return {} if best is None else self.values(name, best, metric, readout)
        found = {}
        for draw, row in self.rows.get((name, method), {}).items():
            if readout != OWN and row.readouts.get(readout):
                found[draw] = row.readouts[readout][metric]
            elif readout == OWN or row.calls_per_example == 0:
                found[draw] = row.scores[metric].estimate
        return found

    def mean(self, name: str, method: str, metric: str, readout: str) -> float:
        """The mean of a score over the draws that have it; NaN where none has."""
        values = [v for v in self.values(name, method, metric, readout).values() if isfinite(v)]
        return sum(values) / len(values) if values else nan

    def over(self, sets: Sequence[str], method: str, metric: str, readout: str) -> float:
        """The mean of a score over these sets; NaN where it is missing on one of them."""
        means = [self.mean(name, method, metric, readout) for name in sets]
        return sum(means) / len(means) if means else nan

    def covers(self, method: str) -> bool:
        """Whether a method was measured on every set of the table."""
        return all(self.values(name, method, "accuracy", OWN) for name in self.sets)

    def qualifies(self, name: str) -> bool:
        """Whether the model knows the concept of a set, and says so without true labels."""
        golden = self.mean(name, "golden", "auroc", READOUTS[2])
        starts = ("zero-shot", "zero-shot-all", "random-shots")
        reached = [self.mean(name, start, "auroc", READOUTS[2]) for start in starts]
        return golden >= KNOWN and any(value >= REACHED for value in reached)

    def shown(self) -> list[str]:
        """The methods in the order of the tables, the best single framing among them."""
        alone = [m for m in self.methods if m in ALONE]
        at = self.methods.index(alone[-1]) + 1 if alone else 0
        return [*self.methods[:at], *([BEST] if alone else []), *self.methods[at:]]

    def calls(self, method: str) -> str:
        """The mean calls per example of a method, over all its rows."""
        rows = [row for (_, m), found in self.rows.items() if m == method for row in found.values()]
        return f"{sum(r.calls_per_example for r in rows) / len(rows):.3g}" if rows else ""


def scores(figures: Figures, title: str, readout: str) -> str:
    """A table of accuracy / AUROC in one readout: a line for each method, a column for each set."""
    from consilience.evaluation.benchmark.tables import Table

    body = []
    for method in figures.shown():
        line = [method, figures.calls(method)]
        for name in figures.sets:
            both = [figures.mean(name, method, m, readout) for m in ("accuracy", "auroc")]
            there = figures.values(name, method, "accuracy", readout)
            fewer = f" ({len(there)})" if len(there) < len(figures.draws[name]) else ""
            line.append(" / ".join(map(_two, both)) + fewer if there else "")
        body.append(line)
    draws = {name: len(found) for name, found in figures.draws.items()}
    heads = [f"{n} ({draws[n]})" if draws[n] > 1 else n for n in figures.sets]
    return Table(f"{title}, {readout}", ["method", "calls", *heads], body).markdown()


def summary(figures: Figures, title: str) -> str:
    """A table of what each method comes to over all sets of a model: PGR, ECE, confidence."""
    from consilience.evaluation.benchmark.tables import Table
    from consilience.evaluation.calibration_curve import pooled_ece

    fit = [name for name in figures.sets if figures.qualifies(name)]
    body = []
    for method in figures.shown():
        line = [method, figures.calls(method)]
        line += [_shown(share_of_gap(figures, fit, method, readout)) for readout in READOUTS]
        errors = (figures.over(figures.sets, method, "ece", way) for way in (OWN, LANDMARKS))
        line += map(_two, errors)
        rows = [r for (_, m), found in figures.rows.items() if m == method for r in found.values()]
        if not figures.covers(method):
            rows = []
        for readout in (OWN, LANDMARKS):
            line.append(_two(pooled_ece(r.bins[readout] for r in rows if readout in r.bins)))
        line.append(_two(_mean([row.confidence for row in rows])))
        if {*line[2:]} != {_two(nan)}:
            body.append(line)
    gaps = (f"PGR, {readout}" for readout in READOUTS)
    ece = ("ECE", f"ECE, {LANDMARKS}", "ECE, pooled", f"pooled, {LANDMARKS}")
    head = ["method", "calls", *gaps, *ece, "max p"]
    said = f"{len(figures.sets)} sets, of which qualify: {', '.join(fit) or 'none'}."
    return f"{Table(title, head, body).markdown()}\n\n{said}"


def means(figures: Figures, methods: Mapping[str, str], readouts: Sequence[str]) -> str:
    """A table of mean accuracies over all sets, and of how far consilience is above each.

    `methods` has what each is called; the interval is that of the differences, set by set.
    """
    from consilience.evaluation.benchmark.tables import Table, over_seeds

    body = []
    for method, called in methods.items():
        line = [called]
        for way in readouts:
            theirs, ours = (
                [figures.mean(name, m, "accuracy", way) for name in figures.sets]
                for m in (method, "consilience")
            )
            line.append(_two(_mean(theirs)))
            apart = [a - b for a, b in zip(ours, theirs, strict=True)]
            line.append("" if method == "consilience" else _shown(over_seeds(apart)))
        body.append(line)
    heads = chain.from_iterable((f"accuracy, {way}", "consilience less it") for way in readouts)
    return Table(f"{len(figures.sets)} sets", ["mean over all sets", *heads], body).markdown()


def share_of_gap(figures: Figures, sets: Sequence[str], method: str, readout: str) -> Mean:
    """The share of the gap from zero-shot-all to golden shots, in accuracy, over sets.

    Draws of one set are averaged: they are no sets of their own. NaN where a set is missing.
    """
    from consilience.evaluation.benchmark.methods import CEILING, START
    from consilience.evaluation.benchmark.tables import recovered

    of = {
        m: [figures.mean(name, m, "accuracy", readout) for name in sets]
        for m in (method, START, CEILING)
    }
    if not all(map(isfinite, of[method])):
        return recovered([], [], [])
    return recovered(of[method], of[START], of[CEILING])


def verdicts(made: Mapping[Key, Mapping[int, Row]]) -> str:
    """A table of what consilience says of its labels, on each model, and how right these are."""
    from consilience.evaluation.benchmark.tables import Table

    said: dict[str, list[Row]] = {}
    for (model, _, _, _), rows in made.items():
        said.setdefault(model, []).extend(row for row in rows.values() if row.verdict)
    body = []
    for model, found in said.items():
        for kind, count in Counter(row.verdict for row in found).most_common():
            mine = [row for row in found if row.verdict == kind]
            accuracy = _mean([row.scores["accuracy"].estimate for row in mine])
            confidence = _mean([row.confidence for row in mine])
            share = f"{count} of {len(found)}"
            body.append([model, kind, share, _two(accuracy), _two(confidence)])
    head = ["model", "verdict of consilience", "runs", "accuracy", "max p"]
    return Table("Verdicts", head, body).markdown()


def parts(made: Mapping[Key, Mapping[int, Row]]) -> Iterator[tuple[str, Figures]]:
    """A title and the figures of each model at each budget."""
    for model in dict.fromkeys(sorted(key[0] for key in made)):
        budgets = sorted({key[3] for key in made if key[0] == model and key[3] is not None})
        for budget in budgets or [0.0]:
            yield f"{model}, {budget:g} calls", Figures(made, model, budget)


def table(found: Mapping[str, Any], readouts: Sequence[str] = READOUTS) -> str:
    """All tables in Markdown: the summaries, the verdicts, and each readout of each model."""
    from consilience.evaluation.benchmark.result_file import Results

    made = cells(Results.from_json(found))
    if not made:
        return "Nothing is measured yet."
    tables = [summary(figures, f"{title}: summary") for title, figures in parts(made)]
    tables.append(verdicts(made))
    tables += [
        scores(figures, f"{title}: accuracy / AUROC", readout)
        for (title, figures), readout in product(list(parts(made)), readouts)
    ]
    return "\n\n".join(tables)


def _mean(values: Sequence[float]) -> float:
    from consilience.evaluation.benchmark.tables import over_seeds

    return over_seeds(values).mean


def _two(value: float) -> str:
    return "–" if value != value else f"{value:.2f}"


def _shown(share: Mean) -> str:
    half = "" if share.lower != share.lower else f" ± {share.half:.2f}"
    return f"{_two(share.mean)}{half}"
