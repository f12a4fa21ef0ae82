"""What a run takes beside the model is measured without the model, and each part once."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import beside


class Slow:
    """A model that uses CPU for each answer."""

    name, style, settings = "slow", "text", {"seconds": 0.01}

    async def ask(self, request: str) -> str:
        until = time.process_time() + self.settings["seconds"]
        while time.process_time() < until:
            pass
        return request


def test_the_clock_of_a_model_counts_its_own_cpu_and_nothing_else():
    clocked = beside.Clocked(Slow())

    async def some() -> None:
        for i in range(3):
            assert await clocked.ask(str(i)) == str(i)
            await asyncio.sleep(0.01)

    asyncio.run(some())
    assert clocked.answers == 3 and 0.03 <= clocked.seconds < 0.06


def test_a_run_is_measured_in_parts_that_add_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(beside, "CALLS", 2.0)
    found = beside.measure(40)
    assert found["answers"] == 80
    assert found["beside"] == pytest.approx(sum(found[part] for part in beside.PARTS))
    assert min(found[part] for part in (*beside.PARTS, "model")) > 0
    row = beside.table({"40": found}).splitlines()[-1]
    assert row.startswith(f"| 40 | 80 | {found['beside']:.3f} |")
