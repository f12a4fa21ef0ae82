"""The verdict on a run as a sentence for somebody who reads no other, and what to do next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from consilience.results.diagnosis import Kind

if TYPE_CHECKING:
    from consilience.results.result import Found

LANDMARKS = 20
"""So many landmarks, drawn at random, are asked for where probabilities are to be checked."""


def headline(found: Found) -> str:
    """What the labels are, in one sentence."""
    decided = ~found.labels["open"].to_numpy(bool)
    of = f"{decided.sum():,} of {len(decided):,}"
    if (rows := found.dataset.repeats) and max(rows) > 1:
        of += f" texts ({row_count(found, decided):,} of {sum(rows):,} rows)"
    return {
        Kind.COHERENT: f"The labels fit together: {of} are decided.",
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


def row_count(found: Found, chosen: NDArray[np.bool_]) -> int:
    """How many rows of the table have the texts of the examples that are `chosen` (N,)."""
    return int(np.dot(chosen, found.dataset.repeats))


def _counted(found: Found, chosen: NDArray[np.bool_], one: str, more: str) -> str:
    """How many rows are chosen, with the verb for one or for more; of texts where some repeat."""
    count, rows = int(chosen.sum()), row_count(found, chosen)
    verb = one if count == 1 else more
    if rows == count:
        return f"{count:,} row{'s' * (count != 1)} {verb}"
    return f"{count:,} text{'s' * (count != 1)} ({rows:,} rows) {verb}"


def command(found: Found, words: str) -> str:
    """A command about this very run, as it is typed where the run was made."""
    verb, _, more = words.partition(" ")
    where = ""
    if found.place is not None:
        here = Path(found.place)
        here = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
        where = f" --store {shlex.quote(str(here))} --run {found.run.id}"
    return f"consilience {verb}{where}{' ' * bool(more)}{more}"


def code(text: str) -> str:
    """A text as code, as Markdown has it: between more backticks than it has in a row."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if len(fence) > 1 else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def code_parts(step: str) -> list[tuple[str, bool]]:
    """The parts of a text with code in it, each with whether it is code."""
    # What stands between two fences of one length, which no longer one may be.
    found = re.split(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)", step)
    made = [(text, False) for text in found[::3]]
    spans = zip(found[1::3], found[2::3], strict=True)
    coded = [(text[1:-1] if len(fence) > 1 else text, True) for fence, text in spans]
    return [part for pair in zip(made, [*coded, ("", True)], strict=True) for part in pair][:-1]


def _plain(text: str) -> str:
    """A word of the user's in a sentence, in which a backtick would begin code."""
    return code(text) if "`" in text else text


def next_steps(found: Found) -> list[str]:
    """What to do next, the most useful first, a sentence or two each; code between backticks."""
    kind, table = found.verdict.kind, found.labels
    steps = []
    if kind is Kind.SEVERAL:
        ids = ", ".join(map(_plain, found.questions()))
        steps.append(
            f"Label these rows yourself: {ids}. Give them as landmarks (--landmarks) and run "
            "again; what was asked is not asked again."
        )
    if kind is Kind.UNSURE and found.calibration is None:
        steps.append(
            f"{_draw(found)} draws rows at random. Label them: "
            f"{code(command(found, 'solve --landmarks FILE'))}, `report` and `export` then say "
            "where the line "
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
        without = np.array([id in found.unanswered for id in found.dataset.ids])
        rows = _counted(found, without, "has", "have")
        steps.append(f"{rows} no answer; they come first in the table.")
    if kind is Kind.COHERENT and (doubtful := table["open"].to_numpy(bool)).any():
        rows = _counted(found, doubtful, "is", "are")
        steps.append(
            f"{rows} open and first in the table below. Read them, and correct what "
            f"is wrong with {code(command(found, 'review'))}: that asks nothing."
        )
    told = found.evidence.shares is not None or found.calibration is not None
    if not told and kind in (Kind.COHERENT, Kind.UNSURE):
        name, share = _rarest(found)
        said = shlex.quote(f"planning.shares.{name}=0.1")
        steps.append(
            f"By these probabilities {share:.0%} of the rows are {_plain(name)}. Where classes "
            "overlap, answers cannot tell how frequent they are. If you know, say so: "
            f"{code(command(found, f'solve --set {said}'))} (0.1 for 10 %) asks nothing."
        )
    if found.calibration is None and kind in (Kind.COHERENT, Kind.SEVERAL):
        steps.append(
            f"The probabilities are not calibrated. {_draw(found)} "
            "draws rows at random; label them and give them back (--landmarks): they say how far "
            "the probabilities can be trusted."
        )
    return steps


def _draw(found: Found) -> str:
    return code(command(found, f"landmarks --count {LANDMARKS}"))


def _rarest(found: Found) -> tuple[str, float]:
    """The class of the least mean probability over the rows, and that."""
    shares = np.average(found.soft_labels, axis=0, weights=found.dataset.repeats)
    least = int(shares.argmin())
    return found.dataset.task.classes[least], float(shares[least])
