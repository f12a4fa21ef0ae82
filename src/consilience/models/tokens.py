"""A server's own tokenizer, and how label names begin by it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from consilience.errors import AnswerError, ServerError
from consilience.models.capabilities import TokenizerKind
from consilience.models.label_logprobs import FirstToken, Token, spellings
from consilience.models.server import Connection, Server
from consilience.prompts.framing import Prompt, Style

_KINDS: tuple[TokenizerKind, ...] = ("vllm", "llama-server", "llama-cpp-python")


class Tokenizer:
    """The tokenizer of one server; no text is sent to it twice.

    A `tail` is the end of a prompt. Its last line is enough: tokenisers do not look across the
    end of a line.
    """

    def __init__(self, server: Connection, kind: TokenizerKind) -> None:
        self.kind = kind
        self._server = server
        self._asked: dict[str, asyncio.Task[list[int]]] = {}
        self._begins: dict[tuple[str, str, str], FirstToken | None] = {}

    async def ids(self, text: str) -> list[int]:
        """The token ids of a text, after whatever the server puts before every text."""
        task = self._asked.get(text)
        if task is None:
            task = self._asked[text] = asyncio.ensure_future(self._ask(text))
            task.add_done_callback(lambda done: self._forget_failure(text, done))
        # One caller that gives up must not take the answer from the others.
        return await asyncio.shield(task)

    async def after(self, tail: str, text: str) -> list[int] | None:
        """The ids that `text` adds after `tail`; None if it changes the tail's own or adds none."""
        before, both = await asyncio.gather(self.ids(tail), self.ids(tail + text))
        n = len(before)
        return both[n:] if both[:n] == before and len(both) > n else None

    def known(
        self, names: Sequence[str], tail: str, gap: str
    ) -> tuple[FirstToken | None, ...] | None:
        """How the names begin, as `first_token` says; None where the server was not asked yet."""
        places = [(name, tail, gap) for name in names]
        if any(place not in self._begins for place in places):
            return None
        return tuple(self._begins[place] for place in places)

    async def first_token(self, name: str, tail: str, gap: str = " ") -> FirstToken | None:
        """How a name begins after a tail and a gap; None where it changes the tail's tokens."""
        place = (name, tail, gap)
        if place not in self._begins:
            self._begins[place] = await self._first_token(*place)
        return self._begins[place]

    async def _first_token(self, name: str, tail: str, gap: str) -> FirstToken | None:
        variants = {space + spelling for spelling in spellings(name) for space in (" ", "")}
        own, *others = await asyncio.gather(
            self.after(tail, gap + name), *(self.after(tail, v) for v in sorted(variants))
        )
        if own is None:
            return None
        whole = {ids[0] for ids in others if ids is not None and len(ids) == 1}
        return FirstToken(own[0], frozenset(whole | {own[0]}), whole=len(own) == 1)

    async def _ask(self, text: str) -> list[int]:
        path, body = _request(self.kind, self._server.model, text)
        _, ids = await self._server.call("POST", path, body, _read_ids, root=True)
        return ids

    def _forget_failure(self, text: str, task: asyncio.Task[list[int]]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._asked[text]


async def find_tokenizer(server: Server) -> Tokenizer | None:
    """The tokenizer of a server, if it offers one at an address that is known."""
    for kind in _KINDS:
        tokenizer = Tokenizer(server, kind)
        try:
            if await tokenizer.ids("one two"):
                return tokenizer
        except (ServerError, AnswerError):
            continue  # not this server's address, or not its dialect
    return None


def tail_of(prompt: Prompt, style: Style) -> tuple[str, str]:
    """The end of a prompt, and what stands between it and the label."""
    if style == "chat":
        return "\n", ""  # where an assistant's turn begins
    text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    return "\n" + text.rpartition("\n")[2], " "


def is_forced(drawn: Token, id: int, name: str) -> bool:
    """Whether the token that was drawn is the one that was forced, the beginning of a name."""
    if drawn.id is not None:
        return drawn.id == id
    text = drawn.text.removeprefix(" ")
    return bool(text) and name.startswith(text)


def _request(kind: TokenizerKind, model: str, text: str) -> tuple[str, dict[str, Any]]:
    if kind == "vllm":
        return "/tokenize", {"model": model, "prompt": text, "add_special_tokens": False}
    if kind == "llama-server":
        return "/tokenize", {"content": text}
    return "/extras/tokenize", {"model": model, "input": text}


def _read_ids(answer: object) -> list[int]:
    ids = answer.get("tokens") if isinstance(answer, dict) else None
    if not isinstance(ids, list) or not all(type(id) is int for id in ids):
        raise AnswerError("no list of token ids")
    return ids
