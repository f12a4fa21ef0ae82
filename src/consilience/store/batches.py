"""Rows on their way into a store: many in one transaction, each waited for until it is on disk.

They are written where the event loop is idle, not by a thread: SQLite lets go of the interpreter
at each row, and a thread would wait for a busy loop each time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from consilience.store.database import Store
from consilience.store.schema import Encoded

LONGEST_PAUSE = 0.002
"""Seconds that a row waits for others at most, while an answer comes at each turn of the loop."""


class Batches:
    """The rows of one asking; where `at_once`, each is a transaction of its own.

    `all_new` says whether no row's key was there already, from another process.
    """

    def __init__(self, store: Store, *, at_once: bool = False) -> None:
        self._store, self._at_once = store, at_once
        self._rows: list[tuple[str, Encoded]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._began = 0.0
        self.all_new = True

    async def keep(self, table: str, row: Encoded, *, now: bool = False) -> None:
        """Returns when a row, encoded, is on disk, `now` at once; StoreError where it cannot be."""
        self._rows.append((table, row))
        if self._at_once or now:
            self.write()
            return
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._began = loop.time()
            loop.call_soon(self._when_idle, loop, 1)
        # One for each: whoever is cancelled takes nothing from the others.
        written = loop.create_future()
        self._waiting.append(written)
        await written

    def _when_idle(self, loop: asyncio.AbstractEventLoop, before: int) -> None:
        """Writes what is there, unless the last turn of the loop brought more."""
        if len(self._rows) > before and loop.time() - self._began < LONGEST_PAUSE:
            loop.call_soon(self._when_idle, loop, len(self._rows))
        else:
            with suppress(Exception):  # whoever waits is told
                self.write()

    def write(self) -> None:
        """One transaction of all that waits; whoever waits is told how it ended."""
        rows, waiting = self._rows, self._waiting
        self._rows, self._waiting = [], []
        try:
            if rows:
                self.all_new &= self._store.keep(rows) == len(rows)
        # Whatever it is, it is raised again; whoever waits would wait for ever if not told.
        except Exception as error:
            for written in waiting:
                if not written.done():
                    written.set_exception(error)
            raise
        for written in waiting:
            if not written.done():
                written.set_result(None)
