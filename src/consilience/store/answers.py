"""How predictions go into their table: many at once, with their responses and numbers in a pack."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from consilience.store.compact import (
    LAYOUTS,
    CompactConnection,
    answers_of,
    deflated,
    halves,
    key_bytes,
    number_in,
    stored_text,
)
from consilience.store.packs import FEWEST_PACKED, chunks, packed_numbers, packed_responses

_COLUMNS = LAYOUTS["predictions"].columns
_INSERT = (
    f"INSERT INTO answers (id, {', '.join(_COLUMNS)}) VALUES (?, (SELECT id FROM keys "
    f"WHERE key = ?), {', '.join('?' * (len(_COLUMNS) - 1))}) ON CONFLICT DO NOTHING"
)
_PACK = "INSERT INTO packs (id, count, labels, numbers, responses, alike) VALUES (?, ?, ?, ?, ?, ?)"


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
    made = [_row(db, values) for values in rows]
    db.executemany("INSERT OR IGNORE INTO keys (key) VALUES (?)", [(r.columns[0],) for r in made])
    added = 0
    for _, some in groupby(made, key=lambda row: (row.model, row.labels)):
        alike = list(some)
        for which in chunks(alike, [len(row.raw) for row in alike]):
            added += _together(db, alike[which])
    return added


def _row(db: CompactConnection, values: Sequence[Any]) -> _Row:
    key, created, model, target, framing, repeat, contrast, mass, seconds, *others = values
    logprobs, exact, names, usage, shots, settings, prompt, raw = others
    head, tail = halves(db, shots, framing, prompt)
    ids = db.ids
    context = stored_text(model), stored_text(framing), names, shots, settings, head
    known = db.contexts.get(context) or _context(db, context)
    model_id, framing_id, names_id, shots_id, settings_id, head_id = known
    target_id = ids.get(stored_text(target)) or number_in(db, target)
    exact_id = ids.get(stored_text(exact)) or number_in(db, exact)
    usage_id = ids.get(stored_text(usage)) or number_in(db, usage)
    said, told = _said(logprobs)
    flipped = -1 if contrast is None else contrast
    return _Row(
        model,
        len(said),
        (
            *(key_bytes(key), created, model_id, target_id, framing_id, repeat, contrast, mass),
            *(seconds, told, exact_id, names_id, usage_id, shots_id, settings_id, head_id, tail),
        ),
        (
            *(model_id, target_id, framing_id, repeat, flipped, names_id, shots_id, settings_id),
            *(exact_id, mass, seconds, *said),
        ),
        stored_text(raw),
    )


def _context(db: CompactConnection, texts: tuple[str, ...]) -> tuple[int, ...]:
    """The numbers of the texts that the predictions under one list of shots share."""
    if len(db.contexts) >= 1000:
        db.contexts.clear()
    found = tuple([db.ids.get(stored_text(text)) or number_in(db, text) for text in texts])
    db.contexts[texts] = found
    return found


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
        like = db.likes.setdefault(rows[0].model, rows[0].raw)
        responses = packed_responses([row.raw for row in rows], like)
        alike = db.ids.get(like) or number_in(db, like)
        db.execute(_PACK, (first, len(rows), rows[0].labels, numbers, responses, alike))
        db.execute("RELEASE pack")
        return len(rows)
    # Some are there already: without those.
    db.execute("ROLLBACK TO pack")
    db.execute("RELEASE pack")
    return _together(db, new) if (new := _unknown(db, rows)) else 0


def _unknown(db: CompactConnection, rows: Sequence[_Row]) -> list[_Row]:
    """The first of each key among the rows whose keys have no prediction."""
    by_key: dict[str, _Row] = {}
    for row in rows:
        by_key.setdefault(f"sha256:{row.columns[0].hex()}", row)
    there = answers_of(db, by_key)
    return [row for key, row in by_key.items() if key not in there]


def _one_by_one(db: CompactConnection, rows: Sequence[_Row]) -> int:
    """Inserts rows with their responses in them; the number of rows added."""
    added = 0
    for row in rows:
        raw, like = deflated(db, row.model, row.raw)
        alike = None if like is None else db.ids.get(like) or number_in(db, like)
        added += db.execute(_INSERT, (None, *row.columns, raw, alike)).rowcount
    return added
