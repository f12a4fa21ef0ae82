"""What ends by an interrupt prints nothing of its own; everything else is told."""

from __future__ import annotations

import asyncio
import logging

import pytest

from consilience.errors import Interrupted
from consilience.models.event_loop import run


@pytest.mark.parametrize("inside", [False, True], ids=["by itself", "in a running loop"])
@pytest.mark.parametrize(("error", "told"), [(Interrupted("stop"), 0), (OSError("lost"), 1)])
def test_a_task_that_an_interrupt_ends_is_not_reported(error, told, inside, caplog):
    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise error from None

    async def work():
        loop = asyncio.get_running_loop()
        kept.append(loop.create_task(stubborn()))
        await asyncio.sleep(0)
        return 7

    async def outer():
        return run(work())

    kept: list[object] = []
    with caplog.at_level(logging.ERROR, "asyncio"):
        assert (asyncio.run(outer()) if inside else run(work())) == 7
    assert len(caplog.records) == told
