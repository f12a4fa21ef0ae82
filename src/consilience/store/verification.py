"""What a store says about itself: its proof, its numbers, and its contents as lines of JSON.

These functions are called through `consilience.store.database.Store`, which holds the connection.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consilience.data.dataset import Dataset
from consilience.data.whole_file import whole_file
from consilience.errors import ConsilienceError, InputError, StoreError
from consilience.store.columns import pack_faults
from consilience.store.contents import number_of
from consilience.store.identities import dump, identity, run_identity, text_identity
from consilience.store.origins import origin_fault
from consilience.store.schema import (
    TABLES,
    TAKEN_BACK,
    Planned,
    decode,
    insert,
    insert_round,
    query_of,
)

Steps = Callable[[Sequence[str]], int]
"""How many requests one prediction with some label names takes."""

_SLACK = 1e-3
"""How far a log-probability may exceed 0, and a mass 1, before it is refused: rounding."""


def answer_fault(
    label_names: Sequence[str],
    logprobs: Sequence[float],
    exact: Sequence[bool],
    mass: float,
    seconds: float,
) -> str | None:
    """Why these values cannot be a prediction, or None where they can."""
    if not len(label_names) == len(logprobs) == len(exact):
        return (
            f"{len(label_names)} labels, {len(logprobs)} log-probabilities and "
            f"{len(exact)} marks of exactness"
        )
    if not all(map(math.isfinite, logprobs)) or max(logprobs, default=0.0) > _SLACK:
        return f"log-probabilities must be finite and at most 0, got {list(logprobs)}"
    if not 0 <= mass <= 1 + _SLACK:
        return f"the label mass must be between 0 and 1, got {mass}"
    return seconds_fault(seconds)


def seconds_fault(seconds: float) -> str | None:
    """Why this cannot be how long an answer took, or None where it can."""
    if 0 <= seconds < math.inf:
        return None
    return f"seconds must be finite and not negative, got {seconds}"


def _prediction_fault(row: Mapping[str, Any]) -> str | None:
    if identity(row) != row["key"]:
        return "its content has another key"
    if not all(isinstance(mark, bool) for mark in row["exact"]):
        return f"marks of exactness must be true or false, got {row['exact']}"
    if not isinstance(row["usage"], dict):
        return f"usage must be an object, got {row['usage']!r}"
    values = (row[name] for name in ("label_names", "logprobs", "exact", "mass", "seconds"))
    return answer_fault(*values) or _shots_fault(row)


def _dataset_fault(row: Mapping[str, Any]) -> str | None:
    same = Dataset.from_json(row["content"]).fingerprint == row["fingerprint"]
    return None if same else "its content has another fingerprint"


def _correction_fault(row: Mapping[str, Any]) -> str | None:
    plain = isinstance(row["label"], int) and row["label"] >= TAKEN_BACK
    return None if plain else f"its label must be the number of a class, got {row['label']!r}"


def _run_fault(row: Mapping[str, Any]) -> str | None:
    return None if run_identity(row) == row["id"] else "its content has another id"


def _key_fault(row: Mapping[str, Any]) -> str | None:
    if not re.fullmatch("sha256:[0-9a-f]{64}", row["key"]):
        return "that is not a key"
    return _shots_fault(row)


def _shots_fault(row: Mapping[str, Any]) -> str | None:
    pairs = all(isinstance(id, str) and isinstance(label, int) for id, label in row["shots"])
    return None if pairs else f"shots must be pairs of an id and a class, got {row['shots']}"


def _text_fault(row: Mapping[str, Any]) -> str | None:
    if text_identity(row) != row["key"]:
        return "its content has another key"
    if not isinstance(row["text"], str):
        return f"its text is none, got {row['text']!r}"
    if not isinstance(row["usage"], dict):
        return f"usage must be an object, got {row['usage']!r}"
    return seconds_fault(row["seconds"])


def _text_failure_fault(row: Mapping[str, Any]) -> str | None:
    return None if text_identity(row) == row["key"] else "its content has another key"


def _label_fault(row: Mapping[str, Any]) -> str | None:
    if not isinstance(row["label"], int | None) or not isinstance(row["class"], str | None):
        return f"its label must be the number and name of a class, got {row['label']!r}"
    sure = row["probability"]
    return None if sure is None or 0 <= sure <= 1 else f"its probability cannot be {sure}"


_FAULTS: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "datasets": _dataset_fault,
    "origins": origin_fault,
    "corrections": _correction_fault,
    "runs": _run_fault,
    "commands": lambda row: None if isinstance(row["content"], dict) else "it is no object",
    "plan": _key_fault,
    "predictions": _prediction_fault,
    "failures": _key_fault,
    "probes": lambda row: None if isinstance(row["data"], dict) else "its data are no object",
    "texts": _text_fault,
    "text_failures": _text_failure_fault,
    "labels": _label_fault,
}


def row_fault(table: str, row: Mapping[str, Any]) -> str | None:
    """What is wrong with a decoded row, in a few words, or None where it proves itself."""
    try:
        return _FAULTS[table](row)
    except (ConsilienceError, LookupError, TypeError, ValueError) as error:
        return f"its content cannot be read: {type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True)
class ModelStats:
    """What one model has answered and what it took.

    `exact` and `bounded` are the shares of predictions with every label exact and with at least
    one bounded. `calls` counts a prediction once, or as often as its usage says (``calls``);
    tokens are None where the model never reported them.
    """

    model: str
    predictions: int
    exact: float
    bounded: float
    mean_mass: float
    calls: int
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The contents of a store in numbers; `failures` counts calls that gave nothing to keep.

    `texts` counts what models wrote, whose calls and tokens are none of a prediction's.
    """

    models: tuple[ModelStats, ...]
    failures: int
    texts: int
    runs: int
    datasets: int


_STATS = """
    SELECT count(*) AS predictions, avg(instr(marks.content, 'false') = 0) AS exact,
        avg(instr(marks.content, 'false') > 0) AS bounded, avg(mass) AS mean_mass,
        sum(coalesce(json_extract(used.content, '$.calls'), 1)) AS calls,
        sum(json_extract(used.content, '$.prompt_tokens')) AS prompt_tokens,
        sum(json_extract(used.content, '$.prompt_tokens_details.cached_tokens')) AS cached_tokens,
        sum(json_extract(used.content, '$.completion_tokens')) AS completion_tokens,
        sum(seconds) AS seconds
    FROM answers JOIN contents AS marks ON marks.id = exact
        JOIN contents AS used ON used.id = usage
    WHERE model = ?"""


def stats(db: sqlite3.Connection) -> StoreStats:
    """The numbers of a store, one entry per model, in the order of their names."""
    names = "SELECT id, content FROM contents WHERE id IN (SELECT model FROM answers) ORDER BY 2"
    # One model after the other: grouped by model, all rows would be sorted, in memory.
    models = [
        ModelStats(model=name, **dict(db.execute(_STATS, (id,)).fetchone()))
        for id, name in db.execute(names).fetchall()
    ]
    counts = {
        table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("failed", "text_failures", "texts", "runs", "datasets")
    }
    counts["failures"] = counts.pop("failed") + counts.pop("text_failures")
    return StoreStats(tuple(models), **counts)


def characters_per_token(
    db: sqlite3.Connection, model: str, steps: Steps | None = None
) -> float | None:
    """Characters of prompt to a reported prompt token, in the model's last 1,000 predictions.

    None where it has none that report tokens. A prediction counts the tokens of all its calls, and
    its prompt once, or in as many `steps` as the model takes for its label names: tokens are
    estimated as they are spent.
    """
    groups = db.execute(
        """SELECT label_names, sum(characters), sum(tokens) FROM (
               SELECT label_names, json_extract(usage, '$.prompt_tokens') AS tokens,
                   CASE json_type(prompt)
                       WHEN 'text' THEN length(json_extract(prompt, '$'))
                       ELSE (SELECT sum(length(json_extract(value, '$.content')))
                             FROM json_each(prompt))
                   END AS characters
               FROM predictions WHERE tokens > 0 AND rowid IN (
                   SELECT id FROM answers WHERE model = ? ORDER BY id DESC LIMIT 1000))
           GROUP BY label_names""",
        (number_of(db, model),),
    ).fetchall()

    def sent(names: str) -> int:
        with suppress(InputError):  # names that another kind of model of this name was asked with
            return steps(json.loads(names)) if steps else 1
        return 1

    characters = sum(sent(names) * length for names, length, _ in groups)
    tokens = sum(spent for _, _, spent in groups)
    return float(characters / tokens) if tokens else None


def verify(db: sqlite3.Connection) -> list[str]:
    """Every disagreement of a store with itself, one line each; empty for a healthy store.

    Re-derives each key, fingerprint and run id from the content, reads every JSON text, checks
    that values can be log-probabilities, and that plans are complete and fit their predictions.
    """
    try:
        return list(_faults(db))
    except sqlite3.DatabaseError as error:
        return [f"the file cannot be read to its end: {error}"]


def _faults(db: sqlite3.Connection) -> Iterator[str]:
    for (line,) in db.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"SQLite: {line}"
    for table, rowid, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"{table} {rowid}: refers to a row of {parent} that is not there"
    for id, hash, content in db.execute("SELECT id, hash, content FROM contents"):
        if hashlib.sha256(str(content).encode()).digest() != hash:
            yield f"contents {id}: its content has another hash"
    for table in TABLES:
        for row in db.execute(f"SELECT * FROM {table}"):
            name = " ".join(str(value) for value in row[: 3 if table == "plan" else 1])
            try:
                fault = row_fault(table, decode(dict(row), db))
            except (TypeError, ValueError) as error:
                fault = f"a column is not JSON: {error}"
            if fault:
                yield f"{table} {name}: {fault}"
    yield from pack_faults(db)
    for run, round, rows, last in db.execute(
        "SELECT run, round, count(*), max(position) FROM planned GROUP BY run, round"
    ):
        if rows != last + 1:
            yield f"plan {run} {round}: {last + 1 - rows} of its queries are missing"
    for run, rounds, last in db.execute(
        "SELECT run, count(DISTINCT round), max(round) FROM planned GROUP BY run"
    ):
        if rounds != last + 1:
            yield f"plan {run}: {last + 1 - rounds} of its rounds are missing"
    for run, round, position in db.execute(
        "SELECT run, round, position FROM planned JOIN answers USING (key) "
        "WHERE planned.repeat <> answers.repeat"
    ):
        yield f"plan {run} {round} {position}: its prediction has another repeat number"


def write_lines(db: sqlite3.Connection, path: Path) -> int:
    """Write every row of every table as one JSON object per line; the number of lines."""
    count = 0
    with whole_file(path) as file:
        for table in TABLES:
            order = "run, round, position" if table == "plan" else "rowid"
            for row in db.execute(f"SELECT * FROM {table} ORDER BY {order}"):
                file.write(dump({"table": table} | decode(dict(row), db)).encode("ascii") + b"\n")
                count += 1
    return count


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The (table, row) of each line that `write_lines` wrote, each row having proved itself.

    StoreError names the first line that has not.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
                table = row.pop("table")
                columns = set(TABLES[table])
            except (LookupError, TypeError, AttributeError, ValueError):
                raise StoreError(
                    f"{where}: not a row of a store, as its export writes it"
                ) from None
            if set(row) != columns:
                differing = ", ".join(sorted(set(row) ^ columns))
                raise StoreError(f"{where}: {table} rows differ in these columns: {differing}")
            if fault := row_fault(table, row):
                raise StoreError(f"{where}: {table}: {fault}; nothing was imported")
            yield table, row


def import_lines(db: sqlite3.Connection, path: Path) -> int:
    """Insert what `read_lines` reads, inside the caller's transaction; the number of new rows."""
    added = 0
    plans: dict[tuple[str, int], dict[int, Planned]] = {}
    for table, row in read_lines(path):
        if table == "plan":
            query = query_of(row | {"shots": dump(row["shots"])})
            plans.setdefault((row["run"], row["round"]), {})[row["position"]] = row["key"], query
        else:
            added += insert(db, table, row)
    for (run, round), rows in sorted(plans.items()):
        if sorted(rows) != list(range(len(rows))):
            raise StoreError(f"{path}: round {round} of run {run} is incomplete; nothing imported")
        added += insert_round(db, run, round, [rows[position] for position in range(len(rows))])
    return added
