"""The loop: plan a round, ask it, take in its answers, until it is enough.

Whatever the labels depend on is in the store or in the arguments, so a run that was interrupted
is continued by starting it again: rounds that were asked are found in the store, and the labels
come out as if nothing had happened. The store is read once, when a run begins or goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from numbers import Integral
from pathlib import Path

from scipy.special import log_softmax

from consilience.data.dataset import Dataset
from consilience.data.random_streams import generator
from consilience.data.relations import active_relations
from consilience.elicitation.own_queries import check_queries
from consilience.elicitation.prompt_lengths import check_lengths
from consilience.elicitation.recorded_terms import terms_of_run
from consilience.elicitation.settings import Settings, record, settings_from
from consilience.elicitation.stages import stage_of
from consilience.elicitation.state import QUIET, Round, RunState
from consilience.errors import BudgetSpent, InputError, ModelError, check_kind
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.evidence.relation_factors import factors
from consilience.models.base import Model, check_model
from consilience.objective.coherence import default_terms
from consilience.objective.term import Terms
from consilience.planning.planner import SoftLabels
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.results.kept_labels import keep_labels
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found
from consilience.results.unanswered import all_refused, why_unanswered
from consilience.solvers.fixed_point import Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.term_checks import check_objective, check_terms, own_terms
from consilience.store.canary import canary_for
from consilience.store.database import Store
from consilience.store.rows import Prediction, Run
from consilience.store.runner import CallCounts, Progress, ask, requests
from consilience.store.schema import Planned


class Session:
    """A run under way: what it knows, where that is kept, and who is asked.

    InputError for a data set without a task, settings that do not fit it, relations that no
    labels satisfy, and prompts that the model cannot read, before anything is asked.
    """

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
        landmarks: object = None,
    ) -> None:
        terms = default_terms() if terms is None else terms
        solver = LBFGS() if solver is None else solver
        _check(data, model, settings, seed)
        check_objective(terms, solver)
        seed = int(seed)
        data.require_task()
        vouched = None if landmarks is None else Landmarks.of(landmarks, data)
        self.model, self.store = model, store
        settings = settings.suited(model, data.task)
        self.budget = settings.budget(data)
        settings.shares_of(data.task)
        factors(active_relations(data.relations, settings.priors), data.index, data.task.k)
        store.save_dataset(data)
        self.state = RunState(
            data,
            settings,
            seed,
            terms=terms,
            solver=solver,
            landmarks=vouched,
            corrections=store.corrections(data.fingerprint),
        )
        if own_terms(terms):
            check_terms(_first_evidence(data, settings), terms, solver)
        settled = record(settings, terms, solver, vouched)
        self.run = store.start_run(data, model, settled, seed)
        self._stored = store.rounds(self.run)
        if not self._stored:
            check_lengths(data, model, settings, seed)
        self._asked: Sequence[Planned] = ()
        self._heard: dict[str, Prediction] = {}
        self._canary = canary_for(model, store, self.budget)

    @property
    def data(self) -> Dataset:
        """What is labelled."""
        return self.state.dataset

    @property
    def round(self) -> int:
        """The number of the round that comes next."""
        return self.state.round

    @property
    def labels(self) -> SoftLabels | None:
        """The labels (N, K) that the next round's shots carry, None before anything was solved."""
        return self.state.labels

    @property
    def framings(self) -> tuple[Framing, ...]:
        """How the questions are put."""
        return self.state.framings

    @property
    def _unanswered(self) -> list[str]:
        """The ids of the examples that were asked about and have no answer so far."""
        rows = zip(self.data.ids, self.state.unheard, strict=True)
        return [id for id, unheard in rows if unheard and self.state.answered]

    def next_queries(self) -> list[Query]:
        """The queries of the next round; none where the budget or the changes are at an end.

        A round that the store has a plan of stays as it was planned: answers that failed then may
        be there now, and other answers would lead to another plan.
        """
        state = self.state
        if state.round < len(self._stored):
            return [query for _, query in self._stored[state.round]]
        if state.quiet >= QUIET or state.planned >= self.budget:
            return []
        return stage_of(state)(state)

    def ask(
        self, queries: Sequence[Query], *, concurrency: int = 16, progress: Progress | None = None
    ) -> CallCounts:
        """Puts the next round to the model; its plan and every answer go into the store.

        InputError for a query that does not fit the data set or the framings.
        """
        check_queries(queries, self.data, self.framings)
        rows = requests(queries, self.data, self.framings, self.model)
        self._asked = list(zip(rows.all_keys, queries, strict=True))
        self.store.add_round(self.run, self.round, self._asked)
        self._heard = {}
        return ask(
            # Prompts that begin alike one after the other, for the sake of a server's cache.
            rows.by_prefix(),
            self.model,
            self.store,
            concurrency=concurrency,
            progress=progress,
            unanswered=self._unanswered,
            canary=self._canary,
            heard=self._heard,
        )

    def learn(self) -> None:
        """Takes in the answers to the round that was asked last."""
        self.state.add(answered(self.store, self._asked, self._heard))
        self._heard = {}
        self.state.settle()

    def play(self, *, concurrency: int = 16, progress: Progress | None = None) -> CallCounts:
        """Asks round after round until it is enough; what that took.

        ModelError where every row is refused, BudgetSpent where there is no budget for the first.
        """
        total = CallCounts()
        while not total.ended and (queries := self.next_queries()):
            total += self.ask(queries, concurrency=concurrency, progress=progress)
            if not total.calls + total.known and total.refused:
                raise all_refused(self.data, total)
            if not total.calls + total.known and total.ended:
                raise BudgetSpent(total.ended)
            self.learn()
        return total

    def catch_up(self, *, or_failed: bool = False) -> None:
        """Takes in the rounds that were asked, without asking anything.

        Of the last one nobody knows whether it was asked to its end unless each of its queries has
        an answer, `or_failed` (as one that the model refuses has). ModelError where all have.
        """
        for r, rows in enumerate(self._stored):
            known = self.store.known([key for key, _ in rows])
            left = [key for key, _ in rows if key not in known]
            failed = _given_up(self.store, left) if or_failed else set()
            if r == len(self._stored) - 1 and not failed.issuperset(left):
                break
            if r == 0 and len(failed) == len(rows):
                why = self.store.failures(left)[-1][1]
                raise ModelError(f"no query of the first round was answered: {why}")
            self._asked = rows
            self.learn()

    def found(self, asked: CallCounts | None = None) -> Found:
        """The labels that everything asked so far supports."""
        why = why_unanswered(self.store, self.run, self.data, self.state.unheard)
        run = self.store.run(self.run)
        return self.state.found(run, asked=asked, unanswered=why, place=self.store.place)


def _check(data: Dataset, model: Model, settings: Settings, seed: int) -> None:
    """InputError for what is no data set, no model, no settings or no seed."""
    columns = "Dataset.from_records(TABLE, text=COLUMN, task=Task(QUESTION, CLASSES))"
    check_kind(data, Dataset, f"what is labelled is a Dataset, made by {columns}")
    check_model(model)
    check_kind(settings, Settings, "settings are Settings(calls_per_example=8)")
    check_kind(seed, Integral, "a seed is a whole number from 0 on")
    if seed < 0:
        raise InputError(f"a seed is a whole number from 0 on; got {seed}")


def _first_evidence(data: Dataset, settings: Settings) -> Evidence:
    """What the evidence after the first round looks like, with answers drawn at random."""
    queries = settings.zero_shot(data)
    said = generator(0, "tried labels").normal(size=(len(queries), data.task.k))
    exact = (True,) * data.task.k
    answers = [
        (q, Prediction(str(i), q, data.task.classes, tuple(logp), exact, 1.0, {}, 0.0))
        for i, (q, logp) in enumerate(zip(queries, log_softmax(said, axis=1).tolist(), strict=True))
    ]
    return collect(data, settings.framings_for(data), [answers], priors=settings.priors)


def _given_up(store: Store, keys: Sequence[str]) -> set[str]:
    # Here, as it loads the clients of servers, which a model in this process does without.
    from consilience.store.batch_files import failed_keys

    return failed_keys(store, keys)


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
    landmarks: object = None,
    progress: Progress | None = None,
) -> Found:
    """The labels that the model believes, found without any.

    `settings` replaces `calls_per_example` if both are given. `landmarks`, a mapping of ids to
    classes, a file or rows, choose among the concepts that the census finds, before the rest of the
    budget is spent; they do not calibrate (see `Found.calibrated`). A term of your own is tried
    before anything is asked. An interrupted call goes on when it is made again with the same
    arguments and store: nothing is asked twice.
    """
    if settings is None:
        settings = Settings(calls_per_example=calls_per_example)
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
        found = session.found(session.play(concurrency=concurrency, progress=progress))
        keep_labels(found, db)
        return found


def solve_run(
    store: Store,
    run: str,
    dataset: Dataset,
    settings: Settings,
    terms: Terms | None = None,
    solver: Solver | None = None,
    *,
    device: str | None = None,
) -> Found:
    """The labels of a run, solved from the store alone; the same store gives the same labels.

    `terms` are those of the run where none are given, and its user's own have to be given; `device`
    is where it is solved.
    """
    state = replay(store, run, dataset, settings, terms, solver)
    why = why_unanswered(store, run, dataset, state.unheard)
    return state.found(store.run(run), device=device, unanswered=why, place=store.place)


def gather(store: Store, run: str, dataset: Dataset, settings: Settings) -> Evidence:
    """The evidence of a run, from the store alone."""
    return replay(store, run, dataset, settings, default_terms()).evidence


def replay(
    store: Store,
    run: str,
    dataset: Dataset,
    settings: Settings,
    terms: Terms | None = None,
    solver: Solver | None = None,
) -> RunState:
    """What a run knew after its last round, from the store alone; nothing is solved."""
    state = _unplayed(store, store.run(run), dataset, settings, terms, solver)
    for rows in store.rounds(run):
        state.add(answered(store, rows))
    return state


def _unplayed(
    store: Store,
    asked: Run,
    dataset: Dataset,
    settings: Settings,
    terms: Terms | None,
    solver: Solver | None,
) -> RunState:
    """A run of a store before its first round."""
    terms = terms_of_run(asked.settings) if terms is None else terms
    landmarks = Landmarks.recorded(asked.settings.get("landmarks", {}), dataset)
    return RunState(
        dataset,
        settings,
        asked.seed,
        terms=terms,
        solver=solver,
        landmarks=landmarks,
        corrections=store.corrections(dataset.fingerprint),
    )


def has_settled(store: Store, run: str) -> bool:
    """Whether the labels of a run had settled, which ends it: its rounds, taken in once more."""
    asked = store.run(run)
    data, settings = store.dataset(asked.dataset), settings_from(asked.settings)
    state = _unplayed(store, asked, data, settings, None, None)
    for rows in store.rounds(run):
        state.add(answered(store, rows))
        state.settle()
    return state.quiet >= QUIET


def answered(
    store: Store, rows: Sequence[Planned], heard: Mapping[str, Prediction] | None = None
) -> Round:
    """The queries of a round with what the store has for an answer to each, or was `heard`."""
    heard = heard or {}
    left = [key for key, _ in rows if key not in heard]
    read = dict(zip(left, store.predictions(left), strict=True))
    return [(query, heard.get(key) or read[key]) for key, query in rows]
