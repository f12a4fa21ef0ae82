"""A store written anew with what of another is sound, or with what some of its runs need.

A store is append-only, so nothing in it is ever mended or dropped: a new file is written, and what
did not come over is counted and named. Each row proves itself on the way (see `verification`).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from consilience.errors import StoreError
from consilience.store.contents import CompactConnection
from consilience.store.identities import dump
from consilience.store.opening import connect
from consilience.store.schema import (
    TABLES,
    Planned,
    decode,
    encode,
    insert_encoded,
    insert_round,
    query_of,
)
from consilience.store.verification import row_fault
from consilience.store.voices import CANARY

_ORDER = {"plan": ("run", "round", "position")}
"""What rows are ordered by; all other tables by rowid."""

_BATCH = 512
"""So many rows make a transaction of the new file."""

_SHOWN = 20
"""So many reasons are told one by one."""

Pick = Callable[[str, Mapping[str, Any]], bool]
"""Whether a decoded row of a table comes over."""


@dataclass(slots=True)
class Recovery:
    """What came over into a new store, by table, what did not, and why (the first few reasons)."""

    kept: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)

    def leave(self, table: str, why: str | None = None) -> None:
        """Counts a row that does not come over."""
        self.left[table] += 1
        if why is not None:
            self.tell(f"{table}: {why}")

    def tell(self, why: str) -> None:
        """Keeps one of the first few reasons."""
        if len(self.reasons) < _SHOWN:
            self.reasons.append(why)


def recover(path: str | Path, output: str | Path) -> Recovery:
    """Writes all rows of a damaged store that can be read and prove themselves to a new one.

    StoreError where not even the list of its tables can be read, or `output` is there already.
    """
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        # Killed while the log was written into it, a store is short and yet whole with the log.
        with suppress(StoreError), _read(path, as_it_is=True) as source:
            return _written_anew(source, path, output, _every)
    with (
        _filled_up(Path(path), Path(f"{output}.filled")) as whole,
        _read(whole, as_it_is=True) as source,
    ):
        return _written_anew(source, whole, output, _every)


@contextmanager
def _read(path: str | Path, *, as_it_is: bool = False) -> Iterator[CompactConnection]:
    """A store that is only read."""
    source = connect(path, readonly=True, as_it_is=as_it_is)
    try:
        yield source
    finally:
        source.close()


def _every(table: str, row: Mapping[str, Any]) -> bool:
    return True


@contextmanager
def _filled_up(path: Path, beside: Path) -> Iterator[Path]:
    """A store that is cut off with zeros for what is missing, any other store as it is.

    SQLite opens no file that is shorter than it says of itself.
    """
    try:
        with path.open("rb") as file:
            head = file.read(100)
        size, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
        whole = pages * (65536 if size == 1 else size)
        if not head.startswith(b"SQLite format 3") or path.stat().st_size >= whole:
            yield path
            return
        _without(beside)
        shutil.copyfile(path, beside)
        os.truncate(beside, whole)
        if Path(f"{path}-wal").exists():
            shutil.copyfile(f"{path}-wal", f"{beside}-wal")
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        yield beside
    finally:
        _without(beside)


def collect_garbage(path: str | Path, output: str | Path | None, runs: list[str]) -> Recovery:
    """Writes what these runs (ids) need to a new store; where `output` is None only counts.

    Their data sets, plans, predictions, failures and labels come over, and everything that belongs
    to no run: probes, texts and canaries. StoreError for a run that is not there.
    """
    with _read(path) as source:
        # One moment of the store for all that is read: a run that goes on beside plans and asks.
        source.execute("BEGIN")
        return _written_anew(source, path, output, _needed(source, path, runs))


def _needed(db: CompactConnection, path: str | Path, runs: list[str]) -> Pick:
    """What these runs need of a store, and what belongs to no run."""
    try:
        there = {id: data for id, data in db.execute("SELECT id, dataset FROM runs")}
        if missing := sorted(set(runs) - there.keys()):
            raise StoreError(f"{path} has no run {missing[0]}; the runs are: {', '.join(there)}")
        marks = ", ".join("?" * len(runs))
        keys = {key for (key,) in db.execute(f"SELECT key FROM plan WHERE run IN ({marks})", runs)}
    except sqlite3.Error as error:
        raise StoreError(f"{path}: could not read its runs: {error}") from error
    datasets = {there[run] for run in runs}
    needed: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        "datasets": lambda row: row["fingerprint"] in datasets,
        "origins": lambda row: row["dataset"] in datasets,
        "runs": lambda row: row["id"] in runs,
        "commands": lambda row: row["run"] in runs,
        "plan": lambda row: row["run"] in runs,
        "predictions": lambda row: row["key"] in keys or row["framing"] == CANARY,
        "failures": lambda row: row["key"] in keys,
        "labels": lambda row: row["run"] in runs,
    }
    return lambda table, row: table not in needed or needed[table](row)


def _written_anew(
    source: CompactConnection, path: str | Path, output: str | Path | None, wanted: Pick
) -> Recovery:
    """Everything `wanted`, in a file that has its name only once it is whole."""
    if output is not None and Path(output).exists():
        raise StoreError(f"{output} is there already; name a file that is not")
    half = ":memory:" if output is None else Path(f"{output}.partial")
    if isinstance(half, Path):  # what was left by one that was killed
        _without(half)
    try:
        target = connect(half, readonly=False)
        try:
            found = _Copy(source, target, wanted).made()
        finally:
            target.close()
        if isinstance(half, Path) and output is not None:
            half.rename(output)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot write what {path} holds to {output}: {error}") from error
    finally:
        if isinstance(half, Path):
            _without(half)
    return found


def _without(path: Path) -> None:
    """No such database any more, nor what SQLite keeps beside it."""
    for beside in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{beside}").unlink(missing_ok=True)


class _Copy:
    """A copy under way, from one database to another."""

    def __init__(self, source: CompactConnection, target: CompactConnection, wanted: Pick) -> None:
        self._source, self._target, self._wanted = source, target, wanted
        self._found = Recovery()
        self._broken: dict[str, tuple[Any, ...]] = {}

    def made(self) -> Recovery:
        for table in TABLES:
            if table == "plan":
                self._plans()
                continue
            rows = self._rows(table)
            for some in iter(lambda: list(islice(rows, _BATCH)), []):  # noqa: B023 (used at once)
                self._target.execute("BEGIN")
                self._add(table, some)
                self._target.execute("COMMIT")
        return self._found

    def _add(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Inserts rows together, so that they can make packs; where one cannot, one by one."""
        encoded = [encode(table, row) for row in rows]
        self._target.execute("SAVEPOINT some")
        try:
            self._found.kept[table] += insert_encoded(self._target, table, encoded)
        except sqlite3.IntegrityError:
            self._target.execute("ROLLBACK TO some")
            self._target.forget()
            if len(rows) > 1:
                for row in rows:
                    self._add(table, [row])
            else:
                self._found.leave(table, "what it refers to is lost")
        self._target.execute("RELEASE some")

    def _plans(self) -> None:
        """Rounds come over whole and in their order, or not at all: a run goes on after them."""
        rounds: dict[tuple[str, int], dict[int, Planned]] = {}
        for row in self._rows("plan"):
            query = query_of(row | {"shots": dump(row["shots"])})
            there = rounds.setdefault((row["run"], row["round"]), {})
            there[row["position"]] = row["key"], query
        if (broken := self._broken.get("plan")) is not None:
            # How many rows came after the last that was read is not known.
            rounds.get((broken[0], broken[1]), {}).pop(0, None)
        self._target.execute("BEGIN")
        ended: set[str] = set()
        for (run, round), rows in sorted(rounds.items()):
            whole = sorted(rows) == list(range(len(rows))) and run not in ended
            try:
                if not whole:
                    raise StoreError(f"round {round} of run {run} is incomplete, or follows one")
                planned = [rows[position] for position in range(len(rows))]
                self._found.kept["plan"] += insert_round(self._target, run, round, planned)
            except (StoreError, sqlite3.IntegrityError) as error:
                ended.add(run)
                self._found.left["plan"] += len(rows)
                self._found.tell(f"plan: {error}")
        self._target.execute("COMMIT")

    def _rows(self, table: str) -> Iterator[dict[str, Any]]:
        for raw in _readable(self._source, table, self._found, self._broken):
            try:
                row = decode(raw, self._source)
                fault = row_fault(table, row)
            except (TypeError, ValueError, sqlite3.DatabaseError) as error:
                fault = f"a column is not JSON: {error}"
            if fault:
                self._found.leave(table, fault)
            elif self._wanted(table, row):
                yield row
            else:
                self._found.leave(table)


def _readable(
    db: sqlite3.Connection, table: str, found: Recovery, broken: dict[str, tuple[Any, ...]]
) -> Iterator[dict[str, Any]]:
    """The rows of a table from its beginning, and, where one cannot be read, from its end.

    In `broken` is then which row was the last before the gap, by what rows are ordered by.
    """
    order = _ORDER.get(table, ("rowid",))
    there = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
    if not there:  # an older store, which has no such table
        return
    read = (*TABLES[table], *(("raw_like", "rowid") if "raw_like" in there else ()))
    columns = ", ".join(read)
    named = ", ".join(order)
    last: tuple[Any, ...] | None = None
    begun = f"SELECT {named}, {columns} FROM {table}"
    try:
        for row in db.execute(f"{begun} ORDER BY {named}"):
            last = tuple(row)[: len(order)]
            yield dict(zip(read, tuple(row)[len(order) :], strict=True))
        return
    except sqlite3.DatabaseError as error:
        found.tell(f"{table}: not all of its rows can be read: {error}")
        if last is not None:
            broken[table] = last
    backwards = ", ".join(f"{name} DESC" for name in order)
    after, values = ("", ()) if last is None else (f" WHERE ({named}) > ({_marks(order)})", last)
    try:
        for row in db.execute(f"{begun}{after} ORDER BY {backwards}", values):
            yield dict(zip(read, tuple(row)[len(order) :], strict=True))
    except sqlite3.DatabaseError:
        return


def _marks(order: tuple[str, ...]) -> str:
    return ", ".join("?" * len(order))
