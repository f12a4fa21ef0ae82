"""Texts and keys as the numbers under which a store has them, each written once.

A text is found by the SHA-256 of what it says, a key by its own 32 bytes.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from consilience.store.packs import Responses

CHUNK = 500
"""How many values go into one SQL statement (the smallest limit of old SQLite is 999)."""

_LENGTHS = (1, 8, 40, CHUNK)

MOST_REMEMBERED = 200_000
"""So many texts and keys are remembered with their numbers, then they are looked up again."""

_V = TypeVar("_V", str, bytes)


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
    def ids(self) -> dict[Any, int]:
        """The numbers of texts in `contents`, and of hashes in `keys`."""
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
        self.ids.clear()
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


def key_numbers(db: CompactConnection, keys: Sequence[object]) -> list[int]:
    """The number of each key in `keys`, where it is put if it is not there."""
    return _numbers(db, list(map(key_bytes, keys)), _keys_looked_up)


def _keys_looked_up(db: CompactConnection, hashes: Sequence[bytes]) -> dict[bytes, int]:
    return _looked_up(db, "keys", ["key"], {hash: () for hash in hashes})


def _looked_up(
    db: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    rows: Mapping[bytes, tuple[str, ...]],
) -> dict[bytes, int]:
    """The number of each hash in a table, where it is put, with its values, if it is not there."""
    name = columns[0]
    there = dict(_found(db, f"SELECT {name}, id FROM {table} WHERE {name} IN", list(rows)))
    marks = ", ".join("?" * len(columns))
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    for hash, others in rows.items():
        if hash not in there:
            there[hash] = db.execute(sql, (hash, *others)).lastrowid or 0
    return there


def _numbers(
    db: CompactConnection,
    values: Sequence[_V],
    look_up: Callable[[CompactConnection, Sequence[_V]], dict[_V, int]],
) -> list[int]:
    """The number of each value; those that are not remembered are looked up, and are then."""
    known: list[Any] = list(map(db.ids.get, values))
    if None not in known:
        return known
    new = look_up(db, [value for value, id in zip(values, known, strict=True) if id is None])
    if len(db.ids) + len(new) > MOST_REMEMBERED:
        db.ids.clear()
    db.ids.update(new)
    return [new[value] if id is None else id for value, id in zip(values, known, strict=True)]


def number_of(db: sqlite3.Connection, text: str) -> int:
    """The number of a text in `contents`; 0, which none has, where it is not there."""
    hash = hashlib.sha256(text.encode()).digest()
    row = db.execute("SELECT id FROM contents WHERE hash = ?", (hash,)).fetchone()
    return int(row[0]) if row else 0


def numbers_in(db: CompactConnection, texts: Sequence[str]) -> list[int]:
    """The number of each text in `contents`, where it is put if it is not there."""
    return _numbers(db, texts, _texts_looked_up)


def _texts_looked_up(db: CompactConnection, texts: Sequence[str]) -> dict[str, int]:
    hashes = {text: hashlib.sha256(stored_text(text).encode()).digest() for text in texts}
    rows = {hash: (text,) for text, hash in hashes.items()}
    there = _looked_up(db, "contents", ["hash", "content"], rows)
    return {text: there[hash] for text, hash in hashes.items()}
