"""Ctrl-C and SIGTERM while a model is asked: the first waits for what is under way.

A request that was sent may have been paid for, so the first signal lets those under way end, and
keeps their answers; the second stops at once.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from consilience.errors import Interrupted

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

SIGNALS = (signal.SIGINT, signal.SIGTERM)

SAID = (
    "\nstopping: what is under way is waited for and kept; press again (or send the signal again) "
    "to stop at once\n"
)


class _State:
    stopping = False
    # In the order in which they came, and taken out at once whatever their number.
    wakers: dict[Callable[[], object], None] = {}  # noqa: RUF012 (one process has one)


def stopping() -> bool:
    """Whether a signal has asked for an end."""
    return _State.stopping


def check() -> None:
    """Raises Interrupted after a signal."""
    if _State.stopping:
        raise Interrupted("interrupted")


class OnInterrupt:
    """A block in which `wake` is called in an event loop if a signal comes in the meantime."""

    # No generator: each question is such a block.
    __slots__ = ("_loop", "_wake")

    def __init__(self, loop: AbstractEventLoop, wake: Callable[[], object]) -> None:
        self._loop, self._wake = loop, wake

    def __enter__(self) -> None:
        _State.wakers[self] = None

    def __exit__(self, *ended: object) -> None:
        del _State.wakers[self]

    def __call__(self) -> None:
        """The signal has come."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._in_loop)

    def _in_loop(self) -> None:
        # The block may have ended since: whoever was in it is about something else by now.
        if self in _State.wakers:
            self._wake()


@contextmanager
def gently() -> Iterator[None]:
    """A block that the first signal ends between two requests, with a KeyboardInterrupt.

    Only where signals are as Python sets them: a program that handles them itself is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before: dict[signal.Signals, Any] = {
        number: signal.getsignal(number)
        for number in SIGNALS
        if signal.getsignal(number) == usual[number]
    }

    def first(number: int, frame: FrameType | None) -> None:
        if _State.stopping:
            raise KeyboardInterrupt
        _State.stopping = True
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(SAID)
            sys.stderr.flush()
        for wake in list(_State.wakers):
            wake()

    for number in before:
        signal.signal(number, first)
    try:
        yield
        if _State.stopping:
            raise KeyboardInterrupt
    except Interrupted:
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if before:
            _State.stopping = False
