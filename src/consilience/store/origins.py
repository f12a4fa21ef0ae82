"""The rows of the user's table beside a data set in a store, so that their ids come back.

They are no part of what decides a label, so the same data set may come from several tables; the
newest counts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from consilience.data.dataset import Dataset
from consilience.data.origin import Origin
from consilience.store.identities import dump
from consilience.store.schema import insert, now


def save_origin(db: sqlite3.Connection, data: Dataset) -> None:
    """Keep where the examples come from, unless that is what was kept last."""
    if data.origin is None:
        return
    content = data.origin.to_json(data.index)
    if _newest(db, data.fingerprint) != dump(content):
        row = {"dataset": data.fingerprint, "created": now(), "content": content}
        insert(db, "origins", row)


def origin_of(db: sqlite3.Connection, data: Dataset) -> Origin | None:
    """Where the examples of a data set came from last; None where they come from no table."""
    kept = _newest(db, data.fingerprint)
    return None if kept is None else Origin.from_json(json.loads(kept), data.ids)


def _newest(db: sqlite3.Connection, fingerprint: str) -> str | None:
    row = db.execute(
        "SELECT content FROM origins WHERE dataset = ? ORDER BY created DESC, rowid DESC LIMIT 1",
        (fingerprint,),
    ).fetchone()
    return None if row is None else str(row[0])


def origin_fault(row: Mapping[str, Any]) -> str | None:
    """Why a row cannot be the rows of a table, or None where it can."""
    content = row["content"]
    same = len(content["examples"]) == len(content["at"]) == len(content["ids"] or content["at"])
    return None if same else "its ids, rows and examples differ in number"
