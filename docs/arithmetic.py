"""What a run of so many rows takes, from stated assumptions: calls, tokens, money, time, memory.

    uv run python docs/arithmetic.py                          # the table of docs/scale.md
    uv run python docs/arithmetic.py --row-tokens 200 --price 1,0.25,4 --per-second 40

What the software itself takes is measured (benchmarks/results/scale.json) and beyond that
extrapolated in proportion to the rows; the marks in the table say which.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, fields
from typing import Any

from figures import RESULTS

from consilience.models.price import Price

ROWS = tuple(10**power for power in range(3, 10))

PRICE = Price(0.10, 0.025, 0.40)
"""Of a small hosted model, for the sake of the example."""

STAGES = ("load", "estimate", "plan", "read", "solve")
"""What every run goes through beside the asking."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the arithmetic rests on; each can be said otherwise.

    `row_tokens` of a row's text and `lead_tokens` of what stands around it as a shot or target,
    `head_tokens` of the instruction; `zero_shot` calls of a row show no shots, the others `shots`,
    the same for about `block` rows. `price` is money for a million tokens: of prompts, of what a
    cache serves of them, of answers. `per_second` predictions come from one graphics card,
    `store_bytes` are kept of each.
    """

    calls: int = 8
    zero_shot: int = 2
    shots: int = 24
    block: int = 40
    row_tokens: float = 40
    lead_tokens: float = 4
    head_tokens: float = 25
    price: Price = PRICE
    per_second: float = 338
    store_bytes: float = 900

    def __post_init__(self) -> None:
        if not 0 <= self.zero_shot <= self.calls:
            raise SystemExit(f"{self.zero_shot} of {self.calls} calls cannot be without shots")


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run takes; `fresh` are the tokens of prompts that no cache serves."""

    calls: int
    tokens: float
    fresh: float
    money: float
    card_hours: float
    store_bytes: float


def taken(rows: int, said: Assumptions) -> Taken:
    """The arithmetic; a cache is taken to serve every beginning shared within a round."""
    one = said.row_tokens + said.lead_tokens
    prefix = said.head_tokens + said.shots * one
    with_shots = (said.calls - said.zero_shot) * rows
    without = said.zero_shot * rows
    # The instruction alone is computed once for each framing, which is nothing.
    tokens = with_shots * (prefix + one) + without * (said.head_tokens + one)
    fresh = with_shots * one + with_shots / said.block * prefix + without * one
    calls = with_shots + without
    return Taken(
        calls=calls,
        tokens=tokens,
        fresh=fresh,
        money=said.price.of(tokens, tokens - fresh, calls),
        card_hours=calls / said.per_second / 3600,
        store_bytes=calls * said.store_bytes,
    )


def software(rows: int, measured: dict[str, Any]) -> tuple[float, float, bool]:
    """Hours of one processor and bytes of memory of all stages, and whether they were measured.

    Memory is that of the stage that takes most.
    """
    seconds, most, known = 0.0, 0.0, True
    for stage in STAGES:
        done = {int(size): row for size, row in measured[stage].items() if "cpu" in row}
        nearest = max((size for size in done if size <= rows), default=min(done))
        factor, row = rows / nearest, done[nearest]
        known &= factor == 1
        seconds += row["cpu"] * factor
        # What a stage begins with grows with the rows too, but for the program itself.
        program = done[min(done)]["before"]
        most = max(most, program + max(0.0, row["peak"] - program) * factor)
    return seconds / 3600, most * 1e6, known


def scale_arithmetic(said: Assumptions | None = None) -> str:
    """The table, a row for each number of rows."""
    said = said or Assumptions()
    measured = json.loads((RESULTS / "scale.json").read_text())
    lines = [
        "| rows | calls | prompt tokens | not cached | money | card-hours | store "
        "| processor-hours | memory |",
        "|" + "---|" * 9,
    ]
    for rows in ROWS:
        found = taken(rows, said)
        hours, memory, known = software(rows, measured)
        mark = "" if known else " †"
        lines.append(
            f"| {rows:,} | {_short(found.calls)} | {_short(found.tokens)} | {_short(found.fresh)} "
            f"| {_money(found.money)} | {_hours(found.card_hours)} | {_bytes(found.store_bytes)} "
            f"| {_hours(hours)}{mark} | {_bytes(memory)}{mark} |"
        )
    return "\n".join([*lines, "", _stated(said)]) + "\n"


def _stated(said: Assumptions) -> str:
    cached, output = said.price.of(1e6, 1e6), said.price.of(0, 0, 1e6)
    return (
        f"Assumed: {said.calls} calls a row, {said.zero_shot} of them without shots, the others "
        f"with {said.shots} shared by {said.block} rows; {said.row_tokens:g} tokens a row, "
        f"{said.lead_tokens:g} around it, {said.head_tokens:g} of instruction; for a million "
        f"tokens of prompts {said.price.input:g}, where a cache serves them {cached:g}, of answers "
        f"{output:g}; {said.per_second:g} predictions a second from a card (measured: a model of a "
        f"billion parameters on an NVIDIA H200, `benchmarks/device.py`); {said.store_bytes:,.0f} "
        "bytes of store a prediction (measured, `benchmarks/store.py`). † extrapolated in "
        "proportion."
    )


def _short(value: float) -> str:
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g}"


def _bytes(value: float) -> str:
    return f"{_short(value)}B"


def _money(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _hours(value: float) -> str:
    if value < 1 / 60:
        return f"{value * 3600:.0f} s"
    if value < 1:
        return f"{value * 60:.0f} min"
    return f"{value:.3g} h" if value < 100 else f"{value:,.0f} h"


def main() -> None:
    """The program: each assumption is an option."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    for field in fields(Assumptions):
        kind = _price if field.name == "price" else type(field.default)
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=kind, default=field.default)
    sys.stdout.write(scale_arithmetic(Assumptions(**vars(parser.parse_args()))))


def _price(text: str) -> Price:
    return Price(*map(float, text.split(",")))


if __name__ == "__main__":
    main()
