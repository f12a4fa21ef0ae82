"""One HTTP/1.1 response, put together from the pieces in which it arrives, up to a size.

Nothing here knows of sockets. What is no response by RFC 9112 is refused, and the connection it
came over is not used again; nor is one on which more came than was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

MOST_HEAD = 64 * 2**10
"""Bytes of a status line with headers, and of what stands between the chunks of a body."""

_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?", re.DOTALL)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_END = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class BrokenResponse(ConnectionError):
    """What came over a connection is no whole HTTP response."""


class HttpResponse(NamedTuple):
    """A status, headers by their names in lower case, and the body as it was sent.

    Of a body that is larger than allowed, its beginning, one byte more than that at least.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class ResponseReader:
    """Reads one response; `feed` it what arrives until it returns True, then see `response`.

    `reusable` says whether the next request may be sent over the same connection.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._length: int | None = None
        self._chunked = False
        self._chunks = bytearray()
        self.begun = False
        self.reusable = False

    @property
    def response(self) -> HttpResponse:
        """What was read."""
        body = self._chunks if self._chunked else self._buffer
        return HttpResponse(self._status, self._headers, bytes(body))

    def feed(self, data: bytes) -> bool:
        """Takes what arrived; True once the response is whole, or its body larger than allowed.

        BrokenResponse for what is none.
        """
        self.begun = True
        self._buffer += data
        if not self._status and not self._read_head():
            return False
        if self._chunked:
            return self._read_chunks()
        have = len(self._buffer)
        if have > self._most and (self._length is None or self._length > self._most):
            self.reusable = False
            return True
        if self._length is None or have < self._length:
            return False
        if have > self._length:
            self.reusable = False
            del self._buffer[self._length :]
        return True

    def end(self) -> HttpResponse:
        """The response where nothing more comes; BrokenResponse where it is not whole."""
        if self._status and self._length is None and not self._chunked:
            return self.response
        how = "in the middle of an answer" if self.begun else "without an answer"
        raise BrokenResponse(f"the server closed the connection {how}")

    def _read_head(self) -> bool:
        """Takes the head off the buffer; False where it is not there yet."""
        while True:
            found = _END.search(self._buffer)
            if (found.end() if found else len(self._buffer)) > MOST_HEAD:
                raise BrokenResponse("the server sent headers without end")
            if found is None:
                return False
            head = self._buffer[: found.start()].decode("latin-1")
            del self._buffer[: found.end()]
            version, status = self._parse(head)
            if status == 101:
                raise BrokenResponse("the server speaks another protocol than was asked for")
            if status >= 200:
                break
        self._status = status
        self._frame(version)
        return True

    def _parse(self, head: str) -> tuple[int, int]:
        """The minor version and the status, with the headers kept."""
        first, *lines = head.split("\n")
        match = _STATUS.fullmatch(first.rstrip("\r"))
        if match is None:
            raise BrokenResponse("the server does not speak HTTP/1.1")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not _NAME.fullmatch(name):
                raise BrokenResponse("the server sent a header that is none")
            name, value = name.lower(), value.strip(" \t\r")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._headers = headers
        return int(match[1]), int(match[2])

    def _frame(self, version: int) -> None:
        """How long the body is, and whether the connection outlives it."""
        headers = self._headers
        connection = headers.get("connection", "").lower()
        self.reusable = version == 1 and "close" not in connection
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if self._status in (204, 304):
            self._length = 0
        elif coding is not None:
            if coding.lower() != "chunked":
                raise BrokenResponse("the server sent its answer in a coding nobody asked for")
            self._chunked = True
            # Both at once is an attack, or a fault, on somebody's way.
            self.reusable = self.reusable and length is None
        elif length is not None:
            one = set(length.split(", "))
            text = one.pop()
            if one or not (text.isascii() and text.isdigit() and len(text) < 16):
                raise BrokenResponse("the server did not say how long its answer is")
            self._length = int(text)
        else:
            self.reusable = False

    def _read_chunks(self) -> bool:
        """Takes whole chunks off the buffer; True after the last, or once there is too much."""
        buffer, at = self._buffer, 0
        while (line := _CHUNK.match(buffer, at)) is not None:
            size, begin = int(line[1], 16), line.end()
            end = begin + size
            if size == 0:
                # From its own line break on, so that a trailer of nothing is found too.
                found = _END.search(buffer, begin - 2)
                if found is None:
                    break
                self.reusable = self.reusable and found.end() == len(buffer)
                return True
            if len(self._chunks) + min(size, len(buffer) - begin) > self._most:
                self._chunks += buffer[begin:end]
                self.reusable = False
                return True
            if len(buffer) < end + 2:
                break
            if buffer[end : end + 2] != b"\r\n":
                raise BrokenResponse("the server sent a chunk that does not end")
            self._chunks += buffer[begin:end]
            at = end + 2
        del buffer[:at]
        if line is None and (b"\n" in buffer or len(buffer) > MOST_HEAD):
            raise BrokenResponse("the server sent a chunk without its length")
        if line is not None and size == 0 and len(buffer) > MOST_HEAD:
            raise BrokenResponse("the server sent headers without end")
        return False
