"""The body of an answer, read up to a size, so that no server can fill the memory."""

from __future__ import annotations

import json
import zlib
from typing import Any

import httpx2

MOST_BYTES = 4 * 2**20
"""Bytes of an answer that are read: a list of 200 tokens has 20,000."""

DEEPEST = 64
"""How far lists and objects of an answer may stand in one another; real ones reach 8."""

_KEPT = 64 * 2**10
"""Bytes that are kept of a body that is too large to be read."""


class Unreadable(Exception):
    """A body that cannot be read, and the beginning of it."""

    def __init__(self, why: str, begins: bytes = b"") -> None:
        super().__init__(why)
        self.begins = begins[:_KEPT].decode("utf-8", "replace")


async def read_body(response: httpx2.Response, most: int = MOST_BYTES) -> str:
    """The text of a streamed response; Unreadable where it is larger, or packed unheard of.

    A packed body is unpacked up to the size and no further.
    """
    if response.is_stream_consumed:  # by a transport that has no stream
        return response.text
    packed = response.headers.get("content-encoding", "").strip().lower()
    if packed not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise Unreadable(f"its body is packed as {packed[:40]!r}, which nobody asked for")
    unpack = None if packed in ("", "identity") else zlib.decompressobj(wbits=47)
    body = bytearray()
    try:
        async for part in response.aiter_raw():
            body += unpack.decompress(part, most + 1 - len(body)) if unpack else part
            if len(body) > most:
                raise Unreadable(f"its body is larger than {most:,} bytes", bytes(body))
    except zlib.error as error:
        raise Unreadable(f"its body cannot be unpacked ({error})", bytes(body)) from error
    return body.decode("utf-8", "replace")


def parse(text: str) -> Any:  # noqa: ANN401 (JSON)
    """The JSON of a text; Unreadable where it is none, or nested beyond reason."""
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise Unreadable("its lists stand in one another too deeply") from error
    except ValueError as error:
        page = text.lstrip()[:64].lower()
        if page.startswith(("<!doctype html", "<html")):
            raise Unreadable("a web page, and not an API's answer") from error
        if page.startswith(("data:", "event:")):
            raise Unreadable("a stream of events, which was not asked for") from error
        raise Unreadable("not JSON") from error
    level = [data]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return data
    raise Unreadable(f"its lists stand in one another more than {DEEPEST} deep")
