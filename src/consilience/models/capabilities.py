"""What a server can do for this package, as `probe` finds it, kept as plain data and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from consilience.errors import InputError
from consilience.prompts.framing import Style

Api = Literal["completions", "chat"]
TokenizerKind = Literal["vllm", "llama-server", "llama-cpp-python"]
Prefill = Literal["flag", "trailing"]
Forced = Literal["raw", "biased", "ignored"]
Length = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How to ask one model on one server, and what was found on the way there.

    `api`, `style` and `k` are what is recommended; `k_max` is the longest list that the server
    returns. `prefill` says how an assistant's last message gets continued: by the flag
    `continue_final_message`, or whenever it is `trailing`. `label_ids` says that the server
    returns the log-probabilities of named tokens; `forced`, whether a token forced by
    `logit_bias` is reported with its raw value; `boundary`, whether a label leaves the prompt's
    tokens as they were. `completions` and `chat` say in what shape each endpoint answered, or why
    it did not. `length` is the field that the server takes for the length of an answer. `mass` is
    the probability of the labels of the probe's own question, and `thinking_off` the fields of a
    request without which the model would think before it answers. `context` is how many tokens it
    reads at most, where the server tells. `repeat_difference` is the
    largest change of a value when the same prompt was sent twice, in nats. `calls` and
    `prompt_tokens` are what the probe spent. `lists` says that each prompt of a list in one request
    gets the answer that it gets alone.
    """

    base_url: str
    model: str
    api: Api
    style: Style
    k: int
    k_max: int
    completions: str = "not tried"
    chat: str = "not tried"
    listed: bool | None = None
    count_logprobs: bool = False
    prefill: Prefill | None = None
    tokenizer: TokenizerKind | None = None
    boundary: bool | None = None
    label_ids: bool = False
    forced: Forced | None = None
    repeat_difference: float | None = None
    cached_tokens: bool = False
    lists: bool = False
    length: Length = "max_tokens"
    mass: float | None = None
    thinking_off: Mapping[str, Any] | None = None
    context: int | None = None
    calls: int = 0
    prompt_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        """The capabilities as plain data, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Capabilities:
        """The capabilities that `to_json` wrote."""
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"not capabilities: unknown fields {sorted(unknown)}; probe again")
        return cls(**data)


_LISTED = {
    True: "yes",
    False: "no (it answered all the same)",
    None: "the server has no list, or it may not be read",
}
_PREFILL = {
    "flag": "continued with continue_final_message",
    "trailing": "a last message of the assistant is continued",
    None: "not found",
}
_BOUNDARY = {
    True: "labels leave the prompt's tokens as they were",
    False: "labels change the prompt's tokens",
    None: "not known without the server's tokenizer",
}
_FORCED = {
    "raw": "reported with their raw log-probability",
    "biased": "reported with a biased value: not used",
    "ignored": "logit_bias does nothing",
    None: "not tried without token ids",
}


def capability_rows(found: Capabilities) -> list[tuple[str, str]]:
    """The capabilities as a table of two columns: what was looked at, what was found."""
    difference = found.repeat_difference
    return [
        ("server", found.base_url),
        ("model", found.model),
        ("in the model list", _LISTED[found.listed]),
        ("/completions", found.completions),
        ("/chat/completions", found.chat),
        ("recommended", f"api {found.api}, style {found.style}, k {found.k}"),
        ("longest list", str(found.k_max)),
        ("label mass", "not looked at" if found.mass is None else f"{found.mass:.2g}"),
        ("thinking", _thinking(found)),
        ("tokens read at most", "not told" if found.context is None else f"{found.context:,}"),
        ("assistant prefill", _PREFILL[found.prefill]),
        ("tokenizer", found.tokenizer or "not found"),
        ("token boundary", _BOUNDARY[found.boundary]),
        ("named tokens", "logprob_token_ids works" if found.label_ids else "not supported"),
        ("forced tokens", _FORCED[found.forced]),
        ("labels outside the list", _ladder(found)),
        ("same prompt twice", "?" if difference is None else f"differs by {difference:.2g} nats"),
        ("cached tokens", "reported" if found.cached_tokens else "not reported"),
        ("lists of prompts", _lists(found)),
        ("the probe spent", f"{found.calls} calls, {found.prompt_tokens} prompt tokens"),
    ]


def _thinking(found: Capabilities) -> str:
    if found.thinking_off is None:
        return "none seen"
    return f"switched off with {json.dumps(dict(found.thinking_off))}"


def _lists(found: Capabilities) -> str:
    if found.lists and found.cached_tokens:
        return "each is answered; not used, for cached tokens are told of one alone"
    return "each is answered" if found.lists else "not used"


def _ladder(found: Capabilities) -> str:
    if found.label_ids:
        return "exact in one request"
    steps = []
    if found.k_max > found.k:
        steps.append(f"asked again with k {found.k_max}")
    if found.tokenizer and found.forced == "raw":
        steps.append("forced, one request each")
    return ", then ".join([*steps, "bounded"])
