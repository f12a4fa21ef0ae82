"""Texts and keys as the numbers under which a store has them, each written once.

A text is found by the SHA-256 of what it says, a key by its own 32 bytes.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from consilience.store.packs import Responses

CHUNK = 500
"""How many values go into one SQL statement (the smallest limit of old SQLite is 999)."""

_LENGTHS = (1, 8, 40, CHUNK)

MOST_REMEMBERED = 200_000
"""So many texts and keys are remembered with their numbers, then they are looked up again."""


class CompactConnection(sqlite3.Connection):
    """A connection to a store, and what it has written lately."""

    at_end: Callable[[], None] | None = None
    """What is done once it is closed."""

    _checked: bool | None = None

    def check_references(self, checked: bool) -> None:
        """Whether SQLite looks, from now on, for what each row refers to."""
        # Each change makes it prepare all its statements anew.
        if checked != self._checked:
            self.execute(f"PRAGMA foreign_keys = {checked:d}")
            self._checked = checked

    def close(self) -> None:
        """Closes it; safe to call twice."""
        super().close()
        done, self.at_end = self.at_end, None
        if done is not None:
            done()

    @cached_property
    def text_ids(self) -> dict[str, int]:
        """The numbers of texts in `contents`."""
        return {}

    @cached_property
    def key_ids(self) -> dict[str, int]:
        """The numbers of keys in `keys`."""
        return {}

    @cached_property
    def heads(self) -> dict[tuple[str, str], str]:
        """The heads of prompts, by their shots and framing."""
        return {}

    @cached_property
    def likes(self) -> dict[str, str]:
        """The response of each model that others are compressed with."""
        return {}

    @cached_property
    def responses(self) -> Responses:
        """The responses in its packs."""
        return Responses(self)

    def forget(self) -> None:
        """Nothing is known of what was written: a transaction was undone."""
        self.text_ids.clear()
        self.key_ids.clear()
        self.heads.clear()
        self.likes.clear()


def key_bytes(key: object) -> bytes:
    """A key as `keys` has it: the 32 bytes of its hash; sqlite3.ProgrammingError if it is none."""
    if isinstance(key, str) and _KEY_FORM.fullmatch(key):
        return bytes.fromhex(key[7:])
    raise sqlite3.ProgrammingError(f"a key is expected, got {str(key)[:60]!r}")


_KEY_FORM = re.compile("sha256:[0-9a-f]{64}")


def stored_text(value: object) -> str:
    """The value; sqlite3.ProgrammingError where it is no text."""
    if isinstance(value, str):
        return value
    raise sqlite3.ProgrammingError(f"a text is expected, got {str(value)[:60]!r}")


def _found(
    db: sqlite3.Connection, sql: str, values: Sequence[bytes]
) -> Iterator[tuple[bytes, int]]:
    """The two columns of what a statement selects that ends with a list of these values."""
    for start in range(0, len(values), CHUNK):
        some = values[start : start + CHUNK]
        # Few lengths, the last value again and again, so that SQLite has the statement already.
        length = next(length for length in _LENGTHS if length >= len(some))
        some = [*some, *[some[-1]] * (length - len(some))]
        yield from db.execute(f"{sql} ({', '.join('?' * length)})", some)


def answers_of(db: sqlite3.Connection, keys: Iterable[str]) -> dict[str, int]:
    """Those of the keys that have a prediction, and its id in `answers`."""
    asked = {bytes.fromhex(key[7:]): key for key in keys if _KEY_FORM.fullmatch(key)}
    sql = (
        "SELECT keys.key, answers.id FROM keys JOIN answers ON answers.key = keys.id "
        "WHERE keys.key IN"
    )
    return {asked[hash]: id for hash, id in _found(db, sql, list(asked))}


def key_numbers(db: CompactConnection, keys: Sequence[str]) -> list[int]:
    """The number of each key in `keys`, where it is put if it is not there."""
    return _numbers(db.key_ids, keys, partial(_keys_looked_up, db))


def _keys_looked_up(db: sqlite3.Connection, keys: Sequence[str]) -> list[int]:
    hashes = list(map(key_bytes, keys))
    there = _looked_up(db, "keys", ["key"], {hash: () for hash in hashes})
    return [there[hash] for hash in hashes]


def _looked_up(
    db: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    rows: Mapping[bytes, tuple[str, ...]],
) -> dict[bytes, int]:
    """The number of each hash in a table, where it is put, with its values, if it is not there."""
    name = columns[0]
    there = dict(_found(db, f"SELECT {name}, id FROM {table} WHERE {name} IN", list(rows)))
    if new := [hash for hash in rows if hash not in there]:
        # Numbered here, so that they go in together; nobody else writes in the meantime.
        (last,) = db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
        there |= zip(new, range(last + 1, last + 1 + len(new)), strict=True)
        marks = ", ".join("?" * (1 + len(columns)))
        sql = f"INSERT INTO {table} (id, {', '.join(columns)}) VALUES ({marks})"
        db.executemany(sql, [(there[hash], hash, *rows[hash]) for hash in new])
    return there


def _numbers(
    remembered: dict[str, int],
    values: Sequence[str],
    look_up: Callable[[Sequence[str]], Sequence[int]],
) -> list[int]:
    """The number of each value; those that are not remembered are looked up, and are then."""
    known: list[Any] = list(map(remembered.get, values))
    if None not in known:
        return known
    # Each once: a block of questions has one head, of kilobytes.
    asked = list(dict.fromkeys(v for v, id in zip(values, known, strict=True) if id is None))
    new = dict(zip(asked, look_up(asked), strict=True))
    if len(remembered) + len(new) > MOST_REMEMBERED:
        remembered.clear()
    remembered.update(new)
    return [new[value] if id is None else id for value, id in zip(values, known, strict=True)]


def number_of(db: sqlite3.Connection, text: str) -> int:
    """The number of a text in `contents`; 0, which none has, where it is not there."""
    hash = hashlib.sha256(text.encode()).digest()
    row = db.execute("SELECT id FROM contents WHERE hash = ?", (hash,)).fetchone()
    return int(row[0]) if row else 0


def numbers_in(db: CompactConnection, texts: Sequence[str]) -> list[int]:
    """The number of each text in `contents`, where it is put if it is not there."""
    return _numbers(db.text_ids, texts, partial(_texts_looked_up, db))


def _texts_looked_up(db: sqlite3.Connection, texts: Sequence[str]) -> list[int]:
    hashes = [hashlib.sha256(stored_text(text).encode()).digest() for text in texts]
    rows = {hash: (text,) for text, hash in zip(texts, hashes, strict=True)}
    there = _looked_up(db, "contents", ["hash", "content"], rows)
    return [there[hash] for hash in hashes]
