"""How predictions go into their table: many at once, with their responses and numbers in a pack."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from consilience.store.compact import (
    LAYOUTS,
    deflated,
    halves,
)
from consilience.store.contents import (
    CompactConnection,
    key_numbers,
    numbers_in,
    stored_text,
)
from consilience.store.packs import FEWEST_PACKED, chunks, packed_numbers, packed_responses

_COLUMNS = LAYOUTS["predictions"].columns
_INSERT = (
    f"INSERT INTO answers (id, {', '.join(_COLUMNS)}) "
    f"VALUES (?, {', '.join('?' * len(_COLUMNS))}) ON CONFLICT DO NOTHING"
)
_PACK = "INSERT INTO packs (id, count, labels, numbers, responses) VALUES (?, ?, ?, ?, ?)"


class _Row(NamedTuple):
    """A prediction, its texts numbers of `contents`."""

    model: str
    labels: int
    columns: tuple[Any, ...]
    """Those of the table, without the response and what that is compressed with."""

    numbers: tuple[Any, ...]
    raw: str


def insert_answers(db: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> int:
    """Inserts encoded predictions unless their keys are there; the number of rows added.

    Log-probabilities may be numbers still, and a prompt may be two halves.
    """
    assert isinstance(db, CompactConnection)
    made = _rows(db, rows) if rows else []
    added = 0
    for _, some in groupby(made, key=lambda row: (row.model, row.labels)):
        alike = list(some)
        for which in chunks(alike, [len(row.raw) for row in alike]):
            added += _together(db, alike[which])
    return added


def _rows(db: CompactConnection, rows: Sequence[Sequence[Any]]) -> list[_Row]:
    # Column by column, in a third of the time that row by row takes.
    key, created, model, target, framing, repeat, contrast, mass, seconds, *others = zip(
        *rows, strict=True
    )
    logprobs, exact, names, usage, shots, settings, prompts, raw = others
    heads, tails = zip(*map(partial(halves, db), shots, framing, prompts), strict=True)
    said, told = zip(*map(_said, logprobs), strict=True)
    flipped = [-1 if shot is None else shot for shot in contrast]
    shared = (model, target, framing, names, shots, settings, exact, usage, heads)
    ids = [numbers_in(db, texts) for texts in shared]
    model_id, target_id, framing_id, names_id, shots_id, settings_id, *rest = ids
    exact_id, usage_id, head_id = rest
    columns = zip(
        *(key_numbers(db, key), created, model_id, target_id, framing_id, repeat, contrast, mass),
        *(seconds, told, exact_id, names_id, usage_id, shots_id, settings_id, head_id, tails),
        strict=True,
    )
    whole = (model_id, target_id, framing_id, repeat, flipped, names_id, shots_id, settings_id)
    numbers = map(tuple.__add__, zip(*whole, exact_id, mass, seconds, strict=True), said)
    return list(map(_Row, model, map(len, said), columns, numbers, map(stored_text, raw)))


def _said(logprobs: object) -> tuple[tuple[Any, ...], str]:
    """Log-probabilities as numbers and as JSON; none where it is no list, which `verify` finds."""
    if isinstance(logprobs, tuple):
        return logprobs, f"[{','.join(map(repr, logprobs))}]"
    text = stored_text(logprobs)
    try:
        found = json.loads(text)
    except ValueError:
        return (), text
    return (tuple(found) if isinstance(found, list) else ()), text


def _together(db: CompactConnection, rows: Sequence[_Row]) -> int:
    """Inserts rows that a pack can hold; the number of rows added."""
    numbers = packed_numbers(rows[0].labels, [row.numbers for row in rows])
    if len(rows) < FEWEST_PACKED or numbers is None:
        return _one_by_one(db, rows)
    first = 1 + int(db.execute("SELECT coalesce(max(id), 0) FROM answers").fetchone()[0])
    db.execute("SAVEPOINT pack")
    many = ((first + i, *row.columns, "", None) for i, row in enumerate(rows))
    if db.executemany(_INSERT, many).rowcount == len(rows):
        responses = packed_responses([row.raw for row in rows])
        db.execute(_PACK, (first, len(rows), rows[0].labels, numbers, responses))
        db.execute("RELEASE pack")
        return len(rows)
    # Some are there already: without those.
    db.execute("ROLLBACK TO pack")
    db.execute("RELEASE pack")
    return _together(db, new) if (new := _unknown(db, rows)) else 0


def _unknown(db: CompactConnection, rows: Sequence[_Row]) -> list[_Row]:
    """The first of each key among the rows whose keys have no prediction."""
    by_key: dict[int, _Row] = {}
    for row in rows:
        by_key.setdefault(row.columns[0], row)
    there = "SELECT 1 FROM answers WHERE key = ?"
    return [row for key, row in by_key.items() if not db.execute(there, (key,)).fetchone()]


def _one_by_one(db: CompactConnection, rows: Sequence[_Row]) -> int:
    """Inserts rows with their responses in them; the number of rows added."""
    added = 0
    for row in rows:
        raw, like = deflated(db, row.model, row.raw)
        alike = None if like is None else numbers_in(db, [like])[0]
        added += db.execute(_INSERT, (None, *row.columns, raw, alike)).rowcount
    return added
