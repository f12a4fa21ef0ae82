"""Connections to one server, each for one request at a time, kept open for the next."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from consilience.models.http1 import BrokenResponse, HttpResponse, ResponseReader

CONNECT = 10.0
"""Seconds until a connection stands."""

IDLE = 4.0
"""Seconds after which a connection is not used again: many servers close it after 5."""

_FALL_BACK = 0.25
"""Seconds until the next address of a name is tried beside the first."""


class _Connection(asyncio.Protocol):
    """One connection; `lost` is done once it is closed by either side."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = ResponseReader(0)
        self._waiting: asyncio.Future[HttpResponse] | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    async def ask(self, sent: bytes, most: int) -> HttpResponse:
        """The response to one request, written out; OSError where none comes."""
        if self.lost.done():
            raise BrokenResponse("the server closed the connection without an answer")
        self._reader = ResponseReader(most)
        self._waiting = self._loop.create_future()
        self._transport.write(sent)
        return await self._waiting

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent."""
        return self._reader.reusable and not self.lost.done()

    def abort(self) -> None:
        """Closes it at once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.abort()  # nobody asked
            return
        try:
            if self._reader.feed(data):
                self._answer(self._reader.response)
        except BrokenResponse as error:
            self._fail(error)
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        if self._waiting is None:
            return
        try:
            if error is not None:
                raise error
            self._answer(self._reader.end())
        except (OSError, ssl.SSLError) as failed:
            self._fail(failed)

    def _answer(self, response: HttpResponse) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(response)

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)


class Connections:
    """The connections to one host and port, as many as there are requests under way.

    The one that was used last is used first. For one event loop, whose end `close` belongs to.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()

    async def exchange(self, sent: bytes, most: int) -> HttpResponse:
        """The response to one request, its body of at most `most` bytes; OSError without one."""
        loop = asyncio.get_running_loop()
        connection = self._take(loop.time()) or await self._open(loop)
        try:
            response = await connection.ask(sent, most)
        except BaseException:
            # What comes now would be taken for the answer to the next request.
            self._drop(connection)
            raise
        if connection.reusable:
            connection.since = loop.time()
            self._idle.append(connection)
        else:
            self._drop(connection)
        return response

    async def close(self) -> None:
        """Closes all of them."""
        connections = list(self._all)
        for connection in connections:
            self._drop(connection)
        self._idle = []
        if connections:
            await asyncio.wait([connection.lost for connection in connections])

    def _take(self, now: float) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and now - connection.since < IDLE:
                return connection
            self._drop(connection)
        return None

    async def _open(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        name = self._host if self._tls is not None else None
        async with asyncio.timeout(CONNECT):
            _, connection = await loop.create_connection(
                _Connection,
                self._host,
                self._port,
                ssl=self._tls,
                server_hostname=name,
                happy_eyeballs_delay=_FALL_BACK,
            )
        self._all.add(connection)
        return connection

    def _drop(self, connection: _Connection) -> None:
        connection.abort()
        self._all.discard(connection)
