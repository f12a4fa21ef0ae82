"""Whether a run's labels are to be believed, from its predictions alone.

Five things are told apart. *Degenerate*: one class for everybody, or labels that lost the ranking
of the answers that they came from; the objective failed, not the model. *No better than chance*:
answers under some lists of shots hardly agree with answers under others, or not by more than a
permutation of the examples would. *Several concepts*: the model carries more than one labelling,
and what no found label has touched does not tell which of the first two is meant. *Unsure*: the
answers agree in the order of the examples, but do not lie in two classes, so that the labels say
next to nothing; or the labels rest on answers without shots, which those with shots do not bear
out. *Coherent*: none of these. A coherent run may still be of another concept than the one meant:
what a model holds to be most salient is not always what its user asks for, and only landmarks tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from consilience.concepts.comparison import SURE
from consilience.concepts.concept import Concept, pooled
from consilience.data.arrays import saying
from consilience.data.random_streams import generator
from consilience.evidence.evidence import Evidence
from consilience.evidence.mixture import FEWEST_EXAMPLES
from consilience.objective.conditioning import weigh
from consilience.planning.planner import margins
from consilience.results.tempering import Shares, believable, temper_factor, tempered

TOLD = 0.15
"""Labels of two classes that tell less than this share of what they could are unsure.

0.12 is what probabilities of 0.7 tell. Of answers that know nothing it is mostly less than 0.14 on
160 examples, for two clusters are then sometimes found where there is one. Opinions of SmolLM2
135M, which it ranks at AUROC .93, have 0.04, tweets of Gemma 3 270M (AUROC .70) 0.07. Of more
classes labels are less sure: a simulated pretrained model whose labels are .72 right has 0.08 to
0.11; they are unsure where none is decided."""

ALIKE = 0.55
"""Labels whose answers in one half of the rounds agree by less with the rest are chance.

Of two classes that is a rank correlation. On 160 examples and more, of a simulated model that knows
nothing they do by 0.30 to 0.53, of one that knows by 0.71 to 0.99, of Gemma 3 270M on 12 public
sets by 0.62 to 0.97; spam that SmolLM2 135M turned round had 0.52. Of four to eight classes of
which a model knows nothing the likeliest agree by a kappa of 0.16 to 0.27, orders by 0.33 to 0.46.
"""

MOSTLY = 0.5
"""Labels rest on answers without shots where these are more than this share of their evidence.

What answers with shots agree on is then not what the labels say. Of Gemma 3 270M on 21 public sets
it is .73 to .86 on four (languages, .82 right; numbers, .67; capitals, .55; cities, .48), on the
others at most .09, of SmolLM2 135M at most .16, of a simulated model that knows nothing .13."""

ODDS = 3.0
"""A label whose class is less than so many times as probable as the next one is left open."""


ONE_CLASS = 0.98
"""Labels of which at least this share are of one class are degenerate."""

KEPT = 0.5
"""Labels that correlate by less than this (ranks) with the mean answers lost their ranking."""

CLEAR = 0.12
"""Nats per example by which the first concept must lead the second for it to be the one meant.

The error of a lead takes examples for independent, but a model's liking for, say, long texts is
shared by all. On public sets the wrong runs of Gemma 3 270M that found a second concept lead by
0.02 to 0.116 nats, of SmolLM2 135M by 0.08, some by five errors; one that was right (0.07) is
doubted too, and another led by 0.13. On simulated worlds right runs lead by 0.05 to 0.6."""

PERMUTATIONS = 999
LEVEL = 0.01
"""Halves of the answers agree by chance where more of the permutations agree as well."""


class Kind(Enum):
    """What the labels of a run are."""

    COHERENT = "coherent"
    SEVERAL = "several concepts"
    UNSURE = "unsure"
    CHANCE = "no better than chance"
    DEGENERATE = "degenerate"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the labels of a run are, and the reasons.

    `information` is the share of what labels can tell that these do (see there);
    `doubt` what their log-odds are to be multiplied by, 1 where they are coherent (see
    `tempering`); `decided` the share of examples whose label is then not left open. Where the
    evidence was given, `kept` is the rank correlation of the labels with the mean answers, `halves`
    that of answers in one half of the rounds with those in the other.
    """

    kind: Kind
    information: float
    decided: float
    reasons: tuple[str, ...]
    kept: float = math.nan
    halves: float = math.nan
    doubt: float = 1.0

    @property
    def unsupported(self) -> bool:
        """Whether it is unsure since labels rest on answers without shots, and on no others."""
        return self.kind is Kind.UNSURE and self.halves < ALIKE

    def __str__(self) -> str:
        return f"{self.kind.value}: {'; '.join(self.reasons)}"


def information(labels: NDArray[np.float64], shares: Shares | None = None) -> float:
    """The share of what soft `labels` (N, K) could tell that they do: 1 − mean entropy / log K.

    Where the `shares` (K) of the classes are known, beyond these: their entropy for log K.
    """
    before = np.full(labels.shape[1], 1 / labels.shape[1]) if shares is None else np.array(shares)
    left, known = (
        -(q * np.log(np.maximum(q, 1e-300))).sum(axis=-1).mean() for q in (labels, before)
    )
    return float(1 - left / known)


def open_labels(labels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of soft `labels` (N, K) are better left open: the two likeliest classes are close."""
    top = np.sort(labels, axis=1)
    return np.asarray(top[:, -1] < ODDS * top[:, -2])


def verdict(
    labels: NDArray[np.float64],
    concepts: Sequence[Concept],
    vouched: bool = False,
    evidence: Evidence | None = None,
    seed: int = 0,
) -> Verdict:
    """The verdict on soft `labels` (N, K), given a census' distinct `concepts`, the best first.

    `vouched` says that landmarks chose the first. `evidence` is what the labels were solved from.
    """
    shares = None if evidence is None else evidence.shares
    tell = information(labels, shares)
    kept, halves, chance, shot_free = (math.nan,) * 4
    if evidence is not None:
        kept, (halves, chance) = kept_ranking(labels, evidence), agreeing_halves(evidence, seed)
        shot_free = shot_free_share(evidence)
    failed = _degenerate(labels, kept, shares is not None)
    kind, why = failed or _unlike(halves, chance, shot_free) or _concepts(concepts, vouched)
    k = labels.shape[1]
    little = tell < TOLD if k == 2 else bool(open_labels(labels).all())
    if kind is Kind.COHERENT and little:
        kind, why = _undivided(halves, k)
    doubt = 1.0
    if evidence is not None and kind is not Kind.COHERENT:
        doubt = temper_factor(labels, believable(labels, evidence), shares)
    decided = float(1 - open_labels(tempered(labels, doubt, shares)).mean())
    told = f"the labels tell {tell:.0%} of what they could, {decided:.0%} are decided"
    return Verdict(kind, tell, decided, (told, why), kept, halves, doubt)


def _degenerate(labels: NDArray[np.float64], kept: float, told: bool) -> tuple[Kind, str] | None:
    """Whether the objective failed: one class for everybody, or the ranking of the answers lost.

    Where the shares of the classes were `told`, one may be nobody's likeliest.
    """
    most = float(np.bincount(labels.argmax(axis=1)).max() / len(labels))
    if len(labels) >= FEWEST_EXAMPLES and most >= ONE_CLASS and not told:
        why = f"{most:.0%} are of one class; ask in other framings, or give landmarks"
        return Kind.DEGENERATE, why
    if kept < KEPT:
        return Kind.DEGENERATE, (
            f"they do not rank the examples as the answers do (rank correlation {kept:.2f}); solve "
            "with the default objective, or look at the predictions"
        )
    return None


def _unlike(halves: float, chance: float, shot_free: float) -> tuple[Kind, str] | None:
    """Whether halves of the answers agree as if by chance, or hardly better.

    Hardly better says nothing of labels that mostly rest on other answers than those of the halves.
    """
    if chance <= LEVEL and halves < ALIKE and shot_free > MOSTLY:
        return Kind.UNSURE, (
            f"they rest on answers without shots ({shot_free:.0%} of the evidence), and those with "
            f"shots agree too little, by {halves:.2f} of 1; landmarks that are drawn at random say "
            "what they are worth"
        )
    if chance > LEVEL or halves < ALIKE:
        return Kind.CHANCE, (
            f"answers under other shots agree too little, by {halves:.2f} of 1 (by chance as much "
            f"with p = {chance:.2g}); ask more, in other framings, or another model"
        )
    return None


def _undivided(halves: float, k: int) -> tuple[Kind, str]:
    """That answers which agree show no K classes."""
    alike = "" if math.isnan(halves) else f" agree, by {halves:.2f} of 1, but"
    classes = f"{'two' if k == 2 else k} classes"
    return Kind.UNSURE, (
        f"answers{alike} do not lie in {classes}; landmarks that are drawn at random say what "
        "they are worth"
    )


def _concepts(concepts: Sequence[Concept], vouched: bool) -> tuple[Kind, str]:
    """What the concepts make of a run whose labels say something."""
    if not concepts:
        return Kind.COHERENT, "too few examples or calls to check for other concepts"
    if len(concepts) == 1:
        return Kind.COHERENT, "no other concept was found"
    if vouched:
        return Kind.COHERENT, "landmarks chose the concept"
    second = concepts[1]
    lead = f"{second.lead:.3f} ± {second.error:.3f} nats per example"
    if second.lead < max(SURE * second.error, CLEAR):
        return Kind.SEVERAL, f"zero-shot answers, shots and duels prefer them by only {lead}"
    return Kind.COHERENT, f"zero-shot answers, shots and duels prefer them by {lead}"


def kept_ranking(labels: NDArray[np.float64], evidence: Evidence) -> float:
    """The rank correlation of soft labels (N, K) with the mean answers, where there are any."""
    mean = pooled(evidence, torch.ones(evidence.t, dtype=torch.bool))
    there = saying(mean)
    if there.sum() < FEWEST_EXAMPLES:
        return math.nan
    x, y = (_standard_ranks(margins(soft)[there]) for soft in (labels, mean))
    return float((x * y).mean())


def shot_free_share(evidence: Evidence) -> float:
    """The share of the evidence of an example that answers without shots are, in the mean."""
    weighed = weigh(evidence)
    asked, known = evidence.predictions, int(weighed.known.sum())
    return float(weighed.share[0, asked.zero | asked.brief].sum()) / max(known, 1)


def agreeing_halves(evidence: Evidence, seed: int) -> tuple[float, float]:
    """How far answers with shots in every other round agree with the rest, and how often by chance.

    That is their rank correlation. Of more than two classes it is Cohen's kappa of the likeliest
    classes (Cohen 1960) where that is larger: answers that single out one class and order the
    others at random correlate by .5 with five classes, by .3 with eight. Then the share of
    permutations of the examples with at least that agreement, at least 1/(PERMUTATIONS + 1);
    (NaN, NaN) where there are no two rounds about the same examples.
    """
    predictions = evidence.predictions
    shown = ~predictions.zero & ~predictions.brief
    rounds = torch.unique(predictions.round[shown])
    one, other = (
        pooled(evidence, shown & torch.isin(predictions.round, rounds[part::2])) for part in (0, 1)
    )
    both = saying(one) & saying(other)
    if both.sum() < FEWEST_EXAMPLES:
        return math.nan, math.nan
    x, y = (_standard_ranks(margins(soft)[both]) for soft in (one, other))
    first, second = (soft[both].argmax(axis=1) for soft in (one, other))

    def agreement(order: NDArray[np.int64]) -> float:
        ranked = float((x[order] * y).mean())
        return ranked if evidence.k == 2 else max(ranked, kappa(first[order], second))

    found = agreement(np.arange(len(x)))
    rng = generator(seed, "permutations")
    drawn = [agreement(rng.permutation(len(x))) for _ in range(PERMUTATIONS)]
    return found, (1 + sum(value >= found for value in drawn)) / (1 + PERMUTATIONS)


def kappa(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """How much more often two lists of classes agree than by chance, 1 for always; 0 if undefined.

    Cohen, A coefficient of agreement for nominal scales, 1960.
    """
    width = 1 + int(max(one.max(), other.max()))
    frequent = [np.bincount(classes, minlength=width) / len(classes) for classes in (one, other)]
    chance = float(frequent[0] @ frequent[1])
    return 0.0 if chance == 1 else (float((one == other).mean()) - chance) / (1 - chance)


def _standard_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ranks in each column, of mean 0 and variance 1: products of two are Spearman's."""
    ranks = pd.DataFrame(values).rank().to_numpy()
    return np.asarray((ranks - ranks.mean(axis=0)) / np.maximum(ranks.std(axis=0), 1e-12))
