"""HTTP/1.1 as it is read here, beside h11, and connections that are closed on the way."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.models.connections import Connections
from consilience.models.http1 import MOST_HEAD, BrokenResponse, ResponseReader

MOST = 10_000
ASKED = h11.Request(method="GET", target="/", headers=[("Host", "x")])


def read(data: bytes, cuts=(), most=MOST, ends=False):
    """The status, the body and whether the connection may be used again; None while unfinished."""
    reader, whole = ResponseReader(most), False
    edges = [0, *sorted(cuts), len(data)]
    for begin, end in pairwise(edges):
        if begin < end and (whole := reader.feed(data[begin:end])):
            break
    if not whole and not ends:
        return None
    response = reader.response if whole else reader.end()
    return response.status, response.body, reader.reusable


def by_h11(data: bytes):
    """The same by h11, where the server then closes the connection."""
    client = h11.Connection(h11.CLIENT)
    client.send(ASKED)
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    status, body = 0, b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, body


BODIES = st.binary(max_size=300)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["Server", "X-A", "Retry-After", "Content-Type"]),
              st.text("abc ,;=/0123456789", max_size=20)),
    max_size=5,
)  # fmt: skip


@st.composite
def responses(draw) -> bytes:
    """Whole responses in every framing."""
    status = draw(st.sampled_from([200, 204, 304, 400, 429, 500]))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    body = b"" if status in (204, 304) else draw(BODIES)
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * draw(st.integers(0, 2))
    head = [f"HTTP/1.1 {status} Said So", *(f"{n}:{v}" for n, v in draw(HEADERS))]
    if draw(st.booleans()):
        head.append("Connection: close")
    if framing == "length":
        head.append(f"content-length: {len(body)}")
    elif framing == "chunked" and status not in (204, 304):
        head.append("Transfer-Encoding: Chunked")
        size = draw(st.integers(1, 100))
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        mark = draw(st.sampled_from([b"", b";a=b", b" "]))
        trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
        body = b"".join(b"%x%s\r\n%s\r\n" % (len(p), mark, p) for p in pieces)
        body += b"0\r\n" + trailer + b"\r\n"
    return early + "\r\n".join([*head, "", ""]).encode() + body


@given(responses(), st.lists(st.integers(0, 600), max_size=6))
def test_a_response_in_pieces_is_read_as_h11_reads_it(data, cuts):
    status, body, _ = read(data, [c for c in cuts if c < len(data)], ends=True)
    assert (status, body) == by_h11(data)


@given(responses(), st.integers(0, 600), st.binary(min_size=1, max_size=3))
def test_a_damaged_response_is_whole_or_refused(data, at, damage):
    at %= len(data)
    try:
        status, body, _ = read(data[:at] + damage + data[at + len(damage) :], ends=True)
    except BrokenResponse:
        return
    assert 200 <= status <= 999
    assert len(body) <= len(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\n", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "in the middle"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/2 200\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 101 Other\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", "header that is none"),
        (b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "header that is none"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "how long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "how long"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "coding nobody asked"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "without its length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd", "does not end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 20_000,
         "without end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * MOST_HEAD,
         "without its length"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "without end"),
    ],
)  # fmt: skip
def test_what_is_no_response_is_refused(data, said):
    with pytest.raises(BrokenResponse, match=said):
        read(data, ends=True)


@pytest.mark.parametrize(
    ("head", "body", "again"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ab", True),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n", b"ab", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", b"ab", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n", b"ab", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", b"ab", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"abHTTP/1.1 200 OK", False),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n",
         b"2\r\nab\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n0\r\n\r\nx", False),
    ],
)  # fmt: skip
def test_a_connection_is_used_again_where_nothing_is_left_on_it(head, body, again):
    assert read(head + body) == (200, b"ab", again)


@pytest.mark.parametrize("framing", ["length", "chunked", "chunks", "close"])
def test_a_body_that_is_too_large_is_not_read_to_its_end(framing):
    huge = b"a" * (3 * MOST)
    head, body = {
        "length": (b"Content-Length: %d" % len(huge), huge),
        "chunked": (b"Transfer-Encoding: chunked", b"%x\r\n" % len(huge) + huge),
        "chunks": (b"Transfer-Encoding: chunked", (b"3e8\r\n" + b"a" * 1000 + b"\r\n") * 30),
        "close": (b"X: y", huge),
    }[framing]
    sent = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body
    _, got, again = read(sent[: 2 * MOST])
    assert len(got) > MOST
    assert not again
    exact = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MOST + b"a" * MOST
    assert read(exact) == (200, b"a" * MOST, True)


# ---- connections -------------------------------------------------------------------------------

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def with_server(handle, work):
    """What `work(connections)` gives, where `handle(number, reader, writer)` serves each."""
    seen = 0

    async def run():
        async def serve(reader, writer):
            nonlocal seen
            seen += 1
            try:
                await handle(seen, reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connections = Connections("127.0.0.1", server.sockets[0].getsockname()[1], None)
        try:
            return await work(connections), seen
        finally:
            await connections.close()
            server.close()

    return asyncio.run(run())


async def answering(number, reader, writer):
    while await reader.read(100):
        writer.write(ANSWER)


def test_connections_are_used_again_and_are_as_many_as_requests_at_once():
    async def work(connections):
        for _ in range(5):
            await asyncio.gather(*(connections.exchange(b"x", MOST) for _ in range(3)))
        return (await connections.exchange(b"x", MOST)).body

    assert with_server(answering, work) == (b"ok", 3)


def test_a_connection_that_was_closed_while_it_was_idle_is_not_used():
    async def closing(number, reader, writer):
        await reader.read(100)
        writer.write(ANSWER)

    async def work(connections):
        for _ in range(3):
            await connections.exchange(b"x", MOST)
            await asyncio.sleep(0.02)

    assert with_server(closing, work) == (None, 3)


def test_an_answer_that_nobody_asked_for_is_nobody_s_answer():
    async def twice(number, reader, writer):
        await reader.read(100)
        writer.write(ANSWER)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(ANSWER.replace(b"ok", b"no"))
        await asyncio.sleep(0.02)

    async def work(connections):
        bodies = []
        for _ in range(2):
            bodies.append((await connections.exchange(b"x", MOST)).body)
            await asyncio.sleep(0.04)
        return bodies

    assert with_server(twice, work) == ([b"ok", b"ok"], 2)


def test_a_request_that_is_given_up_leaves_its_answer_to_nobody():
    async def slow(number, reader, writer):
        await reader.read(100)
        await asyncio.sleep(0.1 if number == 1 else 0)
        writer.write(ANSWER.replace(b"ok", b"%02d" % number))
        await asyncio.sleep(0.2)

    async def work(connections):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await connections.exchange(b"x", MOST)
        return (await connections.exchange(b"x", MOST)).body

    assert with_server(slow, work) == (b"02", 2)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"])
def test_a_connection_that_breaks_is_an_error_at_once(sent):
    async def breaking(number, reader, writer):
        await reader.read(100)
        writer.write(sent)

    async def work(connections):
        with pytest.raises(BrokenResponse, match="closed the connection"):
            await connections.exchange(b"x", MOST)

    with_server(breaking, work)
