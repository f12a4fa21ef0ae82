"""What may be spent on a server: requests and tokens, counted exactly under any concurrency."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from consilience.errors import BudgetSpent, InputError

WARM_UP = 8
"""So many answers tell how many tokens a server charges for a byte."""

MARGIN = 1.2
"""By how much a prompt may cost more than the dearest one so far."""

TEMPLATE = 64
"""Tokens that a chat template, or a mark at the beginning, may add to a prompt."""


class Budget:
    """At most so many requests and so many tokens; None is no limit.

    Every request counts that is sent to the model, a probe's and a second attempt's too. Tokens
    are prompt and completion as the server charges them. Before it is sent a request sets aside
    what it can cost at most, so that the limit is kept whatever is under way; near the end
    requests therefore wait for each other. A server that charges nothing is taken to charge what
    was set aside.
    """

    def __init__(self, max_calls: int | None = None, max_tokens: int | None = None) -> None:
        for what, most in (("calls", max_calls), ("tokens", max_tokens)):
            if most is not None and most < 1:
                raise InputError(f"a budget of {what} is at least 1, got {most}")
        self.max_calls, self.max_tokens = max_calls, max_tokens
        self.calls = self.tokens = 0
        self._aside = self._under_way = 0
        self._dearest = 0.0
        self._seen = 0

    async def reserve(self, body: Mapping[str, Any]) -> int:
        """Sets aside what a request costs at most and returns it; BudgetSpent if that is too much.

        Waits while what others set aside may come back.
        """
        if self.max_calls is not None and self.calls >= self.max_calls:
            raise BudgetSpent(
                f"the budget of {self.max_calls:,} calls is spent: raise --max-calls and run the "
                "same command to go on; what was answered is kept"
            )
        self.calls += 1
        self._under_way += 1
        try:
            return await self._set_aside(body)
        except (BudgetSpent, asyncio.CancelledError):
            # Nothing was sent.
            self.calls -= 1
            self._under_way -= 1
            raise

    async def _set_aside(self, body: Mapping[str, Any]) -> int:
        if self.max_tokens is None:
            return 0
        while True:
            most = self._most(body)
            if self.tokens + self._aside + most <= self.max_tokens:
                self._aside += most
                return most
            # Those who wait for each other hold nothing that could come back.
            if not self._aside:
                raise BudgetSpent(
                    f"the budget of {self.max_tokens:,} tokens is spent: {self.tokens:,} were "
                    f"charged, and the next request may cost {most:,}; raise --max-tokens and run "
                    "the same command to go on; what was answered is kept"
                )
            await asyncio.sleep(0.005)

    def _most(self, body: Mapping[str, Any]) -> int:
        length = _bytes(body)
        written = int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)
        if self._seen < WARM_UP:
            return length + TEMPLATE + written  # no tokenizer makes more tokens than bytes
        return min(length, int(length * self._dearest * MARGIN)) + TEMPLATE + written

    def cancel(self, aside: int) -> None:
        """Gives back what was set aside for a request that was not sent."""
        self.calls -= 1
        self._under_way -= 1
        self._aside -= aside

    def settle(self, body: Mapping[str, Any], aside: int, usage: Mapping[str, Any] | None) -> None:
        """Counts what a request was charged; all that was set aside where nobody knows (None)."""
        self._under_way -= 1
        self._aside -= aside
        charged = None if usage is None else _charged(usage)
        self.tokens += aside if charged is None else charged
        if charged:
            self._seen += 1
            self._dearest = max(self._dearest, charged / max(1, _bytes(body)))


def _bytes(body: Mapping[str, Any]) -> int:
    return len(json.dumps(body.get("messages", body.get("prompt")), ensure_ascii=False).encode())


def _charged(usage: Mapping[str, Any]) -> int | None:
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    known = [int(c) for c in counts if isinstance(c, int | float) and not isinstance(c, bool)]
    return sum(known) if known else None
