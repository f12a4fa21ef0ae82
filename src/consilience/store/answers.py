"""How predictions go into their table: many at once, with their responses and numbers in a pack."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from consilience.store.compact import LAYOUTS, deflated, halves
from consilience.store.contents import CompactConnection, key_numbers, numbers_in, stored_text
from consilience.store.packs import FEWEST_PACKED, chunks, packed_numbers, packed_responses
from consilience.store.prompt_heads import Halves

_TABLE, _COLUMNS, _SHARED = LAYOUTS["predictions"]
_OWN = [name for name in _COLUMNS if name not in ("raw", "raw_like")]
_INSERT = (
    f"INSERT INTO {_TABLE} (id, {', '.join(_OWN)}, raw, raw_like) "
    f"VALUES (?, {', '.join('?' * len(_OWN))}, {{}}) ON CONFLICT DO NOTHING"
)
_WITH_RESPONSE, _PACKED = _INSERT.format("?, ?"), _INSERT.format("'', NULL")
_PACK = "INSERT INTO packs (id, count, labels, numbers, responses) VALUES (?, ?, ?, ?, ?)"

_NUMBERS = (
    *("model", "target", "framing", "repeat", "flipped", "label_names", "shots", "settings"),
    *("exact", "mass", "seconds"),
)
"""The columns that a pack has as numbers too, before the log-probabilities."""

_Columns = Mapping[str, Sequence[Any]]
"""Predictions, column by column: a third of the time that row by row takes.

Texts are numbers of `contents`. Beside the columns of the table: `of`, the name of the model;
`said`, log-probabilities as numbers; `flipped`, the contrast, −1 for none; `raw`, responses.
"""


def insert_answers(
    db: sqlite3.Connection, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> int:
    """Inserts encoded predictions unless their keys are there; the number of rows added.

    `names` are those of the values. Log-probabilities may be numbers still, and a prompt may be two
    halves.
    """
    assert isinstance(db, CompactConnection)
    if not rows:
        return 0
    made = _columns(db, dict(zip(names, zip(*rows, strict=True), strict=True)))
    kinds = list(zip(made["of"], map(len, made["said"]), strict=True))
    parts = chunks(kinds, list(map(len, made["raw"])))
    return sum(_together(db, {n: values[part] for n, values in made.items()}) for part in parts)


def _columns(db: CompactConnection, given: Mapping[str, Sequence[Any]]) -> _Columns:
    """The columns of encoded rows, whose texts are put into `contents` where they are not there."""
    made = {**given, "of": given["model"], "raw": list(map(stored_text, given["raw"]))}
    prompts = [
        prompt if isinstance(prompt, Halves) else halves(db, shots, framing, prompt)
        for shots, framing, prompt in zip(
            given["shots"], given["framing"], given["prompt"], strict=True
        )
    ]
    made["head"], made["tail"] = zip(*prompts, strict=True)
    made["said"], made["logprobs"] = zip(*map(_said, given["logprobs"]), strict=True)
    made["flipped"] = [-1 if shot is None else shot for shot in given["contrast"]]
    made["key"] = key_numbers(db, given["key"])
    shared = {name: numbers_in(db, made[name]) for name in _OWN if name in _SHARED}
    return made | shared


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


def _together(db: CompactConnection, some: _Columns) -> int:
    """Inserts predictions that a pack can hold; the number of rows added."""
    count, labels = len(some["key"]), len(some["said"][0])
    numbers = zip(*map(some.__getitem__, _NUMBERS), *zip(*some["said"], strict=True), strict=True)
    packed = packed_numbers(labels, numbers) if count >= FEWEST_PACKED else None
    if packed is None:
        return _one_by_one(db, some)
    first = 1 + int(db.execute("SELECT coalesce(max(id), 0) FROM answers").fetchone()[0])
    db.execute("SAVEPOINT pack")
    many = zip(range(first, first + count), *map(some.__getitem__, _OWN), strict=True)
    if db.executemany(_PACKED, many).rowcount == count:
        db.execute(_PACK, (first, count, labels, packed, packed_responses(some["raw"])))
        db.execute("RELEASE pack")
        return count
    # Some are there already: without those.
    db.execute("ROLLBACK TO pack")
    db.execute("RELEASE pack")
    new = _unknown(db, some["key"])
    return _together(db, {n: [v[i] for i in new] for n, v in some.items()}) if new else 0


def _unknown(db: CompactConnection, keys: Sequence[int]) -> list[int]:
    """The places of the keys that have no prediction, the first of each."""
    there = "SELECT 1 FROM answers WHERE key = ?"
    first = {key: at for at, key in reversed(list(enumerate(keys)))}
    return sorted(at for key, at in first.items() if not db.execute(there, (key,)).fetchone())


def _one_by_one(db: CompactConnection, some: _Columns) -> int:
    """Inserts predictions with their responses in them; the number of rows added."""
    added = 0
    for model, raw, *own in zip(some["of"], some["raw"], *map(some.__getitem__, _OWN), strict=True):
        stored, like = deflated(db, model, raw)
        alike = None if like is None else numbers_in(db, [like])[0]
        added += db.execute(_WITH_RESPONSE, (None, *own, stored, alike)).rowcount
    return added
