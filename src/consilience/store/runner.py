"""The plan, minus what the store holds, put to the model; every answer goes into the store.

One code path serves both modes: `concurrency=1` is a plain loop in one thread, in plan order, so
that a traceback leads to the line; with more, as many workers go over the same list, in the order
that a server's prefix cache serves best (see `turns`), and what they bring at the same time is
written in one transaction. A worker asks on when its answer is on disk. Prompts are the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Integral
from typing import Generic, Protocol, TypeVar

from consilience.data.dataset import Dataset
from consilience.errors import BudgetSpent, InputError, ModelError, Reason, check_kind
from consilience.models import interrupts
from consilience.models.base import Answer, Completion, Model, Request, Writer, answer_of, count_in
from consilience.models.event_loop import run
from consilience.models.never import bounded_answer
from consilience.models.price import NO_TOKENS, TokenCounts, tokens_in, unused_by
from consilience.models.served import OtherModel, Watch, served_by
from consilience.models.slots import SLOT
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.store.batches import Batches
from consilience.store.canary import Canary
from consilience.store.database import Store
from consilience.store.planned_requests import PlannedRequests, Unasked, keys_of, unasked
from consilience.store.rows import AnswerRows, Prediction, failed_row, prediction_from
from consilience.store.schema import encode
from consilience.store.texts import Note, failure_row, text_row
from consilience.store.turns import BySlot, FirstsFirst, Turns
from consilience.store.voices import CANARY

M = TypeVar("M", bound=Model | Writer)
R = TypeVar("R")

MOST_FAILURES = 8
"""So many failed queries in a row, with no answer between them, end the asking."""

PLAINLY = 32
"""So many rows refused with no answer between them are not rows but everything, unless what was
answered last is answered again; `MOST_FAILURES` are enough where the model does not say that it is
about the row: its filter, its length. Rows that no round before got an answer for do not count."""

_LOG = logging.getLogger(__name__)


class Progress(Protocol):
    """What watches the asking; it is told, and can change nothing."""

    def start(self, total: int, known: int) -> None:
        """`total` queries are planned, of which `known` are in the store."""

    def answered(self, answer: Answer | Completion) -> None:
        """An answer has been stored."""

    def failed(self, error: ModelError) -> None:
        """A query has been given up."""

    def stop(self) -> None:
        """The asking has ended, well or not."""


class Silent:
    """A progress that shows nothing."""

    def start(self, total: int, known: int) -> None:
        """Shows nothing."""

    def answered(self, answer: Answer | Completion) -> None:
        """Shows nothing."""

    def failed(self, error: ModelError) -> None:
        """Shows nothing."""

    def stop(self) -> None:
        """Shows nothing."""


@dataclass(slots=True)
class CallCounts:
    """What an asking came to: calls made, answers found in the store, queries given up.

    Tokens are those of all answers that came, of the ones too that could not be used.
    `refused` has the rows that the model refused, by id, and why the last time; `ended` says why
    it ended before its time, with nothing wrong: a budget was spent. `notes` tell what else the
    user should know: another build of the model answers.
    """

    calls: int = 0
    known: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    refused: dict[str, Reason] = field(default_factory=dict)
    ended: str | None = None
    notes: list[str] = field(default_factory=list)

    def __add__(self, other: CallCounts) -> CallCounts:
        return CallCounts(
            self.calls + other.calls,
            self.known + other.known,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.failures | other.failures,
            self.refused | other.refused,
            other.ended or self.ended,
            self.notes + other.notes,
        )


def requests(
    queries: Sequence[Query], dataset: Dataset, framings: Sequence[Framing], model: Model
) -> PlannedRequests:
    """Each query with its prompt, under its key in the store; prompts are written when needed."""
    made = PlannedRequests(queries, dataset, framings, model)
    _ = made.all_keys  # so that a query that does not fit is refused here
    return made


def ask(
    planned: Sequence[tuple[str, Request]],
    model: Model,
    store: Store,
    *,
    concurrency: int = 16,
    progress: Progress | None = None,
    unanswered: Collection[str] = (),
    canary: Canary | None = None,
    heard: dict[str, Prediction] | None = None,
) -> CallCounts:
    """Asks what the store does not hold yet; returns what it took.

    A query that fails after the model's own retries is recorded with its reason and stays absent;
    so does a row that the model refuses (a filter, its length), however many there are. Raised
    are a fatal ModelError, the last of `MOST_FAILURES` failures in a row that are not about a row,
    and the last of `PLAINLY` refused rows; what was answered is stored.
    `unanswered` are the ids of those that earlier rounds got no answer for. A `canary` is asked
    when it is due; its calls are none of those counted. `heard` is given the predictions as the
    store has them, by key, so that nobody need read them; none where another process has put some
    there at the same time.
    """
    known = store.known(keys_of(planned))
    desk = _Questions(model, store, progress)
    desk.canary = canary
    desk.unanswered = frozenset(unanswered)
    try:
        return desk.settle(planned, known, concurrency)
    finally:
        if heard is not None and desk.batches.all_new:
            heard.update(desk.heard)


def write(
    planned: Sequence[tuple[str, Note]],
    writer: Writer,
    store: Store,
    *,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> CallCounts:
    """Has the texts written that the store does not hold yet, as `ask` asks; what it took."""
    keys = [key for key, _ in planned]
    known = {text.key for text in store.texts(keys) if text is not None}
    return _Notes(writer, store, progress).settle(planned, known, concurrency)


class Runner(ABC, Generic[M, R]):
    """Puts one request at a time to the model and files what comes back."""

    def __init__(self, model: M, store: Store, watch: Progress | None) -> None:
        self.model = model
        self.store = store
        self.batches = Batches(store, at_once=True)
        self.outcome = CallCounts()
        self.watch = watch or Silent()
        self.failed_in_a_row = 0
        self.refused_in_a_row = 0
        self.unanswered: frozenset[str] = frozenset()
        before = [*map(served_by, store.latest(model.name))][::-1]
        self.served, self.ever_answered = Watch(model.name, before), bool(before)
        self.answered_last: tuple[str, R] | None = None

    @abstractmethod
    async def get(self, key: str, request: R) -> Answer | Completion:
        """What the model says, in the store."""

    async def listen(self) -> None:
        """Hears whether it is still the same model, where that is due."""

    @abstractmethod
    async def lose(self, key: str, request: R, error: ModelError) -> None:
        """The failure, in the store."""

    @abstractmethod
    def row(self, request: R) -> str | None:
        """The id of the row that a request is about; None if it is about none."""

    def settle(
        self, planned: Sequence[tuple[str, R]], known: set[str], concurrency: int
    ) -> CallCounts:
        """Serves all that is not known, and says what that took."""
        check_kind(concurrency, Integral, "concurrency is a whole number")
        if concurrency < 1:
            raise InputError(f"concurrency must be at least 1, got {concurrency}")
        todo = unasked(planned, known)
        self.outcome.known = len(planned) - len(todo)
        self.watch.start(len(planned), self.outcome.known)
        self.batches = Batches(self.store, at_once=concurrency == 1)
        before = unused_by(self.model)
        try:
            with interrupts.gently():
                run(self.serve(todo, concurrency))
        except BudgetSpent as error:
            self.outcome.ended = str(error)
        finally:
            self.watch.stop()
        self.count(unused_by(self.model), before)
        return self.outcome

    def count(self, now: TokenCounts, before: TokenCounts = NO_TOKENS) -> None:
        """Adds what was taken since `before` to what the asking took."""
        self.outcome.prompt_tokens += now.prompt - before.prompt
        self.outcome.cached_tokens += now.cached - before.cached
        self.outcome.output_tokens += now.output - before.output

    async def serve(self, todo: Unasked[R], concurrency: int) -> None:
        """All requests, one after the other or by `concurrency` workers."""
        try:
            await self._serve(todo, concurrency)
        finally:
            self.batches.write()
            # Connections belong to the event loop, which ends here.
            if (close := getattr(self.model, "close", None)) is not None:
                await close()

    async def _serve(self, todo: Unasked[R], concurrency: int) -> None:
        if todo:
            await self.listen()
        if concurrency == 1:
            for key, request in todo.items():
                interrupts.check()
                await self.put(key, request)
            return
        slots = await self.slots() if todo else None
        families = todo.families()
        turns: Turns[str] = FirstsFirst(families)
        if slots is not None:
            turns = BySlot(families, min(slots, concurrency))
        failed = False

        async def work(worker: int) -> None:
            nonlocal failed
            if slots is not None and slots > 1:
                SLOT.set(worker % slots)
            while (key := await turns.take(worker)) is not None:
                if failed:  # while this one waited
                    turns.done(key)
                    return
                answered = False
                try:
                    interrupts.check()
                    await self.put(key, todo[key])
                    answered = True
                finally:
                    failed = failed or not answered
                    turns.done(key)
                # After an error nothing new is asked, but what is under way is waited for: it
                # may have been paid for.
                if failed:
                    return

        workers = map(work, range(min(concurrency, len(todo))))
        for ended in await asyncio.gather(*workers, return_exceptions=True):
            if ended is not None:
                raise ended

    async def slots(self) -> int | None:
        """How many prompts the model's server keeps, each in a slot; None if it has no slots."""
        asked = getattr(self.model, "slots", None)
        return None if asked is None else await asked()

    async def put(self, key: str, request: R) -> None:
        """One request, and its answer or its failure in the store."""
        await self.listen()
        try:
            answer = await self.get(key, request)
        except ModelError as error:
            await self.lose(key, request, error)
            _LOG.warning("%s; given up", error)
            self.outcome.failures[key] = str(error)
            self.watch.failed(error)
            certain = error.fatal and not (error.doubtful and self.ever_answered)
            if certain or await self.plainly_everything(request, error):
                raise
            return
        self.failed_in_a_row = self.refused_in_a_row = 0
        self.ever_answered, self.answered_last = True, (key, request)
        self.outcome.calls += count_in(answer.usage, "calls") or 1
        self.count(tokens_in(answer.usage))
        self.watch.answered(answer)

    async def plainly_everything(self, request: R, error: ModelError) -> bool:
        """Whether so much has failed by now that the next would fail too."""
        if error.reason is None:
            self.failed_in_a_row += 1
            return self.failed_in_a_row >= MOST_FAILURES
        if (row := self.row(request)) is not None:
            self.outcome.refused[row] = error.reason
        self.refused_in_a_row += row not in self.unanswered
        if self.refused_in_a_row < (MOST_FAILURES if error.reason == "refused" else PLAINLY):
            return False
        self.refused_in_a_row = 0
        # Whether it still answers what it answered last; that call is not counted.
        if self.answered_last is not None:
            with suppress(ModelError):
                await self.get(*self.answered_last)
                return False
        return True


class _Questions(Runner[Model, Request]):
    """Asks for predictions, all of one model, whatever name a server has for it."""

    def __init__(self, model: Model, store: Store, watch: Progress | None) -> None:
        super().__init__(model, store, watch)
        self.canary: Canary | None = None
        self.rows = AnswerRows(model)
        self.heard: dict[str, Prediction] = {}

    async def listen(self) -> None:
        if self.canary is None or not self.canary.due:
            return
        said = {}
        for key, request in self.canary.begin():
            interrupts.check()
            try:
                said[request.query.target] = await self.get(key, request)
            except ModelError as error:
                # Nothing is heard where it fails; the questions themselves say why.
                await self.lose(key, request, error)
                _LOG.warning("%s; given up", error)
                if isinstance(error, OtherModel):
                    raise
                return
            except InputError:
                return
        if (note := self.canary.end(said)) is not None:
            self.outcome.notes.append(note)

    async def get(self, key: str, request: Request) -> Answer:
        began = time.perf_counter()
        answer = bounded_answer(await answer_of(self.model, request))
        if (note := self.served.check(answer.raw)) is not None:
            self.outcome.notes.append(note)
        took = time.perf_counter() - began
        row = self.rows.row(key, request, answer, took)
        # The canary's questions follow each other as closely as they can.
        await self.batches.keep("predictions", row, now=request.query.framing == CANARY)
        self.heard[key] = prediction_from(key, request, answer, took)
        if self.canary is not None:
            self.canary.answered()
        return answer

    async def lose(self, key: str, request: Request, error: ModelError) -> None:
        row = failed_row(key, request, str(error), error.body)
        await self.batches.keep("failures", encode("failures", row))

    def row(self, request: Request) -> str | None:
        return request.query.target


class _Notes(Runner[Writer, Note]):
    """Asks for texts, all of one model."""

    async def get(self, key: str, request: Note) -> Completion:
        began = time.perf_counter()
        written = await self.model.write(request.prompt, request.max_tokens)
        if (note := self.served.check(written.raw)) is not None:
            self.outcome.notes.append(note)
        row = text_row(self.model, request, written, time.perf_counter() - began)
        await self.batches.keep("texts", encode("texts", row))
        return written

    async def lose(self, key: str, request: Note, error: ModelError) -> None:
        row = failure_row(self.model, request, str(error), error.body)
        await self.batches.keep("text_failures", encode("text_failures", row))

    def row(self, request: Note) -> str | None:
        return None
