"""What a hostile server says: bytes for each way of attacking whoever asked."""

from __future__ import annotations

import gzip
import json
import math
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from raw_server import Asked, Says, Write

ESCAPES = "\x1b]0;taken\x07\x1b[2J\u202egnp.exe\r\n\u2028consilience: all is well"
"""A text that would set a title, clear the screen, hide, and pose as a line of the program."""

LISTED = (" True", " False", "True", "False", " yes", " no", " A", " B", " easy", " hard")
"""Tokens of which one or the other is a label in every prompt."""


def http(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer, its length said, and that the connection ends with it."""
    named = {"content-type": "application/json", "content-length": str(len(body))}
    named |= {"connection": "close"} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def answer(asked: Asked, value: float = math.log(1 / len(LISTED)), **more: Any) -> bytes:
    """An answer that has all that one needs, each listed token with this log-probability."""
    entries = [{"token": token, "logprob": value, "bytes": None} for token in LISTED]
    content = {"content": [entries[0] | {"top_logprobs": entries}]}
    choice = {"index": 0, "finish_reason": "length", "logprobs": content, "text": LISTED[0]}
    choice["message"] = {"role": "assistant", "content": LISTED[0]}
    usage = {"prompt_tokens": len(str(asked.body)), "completion_tokens": 1}
    return json.dumps({"model": "tiny", "choices": [choice], "usage": usage} | more).encode()


def _garbage(asked: Asked, write: Write) -> None:
    write(bytes(range(256)) * 8)


def _greeting(asked: Asked, write: Write) -> None:
    write(b"220 mail.example ESMTP ready\r\n")


def _headers_without_end(asked: Asked, write: Write) -> None:
    write(b"HTTP/1.1 200 OK\r\n")
    while True:
        write(b"x-more: " + b"a" * 8_000 + b"\r\n")


@cache
def _bomb() -> bytes:
    return gzip.compress(b"[" + b" " * (50 * 2**20) + b"]")


def _packed(asked: Asked, write: Write) -> None:
    write(http(_bomb(), content_encoding="gzip"))


def _stream_without_end(asked: Asked, write: Write) -> None:
    write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def _deep(asked: Asked, write: Write) -> None:
    write(http(b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))


def _not_a_number(asked: Asked, write: Write) -> None:
    write(http(answer(asked, math.nan)))


def _more_than_one(asked: Asked, write: Write) -> None:
    write(http(answer(asked, -0.1)))


def _elsewhere(asked: Asked, write: Write) -> None:
    write(http(b"", "307 Temporary Redirect", location="http://127.0.0.1:9/v1/completions"))


def _swapped(asked: Asked, write: Write) -> None:
    write(http(answer(asked, model="another " + ESCAPES + "m" * 5_000)))


def _echo(status: str) -> Says:
    def says(asked: Asked, write: Write) -> None:
        told = {"path": asked.path, **asked.headers}
        # As PHP writes it, as JSON in a text of JSON, and with every character escaped.
        slashed = json.dumps(told).replace("/", "\\/")
        every = {"".join(f"\\u{ord(c):04x}" for c in value): 1 for value in told.values()}
        body = f'{{"error": {{"message": {slashed}, "twice": {json.dumps(slashed)}, '
        body += f'"all": {json.dumps(every)}}}}}'.replace("\\\\u", "\\u")
        write(http(body.encode(), status))

    return says


def _failing(asked: Asked, write: Write) -> None:
    write(http(b'{"error": {"message": "dead"}}', "500 Internal Server Error"))


def _escapes(asked: Asked, write: Write) -> None:
    write(http(json.dumps({"error": ESCAPES}, ensure_ascii=False).encode(), "404 Not Found"))


def _cut(asked: Asked, write: Write) -> None:
    write(http(answer(asked), content_length="9999"))


def _slow(asked: Asked, write: Write) -> None:
    for byte in http(answer(asked)):
        write(bytes([byte]))
        time.sleep(0.02)


REPLIES: Mapping[str, Says] = {
    "garbage": _garbage,
    "another protocol": _greeting,
    "headers without end": _headers_without_end,
    "50 MB, packed": _packed,
    "a stream without end": _stream_without_end,
    "deep": _deep,
    "not a number": _not_a_number,
    "a sum above one": _more_than_one,
    "a redirect": _elsewhere,
    "a swapped model": _swapped,
    "an echo, HTTP 200": _echo("200 OK"),
    "an echo, HTTP 400": _echo("400 Bad Request"),
    "an echo, HTTP 401": _echo("401 Unauthorized"),
    "HTTP 500": _failing,
    "escapes": _escapes,
    "a cut body": _cut,
    "a slow drip": _slow,
}

CHIEF = tuple(
    name
    for name in REPLIES
    if name not in ("another protocol", "headers without end", "an echo, HTTP 401", "HTTP 500")
)
"""One of each kind; the others differ only in how the client below the commands meets them."""
