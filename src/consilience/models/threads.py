"""How many threads PyTorch computes with where a second one costs more than it brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside the block: sums are then added up in one order on any machine.

    For small tensors, which more threads do not make faster. Where other programs keep the cores
    busy they make everything slower, for each waits for the last.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
