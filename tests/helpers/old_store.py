"""A store as it was before texts were written once: rows as JSON, each whole."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from consilience.store.opening import APPLICATION_ID, MIGRATIONS
from consilience.store.schema import TABLES, encode

BEFORE = [name for name in MIGRATIONS if name < "m006"]


def write_old(lines: Path, path: Path, migrations: Sequence[str] = BEFORE) -> Path:
    """The rows of an exported store in a file of these migrations, as far as it has the tables."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN")
    db.execute("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied TEXT)")
    for name in migrations:
        for statement in MIGRATIONS[name]:
            db.execute(statement)
        db.execute("INSERT INTO migrations VALUES (?, '')", (name,))
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for line in lines.read_text().splitlines():
        row = json.loads(line)
        if (table := row.pop("table")) in there:
            marks = ", ".join("?" * len(TABLES[table]))
            columns = ", ".join(TABLES[table])
            db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", encode(table, row))
    db.execute("COMMIT")
    db.close()
    return path
