r"""Rows that come after runs of a real model: `predict` with two calls each, against the run's own.

    uv run python benchmarks/newrows_real.py --model local:FOLDER --data DATA --stores STORES
    uv run python benchmarks/newrows_real.py --table          # the table alone

STORES holds `NAME.db` with a run of the method on rows of DATA/NAME.csv that `real.draw` drew; the
next `LATER` rows of the same draw come later. They are scored against the accuracy that the run has
on its own rows, with its interval: both are draws of one set. Answers are kept in the store.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import real

RESULTS = Path(__file__).parent / "results" / "newrows_real.json"
LATER, CALLS = 100, 2
BEFORE: dict[str, Any] = {"shares": None}
"""Settings that runs recorded by an earlier version lack."""


def measure(given: argparse.Namespace, path: Path) -> dict[str, Any]:
    """The accuracy on later rows of the newest run in a store, and that on its own rows."""
    from consilience.data.dataset import Dataset
    from consilience.elicitation.prediction import predict
    from consilience.elicitation.session import solve_run
    from consilience.elicitation.settings import settings_from
    from consilience.evaluation.baselines import gold_array
    from consilience.evaluation.metrics import score
    from consilience.models import open_model
    from consilience.store.database import Store

    model = open_model(given.model, dtype="bfloat16")
    with Store(path) as store:
        run = store.run()
        data = store.dataset(run.dataset)
        found = solve_run(store, run.id, data, settings_from(BEFORE | dict(run.settings)))
        every, gold = real.draw(given.data, path.stem, len(data) + LATER, run.seed)
        new = [example for example in every.examples if example.id not in data.index]
        later = Dataset(path.stem, new, task=data.task)
        made = predict(found, later, model, calls=CALLS, store=store)
    own = score(found.soft_labels, gold_array(data, gold), data.groups)["accuracy"]
    right = made.soft_labels.argmax(axis=1) == gold_array(later, gold)
    return {
        "set": path.stem,
        "rows": len(data),
        "calls": (made.asked.calls + made.asked.known) / len(later),
        "run": [round(value, 4) for value in (own.estimate, own.lower, own.upper)],
        "predicted": round(float(right.mean()), 4),
    }


def table(made: list[dict[str, Any]]) -> str:
    """Markdown, a row for each set."""
    lines = ["| set | rows of the run | labelled in the run | predicted |", "|---|---|---|---|"]
    for row in made:
        estimate, lower, upper = row["run"]
        cells = [row["set"], row["rows"], f"{estimate:.3f} ({lower:.3f} to {upper:.3f})"]
        lines.append(f"| {' | '.join(map(str, cells))} | {row['predicted']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Measures each store that is named, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--model")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--stores", type=Path)
    given = parser.parse_args()
    if not given.table:
        made = []
        for path in sorted(given.stores.glob("*.db"), reverse=True):
            made.append(measure(given, path))
            # After each, so that what was measured stays if the rest never is.
            RESULTS.write_text(json.dumps(made, indent=1) + "\n")
    print(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
