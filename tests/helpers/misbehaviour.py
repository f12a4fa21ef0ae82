"""A hundred kinds of misbehaviour of a server, and what each is to be taken for.

*again*: sent again, and in the end a failure that concerns no other question. *row*: the question
alone, not sent again. *all*: every question, so nothing more is sent. *read*: an answer all the
same. Every reply that has a place for it repeats the key that came with the question.
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from hostile_replies import REPLIES, answer, http
from raw_server import Asked, Says, Write

Taken = Literal["again", "row", "all", "read"]


class Kind(NamedTuple):
    """What is said, and what it is taken for."""

    says: Says
    taken: Taken


AGAIN = (
    # A body after a 304, which has none, is no answer to anything.
    *(
        304,
        408,
        409,
        424,
        425,
        429,
        498,
        499,
        500,
        501,
        502,
        503,
        504,
        505,
        506,
        507,
        508,
        510,
        511,
    ),
    *(520, 521, 522, 523, 524, 525, 526, 527, 529, 530, 598, 599),
)
ALL = (
    *(300, 301, 302, 303, 305, 307, 308, 401, 402, 403, 404, 405, 406, 407, 410, 411, 412),
    *(414, 415, 416, 417, 418, 421, 423, 426, 428, 431, 444, 495),
)
ROW = {
    "HTTP 400": (400, "no"),
    "HTTP 413": (413, "Payload Too Large"),
    "HTTP 422": (422, "no"),
    "HTTP 451": (451, "not here"),
    "a filter, 400": (400, "content_filter"),
    "a filter, 403": (403, "the input was flagged"),
    "too long, 400": (400, "maximum context length is 9 tokens"),
    "too long, 429": (429, "Request too large"),
    "too long, 500": (500, "Requested tokens (90) exceed context window of 9"),
}
NO_SENSE = {
    "nothing": "",
    "a space": " ",
    "null": "null",
    "true": "true",
    "a number": "7",
    "a number without end": "9" * 10_000,
    "NaN": "NaN",
    "a text": '"text"',
    "a list": "[]",
    "an empty object": "{}",
    "no choices": '{"choices": []}',
    "choices that are null": '{"choices": null}',
    "choices that are an object": '{"choices": {"a": 1}}',
    "choices that are a text": '{"choices": "True"}',
    "a choice that is null": '{"choices": [null]}',
    "a choice that is a list": '{"choices": [[]]}',
    "a page": "<!doctype html><title>Sign in</title>",
    "a stream of events": "data: {}\n\ndata: [DONE]\n\n",
    "two objects": "{}\n{}",
    "half an object": '{"choices": [{"logprobs"',
    "Python": "{'choices': []}",
    "a comma too many": '{"choices": [],}',
    "deep objects": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "a mark before it": "\ufeff{}",
    "an error without a code": '{"error": "it broke"}',
    "an error with a code, 502": '{"error": {"code": 502, "message": "it broke"}}',
    "an error with a code, 429": '{"error": {"code": 429, "message": "slow down"}}',
}
VALUES = {
    "above 0": 0.5,
    "a text": "-0.1",
    "null": None,
    "true": True,
    "a list": [-1.0],
    "not finite": float("-inf"),
    "not a number": float("nan"),
    "too many": -0.1,
}
"""What can stand where a log-probability should."""
USAGES = (
    *(None, 7, "many", [1], {}, {"prompt_tokens": "many"}, {"prompt_tokens": -5}),
    *({"prompt_tokens": 1e300}, {"prompt_tokens": True}, {"prompt_tokens_details": [1]}),
)


def _status(code: int, text: str = "as asked") -> Says:
    def says(asked: Asked, write: Write) -> None:
        body = json.dumps({"error": {"message": text, "sent": asked.headers}}).encode()
        write(http(body, f"{code} Said", location="http://127.0.0.1:9/v1"))

    return says


def _body(text: str) -> Says:
    return lambda asked, write: write(http(text.encode()))


def _answer(**more: Any) -> Says:
    return lambda asked, write: write(http(answer(asked, sent=asked.headers, **more)))


def _value(value: Any) -> Says:
    return lambda asked, write: write(http(answer(asked, value)))


def _choice(**more: Any) -> Says:
    def says(asked: Asked, write: Write) -> None:
        made = json.loads(answer(asked))
        made["choices"][0] |= more
        write(http(json.dumps(made).encode()))

    return says


def _bytes(*parts: bytes, pause: float = 0.0) -> Says:
    def says(asked: Asked, write: Write) -> None:
        for part in parts:
            write(part)
            time.sleep(pause)

    return says


def _packed(how: str, packed: Any) -> Says:
    return lambda asked, write: write(http(packed(answer(asked)), content_encoding=how))


def _framed(before: bytes, after: bytes = b"", **headers: str) -> Says:
    return lambda asked, write: write(before + http(answer(asked), **headers) + after)


CONNECTIONS: Mapping[str, Kind] = {
    "nothing at all": Kind(_bytes(), "again"),
    "an empty line": Kind(_bytes(b"\r\n"), "again"),
    "half a status": Kind(_bytes(b"HTTP/1.1 20"), "again"),
    "a status without an end": Kind(_bytes(b"HTTP/1.1 200 OK\r\n"), "again"),
    "a status in words": Kind(_bytes(b"HTTP/1.1 fine\r\n\r\n"), "again"),
    "another version": Kind(_bytes(b"HTTP/9.9 200 OK\r\n\r\n{}"), "again"),
    "the next version": Kind(_bytes(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" * 4), "again"),
    "a header without a name": Kind(_bytes(b"HTTP/1.1 200 OK\r\n: x\r\n\r\n"), "again"),
    "a header without a colon": Kind(_bytes(b"HTTP/1.1 200 OK\r\nfine\r\n\r\n"), "again"),
    "a length below 0": Kind(_framed(b"", content_length="-1"), "again"),
    "a length in words": Kind(_framed(b"", content_length="all"), "again"),
    "a length that is too large": Kind(REPLIES["a cut body"], "again"),
    "chunks without sizes": Kind(
        _bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"zz\r\n{}\r\n"), "again"
    ),
    "chunks without an end": Kind(
        _bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"2\r\n{}\r\n"), "again"
    ),
    "no gzip": Kind(_packed("gzip", bytes), "again"),
    "half a gzip": Kind(_packed("gzip", lambda body: gzip.compress(body)[:60]), "again"),
    "a packing of its own": Kind(_packed("br", zlib.compress), "again"),
    "bytes that are no text": Kind(_bytes(http(b"\xff\xfe" + b"\x00{" * 8)), "again"),
    "a pause": Kind(_bytes(b"HTTP/1.1 200 OK\r\n", b"", pause=0.6), "again"),
    **{
        name: Kind(REPLIES[name], "again")
        for name in (
            *("garbage", "another protocol", "headers without end", "50 MB, packed"),
            *("a stream without end", "deep", "a slow drip"),
        )
    },
}

KINDS: Mapping[str, Kind] = {
    **{f"HTTP {code}": Kind(_status(code), "again") for code in AGAIN},
    **{f"HTTP {code}": Kind(_status(code), "all") for code in ALL},
    **{name: Kind(_status(*said), "row") for name, said in ROW.items()},
    **{f"body: {name}": Kind(_body(text), "again") for name, text in NO_SENSE.items()},
    **{f"a value: {name}": Kind(_value(value), "again") for name, value in VALUES.items()},
    **{f"usage: {usage}": Kind(_answer(usage=usage), "read") for usage in USAGES},
    **CONNECTIONS,
    "no credit": Kind(_status(429, "insufficient_quota"), "all"),
    "an error with a code, 401": Kind(_body('{"error": {"code": 401}}'), "all"),
    "no log-probabilities": Kind(_choice(logprobs=None), "all"),
    "an error in a choice, 502": Kind(_choice(error={"code": 502}, logprobs=None), "again"),
    "an error in a choice, 402": Kind(_choice(error={"code": 402}, logprobs=None), "all"),
    "an error in a choice, in words": Kind(_choice(error={"code": "x"}, logprobs=None), "again"),
    **{
        f"an end: {end}": Kind(_choice(finish_reason=end, logprobs=None), "again")
        for end in ("error", "network_error", "insufficient_system_resource")
    },
    **{
        f"an end: {end}": Kind(_choice(finish_reason=end, logprobs=None), "row")
        for end in ("sensitive", "PROHIBITED_CONTENT", "SPII")
    },
    "another's choice": Kind(_choice(index=1), "again"),
    "a filter, 200": Kind(_choice(finish_reason="content_filter", logprobs=None), "row"),
    "a refusal, 200": Kind(_choice(message={"refusal": "I will not"}, logprobs=None), "row"),
    "a filter after the answer": Kind(_choice(finish_reason="content_filter"), "read"),
    "an end that nobody knows": Kind(_choice(finish_reason="\x1b[2J"), "read"),
    "fields that nobody knows": Kind(_answer(more={"a": [1]}), "read"),
    "no name of a model": Kind(_answer(model=None), "read"),
    "a name of another type": Kind(_answer(model=[7]), "read"),
    "another type of content": Kind(_framed(b"", content_type="image/png"), "read"),
    "bytes after the end": Kind(_framed(b"", b"HTTP/1.1 500 no\r\n\r\n"), "again"),
    "a first answer, 100": Kind(_framed(b"HTTP/1.1 100 Continue\r\n\r\n"), "read"),
    "packed unasked": Kind(_packed("gzip", gzip.compress), "read"),
}
