"""A run's labels scored against gold, beside the baselines that they must beat.

The only module besides `baselines` and `metrics` that accepts gold, and everything in it happens
after the labels are fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consilience.concepts.concept import pooled
from consilience.data.dataset import Gold
from consilience.errors import InputError, check_kind
from consilience.evaluation.baselines import (
    Baseline,
    agreement_only,
    gold_array,
    majority,
    structure_only,
)
from consilience.evaluation.calibration_curve import CurvePoint, calibration_curve
from consilience.evaluation.metrics import Interval, pgr, score
from consilience.results.consistent_labels import with_facts
from consilience.results.result import Found

GOLDEN = "golden shots (ceiling)"
ZERO_SHOT = "zero-shot, all framings"
AS_ASKED = "zero-shot, as asked"
"""The zero-shot answers of a run that asked each example in some of the framings only."""
_SHOWN = ("accuracy", "auroc", "ece", "pgr")
"""The scores that are printed; `Evaluation.table` has all."""


@dataclass(frozen=True)
class Evaluation:
    """One row per method: its scores with 95 % intervals over groups, and what it asked.

    `scores[method][metric]` is an `Interval`; `table` has the same as columns `accuracy`,
    `accuracy_lower`, `accuracy_upper` and so on. `note` says what the data set is, and what
    gives the labels their orientation. `curve` says how often the run's labels of a given
    probability are right; `known` (N,) is the class that each example was scored by, −1 for none.
    """

    scores: dict[str, dict[str, Interval]]
    calls: dict[str, float]
    scored: int
    note: str
    curve: tuple[CurvePoint, ...] = ()
    known: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    @property
    def table(self) -> pd.DataFrame:
        """All numbers, one row per method."""
        rows = []
        for method, metrics in self.scores.items():
            row: dict[str, object] = {"method": method, "calls_per_example": self.calls[method]}
            for name, interval in metrics.items():
                row |= {
                    name: interval.estimate,
                    f"{name}_lower": interval.lower,
                    f"{name}_upper": interval.upper,
                }
            rows.append(row)
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        metrics = [m for m in _SHOWN if m in next(iter(self.scores.values()))]
        header = ["method", *metrics, "calls per example"]
        body = [
            [method, *(_cell(row[m]) for m in metrics), f"{self.calls[method]:g}"]
            for method, row in self.scores.items()
        ]
        widths = [max(len(line[c]) for line in [header, *body]) for c in range(len(header))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in [header, *body]
        ]
        return "\n".join([*lines, "", self.note])


def _cell(interval: Interval) -> str:
    return "–" if np.isnan(interval.estimate) else str(interval)


def zero_shot_of(found: Found) -> Baseline | None:
    """The zero-shot answer that a run asked anyway, bias removed; None without."""
    evidence = found.evidence
    predictions = evidence.predictions
    if not bool(predictions.zero.any()):
        return None
    labels = pooled(evidence, predictions.zero)
    calls = int(np.bincount(predictions.target[predictions.zero].numpy()).max())
    every = calls == sum(framing.semantic for framing in found.framings)
    return Baseline(ZERO_SHOT if every else AS_ASKED, labels, float(calls))


def _rows(found: Found, gold: Gold, baselines: Sequence[Baseline]) -> list[Baseline]:
    """The rows of the table: what asks nothing, the baselines, the run."""
    data = found.dataset
    zero, agreement = zero_shot_of(found), agreement_only(data)
    rows = [
        majority(data, gold),
        structure_only(data),
        *([agreement] if agreement is not None else []),
        *([zero] if zero is not None else []),
        *(b for b in baselines if zero is None or b.name != zero.name),
        Baseline("consilience", found.soft_labels, found.run.planned / len(data)),
    ]
    if "undetermined" in found.polarity and data.task.k == 2:
        mirrored = found.soft_labels[:, ::-1]
        rows.append(Baseline("consilience, mirrored", mirrored, rows[-1].calls_per_example))
    return rows


def evaluate(found: Found, gold: Gold | None, baselines: Sequence[Baseline] = ()) -> Evaluation:
    """The scores of a run's labels beside majority, structure only, zero-shot and `baselines`.

    Landmarks and corrections are not scored, because their labels were given. Labels are never
    flipped to fit gold: if nothing decides which way round they are, the note says so, and with two
    classes a row shows the mirror image. InputError without gold, which some data sets do not have.
    """
    check_kind(found, Found, "what is scored is what `elicit` found")
    if gold is None:
        raise InputError(f"{found.dataset.name!r} has no gold; give Gold to score the labels by")
    check_kind(gold, Gold, "it is scored against Gold, as `load_dataset` gives it")
    data = found.dataset
    vouched = () if found.calibration is None else found.calibration.landmarks.ids
    given = {*vouched, *found.corrections}
    gold = Gold({id: label for id, label in gold.labels.items() if id not in given})
    rows = _rows(found, gold, baselines)
    truth = gold_array(data, gold)
    scores = {row.name: dict(score(row.labels, truth, data.groups)) for row in rows}
    # Of every method that asks, as labels are exported: those in which facts hold.
    shown = {
        row.name: with_facts(found, row.labels) if row.calls_per_example else row.labels
        for row in rows
    }
    for row in rows:
        if shown[row.name] is not row.labels:
            scores[row.name] |= score(shown[row.name], truth, data.groups, only=("accuracy",))
    start = shown.get(ZERO_SHOT, shown.get(AS_ASKED))
    if start is not None and GOLDEN in shown:
        ends = start, shown[GOLDEN]
        for row in rows:
            scores[row.name]["pgr"] = pgr(shown[row.name], *ends, truth, data.groups)
    notes = [data.note] if data.note else []
    notes.append(f"Orientation: {found.polarity}.")
    notes.append(f"Probabilities are {found.probabilities}; intervals are 95 %, over groups.")
    if found.corrections:
        notes.append(f"The {len(found.corrections)} corrections are left out of every score.")
    if vouched:
        notes.append(f"The {len(vouched)} landmarks are left out of every score.")
    return Evaluation(
        scores=scores,
        calls={row.name: row.calls_per_example for row in rows},
        scored=int((truth >= 0).sum()),
        note="\n".join(notes),
        curve=calibration_curve(found.soft_labels, truth),
        known=truth,
    )
