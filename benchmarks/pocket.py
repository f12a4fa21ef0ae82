"""The pocket language model: every method on its data sets, at the same number of calls.

    uv run python benchmarks/pocket.py            # measures, writes results/pocket.json
    uv run python benchmarks/pocket.py --table    # prints the table of the documentation from it

A real network in this process, `local:pocket`; 240 claims, 8 calls for each. Accuracy is the
mean over seeds, each a draw of claims, with the 95 % interval of that mean; PGR is that of the
means, (method − zero-shot) / (golden shots − zero-shot), where that gap is above its noise.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import program
from program import interval

RESULTS = Path(__file__).parent / "results" / "pocket.json"
SETS = ("pocket", "pocket-popular", "pocket-imbalanced", "pocket-no-answer")
ZERO, GOLDEN = "zero-shot, all framings", "golden shots (ceiling)"
METHODS = (
    *("majority", "structure only", ZERO, "random-label shots", "bootstrap"),
    *("bootstrap, consistent", "consilience", GOLDEN),
)
COMPARED = ("random-label shots", "bootstrap", "bootstrap, consistent", "consilience")
CLAIMS = 240
CALLS = 8.0


def measure(job: tuple[str, int]) -> dict[str, Any]:
    """The scores of every method on one data set and seed."""
    from consilience.datasets import load_dataset
    from consilience.models import open_model

    name, seed = job
    data, gold = load_dataset(name, seed=seed, claims=str(CLAIMS))
    assert gold is not None
    model = open_model("local:pocket")
    found = program.compared(data, gold, model, CALLS, seed, concurrency=64)
    return {"data": name, "model": model.name, **found}


def table(runs: list[dict[str, Any]]) -> str:
    """The accuracies as Markdown, one row per data set, and the gap recovered."""
    header = ["data set", *METHODS, *(f"PGR of {method}" for method in COMPARED)]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for name in SETS:
        mine = [run["scores"] for run in runs if run["data"] == name]
        if not mine:
            continue
        by_method = {m: [row[m]["accuracy"] for row in mine] for m in METHODS}
        gaps = [recovered(by_method, m) for m in COMPARED]
        cells = [f"`{name}`", *(interval(by_method[m]) for m in METHODS), *gaps]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def recovered(by_method: dict[str, list[float]], method: str) -> str:
    """The performance gap recovered, with its interval over draws; a dash without a gap."""
    from consilience.evaluation.benchmark.tables import recovered as share_of_gap

    found = share_of_gap(by_method[method], by_method[ZERO], by_method[GOLDEN])
    return "–" if math.isnan(found.mean) else f"{found.mean:.2f} ± {found.half:.2f}"


if __name__ == "__main__":
    program.run(__doc__, measure, lambda seeds: product(SETS, range(seeds)), table, RESULTS, 5)
