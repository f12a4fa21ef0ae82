"""The arithmetic of docs/scale.md: what it counts is what a run would ask."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import arithmetic  # noqa: E402 (it lives with the pages)
import scale  # noqa: E402
from figures import RESULTS  # noqa: E402

from consilience.data.dataset import Dataset, Example  # noqa: E402
from consilience.elicitation.cost import estimate  # noqa: E402
from consilience.elicitation.settings import Settings  # noqa: E402
from consilience.models.price import Price  # noqa: E402
from consilience.models.simulated import SimulatedModel  # noqa: E402
from consilience.prompts.framing import framings  # noqa: E402
from consilience.store.database import Store  # noqa: E402

SAID = arithmetic.Assumptions()


def test_calls_and_tokens_are_those_of_an_estimate() -> None:
    """With characters for tokens: four to a token is what an empty store goes by."""
    size = 400
    data = Dataset("lamps", [Example(f"The lamp numbered {i:04} is lit.") for i in range(size)])
    settings = Settings(calls_per_example=8, census=0.0)
    price = Price(1.0, 0.1, 2.0)
    with Store() as store:
        known = estimate(data, SimulatedModel("noisy"), settings, store, price=price)
    asked = framings(data.task)
    said = replace(
        SAID,
        row_tokens=len(data.texts[0]) / 4,
        lead_tokens=(len(asked[0].lead) + len(" False\n\n\n")) / 4,
        head_tokens=len(asked[0].instruction) / 4,
        price=price,
    )
    counted = arithmetic.taken(size, said)
    assert counted.calls == known.calls
    assert counted.tokens == pytest.approx(known.prompt_tokens, rel=0.05)
    # An estimate counts of a target its text alone.
    fresh = known.fresh_tokens + said.lead_tokens * known.calls
    assert counted.fresh == pytest.approx(fresh, rel=0.1)
    assert counted.money == pytest.approx(known.money, rel=0.15)


@pytest.mark.parametrize(
    ("name", "value", "moved"),
    [
        ("calls", 16, {"calls", "tokens", "fresh", "money", "card_hours", "store_bytes"}),
        ("zero_shot", 1, {"tokens", "fresh", "money"}),
        ("shots", 8, {"tokens", "fresh", "money"}),
        ("block", 20, {"fresh", "money"}),
        ("row_tokens", 80, {"tokens", "fresh", "money"}),
        ("lead_tokens", 8, {"tokens", "fresh", "money"}),
        ("head_tokens", 50, {"tokens", "fresh", "money"}),
        ("price", Price(2.0), {"money"}),
        ("per_second", 10.0, {"card_hours"}),
        ("store_bytes", 800.0, {"store_bytes"}),
    ],
)
def test_each_assumption_moves_what_rests_on_it(name: str, value: object, moved: set[str]) -> None:
    one, other = (arithmetic.taken(1000, s) for s in (SAID, replace(SAID, **{name: value})))
    fields = arithmetic.Taken.__slots__
    assert {field for field in fields if getattr(one, field) != getattr(other, field)} == moved


def test_the_card_is_the_one_that_was_measured() -> None:
    ways = json.loads((RESULTS / "device.json").read_text())["asking"]["ways"]
    measured = ways["bfloat16, together, prefixes once"]["per_second"]
    assert pytest.approx(measured, abs=1) == SAID.per_second


def test_what_was_measured_is_not_marked_and_what_was_not_is_in_proportion() -> None:
    row = {"cpu": 3.6, "before": 100.0, "peak": 200.0}
    more = {"cpu": 36.0, "before": 100.0, "peak": 900.0}
    broken = {"failed": "MemoryError"}
    kept = {"1000": row, "10000": more, "100000": broken}
    measured = {stage: kept for stage in arithmetic.STAGES}
    stages = len(arithmetic.STAGES)
    assert arithmetic.software(1000, measured) == (pytest.approx(stages / 1000), 200e6, True)
    assert arithmetic.software(10_000, measured)[2]
    assert arithmetic.software(100_000, measured) == (pytest.approx(stages / 10), 8100e6, False)


def test_the_command_takes_every_assumption() -> None:
    words = ["--row-tokens", "200", "--price", "1,0.25,4", "--store-bytes", "1000"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "arithmetic.py"), *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = replace(SAID, row_tokens=200, price=Price(1, 0.25, 4), store_bytes=1000)
    assert done.stdout == arithmetic.scale_arithmetic(said)
    assert "| 1,000,000 | 8 M |" in done.stdout


def test_how_a_figure_grows_is_read_off_the_larger_sizes() -> None:
    kept = {str(n): {"cpu": 2e-3 * n**1.5} for n in (10_000, 100_000, 1_000_000)}
    assert scale.exponent({"1000": {"cpu": 50.0}, **kept}) == pytest.approx(1.5)
    assert scale.exponent({"10000": {"cpu": 1.0}, "100000": {"failed": "MemoryError"}}) is None


def test_loading_embedding_and_planning_grow_no_faster_than_the_rows() -> None:
    found = json.loads(scale.RESULTS.read_text())
    assert set(found) == set(scale.STAGES)
    grown = {stage: scale.exponent(found[stage]) for stage in ("load", "embed", "plan")}
    # Ten times as many rows take at most 10^1.1 = 12.6 times as long.
    assert all(value is not None and value <= 1.1 for value in grown.values()), grown
