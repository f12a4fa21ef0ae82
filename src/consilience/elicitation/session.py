"""The loop: plan a round, ask it, solve, and plan the next from the labels, until it is enough.

Whatever the labels depend on is in the store or in the arguments, so a run that was interrupted
is continued by starting it again: rounds that were asked are found in the store, and the labels
come out as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from consilience.concepts.concept import Concept, distinct
from consilience.concepts.discovery import Census, plan_census
from consilience.concepts.ranking import (
    ConceptRanking,
    deciding_round,
    others,
    rank_concepts,
    without_rejected_concepts,
)
from consilience.data.dataset import Dataset
from consilience.data.relations import active_relations
from consilience.elicitation.settings import Settings, record
from consilience.errors import BudgetSpent
from consilience.evidence.evidence import Evidence, collect
from consilience.evidence.relation_factors import factors
from consilience.models.base import Model
from consilience.objective.coherence import Terms, default_terms
from consilience.objective.conditioning import condition
from consilience.planning.planner import SoftLabels, saying, shot_round
from consilience.prompts.query import Query
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found
from consilience.results.unanswered import all_refused, why_unanswered, without_answer
from consilience.results.uncertainty import uncertainty
from consilience.solvers.adam import Adam
from consilience.solvers.fixed_point import Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.solvers.starts import first_labels
from consilience.store.database import Store
from consilience.store.rows import Prediction, Run
from consilience.store.runner import CallCounts, Progress, ask, requests

Round = Sequence[tuple[Query, Prediction | None]]
"""What was asked in a round, and what was answered."""


def next_round(
    dataset: Dataset,
    settings: Settings,
    labels: SoftLabels | None,
    *,
    round: int,
    seed: int,
    budget: int,
    pool: tuple[int, ...] | None = None,
    against: tuple[NDArray[np.int64], ...] = (),
) -> list[Query]:
    """The queries of one round, at most `budget` of them; the least sure first where it is short.

    `labels` is None before anything was asked: then the shots carry labels drawn at random, as
    they do in rounds meant for that (see `Settings.drawn`). `pool` and `against` are those of
    `shot_round`.
    """
    made = settings.framings_for(dataset)
    if round == 0 and (first := settings.zero_shot(dataset)):
        return first
    n, k, drawn = len(dataset), dataset.task.k, round in settings.drawn(dataset)
    # What a label that was drawn does to a target is no evidence.
    plan = replace(settings.plan, contrasts=0.0) if drawn else settings.plan
    if labels is None or drawn:
        labels = np.eye(k)[np.random.default_rng([seed, 3]).integers(k, size=n)]
    room = int(budget / (1 + 2 * plan.contrasts))
    targets = None
    if room < n:
        order = np.argsort(labels.max(axis=1), kind="stable")
        targets = order[:room].tolist()
    return shot_round(
        dataset,
        made,
        labels,
        round=round,
        seed=seed,
        settings=plan,
        targets=targets,
        pool=pool,
        against=against,
    )


def census_of(
    dataset: Dataset, settings: Settings, seed: int, landmarks: Landmarks | None = None
) -> Census:
    """The census that is a part of a run; one without rounds where it has none."""
    first, drawn = len(settings.zero_shot(dataset)), settings.drawn(dataset)
    landmarked = () if landmarks is None else landmarks.at
    room = settings.budget(dataset) - first - len(drawn) * len(dataset)
    begin = int(first > 0) + len(drawn)
    return plan_census(dataset, room, settings.census, begin, seed, landmarked)


class Session:
    """A run under way: what has been asked so far, the labels it supports, and what comes next."""

    def __init__(
        self,
        data: Dataset,
        model: Model,
        store: Store,
        *,
        settings: Settings,
        seed: int = 0,
        terms: Terms | None = None,
        solver: Solver | None = None,
        landmarks: Landmarks | None = None,
    ) -> None:
        data.require_task()
        self.data, self.model, self.store = data, model, store
        self.settings, self.seed = settings, seed
        self.terms, self.solver = terms or default_terms(), solver or LBFGS()
        self.framings = settings.framings_for(data)
        self.budget = settings.budget(data)
        settings.shares_of(data.task)
        # Relations that no labels satisfy are found here, before anything is asked.
        factors(active_relations(data.relations, settings.priors), data.index, data.task.k)
        self.round = self.planned = self.quiet = 0
        self.labels: SoftLabels | None = None
        self.evidence: Evidence | None = None
        self.unheard = np.zeros(len(data), dtype=bool)
        self.landmarks = landmarks
        self.census = census_of(data, settings, seed, landmarks)
        self.standing: ConceptRanking | None = None
        store.save_dataset(data)
        settled = record(settings, self.terms, self.solver, landmarks)
        self.run = store.start_run(data, model, settled, seed)

    def next_queries(self) -> list[Query]:
        """The queries of the next round; none where the budget or the changes are at an end.

        A round that the store has a plan of stays as it was planned: answers that failed then may
        be there now, and other answers would lead to another plan.
        """
        stored = self.store.rounds(self.run)
        if self.round < len(stored):
            return [query for _, query in stored[self.round]]
        if self.quiet >= 2 or self.planned >= self.budget:
            return []
        if self.census.begin <= self.round < self.census.end:
            return self.census.queries(
                self.data,
                self.framings,
                self.evidence,
                round=self.round,
                seed=self.seed,
                plan=self.settings.plan,
            )
        pool: tuple[int, ...] | None = None
        against: tuple[NDArray[np.int64], ...] = ()
        if self.standing is not None and self.evidence is not None:
            if self.round < self.standing.end:
                return deciding_round(
                    self.standing,
                    self.census,
                    self.data,
                    self.framings,
                    self.evidence,
                    round=self.round,
                    seed=self.seed,
                    plan=self.settings.plan,
                )
            chosen = self.standing.concepts[0].number
            if self.round == self.standing.end and chosen not in self.standing.runoff:
                # Outside the sample nobody has a label of the concept yet.
                pool, against = self.census.sample, others(self.standing, chosen)
        return next_round(
            self.data,
            self.settings,
            self.labels,
            round=self.round,
            seed=self.seed,
            budget=self.budget - self.planned,
            pool=pool,
            against=against,
        )

    @property
    def unanswered(self) -> list[str]:
        """The ids of the examples that no round so far got an answer for."""
        return [id for id, unheard in zip(self.data.ids, self.unheard, strict=True) if unheard]

    def learn(self, count: int) -> None:
        """Takes in a round of `count` queries, whose answers are in the store, as far as any.

        Who has no answer has no label (1/K), whatever the objective makes of it, and is no shot.
        """
        self._learn(count)
        if self.labels is not None and self.unheard.any():
            self.labels = np.where(self.unheard[:, None], 1 / self.data.task.k, self.labels)

    def _learn(self, count: int) -> None:
        self.evidence = gather(self.store, self.run, self.data, self.settings, self.round + 1)
        self.unheard = without_answer(self.evidence)
        self.planned += count
        self.round += 1
        end = self.census.end if self.standing is None else self.standing.end
        if self.census.concepts and self.round <= end:
            if self.round >= self.census.end:
                landmark_classes = _classes(self.landmarks)
                self.standing = rank_concepts(
                    self.census, self.evidence, self.round, landmark_classes, before=self.standing
                )
                self.labels = self.standing.concepts[0].labels
            return
        if self.standing is not None:
            self.evidence = without_rejected_concepts(self.census, self.standing, self.evidence)
        self.evidence = self.evidence.weighed()
        before = self.labels
        # One start, from the labels so far: other optima are looked for at the end.
        start = before if before is not None else first_labels(self.evidence)
        self.labels = solve(
            self.evidence, self.terms, self.solver, seed=self.seed, start=start, starts=1
        ).labels
        if start is not None and not saying(self.labels).any():
            # No prediction fits any labels: from none at all no round could be planned.
            self.labels = start
        if before is not None:
            # As probability that moved, in which an example that is undecided counts for little.
            moved = np.abs(self.labels - before).sum(axis=1).mean() / 2
            self.quiet = self.quiet + 1 if moved < self.settings.settled else 0

    def catch_up(self) -> None:
        """Takes in the rounds that were asked, without asking anything.

        Of the last one nobody knows whether it was asked to its end unless it is whole.
        """
        rounds = self.store.rounds(self.run)
        for r, rows in enumerate(rounds):
            keys = {key for key, _ in rows}
            if r == len(rounds) - 1 and len(self.store.known(keys)) < len(keys):
                break
            self.learn(len(rows))


def elicit(
    data: Dataset,
    model: Model,
    *,
    calls_per_example: float = 8.0,
    store: str | Path | Store = ":memory:",
    seed: int = 0,
    concurrency: int = 16,
    settings: Settings | None = None,
    terms: Terms | None = None,
    solver: Solver | None = None,
    landmarks: Landmarks | None = None,
    progress: Progress | None = None,
) -> Found:
    """The labels that the model believes, found without any.

    `settings` replaces `calls_per_example` where both are given. `landmarks` say which of the
    concepts that a census finds is meant, before the rest of the budget is spent on it; nothing
    else is made of them here (see `Found.calibrated`). Interrupt it and call it again
    with the same arguments and store: nothing is asked twice.
    """
    settings = settings or Settings(calls_per_example=calls_per_example)
    with ExitStack() as stack:
        db = store if isinstance(store, Store) else stack.enter_context(Store(store))
        session = Session(
            data,
            model,
            db,
            settings=settings,
            seed=seed,
            terms=terms,
            solver=solver,
            landmarks=landmarks,
        )
        total = CallCounts()
        while queries := session.next_queries():
            rows = requests(queries, data, session.framings, model)
            db.add_round(session.run, session.round, [(key, r.query) for key, r in rows])
            unanswered = session.unanswered
            total += ask(
                rows, model, db, concurrency=concurrency, progress=progress, unanswered=unanswered
            )
            if not total.calls + total.known and total.refused:
                raise all_refused(data, total)
            if not total.calls + total.known and total.ended:
                raise BudgetSpent(total.ended)
            session.learn(len(rows))
            if total.ended:
                break
        return solve_run(db, session.run, data, settings, terms, solver, seed=seed, asked=total)


def gather(
    store: Store, run: str, dataset: Dataset, settings: Settings, rounds: int | None = None
) -> Evidence:
    """The evidence of a run, or of its first `rounds`, from the store alone."""
    return _collected(_answered(store, run, rounds), dataset, settings)


def _answered(store: Store, run: str, rounds: int | None = None) -> Sequence[Round]:
    """The queries of each round of a run, or of its first `rounds`, and what was answered."""
    made = []
    for rows in store.rounds(run)[:rounds]:
        stored = store.predictions([key for key, _ in rows])
        made.append([(query, p) for (_, query), p in zip(rows, stored, strict=True)])
    return made


def _collected(answered: Sequence[Round], dataset: Dataset, settings: Settings) -> Evidence:
    """The evidence of those rounds."""
    return collect(
        dataset,
        settings.framings_for(dataset),
        answered,
        priors=settings.priors,
        floor=settings.floor,
        bias=settings.bias,
        drawn=settings.drawn(dataset),
        shares=settings.shares_of(dataset.task),
    )


def solve_run(
    store: Store,
    run: str,
    dataset: Dataset,
    settings: Settings,
    terms: Terms | None = None,
    solver: Solver | None = None,
    *,
    seed: int = 0,
    device: str | None = None,
    asked: CallCounts | None = None,
) -> Found:
    """The labels of a run, solved from the store alone; the same store gives the same labels.

    `device` is where it is solved. Uncertainty is that of soft labels, found by gradients. The
    log-odds of the labels are at what they are worth (see `mixture`).
    """
    terms, solver = terms or default_terms(), solver or LBFGS()
    answered = _answered(store, run)
    evidence, concepts = _after_census(store.run(run), dataset, settings, answered)
    evidence = evidence.weighed()
    start = concepts[0].labels if concepts else first_labels(evidence)
    solution = solve(evidence, terms, solver, seed=seed, start=start, device=device)
    soft = solver if isinstance(solver, LBFGS | Adam) else LBFGS()
    return Found(
        dataset=dataset,
        framings=settings.framings_for(dataset),
        run=store.run(run),
        evidence=evidence,
        terms=terms,
        solution=solution,
        log_odds_scale=float(condition(evidence, torch.from_numpy(solution.labels)[None]).scale[0]),
        uncertainty=uncertainty(evidence, terms, soft, solution, seed=seed),
        saved=max(0, settings.budget(dataset) - store.run(run).planned),
        asked=asked or CallCounts(),
        concepts=concepts,
        unanswered=why_unanswered(store, run, evidence, dataset),
    )


def _after_census(
    run: Run, dataset: Dataset, settings: Settings, answered: Sequence[Round]
) -> tuple[Evidence, tuple[Concept, ...]]:
    """What speaks for the labels, and the concepts that the census of a run found, if it had one.

    The concept that the run went on with is the first: it is decided round by round, as in the run.
    """
    evidence = _collected(answered, dataset, settings)
    said = run.settings.get("landmarks")
    landmarks = Landmarks.of(said, dataset) if said else None
    census = census_of(dataset, settings, run.seed, landmarks)
    if not census.concepts or run.rounds < census.end:
        return evidence, ()
    landmark_classes = _classes(landmarks)
    standing: ConceptRanking | None = None
    for rounds in range(census.end, run.rounds):
        if standing is not None and rounds > standing.end:
            break
        early = _collected(answered[:rounds], dataset, settings)
        standing = rank_concepts(census, early, rounds, landmark_classes, before=standing)
    end = rank_concepts(census, evidence, run.rounds, landmark_classes, before=standing)
    return without_rejected_concepts(census, end, evidence), distinct(end.concepts)


def _classes(landmarks: Landmarks | None) -> dict[int, int]:
    return {} if landmarks is None else dict(zip(landmarks.at, landmarks.classes, strict=True))
