"""One OpenAI-compatible server: sends JSON, retries, keeps a pace, and names every failure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import stamina

from consilience.errors import AnswerError, InputError, ServerError
from consilience.models import wire

_Read = TypeVar("_Read")

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait for a server, in seconds; never part of a prediction's identity.

    `timeout` is for one attempt and `total` for all attempts at one request; pauses begin at
    `pause`, double with some jitter, and end at `longest_pause`, which also caps what a server
    may ask for in Retry-After.
    """

    timeout: float = 120.0
    total: float = 600.0
    attempts: int = 6
    pause: float = 0.5
    longest_pause: float = 60.0

    def __post_init__(self) -> None:
        if min(self.timeout, self.total, self.attempts, self.pause, self.longest_pause) <= 0:
            raise InputError(f"every part of a patience is above zero, got {self}")


def key_from_environment(host: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The API key for a host: CONSILIENCE_API_KEY, else OPENAI_API_KEY, else OpenRouter's own."""
    names = ["CONSILIENCE_API_KEY", "OPENAI_API_KEY"]
    if host == "openrouter.ai":
        names.append("OPENROUTER_API_KEY")
    for name in names:
        key = environ.get(name, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"{name} holds characters that no key has; set it again")
        if key:
            return key
    return None


class Server:
    """A connection to one server, usable from one event loop at a time.

    The HTTP client is opened by the first request of an event loop and closed by `close`, which
    belongs at that loop's end; a later request opens a new one. `requests` counts what was sent,
    every attempt of it.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        patience: RetryPolicy | None = None,
        requests_per_minute: float | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        url = _checked(base_url)
        if requests_per_minute is not None and requests_per_minute <= 0:
            raise InputError(f"requests per minute are above zero, got {requests_per_minute}")
        self.base_url = str(url).rstrip("/")
        self.model = model
        self.requests = 0
        self._local = url.scheme == "http" and url.host in LOOPBACK
        self._key = key_from_environment(url.host)
        self._patience = patience or RetryPolicy()
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next_start = 0.0
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def root(self) -> str:
        """The address without /v1, where a server's own additions are."""
        return self.base_url.removesuffix("/v1")

    async def close(self) -> None:
        """Closes the connections; those of another event loop have ended with it."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], _Read],
    ) -> tuple[Any, _Read]:
        """The JSON that a request brought, and what `read` makes of it.

        `path` is under the base URL, or a whole URL. An AnswerError of `read` is retried like a
        failure of the server. Raises ServerError or AnswerError, with the body, once the patience
        is at an end.
        """
        url = path if path.startswith("http") else self.base_url + path
        what = f"{method} {url}, model {self.model!r}"
        tried = 0

        async def attempt() -> tuple[Any, _Read]:
            nonlocal tried
            tried += 1
            return await self._once(what, method, url, body, read)

        waiting = self._patience
        retrying = stamina.AsyncRetryingCaller(
            attempts=waiting.attempts,
            timeout=waiting.total,
            wait_initial=waiting.pause,
            wait_max=waiting.longest_pause,
            wait_jitter=waiting.pause,
        )
        try:
            return await retrying(self._pause, attempt)
        except _Failed as last:
            failure, cause = last.failure, last.__cause__
        message = str(failure.error)
        if tried > 1:
            message += f" (after {tried} attempts)"
        if failure.wait is not None and failure.wait > waiting.longest_pause:
            message += (
                f"; it asks to wait {failure.wait:g} s, "
                f"longer than the {waiting.longest_pause:g} s allowed"
            )
        failure.error.args = (message,)
        raise failure.error from cause

    def _pause(self, error: Exception) -> bool | float:
        """Whether to try again, and after how many seconds if the server says so."""
        if not isinstance(error, _Failed) or not error.failure.again:
            return False
        if error.failure.wait is None:
            return True
        return min(error.failure.wait, self._patience.longest_pause)

    async def _once(
        self,
        what: str,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], _Read],
    ) -> tuple[Any, _Read]:
        await self._keep_pace()
        self.requests += 1
        try:
            async with asyncio.timeout(self._patience.timeout):
                response = await self._open().request(method, url, json=body)
        except (TimeoutError, httpx2.TimeoutException) as error:
            message = (
                f"{what}: no answer within {self._patience.timeout:g} s; "
                "lower the concurrency, or raise the time-out"
            )
            raise _Failed(wire.Failure(ServerError(message), True)) from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            message = (
                f"{what}: {str(error) or type(error).__name__}; "
                "check that the server runs and that the base URL is its address"
            )
            raise _Failed(wire.Failure(ServerError(self._redacted(message)), True)) from error
        text = self._redacted(response.text)
        if not response.is_success:
            raise _Failed(wire.refused(what, response.status_code, response.headers, text))
        try:
            answer = response.json()
        except ValueError as error:
            raise _Failed(_unusable(what, "not JSON", text)) from error
        status = wire.inner_status(answer)
        if status is not None:
            raise _Failed(wire.refused(what, status, response.headers, text))
        try:
            return answer, read(answer)
        except AnswerError as error:
            raise _Failed(_unusable(what, str(error), text)) from error

    async def _keep_pace(self) -> None:
        """Waits until the next request may start; starts are evenly spaced."""
        if self._interval:
            now = asyncio.get_running_loop().time()
            start = max(now, self._next_start)
            self._next_start = start + self._interval
            await asyncio.sleep(start - now)

    def _open(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop = loop
            self._client = httpx2.AsyncClient(
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                timeout=httpx2.Timeout(None, connect=10.0),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
                transport=self._transport,
                # No proxy stands before this machine itself, and there is nothing to verify.
                trust_env=not self._local,
                verify=not self._local,
            )
        return self._client

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


class _Failed(Exception):
    """One failed attempt, on its way to the decision whether to make another."""

    def __init__(self, failure: wire.Failure) -> None:
        super().__init__(str(failure.error))
        self.failure = failure


def _unusable(what: str, why: str, text: str) -> wire.Failure:
    message = (
        f"{what}: an answer that cannot be used: {why}: {wire.excerpt(text)}; "
        "look at the server's log, or run again later"
    )
    return wire.Failure(AnswerError(message, body=text), True)


def _checked(base_url: str) -> httpx2.URL:
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL as error:
        raise InputError(f"the base URL {base_url!r} is not an address: {error}") from error
    if url.userinfo:
        raise InputError("the base URL holds a password; set CONSILIENCE_API_KEY instead")
    if url.scheme not in ("http", "https") or not url.host:
        raise InputError(
            f"the base URL {base_url!r} does not begin with http:// or https:// and a host"
        )
    return url
