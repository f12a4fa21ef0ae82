"""The ranking of a census: which concept is meant, and what is asked to find out.

Concepts are ranked by what no found label has touched: the zero-shot answers, and the relations.
Where that is too close on the sample, all examples are asked about the first, if the budget is not
small, and others than the sample about each that is close (a *runoff*). Then the first meets each
of the others in a *duel* (see `comparison`). A gut answer may be another than the one that a model
gives once it sees labels; the sum of both, in nats, decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from consilience.concepts.comparison import (
    AGAIN,
    SHOWN,
    SURE,
    Contest,
    Duel,
    advanced,
    begun,
    duel_round,
    placed,
    unrepeated,
)
from consilience.concepts.concept import Concept, fit, pooled, prevailing, same, support
from consilience.concepts.discovery import Census
from consilience.data.arrays import saying
from consilience.data.dataset import Dataset
from consilience.evidence.evidence import Evidence
from consilience.planning.planner import PlanSettings, SoftLabels, shot_round
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query


@dataclass(frozen=True, slots=True)
class ConceptRanking:
    """What a census has come to: concepts, the best first, and the first round that is not its own.

    `runoff` (number → round) says for which concepts more than the sample was asked about, when,
    or is to be. The `contest` begins after it.
    """

    concepts: tuple[Concept, ...]
    end: int
    runoff: Mapping[int, int]
    contest: Contest | None = None

    @property
    def duels(self) -> tuple[Duel, ...]:
        """The duels that were asked or are to be."""
        return self.contest.duels if self.contest else ()

    def labels(self, number: int) -> SoftLabels:
        """The labels of the concept of that number."""
        return next(c.labels for c in self.concepts if c.number == number)


def rank_concepts(
    census: Census,
    evidence: Evidence,
    rounds: int,
    landmark_classes: Mapping[int, int] | None = None,
    *,
    before: ConceptRanking | None = None,
) -> ConceptRanking:
    """What a census has come to after so many `rounds`, all of its concepts among them.

    What was planned `before`, a round ago, stays as it was planned, whatever the evidence of
    another round makes of it. Landmarks (position → class) choose by themselves, without runoff
    and duels.
    """
    labels = [census.labels(evidence, c) for c in range(census.concepts)]
    if before is None:
        ranked = _rank(labels, evidence, census, {}, landmark_classes)
        close = [c.number for c in unrepeated(ranked) if c.lead <= SURE * c.error]
        runoff: dict[int, int] = {}
        if len(close) > 1 and census.others and not landmark_classes:
            runoff = {number: census.end + r for r, number in enumerate(close)}
        before = ConceptRanking(tuple(ranked), census.end + len(runoff), runoff)
    begin = census.end + len(before.runoff)
    if landmark_classes or rounds < begin:
        return replace(before, concepts=_relabelled(before.concepts, labels))
    for number, round in before.runoff.items():
        labels[number] = _extended(census, evidence, labels[number], round)
    held = before.contest or begun(_rank(labels, evidence, census, before.runoff), evidence)
    shown = (SHOWN, AGAIN)
    held = advanced(held, labels, evidence, begin=begin, rounds=rounds, shown=shown)
    return ConceptRanking(placed(held, labels), begin + len(held.duels), before.runoff, held)


def deciding_round(
    standing: ConceptRanking,
    census: Census,
    dataset: Dataset,
    framings: Sequence[Framing],
    evidence: Evidence,
    *,
    round: int,
    seed: int,
    plan: PlanSettings,
) -> list[Query]:
    """The queries of a round of a runoff or of a duel, given the `evidence` before it."""
    # Contrasts are evidence for the labels that are found at the end.
    plain = replace(plan, contrasts=0.0)
    numbers = {r: number for number, r in standing.runoff.items()}
    if round in numbers:
        chosen = numbers[round]
        everybody = census.wide and round == min(numbers)
        return shot_round(
            dataset, framings, standing.labels(chosen), round=round, seed=seed,
            settings=plain, targets=None if everybody else census.others, pool=census.sample,
            against=others(standing, chosen),
        )  # fmt: skip
    duel = next(d for d in standing.duels if d.round == round)
    return duel_round(
        duel, standing.labels(duel.one), standing.labels(duel.other), dataset, framings,
        seed=seed, plan=plain, uneven=prevailing(evidence) is not None,
    )  # fmt: skip


def others(standing: ConceptRanking, number: int) -> tuple[NDArray[np.int64], ...]:
    """The labellings (N,) of all concepts but the one of that number."""
    return tuple(c.labels.argmax(axis=1) for c in standing.concepts if c.number != number)


def without_rejected_concepts(
    census: Census, standing: ConceptRanking, evidence: Evidence, *, vouched: bool
) -> Evidence:
    """The evidence without what was asked to find the concepts that were not chosen, and in duels.

    Those predictions are to the point of another labelling, or of none. What was asked to find the
    chosen one again counts. Where it was `vouched` for, by landmarks, and zero-shot answers support
    another one more, they are of that other one, and are left out too.
    """
    if not standing.concepts:
        return evidence
    first = standing.concepts[0]
    chosen = {c.number for c in standing.concepts if same(c, first)}
    rounds = {round for number, round in standing.runoff.items() if number not in chosen}
    rounds |= {duel.round for duel in standing.duels}
    if vouched and max(standing.concepts, key=lambda c: c.support).number not in chosen:
        rounds |= set(range(census.begin))
    for c in range(census.concepts):
        if c not in chosen:
            begin = census.begin + c * census.rounds
            rounds |= set(range(begin, begin + census.rounds))
    return evidence.only(~torch.isin(evidence.predictions.round, torch.tensor(sorted(rounds))))


def _relabelled(concepts: Sequence[Concept], labels: Sequence[SoftLabels]) -> tuple[Concept, ...]:
    """The concepts with the labels (by number) that later evidence gives them."""
    return tuple(replace(c, labels=labels[c.number]) for c in concepts)


def _rank(
    labels: Sequence[SoftLabels],
    evidence: Evidence,
    census: Census,
    runoff: Mapping[int, int],
    landmark_classes: Mapping[int, int] | None = None,
) -> list[Concept]:
    """The concepts, the best first: by landmarks, if any, then by support.

    Those of a runoff come before the others, compared where all of them were asked.
    """
    supports = np.array([support(evidence, soft) for soft in labels])
    told = np.nan_to_num([census.predictable(evidence, c) for c in range(len(labels))])
    rests = supports + told
    where = np.isin(np.arange(evidence.n), census.sample)
    if runoff:
        where = ~np.isnan(rests[list(runoff)]).any(axis=0)
    numbers = range(len(labels))
    mean = [float(np.nanmean(rests[c, where])) for c in numbers]
    fits = [fit(soft, landmark_classes or {}) for soft in labels]
    late = [bool(runoff) and c not in runoff for c in numbers]
    order = sorted(numbers, key=lambda c: (late[c], -fits[c], -mean[c], c))
    made = []
    for c in order:
        lead, error = _lead(rests[order[0]] - rests[c])
        asked = saying(labels[c])
        made.append(
            Concept(
                number=c,
                labels=labels[c],
                support=float(supports[c, asked].mean()),
                lead=lead,
                error=error,
                confidence=float(labels[c][asked].max(axis=1).mean()),
                predictable=float(told[c, asked].mean()),
                reliability=census.reliable(evidence, c),
            )
        )
    return made


def _lead(gap: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of what one concept is ahead by, (N,), NaN where not known; and its error."""
    gap = gap[~np.isnan(gap)]
    error = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else math.inf
    return float(gap.mean()), error


def _extended(census: Census, evidence: Evidence, labels: SoftLabels, round: int) -> SoftLabels:
    """The labels of a concept, with those of a round for examples outside the sample."""
    used = evidence.predictions.round == round
    outside = np.zeros(evidence.n, dtype=bool)
    outside[evidence.predictions.target[used].numpy()] = True
    outside[list(census.sample)] = False
    return np.where(outside[:, None], pooled(evidence, used), labels)
