"""How predictions, plans and failures lie in the file: each text once, rows that refer to it.

A list of shots, the part of a prompt that a block of questions shares, settings, label names and
ids are written once each, in `contents`, under the hash of what they are; keys once each, in
`keys`. A prompt is a `head`, shared, and a `tail` of its own. A long response is compressed with
another response of the same model as dictionary (zlib), since they differ in little. The views
`predictions`, `plan` and `failures` put the rows together again.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from consilience.errors import StoreError
from consilience.prompts.shared_prefixes import common_length
from consilience.store.contents import (
    CompactConnection,
    key_numbers,
    numbers_in,
    stored_text,
)
from consilience.store.prompt_heads import Halves

LONG = 200
"""Characters from which a response is compressed."""

LARGEST_RESPONSE = 1 << 28
"""Bytes that a response can have; more is no response of ours."""


class Layout(NamedTuple):
    """The table below a view: its columns, and which of them refer to `contents`."""

    table: str
    columns: tuple[str, ...]
    shared: frozenset[str]


_QUERY = ("target", "framing", "repeat", "contrast", "shots")

LAYOUTS = {
    "predictions": Layout(
        "answers",
        (
            *("key", "created", "model", *_QUERY[:4], "mass", "seconds", "logprobs", "exact"),
            *("label_names", "usage", "shots", "settings", "head", "tail", "raw", "raw_like"),
        ),
        frozenset({"model", "target", "framing", "exact", "label_names", "usage", "shots"})
        | {"settings", "head", "raw_like"},
    ),
    "plan": Layout(
        "planned",
        ("run", "round", "position", "key", *_QUERY),
        frozenset({"target", "framing", "shots"}),
    ),
    "failures": Layout(
        "failed",
        ("key", "created", "error", *_QUERY[:4], "label_names", "shots", "head", "tail", "body"),
        frozenset({"target", "framing", "label_names", "shots", "head"}),
    ),
    "labels": Layout(
        "solved",
        (
            *("run", "created", "example", "text", "label", "class", "probability"),
            *("epistemic", "aleatoric", "open"),
        ),
        frozenset({"example", "text", "class"}),
    ),
}
"""The tables that predictions, plans, failures and labels lie in, by the names of their views."""

MOVED = ("predictions", "plan", "failures")
"""The views that were tables before."""


def _view(name: str, own: str = "") -> str:
    table, columns, shared = LAYOUTS[name]
    shown, joins = [], ["JOIN keys ON keys.id = rows.key"] if "key" in columns else []
    for column in columns:
        if column == "tail":
            continue
        if column in shared:
            joins.append(f"LEFT JOIN contents AS {column}_of ON {column}_of.id = rows.{column}")
        if column == "key":
            shown.append("'sha256:' || lower(hex(keys.key)) AS key")
        elif column == "head":
            shown.append("head_of.content || rows.tail AS prompt")
        elif column in shared:
            shown.append(f"{column}_of.content AS {column}")
        else:
            shown.append(f"rows.{column}")
    return f"CREATE VIEW {name} AS SELECT {', '.join(shown)}{own} FROM {table} AS rows " + " ".join(
        joins
    )


_SHARED = "INTEGER NOT NULL REFERENCES contents (id)"
_QUERY_SQL = (
    f"target {_SHARED}, framing {_SHARED}, repeat INTEGER NOT NULL, contrast INTEGER, "
    f"shots {_SHARED}"
)
_KEY = "key INTEGER NOT NULL REFERENCES keys (id)"

COMPACT = (
    *(f"ALTER TABLE {name} RENAME TO old_{name}" for name in MOVED),
    """CREATE TABLE contents (
        id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, content TEXT NOT NULL)""",
    "CREATE TABLE keys (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE)",
    f"""CREATE TABLE answers (
        id INTEGER PRIMARY KEY, {_KEY} UNIQUE, created TEXT NOT NULL, model {_SHARED},
        {_QUERY_SQL}, mass REAL NOT NULL, seconds REAL NOT NULL, logprobs TEXT NOT NULL,
        exact {_SHARED}, label_names {_SHARED}, usage {_SHARED}, settings {_SHARED},
        head {_SHARED}, tail TEXT NOT NULL, raw TEXT NOT NULL,
        raw_like INTEGER REFERENCES contents (id))""",
    f"""CREATE TABLE planned (
        run TEXT NOT NULL REFERENCES runs (id), round INTEGER NOT NULL,
        position INTEGER NOT NULL, {_KEY}, {_QUERY_SQL},
        PRIMARY KEY (run, round, position)) WITHOUT ROWID""",
    f"""CREATE TABLE failed (
        id INTEGER PRIMARY KEY, {_KEY}, created TEXT NOT NULL, error TEXT NOT NULL,
        {_QUERY_SQL}, label_names {_SHARED}, head {_SHARED}, tail TEXT NOT NULL, body TEXT,
        UNIQUE (key, created, error))""",
    _view("predictions", ", rows.id AS rowid"),
    _view("plan"),
    _view("failures", ", rows.id AS rowid"),
)
"""The statements that make these tables and views beside the ones of before."""

LABELS = (
    f"""CREATE TABLE solved (
        id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (id), created TEXT NOT NULL,
        example {_SHARED}, text {_SHARED}, label INTEGER,
        class INTEGER REFERENCES contents (id), probability REAL, epistemic REAL,
        aleatoric REAL, open INTEGER NOT NULL, UNIQUE (run, created, example))""",
    _view("labels", ", rows.id AS rowid"),
    """CREATE VIEW prompts AS SELECT key, model, target, framing, repeat, contrast, logprobs,
        CASE json_type(prompt) WHEN 'text' THEN json_extract(prompt, '$') ELSE (
            SELECT group_concat(json_extract(value, '$.role') || ': '
                || json_extract(value, '$.content'), '

')
            FROM json_each(prompt)) END AS prompt
        FROM predictions""",
)
"""The statements that make the table of labels, and prompts as they are read."""


def insert_compact(
    db: sqlite3.Connection, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> int:
    """Inserts encoded rows of a view unless their identity is there; the number of rows added."""
    assert isinstance(db, CompactConnection)
    if not rows:
        return 0
    table, own, shared = LAYOUTS[name]
    given: dict[str, Sequence[Any]] = dict(zip(columns, zip(*rows, strict=True), strict=True))
    if "prompt" in given:
        split = map(partial(halves, db), given["shots"], given["framing"], given["prompt"])
        given["head"], given["tail"] = zip(*split, strict=True)
    for column in shared & given.keys():
        told = iter(numbers_in(db, [text for text in given[column] if text is not None]))
        given[column] = [None if text is None else next(told) for text in given[column]]
    if "key" in given:
        given["key"] = key_numbers(db, given["key"])
    marks = ", ".join("?" * len(own))
    sql = f"INSERT INTO {table} ({', '.join(own)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    return db.executemany(sql, zip(*map(given.__getitem__, own), strict=True)).rowcount


def halves(db: CompactConnection, shots: str, framing: str, prompt: object) -> Halves:
    """A prompt's JSON in two; what shots and framing share has one head."""
    if isinstance(prompt, Halves):
        return prompt
    text, context = stored_text(prompt), (stored_text(shots), stored_text(framing))
    known = db.heads.get(context)
    if known is None or not text.startswith(known):
        end = _shots_end(text) if known is None else common_length(known, text)
        if len(db.heads) >= 1000:
            db.heads.clear()
        known = db.heads[context] = text[:end]
    return Halves(known, text[len(known) :])


def _shots_end(prompt: str) -> int:
    """Where the target begins, as prompts are rendered: behind a blank line, or in a new turn."""
    turn = prompt.rfind('{"role":"user"')
    line = prompt.rfind("\\n\\n")
    return turn if turn > 1 else line + 4 if line > 0 else 0


def deflated(db: CompactConnection, model: str, raw: str) -> tuple[str | bytes, str | None]:
    """A response as it is stored, and the response that it is compressed with, None if none."""
    if len(raw) < LONG:
        return raw, None
    like = db.likes.setdefault(model, raw)
    # The fastest, in little memory: setting zlib up takes longer than a response.
    packer = zlib.compressobj(1, zlib.DEFLATED, 13, 5, zdict=like.encode())
    return packer.compress(raw.encode()) + packer.flush(), like


def inflated(raw: str | bytes, like: str | None) -> str:
    """A response's JSON from how it is stored; ValueError where it cannot be read."""
    if isinstance(raw, str):
        return raw
    try:
        unpacker = zlib.decompressobj(zdict=(like or "").encode())
        text = unpacker.decompress(raw, LARGEST_RESPONSE)
        if not unpacker.eof:
            raise ValueError("a response cannot be unpacked: it has no end, or is too large")
        return text.decode()
    except zlib.error as error:
        raise ValueError(f"a response cannot be unpacked: {error}") from error


_MEND = "; `consilience store repair` saves what can be read"


Insert = Callable[[sqlite3.Connection, str, Sequence[Sequence[Any]]], int]
"""Inserts rows of a view; the number of rows added."""


def move(db: CompactConnection, tables: Mapping[str, Sequence[str]], insert: Insert) -> int:
    """The rows of before into these tables, inside the caller's transaction; how many."""
    total = 0
    for name in MOVED:
        order = "run, round, position" if name == "plan" else "rowid"
        columns = ", ".join(tables[name])
        rows = db.execute(f"SELECT {columns} FROM old_{name} ORDER BY {order}")
        moved = 0
        try:
            while some := rows.fetchmany(500):
                moved += insert(db, name, list(map(tuple, some)))
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError) as error:
            raise StoreError(
                f"a row of {name} is not as a store writes it: {error}{_MEND}"
            ) from error
        (before,) = db.execute(f"SELECT count(*) FROM old_{name}").fetchone()
        if moved != before:
            raise StoreError(
                f"only {moved:,} of {before:,} rows of {name} can be moved to the newer form{_MEND}"
            )
        db.execute(f"DROP TABLE old_{name}")
        total += moved
    return total
