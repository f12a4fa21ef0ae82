"""Answers that came with HTTP 200 and cannot be true, or that a content filter ended."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from consilience.errors import AnswerError

FILTER_ENDS = frozenset({"content_filter", "content-filter", "safety", "blocklist", "recitation"})
"""What stands in `finish_reason` where a filter ended an answer that came with HTTP 200."""

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


def check_filter(choice: Mapping[str, Any]) -> None:
    """AnswerError, with its reason, where a content filter ended a choice."""
    ends = [choice.get(name) for name in ("finish_reason", "native_finish_reason")]
    message = choice.get("message")
    declined = isinstance(message, Mapping) and bool(message.get("refusal"))
    if declined or any(isinstance(end, str) and end.lower() in FILTER_ENDS for end in ends):
        raise AnswerError("a content filter ended the answer", reason="filtered")
