"""Whether a run's labels are to be believed, from its predictions alone.

Three things are told apart. *No better than chance*: the labels say next to nothing, as they do
where a model does not know. *Several concepts*: the model carries more than one labelling, and what
no found label has touched does not tell which of the first two is meant. *Coherent*: neither. A
coherent run may still be of another concept than the one meant: what a model holds to be most
salient is not always what its user asks for, and only landmarks tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from consilience.concepts import Concept
from consilience.duels import SURE

TOLD = 0.05
"""Labels that tell less than this share of what they could are no better than chance.

0.03 is what probabilities of 0.6 tell about two classes."""

ODDS = 3.0
"""A label whose class is less than so many times as probable as the next one is left open."""


class Kind(Enum):
    """What the labels of a run are."""

    COHERENT = "coherent"
    SEVERAL = "several concepts"
    CHANCE = "no better than chance"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the labels of a run are, and the reasons.

    `told` is the share of what labels can tell that these do, 1 − mean entropy / log K; `decided`
    the share of examples whose label is not left open.
    """

    kind: Kind
    told: float
    decided: float
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind.value}: {'; '.join(self.reasons)}"


def told(labels: NDArray[np.float64]) -> float:
    """The share of what soft `labels` (N, K) could tell that they do: 1 − mean entropy / log K."""
    entropy = -(labels * np.log(np.maximum(labels, 1e-300))).sum(axis=1)
    return float(1 - entropy.mean() / np.log(labels.shape[1]))


def open_labels(labels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of soft `labels` (N, K) are better left open: the two likeliest classes are close."""
    top = np.sort(labels, axis=1)
    return np.asarray(top[:, -1] < ODDS * top[:, -2])


def verdict(
    labels: NDArray[np.float64], concepts: Sequence[Concept], vouched: bool = False
) -> Verdict:
    """The verdict on soft `labels` (N, K), given a census' distinct `concepts`, the best first.

    `vouched` says that landmarks chose the first.
    """
    tell = told(labels)
    decided = float(1 - open_labels(labels).mean())
    reasons = [f"the labels tell {tell:.0%} of what they could, {decided:.0%} are decided"]
    kind = Kind.COHERENT
    if tell < TOLD:
        kind = Kind.CHANCE
    elif len(concepts) > 1 and vouched:
        reasons.append("landmarks chose the concept")
    elif len(concepts) > 1:
        second = concepts[1]
        lead = f"{second.lead:.3f} ± {second.error:.3f} nats per example"
        if second.lead < SURE * second.error:
            kind = Kind.SEVERAL
            reasons.append(f"zero-shot answers, relations and duels prefer them by only {lead}")
        else:
            reasons.append(f"zero-shot answers, relations and duels prefer them by {lead}")
    return Verdict(kind, tell, decided, tuple(reasons))
