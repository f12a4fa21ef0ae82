"""What came with predictions that were stored together, in one piece: their responses and numbers.

A pack has the id of the first of the predictions that it belongs to, which follow each other, and
says how many those are. Their responses are compressed together, in less time and fewer bytes than
one by one. Their numbers stand there a second time, as bytes that become arrays without a look at
each row. Where only a few predictions come at a time, each has its response in its own row.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import starmap
from typing import Any

import numpy as np

FEWEST_PACKED = 8
"""So many predictions that come together make a pack."""

_MOST = 512
"""So many make the next one: whoever looks at one response unpacks all."""

_MOST_CHARACTERS = 1 << 23
"""So many characters of responses make the next one, too."""

_LARGEST = 1 << 28
"""Bytes that the responses of a pack can have; more is no pack of ours."""

_SEPARATOR = "\x1e"
"""What stands between two responses: no JSON has it."""

PACKS = (
    """CREATE TABLE packs (
        id INTEGER PRIMARY KEY REFERENCES answers (id), count INTEGER NOT NULL,
        labels INTEGER NOT NULL, numbers BLOB NOT NULL, responses BLOB NOT NULL)""",
)
"""The statement that makes the table."""

WHOLE = 9
"""The whole numbers of a prediction, which come before its mass, seconds and log-probabilities."""


@lru_cache(maxsize=64)
def _form(labels: int) -> struct.Struct:
    return struct.Struct(f"<{WHOLE}i{2 + labels}d")


@lru_cache(maxsize=64)
def numbers_dtype(labels: int) -> np.dtype[np.void]:
    """How the numbers of a prediction lie in a pack: whole ones, then others."""
    return np.dtype([("whole", "<i4", WHOLE), ("others", "<f8", 2 + labels)])


def packed_numbers(labels: int, rows: Iterable[Sequence[Any]]) -> bytes | None:
    """The numbers of predictions as bytes; None where one is too large for that."""
    try:
        return b"".join(starmap(_form(labels).pack, rows))
    except struct.error:
        return None


def packed_responses(texts: Sequence[str]) -> bytes:
    """Responses, compressed together."""
    from pyarrow import Codec  # beside zlib half the time, and a seventh less bytes

    packed: bytes = Codec("zstd", 1).compress(_SEPARATOR.join(texts).encode(), asbytes=True)
    return packed


def unpacked_responses(packed: bytes) -> list[str]:
    """The responses of a pack; ValueError where they cannot be read."""
    import pyarrow

    try:
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(packed), "zstd") as unpacker:
            text: bytes = unpacker.read(_LARGEST + 1)
    except (OSError, TypeError) as error:
        raise ValueError(f"responses cannot be unpacked: {error}") from error
    if len(text) > _LARGEST:
        raise ValueError("responses cannot be unpacked: they are too large")
    return text.decode().split(_SEPARATOR)


def chunks(kinds: Sequence[object], lengths: Sequence[int]) -> Iterator[slice]:
    """Which rows make a pack each: those of one kind, by the lengths of their responses."""
    start = held = 0
    for at, (kind, length) in enumerate(zip(kinds, lengths, strict=True)):
        full = at - start == _MOST or held + length > _MOST_CHARACTERS
        if at > start and (full or kind != kinds[start]):
            yield slice(start, at)
            start, held = at, 0
        held += length
    yield slice(start, len(kinds))


class Responses:
    """The responses in a store's packs, those of one pack at a time in memory."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._first = 0
        self._texts: list[str] = []

    def text(self, id: int) -> str:
        """The response of the prediction with this id; ValueError where there is none."""
        if not 0 <= id - self._first < len(self._texts):
            self._read(id)
        return self._texts[id - self._first]

    def _read(self, id: int) -> None:
        found = self._db.execute(
            "SELECT id, count, responses FROM packs WHERE id <= ? ORDER BY id DESC LIMIT 1",
            (id,),
        ).fetchone()
        if found is None or id >= found[0] + found[1]:
            raise ValueError("its response is in no pack")
        texts = unpacked_responses(found[2])
        if len(texts) != found[1]:
            raise ValueError(f"a pack has {len(texts)} responses for {found[1]} predictions")
        self._first, self._texts = found[0], texts
