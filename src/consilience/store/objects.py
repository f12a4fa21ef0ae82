"""What a file may hold besides rows: the tables, views, triggers and indexes of a store.

A trigger, a view, a generated column or a virtual table runs what somebody else wrote as soon as it
is touched; so a file that has one is no store.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from consilience.errors import StoreError

_MADE = re.compile(r"CREATE (TABLE|INDEX|TRIGGER|VIEW) (\w+)")


def refuse_foreign_objects(
    db: sqlite3.Connection, path: str | Path, statements: Iterable[str]
) -> None:
    """StoreError where a file has something that these statements do not make."""
    made = {found.groups(): sql for sql in statements if (found := _MADE.match(sql))}
    for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_master"):
        if name.startswith("sqlite_"):  # SQLite's own, and nobody else may call one so
            continue
        ours = made.get((kind.upper(), name))
        same = sql == ours if kind in ("trigger", "view") else _plainly(str(sql))
        if name != "migrations" and (ours is None or not same):
            raise StoreError(
                f"{path} has a {kind} that no store has ({name[:60]!r}), so that reading it might "
                "run what somebody else wrote; take the rows out with SQLite's own shell if you "
                "trust them"
            )


def _plainly(sql: str) -> bool:
    """Whether a table has no column that is computed, and is none that a program computes."""
    return not re.search(r"\bVIRTUAL\b|\bGENERATED\b|\bAS\s*\(|\bCHECK\b", sql, re.IGNORECASE)
