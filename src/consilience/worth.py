"""What the log-odds of labels are worth: whether they understate themselves, told without a label.

A model that is shown labels often says what it knows with less confidence than it is right: of
claims that it calls true with 0.8 nearly all are. The log-odds themselves show it. Taken for a
mixture, as in `frequency` and by Han et al. 2023 (2205.10183), those of class c are normal about
m(e_c − 1/K) with one variance v, and then a nat of them is worth m/v nats: clusters that lie far
apart for how wide they are hold hardly anybody of the other class. Where they overlap, or there is
one alone, m/v is small and nothing is said.

That is no calibration. The mixture takes all errors for those of a normal tail, so that of what it
says a part is believed, and log-odds are only ever raised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from consilience.coherence import Terms
from consilience.frequency import FEWEST
from consilience.verdict import TOLD, told

BELIEVED = 1 / 3
"""The share of m/v that log-odds are taken to be worth.

On worlds with known truth the factor that serves the likelihood of the truth best was 0.4 to 0.7
of m/v where labels were right or wrong as the model's own belief, 0.2 on the network whose errors
are sure ones (`docs/log.md`, 2026-11-27); at a third nothing was made worse.
"""

STEPS = 200
"""At most so many steps of expectation maximisation."""

STILL = 1e-6
"""A fit is at rest when m/v moves by less than this share in a step."""

LEAST = 1e-12
"""Probabilities below this count as this, so that log-odds are finite."""


def worth(labels: NDArray[np.float64]) -> float:
    """How many nats a nat of the log-odds of soft `labels` (N, K) is worth, m/v of the mixture."""
    n, k = labels.shape
    logq = np.log(np.maximum(labels, LEAST))
    z = logq - logq.mean(axis=1, keepdims=True)
    square, spread = float((z**2).sum()), 1 - 1 / k
    owned, found = np.eye(k)[z.argmax(axis=1)], np.inf
    for _ in range(STEPS):
        said = float((owned * z).sum())
        distance = said / (n * spread)
        variance = (square - 2 * distance * said + distance**2 * n * spread) / (n * (k - 1))
        before, found = found, distance / max(variance, LEAST)
        if abs(found - before) < STILL * found:
            break
        owned = softmax(found * z, axis=1)
    return found


def weighed(labels: NDArray[np.float64], terms: Terms) -> tuple[NDArray[np.float64], float]:
    """Soft labels (N, K) with their log-odds raised to what they are worth, and the factor.

    The weight of the entropy among `terms` divides the evidence, and raises m/v by as much; that
    is what was asked for and not taken back. Without that term, for fewer examples than
    `frequency.FEWEST`, and where the labels are no better than chance (see `verdict`), in which
    clusters are found that are not there, they are left as they are.
    """
    entropy = terms["entropy"][0] if "entropy" in terms else 0.0
    if entropy <= 0 or len(labels) < FEWEST or told(labels) < TOLD:
        return labels, 1.0
    factor = max(1.0, BELIEVED * worth(labels) / entropy)
    scaled = log_softmax(factor * np.log(np.maximum(labels, LEAST)), axis=1)
    return (np.exp(scaled) if factor > 1 else labels), factor
