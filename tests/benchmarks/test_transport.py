"""The benchmark of sending: its small run, and what the figures of the page must show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import load  # noqa: E402 (the benchmarks are no package)
import transport  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("client", ["ours", "aiohttp in 30 lines", "httpx2"])
def test_a_client_asks_what_it_is_told_to(client: str, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"prompt": "x"}')
    server = load.Mortal(tmp_path / "counts")
    try:
        url = f"http://127.0.0.1:{server.port}/v1"
        words = [sys.executable, transport.__file__, "--client", client, url, str(body), "4", "40"]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120)
        found = json.loads(done.stdout)
        assert server.counts.now == (40, 40)
    finally:
        server.kill()
    assert found["per second"] > 0 and found["CPU, ms"] > 0


def test_the_figures_of_the_page_keep_a_fast_server_busy() -> None:
    found = json.loads(transport.RESULTS.read_text())
    cost = {c: transport.median(found, "ours", c, "CPU, ms") for c in transport.CONNECTIONS}
    assert all(one is not None and one <= 0.6 for one in cost.values())
    assert cost[256] <= 1.2 * cost[16]
