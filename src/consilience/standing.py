"""Which of the concepts of a census is meant, and what is asked to find that out.

Concepts are ranked by what no found label has touched: the zero-shot answers, and the relations.
Where that is too close on the sample, all examples are asked about the first, if the budget is not
small, and others than the sample about each that is close (a *runoff*). Then the first meets each
of the others in a *duel*: examples on which the two disagree are asked with shots on which they
agree, so that the shots say which way round the labels are, and nothing about which of the two
they are of. A gut answer may be another than the one that a model gives once it sees labels; the
sum of both, in nats, decides. Two that are too close even then meet again, with one shot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from consilience.census import DUEL, Census
from consilience.concepts import DOUBT, Concept, fit, known, pooled, same, support
from consilience.evidence import Evidence
from consilience.examples import Dataset
from consilience.plan import PlanSettings, SoftLabels, shot_round
from consilience.prompts import Framing
from consilience.query import Query

STREAM = 75
"""What tells the random numbers of this module from those of others that use the same seed."""

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
class Standing:
    """What a census has come to: concepts, the best first, and the first round that is not its own.

    `runoff` (number → round) says for which concepts more than the sample was asked about, when,
    or is to be. `duels` are those that were or are to be asked.
    """

    concepts: tuple[Concept, ...]
    end: int
    runoff: Mapping[int, int]
    duels: tuple[Duel, ...] = ()

    def labels(self, number: int) -> SoftLabels:
        """The labels of the concept of that number."""
        return next(c.labels for c in self.concepts if c.number == number)


@dataclass(frozen=True, slots=True)
class _Edge:
    """How far a concept is behind another, in nats per example, and the variance of that."""

    behind: int
    lead: float
    variance: float

    @property
    def close(self) -> bool:
        """Whether it is no more than `SURE` standard errors from level."""
        return abs(self.lead) <= SURE * math.sqrt(self.variance)


def stand(
    census: Census,
    evidence: Evidence,
    rounds: int,
    vouched: Mapping[int, int] | None = None,
    *,
    second: bool = True,
) -> Standing:
    """What a census has come to after so many `rounds`, all of its concepts among them.

    Landmarks (position → class) choose by themselves, without runoff and duels. Runs planned before
    there were second duels are read without `second`, as they were asked.
    """
    labels = [census.labels(evidence, c) for c in range(census.concepts)]
    ranked = _rank(labels, evidence, census, {}, vouched)
    if vouched:
        return Standing(tuple(ranked), census.end, {})
    close = [c.number for c in _apart(ranked) if c.lead <= SURE * c.error]
    runoff: dict[int, int] = {}
    if len(close) > 1 and census.others:
        runoff = {number: census.end + r for r, number in enumerate(close)}
    begin = census.end + len(runoff)
    if rounds < begin:
        return Standing(tuple(ranked), begin, runoff)
    for number, round in runoff.items():
        labels[number] = _extended(census, evidence, labels[number], round)
    ranked = _rank(labels, evidence, census, runoff)
    return _after_duels(ranked, evidence, begin, rounds, runoff, (SHOWN, AGAIN)[: 1 + second])


def deciding_round(
    standing: Standing,
    census: Census,
    dataset: Dataset,
    framings: Sequence[Framing],
    vectors: NDArray[np.float64],
    *,
    round: int,
    seed: int,
    plan: PlanSettings,
) -> list[Query]:
    """The queries of a round of a runoff or of a duel."""
    # Contrasts are evidence for the labels that are found at the end.
    plain = replace(plan, contrasts=0.0)
    numbers = {r: number for number, r in standing.runoff.items()}
    if round in numbers:
        chosen = numbers[round]
        everybody = census.wide and round == min(numbers)
        return shot_round(
            dataset, framings, vectors, standing.labels(chosen), round=round, seed=seed,
            settings=plain, targets=None if everybody else census.others, pool=census.sample,
            against=others(standing, chosen),
        )  # fmt: skip
    duel = next(d for d in standing.duels if d.round == round)
    one, other = standing.labels(duel.one), standing.labels(duel.other)
    apart, alike = _met(one, other)
    drawn = np.random.default_rng([seed, STREAM, round]).permutation(np.flatnonzero(apart))
    # Where they agree a label is as sure as the less sure of the two.
    sure = np.minimum(one.max(axis=1), other.max(axis=1))[:, None]
    k = dataset.task.k
    both = np.where(np.eye(k, dtype=bool)[one.argmax(axis=1)], sure, (1 - sure) / (k - 1))
    agreed = np.flatnonzero(alike)
    # Wrong labels that many targets are shown tilt a duel: they are among the unsure ones.
    surest = agreed[np.argsort(-sure[agreed, 0], kind="stable")][: len(agreed) // 2]
    few = replace(plain, shots=duel.shown, bridges=duel.shown, block=1)
    # A second one is paid for by what is kept to ask half of the examples once more.
    most = DUEL if duel.shown == SHOWN else min(DUEL, len(dataset) // 4)
    return shot_round(
        dataset, framings, vectors, both, round=round, seed=seed, settings=few,
        targets=sorted(drawn[:most].tolist()), pool=sorted(surest.tolist()),
    )  # fmt: skip


def others(standing: Standing, number: int) -> tuple[NDArray[np.int64], ...]:
    """The labellings (N,) of all concepts but the one of that number."""
    return tuple(c.labels.argmax(axis=1) for c in standing.concepts if c.number != number)


def spoken(census: Census, standing: Standing, evidence: Evidence) -> Evidence:
    """The evidence without what was asked to find the concepts that were not chosen, and in duels.

    Those predictions are to the point of another labelling, or of none.
    """
    if not standing.concepts:
        return evidence
    chosen = standing.concepts[0].number
    rounds = {round for number, round in standing.runoff.items() if number != chosen}
    rounds |= {duel.round for duel in standing.duels}
    for c in range(census.concepts):
        if c != chosen:
            first = census.begin + c * census.rounds
            rounds |= set(range(first, first + census.rounds))
    return evidence.only(~torch.isin(evidence.round, torch.tensor(sorted(rounds))))


def _apart(ranked: Sequence[Concept]) -> list[Concept]:
    """The concepts without those that are one ahead of them again: nothing is to be decided."""
    kept: list[Concept] = []
    for concept in ranked:
        if not any(same(concept.labels, other.labels) for other in kept):
            kept.append(concept)
    return kept


def _rank(
    labels: Sequence[SoftLabels],
    evidence: Evidence,
    census: Census,
    runoff: Mapping[int, int],
    vouched: Mapping[int, int] | None = None,
) -> list[Concept]:
    """The concepts, the best first: by landmarks, if any, then by support.

    Those of a runoff come before the others, compared where all of them were asked.
    """
    rests = np.array([support(evidence, soft) for soft in labels])
    where = np.isin(np.arange(evidence.n), census.sample)
    if runoff:
        where = ~np.isnan(rests[list(runoff)]).any(axis=0)
    numbers = range(len(labels))
    mean = [float(np.nanmean(rests[c, where])) for c in numbers]
    fits = [fit(soft, vouched or {}) for soft in labels]
    late = [bool(runoff) and c not in runoff for c in numbers]
    order = sorted(numbers, key=lambda c: (late[c], -fits[c], -mean[c], c))
    made = []
    for c in order:
        apart = rests[order[0]] - rests[c]
        apart = apart[~np.isnan(apart)]
        error = float(apart.std(ddof=1)) / math.sqrt(len(apart)) if len(apart) > 1 else math.inf
        asked = known(labels[c])
        made.append(
            Concept(
                number=c,
                labels=labels[c],
                support=float(rests[c, asked].mean()),
                lead=float(apart.mean()),
                error=error,
                confidence=float(labels[c][asked].max(axis=1).mean()),
            )
        )
    return made


def _extended(census: Census, evidence: Evidence, labels: SoftLabels, round: int) -> SoftLabels:
    """The labels of a concept, with those of a round for examples outside the sample."""
    used = evidence.round == round
    outside = np.zeros(evidence.n, dtype=bool)
    outside[evidence.target[used].numpy()] = True
    outside[list(census.sample)] = False
    return np.where(outside[:, None], pooled(evidence, used), labels)


def _after_duels(
    ranked: Sequence[Concept],
    evidence: Evidence,
    begin: int,
    rounds: int,
    runoff: Mapping[int, int],
    shown: Sequence[int],
) -> Standing:
    """The standing with the duels that were asked taken in, and the next one if there is one.

    Two concepts meet once for each number of shots in `shown`, until they are told apart.
    """
    named = {c.number: c for c in ranked}
    first = ranked[0].number
    apart = _apart(ranked)
    edges = {c.number: _Edge(first, c.lead, c.error**2) for c in apart[1:]}
    edges |= {c.number: _again(c, apart, evidence) for c in ranked if c not in apart}
    duels: list[Duel] = []
    # Before there were second duels fewer would do.
    least = AGREED if len(shown) > 1 else COMMON
    # Also with those far behind: a gut answer that is sure may not be of the labels that are meant.
    for challenger in apart[1:]:
        differ, agree = _met(named[first].labels, challenger.labels)
        if differ.sum() < COMMON or agree.sum() < least:
            continue
        edge, held = edges[challenger.number], list[int]()
        for shots in shown:
            if held and not edge.close:
                break
            duels.append(Duel(begin + len(duels), first, challenger.number, shots))
            if duels[-1].round >= rounds:
                return Standing(_ordered(ranked, edges), duels[-1].round + 1, runoff, tuple(duels))
            held.append(duels[-1].round)
            edge = edges[challenger.number] = _decided(named[first], challenger, evidence, held)
        first = challenger.number if edge.lead < 0 else first
    return Standing(_ordered(ranked, edges), begin + len(duels), runoff, tuple(duels))


def _again(concept: Concept, apart: Sequence[Concept], evidence: Evidence) -> _Edge:
    """How far a concept that was found before is behind the one that it repeats, and never ahead.

    The other stands for both: it was ranked higher, and met the others in a runoff and in duels.
    """
    first = next(c for c in apart if same(c.labels, concept.labels))
    lead, variance, _ = _preferred(first.labels, concept.labels, evidence)
    return _Edge(first.number, max(0.0, lead), variance)


def _preferred(one: SoftLabels, other: SoftLabels, evidence: Evidence) -> tuple[float, float, int]:
    """How far one labelling leads another by support, its variance, and on how many examples."""
    rests = support(evidence, one) - support(evidence, other)
    rests = rests[~np.isnan(rests)]
    return float(rests.mean()), float(rests.var(ddof=1) / len(rests)), len(rests)


def _met(one: SoftLabels, other: SoftLabels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where two labellings (N, K) disagree, and where they agree, of what both have labels for."""
    both = known(one) & known(other)
    same = one.argmax(axis=1) == other.argmax(axis=1)
    return both & ~same, both & same


def _decided(one: Concept, other: Concept, evidence: Evidence, rounds: Sequence[int]) -> _Edge:
    """How far `other` is behind `one` by support and by the duels of those rounds, added up."""
    lead, variance, asked = _preferred(one.labels, other.labels, evidence)
    for used in (evidence.round == round for round in rounds):
        if not bool(used.any()):
            continue
        target = evidence.target[used].numpy()
        said = np.log((1 - DOUBT) * evidence.logp[used].exp().numpy() + DOUBT / evidence.k)
        row = np.arange(len(target))
        met = said[row, one.labels.argmax(axis=1)[target]]
        met = met - said[row, other.labels.argmax(axis=1)[target]]
        # Those who agree say nothing between the two, and were not asked.
        share = _met(one.labels, other.labels)[0].sum() / asked
        lead += float(share * met.mean())
        variance += float(share**2 * met.var() / len(met))
    return _Edge(one.number, lead, variance)


def _ordered(ranked: Sequence[Concept], edges: Mapping[int, _Edge]) -> tuple[Concept, ...]:
    """The concepts by how far each is behind the best, along the comparisons that were made."""

    def chain(number: int) -> list[int]:
        made = []
        while number in edges:
            made.append(number)
            number = edges[number].behind
        return made

    chains = {c.number: chain(c.number) for c in ranked}
    behind = {number: sum(edges[e].lead for e in made) for number, made in chains.items()}
    order = sorted(ranked, key=lambda c: behind[c.number])
    best = order[0].number
    return tuple(
        replace(
            c,
            lead=behind[c.number] - behind[best],
            # What both have in common is not between them.
            error=math.sqrt(
                sum(edges[e].variance for e in set(chains[c.number]) ^ set(chains[best]))
            ),
        )
        for c in order
    )
