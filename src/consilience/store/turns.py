"""Which request each of several workers sends next, so that a server's prefix cache serves most.

Requests come in families: those that begin alike. A server with slots keeps one prompt in each, so
a family stays in one slot: each worker belongs to a slot and works through one family after the
other. Where a cache is shared by all that a server does, whoever is free takes what comes next; but
of a family one goes first, and the others follow once it was answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)


class Turns(Protocol[K]):
    """Hands out the keys of requests, each once."""

    async def take(self, worker: int) -> K | None:
        """What a worker sends next; None where nothing is left for it."""
        ...

    def done(self, key: K) -> None:
        """What was taken has ended, well or not."""
        ...


class BySlot(Generic[K]):
    """Families dealt to so many slots; a worker belongs to the slot of its number, modulo those.

    A family begins in a slot when the one before it has ended there: requests that are under way
    at once may arrive in any order.
    """

    def __init__(self, families: Sequence[Sequence[K]], slots: int) -> None:
        self._families = iter(families)
        self._rest: list[Iterator[K]] = [iter(()) for _ in range(slots)]
        self._under_way: list[set[K]] = [set() for _ in range(slots)]
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, worker: int) -> K | None:
        """The next of the family that is in the worker's slot, else the first of another family."""
        slot = worker % len(self._rest)
        while (key := next(self._rest[slot], None)) is None:
            if self._under_way[slot]:
                waiting = asyncio.get_running_loop().create_future()
                self._waiting.append(waiting)
                await waiting
            elif (family := next(self._families, None)) is None:
                return None
            else:
                self._rest[slot] = iter(family)
        self._under_way[slot].add(key)
        return key

    def done(self, key: K) -> None:
        """Where it was the last of its slot, another family may begin there."""
        for under_way in self._under_way:
            under_way.discard(key)
        _wake(self._waiting)


class FirstsFirst(Generic[K]):
    """Families in their order; the rest of one is held back until its first has ended."""

    def __init__(self, families: Sequence[Sequence[K]]) -> None:
        self._families = iter(families)
        self._ready: deque[Iterator[K]] = deque()
        self._leading: dict[K, Iterator[K]] = {}
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, worker: int) -> K | None:
        """The next of the earliest family that is ready, else the first of another, else a wait."""
        while True:
            while self._ready:
                if (key := next(self._ready[0], None)) is not None:
                    return key
                self._ready.popleft()
            if (family := next(self._families, None)) is not None:
                rest = iter(family)
                key = next(rest)
                if len(family) > 1:
                    self._leading[key] = rest
                return key
            if not self._leading:
                return None
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def done(self, key: K) -> None:
        """Where it was the first of a family, the others follow."""
        if (rest := self._leading.pop(key, None)) is None:
            return
        self._ready.append(rest)
        _wake(self._waiting)


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    """All go on who wait; none is left in the list."""
    for one in waiting:
        if not one.done():
            one.set_result(None)
    waiting.clear()
