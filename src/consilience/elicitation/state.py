"""What a run knows: what was asked and answered, round by round, and the labels that follow.

A pure value of data, settings, seed and answers: no store, no model. Running, resuming and solving
a run again feed it the same rounds and so come to the same labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from consilience.concepts.concept import Concept, distinct
from consilience.concepts.discovery import Census, plan_census
from consilience.concepts.ranking import (
    ConceptRanking,
    rank_concepts,
    without_rejected_concepts,
)
from consilience.data.arrays import saying
from consilience.data.dataset import Dataset
from consilience.elicitation.settings import Settings
from consilience.evidence.collect import evidence_of
from consilience.evidence.evidence import Evidence
from consilience.evidence.run_answers import RunAnswers
from consilience.objective.coherence import default_terms
from consilience.objective.term import Terms
from consilience.planning.planner import SoftLabels
from consilience.prompts.query import Query
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found
from consilience.results.solved import solve_all
from consilience.solvers.fixed_point import Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.solvers.starts import first_labels
from consilience.store.rows import Prediction, Run
from consilience.store.runner import CallCounts

QUIET = 2
"""A run ends after so many rounds in which the labels hardly moved (see `Settings.settled`)."""

Round = Sequence[tuple[Query, Prediction | None]]
"""What was asked in a round, and what was answered."""


def census_of(
    dataset: Dataset, settings: Settings, seed: int, landmarks: Landmarks | None = None
) -> Census:
    """The census that is a part of a run; one without rounds where it has none."""
    first = settings.zero_shot_calls(dataset)
    landmarked = () if landmarks is None else landmarks.at
    room = settings.budget(dataset) - first
    return plan_census(dataset, room, settings.census, int(first > 0), seed, landmarked)


class RunState:
    """A run as far as it was asked.

    `round` is the number of the round that comes next, `planned` how many queries came before it,
    `labels` (N, K) what its shots carry (None before anything was solved), `unheard` (N,) who has
    no answer yet, `quiet` in how many rounds running the labels hardly moved. `ranking` is that of
    the concepts, once a census has found them. `corrections` are the classes that the user says
    examples have, by id.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: Settings,
        seed: int = 0,
        *,
        terms: Terms | None = None,
        solver: Solver | None = None,
        landmarks: Landmarks | None = None,
        corrections: Mapping[str, int] | None = None,
    ) -> None:
        self.corrections = corrections or {}
        self.dataset, self.settings, self.seed = dataset, settings, seed
        self.terms = default_terms() if terms is None else terms
        self.solver = LBFGS() if solver is None else solver
        self.framings = settings.framings_for(dataset)
        self.census = census_of(dataset, settings, seed, landmarks)
        self.round = self.planned = self.quiet = 0
        self._cut = False
        self.labels: SoftLabels | None = None
        self.ranking: ConceptRanking | None = None
        self.unheard = np.ones(len(dataset), dtype=bool)
        self._vouched: Mapping[int, int] = (
            {} if landmarks is None else dict(zip(landmarks.at, landmarks.classes, strict=True))
        )
        self._answered: list[Round] = []
        self._columns = RunAnswers(dataset, self.framings)
        self._evidence: Evidence | None = None

    @property
    def evidence(self) -> Evidence:
        """All that was answered; SolveError where nothing was."""
        if self._evidence is None:
            self._evidence = evidence_of(
                self._columns,
                priors=self.settings.priors,
                floor=self.settings.floor,
                bias=self.settings.bias,
                shares=self.settings.shares_of(self.dataset.task),
            ).holding({self.dataset.index[id]: c for id, c in self.corrections.items()})
        return self._evidence

    @property
    def answered(self) -> bool:
        """Whether any round was answered."""
        return bool(self._answered)

    @property
    def relevant(self) -> Evidence:
        """The evidence about the labels that are looked for, each answer by its weight."""
        evidence = self.evidence
        if self.ranking is not None:
            evidence = without_rejected_concepts(
                self.census, self.ranking, evidence, vouched=bool(self._vouched)
            )
        return evidence.weighed()

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The concepts that the census found, none twice, the one the run went on with first."""
        return () if self.ranking is None else distinct(self.ranking.concepts)

    def add(self, answers: Round) -> None:
        """Takes in the answers to the round that comes next."""
        self._answered.append(answers)
        # Where not all of the last round was answered, what is left was not saved.
        self._cut = any(p is None for _, p in answers)
        self._columns.add(answers)
        self._evidence = None
        self.round += 1
        self.planned += len(answers)
        heard = [query.target for query, p in answers if p is not None and any(p.exact)]
        self.unheard[[self.dataset.index[id] for id in set(heard)]] = False
        if self.unheard.all():
            _ = self.evidence  # its error says what is wrong, before more is asked
        end = self.census.end if self.ranking is None else self.ranking.end
        if self.census.concepts and self.census.end <= self.round <= end:
            self.ranking = rank_concepts(
                self.census, self.evidence, self.round, self._vouched, before=self.ranking
            )

    def settle(self) -> None:
        """Finds the labels that the next round's shots carry.

        While concepts are looked for and compared they are those of the first. Who has no answer
        has no label (1/K), whatever the objective makes of it, and is no shot.
        """
        before = self.labels
        if self.ranking is not None and self.round <= self.ranking.end:
            self.labels = self.ranking.concepts[0].labels
        elif self.ranking is not None or not self.census.concepts:
            self.labels = self._solved(before)
            if before is not None:
                # As probability that moved, in which who is undecided counts for little.
                moved = np.abs(self.labels - before).sum(axis=1).mean() / 2
                self.quiet = self.quiet + 1 if moved < self.settings.settled else 0
        if self.labels is not None and self.evidence.held is not None:
            given = self.evidence.held.numpy()[:, None]
            self.labels = np.where(given >= 0, given == np.arange(self.dataset.task.k), self.labels)
        if self.labels is not None and self.unheard.any():
            self.labels = np.where(self.unheard[:, None], 1 / self.dataset.task.k, self.labels)

    def _solved(self, before: SoftLabels | None) -> SoftLabels:
        """The labels that are coherent with the evidence so far, from one start.

        Other optima are looked for at the end.
        """
        evidence = self.relevant
        start = before if before is not None else first_labels(evidence)
        labels = solve(
            evidence, self.terms, self.solver, seed=self.seed, start=start, starts=1
        ).labels
        # No prediction fits any labels: from none at all no round could be planned.
        return start if start is not None and not saying(labels).any() else labels

    def found(
        self,
        run: Run,
        *,
        device: str | None = None,
        asked: CallCounts | None = None,
        unanswered: Mapping[str, str] | None = None,
        place: str | None = None,
    ) -> Found:
        """The labels of the run, solved from all starts; `device` is where.

        The log-odds of the labels are at what they are worth (see `mixture`); `place` is the file
        of the store.
        """
        if self.ranking is not None:
            self.ranking = rank_concepts(
                self.census, self.evidence, self.round, self._vouched, before=self.ranking
            )
        evidence, concepts = self.relevant, self.concepts
        made = solve_all(evidence, self.terms, self.solver, concepts, seed=self.seed, device=device)
        return Found(
            dataset=self.dataset,
            framings=self.framings,
            run=run,
            evidence=evidence,
            terms=self.terms,
            **made._asdict(),
            saved=0 if self._cut else max(0, self.settings.budget(self.dataset) - self.planned),
            asked=asked or CallCounts(),
            concepts=concepts,
            unanswered=unanswered or {},
            predictions={
                p.key: p for answers in self._answered for _, p in answers if p is not None
            },
            solver=self.solver,
            corrections=self.corrections,
            place=place,
            budget=self.settings.budget(self.dataset),
            settled=None if self.labels is None else self.quiet >= QUIET,
        )
