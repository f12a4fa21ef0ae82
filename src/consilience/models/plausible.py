"""Answers that came with HTTP 200 and cannot be true, or that something else ended too early."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from consilience.errors import AnswerError

FILTER_ENDS = frozenset(
    {
        *("content_filter", "content-filter", "safety", "blocklist", "recitation", "sensitive"),
        *("prohibited_content", "spii"),
    }
)
"""What stands in `finish_reason` where a filter ended an answer that came with HTTP 200."""

BROKEN_ENDS = frozenset({"error", "network_error", "insufficient_system_resource"})
"""What stands there where the server failed in the middle of it, and may not at the next attempt:
OpenRouter, Z.ai, DeepSeek."""

EXCESS = 0.02
"""By how much listed probabilities may sum to more than 1: log-probabilities of 16-bit floats."""


def check_sum(logprobs: Iterable[float]) -> None:
    """AnswerError where the log-probabilities of a list cannot be those of one draw.

    Not for an answer in which a token was forced: some servers report that one as certain.
    """
    total = math.fsum(math.exp(value) for value in logprobs)
    if total > 1 + EXCESS:
        raise AnswerError(f"the listed probabilities sum to {total:.3f}, which is more than 1")


def check_order(choice: Mapping[str, Any]) -> None:
    """AnswerError where the first of the choices that came back is another's."""
    if choice.get("index") not in (None, 0):
        raise AnswerError(f"the first choice is number {choice['index']!r} and not 0")


def check_end(choice: Mapping[str, Any]) -> None:
    """AnswerError where a content filter (with this reason) or a fault ended a choice."""
    named = [choice.get(name) for name in ("finish_reason", "native_finish_reason")]
    ends = {end.lower() for end in named if isinstance(end, str)}
    message = choice.get("message")
    declined = isinstance(message, Mapping) and bool(message.get("refusal"))
    if declined or ends & FILTER_ENDS:
        raise AnswerError("a content filter ended the answer", reason="filtered")
    if ends & BROKEN_ENDS or isinstance(choice.get("error"), Mapping):
        raise AnswerError("the server failed in the middle of the answer")
