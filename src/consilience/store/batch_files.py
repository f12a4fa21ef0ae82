"""Batches: what a plan still lacks, written to files, and files of answers taken into the store.

A line that cannot be used never ends the taking in; it is counted, and says why. What the model
refuses for one row (a filter, its length) is kept as a failure, and its round goes on without it.
Everything else that brought no prediction stays pending: the next batch asks it again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from consilience.data.whole_file import whole_file
from consilience.errors import AnswerError, InputError, ModelError
from consilience.models.base import Answer, Request
from consilience.models.batch import BatchedModel, Posted, Reply, read_reply
from consilience.models.body import MOST_BYTES
from consilience.models.event_loop import run
from consilience.models.served import Watch, served_by
from consilience.store.batch_tables import TokenIds, is_table, read_answers, write_questions
from consilience.store.database import Store
from consilience.store.identities import dump

MOST_REQUESTS = 50_000
"""So many requests OpenAI takes in one file."""

MOST_FILE_BYTES = 200_000_000
"""So many bytes OpenAI takes in one file."""

PARTLY = "answered in part"
"""How the error of a failure begins that keeps the replies to a question that needs one more."""

_CHUNK = 2_000


@dataclass(slots=True)
class BatchLines:
    """What came of files of answers, in lines, each counted once.

    `stored` became predictions; `known` had one already; `partly` need one more request; `refused`
    are rows that the model refuses; `failed` brought nothing this time; `unknown` answer nothing
    that a run here asks; `unreadable` are no answers to a batch. `why` has an example of each that
    is none of the first two, `notes` what else the user should know.
    """

    lines: int = 0
    stored: int = 0
    known: int = 0
    partly: int = 0
    refused: int = 0
    failed: int = 0
    unknown: int = 0
    unreadable: int = 0
    why: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def count(self, kind: str, why: str | None = None) -> None:
        """One more line of a kind."""
        self.lines += 1
        setattr(self, kind, getattr(self, kind) + 1)
        if why is not None:
            self.why.setdefault(kind, why)


class Asking(Protocol):
    """Finds what keys stand for."""

    def __call__(self, keys: Collection[str]) -> Mapping[str, tuple[BatchedModel, Request]]:
        """The requests of those keys that a run asks, each with its model."""
        ...


def failed_keys(store: Store, keys: Sequence[str]) -> set[str]:
    """Those of the keys that were given up: they have a failure that is no part of an answer."""
    return {key for key, error, _ in store.failures(keys) if not error.startswith(PARTLY)}


def pending_keys(store: Store, keys: Sequence[str]) -> list[str]:
    """Those of the keys that have neither a prediction nor were given up."""
    settled = store.known(keys) | failed_keys(store, keys)
    return [key for key in dict.fromkeys(keys) if key not in settled]


def write_batch(
    planned: Sequence[tuple[str, Request]], model: BatchedModel, store: Store, path: str | Path
) -> tuple[list[Path], int]:
    """Writes what is pending of a plan to batch files; their paths and the number of requests.

    The first is `path`, others have a number after its name; each holds at most what OpenAI takes.
    No file is written where nothing is pending. A path that ends in .parquet becomes one table.
    InputError where a file cannot be written.
    """
    if is_table(path):
        rows = run(_rows(planned, model, store))
        if rows:
            write_questions(rows, Path(path))
        return [Path(path)] if rows else [], len(rows)
    with ExitStack() as stack:
        files = _Files(Path(path), stack)
        run(_write(planned, model, store, files))
    return files.made, files.requests


async def _rows(
    planned: Sequence[tuple[str, Request]], model: BatchedModel, store: Store
) -> list[tuple[str, Request, TokenIds]]:
    """What is pending, for a table."""
    pending = set(pending_keys(store, [key for key, _ in planned]))
    try:
        return [
            (key, request, await model.label_token_ids(request))
            for key, request in dict(planned).items()
            if key in pending
        ]
    finally:
        await model.model.close()


async def _write(
    planned: Sequence[tuple[str, Request]], model: BatchedModel, store: Store, files: _Files
) -> None:
    keys = [key for key, _ in planned]
    pending, parts = set(pending_keys(store, keys)), _parts(store, keys)
    try:
        for key, request in planned:
            if key not in pending:
                continue
            pending.remove(key)
            before = parts.get(key, [])
            posted = await model.ask(request, before)
            if isinstance(posted, Posted):
                files.add(model.line(_custom_id(key, len(before)), posted))
            else:
                store.add(model.model, request, posted, 0.0)
    finally:
        await model.model.close()


class _Files:
    """Batch files, each begun where the one before is full; each gets its name when it is whole."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path, self._stack = path, stack
        self.made: list[Path] = []
        self.requests = self._held = self._bytes = 0

    def add(self, line: bytes) -> None:
        """One more line; InputError where no file can be written."""
        full = self._held == MOST_REQUESTS or self._bytes + len(line) > MOST_FILE_BYTES
        path = self._path
        try:
            if full or not self.made:
                self._stack.close()
                if self.made:
                    path = path.with_stem(f"{path.stem}-{len(self.made) + 1}")
                self._file = self._stack.enter_context(whole_file(path))
                self.made.append(path)
                self._held = self._bytes = 0
            self._file.write(line)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        self.requests += 1
        self._held += 1
        self._bytes += len(line)


def _custom_id(key: str, number: int) -> str:
    """The id of the request that comes after so many for the same prediction."""
    return key if not number else f"{key}.{number}"


def _number(custom_id: str) -> int:
    """What `_custom_id` counted."""
    number = custom_id.partition(".")[2]
    return int(number) if number.isdecimal() and len(number) < 4 else 0


def _parts(store: Store, keys: Sequence[str]) -> dict[str, list[Reply]]:
    """The replies that questions have which need one more, by key."""
    found: dict[str, list[Reply]] = {}
    for key, error, body in store.failures(keys):
        if error.startswith(PARTLY) and body is not None:
            replies = [Reply(**reply) for reply in json.loads(body)]
            found[key] = max(found.get(key, []), replies, key=len)
    return found


def ingest(
    paths: Sequence[str | Path], find: Asking, store: Store, *, give_up: bool = False
) -> BatchLines:
    """Takes the lines of output and error files into the store; what came of them.

    They may come in any order and more than once. Where `give_up`, what failed is kept as a
    failure, so that its round goes on without it. InputError for a file that cannot be read.
    """
    taking = _Taking(find, store, give_up)
    for path in paths:
        try:
            run(taking.file(Path(path)))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return taking.counts


class _Taking:
    """Takes in lines, so many at a time."""

    def __init__(self, find: Asking, store: Store, give_up: bool) -> None:
        self.find, self.store, self.give_up = find, store, give_up
        self.counts = BatchLines()
        self.watches: dict[int, Watch] = {}

    async def file(self, path: Path) -> None:
        chunk: list[_Line] = []
        for where, key, said in read_answers(path) if is_table(path) else _read(path):
            if isinstance(said, AnswerError):
                self.counts.count("unreadable", str(said))
            else:
                chunk.append((where, key, said))
            if len(chunk) == _CHUNK:
                await self.some(chunk)
                chunk = []
        await self.some(chunk)

    async def some(self, chunk: Sequence[_Line]) -> None:
        keys = list(dict.fromkeys(custom_id.partition(".")[0] for _, custom_id, _ in chunk))
        known = self.store.known(keys)
        asked = self.find([key for key in keys if key not in known])
        parts = _parts(self.store, keys)
        for where, custom_id, said in chunk:
            key = custom_id.partition(".")[0]
            before = parts.get(key, [])
            if key in known:
                self.counts.count("known")
            elif key not in asked:
                why = f"{where} answers nothing that a run of this store asks"
                self.counts.count("unknown", why)
            elif (after := _number(custom_id)) < len(before):
                self.counts.count("known")
            elif after > len(before):
                why = f"{where} comes before the answer that it follows"
                self.counts.count("failed", f"{why}; take in the older file first")
            else:
                model, request = asked[key]
                done = await self.one(where, key, model, request, before, said)
                if done is None:
                    known.add(key)
                else:
                    parts[key] = done

    async def one(
        self,
        where: str,
        key: str,
        model: BatchedModel,
        request: Request,
        before: list[Reply],
        said: Reply | Answer,
    ) -> list[Reply] | None:
        """Takes one line in; None where it became a prediction, else the replies that count."""
        try:
            replies = [] if isinstance(said, Answer) else [*before, said]
            answer = said if isinstance(said, Answer) else await model.ask(request, replies)
            if isinstance(answer, Answer):
                note = self.watch(model).check(answer.raw)
                self.counts.notes += [] if note is None else [note]
                self.store.add(model.model, request, answer, 0.0)
                self.counts.count("stored")
                return None
        except ModelError as error:
            self.counts.count("failed" if error.reason is None else "refused", str(error))
            if error.reason is not None or self.give_up:
                self.lose(key, request, str(error), error.body)
            return before
        why = f"{PARTLY}: one more request is needed, which the next batch has"
        self.counts.count("partly", f"{where}: {why}")
        self.lose(key, request, why, dump([asdict(reply) for reply in replies]))
        return replies

    def lose(self, key: str, request: Request, error: str, body: str | None) -> None:
        if (key, error, body) not in self.store.failures([key]):
            self.store.add_failure(key, request, error, body)

    def watch(self, model: BatchedModel) -> Watch:
        name = model.model.name
        if id(model) not in self.watches:
            known = map(served_by, reversed(self.store.latest(name)))
            self.watches[id(model)] = Watch(name, known)
        return self.watches[id(model)]


_Line = tuple[str, str, Reply | Answer]
"""Where a line is, whose it is, and what it says."""


def _read(path: Path) -> Iterator[tuple[str, str, Reply | AnswerError]]:
    """The lines of a file that are not blank: where each is, whose, and what it says."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_BYTES + 1):
            number += 1
            where = f"{path}, line {number}"
            too_long = len(line) > MOST_BYTES
            while not line.endswith(b"\n") and (more := file.readline(MOST_BYTES)):
                line, too_long = more, True
            if too_long:
                yield where, "", AnswerError(f"{where} is longer than {MOST_BYTES:,} bytes")
            elif line.strip():
                try:
                    yield where, *read_reply(line, where)
                except AnswerError as error:
                    yield where, "", error
