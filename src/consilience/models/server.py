"""One OpenAI-compatible server: sends JSON, retries, keeps a pace, and names every failure."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypedDict, TypeVar

import httpx2
import stamina

from consilience.errors import InputError, Interrupted, ModelError, ServerError
from consilience.models import wire
from consilience.models.address import (
    KEY,
    Address,
    Secrets,
    checked_headers,
    credentials,
    key_from_environment,
)
from consilience.models.body import MOST_BYTES, Unreadable, body_text
from consilience.models.budget import Aside, Budget
from consilience.models.client import HttpClient, open_client, what_failed
from consilience.models.gate import Gate, Outcome, Ticket
from consilience.models.interrupts import OnInterrupt, stopping
from consilience.models.judging import Failed, judged, unusable

_Read = TypeVar("_Read")

_LOG = logging.getLogger(__name__)

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait for a server, in seconds; never part of a prediction's identity.

    `timeout` is for one attempt and `total` for all attempts at one request, without the pauses
    between them; pauses begin at `pause`, double with some jitter, and end at `longest_pause`,
    which also caps what a server may ask for in Retry-After.
    """

    timeout: float = 120.0
    total: float = 600.0
    attempts: int = 6
    pause: float = 0.5
    longest_pause: float = 60.0

    def __post_init__(self) -> None:
        if min(self.timeout, self.total, self.attempts, self.pause, self.longest_pause) <= 0:
            raise InputError(f"every part of a patience is above zero, got {self}")


class ServerOptions(TypedDict, total=False):
    """How a server is reached, as `Server` takes it; what it answers does not hang on any of it."""

    patience: RetryPolicy | None
    requests_per_minute: float | None
    transport: httpx2.AsyncBaseTransport | None
    headers: Mapping[str, str] | None
    budget: Budget | None


class Connection(Protocol):
    """What a model is asked through: a `Server`, or files that go there and come back."""

    base_url: str
    model: str

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], _Read],
        *,
        root: bool = False,
    ) -> tuple[Any, _Read]:
        """The JSON that a request brought, and what `read` makes of it."""
        ...

    async def close(self) -> None:
        """Lets go of whatever it holds open."""
        ...


class Server:
    """A connection to one server, usable from one event loop at a time.

    The HTTP client is opened by the first request of an event loop and closed by `close`, which
    belongs at that loop's end; a later request opens a new one. `requests` counts what was sent,
    every attempt of it, and `unused` adds up what answers took that could not be used. `base_url`
    is the address as it may be shown. `headers` are sent with every request; what of them is a
    credential is shown nowhere. One called Authorization stands in the place of the API key, which
    the environment has under the name `key`, or under that of the host.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        patience: RetryPolicy | None = None,
        requests_per_minute: float | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        budget: Budget | None = None,
        key: str = KEY,
    ) -> None:
        self._address = Address.of(base_url)
        if requests_per_minute is not None and requests_per_minute <= 0:
            raise InputError(f"requests per minute are above zero, got {requests_per_minute}")
        self.base_url = self._address.shown
        self.model = model
        self.requests = 0
        self.unused: dict[str, Any] = {}
        self._headers = checked_headers(headers)
        own = any(name.lower() == "authorization" for name in self._headers)
        held = None if own else key_from_environment(self._address.url, general=key)
        secret = [*credentials(self._headers.items()), *self._address.secrets]
        self._secrets = Secrets.of(held, secret)
        self._repeated = False
        if held:
            self._headers["Authorization"] = f"Bearer {held}"
        self._patience = patience or RetryPolicy()
        self._transport = transport
        self._budget = budget
        interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._gate = Gate(self._patience.pause, self._patience.longest_pause, interval)
        self._client: HttpClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._targets = lru_cache(maxsize=64)(self._target)

    async def close(self) -> None:
        """Closes the connections; those of another event loop have ended with it."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], _Read],
        *,
        root: bool = False,
        most: int = MOST_BYTES,
    ) -> tuple[Any, _Read]:
        """The JSON that a request brought, as it came, and what `read` makes of it.

        `path` is under the base URL, or (`root`) beside it, where a server's own additions are. An
        AnswerError of `read` is retried like a failure of the server. Raises ServerError or
        AnswerError, with the body, once the patience is at an end; fatal where the server fails
        whoever asks it. An attempt that was one of too many at once is not counted. `most` is the
        largest body, in bytes.
        """
        what, url = self._targets(method, path, root)
        # What stands beside the base URL asks no model.
        budget = self._budget if method == "POST" and not root else None
        sent = _Sent(what, method, url, body, most, budget)
        task = asyncio.current_task()
        assert task is not None
        # What is under way is waited for at an interrupt; pauses and queues are not.
        wake = OnInterrupt(task.get_loop(), lambda: None if sent.under_way else task.cancel())
        with wake:
            try:
                try:
                    return await self._attempt(sent, read)
                except Failed as failed:
                    first = failed
                return await self._again(first, sent, read)
            except asyncio.CancelledError:
                if stopping() and task.uncancel() == 0:
                    raise Interrupted("interrupted") from None
                raise
            except Failed as last:
                failure, cause = last.failure, last.__cause__
        failure.error.args = (self._told(failure, sent),)
        raise failure.error from cause

    def _told(self, failure: wire.Failure, sent: _Sent) -> str:
        """What the last failure says, and after how many attempts."""
        message = str(failure.error)
        if sent.tried > 1:
            message += f" (after {sent.tried} attempts)"
        longest = self._patience.longest_pause
        if failure.wait is not None and failure.wait > longest:
            message += (
                f"; it asks to wait {failure.wait:g} s, longer than the {longest:g} s allowed"
            )
        return message

    async def _again(
        self, first: Failed, sent: _Sent, read: Callable[[Any], _Read]
    ) -> tuple[Any, _Read]:
        """Further attempts after the first has failed; most requests need none of this."""
        failed: list[Failed] = [first]

        async def attempt() -> tuple[Any, _Read]:
            if failed:
                raise failed.pop()
            return await self._attempt(sent, read)

        waiting = self._patience
        retrying = stamina.AsyncRetryingCaller(
            attempts=None,
            timeout=None,
            wait_initial=waiting.pause,
            wait_max=waiting.longest_pause,
            wait_jitter=waiting.pause,
        )
        return await retrying(lambda error: self._pause(error, sent), attempt)

    def _pause(self, error: Exception, sent: _Sent) -> bool | float:
        """Whether to try again, and after how many seconds if the server says so."""
        if not isinstance(error, Failed) or not error.failure.again or stopping():
            return False
        if sent.counted >= self._patience.attempts or sent.seconds >= self._patience.total:
            return False
        wait = error.failure.wait
        pause = None if wait is None else min(wait, self._patience.longest_pause)
        when = "after a pause" if pause is None else f"in {pause:g} s, as the server asks"
        _LOG.info("%s; attempt %d failed, is sent again %s", error.failure.error, sent.tried, when)
        return True if pause is None else pause

    async def _attempt(self, sent: _Sent, read: Callable[[Any], _Read]) -> tuple[Any, _Read]:
        """One attempt, once the budget and the gate allow it, and what they learn from it."""
        budget, body = sent.budget, sent.body or {}
        aside = await budget.reserve(body) if budget else Aside()
        try:
            ticket = await self._gate.enter()
        except (ServerError, Interrupted, asyncio.CancelledError) as error:
            if budget:
                budget.cancel(body, aside)
            if isinstance(error, ServerError):
                raise Failed(wire.Failure(error, False)) from None
            raise
        outcome: Outcome | None = None
        usage: Mapping[str, Any] | None = {}
        began = asyncio.get_running_loop().time()
        try:
            sent.under_way = True
            try:
                answer, found = await self._once(sent, read)
            finally:
                sent.under_way = False
            outcome, usage = "answered", wire.usage_of(answer) if budget else None
            return answer, found
        except Failed as failed:
            outcome = self._learn(failed.failure, ticket, sent)
            refused = isinstance(failed.failure.error, wire.Refused)
            usage = failed.usage or (None if refused else {})
            wire.add_usage(self.unused, usage or {})
            raise
        finally:
            sent.seconds += asyncio.get_running_loop().time() - began
            self._gate.leave(ticket, outcome)
            if budget:
                budget.settle(body, aside, usage)
            if outcome in ("failed", "overloaded"):
                self._end_where_all_fails(sent)

    def _learn(self, failure: wire.Failure, ticket: Ticket, sent: _Sent) -> Outcome:
        """What a failed attempt tells of the server."""
        sent.last = failure
        sent.tried += 1
        # One of too many at once is none of its own, but where no second attempt is wanted.
        once = self._patience.attempts == 1
        sent.counted += ticket.alone or once or not failure.overloaded
        if failure.wait is not None:
            self._gate.hold(min(failure.wait, self._patience.longest_pause))
        if not failure.again:
            return "refused"
        return "overloaded" if failure.overloaded else "failed"

    def _end_where_all_fails(self, sent: _Sent) -> None:
        if sent.last is not None and (ended := self._gate.end(sent.last.error)) is not None:
            sent.last.error.args = ended.args
            sent.last.error.fatal = True
            sent.counted = self._patience.attempts

    async def _once(self, sent: _Sent, read: Callable[[Any], _Read]) -> tuple[Any, _Read]:
        self.requests += 1
        what = sent.what
        try:
            async with asyncio.timeout(self._patience.timeout):
                status, headers, text = await self._exchange(sent)
        except (TimeoutError, httpx2.TimeoutException) as error:
            message = (
                f"{what}: no answer within {self._patience.timeout:g} s; "
                "lower the concurrency, or raise the time-out"
            )
            failure = wire.Failure(ServerError(message), True, overloaded=True)
            raise Failed(failure) from error
        except Unreadable as error:
            raise Failed(unusable(what, str(error), self._secrets.hide(error.begins))) from error
        except (ModelError, MemoryError):
            raise
        # aiohttp and, for proxies, httpx2 let through errors of what is below them (TLS, SOCKS,
        # unpacking, names that are no host), which share no class; each concerns this request
        # alone, and one that is no error of transport is named with its class.
        except Exception as error:
            failed = what_failed(what, error, self._address, self._secrets)
            if isinstance(failed, InputError):
                raise failed from error
            raise Failed(wire.Failure(failed, not failed.fatal)) from error
        self._repeated = self._repeated or self._secrets.within(text)
        return judged(what, status, headers, text, read, self.hide)

    async def _exchange(self, sent: _Sent) -> tuple[int, Mapping[str, str], str]:
        """The status, the headers and the text of an answer."""
        body = None if sent.body is None else _JSON.encode(sent.body).encode()
        response = await self._open().exchange(sent.method, sent.url, body, sent.most)
        try:
            text = body_text(response, sent.most)
        except Unreadable as error:
            if 200 <= response.status < 300:
                raise
            text = error.begins
        return response.status, response.headers, text

    def _target(self, method: str, path: str, root: bool) -> tuple[str, httpx2.URL]:
        """What a request is called in messages, and where it goes."""
        shown = self._address.show(path, root=root)
        return f"{method} {shown}, model {self.model!r}", self._address.at(path, root=root)

    def _open(self) -> HttpClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop = loop
            self._client = open_client(self._address, self._headers, self._transport)
        return self._client

    def hide(self, text: str) -> str:
        """A text of the server's as it may be shown."""
        return self._secrets.hide(text)

    def hidden(self, answer: Any) -> Any:  # noqa: ANN401 (JSON)
        """An answer as it may be stored; few servers ever repeat a secret."""
        return self._secrets.hidden(answer) if self._repeated else answer


@dataclass(slots=True)
class _Sent:
    """One request through all its attempts: what is sent, and how often it was."""

    what: str
    method: str
    url: httpx2.URL
    body: Mapping[str, Any] | None
    most: int
    budget: Budget | None
    tried: int = 0
    counted: int = 0
    seconds: float = 0.0
    under_way: bool = False
    last: wire.Failure | None = None
