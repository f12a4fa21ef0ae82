"""Concepts: labellings that a model carries, how they are told apart, and the support for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from consilience.data.arrays import row_sums, saying
from consilience.evidence.evidence import Evidence
from consilience.evidence.mixture import FEWEST_EXAMPLES
from consilience.objective.conditioning import zero_shot_answer
from consilience.planning.planner import SoftLabels

_SAME = 0.9
"""Labellings that agree on more than this share of the examples are of one concept.

So are labellings whose log-odds would correlate by more than this without the noise of either."""

_UNRELIABLE = 0.75
"""Below this reliability nobody knows what two labellings would be without their noise.

Rounds of a labelling that still moves agree less than its noise alone makes them, and would let two
concepts pass for one: `pocket-popular` has .65, pretrained models .85 to .97. Half-way: two
findings of spam (Gemma 3 270M), of which either ranks it at AUROC .95, have .797."""

BEATS_CHANCE = 1e-9
"""A class for all is better than chance by more than this, in nats per example, or is not."""

COUNTED = 0.1
"""What a nat of held-out predictability counts beside one of zero-shot answers and duels.

Little: it tells labellings that a model can follow from those that it cannot, and not which of
two that it can is meant. At 1 it chose the more predictable of four-class concepts for the truth
on 3 of 4 seeds of `k4` and was wrong (`docs/development/log.md`)."""

DOUBT = 0.1
"""The share of ignorance in an answer that a concept is judged by, so that none decides alone."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A labelling that the model carries, found on a sample.

    `number` counts in the order of finding. `labels` (N, K) are soft, 1/K outside the sample, or,
    after a runoff, where it was not asked about. `support` is how much better than chance the
    zero-shot answers, and relations, speak for it, in nats per example; `lead` by how much more
    than for this one they, and duels, speak for the concept ranked first, ± `error` (standard),
    on the examples that both have a label for. `confidence` is the mean probability of its labels,
    `predictable` what shots with its labels tell about its labels elsewhere, in nats per example,
    which counts for the lead too. `reliability` is the squared correlation of its log-odds with
    what they would be without noise.
    """

    number: int
    labels: SoftLabels
    support: float
    lead: float
    error: float
    confidence: float
    predictable: float = 0.0
    reliability: float = 1.0


def distinct(concepts: Sequence[Concept]) -> tuple[Concept, ...]:
    """The concepts without those that are another one again, perhaps with its classes renamed."""
    kept: list[Concept] = []
    for concept in concepts:
        if not any(same(concept, other, renamed=True) for other in kept):
            kept.append(concept)
    return tuple(kept)


def same(one: Concept, other: Concept, *, renamed: bool = False) -> bool:
    """Whether two are one concept: by their labels, perhaps once classes are `renamed`, or noise.

    Two noisy findings of one labelling disagree on many examples, and on no more than either would
    with itself: their correlation over the root of the product of their reliabilities is 1
    (Spearman 1904).
    """
    if _agree(one.labels, other.labels, renamed=renamed):
        return True
    both = saying(one.labels) & saying(other.labels)
    if both.sum() < FEWEST_EXAMPLES:
        return False
    x, y = (standard(concept.labels[both]) for concept in (one, other))
    noiseless = max(one.reliability * other.reliability, 0.0) ** 0.5
    return noiseless > _UNRELIABLE and bool((x * y).mean() > _SAME * noiseless)


def reliability(evidence: Evidence, one: torch.Tensor, other: torch.Tensor) -> float:
    """How reliable the mean of the answers `one` and `other` (T) is, from 0 to 1.

    Twice their correlation over one more than it (Spearman and Brown 1910); 1 where it is unknown.
    """
    halves = [pooled(evidence, used) for used in (one, other)]
    both = saying(halves[0]) & saying(halves[1])
    if both.sum() < FEWEST_EXAMPLES:
        return 1.0
    x, y = (standard(half[both]) for half in halves)
    rho = max(float((x * y).mean()), 0.0)
    return 2 * rho / (1 + rho)


def _agree(one: SoftLabels, other: SoftLabels, *, renamed: bool) -> bool:
    """Whether two labellings (N, K) agree, where both have labels."""
    k = one.shape[1]
    both = saying(one) & saying(other)
    table = np.zeros((k, k))
    np.add.at(table, (one.argmax(axis=1)[both], other.argmax(axis=1)[both]), 1)
    rows = columns = np.arange(k)
    if renamed:
        # Here, as it takes long to load and most runs find too few concepts to compare.
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(-table)
    return bool(table[rows, columns].sum() > _SAME * max(both.sum(), 1))


def questions(concepts: Sequence[Concept], count: int = 3) -> list[int]:
    """The examples, by position, whose labels would best tell the concepts apart.

    Chosen one after the other: where the concepts surely disagree, and most where those chosen
    before leave two concepts alike.
    """
    if len(concepts) < 2:
        return []
    stack = np.stack([concept.labels for concept in concepts])
    labelled = np.all([saying(labels) for labels in stack], axis=0)
    apart = 1 - np.einsum("aik,bik->abi", stack, stack)
    # Nobody is told from itself.
    parted = np.where(np.eye(len(concepts)) > 0, np.inf, 0.0)
    chosen: list[int] = []
    for _ in range(min(count, int(labelled.sum()))):
        worth = np.einsum("ab,abi->i", np.exp(-2 * parted), apart)
        worth[~labelled] = -np.inf
        worth[chosen] = -np.inf
        chosen.append(int(np.round(worth, 9).argmax()))
        parted = parted + apart[:, :, chosen[-1]]
    return chosen


def support(evidence: Evidence, labels: SoftLabels) -> NDArray[np.float64]:
    """What speaks for a labelling and no found label has touched: zero-shot answers and relations.

    In nats for each example (N,), better than chance; NaN where it has no label.
    """
    k = evidence.k
    prior = (1 - DOUBT) * zero_shot_labels(evidence) + DOUBT / k
    said = np.log(prior)[np.arange(evidence.n), labels.argmax(axis=1)] + math.log(k)
    logq = torch.from_numpy(labels).clamp(min=1e-12).log()
    holds = sum(float(factor.log_holds(logq).sum()) for factor in evidence.factors)
    return np.where(saying(labels), said + holds / max(saying(labels).sum(), 1), np.nan)


def predictability(
    evidence: Evidence, labels: SoftLabels, used: torch.Tensor
) -> NDArray[np.float64]:
    """How much the `used` answers (T) tell about soft labels found before them, nats, (N,).

    `COUNTED` times what jointly normal log-odds with their correlation ρ tell about each other,
    −½ log(1 − ρ²), example by example; 0 where ρ is not positive, NaN where there is no label or
    answer. The shots of the answers had the same labels and the target was none of them, so it
    is held out; it takes no scale and no offset of either for granted.
    """
    asked = np.zeros(evidence.n, dtype=bool)
    asked[evidence.predictions.target[used].numpy()] = True
    there = asked & saying(labels)
    made = np.full(evidence.n, np.nan)
    if there.sum() < 2:
        return made
    x, y = (standard(soft[there]) for soft in (labels, pooled(evidence, used)))
    rho = min(float((x * y).mean()), 0.99)
    rest = 1 - rho**2
    each = (2 * rho * x * y - rho**2 * (x**2 + y**2)) / (2 * rest) - np.log(rest) / 2
    made[there] = COUNTED * each.mean(axis=1) if rho > 0 else 0.0
    return made


def standard(labels: SoftLabels) -> NDArray[np.float64]:
    """Centred log soft labels, less each class's mean, of variance 1."""
    logq = np.log(np.maximum(labels, 1e-12))
    z = logq - logq.mean(axis=1, keepdims=True)
    z = z - z.mean(axis=0)
    return np.asarray(z / max(float(z.std()), 1e-12))


def prevailing(evidence: Evidence) -> int | None:
    """The class that nearly all examples may be of: were all, that would beat chance; or None.

    Where the classes are about as frequent, none does: what speaks for a class in some examples
    speaks as much against it in the others (see `support`).
    """
    k = evidence.k
    worth = [np.mean(support(evidence, np.eye(k)[np.full(evidence.n, c)])) for c in range(k)]
    best = int(np.argmax(worth))
    return best if worth[best] > BEATS_CHANCE else None


def zero_shot_labels(evidence: Evidence) -> SoftLabels:
    """The zero-shot answers, (N, K), label-name bias removed; 1/K where there is none."""
    weight = torch.ones(1, evidence.t, dtype=torch.float64)
    return np.asarray(zero_shot_answer(evidence, weight)[0].exp().numpy())


def pooled(evidence: Evidence, used: torch.Tensor) -> SoftLabels:
    """The normalised mean log-probabilities of each example's `used` predictions (T), (N, K).

    Each counts by its weight; 1/K where there is none.
    """
    predictions = evidence.predictions
    target, logp = predictions.target[used].numpy(), predictions.logp[used].numpy()
    weight = predictions.weight[used].numpy()
    total = row_sums(target, weight[:, None] * logp, evidence.n)
    weights = np.bincount(target, weights=weight, minlength=evidence.n)
    return np.asarray(np.exp(log_softmax(total / np.maximum(weights, 1e-9)[:, None], axis=1)))


def fit(labels: SoftLabels, landmark_classes: Mapping[int, int]) -> float:
    """The log-likelihood of landmarks (position → class) under soft labels, in nats."""
    k = labels.shape[1]
    return sum(
        math.log((1 - DOUBT) * labels[i, c] + DOUBT / k) for i, c in landmark_classes.items()
    )
