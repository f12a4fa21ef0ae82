"""100,000 predictions over 256 connections, of a server that is killed twice on the way.

    uv run python benchmarks/load.py            # some minutes, writes results/load.json
    uv run python benchmarks/load.py --predictions 4000
    uv run python benchmarks/load.py --table    # prints the table of the documentation from it

The server is a process of its own on this machine, which counts what it receives and what it
answers in a file that survives it. The first half is asked with a budget of so many calls, the rest
without one; in it the server is killed and started again, twice. What is counted there has to agree
with what the client says, and everything has to be in the store in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import os
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import stamina

from consilience.data.dataset import Dataset, Example
from consilience.models.budget import Budget
from consilience.models.capabilities import Capabilities
from consilience.models.openai import OpenAIModel
from consilience.models.server import RetryPolicy
from consilience.prompts.framing import framings
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.runner import CallCounts, Silent, ask, requests

RESULTS = Path(__file__).parent / "results" / "load.json"
AT_ONCE = 256
DOWN = 1.0
"""Seconds between the death of a server and the next."""

ANSWER = json.dumps(
    {
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "text": " True",
                "finish_reason": "length",
                "logprobs": {
                    "tokens": [" True"],
                    "token_logprobs": [-0.25],
                    "top_logprobs": [{" True": -0.25, " False": -1.75}],
                    "text_offset": [0],
                },
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Counts:
    """Two counters in a file: requests received and requests answered."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 16)

    def add(self, at: int) -> None:
        """One more."""
        (before,) = struct.unpack_from("q", self._map, 8 * at)
        struct.pack_into("q", self._map, 8 * at, before + 1)

    @property
    def now(self) -> tuple[int, int]:
        """Received and answered."""
        received, answered = struct.unpack("qq", self._map[:16])
        return received, answered


class Answering(asyncio.Protocol):
    """One connection: as many requests as come, one after the other."""

    def __init__(self, counts: Counts) -> None:
        self._counts, self._left = counts, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each whole request."""
        self._left += data
        while b"\r\n\r\n" in self._left:
            head, _, rest = self._left.partition(b"\r\n\r\n")
            [length] = [
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ]
            if len(rest) < length:
                return
            self._left = rest[length:]
            self._counts.add(0)
            self._transport.write(HEAD % len(ANSWER) + ANSWER)
            self._counts.add(1)


async def serve(port: int, path: Path) -> None:
    """Answers until it is killed."""
    counts = Counts(path)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(counts), "127.0.0.1", port, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


class Mortal:
    """A server that can be killed and started again at the same address."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(16))
        self._path, self.port, self.starts = path, 0, 0
        self._one_at_a_time = threading.Lock()  # answers can call for two restarts at once
        self.counts = Counts(path)
        self.start()

    def start(self) -> None:
        """A new process."""
        words = [sys.executable, __file__, "--serve", str(self.port), str(self._path)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.starts += 1

    def kill(self) -> None:
        """The process is gone at once, with all its connections."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def restart(self) -> None:
        """Down for a while, then up again."""
        with self._one_at_a_time:
            self.kill()
            time.sleep(DOWN)
            self.start()


class Watching(Silent):
    """Restarts the server at some answers, and looks at the memory of this process."""

    def __init__(self, server: Mortal, restarts: list[int], every: int) -> None:
        self._server, self._restarts, self._every = server, restarts, every
        self._answered = 0
        self.memory: list[float] = []
        self._threads: list[threading.Thread] = []

    def answered(self, answer: object) -> None:
        """One more."""
        self._answered += 1
        if self._answered in self._restarts:
            thread = threading.Thread(target=self._server.restart)
            thread.start()
            self._threads.append(thread)
        if self._answered % self._every == 0:
            self.memory.append(memory())

    def stop(self) -> None:
        """Nothing is restarted after this."""
        for thread in self._threads:
            thread.join()


def memory() -> float:
    """What this process holds, in MB."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(predictions: int) -> dict[str, Any]:
    """What became of so many questions."""
    data = Dataset("lamps", [Example(f"The lamp number {i} is lit.") for i in range(predictions)])
    framing = framings(data.task, ["plain"])
    half = predictions // 2
    patience = RetryPolicy(timeout=30, attempts=6, pause=0.2, longest_pause=2)
    with tempfile.TemporaryDirectory() as folder:
        server = Mortal(Path(folder) / "counts")
        url = f"http://127.0.0.1:{server.port}/v1"
        what = Capabilities(url, "tiny", "completions", "text", 5, 5)
        queries = [Query(id, framing="plain") for id in data.ids]
        watch = Watching(server, [predictions // 8, predictions // 4], max(predictions // 20, 1))

        def asked(budget: Budget | None, watch: Silent) -> CallCounts:
            model = OpenAIModel(what, patience=patience, budget=budget)
            planned = requests(queries, data, framing, model)
            return ask(planned, model, store, concurrency=AT_ONCE, progress=watch)

        path = Path(folder) / "s.db"
        began = time.monotonic()
        try:
            with Store(path) as store:
                first_watch = Watching(server, [], max(predictions // 20, 1))
                first = asked(Budget(half), first_watch)
                received_first, _ = server.counts.now
                second = asked(None, watch)
                seconds = time.monotonic() - began
                [stats] = store.stats().models
            received, answered = server.counts.now
        finally:
            server.kill()
    memories = [round(x, 1) for x in first_watch.memory + watch.memory]
    return {
        "predictions": predictions,
        "connections": AT_ONCE,
        "restarts": server.starts - 1,
        "budget": half,
        "received within the budget": received_first,
        "answered within the budget": first.calls,
        "stored": stats.predictions,
        "failed": len(first.failures) + len(second.failures),
        "received": received,
        "answered by the server": answered,
        "asked twice": received - predictions,
        "memory": memories,
        "seconds": round(seconds, 1),
    }


def table(found: dict[str, Any]) -> str:
    """Markdown, a row for each figure."""
    shown = {name: value for name, value in found.items() if name != "memory"}
    begun, ended = found["memory"][1], found["memory"][-1]
    shown["memory after a tenth, and at the end, MB"] = f"{begun:.0f}, {ended:.0f}"
    rows = [f"| {name} | {v if isinstance(v, str) else f'{v:,}'} |" for name, v in shown.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go")
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(int(given.serve[0]), Path(given.serve[1])))
    if not given.table:
        # A line for each attempt that failed as the server died is no news.
        stamina.instrumentation.set_on_retry_hooks([])
        given.output.write_text(json.dumps(measure(given.predictions), indent=1) + "\n")
    print(table(json.loads(given.output.read_text())))


if __name__ == "__main__":
    main()
