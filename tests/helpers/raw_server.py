"""A server that may say anything at all, byte by byte, and notes what it was sent."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One request: its path with the query, its headers in lower case, and its body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


Write = Callable[[bytes], object]
Says = Callable[[Asked, Write], None]
"""Answers a request by writing bytes; then the connection is closed."""


class RawServer(socketserver.ThreadingTCPServer):
    """A server on this machine; `says` may be changed while it runs."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int, says: Says) -> None:
        super().__init__(("127.0.0.1", port), _Reply)
        self.says = says
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        """Its address, as a base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Reply(socketserver.StreamRequestHandler):
    server: RawServer

    def handle(self) -> None:
        # Whoever asked may go away at any moment.
        with suppress(OSError):
            first = self.rfile.readline().split()
            if len(first) < 2:
                return
            lines = iter(lambda: self.rfile.readline().strip(), b"")
            pairs = (line.decode("latin-1").partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            asked = Asked(first[1].decode(), headers, json.loads(body or b"{}"))
            self.server.asked.append(asked)
            self.server.says(asked, self.wfile.write)


@contextmanager
def serve_raw(says: Says, port: int = 0) -> Iterator[RawServer]:
    """The server in a thread, for the length of a `with` block."""
    with RawServer(port, says) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
