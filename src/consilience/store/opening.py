"""How a store is opened: its file gets the tables that it lacks, by migrations with a name.

A file of another program is refused, and so is one with something in it that no store has.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from consilience.errors import StoreError
from consilience.store.compact import COMPACT, LABELS, LAYOUTS, MOVED, move
from consilience.store.contents import CompactConnection
from consilience.store.objects import refuse_foreign_objects
from consilience.store.packs import PACKS
from consilience.store.place import create, lies_alone, lies_still, refuse_links, tidy
from consilience.store.schema import TABLES, insert_encoded, now

APPLICATION_ID = 0x434F4E53
"""What SQLite's own field of this name holds in a store ("CONS")."""

LONGEST_WAIT = 60.0
"""Seconds that a writer waits for the others."""

PAGE_CACHE = 1 << 22
"""Bytes of pages that a connection keeps; the system keeps them too, so more is no faster."""

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
    "m006_compact": (
        *COMPACT,
        *_append_only("contents", "keys", *(LAYOUTS[name].table for name in MOVED)),
    ),
    "m007_labels": (*LABELS, *_append_only("solved")),
    "m008_zstandard_packs": (*PACKS, *_append_only("packs")),
}
"""Each change of the schema by name, in order; a store records which it has had."""

NEW_TABLES = {
    "m002_texts": _TEXTS,
    "m003_origins": _ORIGINS,
    "m004_corrections": _CORRECTIONS,
    "m005_commands": _COMMANDS,
    "m008_zstandard_packs": PACKS,
}
"""Changes that only add tables, so that a store without them can be read as one that has none."""

MOST_IN_MEMORY = 1 << 28
"""Bytes of an older store that is brought up to date in memory where it is only read."""


def connect(path: str | Path, readonly: bool, *, as_it_is: bool = False) -> CompactConnection:
    """An open store with every migration applied; a missing file and its folder are created.

    Where `readonly`, an older store stays as it is, and is brought up to date in memory, unless it
    is to be read `as_it_is`; StoreError if that cannot be done, or if the file is not a store or is
    a newer one. A file of another program is refused before a byte of it is changed.
    """
    if str(path) != ":memory:":
        refuse_links(Path(path))
    if readonly:
        address = Path(path).absolute().as_uri()
        alone = lies_alone(Path(path))
        try:
            db = _opened(address + "?mode=ro", path, readonly, as_it_is)
            db.at_end = partial(tidy, Path(path)) if alone else None
            return db
        except StoreError as error:
            # Readers write too, beside the file; where they may not, nobody can be writing.
            if not lies_still(Path(path), error):
                raise
            return _opened(address + "?immutable=1", path, readonly, as_it_is)
    if str(path) != ":memory:":
        create(Path(path))
    return _opened(str(path), path, readonly, as_it_is)


def _opened(address: str, path: str | Path, readonly: bool, as_it_is: bool) -> CompactConnection:
    try:
        # Autocommit, so that each transaction is written out where it is needed; a connection may
        # serve several threads, because the store's writes hold a lock.
        how: dict[str, Any] = {"isolation_level": None, "check_same_thread": False}
        how |= {"factory": CompactConnection, "uri": readonly}
        db: CompactConnection = sqlite3.connect(address, LONGEST_WAIT, **how)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot open the store {path}: {error}") from error
    try:
        if readonly:
            return _to_read(db, path, as_it_is)
        _to_write(db, path)
    except sqlite3.Error as error:
        db.close()
        broken = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
        mend = "; `consilience store repair` saves what can be read" if broken else ""
        raise StoreError(f"cannot open {path} as a store: {error}{mend}") from error
    except StoreError:
        db.close()
        raise
    return db


def _to_read(db: CompactConnection, path: str | Path, as_it_is: bool) -> CompactConnection:
    _settle(db)
    pending = _pending(db, path)
    if "m001_initial" in pending:
        raise StoreError(f"{path} is empty; open it for writing once")
    if not NEW_TABLES.keys() >= set(pending) and not as_it_is:
        (pages,), (size,) = (db.execute(f"PRAGMA page_{name}").fetchone() for name in _SIZE)
        if pages * size > MOST_IN_MEMORY:
            raise StoreError(f"{path} is a large older store; open it for writing once")
        memory = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, factory=CompactConnection
        )
        db.backup(memory)
        db.close()
        _settle(memory)
        _migrate(memory, path)
        memory.execute("PRAGMA query_only = ON")
        return memory
    for statement in (made for name in pending for made in NEW_TABLES.get(name, ())):
        # Beside the file, for as long as it is open.
        db.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE"))
    return db


_SIZE = ("count", "size")


def _to_write(db: CompactConnection, path: str | Path) -> None:
    _settle(db)
    pending = _pending(db, path)
    _use_wal(db)
    db.execute("PRAGMA synchronous = NORMAL")
    if pending and _migrate(db, path):
        with suppress(sqlite3.OperationalError):  # somebody reads it
            db.execute("VACUUM")


def _settle(db: CompactConnection) -> None:
    db.row_factory = sqlite3.Row
    db.check_references(True)
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(f"PRAGMA cache_size = -{PAGE_CACHE >> 10}")


def _migrate(db: CompactConnection, path: str | Path) -> bool:
    """Every change that is pending, in one transaction; whether rows were moved."""
    moved = False
    try:
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied TEXT)"
            )
            for name in _pending(db, path):  # again: another process may have been quicker
                for statement in MIGRATIONS[name]:
                    db.execute(statement)
                moved = moved or name == "m006_compact"
                db.execute("INSERT INTO migrations VALUES (?, ?)", (name, now()))
            # Into the tables of today, so once all are there.
            moved = moved and move(db, TABLES, insert_encoded) > 0
    # Raised again. SQLite undoes the transaction for any of them, an interrupt too, so the ids that
    # were cached for its rows must go.
    except BaseException:
        db.forget()
        raise
    return moved


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
