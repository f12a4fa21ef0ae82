r"""Rows that come after a run of a real model: `predict` with two calls each, or labelled in a run.

    uv run python benchmarks/newrows_real.py --model local:FOLDER --data DATA
    uv run python benchmarks/newrows_real.py --table          # the table alone

DATA holds the tables `NAME.csv` of `benchmarks/real.py`. A run labels the first rows of a draw with
8 calls each, and `predict` the next `LATER` with 2; another run labels all of them with 8. Both are
scored on the later rows. Sets that the file has are not measured again; what was asked is kept in
`--stores`, so it can be stopped and started again.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import real
from program import markdown, on_sets, resumed, said

RESULTS = Path(__file__).parent / "results" / "newrows_real.json"
SETS = ("sst2", "agnews", "sms")
ROWS, LATER, CALLS = 160, 100, 2


def measure(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """The accuracy on later rows of a set: as predicted, and as labelled with the others."""
    from consilience.data.dataset import Dataset
    from consilience.elicitation.prediction import predict
    from consilience.elicitation.session import elicit
    from consilience.elicitation.settings import PLAN_VERSION
    from consilience.evaluation.baselines import gold_array
    from consilience.evaluation.metrics import score
    from consilience.models import open_model
    from consilience.store.database import Store

    model = open_model(given.model)
    first, _ = real.draw(given.data, name, given.rows, 0)
    every, gold = real.draw(given.data, name, given.rows + given.later, 0)
    new = [example for example in every.examples if example.id not in first.index]
    later = Dataset(name, new, task=first.task)
    given.stores.mkdir(parents=True, exist_ok=True)
    with Store(given.stores / f"{name}.db") as store:
        found = elicit(first, model, store=store)
        made = predict(found, later, model, calls=CALLS, store=store)
        whole = elicit(every, model, store=store)
    at = [every.index[example.id] for example in new]
    wanted = gold_array(later, gold)
    asked = {"labelled": whole.soft_labels[at], "predicted": made.soft_labels}
    scores = {way: score(labels, wanted, later.groups)["accuracy"] for way, labels in asked.items()}
    return {
        "set": name,
        "rows": len(first),
        "later": len(later),
        "calls": (made.asked.calls + made.asked.known) / len(later),
        "plan": PLAN_VERSION,
        "verdict": found.verdict.kind.value,
        **{
            way: [round(value, 4) for value in (s.estimate, s.lower, s.upper)]
            for way, s in scores.items()
        },
    }


def table(made: list[dict[str, Any]]) -> str:
    """Markdown, a row for each set."""
    head = ["set", "rows of the run", "its verdict", "later rows", "labelled in a run", "predicted"]
    lines = []
    for row in made:
        estimate, lower, upper = row["labelled"]
        cells = [row["set"], row["rows"], row["verdict"], row["later"]]
        cells += [f"{estimate:.3f} ({lower:.3f} to {upper:.3f})", f"{row['predicted'][0]:.3f}"]
        lines.append(cells)
    return markdown(head, lines)


def main() -> None:
    """Measures the sets that the file lacks, and prints the table."""
    parser = on_sets(__doc__, SETS, RESULTS, real.STORES / "newrows")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--later", type=int, default=LATER)
    given = said(parser)
    wanted = [] if given.table else given.sets
    jobs = ((name, partial(measure, given, name)) for name in wanted)
    print(table(resumed(given.output, lambda row: row["set"], jobs)))


if __name__ == "__main__":
    main()
