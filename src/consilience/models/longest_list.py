"""The longest list of log-probabilities that an endpoint gives, found by asking for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from consilience.errors import AnswerError, NoLogprobs
from consilience.models.capabilities import Capabilities, Length
from consilience.models.label_logprobs import Token
from consilience.models.wire import ASK_AGAIN, Refused

STEPS = (200, 100, 20, 5)
"""The lengths of list that are tried, longest first."""

SHORTEST_LIST = STEPS[-1]
"""A list that is shorter may hold no second label, so that another endpoint's is preferred."""

USUAL_K = 20
"""The length of list that is recommended where the server allows it: longer ones cost bytes."""

WRONG_KEY = (401, 402)
PASSING = (*ASK_AGAIN, 502, 503, 504)
"""Statuses that say nothing of what the server can do, so that the probe ends with them."""

CUT = 0
"""The status of a request whose connection a server closed that answers others."""


Ask = Callable[[Capabilities, int, bool], Awaitable[tuple[dict[str, Any], list[Token]]]]
"""Asks for a list of so many, once or with patience: the response and its list."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one endpoint did: the longest list that it gave, or why it gave none.

    `alone` says that it gave the token that was drawn and no other.
    """

    note: str
    k_max: int = 0
    response: dict[str, Any] = field(default_factory=dict)
    tokens: Sequence[Token] = ()
    refusal: Refused | None = None
    count: bool = False
    length: Length = "max_tokens"
    alone: bool = False

    @property
    def cut(self) -> bool:
        """Whether it closed the connection whatever it was asked for."""
        return self.refusal is not None and self.refusal.status == CUT


async def longest_list(
    ask: Ask, found: Capabilities, steps: Sequence[int] = STEPS, *, careful: bool = False
) -> Endpoint:
    """The longest list that an endpoint gives.

    Some servers break where they are asked for more than they have: they fail (500) or close the
    connection. They are asked for the shortest list, and then for the usual one; so are those that
    are to be asked with care. Each is then tried once: a server that always breaks is told soon.
    """
    refusal: Refused | None = None
    once = False
    left = [SHORTEST_LIST] if careful else list(steps)
    while left:
        k = left.pop(0)
        try:
            given = _given(found, k, *await ask(found, k, once))
        except NoLogprobs:
            return Endpoint("answers without log-probabilities")
        except AnswerError as error:
            return Endpoint(f"an unusable answer: {error}")
        except Refused as error:
            if error.status in WRONG_KEY + PASSING:
                raise
            refusal = error
            if found.length == "max_tokens" and "max_completion_tokens" in (error.body or ""):
                found, left = replace(found, length="max_completion_tokens"), [k, *left]
            elif error.status in (CUT, 500) and k > SHORTEST_LIST:
                careful, once, left = True, True, [SHORTEST_LIST]
            elif error.status not in (400, 422):
                break
            continue
        if careful and given.k_max:
            with suppress(Refused, AnswerError, NoLogprobs):
                given = _given(found, USUAL_K, *await ask(found, USUAL_K, True))
        return given
    note = f"HTTP {refusal.status}" if refusal and refusal.status != CUT else "a cut connection"
    return Endpoint(note, refusal=refusal)


def _given(
    found: Capabilities, k: int, response: dict[str, Any], tokens: Sequence[Token]
) -> Endpoint:
    """What an answer to a question for a list of `k` shows of its endpoint."""
    shape = "entries" if response["choices"][0]["logprobs"].get("content") else "arrays"
    # A server that caps the list silently returns far fewer; one that keys it on strings loses a
    # few.
    given = sum(not token.sampled for token in tokens)
    if not given:
        return Endpoint("the log-probability of the drawn token alone", alone=True)
    k_max = k if 2 * given >= k else given
    return Endpoint(
        f"log-probabilities as {shape}, up to {k_max}",
        k_max,
        response,
        tokens,
        count=found.count_logprobs,
        length=found.length,
    )


async def longest_of_chat(ask: Ask, found: Capabilities, text: Endpoint) -> Endpoint:
    """The longest list of the chat endpoint, of a server whose other endpoint gave `text`.

    Asked for with a switch and a number, else with a number alone.
    """
    enough = text.k_max if text.k_max >= SHORTEST_LIST else STEPS[0]
    steps = [enough, *(k for k in STEPS if k < enough)]
    switched = await longest_list(ask, found, steps, careful=text.cut)
    refused = switched.refusal is not None and switched.refusal.status in (400, 422)
    if not (refused or switched.alone or switched.k_max == 1):
        return switched
    counted = await longest_list(ask, replace(found, count_logprobs=True), steps)
    return counted if counted.k_max > switched.k_max else switched


def nothing(server: str, model: str, text: Endpoint, chat: Endpoint) -> Exception:
    """The error for a server that gave no log-probabilities anywhere."""
    refusals = [end.refusal for end in (text, chat) if end.refusal]
    tried = sum(end.note != "not tried" for end in (text, chat))
    if len(refusals) == tried:
        # An endpoint that is not there says less than one that breaks.
        return next((one for one in refusals if one.status not in (404, 405)), refusals[-1])
    return NoLogprobs(
        f"{server}, model {model!r}: no log-probabilities "
        f"(/completions: {text.note}; /chat/completions: {chat.note}), and a label cannot be "
        "read without them; LM Studio and transformers serve have none: serve the model with "
        "vLLM, SGLang, llama-server or llama-cpp-python (--logits_all true); on OpenRouter "
        'name a provider that has them (extra_body {"provider": {"only": [...], '
        '"require_parameters": true}})'
    )
