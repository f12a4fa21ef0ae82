"""A run repeated from its record in a store, and what came out otherwise.

The record has the data set, the model, the settings, the seed and the versions. Answers that come
out otherwise lead to other shots, so that later rounds may ask other questions; those that both
runs asked are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from consilience.elicitation.recorded_terms import terms_from
from consilience.elicitation.session import elicit, solve_run
from consilience.elicitation.settings import settings_from
from consilience.errors import InputError
from consilience.models.base import Model
from consilience.models.served import served_by
from consilience.objective.term import Terms
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found
from consilience.solvers.fixed_point import Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store
from consilience.store.rows import Run
from consilience.store.runner import Progress
from consilience.store.schema import versions


@dataclass(frozen=True, slots=True)
class Rerun:
    """Both runs, and where they differ.

    `versions` and `settings` have what is not the same, each as (then, now). `questions` counts
    the queries of the first, `of both` those that both asked and got an answer to, `other answers`
    those of them with another log-probability, and `furthest` the largest difference, in nats.
    `labels` has the ids whose label is another one, `moved` the largest change of a probability.
    """

    before: Found
    again: Found
    versions: Mapping[str, tuple[str | None, str | None]]
    settings: Mapping[str, tuple[Any, Any]]
    questions: int
    of_both: int
    other_answers: int
    furthest: float
    labels: tuple[str, ...]
    moved: float

    @property
    def same(self) -> bool:
        """Whether every answer and every label came out as it was, to the last bit."""
        answered = self.before.run.answered == self.of_both == self.again.run.answered
        return answered and not self.other_answers and self.moved == 0.0


def rerun(
    store: Store,
    run: Run,
    model: Model,
    into: Store,
    *,
    terms: Terms | None = None,
    solver: Solver | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Rerun:
    """Asks everything of a run again and keeps the answers `into` another store; the differences.

    What that store has is not asked twice, so the same call goes on after an interrupt. `terms` of
    the user's own, and a `solver` that is not the default, have to be given again. InputError where
    they are not, the run is the extension of another, or the model has another name.
    """
    if "extends" in run.settings:
        raise InputError(
            f"run {run.id} extends run {run.settings['extends']} with rows; rerun that one"
        )
    if model.name != run.model:
        raise InputError(f"run {run.id} asked {run.model}, not {model.name}")
    solver = LBFGS() if solver is None else solver
    if run.settings["solver"] != repr(solver):
        raise InputError(f"run {run.id} was solved by {run.settings['solver']}: give that `solver`")
    terms = _recorded_terms(run) if terms is None else terms
    data = store.dataset(run.dataset)
    settings = settings_from(run.settings)
    before = solve_run(store, run.id, data, settings, terms, solver)
    into.save_corrections(data, store.corrections(data.fingerprint))
    again = elicit(
        data,
        model,
        store=into,
        seed=run.seed,
        settings=settings,
        terms=terms,
        solver=solver,
        landmarks=Landmarks.recorded(run.settings.get("landmarks", {}), data),
        concurrency=concurrency,
        progress=progress,
    )
    # As a store gives it back: a tuple is a list there.
    now = into.run(again.run.id)
    asked = tuple(
        {**_told(kept, one), **_flat(one.model_settings), **_flat(one.settings)}
        for kept, one in ((store, run), (into, now))
    )
    answers = _answers(store, run), _answers(into, again.run)
    return _compared(before, again, _other(*asked), *answers)


def _recorded_terms(run: Run) -> Terms:
    try:
        return terms_from(run.settings["terms"])
    except InputError as error:
        raise InputError(f"run {run.id}: {error}; give the `terms` that it had") from error


def _compared(
    before: Found, again: Found, settings: _Differences, then: _Answers, now: _Answers
) -> Rerun:
    """Where the answers and the labels of two runs differ."""
    both = then.keys() & now.keys()
    away = {key: max(map(_gap, then[key], now[key])) for key in both}
    moved = np.abs(before.soft_labels - again.soft_labels).max(axis=1)
    other = before.hard_labels != again.hard_labels
    ids = before.dataset.ids
    return Rerun(
        before,
        again,
        _other(before.run.versions, versions()),
        settings,
        questions=before.run.planned,
        of_both=len(both),
        other_answers=sum(gap > 0 for gap in away.values()),
        furthest=max(away.values(), default=0.0),
        labels=tuple(id for id, differs in zip(ids, other, strict=True) if differs),
        moved=float(moved.max()),
    )


_Question = tuple[str, tuple[tuple[str, int], ...], str, int, int | None]
"""What makes a query: target, shots, framing, repeat number, contrast."""

_Answers = Mapping[_Question, tuple[float, ...]]
_Differences = Mapping[str, tuple[Any, Any]]


def _answers(store: Store, run: Run) -> _Answers:
    """The log-probabilities that a run got, by query: keys also hash settings, which may differ."""
    found: dict[_Question, tuple[float, ...]] = {}
    for rows in store.rounds(run.id):
        answers = store.predictions([key for key, _ in rows])
        for (_, q), answer in zip(rows, answers, strict=True):
            if answer is not None:
                found[q.target, q.shots, q.framing, q.repeat, q.contrast] = answer.logprobs
    return found


def _told(store: Store, run: Run) -> dict[str, Any]:
    """How a run asked, and which model the server said that it was."""
    served = (served_by(raw).model for raw in store.latest(run.model))
    return {"style": run.style, "answered by": next(filter(None, served), None)}


def _gap(one: float, other: float) -> float:
    return abs(one - other)


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of a table within a table beside the others."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        inner = value if isinstance(value, Mapping) else {None: value}
        found |= {key if name is None else f"{key}.{name}": v for name, v in inner.items()}
    return found


def _other(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is not the same in both."""
    names = sorted(then.keys() | now.keys())
    return {n: (then.get(n), now.get(n)) for n in names if then.get(n) != now.get(n)}
