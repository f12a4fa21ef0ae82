"""What may be spent on a server: requests, tokens, money, counted exactly at any concurrency."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from consilience.errors import BudgetSpent, InputError
from consilience.models.price import Price

WARM_UP = 8
"""So many answers tell how many tokens a server charges for a byte."""

MARGIN = 1.2
"""By how much a prompt may cost more than the dearest one so far."""

TEMPLATE = 64
"""Tokens that a chat template, or a mark at the beginning, may add to a prompt."""


class Aside(NamedTuple):
    """What is set aside for a request under way: the most tokens and money that it can cost."""

    tokens: int = 0
    money: float = 0.0


class Budget:
    """At most so many requests, so many tokens and so much money; None is no limit.

    Every request counts that is sent to the model, a probe's and a second attempt's too; a list of
    prompts counts as its prompts. Tokens are prompt and completion as the server charges them;
    money is what they cost by the `price`,
    which `max_cost` needs. Before it is sent a request sets aside what it can cost at most, so
    that the limit is kept whatever is under way; near the end requests therefore wait for each
    other. A server that charges nothing is taken to charge what was set aside.
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
                f"the budget of {self.max_calls:,} calls is spent: raise budget.max_calls and run "
                "the same command to go on; what was answered is kept"
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
                raise BudgetSpent(
                    f"{spent} and run the same command to go on; what was answered is kept"
                )
            await asyncio.sleep(0.005)

    def _spent(self, most: Aside) -> str | None:
        """Why a request that costs so much at most may not be sent now; None if it may."""
        tokens = self.tokens + self._aside.tokens + most.tokens
        if self.max_tokens is not None and tokens > self.max_tokens:
            return (
                f"the budget of {self.max_tokens:,} tokens is spent: {self.tokens:,} were "
                f"charged, and the next request may cost {most.tokens:,}; raise "
                "budget.max_tokens"
            )
        money = self.money + self._aside.money + most.money
        if self.max_cost is not None and self.price is not None and money > self.max_cost:
            said = self.price.called
            return (
                f"the budget of {said(self.max_cost)} is spent: {said(self.money)} were charged, "
                f"and the next request may cost {said(most.money)}; raise budget.max_cost"
            )
        return None

    def _most(self, body: Mapping[str, Any]) -> Aside:
        asked = _asked(body)
        length = len(asked.encode())
        count = _prompts(body)
        written = count * int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)
        prompt = length + count * TEMPLATE  # no tokenizer makes more tokens than bytes
        if self._seen >= WARM_UP:
            # What was seen says nothing of letters that take several bytes.
            plain = len(asked.encode("ascii", "ignore"))
            rated = int(plain * self._dearest * MARGIN) + length - plain
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
        """Counts what a request was charged; all that was set aside where nobody knows (None)."""
        self._under_way -= 1
        self._give_back(aside)
        charged = None if usage is None else _charged(usage)
        self.tokens += aside.tokens if charged is None else charged
        if charged is None or usage is None or self.price is None:
            self.money += aside.money
        else:
            self.money += self.price.charged(usage)
        if charged:
            self._seen += 1
            self._dearest = max(self._dearest, charged / max(1, _bytes(body)))


def _prompts(body: Mapping[str, Any]) -> int:
    """As how many requests one counts: a list of prompts as its prompts."""
    prompt = body.get("prompt")
    return len(prompt) if isinstance(prompt, list) else 1


def _bytes(body: Mapping[str, Any]) -> int:
    return len(_asked(body).encode())


def _asked(body: Mapping[str, Any]) -> str:
    return json.dumps(body.get("messages", body.get("prompt", body)), ensure_ascii=False)


def _charged(usage: Mapping[str, Any]) -> int | None:
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    known = [int(c) for c in counts if isinstance(c, int | float) and not isinstance(c, bool)]
    return sum(known) if known else None
