"""Several prompts in one request, where a server takes a list of them and answers each.

A question costs a server, and whoever asks, an exchange over HTTP beside its tokens. Those that
wait at the same time and differ in nothing but the prompt go out together; each gets a response of
its own, as if it had been sent alone. What a list cannot bring, a request alone is asked for: a
prompt that the server refuses must not take others with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from consilience.errors import AnswerError, BudgetSpent, ConsilienceError, ModelError
from consilience.models.plausible import check_end
from consilience.models.server import Server
from consilience.models.wire import add_usage, usage_of

_Read = TypeVar("_Read")
_Response = dict[str, Any]

_LOG = logging.getLogger(__name__)

LONGEST = 32
"""At most so many prompts are in a list: a failure costs all that are."""

FIRST = 4
"""Nor more than so many before lists are known to be answered quickly."""

QUICK, SLOW = 1.0, 10.0
"""Lists grow where one is answered within so many seconds, and shrink where it takes so many, or
fails: a slow server gains nothing by them, and a time-out costs a whole list."""

UNDER_WAY = 2
"""Questions are spread over so many lists at least: while one is read, a server has the others."""

LINGER = 0.002
"""Seconds that a question waits for others to go with; they come together, as answers do."""


class _Question(NamedTuple):
    path: str
    body: Mapping[str, Any]
    response: asyncio.Future[_Response | None]


class PromptLists:
    """A connection through which questions that wait together are one request.

    Whoever asks one question at a time, and whatever is no question, goes straight through. What a
    list took that is of no use counts as what a request alone took: in `unused` of the server.
    """

    def __init__(self, inner: Server) -> None:
        self._inner = inner
        self.base_url, self.model = inner.base_url, inner.model
        self._taken = True
        self._paused = False
        self._proven = False
        self._longest = FIRST
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """All that belongs to one event loop."""
        self._loop = loop
        self._open = self._width = 0
        self._trial = False
        self._waiting: dict[str, list[_Question]] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Closes the connection beneath."""
        await self._inner.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], _Read],
        *,
        root: bool = False,
    ) -> tuple[Any, _Read]:
        """The JSON that a request brought, and what `read` makes of it; see `Connection`."""
        single = body is not None and "logprobs" in body and isinstance(body.get("prompt"), str)
        if body is None or not single or not self._taken:
            return await self._inner.call(method, path, body, read, root=root)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._begin(loop)
        self._open += 1
        self._width = max(self._width, self._open)
        try:
            if (response := await self._in_a_list(path, body)) is not None:
                try:
                    return response, read(response)
                except AnswerError as error:
                    add_usage(self._inner.unused, usage_of(response))
                    if error.reason is not None:  # it would be refused again
                        raise
                    _LOG.info("%s; it is asked for alone", error)
            answered = await self._inner.call(method, path, body, read, root=root)
            self._paused = False
            return answered
        finally:
            self._open -= 1

    async def _in_a_list(self, path: str, body: Mapping[str, Any]) -> _Response | None:
        """The response to one of the prompts that were sent together; None: to be asked alone."""
        if self._paused or self._trial:
            return None
        loop = asyncio.get_running_loop()
        # Its text, for the key of a dictionary: a tenth of the time that JSON takes.
        rest = f"{path} { {**body, 'prompt': ''} }"
        alike = self._waiting.setdefault(rest, [])
        alike.append(_Question(path, body, loop.create_future()))
        # Of as many as are asked at the same time: when all were answered, none is under way.
        if len(alike) >= min(self._longest, -(-self._width // UNDER_WAY)):
            self._send(rest)
        elif len(alike) == 1:
            loop.call_later(LINGER, self._send_late, alike, rest)
        return await alike[-1].response

    def _send_late(self, alike: list[_Question], rest: str) -> None:
        """Sends those that have waited long enough; so many others are not asked any more."""
        if self._waiting.get(rest) is alike:
            self._width = self._open
            self._send(rest)

    def _send(self, rest: str) -> None:
        """Sends those that wait with this rest of a body; one that is alone goes its own way."""
        together = self._waiting.pop(rest, [])
        if len(together) == 1 or self._trial or not self._taken:
            for question in together:
                _tell(question.response, None)
        elif together:
            # Until one was answered there is one list at a time: it costs a request at most.
            self._trial = not self._proven
            task = asyncio.get_running_loop().create_task(self._ask(together))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _ask(self, together: list[_Question]) -> None:
        """One request for several questions, and each its response, or leave to go alone."""
        prompts = [question.body["prompt"] for question in together]
        listed = {**together[0].body, "prompt": prompts}
        try:
            responses = await self._responses(together[0].path, listed)
            for at, question in enumerate(together):
                _tell(question.response, responses[at] if responses else None)
        except ConsilienceError as error:
            for question in together:
                if not question.response.done():
                    question.response.set_exception(error)
        finally:
            self._trial = False
            for question in together:  # nobody may wait for what will not come
                question.response.cancel()

    async def _responses(self, path: str, listed: _Response) -> list[_Response] | None:
        """The responses to a list; None where each is to be asked for alone.

        What stops each of its prompts too is raised.
        """
        prompts: list[str] = listed["prompt"]
        began = asyncio.get_running_loop().time()

        def taken_apart(response: Any) -> list[_Response] | None:  # noqa: ANN401 (JSON)
            each = each_alone(response, prompts)
            if each is None:
                for choice in _choices(response):
                    check_end(choice)  # one prompt may have stopped all
                if not _choices(response):  # as any broken answer: the server may be in trouble
                    raise AnswerError(f"it does not answer each of {len(prompts)} prompts")
            return each

        try:
            whole, responses = await self._inner.call("POST", path, listed, taken_apart)
        except ConsilienceError as error:
            if ends_all(error):
                raise
            self._learn(SLOW)
            self._paused = True  # until one that is alone is answered: all may be refused
            if isinstance(error, AnswerError) and error.reason is None:
                self._give_up(str(error))
            return None
        if responses is None:  # it was paid for, and the next would be too
            add_usage(self._inner.unused, usage_of(whole))
            self._give_up(f"{self.base_url}{path}: no answer to each of {len(prompts)} prompts")
            return None
        self._proven = True
        self._learn(asyncio.get_running_loop().time() - began)
        return responses

    def _give_up(self, why: str) -> None:
        """No list is sent any more."""
        self._taken = False
        _LOG.warning("%s; prompts are sent one by one from now on", why)

    def _learn(self, seconds: float) -> None:
        """How long lists may be, after one that took so long."""
        if seconds <= QUICK:
            self._longest = min(2 * self._longest, LONGEST)
        elif seconds >= SLOW:
            self._longest = max(self._longest // 2, 1)


def ends_all(error: ConsilienceError) -> bool:
    """Whether what stopped a list stops each of its prompts too, so that none need be sent."""
    if isinstance(error, ModelError):
        return error.fatal and not error.doubtful
    return not isinstance(error, BudgetSpent)


def _tell(waiting: asyncio.Future[_Response | None], response: _Response | None) -> None:
    if not waiting.done():
        waiting.set_result(response)


def each_alone(response: Any, prompts: Sequence[str]) -> list[_Response] | None:  # noqa: ANN401
    """The response (JSON) to a list of prompts as one for each of them; None where it is none.

    Each has its own choice, and of the usage as much of the whole as its prompt is of all.
    """
    choices = _choices(response)
    by_index = {c["index"]: c for c in choices if type(c.get("index")) is int}
    if len(choices) != len(prompts) or by_index.keys() != {*range(len(prompts))}:
        return None
    ends = [*accumulate(map(len, prompts), initial=0)]
    usage, whole = usage_of(response), max(ends[-1], 1)
    return [
        {
            **response,
            "choices": [{**by_index[at], "index": 0}],
            "of_a_list": [at, len(prompts)],
            "usage": _part(usage, ends[at] / whole, ends[at + 1] / whole),
        }
        for at in range(len(prompts))
    ]


def _choices(response: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401 (JSON)
    """The choices of a response that are objects."""
    found = response.get("choices") if isinstance(response, Mapping) else None
    return [c for c in found if isinstance(c, Mapping)] if isinstance(found, list) else []


def _part(usage: Mapping[str, Any], begin: float, end: float) -> dict[str, Any]:
    """What lies between two shares of all; whole numbers stay whole and add up to the whole."""
    return {
        name: _part(value, begin, end)
        if isinstance(value, Mapping)
        else round(value * end) - round(value * begin)
        if isinstance(value, int)
        else value * (end - begin)
        for name, value in usage.items()
    }
