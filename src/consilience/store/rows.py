"""The rows of a store as objects, a prediction and a run; and the rows that answers become."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from consilience.errors import AnswerError
from consilience.models.base import Answer, Model, Request, plain_usage
from consilience.prompts.query import Query
from consilience.store.contents import CHUNK, answers_of
from consilience.store.identities import dump, plain_text
from consilience.store.prompt_heads import head_of
from consilience.store.schema import (
    Encoded,
    JSONText,
    decode,
    json_text,
    list_text,
    now,
    request_columns,
    shots_of,
    shots_text,
    storable,
)
from consilience.store.verification import answer_fault

_read = json.JSONDecoder().decode

OF_PREDICTION = (
    "key, target, framing, repeat, contrast, shots, label_names, logprobs, exact, mass, usage, "
    "seconds"
)
"""The columns that a `Prediction` is made of."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A query and what the model said of each label, without the prompt and the raw response.

    `query` is the one under which it was first asked; a plan may reach the same prompt by another.
    Log-probabilities in nats, `seconds` from the request to the answer.
    """

    key: str
    query: Query
    label_names: tuple[str, ...]
    logprobs: tuple[float, ...]
    exact: tuple[bool, ...]
    mass: float
    usage: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """The record of a run: what was asked of which model with which settings, and how far it is.

    `planned`, `answered` and `failed` count rows of the plan; a row that failed and was answered
    later is answered.
    """

    id: str
    dataset: str
    dataset_name: str
    model: str
    style: str
    model_settings: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    created: str
    versions: Mapping[str, str]
    rounds: int
    planned: int
    answered: int
    failed: int


@lru_cache(maxsize=256)
def _listed(text: str) -> tuple[Any, ...]:
    """A list from its JSON; cached, because predictions share few."""
    return tuple(_read(text))


def prediction_of(row: sqlite3.Row) -> Prediction:
    """The prediction in a row that begins with the columns `OF_PREDICTION`."""
    # By their order: to find a column by its name, SQLite compares it with each.
    key, target, framing, repeat, contrast, shots, names, logprobs, exact, *others = row
    mass, usage, took = others[:3]
    return Prediction(
        key,
        Query(target, shots_of(shots), framing, repeat, contrast),
        _listed(names),
        tuple(_read(logprobs)),
        _listed(exact),
        mass,
        _read(usage),
        took,
    )


def chosen_rows(
    db: sqlite3.Connection, columns: str, keys: Sequence[str], table: str
) -> Iterator[sqlite3.Row]:
    """The rows of these keys in the table of predictions or of texts, as far as they are there."""
    for start in range(0, len(keys), CHUNK):
        name, chosen = "key", list[Any](keys[start : start + CHUNK])
        if table == "predictions":
            name, chosen = "rowid", list(answers_of(db, chosen).values())
        marks = ", ".join("?" * len(chosen))
        yield from db.execute(f"SELECT {columns} FROM {table} WHERE {name} IN ({marks})", chosen)


def known_keys(db: sqlite3.Connection, keys: Iterable[str]) -> set[str]:
    """Those of the keys that have a prediction; the very texts that were given, no copies."""
    found: set[str] = set()
    waiting = iter(keys)
    while some := list(islice(waiting, CHUNK)):
        found.update(answers_of(db, some))
    return found


def every_run(db: sqlite3.Connection) -> list[Run]:
    """Every run of a store, the one first that was last begun, or made by a command."""
    rows = db.execute(
        """SELECT runs.*, count(DISTINCT planned.round) AS rounds,
               count(planned.key) AS planned, count(answers.key) AS answered,
               count(CASE WHEN answers.key IS NULL THEN lost.key END) AS failed
           FROM runs LEFT JOIN planned ON planned.run = runs.id
           LEFT JOIN answers ON answers.key = planned.key
           LEFT JOIN (SELECT DISTINCT key FROM failed) AS lost ON lost.key = planned.key
           GROUP BY runs.id ORDER BY max(runs.created, coalesce(
               (SELECT max(created) FROM commands WHERE run = runs.id), '')) DESC,
               runs.rowid DESC"""
    ).fetchall()
    return [Run(**decode(dict(row))) for row in rows]


class AnswerRows:
    """Makes the rows of a model's answers; what is the same for all is written once."""

    def __init__(self, model: Model) -> None:
        self._model = model.name
        self._settings = JSONText(plain_text(model.settings))

    def row(self, key: str, request: Request, answer: Answer, seconds: float) -> Encoded:
        """The row of an answer, encoded; AnswerError if a value cannot be a prediction.

        That is one that is not finite or above 0, or lengths that disagree.
        """
        query, names = request.query, request.label_names
        logprobs = tuple(map(float, answer.logprobs))
        exact = tuple(map(bool, answer.exact))
        mass, seconds = float(answer.mass), float(seconds)
        if fault := answer_fault(names, logprobs, exact, mass, seconds):
            raise AnswerError(
                f"the answer of {self._model} about {query.target} cannot be kept: {fault}",
                body=dump(answer.raw),
            )
        return (
            *(key, now(), self._model, query.target, query.framing, query.repeat, query.contrast),
            *(mass, seconds, logprobs, list_text(exact), list_text(tuple(names))),
            *(_usage_text(answer.usage), shots_text(query.shots), self._settings),
            *(head_of(request).halves(request.prompt), json_text(answer.raw)),
        )


_USAGES: dict[tuple[tuple[str, int], ...], str] = {}


def _usage_text(usage: Mapping[str, Any]) -> str:
    """A usage as JSON; that of whole numbers is remembered, because predictions share few."""
    if set(map(type, usage.values())) != {int}:
        return dump(plain_usage(usage))
    name = tuple(usage.items())
    if (text := _USAGES.get(name)) is None:
        if len(_USAGES) >= 1024:
            _USAGES.clear()
        text = _USAGES[name] = dump(plain_usage(usage))
    return text


def prediction_from(key: str, request: Request, answer: Answer, seconds: float) -> Prediction:
    """What a store that has kept the answer reads from its row, without reading it."""
    return Prediction(
        key,
        request.query,
        request.label_names,
        tuple(map(float, answer.logprobs)),
        tuple(map(bool, answer.exact)),
        float(answer.mass),
        plain_usage(answer.usage),
        float(seconds),
    )


def failed_row(key: str, request: Request, error: str, body: str | None) -> dict[str, Any]:
    """The row of a call that gave no prediction, and of what came back."""
    return request_columns(request) | {
        "key": key,
        "created": now(),
        "error": storable(error),
        "body": None if body is None else storable(body),
    }


def failed_reasons(db: sqlite3.Connection, run: str) -> dict[str, str]:
    """Why queries of a run failed, the last time, by the id of their target."""
    rows = db.execute(
        "SELECT content, error FROM planned JOIN failed USING (key) "
        "JOIN contents ON contents.id = planned.target WHERE run = ? ORDER BY failed.id",
        (run,),
    )
    return {str(id): str(error) for id, error in rows}
