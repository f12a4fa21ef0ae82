"""The tables of a store: how a file gets them, and how rows go in and come out.

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
from functools import lru_cache
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

from consilience.errors import StoreError
from consilience.models.base import Request
from consilience.prompts.query import Query
from consilience.store.identities import dump
from consilience.store.objects import refuse_foreign_objects
from consilience.store.place import create, lies_still, refuse_links

APPLICATION_ID = 0x434F4E53
"""What SQLite's own field of this name holds in a store ("CONS")."""

LONGEST_WAIT = 60.0
"""Seconds that a writer waits for the others."""

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
}  # fmt: skip
"""Every table and its columns; a table comes after those that it refers to."""

Planned = tuple[str, Query]
"""A row of a plan: the key of the prediction and the query as this plan puts it."""

JSON_COLUMNS = frozenset(
    {"content", "model_settings", "settings", "versions", "shots", "logprobs", "exact"}
    | {"label_names", "usage", "prompt", "raw", "data"}
)

_QUERY = "target TEXT NOT NULL, framing TEXT NOT NULL, repeat INTEGER NOT NULL, contrast INTEGER"


def _append_only(*tables: str) -> tuple[str, ...]:
    return tuple(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END"
        for table in tables
        for verb in ("UPDATE", "DELETE")
    )


_TEXTS = (
    """CREATE TABLE texts (
        key TEXT PRIMARY KEY, created TEXT NOT NULL, model TEXT NOT NULL, seconds REAL NOT NULL,
        text TEXT NOT NULL, usage TEXT NOT NULL, settings TEXT NOT NULL, prompt TEXT NOT NULL,
        raw TEXT NOT NULL)""",
    """CREATE TABLE text_failures (
        key TEXT NOT NULL, created TEXT NOT NULL, model TEXT NOT NULL, error TEXT NOT NULL,
        settings TEXT NOT NULL, prompt TEXT NOT NULL, body TEXT, UNIQUE (key, created, error))""",
)

_ORIGINS = (
    """CREATE TABLE origins (
        dataset TEXT NOT NULL REFERENCES datasets (fingerprint), created TEXT NOT NULL,
        content TEXT NOT NULL, UNIQUE (dataset, created))""",
)

_CORRECTIONS = (
    """CREATE TABLE corrections (
        dataset TEXT NOT NULL REFERENCES datasets (fingerprint), created TEXT NOT NULL,
        example TEXT NOT NULL, label INTEGER NOT NULL, UNIQUE (dataset, created, example))""",
)

_COMMANDS = (
    """CREATE TABLE commands (
        run TEXT NOT NULL REFERENCES runs (id), created TEXT NOT NULL, content TEXT NOT NULL,
        UNIQUE (run, created))""",
)

MIGRATIONS: dict[str, tuple[str, ...]] = {
    # The large columns stand last, so that reading the others does not read them.
    "m001_initial": (
        """CREATE TABLE datasets (
            fingerprint TEXT PRIMARY KEY, name TEXT NOT NULL, created TEXT NOT NULL,
            content TEXT NOT NULL)""",
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, dataset TEXT NOT NULL REFERENCES datasets (fingerprint),
            dataset_name TEXT NOT NULL, model TEXT NOT NULL, style TEXT NOT NULL,
            model_settings TEXT NOT NULL, settings TEXT NOT NULL, seed INTEGER NOT NULL,
            created TEXT NOT NULL, versions TEXT NOT NULL)""",
        f"""CREATE TABLE plan (
            run TEXT NOT NULL REFERENCES runs (id), round INTEGER NOT NULL,
            position INTEGER NOT NULL, key TEXT NOT NULL, {_QUERY}, shots TEXT NOT NULL,
            PRIMARY KEY (run, round, position)) WITHOUT ROWID""",
        f"""CREATE TABLE predictions (
            key TEXT PRIMARY KEY, created TEXT NOT NULL, model TEXT NOT NULL, {_QUERY},
            mass REAL NOT NULL, seconds REAL NOT NULL, logprobs TEXT NOT NULL,
            exact TEXT NOT NULL, label_names TEXT NOT NULL, usage TEXT NOT NULL,
            shots TEXT NOT NULL, settings TEXT NOT NULL, prompt TEXT NOT NULL,
            raw TEXT NOT NULL)""",
        f"""CREATE TABLE failures (
            key TEXT NOT NULL, created TEXT NOT NULL, error TEXT NOT NULL, {_QUERY},
            label_names TEXT NOT NULL, shots TEXT NOT NULL, prompt TEXT NOT NULL, body TEXT,
            UNIQUE (key, created, error))""",
        """CREATE TABLE probes (
            model TEXT NOT NULL, base_url TEXT NOT NULL, created TEXT NOT NULL,
            data TEXT NOT NULL, UNIQUE (model, base_url, created))""",
        "CREATE INDEX predictions_target ON predictions (target)",
        *_append_only("datasets", "runs", "plan", "predictions", "failures", "probes"),
    ),
    "m002_texts": (*_TEXTS, *_append_only("texts", "text_failures")),
    "m003_origins": (*_ORIGINS, *_append_only("origins")),
    "m004_corrections": (*_CORRECTIONS, *_append_only("corrections")),
    "m005_commands": (*_COMMANDS, *_append_only("commands")),
}
"""Each change of the schema by name, in order; a store records which it has had."""

NEW_TABLES = {
    "m002_texts": _TEXTS,
    "m003_origins": _ORIGINS,
    "m004_corrections": _CORRECTIONS,
    "m005_commands": _COMMANDS,
}
"""Changes that only add tables, so that a store without them can be read as one that has none."""


def connect(path: str | Path, readonly: bool) -> sqlite3.Connection:
    """An open store with every migration applied; a missing file and its folder are created.

    Where `readonly`, an older store is read as it is; StoreError if that cannot be done, or if the
    file is not a store or is a newer one. A file of another program is refused before a byte of it
    is changed.
    """
    if str(path) != ":memory:":
        refuse_links(Path(path))
    if readonly:
        address = Path(path).absolute().as_uri()
        try:
            return _opened(address + "?mode=ro", path, readonly)
        except StoreError as error:
            # Readers write too, beside the file; where they may not, nobody can be writing.
            if not lies_still(Path(path), error):
                raise
            return _opened(address + "?immutable=1", path, readonly)
    if str(path) != ":memory:":
        create(Path(path))
    return _opened(str(path), path, readonly)


def _opened(address: str, path: str | Path, readonly: bool) -> sqlite3.Connection:
    try:
        # Autocommit, so that each transaction is written out where it is needed; a connection may
        # serve several threads, because the store's writes hold a lock.
        how: dict[str, Any] = {"isolation_level": None, "check_same_thread": False}
        db: sqlite3.Connection = sqlite3.connect(address, LONGEST_WAIT, uri=readonly, **how)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot open the store {path}: {error}") from error
    db.row_factory = sqlite3.Row
    try:
        _prepare(db, path, readonly)
    except sqlite3.Error as error:
        db.close()
        broken = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
        mend = "; `consilience store repair` saves what can be read" if broken else ""
        raise StoreError(f"cannot open {path} as a store: {error}{mend}") from error
    except StoreError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: str | Path, readonly: bool) -> None:
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA temp_store = MEMORY")
    pending = _pending(db, path)
    if readonly:
        if not NEW_TABLES.keys() >= set(pending):
            raise StoreError(f"{path} is empty or an older store; open it for writing once")
        for statement in (made for name in pending for made in NEW_TABLES[name]):
            # Beside the file, for as long as it is open.
            db.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE"))
        return
    _use_wal(db)
    db.execute("PRAGMA synchronous = NORMAL")
    if not pending:
        return
    with db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied TEXT)")
        for name in _pending(db, path):  # again: another process may have been quicker
            for statement in MIGRATIONS[name]:
                db.execute(statement)
            db.execute("INSERT INTO migrations VALUES (?, ?)", (name, now()))


def _use_wal(db: sqlite3.Connection) -> None:
    """Write-ahead logging; SQLite does not wait for the lock that the first change to it needs."""
    give_up = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
        time.sleep(0.01)


def _pending(db: sqlite3.Connection, path: str | Path) -> list[str]:
    """The migrations that a file has not had; StoreError if it is no store of ours."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return list(MIGRATIONS)
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program, not a store")
    refuse_foreign_objects(db, path, (sql for made in MIGRATIONS.values() for sql in made))
    applied = {name for (name,) in db.execute("SELECT name FROM migrations")}
    if unknown := sorted(applied - MIGRATIONS.keys()):
        raise StoreError(
            f"{path} was written by a newer version of consilience ({', '.join(unknown)}); upgrade"
        )
    return [name for name in MIGRATIONS if name not in applied]


Encoded = Sequence[Any]
"""The values of a row as SQLite takes them, in the order of its table's columns."""


def encode(table: str, row: Mapping[str, Any]) -> Encoded:
    """The values of a row as SQLite takes them, in the order of the table's columns."""
    return [dump(row[c]) if c in JSON_COLUMNS else row[c] for c in TABLES[table]]


def decode(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of SQLite's with its JSON read; ValueError where it is not JSON."""
    return {c: json.loads(value) if c in JSON_COLUMNS else value for c, value in row.items()}


def query_columns(query: Query) -> dict[str, Any]:
    """A query as the five columns that hold it."""
    return {
        "target": query.target,
        "framing": query.framing,
        "repeat": query.repeat,
        "contrast": query.contrast,
        "shots": [list(shot) for shot in query.shots],
    }


def request_columns(request: Request) -> dict[str, Any]:
    """A request as the columns that hold it."""
    names = list(request.label_names)
    return query_columns(request.query) | {"label_names": names, "prompt": request.prompt}


@lru_cache(maxsize=1024)
def _shots(text: str) -> tuple[tuple[str, int], ...]:
    """Shots from their JSON; cached, because a block of queries shares one list."""
    return tuple((id, label) for id, label in json.loads(text))


def query_of(row: Mapping[str, Any] | sqlite3.Row) -> Query:
    """The query that a row holds, its shots still as JSON text."""
    return Query(
        target=row["target"],
        shots=_shots(row["shots"]),
        framing=row["framing"],
        repeat=row["repeat"],
        contrast=row["contrast"],
    )


def insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """Insert a row unless its identity is there; the number of rows added."""
    return insert_encoded(db, table, encode(table, row))


def insert_encoded(db: sqlite3.Connection, table: str, values: Encoded) -> int:
    """Insert an encoded row unless its identity is there; the number of rows added."""
    return db.execute(_INSERTS[table], values).rowcount


_INSERTS = {
    table: f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
    "ON CONFLICT DO NOTHING"
    for table, columns in TABLES.items()
}


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
    latest = "SELECT coalesce(max(round) + 1, 0) FROM plan WHERE run = ?"
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
    for position, (key, query) in enumerate(rows):
        place = {"run": run, "round": round, "position": position, "key": key}
        insert(db, "plan", place | query_columns(query))
    return len(rows)


def now() -> str:
    """The time in UTC, to the microsecond, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def storable(text: str) -> str:
    """Text that SQLite takes: half a surrogate pair is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def versions() -> dict[str, str]:
    """The versions of Python, of SQLite and of the packages that can change a result."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in ("consilience", "numpy", "torch", "scikit-learn", "httpx2"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
