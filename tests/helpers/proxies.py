"""Small proxies on this machine: a plain HTTP one and a SOCKS5 one, each leading to one server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Proxy:
    """Its address, and the hosts that it was asked for."""

    address: str = ""
    hosts: list[str] = field(default_factory=list)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(ConnectionError, RuntimeError):
        writer.close()


async def _join(one: Streams, other: Streams) -> None:
    await asyncio.gather(_pipe(one[0], other[1]), _pipe(other[0], one[1]))


def _http(proxy: Proxy, port: int) -> Callable[..., Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, url, rest = head.split(b" ", 2)
        host, _, path = url.removeprefix(b"http://").partition(b"/")
        proxy.hosts.append(host.decode())
        there = await asyncio.open_connection("127.0.0.1", port)
        # One request for each connection, so that each is seen.
        rest = rest.replace(b"keep-alive", b"close")
        there[1].write(b" ".join([method, b"/" + path, rest]))
        await _join((reader, writer), there)

    return serve


def _socks(proxy: Proxy, port: int) -> Callable[..., Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        length = (await reader.readexactly(1))[0] if kind == 3 else 4
        proxy.hosts.append((await reader.readexactly(length)).decode(errors="replace"))
        await reader.readexactly(2)
        there = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await _join((reader, writer), there)

    return serve


@contextmanager
def proxied(kind: str, port: int) -> Iterator[Proxy]:
    """A proxy ("http" or "socks5h") to a port of this machine, for the length of a `with` block."""
    proxy = Proxy()
    ready, loop = threading.Event(), asyncio.new_event_loop()
    servers: list[asyncio.Server] = []

    async def begin() -> None:
        handler = (_http if kind == "http" else _socks)(proxy, port)
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        servers.append(server)
        proxy.address = f"{kind}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()

    def work() -> None:
        loop.create_task(begin())
        loop.run_forever()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
