"""Duels: which concept of a census is meant, asked where two concepts disagree.

Examples on which two concepts disagree are asked with shots on which they agree, so that the shots
say which way round the labels are, and nothing about which of the two they are of. What comes
back is added, in nats, to what the zero-shot answers and relations say. Two that are too close even
then meet again, with one shot.

What was decided stays so. Bias is taken out of all predictions together, so that with every round
those before read a little otherwise; were close concepts ranked anew, what was asked about one
would count for another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from consilience.concepts.concept import DOUBT, Concept, same, support
from consilience.concepts.discovery import DUEL
from consilience.data.arrays import saying
from consilience.data.dataset import Dataset
from consilience.data.random_streams import generator
from consilience.evidence.evidence import Evidence
from consilience.planning.planner import PlanSettings, SoftLabels, shot_round
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query

SURE = 2.5
"""A concept that is so many standard errors behind needs no runoff, and no second duel."""

SHOWN = 6
"""Shots in a duel. Each target has its own, as what is peculiar to a list is shared by its targets.

With fewer a gut answer may stay in the way; with more of them it tells that labels on which two
concepts agree are sooner wrong for the rarer of the two."""

AGAIN = 1
"""Shots in the second duel of two concepts that the first left close: one that is wrong tilts less.

See `benchmarks/deciding.py` for other numbers."""

COMMON = 8
"""Two concepts that disagree on fewer examples than this have no duel."""

AGREED = 4 * SHOWN
"""Nor have two that agree on fewer than this: the same few shots, with what is wrong among them,
would be in all lists, and all targets would err together."""


@dataclass(frozen=True, slots=True)
class Duel:
    """A round in which two concepts, by number, meet; `one` is the first so far."""

    round: int
    one: int
    other: int
    shown: int = SHOWN


@dataclass(frozen=True, slots=True)
class Edge:
    """How far a concept is behind another, in nats per example, and the variance of that."""

    behind: int
    lead: float
    variance: float

    @property
    def close(self) -> bool:
        """Whether it is no more than `SURE` standard errors from level."""
        return abs(self.lead) <= SURE * math.sqrt(self.variance)


@dataclass(frozen=True, slots=True)
class Contest:
    """How far the concepts have met.

    `ranked` are the concepts by support, the best first; `edges` (number → edge) how far each but
    one is behind another; `first` the number of the one that leads, and `waiting` are those that
    it has to meet yet. The last of `duels` may be still to be asked.
    """

    ranked: tuple[Concept, ...]
    edges: Mapping[int, Edge]
    first: int
    waiting: tuple[int, ...]
    duels: tuple[Duel, ...] = ()


def begun(ranked: Sequence[Concept], evidence: Evidence) -> Contest:
    """The contest before anybody has met.

    All meet the first, also those far behind: a gut answer that is sure may not be of the labels
    that are meant.
    """
    once = unrepeated(ranked)
    first, *others = (c.number for c in once)
    edges = {c.number: Edge(first, c.lead, c.error**2) for c in once[1:]}
    repeated = [c for c in ranked if c.number not in (first, *others)]
    edges |= {c.number: _again(c, once, evidence) for c in repeated}
    return Contest(tuple(ranked), edges, first, tuple(others))


def advanced(
    before: Contest,
    labels: Sequence[SoftLabels],
    evidence: Evidence,
    *,
    begin: int,
    rounds: int,
    shown: Sequence[int],
) -> Contest:
    """The contest once so many `rounds` were asked, of which duels are those from `begin` on.

    `labels` are those of each concept, by number. Two concepts meet once for each number of shots
    in `shown`, until they are told apart.
    """
    edges, first = dict(before.edges), before.first
    waiting, duels = list(before.waiting), list(before.duels)
    # Before there were second duels fewer would do.
    least = AGREED if len(shown) > 1 else COMMON
    while waiting and not (duels and duels[-1].round >= rounds):
        challenger = waiting[0]
        one, other = labels[first], labels[challenger]
        told = {c.number: c.predictable for c in before.ranked}
        held = [d.round for d in duels if (d.one, d.other) == (first, challenger)]
        if held:
            edge = _decided(first, one, other, evidence, held)
            ahead = told[first] - told[challenger]
            edges[challenger] = replace(edge, lead=edge.lead + ahead)
            settled = len(held) == len(shown) or not edges[challenger].close
        else:
            differ, agree = met(one, other)
            settled = bool(differ.sum() < COMMON or agree.sum() < least)
        if not settled:
            duels.append(Duel(begin + len(duels), first, challenger, shown[len(held)]))
            continue
        if held and edges[challenger].lead < 0:
            first = challenger
        waiting.pop(0)
    return Contest(before.ranked, edges, first, tuple(waiting), tuple(duels))


def placed(contest: Contest, labels: Sequence[SoftLabels]) -> tuple[Concept, ...]:
    """The concepts by how far each is behind the best, along the comparisons that were made."""
    edges = contest.edges

    def chain(number: int) -> list[int]:
        made = []
        while number in edges:
            made.append(number)
            number = edges[number].behind
        return made

    chains = {c.number: chain(c.number) for c in contest.ranked}
    behind = {number: sum(edges[e].lead for e in made) for number, made in chains.items()}
    ordered = sorted(contest.ranked, key=lambda c: behind[c.number])
    best = ordered[0].number
    return tuple(
        replace(
            c,
            labels=labels[c.number],
            lead=behind[c.number] - behind[best],
            # What both have in common is not between them.
            error=math.sqrt(
                sum(edges[e].variance for e in set(chains[c.number]) ^ set(chains[best]))
            ),
        )
        for c in ordered
    )


def duel_round(
    duel: Duel,
    one: SoftLabels,
    other: SoftLabels,
    dataset: Dataset,
    framings: Sequence[Framing],
    *,
    seed: int,
    plan: PlanSettings,
    uneven: bool = False,
) -> list[Query]:
    """The queries of a duel between the labellings `one` and `other`.

    Where the classes are `uneven` half of the targets are shown them as frequent as the agreed
    labels have them, and only the other half evenly. Shots that are even speak against a labelling
    of which a class is rare, because its labels of that class are sooner wrong; shots that are not
    speak for it, because a model repeats what it is shown most.
    """
    differ, alike = met(one, other)
    drawn = generator(seed, "duels", duel.round).permutation(np.flatnonzero(differ))
    # Where they agree a label is as sure as the less sure of the two.
    sure = np.minimum(one.max(axis=1), other.max(axis=1))[:, None]
    k = dataset.task.k
    both = np.where(np.eye(k, dtype=bool)[one.argmax(axis=1)], sure, (1 - sure) / (k - 1))
    agreed = np.flatnonzero(alike)
    # Wrong labels that many targets are shown tilt a duel: they are among the unsure ones.
    surest = agreed[np.argsort(-sure[agreed, 0], kind="stable")][: len(agreed) // 2]
    few = replace(plan, shots=duel.shown, block=1)
    # A second one is paid for by what is kept to ask half of the examples once more.
    most = DUEL if duel.shown == SHOWN else min(DUEL, len(dataset) // 4)
    chosen = drawn[:most]
    parts = ((True, chosen[len(chosen) // 2 :]), (False, chosen[: len(chosen) // 2]))
    return [
        query
        for even, targets in (parts if uneven else ((True, chosen),))
        for query in shot_round(
            dataset, framings, both, round=duel.round, seed=seed, settings=few,
            targets=sorted(targets.tolist()), pool=sorted(surest.tolist()), even=even,
        )
    ]  # fmt: skip


def unrepeated(ranked: Sequence[Concept]) -> list[Concept]:
    """The concepts without those that are one ahead of them again: nothing is to be decided."""
    kept: list[Concept] = []
    for concept in ranked:
        if not any(same(concept, other) for other in kept):
            kept.append(concept)
    return kept


def met(one: SoftLabels, other: SoftLabels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where two labellings (N, K) disagree, and where they agree, of what both have labels for."""
    both = saying(one) & saying(other)
    same = one.argmax(axis=1) == other.argmax(axis=1)
    return both & ~same, both & same


def _again(concept: Concept, once: Sequence[Concept], evidence: Evidence) -> Edge:
    """How far a concept that was found before is behind the one that it repeats, and never ahead.

    The other stands for both: it was ranked higher, and met the others in a runoff and in duels.
    """
    first = next(c for c in once if same(c, concept))
    lead, variance, _ = _preferred(first.labels, concept.labels, evidence)
    return Edge(first.number, max(0.0, lead), variance)


def _preferred(one: SoftLabels, other: SoftLabels, evidence: Evidence) -> tuple[float, float, int]:
    """How far one labelling leads another by support, its variance, and on how many examples."""
    rests = support(evidence, one) - support(evidence, other)
    rests = rests[~np.isnan(rests)]
    return float(rests.mean()), float(rests.var(ddof=1) / len(rests)), len(rests)


def _decided(
    first: int, one: SoftLabels, other: SoftLabels, evidence: Evidence, rounds: Sequence[int]
) -> Edge:
    """How far `other` is behind `one`, by support and by the duels of those rounds, added up.

    `one` are the labels of the concept `first`.
    """
    predictions = evidence.predictions
    lead, variance, asked = _preferred(one, other, evidence)
    for used in (predictions.round == round for round in rounds):
        if not bool(used.any()):
            continue
        target = predictions.target[used].numpy()
        said = np.log((1 - DOUBT) * predictions.logp[used].exp().numpy() + DOUBT / evidence.k)
        row = np.arange(len(target))
        gap = said[row, one.argmax(axis=1)[target]] - said[row, other.argmax(axis=1)[target]]
        # Those who agree say nothing between the two, and were not asked.
        share = met(one, other)[0].sum() / asked
        lead += float(share * gap.mean())
        variance += float(share**2 * gap.var() / len(gap))
    return Edge(first, lead, variance)
