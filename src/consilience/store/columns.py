"""Predictions as columns: read from a store straight into arrays, and written as Parquet."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from consilience.data.whole_file import whole_file
from consilience.store.compact import inflated
from consilience.store.schema import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNK = 50_000
"""So many rows are turned into arrays at a time."""

_NUMBERS = ("model", "target", "framing", "repeat", "contrast", "label_names", "shots", "settings")


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


def read_columns(db: sqlite3.Connection, run: str | None = None) -> PredictionColumns:
    """All predictions of a store, or those that a run planned, each once."""
    which = "" if run is None else " WHERE key IN (SELECT key FROM planned WHERE run = ?)"
    cursor = db.cursor()
    cursor.row_factory = None
    rows = cursor.execute(
        "SELECT model, target, framing, repeat, coalesce(contrast, -1), label_names, shots, "
        f"settings, exact, mass, seconds, logprobs FROM answers{which} ORDER BY id",
        () if run is None else (run,),
    )
    chunks = [_arrays(some) for some in iter(lambda: rows.fetchmany(_CHUNK), [])]
    if not chunks:
        chunks = [(np.empty((0, 9), np.int64), np.empty((0, 2)), np.empty((0, 0)))]
    numbers, floats = (np.concatenate([chunk[i] for chunk in chunks]) for i in (0, 1))
    wide = max(said.shape[1] for _, _, said in chunks)
    logprobs = np.concatenate([_widened(said, wide) for _, _, said in chunks])
    texts = _texts(db, np.unique(numbers[:, [0, 1, 2, 5, 6, 7, 8]]).tolist())
    return PredictionColumns(
        **dict(zip(_NUMBERS, numbers[:, :-1].T, strict=True)),
        mass=floats[:, 0],
        seconds=floats[:, 1],
        logprobs=logprobs,
        exact=_marks(numbers[:, -1], texts, wide),
        texts=texts,
    )


def _arrays(
    rows: Sequence[tuple[Any, ...]],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Rows as whole numbers (R, 9), mass and seconds (R, 2) and log-probabilities (R, K)."""
    *numbers, mass, seconds, said = zip(*rows, strict=True)
    return (
        np.array(numbers, dtype=np.int64).T,
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
            row["raw"] = inflated(row["raw"], row["raw_like"])
            row["logprobs"], row["exact"] = json.loads(row["logprobs"]), json.loads(row["exact"])
        yield group
