"""What a server can do, found by asking it a dozen small questions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Unpack

import httpx2

from consilience.data.task import Task
from consilience.errors import AnswerError, InputError, NoLogprobs, ServerError
from consilience.models.base import count_in
from consilience.models.capabilities import (
    Api,
    Capabilities,
    Forced,
    Prefill,
    capability_rows,
)
from consilience.models.context_length import context_listed, context_of_slot
from consilience.models.label_logprobs import Token, next_tokens, sampled_token
from consilience.models.listing import read_models
from consilience.models.longest_list import (
    CUT,
    SHORTEST_LIST,
    USUAL_K,
    Endpoint,
    longest_list,
    longest_of_chat,
    nothing,
)
from consilience.models.plausible import check_sum
from consilience.models.prompt_lists import each_alone
from consilience.models.same_values import TOLERANCE, largest_difference
from consilience.models.server import RetryPolicy, Server, ServerOptions
from consilience.models.thinking import ANSWERS, SWITCHES, label_mass, still_thinking, thinking
from consilience.models.tokens import Tokenizer, find_tokenizer, is_forced, tail_of
from consilience.models.wire import (
    Refused,
    by_ids,
    check_extra,
    forced,
    request_for,
    usage_of,
)
from consilience.prompts.framing import Prompt, framings, render

__all__ = ["Capabilities", "capability_rows", "probe"]

LISTING = 15.0
"""Seconds that the list of models may take; nothing depends on it."""

FRAMING = framings(Task())[0]
SHOTS = [("Snow is warmer than fire.", 0), ("Paris is the capital of France.", 1)]
TARGET = "A week has seven days."


async def probe(
    base_url: str,
    model: str,
    api: Literal["auto"] | Api = "auto",
    *,
    extra_body: Mapping[str, Any] | None = None,
    **options: Unpack[ServerOptions],
) -> Capabilities:
    """What one model on one server can do, and how it is best asked.

    Prefers /completions, where a model sees plain text, to /chat/completions, if it returns
    log-probabilities. Thinking is switched off where it can be. Raises NoLogprobs if nothing has
    log-probabilities, ServerError if the server does not answer or knows no such model, and
    ModelError, with the label mass that was seen, if the model thinks before it answers.
    """
    extra = dict(extra_body or {})
    check_extra(extra)
    if api not in ("auto", "completions", "chat"):
        raise InputError(f"the api is auto, completions or chat, got {api!r}")
    waiting = options.get("patience") or RetryPolicy(attempts=3, total=180, pause=0.25)
    # The list is asked for once, and what that teaches of the server makes no question wait.
    once: ServerOptions = {**options, "patience": replace(waiting, attempts=1)}
    options["patience"] = waiting
    server, listing = (Server(base_url, model, **each) for each in (options, once))
    try:
        return await _Probe(server, listing, extra).run(api)
    finally:
        await server.close()
        await listing.close()


class _Probe:
    """One run of the checks; every question goes through `_ask`, which adds up what it cost."""

    def __init__(self, server: Server, listing: Server, extra: dict[str, Any]) -> None:
        self._server, self._listing = server, listing
        self._extra = extra
        self._prompt_tokens = 0
        self._there = False

    async def run(self, api: Literal["auto"] | Api) -> Capabilities:
        listed, context = await self._listed()
        found = Capabilities(
            *(self._server.base_url, self._server.model, "completions", "text", 1, 1),
            listed=listed,
            context=context,
        )
        text, chat = Endpoint("not tried"), Endpoint("not tried")
        if api != "chat":
            text = await longest_list(self._list, found)
        if api != "completions":
            chat_found = replace(found, api="chat", style="chat")
            chat = await longest_of_chat(self._list, chat_found, text)
        if not text.k_max and not chat.k_max:
            raise nothing(self._server.base_url, self._server.model, text, chat)
        best = text if text.k_max >= min(SHORTEST_LIST, chat.k_max) else chat
        found = replace(
            found,
            k=min(USUAL_K, best.k_max),
            k_max=best.k_max,
            completions=text.note,
            chat=chat.note,
            count_logprobs=chat.count,
            length=best.length,
        )
        if chat.k_max:
            chat_found = replace(found, api="chat", style="chat", length=chat.length)
            found = replace(found, prefill=await self._prefill(chat_found, chat))
        if best is chat:
            found = replace(found, api="chat", style="chat-prefill" if found.prefill else "chat")
        response, tokens = best.response, best.tokens
        if found.style == "chat-prefill":
            prompt = render(FRAMING, TARGET, SHOTS, found.style)
            response, tokens = await self._ask(found, prompt, found.k_max)
        found, tokens = await self._without_thinking(found, response, tokens)
        found = await self._values(found, tokens)
        calls = self._server.requests + self._listing.requests
        return replace(found, calls=calls, prompt_tokens=self._prompt_tokens)

    async def _listed(self) -> tuple[bool | None, int | None]:
        """Whether the server lists the model, and how many tokens that reads.

        None if it has no list, or one that may not be read. Many keys may ask a model and not list
        them; what is wrong for both is told by the model.
        """
        try:
            async with asyncio.timeout(LISTING):
                answer, ids = await self._listing.call("GET", "/models", None, read_models)
        except (TimeoutError, ServerError, AnswerError) as error:
            self._there = isinstance(error, Refused | AnswerError)
            return None, None
        self._there = True
        return self._server.model in ids, context_listed(answer, self._server.model)

    async def _ask(
        self,
        found: Capabilities,
        prompt: Prompt,
        k: int,
        more: Mapping[str, Any] | None = None,
        *,
        once: bool = False,
    ) -> tuple[dict[str, Any], list[Token]]:
        """The answer to a question, which fails for good `once` or with patience, and its list.

        Refused also where a server that is there closes the connection.
        """
        extra = {**(found.thinking_off or {}), **self._extra}
        path, body = request_for(found, prompt, k, extra)

        def read(response: object) -> list[Token]:
            self._prompt_tokens += count_in(usage_of(response), "prompt_tokens")
            tokens = next_tokens(response, self._server.base_url)
            if not more:
                check_sum(token.logprob for token in tokens)
            return tokens

        server = self._listing if once else self._server
        try:
            return await server.call("POST", path, body | dict(more or {}), read)
        except ServerError as error:
            late = isinstance(error.__cause__, TimeoutError | httpx2.TimeoutException)
            if isinstance(error, Refused) or error.fatal or late or not self._there:
                raise
            raise Refused(str(error), CUT, body="", fatal=False) from error

    async def _list(
        self, found: Capabilities, k: int, once: bool
    ) -> tuple[dict[str, Any], list[Token]]:
        return await self._ask(found, render(FRAMING, TARGET, SHOTS, found.style), k, once=once)

    async def _prefill(self, found: Capabilities, chat: Endpoint) -> Prefill | None:
        """How an assistant's last message gets continued, told by the length of the prompt.

        One more letter in a turn that stays open is one more token; a turn that is closed and
        followed by a new one is at least two more.
        """
        messages = render(FRAMING, TARGET, SHOTS, "chat")
        opened = [*messages, {"role": "assistant", "content": "A"}]
        modes: tuple[Prefill, ...] = ("trailing", "flag")
        before = _prompt_tokens(chat.response)
        for mode in modes:
            tried = replace(found, style="chat-prefill", prefill=mode)
            try:
                response, _ = await self._ask(tried, opened, 1)
            except (Refused, AnswerError):
                continue
            after = _prompt_tokens(response)
            if before is not None and after == before + 1:
                return mode
        return None

    async def _without_thinking(
        self, found: Capabilities, response: dict[str, Any], tokens: Sequence[Token]
    ) -> tuple[Capabilities, Sequence[Token]]:
        """The capabilities with the label mass, and with thinking switched off where there is any.

        ModelError where it cannot be: what the model then says first is no answer.
        """
        names = FRAMING.label_names
        mass = label_mass(tokens, names)
        opening = thinking(response, tokens)
        if opening is None:
            return replace(found, mass=mass), tokens
        prompt = render(FRAMING, TARGET, SHOTS, found.style)
        for switch in SWITCHES:
            if set(switch) & set(self._extra):
                continue
            off = replace(found, thinking_off=switch)
            try:
                response, again = await self._ask(off, prompt, found.k_max)
            except (Refused, AnswerError, NoLogprobs):
                continue
            seen = label_mass(again, names)
            if thinking(response, again) is None and seen >= ANSWERS:
                return replace(off, mass=seen), again
            mass = max(mass, seen)
        raise still_thinking(
            f"{self._server.base_url}, model {found.model!r}", opening, mass, names
        )

    async def _values(self, found: Capabilities, once: Sequence[Token]) -> Capabilities:
        """What the values are worth: repeated, asked for by id, forced."""
        prompt = render(FRAMING, TARGET, SHOTS, found.style)
        response, tokens = await self._ask(found, prompt, found.k_max)
        details = usage_of(response).get("prompt_tokens_details")
        details = details if isinstance(details, dict) else {}
        found = replace(
            found,
            repeat_difference=largest_difference(once, tokens),
            cached_tokens=isinstance(details.get("cached_tokens"), int),
        )
        tokenizer = await find_tokenizer(self._server)
        tail, gap = tail_of(prompt, found.style)
        if tokenizer is not None:
            kept = [await tokenizer.after(tail, gap + n) for n in FRAMING.label_names]
            found = replace(found, tokenizer=tokenizer.kind, boundary=None not in kept)
            if tokenizer.kind == "llama-server":
                found = replace(found, context=await context_of_slot(self._listing))
        if found.style == "text" and found.tokenizer != "llama-server":
            found = replace(found, lists=await self._lists(found, prompt, tokens))
        known = await _known(tokens, tokenizer, tail)
        if not known:
            return found
        by_id = await self._by_id(found, prompt, known)
        return replace(found, label_ids=by_id, forced=await self._forced(found, prompt, known))

    async def _lists(self, found: Capabilities, prompt: Prompt, alone: Sequence[Token]) -> bool:
        """Whether the second of two prompts in a list gets the answer that it got `alone`.

        A server with slots is not asked: there a list takes as long as its prompts one by one.
        """
        prompts = [str(render(FRAMING, SHOTS[0][0], SHOTS, found.style)), str(prompt)]
        path, body = request_for(found, "", found.k_max, self._extra)

        def read(response: object) -> list[list[Token]]:
            self._prompt_tokens += count_in(usage_of(response), "prompt_tokens")
            each = each_alone(response, prompts) or []
            return [next_tokens(one, self._server.base_url) for one in each]

        try:
            # Once: a server that fails at a list is not in trouble.
            _, lists = await self._listing.call("POST", path, body | {"prompt": prompts}, read)
        except (ServerError, AnswerError, NoLogprobs):
            return False
        if len(lists) < 2:
            return False
        first, second = (largest_difference(alone, tokens) for tokens in lists)
        return second is not None and second <= TOLERANCE and first != second

    async def _by_id(self, found: Capabilities, prompt: Prompt, known: Mapping[int, Token]) -> bool:
        """Whether the server returns named tokens, with the values that the list gave them."""
        try:
            # k is 1, so that a server that ignores the ids cannot have them in its list by chance.
            _, tokens = await self._ask(found, prompt, 1, by_ids(list(known)))
        except (Refused, AnswerError):
            return False
        values = {token.id: token.logprob for token in tokens}
        agree = [abs(values.get(id, 0.0) - t.logprob) <= TOLERANCE for id, t in known.items()]
        # A list keyed on strings may hold another token's value, so most of them is enough.
        return set(known) <= set(values) and 2 * sum(agree) > len(agree)

    async def _forced(
        self, found: Capabilities, prompt: Prompt, known: Mapping[int, Token]
    ) -> Forced:
        """What the server says of a token that it was made to sample."""
        id, listed = next(iter(known.items()))
        try:
            response, _ = await self._ask(found, prompt, found.k, forced(id))
        except (Refused, AnswerError):
            return "ignored"
        drawn = sampled_token(response)
        if drawn is None or not is_forced(drawn, id, listed.text.removeprefix(" ")):
            return "ignored"
        return "raw" if abs(drawn.logprob - listed.logprob) <= TOLERANCE else "biased"


async def _known(
    tokens: Sequence[Token], tokenizer: Tokenizer | None, tail: str
) -> dict[int, Token]:
    """Up to three listed words by token id, the least probable first."""
    words = [t for t in tokens if not t.sampled and re.fullmatch(r" ?[A-Za-z]{2,}", t.text)]
    known: dict[int, Token] = {}
    for token in sorted(words, key=lambda t: t.logprob)[:6]:
        id = token.id
        if id is None and tokenizer is not None:
            added = await tokenizer.after(tail, token.text)
            id = added[0] if added and len(added) == 1 else None
        if id is not None and token.logprob < -1:
            known[id] = token
        if len(known) == 3:
            break
    return known


def _prompt_tokens(response: Mapping[str, Any]) -> int | None:
    return count_in(usage_of(response), "prompt_tokens") or None
