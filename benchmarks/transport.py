"""Requests per second to a server with a fixed answer: bare clients, and ours with the store.

    uv run --group bench python benchmarks/transport.py   # minutes, writes results/transport.json
    uv run python benchmarks/transport.py --requests 500 --rounds 1
    uv run python benchmarks/transport.py --table         # prints the table of the documentation

The server is nginx where it is installed, else a small one of Python's; it answers from memory.
Everybody sends the same bytes, the body of a question with 16 shots. *ours* is the way of a run:
from planned queries to prompts and keys, the request, the answer read, and the store's file on
disk. *aiohttp in 30 lines* sends one question again and again, and looks two log-probabilities up
in the JSON that comes back; the others are the same loop with another client. Each is a process of
its own, in turn; figures are medians over rounds. CPU is that of the client's process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import load

from consilience.data.dataset import Dataset, Example
from consilience.models.capabilities import Capabilities
from consilience.models.openai import OpenAIModel
from consilience.models.prompt_lists import LONGEST
from consilience.models.wire import request_for
from consilience.prompts.framing import framings
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.runner import ask, requests

RESULTS = Path(__file__).parent / "results" / "transport.json"
CONNECTIONS = (16, 64, 256)
SHOTS = 16
OURS = {"ours": False, "ours, in lists": True}
"""Our ways of asking: whether prompts go in lists."""

Answered = dict[str, Any]

NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      default_type application/json;
      if ($prompts) {{ rewrite ^ /lists/$prompts last; }}
      return 200 '{answer}';
    }}
    location /lists/ {{
      default_type application/json; root {folder}; open_file_cache max=64;
      error_page 405 =200 $uri;  # a file is not posted to
    }}
  }}
  map $http_content_length $prompts {{ default ""; {lists} }}
}}
"""

WRK = """
local file = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
"""


# ---- the clients, each in a process of its own ---------------------------------------------------


def planned(count: int) -> tuple[Dataset, list[Query]]:
    """Examples, and a query about each but those that are shown."""
    text = "The lamp number {:06} is lit, and whoever passes by the house at night can see it."
    data = Dataset("lamps", [Example(text.format(i)) for i in range(count + SHOTS)])
    shots = tuple((id, i % 2) for i, id in enumerate(data.ids[:SHOTS]))
    return data, [Query(id, shots=shots, framing="plain") for id in data.ids[SHOTS:]]


def capabilities(url: str, lists: bool = False) -> Capabilities:
    """What the server can do."""
    return Capabilities(url, "tiny", "completions", "text", 5, 5, lists=lists)


def ours(url: str, connections: int, count: int, lists: bool) -> None:
    """Asks so many questions the way a run does."""
    data, queries = planned(count)
    framing = framings(data.task, ["plain"])
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s.db") as store:
        with measured(count):
            model = OpenAIModel(capabilities(url, lists))
            rows = requests(queries, data, framing, model)
            done = ask(rows, model, store, concurrency=connections)
        assert done.calls == count and not done.failures


async def repeated(one: Callable[[], Awaitable[Answered]], connections: int, count: int) -> None:
    """Calls `one` so often, by so many workers, and reads what it says of two labels."""
    left, read = iter(range(count)), []

    async def work() -> None:
        for _ in left:
            [choice] = (await one())["choices"]
            [listed] = choice["logprobs"]["top_logprobs"]
            read.append((listed[" True"], listed[" False"]))

    with measured(count):
        await asyncio.gather(*(work() for _ in range(connections)))
    assert len(read) == count


async def by_aiohttp(url: str, body: bytes, connections: int, count: int) -> None:
    """What one would write with aiohttp in 30 lines."""
    import aiohttp

    question = json.loads(body)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one() -> Answered:
            async with session.post(f"{url}/completions", json=question) as response:
                response.raise_for_status()
                return await response.json()

        await repeated(one, connections, count)


async def by_httpx2(url: str, body: bytes, connections: int, count: int) -> None:
    """httpx2, without a limit on connections."""
    import httpx2

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    kind = {"Content-Type": "application/json"}
    async with httpx2.AsyncClient(limits=limits, headers=kind, trust_env=False) as client:

        async def one() -> Answered:
            return (await client.post(f"{url}/completions", content=body)).json()

        await repeated(one, connections, count)


async def by_pyreqwest(url: str, body: bytes, connections: int, count: int) -> None:
    """pyreqwest, whose work is done in Rust and on threads of its own."""
    from pyreqwest.client import ClientBuilder

    kind = {"Content-Type": "application/json"}
    async with ClientBuilder().default_headers(kind).build() as client:

        async def one() -> Answered:
            request = client.post(f"{url}/completions").body_bytes(body).build()
            return await (await request.send()).json()

        await repeated(one, connections, count)


BARE = {
    "aiohttp in 30 lines": (by_aiohttp, "aiohttp"),
    "pyreqwest": (by_pyreqwest, "pyreqwest"),
    "httpx2": (by_httpx2, "httpx2"),
}
"""Every bare client, and the package that it needs."""


@contextmanager
def measured(count: int) -> Iterator[None]:
    """Prints the requests per second and the CPU of each of what happens in the block."""
    cpu, began = used(), time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    found = {"per second": count / seconds, "CPU, ms": 1e3 * (used() - cpu) / count}
    sys.stdout.write(json.dumps(found) + "\n")


def used(of: int = resource.RUSAGE_SELF) -> float:
    """Seconds of CPU that this process, or its children, have had."""
    took = resource.getrusage(of)
    return took.ru_utime + took.ru_stime


# ---- the server, and who asks it -----------------------------------------------------------------


@contextmanager
def serving() -> Iterator[tuple[str, str]]:
    """The URL of the server, and what it is."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if nginx is None:
            server = load.Mortal(Path(folder) / "counts")
            try:
                yield f"http://127.0.0.1:{server.port}/v1", "a small server of Python's"
            finally:
                server.kill()
            return
        path = Path(folder) / "nginx.conf"
        path.write_text(NGINX.format(folder=folder, port=port, **answers(Path(folder) / "lists")))
        told = subprocess.run([nginx, "-v"], capture_output=True, text=True).stderr
        process = subprocess.Popen([nginx, "-c", str(path)])
        try:
            await_port(port)
            yield f"http://127.0.0.1:{port}/v1", told.strip().rpartition(" ")[2]
        finally:
            process.terminate()
            process.wait()


def question() -> dict[str, Any]:
    """The body of a question; those of all others are as long."""
    data, queries = planned(1)
    model = OpenAIModel(capabilities("http://localhost/v1"))
    [(_, request)] = requests(queries, data, framings(data.task, ["plain"]), model)
    return request_for(model.capabilities, request.prompt, 5, {})[1]


def answers(folder: Path) -> dict[str, str]:
    """What nginx answers: a question, and lists of prompts, told by how long they are."""
    folder.mkdir()
    asked, one, lengths = question(), json.loads(load.ANSWER), {}
    for count in range(2, LONGEST + 1):
        listed = asked | {"prompt": [asked["prompt"]] * count}
        lengths[len(compact(listed))] = count
        choices = [one["choices"][0] | {"index": index} for index in range(count)]
        (folder / str(count)).write_bytes(compact(one | {"choices": choices}))
    lists = " ".join(f"{length} {count};" for length, count in lengths.items())
    return {"answer": load.ANSWER.decode(), "lists": lists}


def compact(body: dict[str, Any]) -> bytes:
    """A body as the client writes it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def await_port(port: int) -> None:
    """Waits until something listens there."""
    for _ in range(200):
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the server did not begin")


def by_wrk(url: str, body: Path, connections: int, seconds: float = 2.0) -> dict[str, float]:
    """What a bare generator of requests in C reaches."""
    script = body.with_suffix(".lua")
    script.write_text(WRK.format(body=body))
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script)]
    before = used(resource.RUSAGE_CHILDREN)
    said = subprocess.run(
        [*words, f"{url}/completions"], check=True, capture_output=True, text=True
    ).stdout
    cpu = used(resource.RUSAGE_CHILDREN) - before
    [count] = re.findall(r"(\d+) requests in", said)
    [rate] = re.findall(r"Requests/sec:\s+([\d.]+)", said)
    return {"per second": float(rate), "CPU, ms": 1e3 * cpu / int(count)}


def by_itself(client: str, url: str, body: Path, connections: int, count: int) -> dict[str, float]:
    """What a client reaches in a new process."""
    words = [sys.executable, __file__, "--client", client, url, str(body)]
    words += [str(connections), str(count)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(count: int, rounds: int) -> dict[str, Any]:
    """Every client at every number of connections, in turn, round after round."""
    clients = [name for name, (_, needed) in BARE.items() if find_spec(needed)]
    rows: dict[tuple[str, int], list[dict[str, float]]] = {}
    with serving() as (url, what), tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body.json"
        body.write_bytes(compact(question()))
        for _ in range(rounds):
            for connections in CONNECTIONS:
                if shutil.which("wrk"):
                    got = by_wrk(url, body, connections)
                    rows.setdefault(("wrk", connections), []).append(got)
                for client in (*OURS, *clients):
                    got = by_itself(client, url, body, connections, count)
                    rows.setdefault((client, connections), []).append(got)
                    print(client, connections, got, file=sys.stderr)
        size = body.stat().st_size
    return {
        "server": what,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "bytes": size,
        "requests": count,
        "rounds": rounds,
        "rows": [
            {"client": client, "connections": connections, "rounds": got}
            for (client, connections), got in rows.items()
        ],
    }


def median(found: dict[str, Any], client: str, connections: int, what: str) -> float | None:
    """A figure of a client, the median over rounds; None where it was not measured."""
    for row in found["rows"]:
        if (row["client"], row["connections"]) == (client, connections):
            return statistics.median(one[what] for one in row["rounds"])
    return None


def table(found: dict[str, Any]) -> str:
    """Markdown, a row for each client: requests per second and CPU, and both beside aiohttp's."""
    wide = CONNECTIONS
    told = [
        f"{found['server']} on one core of {found['cores']}, Python {found['python']}, bodies of "
        f"{found['bytes']:,} bytes, {found['requests']:,} requests, medians of "
        f"{found['rounds']} rounds; at {', '.join(map(str, wide))} connections:",
        "",
        "| client | requests/s | of aiohttp's | CPU of one, ms |",
        "|---|---|---|---|",
    ]
    for client in ("wrk", *OURS, *BARE):
        rates = [median(found, client, c, "per second") for c in wide]
        costs = [median(found, client, c, "CPU, ms") for c in wide]
        if None in rates:
            continue
        base = [median(found, "aiohttp in 30 lines", c, "per second") or 1.0 for c in wide]
        shares = [f"{rate / b:.2f}" for rate, b in zip(rates, base, strict=True) if rate]
        told.append(
            f"| {client} | {', '.join(f'{rate:,.0f}' for rate in rates)} | {', '.join(shares)} | "
            f"{', '.join(f'{cost:.3f}' for cost in costs)} |"
        )
    return "\n".join(told)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go")
    parser.add_argument("--client", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        client, url, body, connections, count = given.client
        if client in OURS:
            ours(url, int(connections), int(count), OURS[client])
        else:
            sent = Path(body).read_bytes()
            asyncio.run(BARE[client][0](url, sent, int(connections), int(count)))
        return
    if not given.table:
        figures = measure(given.requests, given.rounds)
        given.output.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(json.loads(given.output.read_text())))


if __name__ == "__main__":
    main()
