"""Logs of predictions that other programs kept, as evidence, so that old runs are solved again.

    solved = read_log("predictions.jsonl").solve()

Such logs hold numbers that no model said: −1000 for a name that was not listed, 0 for a call that
failed. An answer that cannot be told from such a default is left out and counted, never repaired,
and a label that was not recorded stays unknown. docs/legacy.md says what is taken for a default.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
import pandas as pd
from scipy.special import log_expit

from consilience.data.counted import counted
from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.elicitation.legacy_rows import Labels, LogRow, Said, read_log_rows
from consilience.errors import InputError
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import default_terms
from consilience.objective.term import Terms
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.results.uncertainty import Uncertainty, uncertainty
from consilience.solvers.fixed_point import Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import Solution, solve
from consilience.solvers.starts import first_labels
from consilience.store.rows import Prediction

DEFAULT = 100.0
"""Log-odds from here on (nats) are a default, such as −1000 for a name that was not listed."""

_FLOOR = 1e-10
"""A probability that old code writes where it has none."""

OFTEN = 0.05
"""An answer that stands in a larger share of a log is pointed out: it may be a default."""

_TASK = Task("What the program that wrote the log asked.", ("0", "1"), None, None)

ORIENTATION = (
    "by the sign convention of the log: label 1 is what its positive scores, or p_yes, stand for; "
    "nothing else says which way round the labels are"
)


@dataclass(frozen=True, slots=True)
class Log:
    """A log as queries with their predictions, and what was left out and why.

    `pairs` has None for an answer that was left out, and `uids` the example id of each uid, the
    same one where two uids have the same text. The `rows` hold `answers`, one for each variation;
    `repeats` of them repeat an earlier one, and those in `left_out`, by reason, do not count.
    `shots` stood with the answers that count, `unrecorded` of them with a label that nobody
    recorded, `unheard` with a label of an example that no answer speaks of. `often` is an answer
    that is suspiciously frequent, and how often it stands.
    """

    path: Path
    dataset: Dataset
    framings: tuple[Framing, ...]
    pairs: tuple[tuple[Query, Prediction | None], ...]
    uids: Mapping[str, str]
    rows: int
    answers: int
    repeats: int
    left_out: Mapping[str, int]
    shots: int
    unrecorded: int
    unheard: int
    often: tuple[str, int] | None

    def evidence(self) -> Evidence:
        """The evidence, as one round in one framing; each list of shots has an offset of its own.

        A shot that no answer speaks of counts as one whose label nobody recorded: it has no label
        of today that could say whether the one it showed was right.
        """
        heard = _heard(self.pairs)
        pairs = [
            (replace(q, shots=tuple((id, c if id in heard else -1) for id, c in q.shots)), p)
            for q, p in self.pairs
        ]
        return collect(self.dataset, self.framings, [pairs])

    def solve(
        self, solver: Solver | None = None, terms: Terms | None = None, *, seed: int = 0
    ) -> Solved:
        """The most coherent labels, and how sure they are."""
        solver = LBFGS() if solver is None else solver
        terms = default_terms() if terms is None else terms
        evidence = self.evidence()
        solution = solve(evidence, terms, solver, seed=seed, start=first_labels(evidence))
        unsure = uncertainty(evidence, terms, solver, solution, seed=seed)
        return Solved(self, evidence, solution, unsure)

    def summary(self) -> str:
        """What was read, what was left out and why, in a few lines."""
        out = sum(self.left_out.values())
        lines = [
            f"{self.path}: {counted(self.rows, 'row')} with {counted(self.answers, 'answer')}; "
            f"{self.answers - self.repeats - out:,} count, {self.repeats:,} repeat an earlier one, "
            f"{out:,} left out",
            *(f"left out: {reason}: {count:,}" for reason, count in self.left_out.items()),
            f"shots: {self.shots:,}, of them {self.unrecorded:,} with a label that nobody "
            f"recorded, {self.unheard:,} that no answer speaks of; both count neither for nor "
            "against an answer",
        ]
        if twins := len(self.uids) - len(self.dataset):
            lines.append(f"{twins:,} uids have the text of another: the same example, one label")
        if self.often:
            said, count = self.often
            lines.append(
                f"{count:,} answers are exactly {said}: if that is a default of the program that "
                "wrote the log, take those rows out"
            )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Solved:
    """The labels of a log, how sure they are and what they rest on."""

    log: Log
    evidence: Evidence
    solution: Solution
    uncertainty: Uncertainty

    @property
    def labels(self) -> pd.DataFrame:
        """One row per uid, short uids first: label, its probability (uncalibrated), uncertainties.

        Uncertainties are in nats, `predictions` counts those that spoke of the uid. Where nothing
        spoke of it the other cells are empty.
        """
        q, index = self.solution.labels, self.log.dataset.index
        uids = sorted(self.log.uids, key=lambda uid: (len(uid), uid))
        at = np.array([index[self.log.uids[uid]] for uid in uids])
        counts = np.bincount(self.evidence.predictions.target.numpy(), minlength=len(q))
        heard = counts > 0
        columns = {
            "probability": q.max(axis=1),
            "epistemic": self.uncertainty.epistemic,
            "aleatoric": self.uncertainty.aleatoric,
        }
        label = pd.Series(q.argmax(axis=1)[at], dtype="Int64").mask(~heard[at])
        known = {name: np.where(heard, values, np.nan)[at] for name, values in columns.items()}
        return pd.DataFrame({"uid": uids, "label": label, **known, "predictions": counts[at]})

    def summary(self) -> str:
        """What the labels rest on and how the solve ended, in a few lines."""
        labels, solution = self.labels, self.solution
        bounded = float(self.evidence.predictions.bounded.double().mean())
        return "\n".join(
            [
                f"labels: {labels['label'].notna().sum():,} of {len(labels):,} uids have one, of "
                f"the others no answer speaks; predictions: {self.evidence.t:,}, {bounded:.1%} "
                "with a label that is only bounded",
                f"{solution.result.value} Coherence {solution.stats.coherence:.3f} nats per "
                f"example; distinct optima: {len(solution.optima)}.",
                f"Orientation: {ORIENTATION}.",
                "Probabilities are uncalibrated.",
            ]
        )


def read_log(path: str | Path, labels: str | Path | Labels | None = None) -> Log:
    """The log in a file: a JSON list of rows, a row on each line, or a list of rows on each line.

    `labels`, or a JSON file of them, are those that stood in the prompts (never gold), for shots
    whose label the log does not have. InputError where a row is not what it should be, or no
    answer can be used.
    """
    path = Path(path)
    rows = read_log_rows(path, labels)
    order = dict.fromkeys(u for row in rows for u in (row.target, *(shot for shot, _ in row.shots)))
    texts = _texts(rows)
    examples = {uid: Example(texts.get(uid, uid)) for uid in order}
    asked, repeats = _asked(rows, {uid: example.id for uid, example in examples.items()})
    pairs, left_out = _answered(asked)
    if not any(prediction for _, prediction in pairs):
        reasons = "; ".join(f"{reason}: {count}" for reason, count in left_out.items())
        raise InputError(f"{path} has no answer that can be used; left out: {reasons}")
    _refuse_probabilities(path, asked)
    names = dict.fromkeys(query.framing for query, _ in asked)
    shown = [shot for query, prediction in pairs if prediction for shot in query.shots]
    heard = _heard(pairs)
    return Log(
        path=path,
        dataset=Dataset(path.stem, examples.values(), task=_TASK, note=f"Read from {path.name}."),
        framings=tuple(Framing(name, name, "", "", _TASK.classes) for name in names),
        pairs=tuple(pairs),
        uids={uid: example.id for uid, example in examples.items()},
        rows=len(rows),
        answers=len(asked) + repeats,
        repeats=repeats,
        left_out=left_out,
        shots=len(shown),
        unrecorded=sum(label < 0 for _, label in shown),
        unheard=sum(label >= 0 and id not in heard for id, label in shown),
        often=_often([said for (_, said), (_, p) in zip(asked, pairs, strict=True) if p]),
    )


def _heard(pairs: Sequence[tuple[Query, Prediction | None]]) -> set[str]:
    """The examples that some prediction speaks of."""
    return {query.target for query, prediction in pairs if prediction}


def _texts(rows: Sequence[LogRow]) -> dict[str, str]:
    """The text of each uid that has one: of `text`, else of `prompt`.

    A column in which one uid has two texts holds whole prompts, not the texts of examples.
    """
    for wanted in ("text", "prompt"):
        found: dict[str, str] = {}
        said = [(uid, text) for row in rows for uid, column, text in row.texts if column == wanted]
        if said and all(found.setdefault(uid, text) == text for uid, text in said):
            return found
    return {}


def _asked(rows: Sequence[LogRow], ids: Mapping[str, str]) -> tuple[list[tuple[Query, Said]], int]:
    """Each query with what was answered, and how many answers only repeat an earlier one.

    The same query with another answer was asked again; with the same answer it was logged twice.
    """
    made: list[tuple[Query, Said]] = []
    seen: set[object] = set()
    times: Counter[object] = Counter()
    repeats = 0
    for row in rows:
        target, shots = ids[row.target], tuple((ids[uid], label) for uid, label in row.shots)
        for framing, said in row.answers:
            question = (target, shots, framing)
            if (known := (question, repr(said))) in seen:
                repeats += 1
                continue
            seen.add(known)
            made.append((Query(target, shots, framing, times[question]), said))
            times[question] += 1
    return made, repeats


def _answered(
    asked: Sequence[tuple[Query, Said]],
) -> tuple[list[tuple[Query, Prediction | None]], dict[str, int]]:
    """Each query with its prediction, None where it is left out; and how often for which reason."""
    chances = [p for _, said in asked if len(said) == 2 for p in said]
    least = min((p for p in chances if _listed(p)), default=1.0)
    reasons: Counter[str] = Counter()
    pairs: list[tuple[Query, Prediction | None]] = []
    for query, said in asked:
        read = _read(query, said, least)
        if isinstance(read, str):
            reasons[read] += 1
        pairs.append((query, None if isinstance(read, str) else _prediction(query, read)))
    return pairs, dict(reasons.most_common())


_Read = tuple[tuple[float, float], tuple[bool, bool], float]
"""Log-probabilities of the labels 0 and 1, which of them are exact, and the label mass."""


def _prediction(query: Query, read: _Read) -> Prediction:
    logprobs, exact, mass = read
    return Prediction(repr(query), query, _TASK.classes, logprobs, exact, mass, {}, math.nan)


def _read(query: Query, said: Said, least: float) -> _Read | str:
    """What an answer says, or why it is left out."""
    if any(id == query.target for id, _ in query.shots):
        return "asked with its own label in view"
    if all(value is None for value in said):
        return "no answer in the row"
    if any(value is not None and not math.isfinite(value) for value in said):
        return "not a finite number"
    if said in ((0.0,), (0.5, 0.5)):
        return "exactly even: the default where no answer was read"
    return _of_score(said[0]) if len(said) == 1 else _of_chances(said, least)


def _of_score(score: float | None) -> _Read | str:
    """An answer from log-odds s: log σ(−s) and log σ(s); nobody knows its label mass."""
    assert score is not None
    if abs(score) >= DEFAULT:
        return f"{DEFAULT:g} nats or more: a default for a name that was not listed"
    return (float(log_expit(-score)), float(log_expit(score))), (True, True), math.nan


def _of_chances(said: Said, least: float) -> _Read | str:
    """An answer from (p_yes, p_no); where one was not listed, with a bound in its place.

    The bound is the most that it can be: what the listed one, p, leaves, 1 − p, but not below
    `least`, the smallest probability that the log tells from zero, and not above p.
    """
    listed = [p for p in said if _listed(p)]
    if not listed:
        return "no probability on either label"
    bound = min(max(1 - listed[0], least), listed[0])
    yes, no = (math.log(min(p if _listed(p) else bound, 1.0)) for p in said)
    return (no, yes), (_listed(said[1]), _listed(said[0])), min(math.fsum(listed), 1.0)


def _listed(p: float | None) -> TypeGuard[float]:
    """Whether a probability is one that was listed, and not zero or the floor of old code."""
    return p is not None and p > 0 and not math.isclose(p, _FLOOR, rel_tol=1e-6)


def _refuse_probabilities(path: Path, asked: Sequence[tuple[Query, Said]]) -> None:
    """Nothing, or the InputError where what should be log-odds looks like probabilities."""
    scores = [said[0] for _, said in asked if len(said) == 1 and said[0] is not None]
    if len(scores) >= 10 and all(0 <= score <= 1 for score in scores):
        raise InputError(
            f"every score of {path} lies between 0 and 1, like a probability; log-odds in nats are "
            "expected: write log(p / (1 - p)) in its place"
        )


def _often(said: Sequence[Said]) -> tuple[str, int] | None:
    """The most frequent answer and how often it stands, where that is suspicious."""
    answer, count = Counter(said).most_common(1)[0]
    if count < max(5, OFTEN * len(said)):
        return None
    return ", ".join("null" if p is None else f"{p:g}" for p in answer), count
