"""How many threads PyTorch computes with: one where a second costs more than it brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_GIVEN: ContextVar[int | None] = ContextVar("threads given", default=None)
"""How many threads there were outside of `one_thread`; None where nobody is inside."""


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside the block: sums are then added up in one order on any machine.

    For small tensors, which more threads do not make faster. Where other programs keep the cores
    busy they make everything slower, for each waits for the last.
    """
    with _threads(1, _GIVEN.get() or torch.get_num_threads()):
        yield


@contextmanager
def given_threads() -> Iterator[None]:
    """As many threads as there are outside of `one_thread`: for what gains by each of them."""
    with _threads(_GIVEN.get() or torch.get_num_threads(), None):
        yield


@contextmanager
def _threads(count: int, given: int | None) -> Iterator[None]:
    before, outside = torch.get_num_threads(), _GIVEN.get()
    torch.set_num_threads(count)
    _GIVEN.set(given)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _GIVEN.set(outside)  # no `reset`: a generator may end in another context
