"""The store: an append-only SQLite file that keeps everything that was asked, and can prove it.

One row is one prediction. Its identity is the hash of what decides the answer: the model's name,
the prompt, the label names, the sampling settings and the repeat number; never time-outs, retries
or concurrency. Two queries that give the same prompt are therefore one prediction, asked once.
Texts that a model wrote are kept in the same way. Data sets (which hold no gold), the plan of each
round, failures and probes are kept too: a store is enough to solve again without a network.

`Store.verify` re-derives every key from the stored content; an empty list is the definition of a
healthy store. Every table and column is described in docs/store.md.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from consilience.data.dataset import Dataset
from consilience.errors import StoreError
from consilience.models.base import Answer, Completion, Model, Request, Writer
from consilience.store import verification as audit
from consilience.store.columns import PredictionColumns, read_columns, write_parquet
from consilience.store.identities import plain, run_identity
from consilience.store.opening import connect
from consilience.store.origins import origin_of, save_origin
from consilience.store.place import file_of
from consilience.store.prediction_keys import prediction_key
from consilience.store.rows import (
    OF_PREDICTION,
    AnswerRows,
    Prediction,
    Run,
    chosen_rows,
    every_run,
    failed_reasons,
    failed_row,
    known_keys,
    prediction_of,
)
from consilience.store.schema import (
    TAKEN_BACK,
    Encoded,
    Planned,
    decode,
    encode,
    insert,
    insert_encoded,
    insert_labels,
    insert_round,
    now,
    planned,
    versions,
)
from consilience.store.sources import AnswerSource, latest_answers, sources
from consilience.store.texts import Note, Text, text_of, text_row


class Store:
    """An open store; a missing file (and its folder) is created unless `readonly`.

    What `add` has returned for survives the death of the process. Any number of processes may
    write to one file. Every method raises StoreError, in one line, where the file lets it down.
    """

    def __init__(self, path: str | Path = ":memory:", *, readonly: bool = False) -> None:
        self.path = path = file_of(path)
        self._lock = threading.Lock()
        self._db = connect(path, readonly)

    @property
    def place(self) -> str | None:
        """The file, None where the store is in memory."""
        return None if str(self.path) == ":memory:" else str(Path(self.path).absolute())

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    @contextmanager
    def _using(self, doing: str) -> Iterator[sqlite3.Connection]:
        try:
            yield self._db
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: could not {doing}: {error}") from error

    @contextmanager
    def _transaction(
        self, doing: str, kind: str = "IMMEDIATE", *, checked: bool = True
    ) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end of the block, undone by any exception.

        IMMEDIATE takes the write lock at once: a lock that is upgraded later cannot wait. SQLite
        looks for what each row refers to if it is `checked`.
        """
        with self._lock, self._using(doing) as db:
            self._db.check_references(checked)
            try:
                with db:
                    db.execute(f"BEGIN {kind}")
                    yield db
            # Raised again: an interrupt undoes it too, and the ids cached for its rows must go.
            except BaseException:
                self._db.forget()
                raise

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._using("read") as db:
            return db.execute(sql, values).fetchall()

    # --- predictions ------------------------------------------------------------------------

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that have a prediction."""
        with self._using("read what it knows") as db:
            return known_keys(db, keys)

    def predictions(self, keys: Sequence[str]) -> list[Prediction | None]:
        """The predictions in the order of the keys, None for a key that has none."""
        read = map(prediction_of, self._chosen(OF_PREDICTION, keys))
        found = {prediction.key: prediction for prediction in read}
        return [found.get(key) for key in keys]

    def columns(self, run: str | None = None) -> PredictionColumns:
        """All predictions, or those that a run planned, as arrays; for the many."""
        try:
            with self._transaction("read its columns", "DEFERRED") as db:
                return read_columns(db, run)
        except ValueError as error:
            raise StoreError(f"{self.path}: could not read its columns: {error}") from error

    def _chosen(
        self, columns: str, keys: Sequence[str], table: str = "predictions"
    ) -> Iterator[sqlite3.Row]:
        with self._using("read") as db:
            yield from chosen_rows(db, columns, keys, table)

    def keep(self, rows: Iterable[tuple[str, Encoded]]) -> int:
        """Keep encoded rows of these tables in one transaction; committed when it returns.

        What is there already stays: a key keeps its first answer. The number of rows added.
        """
        # Without a check, which takes a tenth of the time: what they refer to is made for them.
        with self._transaction("keep what came back", checked=False) as db:
            tables = groupby(rows, key=itemgetter(0))
            return sum(insert_encoded(db, name, [v for _, v in some]) for name, some in tables)

    def _keep(self, table: str, row: Mapping[str, Any]) -> None:
        self.keep([(table, encode(table, row))])

    def add(self, model: Model, request: Request, answer: Answer, seconds: float) -> str:
        """Keep one answer and return its key; committed when it returns.

        A key that is there already keeps its first answer. AnswerError if a value cannot be a
        prediction (not finite, above 0, lengths that disagree); nothing is stored then.
        """
        key = prediction_key(model, request)
        self.keep([("predictions", AnswerRows(model).row(key, request, answer, seconds))])
        return key

    def add_failure(self, key: str, request: Request, error: str, body: str | None) -> None:
        """Keep a call that gave no prediction, and what came back, which may have been paid for."""
        self._keep("failures", failed_row(key, request, error, body))

    def failures(self, keys: Sequence[str]) -> list[tuple[str, str, str | None]]:
        """The calls for these keys that gave no prediction: key, error, and what came back."""
        return [(k, e, b) for k, e, b in self._chosen("key, error, body", keys, "failures")]

    def reasons(self, run: str) -> dict[str, str]:
        """Why queries of a run failed, the last time, by the id of their target."""
        with self._using("read what failed") as db:
            return failed_reasons(db, run)

    def latest(self, model: str, count: int = 20) -> list[Any]:
        """The raw responses of a model's last predictions, the newest first."""
        with self._using("read what a model answered") as db:
            return latest_answers(db, model, count)

    def detail(self, key: str) -> dict[str, Any]:
        """Everything about one prediction or text, its prompt and the raw response among it."""
        for table in ("predictions", "texts"):
            for row in self._chosen("*", [key], table):
                return decode(dict(row), self._db)
        raise StoreError(f"{self.path} has no prediction {key}, and no text")

    def texts(self, keys: Sequence[str]) -> list[Text | None]:
        """The texts in the order of the keys, None for a key that has none."""
        columns = "key, text, usage, seconds"
        found = {row["key"]: text_of(row) for row in self._chosen(columns, keys, "texts")}
        return [found.get(key) for key in keys]

    def add_text(self, writer: Writer, note: Note, written: Completion, seconds: float) -> str:
        """Keep one text and return its key, as `add` does; the first text stays."""
        row = text_row(writer, note, written, seconds)
        self._keep("texts", row)
        return str(row["key"])

    # --- data sets, runs, plans, probes -----------------------------------------------------

    def save_dataset(self, dataset: Dataset) -> str:
        """Keep a whole data set and return its fingerprint; the first name and note stay."""
        row = {
            "fingerprint": dataset.fingerprint,
            "name": dataset.name,
            "created": now(),
            "content": dataset.to_json(),
        }
        with self._transaction("keep a data set") as db:
            insert(db, "datasets", row)
            save_origin(db, dataset)
        return dataset.fingerprint

    def dataset(self, fingerprint: str) -> Dataset:
        """The data set of that fingerprint."""
        rows = self._rows("SELECT content FROM datasets WHERE fingerprint = ?", (fingerprint,))
        if not rows:
            raise StoreError(f"{self.path} has no data set {fingerprint}")
        found = Dataset.from_json(json.loads(rows[0][0]))
        with self._using("read where a data set comes from") as db:
            found.origin = origin_of(db, found)
        return found

    def save_corrections(self, dataset: Dataset, classes: Mapping[str, int]) -> int:
        """Keep the classes that the user says examples have, by id; the number that are new.

        They belong to the data set, so that every run of it in this store holds them fixed. The
        newest of an example counts; `TAKEN_BACK` takes away what was said before.
        """
        self.save_dataset(dataset)
        kept, created = self.corrections(dataset.fingerprint), now()
        new = {id: label for id, label in classes.items() if kept.get(id, TAKEN_BACK) != label}
        with self._transaction("keep corrections") as db:
            for id, label in sorted(new.items()):
                row = {"dataset": dataset.fingerprint, "created": created}
                insert(db, "corrections", row | {"example": id, "label": label})
        return len(new)

    def corrections(self, fingerprint: str) -> dict[str, int]:
        """The classes that the user says examples of a data set have, by id."""
        rows = self._rows(
            "SELECT example, label FROM corrections WHERE dataset = ? ORDER BY created, rowid",
            (fingerprint,),
        )
        newest = sorted((str(id), int(label)) for id, label in dict(map(tuple, rows)).items())
        return {id: label for id, label in newest if label != TAKEN_BACK}

    def start_run(
        self, dataset: Dataset, model: Model, settings: Mapping[str, Any], seed: int
    ) -> str:
        """The id of the run with these inputs, recorded with the versions in use if it is new.

        The same data set, model, model settings, plan settings and seed give the same id, so that
        a run that was interrupted goes on.
        """
        row = {
            "dataset": self.save_dataset(dataset),
            "dataset_name": dataset.name,
            "model": model.name,
            "style": model.style,
            "model_settings": plain(model.settings),
            "settings": plain(settings),
            "seed": seed,
            "created": now(),
            "versions": versions(),
        }
        row["id"] = run_identity(row)
        with self._transaction("start a run") as db:
            insert(db, "runs", row)
        return str(row["id"])

    def save_command(self, run: str, content: Mapping[str, Any]) -> None:
        """Keep what a command said as it made a run, unless it was kept last; it is the newest."""
        if content != self.command(run) or self.run().id != run:
            with self._transaction("keep a command") as db:
                insert(db, "commands", {"run": run, "created": now(), "content": dict(content)})

    def command(self, run: str) -> Mapping[str, Any] | None:
        """What the last command said that made a run, None where it was no command."""
        sql = "SELECT content FROM commands WHERE run = ? ORDER BY created DESC, rowid DESC LIMIT 1"
        rows = self._rows(sql, (run,))
        return dict(json.loads(rows[0][0])) if rows else None

    def add_round(self, run: str, round: int, rows: Sequence[Planned]) -> None:
        """Keep the plan of one round, in its order; the same plan again changes nothing.

        StoreError for an empty round, one that skips a number, an unknown run, or a plan that
        differs from the one that is there.
        """
        with self._transaction("keep the plan of a round") as db:
            insert_round(db, run, round, rows)

    def rounds(self, run: str) -> list[list[Planned]]:
        """The plan of a run, one list of (key, query) per round; empty if nothing is planned."""
        with self._using("read a plan") as db:
            return planned(db, run)

    def save_labels(self, run: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the labels of a run, one row for each example, unless they were kept last."""
        with self._transaction("keep labels") as db:
            insert_labels(db, run, rows)

    def runs(self) -> list[Run]:
        """Every run, the newest first: by when it was begun, or last made by a command."""
        with self._using("read its runs") as db:
            return every_run(db)

    def run(self, id: str | None = None) -> Run:
        """The run whose id begins with `id`, the newest where that is None."""
        runs = self.runs()
        if not runs:
            raise StoreError(f"{self.path} has no runs yet")
        if id is None:
            return runs[0]
        found = [run for run in runs if run.id.startswith(id)]
        if len(found) != 1:
            listed = ", ".join(f"{run.id} ({run.dataset_name}, {run.model})" for run in runs)
            which = "several runs" if found else "no run"
            raise StoreError(f"{self.path} has {which} {id!r}; the runs are: {listed}")
        return found[0]

    def save_probe(self, model: str, base_url: str, data: Mapping[str, Any]) -> None:
        """Keep what a probe of a server found."""
        row = {"model": model, "base_url": base_url, "created": now(), "data": dict(data)}
        with self._transaction("keep a probe") as db:
            insert(db, "probes", row)

    def probe(self, model: str, base_url: str) -> Mapping[str, Any] | None:
        """What the newest probe of this model at this address found, None if there was none."""
        rows = self._rows(
            "SELECT data FROM probes WHERE model = ? AND base_url = ? "
            "ORDER BY created DESC, rowid DESC LIMIT 1",
            (model, base_url),
        )
        return dict(json.loads(rows[0][0])) if rows else None

    def probed_at(self, model: str) -> str | None:
        """The address where a model was probed last, None where it never was."""
        sql = "SELECT base_url FROM probes WHERE model = ? ORDER BY created DESC, rowid DESC"
        rows = self._rows(f"{sql} LIMIT 1", (model,))
        return str(rows[0][0]) if rows else None

    def verify(self) -> list[str]:
        """Every disagreement of the store with itself; empty for a healthy one."""
        return audit.verify(self._db)

    def stats(self) -> audit.StoreStats:
        """The contents in numbers, per model."""
        with self._using("count what it holds") as db:
            return audit.stats(db)

    def sources(self) -> list[AnswerSource]:
        """Who gave the predictions: by served name, build and voice, the first first."""
        with self._using("read who answered") as db:
            return sources(db)

    def characters_per_token(self, model: str, steps: audit.Steps | None = None) -> float | None:
        """How many characters of prompt this model has charged as one token; None if unknown."""
        with self._using("count its tokens") as db:
            return audit.characters_per_token(db, model, steps)

    def export_jsonl(self, path: str | Path) -> int:
        """Write everything as one JSON object per line, lossless; the number of lines."""
        try:
            # One transaction, so that the tables agree while others write.
            with self._transaction("export", "DEFERRED") as db:
                return audit.write_lines(db, Path(path))
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot export {self.path} to {path}: {error}") from error

    def export_parquet(self, path: str | Path) -> int:
        """Write the predictions as a Parquet file; the number of rows."""
        try:
            with self._transaction("export", "DEFERRED") as db:
                return write_parquet(db, Path(path))
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot export {self.path} to {path}: {error}") from error

    def import_jsonl(self, path: str | Path) -> int:
        """Add what `export_jsonl` wrote and return the number of new rows; all of it or nothing.

        Every line is verified. A row that is here already is skipped, and a prediction keeps its
        first answer; StoreError if a run here has a round with another plan.
        """
        try:
            with self._transaction(f"import {path}") as db:
                return audit.import_lines(db, Path(path))
        except OSError as error:
            raise StoreError(f"cannot import {path}: {error}") from error
