"""The Batch format of OpenAI: questions as lines of a file, and the lines that answer them.

A line asks with {custom_id, method, url, body}; one answers with {id, custom_id, response:
{status_code, body}, error}. OpenAI's Batch API and those made like it read and write them, and so
does vLLM's `run-batch`. A model is asked through them as it is through HTTP, by the same code: what
would be sent becomes a line, and what a line answers is read as if it had been sent back.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from consilience.errors import AnswerError, InputError, ServerError
from consilience.models.address import SHORTEST, Address, Secrets, key_from_environment
from consilience.models.base import Answer, Model, Request
from consilience.models.judging import taken
from consilience.models.openai import OpenAIModel
from consilience.models.server import Connection
from consilience.models.tokens import Tokenizer, tail_of

_Read = TypeVar("_Read")

Tokenized = dict[str, Any]
"""What a server's tokenizer answered, by path and body."""


class Posted(NamedTuple):
    """A request that has to be sent: its path under the base URL, and its body."""

    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a line brought: the status and the body of a response, as text.

    `status` is 0 where there was no response; `text` then says why. `where` is the line, as an
    error names it.
    """

    status: int
    text: str
    where: str = ""


class BatchedModel:
    """A model on a server that is asked by lines of files.

    `tokenized` has what the server's tokenizer answered; only what is not in it is asked now.
    """

    def __init__(self, model: Model, tokenized: Mapping[str, Any] | None = None) -> None:
        if not isinstance(model, OpenAIModel):
            raise InputError(
                f"{model.name!r} is on no server that takes batches; name one (openai:NAME)"
            )
        self.tokenized: Tokenized = dict(tokenized or {})
        self._replies: deque[Reply] = deque()
        self._tokenizer: Tokenizer | None = None
        self.model = model.through(self._connected)
        key = key_from_environment(Address.of(model.capabilities.base_url).url)
        self._key = key if key and len(key) >= SHORTEST else None

    def _connected(self, live: Connection) -> Connection:
        self._lines = _Lines(live, self._replies, self.tokenized)
        return self._lines

    async def ask(self, request: Request, replies: Sequence[Reply] = ()) -> Answer | Posted:
        """The answer to a request, or what must be sent for it after these replies.

        ModelError where a reply cannot be used, as if the server had sent it. One request at a
        time.
        """
        self._replies.clear()
        self._replies.extend(replies)
        try:
            return await self.model.ask(request)
        except _Wanted as wanted:
            return wanted.posted

    async def label_token_ids(self, request: Request) -> list[list[int] | None]:
        """The ids that stand for each label after a prompt; None where nobody can say."""
        kind = self.model.capabilities.tokenizer
        if kind is None:
            return [None] * len(request.label_names)
        if self._tokenizer is None:
            self._tokenizer = Tokenizer(self._lines, kind)
        tail, gap = tail_of(request.prompt, self.model.style)
        found = [await self._tokenizer.first_token(n, tail, gap) for n in request.label_names]
        return [None if known is None else sorted(known.ids) for known in found]

    def line(self, custom_id: str, posted: Posted) -> bytes:
        """A line of a batch file; InputError where the API key stands in it."""
        made = {"custom_id": custom_id, "method": "POST", "url": f"/v1{posted.path}"}
        text = json.dumps(made | {"body": posted.body}, ensure_ascii=False, separators=(",", ":"))
        if self._key and self._key in text:
            raise InputError(
                "the API key stands in a text or in model.extra_body, so that a batch file would "
                "hold it; take it out there"
            )
        return text.encode("utf-8", "backslashreplace") + b"\n"


class _Wanted(Exception):
    """The replies are at an end, and this would be sent next."""

    def __init__(self, posted: Posted) -> None:
        super().__init__(posted.path)
        self.posted = posted


class _Lines:
    """The connection of a model that is asked by lines; a tokenizer is asked as it always is."""

    def __init__(self, live: Connection, replies: deque[Reply], tokenized: Tokenized) -> None:
        self.base_url, self.model = live.base_url, live.model
        self._live, self._replies, self._tokenized = live, replies, tokenized
        self._secrets = Secrets.of(key_from_environment(Address.of(live.base_url).url), ())

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], _Read],
        *,
        root: bool = False,
    ) -> tuple[Any, _Read]:
        if root:
            asked = json.dumps([path, body])
            if asked not in self._tokenized:
                found, made = await self._live.call(method, path, body, read, root=True)
                self._tokenized[asked] = found
                return found, made
            found = self._tokenized[asked]
            return found, read(found)
        if not self._replies:
            raise _Wanted(Posted(path, body or {}))
        reply = self._replies.popleft()
        what = f"{reply.where}: {method} {path}, model {self.model!r}"
        if not reply.status:
            raise ServerError(f"{what}: {reply.text}; it is asked again", body=reply.text)
        found, made = taken(what, reply.status, reply.text, read, self._secrets.hide)
        return (self._secrets.hidden(found) if self._secrets.within(reply.text) else found), made

    async def close(self) -> None:
        await self._live.close()


def read_reply(line: bytes, where: str) -> tuple[str, Reply]:
    """The custom id of a line that answers, and its reply; AnswerError where it is no such line."""
    try:
        said = json.loads(line)
        custom_id, response, error = said["custom_id"], said.get("response"), said.get("error")
        if not isinstance(custom_id, str):
            raise TypeError("a custom id is a text")
        if response is None:
            text = "no response" if error is None else json.dumps(error, ensure_ascii=False)
            return custom_id, Reply(0, text, where)
        status = response["status_code"]
        if type(status) is not int or not 100 <= status < 600:
            raise TypeError("a status is a number of HTTP")
        body = response.get("body")
        # vLLM puts what it says of a refusal beside the response, and not into it.
        text = json.dumps(error if body is None else body, ensure_ascii=False)
        return custom_id, Reply(status, text, where)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise AnswerError(f"{where} is no line of answers to a batch") from error
