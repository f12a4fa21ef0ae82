"""Predictions as columns: read from a store straight into arrays, and written as Parquet."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consilience.data.whole_file import whole_file
from consilience.store.packs import WHOLE, numbers_dtype
from consilience.store.schema import TABLES, response_text

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNK = 50_000
"""So many rows are turned into arrays at a time."""

_WHOLE = (
    *("model", "target", "framing", "repeat", "contrast", "label_names", "shots", "settings"),
    "exact",
)
"""The whole numbers of a prediction, as they lie in a pack."""


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """T predictions of at most K labels, as arrays, in the order in which they came.

    `model`, `target`, `framing`, `label_names`, `shots` and `settings` (T) are keys of `texts`,
    which has each text once, as it stands in the table of predictions; `repeat` (T); `contrast`
    (T), −1 where there is none; `mass` and `seconds` (T); `logprobs` (T, K) in nats, NaN beyond
    the labels of a prediction; `exact` (T, K), false there.
    """

    model: NDArray[np.int64]
    target: NDArray[np.int64]
    framing: NDArray[np.int64]
    repeat: NDArray[np.int64]
    contrast: NDArray[np.int64]
    label_names: NDArray[np.int64]
    shots: NDArray[np.int64]
    settings: NDArray[np.int64]
    mass: NDArray[np.float64]
    seconds: NDArray[np.float64]
    logprobs: NDArray[np.float64]
    exact: NDArray[np.bool_]
    texts: Mapping[int, str]


class _Part(NamedTuple):
    """R predictions: ids (R), whole numbers (R, 9), mass and seconds (R, 2), logprobs (R, K)."""

    ids: NDArray[np.int64]
    whole: NDArray[Any]
    others: NDArray[np.float64]
    logprobs: NDArray[np.float64]

    def only(self, wanted: NDArray[np.bool_]) -> _Part:
        """Those of them whose ids are marked."""
        which = wanted[self.ids]
        return _Part(self.ids[which], self.whole[which], self.others[which], self.logprobs[which])


def read_columns(db: sqlite3.Connection, run: str | None = None) -> PredictionColumns:
    """All predictions of a store, or those that a run planned, each once.

    Those that lie in packs are read from there, the others row by row.
    """
    cursor = db.cursor()
    cursor.row_factory = None
    (last,) = cursor.execute("SELECT coalesce(max(id), 0) FROM answers").fetchone()
    parts = list(_parts(cursor, last))
    if run is not None:
        wanted = np.zeros(last + 1, dtype=bool)
        wanted[_planned(cursor, run)] = True
        parts = [part.only(wanted) for part in parts]
    if not parts:
        none = np.empty((0, 2))
        parts = [_Part(np.empty(0, int), np.empty((0, WHOLE), int), none, none[:, :0])]
    ids = np.concatenate([part.ids for part in parts])
    wide = max(part.logprobs.shape[1] for part in parts)
    arrays = [
        *np.concatenate([part.whole for part in parts]).T.astype(np.int64),
        *np.concatenate([part.others for part in parts]).T.copy(),
        np.concatenate([_widened(part.logprobs, wide) for part in parts]),
    ]
    if (ids[1:] < ids[:-1]).any():
        order = np.argsort(ids)
        arrays = [array[order] for array in arrays]
    columns = dict(zip((*_WHOLE, "mass", "seconds", "logprobs"), arrays, strict=True))
    exact = columns.pop("exact")
    named = (columns[name] for name in _WHOLE if name not in ("repeat", "contrast", "exact"))
    texts = _texts(db, _different(*named, exact))
    return PredictionColumns(**columns, exact=_marks(exact, texts, wide), texts=texts)


def _parts(cursor: sqlite3.Cursor, last: int) -> Iterator[_Part]:
    """All predictions up to an id, those that are in no pack after those that are."""
    packs = cursor.execute("SELECT id, count, labels, numbers FROM packs ORDER BY id")
    gaps, after = [], 1
    for some in iter(lambda: packs.fetchmany(_CHUNK // 100), []):
        for first, count, *_ in some:
            if first > after:
                gaps.append((after, first - 1))
            after = first + count
        for labels in {pack[2] for pack in some}:
            yield _unpacked(labels, [pack for pack in some if pack[2] == labels])
    if after <= last:
        gaps.append((after, last))
    rows = (row for gap in gaps for row in cursor.execute(_ROWS, gap))
    for chunk in iter(lambda: list(islice(rows, _CHUNK)), []):
        yield _arrays(chunk)


_ROWS = (
    "SELECT id, model, target, framing, repeat, coalesce(contrast, -1), label_names, shots, "
    "settings, exact, mass, seconds, logprobs FROM answers WHERE id BETWEEN ? AND ? ORDER BY id"
)


def _unpacked(labels: int, packs: Sequence[tuple[int, int, int, bytes]]) -> _Part:
    """Packs of predictions of so many labels; ValueError where one has not the bytes of these."""
    rows = np.frombuffer(b"".join([pack[3] for pack in packs]), dtype=numbers_dtype(labels))
    counts = np.array([pack[1] for pack in packs])
    if counts.sum() != len(rows):
        raise ValueError(f"packs of {counts.sum()} predictions have the numbers of {len(rows)}")
    begins = np.array([pack[0] for pack in packs]) - np.cumsum(counts) + counts
    ids = np.repeat(begins, counts) + np.arange(len(rows))
    return _Part(ids, rows["whole"], rows["others"][:, :2], rows["others"][:, 2:])


def pack_faults(db: sqlite3.Connection) -> Iterator[str]:
    """Every pack whose numbers are not those of its predictions, one line each."""
    cursor = db.cursor()
    cursor.row_factory = None
    for pack in db.execute("SELECT id, count, labels, numbers FROM packs ORDER BY id"):
        first, count, labels, _ = pack
        try:
            rows = cursor.execute(_ROWS, (first, first + count - 1)).fetchall()
            same = _same(_unpacked(labels, [pack]), _arrays(rows))
        except (TypeError, ValueError) as error:
            yield f"packs {first}: its numbers cannot be read: {error}"
            continue
        if not same:
            yield f"packs {first}: its numbers are not those of its predictions"


def _same(one: _Part, other: _Part) -> bool:
    return all(map(np.array_equal, one, other))


def _planned(cursor: sqlite3.Cursor, run: str) -> NDArray[np.int64]:
    """The ids of the predictions that a run planned."""
    sql = "SELECT id FROM answers WHERE key IN (SELECT key FROM planned WHERE run = ?)"
    return np.array([id for (id,) in cursor.execute(sql, (run,))], dtype=np.int64)


def _different(*columns: NDArray[np.int64]) -> list[int]:
    """The numbers in these columns, each once."""
    there = np.zeros(1 + max((int(c.max()) for c in columns if len(c)), default=0), dtype=bool)
    for column in columns:
        there[column] = True
    return np.flatnonzero(there).tolist()


def _arrays(rows: Sequence[tuple[Any, ...]]) -> _Part:
    """Predictions that were read row by row."""
    ids, *whole, mass, seconds, said = zip(*rows, strict=True)
    return _Part(
        np.array(ids, dtype=np.int64),
        np.array(whole, dtype=np.int64).T,
        np.array([mass, seconds], dtype=np.float64).T,
        _log_probabilities(said),
    )


def _log_probabilities(said: Sequence[str]) -> NDArray[np.float64]:
    """Lists of numbers, as JSON, under each other; NaN where one is shorter than the longest."""
    plain = ",".join(said)
    if (flat := plain.count(",") + 1) % len(said) == 0 and "N" not in plain:
        k = flat // len(said)
        if all(text.count(",") == k - 1 for text in said):
            values = np.fromstring(plain.replace("[", "").replace("]", ""), sep=",")
            if len(values) == flat:
                return values.reshape(-1, k)
    lists = [json.loads(text) for text in said]
    wide = max(map(len, lists))
    return np.array([[*row, *[np.nan] * (wide - len(row))] for row in lists], dtype=np.float64)


def _widened(said: NDArray[np.float64], wide: int) -> NDArray[np.float64]:
    more = wide - said.shape[1]
    return np.pad(said, ((0, 0), (0, more)), constant_values=np.nan) if more else said


def _marks(exact: NDArray[np.int64], texts: Mapping[int, str], wide: int) -> NDArray[np.bool_]:
    kinds, which = np.unique(exact, return_inverse=True)
    marks = np.zeros((len(kinds), wide), dtype=bool)
    for row, kind in zip(marks, kinds.tolist(), strict=True):
        told = json.loads(texts[kind])
        row[: len(told)] = told
    return marks[which]


def _texts(db: sqlite3.Connection, ids: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        marks = ", ".join("?" * len(some))
        found |= dict(
            map(tuple, db.execute(f"SELECT id, content FROM contents WHERE id IN ({marks})", some))
        )
    return found


def write_parquet(db: sqlite3.Connection, path: Path) -> int:
    """Writes the table of predictions as one Parquet file, prompts and responses among them.

    Log-probabilities and marks of exactness are lists, all else as in the table; the number of
    rows. A group of rows at a time, so memory does not grow with the store.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    count = 0
    with whole_file(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _groups(db):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {"repeat": pa.int64(), "contrast": pa.int64(), "mass": pa.float64()}
    kinds |= {"seconds": pa.float64(), "logprobs": pa.list_(pa.float64())}
    kinds |= {"exact": pa.list_(pa.bool_())}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in TABLES["predictions"]])


def _groups(db: sqlite3.Connection) -> Iterator[list[dict[str, Any]]]:
    rows = db.execute("SELECT * FROM predictions ORDER BY rowid")
    for some in iter(lambda: rows.fetchmany(_CHUNK // 10), []):
        group = [dict(row) for row in some]
        for row in group:
            row["raw"] = response_text(row, db)
            row["logprobs"], row["exact"] = json.loads(row["logprobs"]), json.loads(row["exact"])
        yield group
