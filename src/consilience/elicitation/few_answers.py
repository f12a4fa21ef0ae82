"""A row that a finished run had not got, read from a few answers about it.

It is read as the run reads its own, with one difference. Few answers are noisier than all that a
row of the run has, so the run's line between the classes would call too many rows of the rarer
one. The line is found anew: the run's own rows, read from as few, get its labels on average. Of 100
later messages, of which 7 are spam and of the run's 16, the run's own line called 13 spam, this one
8 (SMS, Gemma 3 270M, `benchmarks/newrows_real.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import log_softmax, softmax

from consilience.data.arrays import Floats
from consilience.evidence.mixture import FEWEST_EXAMPLES, LOOKED
from consilience.objective.conditioning import condition
from consilience.objective.term import Role, weight_of
from consilience.results.result import Found
from consilience.results.tempering import tempered

_STEPS, _LEAST = 60, 1e-6
"""Steps to where the line lies, at which no class is taken for rarer than this."""


class Answered(NamedTuple):
    """An answer, centred and without its offset (K), in nats; its weight and its relevance."""

    z: Floats
    weight: float
    relevance: float


class FewAnswers:
    """Reads rows that have `calls` answers each, as a run read its own.

    `line` (K): what is added to the pull of each class, in nats.
    """

    def __init__(self, found: Found, calls: int) -> None:
        self._found = found
        # As solved: landmarks calibrate what is read, and do not condition the evidence.
        optimum = found.orientation.optimum if found.orientation else 0
        labels = found.solution.optima[optimum].labels
        conditioned = condition(found.evidence, torch.from_numpy(labels)[None])
        self._scale = float(conditioned.scale[0])
        weights = (weight_of(found.terms, role) for role in (Role.LOG_POOL, Role.LINEAR_POOL))
        self._log_weight, self._linear_weight = weights
        inner = weight_of(found.terms, Role.ENTROPY) + weight_of(found.terms, Role.PRIOR)
        self._temperature = max(inner, 1e-3)
        heard = int(found.evidence.predictions.target[0])
        frequency = weight_of(found.terms, Role.FREQUENCY)
        self.line: Floats = frequency * conditioned.frequency[0, heard].numpy()
        if frequency:
            self.line = self._placed(labels, calls)

    def read(self, answers: Sequence[Answered]) -> list[float]:
        """The soft label (K) that answers support, its epistemic and its aleatoric uncertainty."""
        whole = self._pooled(answers)
        each = np.array([self._pooled([answer]) for answer in answers])
        total, within = _entropy(each.mean(axis=0)), float(np.mean([_entropy(q) for q in each]))
        return [*self._scaled(whole), max(total - within, 0.0), _entropy(whole)]

    def _placed(self, labels: Floats, calls: int) -> Floats:
        """The line with which rows of the run, read from few answers, have its `labels` (N, K).

        On average, and from those answers that count most, with shots before without. Of too few
        rows nothing is told, and it stays.
        """
        rows = self._own(calls)
        if len(rows) < FEWEST_EXAMPLES:
            return self.line
        pulls = np.array([self._pull(answers) for answers in rows.values()])
        wanted = np.log(np.maximum(labels[list(rows)].mean(axis=0), _LEAST))
        line = self.line
        for _ in range(_STEPS):
            mean = softmax((pulls + line) / self._temperature, axis=1).mean(axis=0)
            line = line + self._temperature * (wanted - np.log(np.maximum(mean, _LEAST)))
        return np.asarray(line - line.mean())

    def _own(self, calls: int) -> dict[int, list[Answered]]:
        """So many answers of the run about each of its rows, by position, as far as it has any."""
        asked = self._found.evidence.predictions
        relevance = self._found.solution.relevance
        weight, shown = asked.weight.numpy(), (asked.shown >= 0).numpy()
        usable = (shown | asked.zero.numpy()) & ~asked.brief.numpy()
        at = np.flatnonzero(usable & (asked.target.numpy() < LOOKED))
        rows: dict[int, list[Answered]] = {}
        for t in at[np.lexsort((-(weight * relevance)[at], ~shown[at]))].tolist():
            answers = rows.setdefault(int(asked.target[t]), [])
            if len(answers) < calls:
                z = asked.logp[t].numpy()
                answers.append(Answered(z - z.mean(), float(weight[t]), float(relevance[t])))
        return rows

    def _pooled(self, answers: Sequence[Answered]) -> Floats:
        """What the objective makes of a row that has these answers and nothing else, (K,)."""
        return np.asarray(softmax((self._pull(answers) + self.line) / self._temperature))

    def _pull(self, answers: Sequence[Answered]) -> Floats:
        """How these answers alone pull a row to each class, (K,), in nats."""
        share = np.array([answer.weight for answer in answers])
        share = share / share.sum()
        used = share * [answer.relevance for answer in answers]
        logp = log_softmax(np.array([answer.z for answer in answers]), axis=1)
        pool = self._scale * used @ logp
        ignorance = (1 - used.sum()) / logp.shape[1]
        linear = np.log(used @ softmax(self._scale * logp, axis=1) + ignorance)
        return np.asarray(self._log_weight * pool + self._linear_weight * linear)

    def _scaled(self, labels: Floats) -> Floats:
        """The label at what the run's labels are worth: tempered, or calibrated by landmarks."""
        if self._found.calibration is not None:
            from consilience.results.calibration import rescaled

            made = rescaled(self._found.calibration, labels[None])
        else:
            made = tempered(labels[None], self._found.doubt, self._found.evidence.shares)
        return np.asarray(made[0])


def _entropy(q: Floats) -> float:
    return float(-(q * np.log(np.maximum(q, 1e-300))).sum())
