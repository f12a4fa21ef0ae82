"""How many requests to a server may be under way, and when: shared by all its workers.

Two rules beside a pace. *Back off*: a time-out or an HTTP 429 halves how many may be under way, and
as many answers in a row allow one more; a server that can do one thing at a time ends with one.
*Break*: once requests fail, no more are sent than were under way together, and from then on one at
a time, after growing pauses; the first answer opens the gate for all, and `TRIALS` failures of
these end it. A server that is down is so sent at most as many requests as there are workers, and
`TRIALS`.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from consilience.errors import ModelError, ServerError
from consilience.models.interrupts import check as check_interrupt

TRIALS = 8
"""So many requests are sent one by one to a server that has stopped answering."""

Outcome = Literal["answered", "refused", "failed", "overloaded"]


@dataclass(slots=True)
class Ticket:
    """Leave for one request: whether it is a trial, whether it was alone, and since when."""

    trial: bool
    alone: bool
    epoch: int


class Gate:
    """The gate of one server; `pause` and `longest` are those between trials, in seconds.

    Requests start `interval` seconds apart.
    """

    def __init__(self, pause: float, longest: float, interval: float = 0.0) -> None:
        self._pause, self._longest = pause, longest
        self._interval, self._next_start = interval, 0.0
        self.limit = math.inf
        self.under_way = 0
        self._most = 0
        self._epoch = 0
        self._grown = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin()

    def _begin(self) -> None:
        """All that holds for one event loop; what was learned of the server's width stays."""
        self.under_way = 0
        self._first = asyncio.Lock()
        self._waiting: list[asyncio.Future[None]] = []
        self._failed = 0
        self._since = 0
        self._trial = False
        self._trials = 0
        self._not_before = self._next_trial = 0.0
        self._ended: ModelError | None = None

    async def enter(self) -> Ticket:
        """Waits until a request may be sent.

        ServerError, fatal, where the server has stopped answering; Interrupted at an interrupt.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._begin()
        # One waits until something may be sent, and all others for their turn: each of hundreds
        # would look whenever one is answered.
        async with self._first:
            return await self._enter(loop)

    async def _enter(self, loop: asyncio.AbstractEventLoop) -> Ticket:
        while True:
            check_interrupt()
            if self._ended is not None:
                raise ServerError(str(self._ended), body=self._ended.body, fatal=True)
            now = loop.time()
            broken = self._failed > 0 and self._since >= max(1, self._most)
            free = not self._trial if broken else self.under_way < self.limit
            begin = max(self._not_before, self._next_start, self._next_trial if broken else 0.0)
            if free and now >= begin:
                break
            await self._wait(begin if free else None)
        # Who is a little late does not delay those that follow.
        late = now - self._next_start >= self._interval
        self._next_start = (now if late else self._next_start) + self._interval
        self._trial = self._trial or broken
        self._since += 1
        self.under_way += 1
        self._most = max(self._most, self.under_way)
        return Ticket(broken, self.under_way == 1, self._epoch)

    def leave(self, ticket: Ticket, outcome: Outcome | None) -> None:
        """A request has ended; None where nobody will know how (cancelled)."""
        self.under_way -= 1
        if ticket.trial:
            self._trial = False
        if outcome in ("answered", "refused"):
            self._failed = self._trials = 0
            self._since = self.under_way
            self._grow()
        elif outcome is not None:
            self._failed += 1
            if outcome == "overloaded" and ticket.epoch == self._epoch:
                self._epoch += 1
                self.limit = max(1, min(self.limit, self.under_way + 1) // 2)
                self._grown = 0
            if ticket.trial:
                self._trials += 1
            assert self._loop is not None
            pause = min(self._pause * 2**self._trials, self._longest)
            self._next_trial = self._loop.time() + pause
        self._wake()

    def end(self, error: ModelError) -> ModelError | None:
        """The error that ends all asking, made of this one, if the trials are used up."""
        if self._trials < TRIALS:
            return None
        if self._ended is None:
            self._ended = ServerError(
                f"{error}; the server failed {self._failed} times in a row, so nothing more is "
                "sent: run the same command again once it answers",
                body=error.body,
                fatal=True,
            )
        self._wake()
        return self._ended

    def hold(self, seconds: float) -> None:
        """Nobody is let in for so long: the server asked for a pause."""
        assert self._loop is not None
        self._not_before = max(self._not_before, self._loop.time() + seconds)

    def _grow(self) -> None:
        if self.limit == math.inf:
            return
        self._grown += 1
        if self._grown >= self.limit:
            self._grown = 0
            self.limit += 1

    async def _wait(self, until: float | None) -> None:
        assert self._loop is not None
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await waiter
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
