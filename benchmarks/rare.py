"""What becomes of a rare class: public sets drawn with few of a class, and simulated worlds.

    uv run python benchmarks/rare.py --model local:FOLDER --data DATA
    uv run python benchmarks/rare.py --worlds         # simulated worlds in their place
    uv run python benchmarks/rare.py --table          # the tables alone

DATA holds the tables `NAME.csv` of `benchmarks/real.py`. Of each set of two classes so many rows
are drawn that one class has the share asked for; a run labels them with 8 calls each. *Told*: the
same answers, solved again with the true share in `planning.shares`. Draws that the file has are
not measured again; what was asked is kept in `--stores`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import real
from program import interval, markdown, on_sets, said

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Example, Gold
    from consilience.models.base import Model

RESULTS = Path(__file__).parent / "results" / "rare.json"
SETS = ("sst2", "mr", "subj")
SHARES = (0.1, 0.9)
"""Of the second class: of `positive`, `subjective`."""

ROWS, CALLS = 160, 8.0
WORLDS = ("imbalanced-1", "imbalanced", "imbalanced-90", "imbalanced-99")
WORLD_ROWS, DRAWS = 400, 8


def draw(folder: Path, name: str, share: float, rows: int) -> tuple[Dataset, Gold]:
    """So many rows of a set, of which the second class has that share."""
    from consilience.data.dataset import Dataset, Gold

    every, gold = real.draw(folder, name, 10**9, 0)
    wanted = {1: round(share * rows), 0: rows - round(share * rows)}
    chosen = as_many(every, gold, wanted)
    if len(chosen) < rows:
        raise SystemExit(f"{name} has too few rows of a class for {share:.0%} of {rows}")
    return Dataset(f"{name}-{share:g}", chosen, task=every.task), Gold(gold.labels)


def as_many(every: Dataset, gold: Gold, wanted: Mapping[int, int]) -> list[Example]:
    """The first examples of each class, so many as are wanted, as far as there are."""
    left, chosen = dict(wanted), []
    for example in every.examples:
        if left[gold.labels[example.id]] > 0:
            left[gold.labels[example.id]] -= 1
            chosen.append(example)
    return chosen


def measure(given: argparse.Namespace, name: str, share: float) -> dict[str, Any]:
    """What a run of a real model comes to on one draw, and its answers where the share is told."""
    from consilience.models import open_model

    data, gold = draw(given.data, name, share, given.rows)
    given.stores.mkdir(parents=True, exist_ok=True)
    store = given.stores / f"rare-{name}-{share:g}.db"
    place = {"set": name, "share": share, "seed": 0, "rows": len(data)}
    return place | both_ways(data, gold, open_model(given.model), store, 0)


def measure_world(job: tuple[str, int]) -> dict[str, Any]:
    """The same of a draw of a simulated world."""
    import torch

    from consilience.models import open_model
    from consilience.models.simulated import world_dataset

    torch.set_num_threads(1)
    name, seed = job
    data, gold = world_dataset(name, WORLD_ROWS, seed)
    share = sum(gold.labels[id] for id in data.ids) / len(data)
    place = {"set": name, "share": share, "seed": seed, "rows": len(data)}
    return place | both_ways(data, gold, open_model(f"simulated:{name}"), ":memory:", seed)


def both_ways(
    data: Dataset, gold: Gold, model: Model, path: str | Path, seed: int
) -> dict[str, Any]:
    """The scores of a run that is not told the shares, and of its answers where it is."""
    import numpy as np

    from consilience.elicitation.session import elicit, solve_run
    from consilience.elicitation.settings import PLAN_VERSION, Settings
    from consilience.evaluation.metrics import score
    from consilience.store.database import Store

    truth = np.array([gold.labels[id] for id in data.ids])
    share = float((truth == 1).mean())
    settings = Settings(calls_per_example=CALLS, settled=0.0)
    told = replace(settings, shares={data.task.classes[1]: share})
    made: dict[str, Any] = {"plan": PLAN_VERSION}
    with Store(path) as store:
        concurrency = 1 if path == ":memory:" else 64
        found = elicit(
            data, model, settings=settings, store=store, seed=seed, concurrency=concurrency
        )
        again = solve_run(store, found.run.id, data, told)
    for way, one in (("found", found), ("told", again)):
        labels = one.soft_labels
        scores = score(labels, truth, data.groups)
        rare = int(share < 0.5)
        named = labels.argmax(axis=1) == rare
        hits = float((named & (truth == rare)).sum())
        made[way] = {
            **{s: round(scores[s].estimate, 4) for s in ("accuracy", "auroc", "ece")},
            "named": float((labels.argmax(axis=1) == 1).mean()),
            "precision": hits / max(float(named.sum()), 1.0),
            "recall": hits / float((truth == rare).sum()),
            "verdict": one.verdict.kind.value,
        }
    return made


def table(made: list[dict[str, Any]]) -> str:
    """Markdown: a row for each draw of a real set, and a row for each world."""
    real_ones = [row for row in made if not row["set"].startswith("imbalanced")]
    worlds = [row for row in made if row not in real_ones]
    return "\n\n".join(part(rows) for part, rows in ((_real, real_ones), (_worlds, worlds)) if rows)


def _real(made: list[dict[str, Any]]) -> str:
    head = (
        *("set", "second class", "labelled so", "accuracy", "AUROC", "ECE"),
        *("rare class: precision", "recall", "verdict"),
        *("told: accuracy", "AUROC", "ECE", "precision", "recall", "verdict"),
    )
    lines = []
    for row in made:
        cells = [row["set"], f"{row['share']:.0%}", f"{row['found']['named']:.0%}"]
        for way in ("found", "told"):
            numbers = ("accuracy", "auroc", "ece", "precision", "recall")
            cells += [f"{row[way][s]:.2f}" for s in numbers] + [row[way]["verdict"]]
        lines.append(cells)
    return markdown(head, lines)


def _worlds(made: list[dict[str, Any]]) -> str:
    head = (
        "world",
        "draws",
        "accuracy",
        "AUROC",
        "coherent",
        "told: accuracy",
        "AUROC",
        "coherent",
    )
    lines = []
    for name in dict.fromkeys(row["set"] for row in made):
        mine = [row for row in made if row["set"] == name]
        cells = [name, str(len(mine))]
        for way in ("found", "told"):
            cells += [interval([row[way][s] for row in mine]) for s in ("accuracy", "auroc")]
            cells.append(str(sum(row[way]["verdict"] == "coherent" for row in mine)))
        lines.append(cells)
    return markdown(head, lines)


def main() -> None:
    """Measures the draws that the file lacks, and prints the tables."""
    parser = on_sets(__doc__, SETS, RESULTS, real.STORES)
    add = parser.add_argument
    add("--worlds", action="store_true", help="measure simulated worlds")
    add("--seeds", type=int, default=DRAWS, help="draws of each world")
    add("--workers", type=int, default=2)
    add("--shares", nargs="+", type=float, default=SHARES)
    add("--rows", type=int, default=ROWS)
    given = said(parser)
    made = json.loads(given.output.read_text()) if given.output.exists() else []

    def keep(row: dict[str, Any]) -> None:
        # After each, so that what was measured stays if the rest never is.
        made.append(row)
        given.output.write_text(json.dumps(made, indent=1) + "\n")

    if given.worlds:
        there = {(row["set"], row["seed"]) for row in made}
        lacking = [job for job in product(WORLDS, range(given.seeds)) if job not in there]
        with ProcessPoolExecutor(given.workers) as pool:
            for row in pool.map(measure_world, lacking):
                keep(row)
    elif not given.table:
        for name, share in product(given.sets, given.shares):
            if not any((row["set"], row["share"]) == (name, share) for row in made):
                keep(measure(given, name, share))
    print(table(made))


if __name__ == "__main__":
    main()
