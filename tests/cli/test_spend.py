"""The spend: said before it is spent, with every price, and never more than was allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import consilience
from consilience.models.price import Price
from consilience.store.database import Store
from made_up import FILE_OPTIONS, claims, write_csv
from wire_client import KEYS
from wire_model import PseudoModel
from wire_server import serve


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Any]:
    with serve("vllm", model=PseudoModel(world=True)) as server:
        yield server


def words(server: Any, *more: object) -> list[object]:
    data = write_csv(claims(24), Path("claims.csv"))
    model = ["--model", "openai:tiny", "--base-url", server.url, "--calls-per-example", 4]
    return ["run", data, *FILE_OPTIONS, *model, "--set", "planning.settled=0", *more]


def test_a_dry_run_and_a_run_say_the_same_spend(server: Any) -> None:
    price = ["--set", "budget.price=2,0.5,8", "--set", "budget.currency=EUR"]
    cost = json.loads(consilience(*words(server, *price, "--dry-run", "--json")).stdout)
    cached = cost["prompt_tokens"] - cost["fresh_tokens"]
    assert cached > 0 and cost["output_tokens"] == cost["calls"] == 96
    paid = cost["fresh_tokens"] * 2 + cached * 0.5 + 96 * 8
    assert cost["money"] == pytest.approx(paid / 1e6) and cost["currency"] == "EUR"
    said = "2 of prompts, 0.5 of cached ones, 8 of answers; EUR for a million tokens"
    assert cost["price"] == said
    plain = json.loads(
        consilience(*words(server, "--set", "budget.price=2", "--dry-run", "--json")).stdout
    )
    assert plain["money"] == pytest.approx((plain["prompt_tokens"] + 96) * 2 / 1e6)
    told = consilience(*words(server, *price)).stderr
    before, spend = told.split("spend: ")
    assert "── a prompt" in before and spend.startswith("at most 96 calls; about ")
    assert " of answers; about 0.0" in told and told.count(" EUR") == 2
    again = consilience(*words(server, *price)).stderr
    assert "spend: nothing; the store has the answers to all 96 calls" in again
    assert "0.00 EUR in all" in again
    # The report has the price of the run, unless it is told another.
    consilience("report", "--output", "r.html")
    page = Path("r.html").read_text("utf-8")
    with Store("consilience.db", readonly=True) as db:
        [used] = db.stats().models
    prompt, kept, written = used.prompt_tokens, used.cached_tokens, used.completion_tokens
    assert prompt is not None and kept is not None and written is not None
    money = Price(2, 0.5, 8, "EUR")
    assert f"<dd>{money.called(money.of(prompt, kept, written))} <span" in page and said in page
    consilience("report", "--output", "r.html", "--set", "budget.price=1000")
    assert "1000 of prompts; for a million tokens" in Path("r.html").read_text("utf-8")


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_run_stops_before_it_spends_more(server: Any, concurrency: int) -> None:
    lanes = ["--set", f"model.concurrency={concurrency}"]
    done = consilience(
        *words(server, "--set", "budget.price=100", "--set", "budget.max_cost=0.4", *lanes)
    )
    with Store("consilience.db", readonly=True) as db:
        [used] = db.stats().models
    assert 0 < used.predictions < 96
    assert 0.2 < (used.prompt_tokens + used.predictions) * 100 / 1e6 <= 0.4
    assert "Ended early: the budget of 0.40 is spent" in done.stderr
    # More money, and it goes on where it stopped.
    more = consilience(*words(server, "--set", "budget.price=100", "--set", "budget.max_cost=9"))
    assert f"{used.predictions} answers found in the store" in more.stderr


def test_a_limit_needs_a_price(server: Any) -> None:
    done = consilience(*words(server, "--set", "budget.max_cost=1"), code=2)
    assert (
        done.stderr == "consilience: budget.max_cost needs budget.price=INPUT[,CACHED[,OUTPUT]]\n"
    )
    done = consilience(*words(server, "--set", "budget.price=1,2,3,4"), code=2)
    assert "INPUT, or INPUT,CACHED or INPUT,CACHED,OUTPUT is expected" in done.stderr
    assert server.requests == []
