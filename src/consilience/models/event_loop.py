"""The one place where a coroutine is run from ordinary code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from consilience.errors import Interrupted

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, also where an event loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_quietly(work))
    cancel: Future[Callable[[], object]] = Future()

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        return await _quietly(work)

    with ThreadPoolExecutor(max_workers=1) as apart:
        ended = apart.submit(asyncio.run, cancellable())
        try:
            return ended.result()
        except KeyboardInterrupt:
            # Leaving the block waits for the thread, which would else go on to its end.
            with suppress(RuntimeError):  # the loop is closed: it has ended by itself
                cancel.result()()
            raise


async def _quietly(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine; of tasks that an interrupt ends no traceback is printed."""
    asyncio.get_running_loop().set_exception_handler(_without_interrupts)
    return await work


def _without_interrupts(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), Interrupted):
        loop.default_exception_handler(context)
