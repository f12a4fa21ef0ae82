"""Any application as a real server on this machine, for the length of a `with` block."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp


class Runner(uvicorn.Server):
    """A server that starts and stops at once, for tests that start a hundred."""

    async def main_loop(self) -> None:
        while not self.should_exit:
            await asyncio.sleep(0.005)


@contextmanager
def running(app: ASGIApp, port: int = 0, **options: Any) -> Iterator[str]:
    """Its address; `options` are uvicorn's (a certificate)."""
    config = uvicorn.Config(
        app, log_level="critical", lifespan="off", ws="none", http="h11",
        timeout_graceful_shutdown=2, backlog=2048, **options,
    )  # fmt: skip
    runner = Runner(config)
    scheme = "https" if "ssl_certfile" in options else "http"
    # Named as TCP, because only then does asyncio send small packets at once.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", port))
        address = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=runner.run, args=([listening],), daemon=True)
        thread.start()
        while not runner.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield address
        finally:
            runner.should_exit = True
            thread.join(timeout=10)
