"""A client over sockets: connections that are used again, and those closed on the way."""

from __future__ import annotations

import asyncio
import ssl

import httpx2
import pytest

from consilience.models.address import Address, Secrets
from consilience.models.client import open_client, what_failed
from consilience.models.local import _render
from consilience.models.server import Server

MOST = 1000

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def with_server(handle, work):
    """What `work(ask)` gives, where `handle(number, reader, writer)` serves each."""
    seen = 0

    async def run():
        async def serve(reader, writer):
            nonlocal seen
            seen += 1
            try:
                await handle(seen, reader, writer)
            except asyncio.CancelledError:
                pass  # the test is over
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        address = Address.of(f"http://127.0.0.1:{port}/v1")
        client = open_client(address, {}, None)

        async def ask():
            return await client.exchange("POST", address.at("completions"), b"x", MOST)

        try:
            return await work(ask), seen
        finally:
            await client.close()
            server.close()

    return asyncio.run(run())


async def asked(reader):
    """Waits for a whole request; False where the connection is closed instead."""
    try:
        return bool(await reader.readuntil(b"\r\n\r\nx"))
    except (asyncio.IncompleteReadError, ConnectionError):
        return False


async def answering(number, reader, writer):
    while await asked(reader):
        writer.write(ANSWER)


def test_connections_are_used_again_and_are_as_many_as_requests_at_once():
    async def work(ask):
        for _ in range(5):
            await asyncio.gather(*(ask() for _ in range(3)))
        return (await ask()).body

    assert with_server(answering, work) == (b"ok", 3)


def test_a_connection_that_was_closed_while_it_was_idle_is_not_used():
    async def closing(number, reader, writer):
        await asked(reader)
        writer.write(ANSWER)

    async def work(ask):
        for _ in range(3):
            await ask()
            await asyncio.sleep(0.02)

    assert with_server(closing, work) == (None, 3)


def test_an_answer_that_nobody_asked_for_is_nobody_s_answer():
    async def twice(number, reader, writer):
        await asked(reader)
        writer.write(ANSWER)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(ANSWER.replace(b"ok", b"no"))
        await asyncio.sleep(0.02)

    async def work(ask):
        bodies = []
        for _ in range(2):
            bodies.append((await ask()).body)
            await asyncio.sleep(0.04)
        return bodies

    assert with_server(twice, work) == ([b"ok", b"ok"], 2)


def test_a_request_that_is_given_up_leaves_its_answer_to_nobody():
    async def slow(number, reader, writer):
        await asked(reader)
        await asyncio.sleep(0.1 if number == 1 else 0)
        writer.write(ANSWER.replace(b"ok", b"%02d" % number))
        await asyncio.sleep(0.2)

    async def work(ask):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await ask()
        return (await ask()).body

    assert with_server(slow, work) == (b"02", 2)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"])
def test_a_connection_that_breaks_is_an_error_at_once(sent):
    async def breaking(number, reader, writer):
        await asked(reader)
        writer.write(sent)

    async def work(ask):
        with pytest.raises(ConnectionError):
            await ask()

    with_server(breaking, work)


def test_no_more_of_a_body_is_read_than_is_allowed():
    async def endless(number, reader, writer):
        await asked(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(200):
            writer.write(b"a" * 1000)
            await writer.drain()
        await asked(reader)

    async def work(ask):
        async with asyncio.timeout(5):
            return len((await ask()).body)

    length, _ = with_server(endless, work)
    assert MOST < length < 200_000


def test_a_redirect_is_not_followed():
    async def away(number, reader, writer):
        await asked(reader)
        writer.write(
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.9:1/\r\n"
            b"Content-Length: 0\r\n\r\n"
        )

    async def work(ask):
        return (await ask()).status

    assert with_server(away, work) == (307, 1)


HOSTS = ("http://litellm-proxy:4000/v1", "https://certificates.internal/v1", "http://socks/v1")


@pytest.mark.parametrize("url", HOSTS)
def test_what_is_to_be_done_is_not_read_from_the_name_of_a_host(url):
    address = Address.of(url)

    def told(error):
        return what_failed("POST x", error, address, Secrets.of(None, []))

    down = told(OSError(f"Cannot connect to host {address.url.host}:4000 [Name not known]"))
    assert not down.fatal and address.url.host in str(down)
    assert "check that the server runs" in str(down)
    for error in (ssl.SSLError("handshake"), OSError("certificate verify failed")):
        assert told(error).fatal and "CONSILIENCE_CA_FILE" in str(told(error))
    for error in (httpx2.ProxyError("403"), OSError("SOCKS5: host unreachable")):
        assert "check the proxy" in str(told(error))


class Full(httpx2.AsyncBaseTransport):
    """What has no memory left."""

    async def handle_async_request(self, request):
        raise MemoryError


def test_no_memory_is_no_fault_of_a_server_or_of_a_template():
    server = Server("http://127.0.0.1:9/v1", "tiny", transport=Full())
    with pytest.raises(MemoryError):
        asyncio.run(server.call("POST", "/completions", {"prompt": "x"}, dict))
    assert server.requests == 1

    class Template:
        def apply_chat_template(self, messages, **options):
            raise MemoryError

    with pytest.raises(MemoryError):
        _render(Template(), [])
