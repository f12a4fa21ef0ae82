"""The tables of a store, and how rows go in and come out.

Columns that hold JSON hold it without spaces and in ASCII, so that any text survives; floats are
written by their shortest representation, which reads back as the same double. A name that begins
with ``sha256:`` was made by `tagged_hash`, and says so, so that another hash could follow it.
"""

from __future__ import annotations

import json
import platform
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import metadata
from itertools import groupby
from typing import Any

from consilience.errors import StoreError
from consilience.models.base import Request
from consilience.models.body import ResponseData
from consilience.prompts.query import Query
from consilience.store.answers import insert_answers
from consilience.store.compact import LAYOUTS, inflated, insert_compact
from consilience.store.contents import CompactConnection
from consilience.store.identities import dump

TAKEN_BACK = -1
"""The label of a correction that was taken back."""

TABLES: dict[str, tuple[str, ...]] = {
    "datasets": ("fingerprint", "name", "created", "content"),
    "origins": ("dataset", "created", "content"),
    "corrections": ("dataset", "created", "example", "label"),
    "runs": (
        "id", "dataset", "dataset_name", "model", "style", "model_settings", "settings", "seed",
        "created", "versions",
    ),
    "commands": ("run", "created", "content"),
    "plan": (
        "run", "round", "position", "key", "target", "framing", "repeat", "contrast", "shots",
    ),
    "predictions": (
        "key", "created", "model", "target", "framing", "repeat", "contrast", "mass", "seconds",
        "logprobs", "exact", "label_names", "usage", "shots", "settings", "prompt", "raw",
    ),
    "failures": (
        "key", "created", "error", "target", "framing", "repeat", "contrast", "label_names",
        "shots", "prompt", "body",
    ),
    "probes": ("model", "base_url", "created", "data"),
    "texts": ("key", "created", "model", "seconds", "text", "usage", "settings", "prompt", "raw"),
    "text_failures": ("key", "created", "model", "error", "settings", "prompt", "body"),
    "labels": (
        "run", "created", "example", "text", "label", "class", "probability", "epistemic",
        "aleatoric", "open",
    ),
}  # fmt: skip
"""Every table and its columns; a table comes after those that it refers to.

Predictions, plans, failures and labels are views of tables that are smaller (see `compact`).
"""

Planned = tuple[str, Query]
"""A row of a plan: the key of the prediction and the query as this plan puts it."""

JSON_COLUMNS = frozenset(
    {"content", "model_settings", "settings", "versions", "shots", "logprobs", "exact"}
    | {"label_names", "usage", "prompt", "raw", "data"}
)

Encoded = Sequence[Any]
"""The values of a row as SQLite takes them, in the order of its table's columns."""


def encode(table: str, row: Mapping[str, Any]) -> Encoded:
    """The values of a row as SQLite takes them, in the order of the table's columns."""
    return [
        dump(value) if c in JSON_COLUMNS and type(value := row[c]) is not JSONText else row[c]
        for c in TABLES[table]
    ]


def decode(row: Mapping[str, Any], db: sqlite3.Connection | None = None) -> dict[str, Any]:
    """A row of SQLite's with its JSON read; ValueError where it is not JSON.

    `db` is where a prediction comes from, whose response may lie in a pack.
    """
    found = {c: value for c, value in row.items() if c not in ("rowid", "raw_like")}
    if "raw_like" in row:
        found["raw"] = response_text(row, db)
    return {c: json.loads(value) if c in JSON_COLUMNS else value for c, value in found.items()}


def response_text(row: Mapping[str, Any] | sqlite3.Row, db: sqlite3.Connection | None) -> str:
    """The JSON of the response of a prediction that comes from `db`; ValueError without one."""
    if row["raw"] != "" or db is None:
        return inflated(row["raw"], row["raw_like"])
    assert isinstance(db, CompactConnection)
    return db.responses.text(row["rowid"])


def query_values(query: Query) -> tuple[str, str, int, int | None, JSONText]:
    """A query as the values of the five columns that hold it."""
    shots = shots_text(query.shots)
    return query.target, query.framing, query.repeat, query.contrast, shots


def query_columns(query: Query) -> dict[str, Any]:
    """A query as the five columns that hold it."""
    return dict(zip(TABLES["plan"][4:], query_values(query), strict=True))


def request_columns(request: Request) -> dict[str, Any]:
    """A request as the columns that hold it."""
    names = list(request.label_names)
    return query_columns(request.query) | {"label_names": names, "prompt": request.prompt}


class JSONText(str):
    """JSON that is text already."""

    __slots__ = ()


_SHOTS: dict[int, tuple[object, JSONText]] = {}


def shots_text(shots: tuple[tuple[str, int], ...]) -> JSONText:
    """Shots as JSON; remembered, because a block of queries shares one list."""
    # By what it is, not by what is in it: that would be hashed each time.
    held, text = _SHOTS.get(id(shots), (None, None))
    if held is not shots or text is None:
        if len(_SHOTS) >= 1024:
            _SHOTS.clear()
        text = JSONText(dump(shots))
        _SHOTS[id(shots)] = shots, text
    return text


def json_text(value: object) -> str:
    """The JSON of a value, that which it was read from where it knows it."""
    return value.text if isinstance(value, ResponseData) else dump(value)


@lru_cache(maxsize=256)
def list_text(values: tuple[str | bool, ...]) -> JSONText:
    """A list as JSON; cached, because predictions share few. Never of numbers: 1 is True here."""
    return JSONText(dump(values))


@lru_cache(maxsize=1024)
def shots_of(text: str) -> tuple[tuple[str, int], ...]:
    """Shots from their JSON; cached, because a block of queries shares one list."""
    return tuple((id, label) for id, label in json.loads(text))


def query_of(row: Mapping[str, Any] | sqlite3.Row) -> Query:
    """The query that a row holds, its shots still as JSON text."""
    return Query(
        target=row["target"],
        shots=shots_of(row["shots"]),
        framing=row["framing"],
        repeat=row["repeat"],
        contrast=row["contrast"],
    )


def insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """Insert a row unless its identity is there; the number of rows added."""
    return insert_encoded(db, table, [encode(table, row)])


def insert_encoded(db: sqlite3.Connection, table: str, rows: Sequence[Encoded]) -> int:
    """Insert encoded rows unless their identity is there; the number of rows added."""
    columns = TABLES[table]
    if table == "predictions":
        return insert_answers(db, columns, rows)
    if table in LAYOUTS:
        return insert_compact(db, table, columns, rows)
    marks = ", ".join("?" * len(columns))
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    return db.executemany(sql, rows).rowcount


def planned(db: sqlite3.Connection, run: str, round: int | None = None) -> list[list[Planned]]:
    """The plan of a run, one list per round, or of one of its rounds."""
    rows = db.execute(
        "SELECT * FROM plan WHERE run = ? AND round = coalesce(?, round) ORDER BY round, position",
        (run, round),
    )
    return [
        [(row["key"], query_of(row)) for row in rows_of_round]
        for _, rows_of_round in groupby(rows, key=lambda row: row["round"])
    ]


def insert_round(db: sqlite3.Connection, run: str, round: int, rows: Sequence[Planned]) -> int:
    """Insert the plan of a round unless it is there; the number of rows added.

    StoreError if another plan is there, if a round is left out, or if there is nothing in it.
    """
    latest = "SELECT coalesce(max(round) + 1, 0) FROM planned WHERE run = ?"
    rounds = db.execute(latest, (run,)).fetchone()[0]
    if 0 <= round < rounds:
        if planned(db, run, round) != [list(rows)]:
            raise StoreError(
                f"round {round} of run {run} is in the store with another plan; "
                f"use another seed or another store"
            )
        return 0
    if round != rounds or not rows:
        raise StoreError(
            f"round {round} of run {run} with {len(rows)} queries cannot follow its {rounds} "
            f"rounds: rounds are numbered from 0 and have at least one query"
        )
    places = [
        (run, round, position, key, *query_values(query))
        for position, (key, query) in enumerate(rows)
    ]
    return insert_encoded(db, "plan", places)


def insert_labels(db: sqlite3.Connection, run: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the labels of a run, a row for each example, unless they are those kept last."""
    columns = TABLES["labels"][2:]
    newest = "SELECT max(created) FROM solved WHERE run = ?"
    sql = f"SELECT {', '.join(columns)} FROM labels WHERE run = ? AND created = ({newest})"
    kept = [tuple(row) for row in db.execute(sql + " ORDER BY rowid", (run, run))]
    if kept != [tuple(row[c] for c in columns) for row in rows]:
        place = {"run": run, "created": now()}
        insert_encoded(db, "labels", [encode("labels", dict(row) | place) for row in rows])


def now() -> str:
    """The time in UTC, to the microsecond, as ISO 8601."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(seconds)}.{str(microseconds).zfill(6)}+00:00"


# Cached, because many rows are made in a second.
@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def storable(text: str) -> str:
    """Text that SQLite takes: half a surrogate pair is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def versions() -> dict[str, str]:
    """The versions of Python, of SQLite and of the packages that can change a result."""
    return {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, **_packages()}


# Their files are read for it, which takes longer than to start a run.
@cache
def _packages() -> dict[str, str]:
    found = {}
    for name in ("consilience", "numpy", "torch", "scikit-learn", "httpx2"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
