"""A model behind an OpenAI-compatible server: one next-token distribution per question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, Unpack

from consilience.errors import BudgetSpent, InputError, ModelError
from consilience.models import wire
from consilience.models.address import Address
from consilience.models.base import Answer, Completion, Request
from consilience.models.capabilities import Api, Capabilities
from consilience.models.label_logprobs import (
    FirstToken,
    LabelLogprobs,
    Token,
    check_names,
    next_tokens,
    read_labels,
    sampled_token,
)
from consilience.models.label_tree import continued, joined_logprobs, label_tree
from consilience.models.plausible import check_sum
from consilience.models.probe import probe
from consilience.models.prompt_lists import PromptLists
from consilience.models.server import Connection, Server, ServerOptions
from consilience.models.slots import SLOT, slots_of
from consilience.models.tokens import Tokenizer, is_forced, tail_of
from consilience.prompts.framing import Prompt, Style

_SLACK = 0.05
"""How far a forced token's value may stand above the bound it had, in nats (the cache rounds)."""


class OpenAIModel:
    """A model that answers over HTTP, asked in the way that its server's capabilities allow.

    A label that is not in the server's list is looked for as long as there is a way: by its
    token's id (vLLM), in a longer list, by forcing its token where the server then reports the
    raw value (that token's alone, without other spellings); else it is bounded.

    `extra_body` is merged into every request and is part of `settings`; a field set to None is
    left out of the request. `base_url` is the address where it has secrets that the capabilities
    leave out. `options` are those of `Server`: they change how answers are fetched and not what
    they are. The API key is read from the environment (CONSILIENCE_API_KEY, else the variable that
    belongs to the host) and is never shown or kept.
    """

    swappable = True

    def __init__(
        self,
        capabilities: Capabilities,
        *,
        base_url: str | None = None,
        k: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        if k is not None and not 1 <= k <= capabilities.k_max:
            raise InputError(f"k is 1 to {capabilities.k_max} on {capabilities.base_url}, got {k}")
        wire.check_extra(extra_body or {})
        self._extra = {**(capabilities.thinking_off or {}), **(extra_body or {})}
        self.capabilities = capabilities
        self.name, self.context = capabilities.model, capabilities.context
        self.style: Style = capabilities.style
        self._k = k or capabilities.k
        url = base_url or capabilities.base_url
        server = Server(url, capabilities.model, **options)
        self._hide, self._hidden = server.hide, server.hidden
        self.unused = server.unused
        # Of a list vLLM tells what a cache served of the last prompt alone: it would be lost.
        lists = capabilities.lists and not capabilities.cached_tokens
        self._server: Connection = PromptLists(server) if lists else server
        kind = capabilities.tokenizer
        self._tokenizer = Tokenizer(self._server, kind) if kind else None
        # The same for thousands of questions.
        self._settings = self._described()
        self._checked = lru_cache(maxsize=64)(self._check)

    def through(self, other: Callable[[Connection], Connection]) -> OpenAIModel:
        """The same model, asked through another connection, which is made of the present one."""
        made = copy(self)
        made._server = other(self._server)
        kind = self.capabilities.tokenizer
        made._tokenizer = Tokenizer(made._server, kind) if kind else None
        return made

    @property
    def settings(self) -> dict[str, Any]:
        """What changes the answers; the same options on the same server give the same settings."""
        return self._settings

    def _described(self) -> dict[str, Any]:
        found = self.capabilities
        ways = ["ids"] if found.label_ids else ["list"]
        if found.k_max > self._k:
            ways.append(f"list of {found.k_max}")
        if self._can_force:
            ways.append("forced")
        return {
            "api": found.api,
            "style": self.style,
            "temperature": 1,
            "top_p": 1,
            "k": self._k,
            "labels": ways,
            "extra": dict(self._extra),
        }

    def requests_for(self, names: Sequence[str]) -> int:
        """How many requests one answer with these label names takes, where each list has them."""
        return len(list(label_tree(tuple(names)).branches()))

    async def ask(self, request: Request) -> Answer:
        """The answer to one request; names that begin with the same words are asked word by word.

        InputError, before anything is spent, if tokens cannot tell the label names apart;
        ServerError, AnswerError or NoLogprobs if the server gave nothing that can be used.
        """
        tree = label_tree(request.label_names)
        steps = list(tree.branches())
        if self.style == "chat" and len(steps) > 1:
            raise InputError(
                f"{self._server.base_url} does not continue what a model began to say, so that "
                f"names that begin with the same word ({steps[1].said!r}) cannot be told apart; "
                "use the api completions, or a server with prefill, or with up to 26 classes the "
                "framing `letters`"
            )
        asked = []
        for step in steps:
            prompt = continued(request.prompt, step.said)
            first = await self._first_tokens(prompt, step.options)
            asked.append((step, prompt, first, self._checked(tuple(step.options), first)))
        branches: dict[str, LabelLogprobs] = {}
        raws: dict[str, Any] = {}
        spent: list[Any] = []
        for step, prompt, first, ids in asked:
            try:
                branches[step.said], raws[step.said] = await self._next(
                    prompt, step.options, first, ids, spent
                )
            except (ModelError, BudgetSpent) as error:
                if isinstance(error, ModelError):
                    error.body = error.body and self._hide(error.body)
                wire.add_usage(self.unused, wire.total_usage(spent))
                raise
        found = branches[""]
        if len(steps) > 1:
            found = joined_logprobs(tree, branches, len(request.label_names))
        raw = raws.pop("")
        more = {"branches": raws} if raws else {}
        return Answer(
            found.logprobs,
            found.exact,
            found.mass,
            usage=wire.total_usage(spent),
            raw=self._hidden(raw["first"] if len(spent) == 1 else raw | more),
        )

    async def _next(
        self,
        prompt: Prompt,
        names: Sequence[str],
        first: Sequence[FirstToken | None],
        ids: list[int] | None,
        spent: list[Any],
    ) -> tuple[LabelLogprobs, dict[str, Any]]:
        """The log-probabilities of what comes next in a prompt, and the responses to that.

        These stand in `spent` too, whatever comes of the later ones. Where the server refuses to
        say more of it than it did first, that has to do.
        """
        response, tokens = await self._send(prompt, self._k, spent, ids)
        found = read_labels(tokens, names, first, top=ids is None)
        raw: dict[str, Any] = {"first": response}
        with _unless_refused():
            if not all(found.exact) and self.capabilities.k_max > self._k:
                raw["longer"], tokens = await self._send(prompt, self.capabilities.k_max, spent)
                found = read_labels(tokens, names, first)
        with _unless_refused():
            if not all(found.exact) and self._can_force:
                found, raw["forced"] = await self._force(prompt, names, found, first, spent)
        return found, raw

    @property
    def writing(self) -> dict[str, Any]:
        """What changes the texts it writes."""
        return wire.writing_settings(self.capabilities, self._extra)

    async def write(self, prompt: Prompt, max_tokens: int) -> Completion:
        """What the model writes next; fails, and is sent again, as a question is."""
        path, body = wire.writing_for(self.capabilities, prompt, max_tokens, self._extra)
        response, text = await self._server.call("POST", path, body, wire.written_text)
        return Completion(text, usage=wire.total_usage([response]), raw=self._hidden(response))

    async def slots(self) -> int | None:
        """How many slots its server has for prompts, asked now; None where it has none."""
        return await slots_of(self._server, self.capabilities.tokenizer)

    async def close(self) -> None:
        """Closes the connections; the next question opens new ones."""
        await self._server.close()

    @property
    def _can_force(self) -> bool:
        return self._tokenizer is not None and self.capabilities.forced == "raw"

    async def _first_tokens(
        self, prompt: Prompt, names: Sequence[str]
    ) -> tuple[FirstToken | None, ...]:
        """How each label name begins after this prompt; None where the server cannot say."""
        if self._tokenizer is None:
            return (None,) * len(names)
        tail, gap = tail_of(prompt, self.style)
        if (known := self._tokenizer.known(names, tail, gap)) is not None:
            return known
        asked = (self._tokenizer.first_token(name, tail, gap) for name in names)
        return tuple(await asyncio.gather(*asked))

    def _check(
        self, names: tuple[str, ...], first: tuple[FirstToken | None, ...]
    ) -> list[int] | None:
        """The ids that are asked for by name, if any; InputError for names that are too alike."""
        check_names(names, first, self._server.base_url)
        return _wanted_ids(first) if self.capabilities.label_ids else None

    async def _force(
        self,
        prompt: Prompt,
        names: Sequence[str],
        found: LabelLogprobs,
        first: Sequence[FirstToken | None],
        spent: list[Any],
    ) -> tuple[LabelLogprobs, dict[str, Any]]:
        """`found` with the missing labels asked for by name, and the responses to that."""
        responses = {}
        for c, name in enumerate(names):
            known = first[c]
            if found.exact[c] or known is None:
                continue
            response, _ = await self._send(prompt, self._k, spent, more=wire.forced(known.id))
            responses[name] = response
            drawn = sampled_token(response)
            if drawn is None or not is_forced(drawn, known.id, name):
                continue
            # A value above the bound is not the raw one, whatever the probe found.
            if drawn.logprob <= found.logprobs[c] + _SLACK:
                found = found.with_exact(c, drawn.logprob)
        return found, responses

    async def _send(
        self,
        prompt: Prompt,
        k: int,
        spent: list[Any],
        ids: list[int] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> tuple[Any, list[Token]]:
        path, body = wire.request_for(self.capabilities, prompt, k, self._extra)
        body |= wire.by_ids(ids) if ids else {}
        if (slot := SLOT.get()) is not None:
            body["id_slot"] = slot

        def read(response: Any) -> list[Token]:  # noqa: ANN401 (JSON)
            tokens = next_tokens(response, self._server.base_url)
            if not more:
                check_sum(token.logprob for token in tokens)
            return tokens

        body |= more or {}
        response, tokens = await self._server.call("POST", path, body, read)
        spent.append(response)
        return response, tokens


@contextmanager
def _unless_refused() -> Iterator[None]:
    """What is inside is left out where the server refuses it: a list that is longer than it allows.

    What it refuses once it refuses again, while a failure that passes may be asked again.
    """
    try:
        yield
    except ModelError as error:
        if error.reason is None:
            raise


def _wanted_ids(first: Sequence[FirstToken | None]) -> list[int] | None:
    """The ids of all variants of all names; None if one of the names is not known."""
    if any(known is None for known in first):
        return None
    return sorted({id for known in first if known for id in known.ids})


async def open_openai(
    name: str,
    base_url: str,
    *,
    api: Literal["auto"] | Api = "auto",
    capabilities: Capabilities | None = None,
    k: int | None = None,
    extra_body: Mapping[str, Any] | None = None,
    **options: Unpack[ServerOptions],
) -> OpenAIModel:
    """The model `name` on a server, asked as `capabilities` say; the server is probed without.

    The model may be used in another event loop than the one it was opened in.
    """
    if capabilities is None:
        capabilities = await probe(base_url, name, api, extra_body=extra_body, **options)
    elif api not in ("auto", capabilities.api):
        raise InputError(
            f"api {api!r} is asked for, but the capabilities are those of "
            f"{capabilities.api!r}; probe again"
        )
    return OpenAIModel(
        replace(capabilities, base_url=Address.of(base_url).shown, model=name),
        base_url=base_url,
        k=k,
        extra_body=extra_body,
        **options,
    )
