"""What may be spent on a server: requests, tokens, money, counted exactly at any concurrency."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from consilience.errors import BudgetSpent, InputError
from consilience.models.price import Price, tokens_in

WARM_UP = 8
"""So many answers tell how many tokens a server charges for a byte."""

MARGIN = 1.2
"""By how much a prompt may cost more than the dearest one so far."""

_WORDS = b"abcdefghijklmnopqrstuvwxyz "
"""What is rated as it was seen; of figures, signs and other letters each byte may be a token."""

TEMPLATE = 64
"""Tokens that a chat template, or a mark at the beginning, may add to a prompt."""


class Aside(NamedTuple):
    """What is set aside for a request under way: the most tokens and money that it can cost."""

    tokens: int = 0
    money: float = 0.0


class Budget:
    """At most so many requests, tokens and so much money for one command; None is no limit.

    Every request counts that is sent to the model, a probe's and a second attempt's too; a list of
    prompts counts as its prompts. Tokens are prompt and completion as the server charges them;
    money is what they cost by the `price`,
    which `max_cost` needs. Before it is sent a request sets aside what it can cost at most, so
    that the limit is kept whatever is under way; near the end requests therefore wait for each
    other. A server that tells of no tokens is taken to charge what was set aside.
    """

    def __init__(
        self,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        price: Price | None = None,
    ) -> None:
        for what, most in (("calls", max_calls), ("tokens", max_tokens)):
            if most is not None and most < 1:
                raise InputError(f"a budget of {what} is at least 1, got {most}")
        if max_cost is not None and (price is None or not max_cost > 0):
            raise InputError("a budget of money is above 0 and needs a price")
        self.max_calls, self.max_tokens, self.max_cost = max_calls, max_tokens, max_cost
        self.price = price
        self.calls = self.tokens = self._under_way = 0
        self.money = 0.0
        self._aside = Aside()
        self._dearest = 0.0
        self._seen = 0

    async def reserve(self, body: Mapping[str, Any]) -> Aside:
        """Sets aside what a request costs at most and returns it; BudgetSpent if that is too much.

        Waits while what others set aside may come back.
        """
        count = _prompts(body)
        if self.max_calls is not None and self.calls + count > self.max_calls:
            raise BudgetSpent(
                f"the budget of {self.max_calls:,} calls is spent: {_goes_on('max_calls')}"
            )
        self.calls += count
        self._under_way += 1
        try:
            return await self._set_aside(body)
        except (BudgetSpent, asyncio.CancelledError):
            # Nothing was sent.
            self.calls -= count
            self._under_way -= 1
            raise

    async def _set_aside(self, body: Mapping[str, Any]) -> Aside:
        if self.max_tokens is None and self.max_cost is None:
            return Aside()
        while True:
            most = self._most(body)
            if (spent := self._spent(most)) is None:
                self._aside = Aside(
                    self._aside.tokens + most.tokens, self._aside.money + most.money
                )
                return most
            # Those who wait for each other hold nothing that could come back.
            if not self._aside.tokens:
                raise BudgetSpent(spent)
            await asyncio.sleep(0.005)

    def _spent(self, most: Aside) -> str | None:
        """Why a request that costs so much at most may not be sent now; None if it may."""
        tokens = self.tokens + self._aside.tokens + most.tokens
        if self.max_tokens is not None and tokens > self.max_tokens:
            return (
                f"the budget of {self.max_tokens:,} tokens is spent: {self.tokens:,} were charged, "
                f"and the next request may cost {most.tokens:,}; {_goes_on('max_tokens')}"
            )
        money = self.money + self._aside.money + most.money
        if self.max_cost is not None and self.price is not None and money > self.max_cost:
            said = self.price.called
            return (
                f"the budget of {said(self.max_cost)} is spent: {said(self.money)} were charged, "
                f"and the next request may cost {said(most.money)}; {_goes_on('max_cost')}"
            )
        return None

    def _most(self, body: Mapping[str, Any]) -> Aside:
        asked = _asked(body)
        length = len(asked)
        count = _prompts(body)
        written = count * int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)
        prompt = length + count * TEMPLATE  # no tokenizer makes more tokens than bytes
        if self._seen >= WARM_UP:
            # Of spaces in a row each may be a token too.
            others = len(asked.translate(None, _WORDS)) + 2 * asked.count(b"  ")
            rated = int((length - others) * self._dearest * MARGIN) + others
            prompt = min(length, rated) + count * TEMPLATE
        return Aside(prompt + written, self.price.of(prompt, 0, written) if self.price else 0.0)

    def cancel(self, body: Mapping[str, Any], aside: Aside) -> None:
        """Gives back what was set aside for a request that was not sent."""
        self.calls -= _prompts(body)
        self._under_way -= 1
        self._give_back(aside)

    def _give_back(self, aside: Aside) -> None:
        left = Aside(self._aside.tokens - aside.tokens, self._aside.money - aside.money)
        # Sums of money leave crumbs.
        self._aside = left if left.tokens else Aside()

    def settle(
        self, body: Mapping[str, Any], aside: Aside, usage: Mapping[str, Any] | None
    ) -> None:
        """Counts what a request was charged; nothing where it was refused (None).

        A usage without tokens tells nothing: all that was set aside is then taken to be charged.
        """
        self._under_way -= 1
        self._give_back(aside)
        if usage is None:
            return
        charged = tokens_in(usage)
        tokens = charged.prompt + charged.output
        if not tokens:
            self.tokens += aside.tokens
            self.money += aside.money
            return
        self.tokens += tokens
        self.money += self.price.charged(usage) if self.price else 0.0
        self._seen += 1
        self._dearest = max(self._dearest, tokens / max(1, len(_asked(body))))


def _goes_on(limit: str) -> str:
    """What to do where a budget is spent."""
    return (
        f"the same command goes on, and may spend as much once more (budget.{limit} is for one "
        "command); what was answered is kept"
    )


def _prompts(body: Mapping[str, Any]) -> int:
    """As how many requests one counts: a list of prompts as its prompts."""
    prompt = body.get("prompt")
    return len(prompt) if isinstance(prompt, list) else 1


def _asked(body: Mapping[str, Any]) -> bytes:
    asked = body.get("messages", body.get("prompt", body))
    return json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace")
