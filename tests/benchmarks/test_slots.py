"""The benchmark of slots: what the ideal cache computes, and what the page must show."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import slots  # noqa: E402 (the benchmarks are no package)


def test_the_ideal_cache_computes_each_beginning_once() -> None:
    assert slots.distinct_beginnings([[1, 2, 3], [1, 2, 4], [1, 2], [5], [1, 2, 3]]) == 5
    draw = random.Random(0)
    lists = [draw.choices([0, 1], k=draw.randint(1, 8)) for _ in range(200)]
    known = {tuple(one[:end]) for one in lists for end in range(1, len(one) + 1)}
    assert slots.distinct_beginnings(lists) == len(known)


def test_a_cache_of_blocks_serves_whole_blocks_and_never_the_last_token() -> None:
    one = list(range(10))
    assert slots.by_blocks([one], 4) == 10
    # The first eight are there; then two whole blocks are a whole prompt, whose last is computed.
    assert slots.by_blocks([one, [*range(9), 77]], 4) == 10 + 2
    assert slots.by_blocks([one, list(range(8))], 4) == 10 + 4
    assert slots.by_blocks([one, list(range(3))], 4) == 10 + 3
    draw = random.Random(0)
    lists = [draw.choices([0, 1], k=draw.randint(1, 8)) for _ in range(100)]
    assert slots.by_blocks(lists, 1) >= slots.distinct_beginnings(lists)


def test_the_figures_of_the_page_are_those_of_an_ideal_cache() -> None:
    found = json.loads(slots.RESULTS.read_text())
    least = {"llama-server": "ideal", "vllm": "blocks"}
    ratios = {
        (row["server"], row["slots"]): row["computed"] / row[least[row["server"]]]
        for row in found["rows"]
    }
    assert set(ratios) == {(server, n) for server in least for n in slots.SLOTS}
    assert all(1 <= ratio <= 1.15 for ratio in ratios.values())
