"""The verdict on a run as a sentence for somebody who reads no other, and what to do next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np

from consilience.results.diagnosis import Kind

if TYPE_CHECKING:
    from consilience.results.result import Found

LANDMARKS = 20
"""So many landmarks, drawn at random, are asked for where probabilities are to be checked."""


def headline(found: Found) -> str:
    """What the labels are, in one sentence."""
    decided, n = int((~found.labels["open"].astype(bool)).sum()), len(found.labels)
    return {
        Kind.COHERENT: f"The labels fit together: {decided:,} of {n:,} are decided.",
        Kind.SEVERAL: (
            f"The model carries {len(found.concepts)} labellings of these texts, and nothing tells "
            "which one is meant."
        ),
        Kind.UNSURE: (
            "The labels are those of answers without shots, which those with shots do not bear "
            "out: check some before you use them."
            if found.verdict.unsupported
            else "The answers rank these texts, and do not say which labels are sure: use the "
            "order, not yet the labels."
        ),
        Kind.CHANCE: "The labels are no better than chance: do not use them.",
        Kind.DEGENERATE: (
            "The labels are degenerate, because the objective failed: do not use them."
        ),
    }[found.verdict.kind]


def next_steps(found: Found) -> list[str]:
    """What to do next, the most useful first, a sentence or two each."""
    kind, table = found.verdict.kind, found.labels
    steps = []
    if kind is Kind.SEVERAL:
        ids = ", ".join(found.questions())
        steps.append(
            f"Label these rows yourself: {ids}. Give them as landmarks (--landmarks) and run "
            "again; what was asked is not asked again."
        )
    if kind is Kind.UNSURE and found.calibration is None:
        steps.append(
            f"`consilience landmarks --count {LANDMARKS}` draws rows at random. Label them: "
            "`consilience solve --landmarks FILE`, `report` and `export` then say where the line "
            "between the classes lies and how sure the answers are, and ask nothing."
        )
    if kind is Kind.DEGENERATE:
        steps.append("Ask in other framings, or give landmarks, and run again.")
    if kind is Kind.CHANCE:
        steps.append(
            "Read the prompt below: does it ask what you mean? Then try another wording, describe "
            "the classes, or ask a larger model."
        )
    if (mass := found.evidence.tally.mean_mass) < 0.5:
        steps.append(
            f"Only {mass:.0%} of the model's probability falls on the names of "
            "the labels: it is not answering the question. Try other framings, or the chat "
            "endpoint."
        )
    if found.unanswered:
        rows = "row has" if len(found.unanswered) == 1 else "rows have"
        steps.append(f"{len(found.unanswered):,} {rows} no answer; they come first in the table.")
    if kind is Kind.COHERENT and (doubtful := int(table["open"].astype(bool).sum())):
        rows = "row is" if doubtful == 1 else "rows are"
        steps.append(
            f"{doubtful:,} {rows} open and first in the table below. Read them, and correct what "
            "is wrong with `consilience review`: that asks nothing."
        )
    told = found.evidence.shares is not None or found.calibration is not None
    if not told and kind in (Kind.COHERENT, Kind.UNSURE):
        name, share = _rarest(found)
        said = shlex.quote(f"planning.shares.{name}=0.1")
        steps.append(
            f"By these probabilities {share:.0%} of the rows are {name}. Where classes overlap, "
            "answers cannot tell how frequent they are. If you know, say so: "
            f"`consilience solve --set {said}` (0.1 for 10 %) asks nothing."
        )
    if found.calibration is None and kind in (Kind.COHERENT, Kind.SEVERAL):
        steps.append(
            f"The probabilities are not calibrated. `consilience landmarks --count {LANDMARKS}` "
            "draws rows at random; label them and give them back (--landmarks): they say how far "
            "the probabilities can be trusted."
        )
    return steps


def _rarest(found: Found) -> tuple[str, float]:
    """The class of the least mean probability over the rows, and that."""
    shares = np.average(found.soft_labels, axis=0, weights=found.dataset.repeats)
    least = int(shares.argmin())
    return found.dataset.task.classes[least], float(shares[least])
