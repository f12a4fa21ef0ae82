"""What tokens cost, and a budget of money that is kept to the last request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from test_gate import put

from consilience.errors import InputError
from consilience.models.budget import Budget
from consilience.models.price import Price, tokens_in
from consilience.models.wire import usage_of
from odd_server import serve_odd

USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 600},
}


def test_cached_and_written_tokens_have_prices_of_their_own() -> None:
    assert Price(2.0, 0.5, 8.0).charged(USAGE) == pytest.approx((400 * 2 + 600 * 0.5 + 80) / 1e6)
    # What is not said costs as much as a prompt.
    assert Price(2.0).charged(USAGE) == pytest.approx(1010 * 2 / 1e6)
    assert Price(2.0, output=0.0).charged(USAGE) == pytest.approx(1000 * 2 / 1e6)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({}, (0, 0, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, (5, 0, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, (5, 5, 0)),
        ({"prompt_tokens": True, "completion_tokens": -3}, (0, 0, 0)),
        ({"prompt_tokens": 50, "completion_tokens": 1, "total_tokens": 951}, (50, 0, 901)),
        ({"prompt_tokens": 50, "completion_tokens": 1, "total_tokens": 53}, (50, 0, 1)),
    ],
)
def test_a_usage_counts_what_can_be_true(usage: dict[str, Any], counts: tuple[int, ...]) -> None:
    assert tuple(tokens_in(usage)) == counts


@pytest.mark.parametrize("name", ["cached_tokens", "prompt_cache_hit_tokens"])
def test_what_a_cache_served_is_found_under_every_name(name: str) -> None:
    usage = usage_of({"usage": {"prompt_tokens": 1000, "completion_tokens": 1, name: 900}})
    assert tuple(tokens_in(usage)) == (1000, 900, 1)
    assert usage_of({"usage": usage}) == usage
    odd = {"usage": {"prompt_tokens": 5, name: 3, "prompt_tokens_details": 2}}
    assert tokens_in(usage_of(odd)).prompt == 5


@pytest.mark.parametrize(
    ("money", "said"), [(0.0, "0.00 EUR"), (1234.5, "1,234.50 EUR"), (0.00123, "0.0012 EUR")]
)
def test_money_is_written_so_that_it_is_more_than_nothing(money: float, said: str) -> None:
    assert Price(1.0, currency="EUR").called(money) == said
    assert Price(1.0).called(money) == said.removesuffix(" EUR")


@pytest.mark.parametrize("concurrency", [1, 64])
def test_money_is_never_more(concurrency: int) -> None:
    price = Price(5.0, output=20.0)
    with serve_odd(lambda r, b, t: None) as server:
        budget = Budget(max_cost=0.05, price=price)
        done = put(server, 400, concurrency, budget=budget)
        charged = sum(price.of(r["prompt_tokens"], 0, 1) for r in server.questions)
    assert charged == pytest.approx(budget.money) and 0.045 < charged <= 0.05
    assert 0 < done.calls < 400
    assert done.ended and "the budget of 0.05 is spent: " in done.ended
    assert "may spend as much once more (budget.max_cost is for one command)" in done.ended


def test_money_that_nobody_tells_is_what_was_set_aside_for_every_prompt_of_a_list() -> None:
    budget = Budget(max_cost=1.0, price=Price(10.0, output=1000.0))

    async def spend(body: dict[str, Any]) -> float:
        before = budget.money
        budget.settle(body, await budget.reserve(body), {})
        return budget.money - before

    async def work() -> list[float]:
        prompts = ["one", ["one", "one", "one"]]
        return [await spend({"prompt": each, "max_tokens": 7}) for each in prompts]

    one, three = asyncio.run(work())
    # Seven tokens of output for each prompt, at 1,000 a million, and what was sent besides.
    assert 0.007 < one < 0.01
    assert 0.021 < three < 0.03


def test_a_budget_of_money_needs_a_price() -> None:
    for more in ({}, {"price": None}):
        with pytest.raises(InputError, match="needs a price"):
            Budget(max_cost=1.0, **more)
    with pytest.raises(InputError, match="a number from 0"):
        Price(1.0, cached=-1.0)
