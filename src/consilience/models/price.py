"""What tokens cost: of prompts, of what a prefix cache serves of them, and of answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from consilience.errors import InputError
from consilience.models.base import count_in


@dataclass(frozen=True, slots=True)
class Price:
    """Money per million tokens; what is not said of `cached` and `output` costs as `input` does.

    `currency` is what the money is called, or nothing.
    """

    input: float
    cached: float | None = None
    output: float | None = None
    currency: str = ""

    def __post_init__(self) -> None:
        for name in ("input", "cached", "output"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise InputError(f"a price is a number from 0, got {value} for {name}")

    def of(self, prompt: float, cached: float = 0, output: float = 0) -> float:
        """What `prompt` tokens cost, `cached` of them from a cache, and `output` tokens."""
        for_cached = self.input if self.cached is None else self.cached
        for_output = self.input if self.output is None else self.output
        return ((prompt - cached) * self.input + cached * for_cached + output * for_output) / 1e6

    @property
    def sentence(self) -> str:
        """The price in words: of each kind of token, for a million of them."""
        kinds = ((self.input, "prompts"), (self.cached, "cached ones"), (self.output, "answers"))
        said = ", ".join(f"{price:g} of {what}" for price, what in kinds if price is not None)
        return f"{said}; {self.currency + ' ' if self.currency else ''}for a million tokens"

    def charged(self, usage: Mapping[str, Any]) -> float:
        """What an answer with this usage cost."""
        return self.of(*tokens_in(usage))

    def called(self, money: float) -> str:
        """Money as a person reads it: enough digits to be more than nothing."""
        digits = f"{money:,.2f}" if money >= 0.1 or money == 0 else f"{money:.2g}"
        return f"{digits} {self.currency}".rstrip()


class TokenCounts(NamedTuple):
    """Tokens of a prompt, how many of them a cache served, and tokens of the answer."""

    prompt: int
    cached: int
    output: int


NO_TOKENS = TokenCounts(0, 0, 0)

_ROUNDED = 2
"""By so many tokens a total may be off that is a part of what a list of prompts took."""


def tokens_in(usage: Mapping[str, Any]) -> TokenCounts:
    """The tokens that a usage counts; 0 where it does not.

    What only the total has is thinking, which is charged as the answer is.
    """
    details = usage.get("prompt_tokens_details")
    cached = count_in(details, "cached_tokens") if isinstance(details, Mapping) else 0
    prompt, output = count_in(usage, "prompt_tokens"), count_in(usage, "completion_tokens")
    unnamed = count_in(usage, "total_tokens") - prompt - output
    return TokenCounts(prompt, min(cached, prompt), output + unnamed * (unnamed > _ROUNDED))


def unused_by(model: object) -> TokenCounts:
    """The tokens of those answers to a model's questions that could not be used, up to now."""
    return tokens_in(getattr(model, "unused", {}))
