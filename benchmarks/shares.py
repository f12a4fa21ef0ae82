"""More than two classes of unlike size, and what it is worth to say their shares after a run.

    uv run python benchmarks/shares.py --model local:FOLDER --data DATA
    uv run python benchmarks/shares.py --table          # the table alone

DATA holds the tables `NAME.csv` of `benchmarks/real.py`. TREC is as it is; of AG News so many rows
of each class are drawn that one in two is of one class and one in seventeen of another; which they
are the draw says. *Told*: the answers of the same run, solved again with the true shares. Draws
that the file has are not measured again; what was asked is kept in `--stores`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import real
from program import interval, markdown, on_sets, resumed, said
from rare import as_many

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Gold

RESULTS = Path(__file__).parent / "results" / "shares.json"
SETS = ("trec", "agnews")
COUNTS = {"agnews": (72, 40, 20, 8)}
"""How many rows of each class, where a set is not taken as it is."""

ROWS, CALLS, DRAWS = 160, 8.0, 3
WAYS = {"untold": "not told", "told": "told"}
SCORES = {"accuracy": "accuracy", "auroc": "AUROC", "ece": "ECE"}


def draw(folder: Path, name: str, seed: int, rows: int) -> tuple[Dataset, Gold]:
    """So many rows of a set as it is, or as many of each class as `COUNTS` says."""
    from numpy.random import default_rng

    from consilience.data.dataset import Dataset

    if name not in COUNTS:
        return real.draw(folder, name, rows, seed)
    every, gold = real.draw(folder, name, 10**9, seed)
    scale = rows / ROWS
    classes = default_rng(seed).permutation(every.task.k).tolist()
    wanted = {c: round(scale * n) for c, n in zip(classes, COUNTS[name], strict=True)}
    chosen = as_many(every, gold, wanted)
    if len(chosen) < sum(wanted.values()):
        raise SystemExit(f"{name} has too few rows of a class")
    return Dataset(f"{name}-{seed}", chosen, task=every.task), gold


def shares(data: Dataset, gold: Gold) -> dict[str, float]:
    """The share of each class, of one that is not there that of half a row."""
    rows = Counter(gold.labels[id] for id in data.ids)
    count = [rows[c] or 0.5 for c in range(data.task.k)]
    return {name: n / sum(count) for name, n in zip(data.task.classes, count, strict=True)}


def measure(given: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """The scores of one draw, each way."""
    import numpy as np

    from consilience.elicitation.session import elicit, solve_run
    from consilience.elicitation.settings import PLAN_VERSION, Settings
    from consilience.evaluation.metrics import score
    from consilience.models import open_model
    from consilience.store.database import Store

    data, gold = draw(given.data, name, seed, given.rows)
    truth = np.array([gold.labels[id] for id in data.ids])
    model = open_model(given.model)
    plain = Settings(calls_per_example=CALLS)
    told = replace(plain, shares=shares(data, gold))
    given.stores.mkdir(parents=True, exist_ok=True)
    with Store(given.stores / f"shares-{name}.db") as store:
        untold = elicit(data, model, settings=plain, store=store, seed=seed, concurrency=64)
        again = solve_run(store, untold.run.id, data, told)
    row: dict[str, Any] = {"model": given.model.rpartition("/")[2], "set": name, "draw": seed}
    row |= {"rows": len(data), "plan": PLAN_VERSION}
    row["classes"] = np.bincount(truth, minlength=data.task.k).tolist()
    for way, found in zip(WAYS, (untold, again), strict=True):
        scores = score(found.soft_labels, truth, data.groups)
        row[way] = {s: round(scores[s].estimate, 4) for s in SCORES}
        row[way]["verdict"] = found.verdict.kind.value
    return row


def table(made: list[dict[str, Any]]) -> str:
    """Markdown: a row for each draw, and the mean of each set."""
    head = ["set", "draw", "rows of each class"]
    head += [f"{words}: {name}" for words in WAYS.values() for name in SCORES.values()]
    lines = []
    for name in dict.fromkeys(row["set"] for row in made):
        mine = [row for row in made if row["set"] == name]
        for row in mine:
            cells = [name, str(row["draw"]), ", ".join(map(str, row["classes"]))]
            cells += [f"{row[way][s]:.2f}" for way in WAYS for s in SCORES]
            lines.append(cells)
        if len(mine) == 1:
            continue
        means = [interval([row[way][s] for row in mine]) for way in WAYS for s in SCORES]
        lines.append([name, "mean", "", *means])
    return markdown(head, lines)


def main() -> None:
    """Measures the draws that the file lacks, and prints the table."""
    parser = on_sets(__doc__, SETS, RESULTS, real.STORES)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--rows", type=int, default=ROWS)
    given = said(parser)
    wanted = [] if given.table else product(given.sets, range(given.draws))
    jobs = ((place, partial(measure, given, *place)) for place in wanted)
    print(table(resumed(given.output, lambda row: (row["set"], row["draw"]), jobs)))


if __name__ == "__main__":
    main()
