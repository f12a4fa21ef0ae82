r"""What corrections do to the rows that nobody corrected, on answers of a real model: 0 calls.

    uv run python benchmarks/corrections.py            # measures, writes results/corrections.json
    uv run python benchmarks/corrections.py --table    # prints the table of the documentation

Each run recorded in `benchmarks/recorded` that showed shots, of the method or of another, is solved
from its answers alone; then some rows get the label that gold has, held fixed, and it is solved
again. `doubtful` are the rows that a review shows
first, `random` ones are drawn, with the mean of `DRAWS` draws. Both scores are of the same rows:
those that were not corrected.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import program
import recorded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consilience.evidence.evidence import Evidence

RESULTS = Path(__file__).parent / "results" / "corrections.json"
COUNTS = (8, 16, 32)
DRAWS = 5
FLOOR = 1e-12


def doubtful_first(evidence: Evidence) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows in the order of a review, and the labels (N, K) that they have."""
    from consilience.objective.coherence import default_terms
    from consilience.results.uncertainty import uncertainty
    from consilience.solvers.lbfgs import LBFGS
    from consilience.solvers.solution import solve
    from consilience.solvers.starts import first_labels

    solution = solve(evidence, start=first_labels(evidence))
    unsure = uncertainty(evidence, default_terms(), LBFGS(), solution)
    ordered = np.sort(np.maximum(solution.labels, FLOOR), axis=1)
    margin = np.log(ordered[:, -1]) - np.log(ordered[:, -2])
    return np.argsort(margin - unsure.epistemic, kind="stable"), solution.labels


def corrected(
    evidence: Evidence, at: NDArray[np.int64], gold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The labels (N, K) where the rows `at` are held at their gold."""
    from consilience.solvers.solution import solve
    from consilience.solvers.starts import first_labels

    held = evidence.holding({int(i): int(gold[i]) for i in at})
    return solve(held, start=first_labels(held)).labels


def measure() -> dict[str, Any]:
    """Accuracy on the untouched rows, before and after, of each recorded run."""
    made: dict[str, Any] = {}
    for path in recorded.files():
        recording = recorded.read(path)
        for run in recording.runs:
            if any(query.shots for queries in run.rounds for query, _ in queries):
                name = f"{recording.name} {run.method}"
                about = {"run": recording.name.rpartition("-")[0], "method": run.method}
                made[name] = {**about, **of_run(recording, run)}
                print(name, made[name], flush=True)
    return made


def of_run(recording: recorded.Recording, run: recorded.RecordedRun) -> dict[str, Any]:
    """The figures of one run, by what was corrected and how many rows."""
    evidence = recorded.evidence_of(recording, run).weighed()
    order, labels = doubtful_first(evidence)
    right = labels.argmax(axis=1) == recording.gold
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(len(order)) for _ in range(DRAWS)]
    figures: dict[str, Any] = {"rows": len(order), "accuracy": round(float(right.mean()), 4)}
    for way, orders in (("doubtful", [order]), ("random", drawn)):
        for count in COUNTS:
            pairs = []
            for chosen in orders:
                rest = np.setdiff1d(np.arange(len(order)), chosen[:count])
                again = corrected(evidence, chosen[:count], recording.gold)
                now = again.argmax(axis=1) == recording.gold
                pairs.append((right[rest].mean(), now[rest].mean()))
            before, after = np.mean(pairs, axis=0)
            figures[f"{way} {count}"] = [round(float(before), 4), round(float(after), 4)]
    return figures


def table(made: dict[str, Any]) -> str:
    """Markdown, a row for each recorded run: accuracy on untouched rows before → after."""
    ways = [f"{way} {count}" for way in ("doubtful", "random") for count in COUNTS]
    head = ["model, set", "asked by", "all rows", *ways]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in made.values():
        cells = [f"{row[way][0]:.3f} → {row[way][1]:.3f}" for way in ways]
        first = [row["run"].replace("-", ", "), row["method"], f"{row['accuracy']:.3f}"]
        lines.append(f"| {' | '.join(first + cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    program.once(__doc__, measure, table, RESULTS)
