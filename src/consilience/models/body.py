"""The body of an answer, read up to a size, so that no server can fill the memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

MOST_BYTES = 4 * 2**20
"""Bytes of an answer that are read: a list of 200 tokens has 20,000."""

DEEPEST = 64
"""How far lists and objects of an answer may stand in one another; real ones reach 8."""

_KEPT = 64 * 2**10
"""Bytes that are kept of a body that is too large to be read."""


class HttpResponse(NamedTuple):
    """A status, headers that are found by names in lower case, and the body as it was sent.

    Of a body that is larger than allowed, its beginning, one byte more than that at least.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unreadable(Exception):
    """A body that cannot be read, and the beginning of it."""

    def __init__(self, why: str, begins: bytes = b"") -> None:
        super().__init__(why)
        self.begins = begins[:_KEPT].decode("utf-8", "replace")


def body_text(response: HttpResponse, most: int = MOST_BYTES) -> str:
    """The text of a response; Unreadable where it is larger, or packed unheard of.

    A packed body is unpacked up to the size and no further.
    """
    body = response.body
    packed = response.headers.get("content-encoding", "").strip().lower()
    if packed not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise Unreadable(f"its body is packed as {packed[:40]!r}, which nobody asked for")
    if packed not in ("", "identity"):
        try:
            body = zlib.decompressobj(wbits=47).decompress(body, most + 1)
        except zlib.error as error:
            raise Unreadable(f"its body cannot be unpacked ({error})", body) from error
    if max(len(body), len(response.body)) > most:
        raise Unreadable(f"its body is larger than {most:,} bytes", body)
    return body.decode("utf-8", "replace")


class ResponseData(dict[str, Any]):
    """A JSON object that a server sent, with the text that it was read from; never changed."""

    __slots__ = ("text",)

    def __init__(self, data: Mapping[str, Any], text: str) -> None:
        super().__init__(data)
        self.text = text


def parse(text: str) -> Any:  # noqa: ANN401 (JSON)
    """The JSON of a text, which an object keeps; Unreadable where it is none, or too deep."""
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
    if isinstance(data, dict | list) and text.count("[") + text.count("{") > DEEPEST:
        _check_depth(data)
    return ResponseData(data, text) if type(data) is dict else data


def _check_depth(data: Any) -> None:  # noqa: ANN401 (JSON)
    level = [data]
    for _ in range(DEEPEST):
        inner = chain.from_iterable(one.values() if type(one) is dict else one for one in level)
        level = [one for one in inner if type(one) is dict or type(one) is list]
        if not level:
            return
    raise Unreadable(f"its lists stand in one another more than {DEEPEST} deep")
