"""A second opinion: the labels that follow from what no found label has touched.

A prompt with shots shows labels that were found before; if these are of a wrong concept, the
answers will be too, and agree with them. Zero-shot answers show no label, and a contrast shows
its shot both ways. They are few and weak, but their errors are not those of the shots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consilience.evidence.evidence import Evidence
from consilience.objective.term import Terms
from consilience.solvers.solution import Solution, solve

DISSENT = 0.8
"""Agreement below which labels are to be distrusted.

On six draws of a simulated world, with a contrast per query and 16 calls, labels of the concept
that the model holds most salient agreed in 82 to 89 % of the examples, those of a run seeded with
another in 51 to 72 %, and once in 84 %. `benchmarks/contrasts.py` has other worlds and budgets.
"""


@dataclass(frozen=True, slots=True)
class ShotFreeCheck:
    """Soft labels (N, K) from zero-shot answers and contrasts alone, and how they compare.

    `agreement` is the share of examples that have the same hard label in the solution; `error`
    its standard error.
    """

    labels: NDArray[np.float64]
    agreement: float
    error: float

    @property
    def dissents(self) -> bool:
        """Whether the two agree so little that the labels are to be distrusted."""
        return self.agreement < DISSENT


def check_without_shots(
    evidence: Evidence,
    solution: Solution,
    terms: Terms | None = None,
    *,
    seed: int = 0,
) -> ShotFreeCheck | None:
    """What zero-shot answers and contrasts alone say; None where there is neither."""
    shot_free = evidence.predictions.zero | evidence.predictions.brief
    if not bool(shot_free.any()):
        return None
    labels = solve(evidence.only(shot_free), terms, seed=seed).labels
    same = labels.argmax(axis=1) == solution.labels.argmax(axis=1)
    error = float(same.std(ddof=1) / np.sqrt(len(same))) if len(same) > 1 else float("nan")
    return ShotFreeCheck(labels, float(same.mean()), error)
