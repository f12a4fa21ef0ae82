r"""Rows that come later: `predict` against having labelled them in the run, at a quarter of calls.

    uv run python benchmarks/newrows.py            # measures, writes results/newrows.json
    uv run python benchmarks/newrows.py --table    # prints the table of the documentation

Of `ROWS` rows the last `LATER` come later. One run labels the rows before them with 8 calls each
and `predict` the others with 2; another labels all in one. Both are scored on the later rows.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import program

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Gold

RESULTS = Path(__file__).parent / "results" / "newrows.json"
WORLDS = ("easy", "noisy", "k4", "pocket")
ROWS, LATER = 300, 100
CALLS, CALLS_LATER = 8.0, 2


def rows_of(name: str, seed: int) -> tuple[Dataset, Gold, str]:
    """All rows, their gold and the model that they are put to."""
    from consilience.datasets import load_dataset
    from consilience.models.simulated import world_dataset

    if name != "pocket":
        return *world_dataset(name, ROWS, seed), f"simulated:{name}"
    data, gold = load_dataset(name, seed=seed, claims=str(ROWS))
    assert gold is not None
    return data, gold, "local:pocket"


def part(data: Dataset, first: int, last: int) -> Dataset:
    """Some of the rows, without relations: what comes later is known to none of the others."""
    from consilience.data.dataset import Dataset

    return Dataset(data.name, data.examples[first:last], task=data.task)


def measure(job: tuple[str, int]) -> dict[str, Any]:
    """The accuracy on the later rows, predicted and as labelled in one run, with its interval."""
    import torch

    from consilience.elicitation.prediction import predict
    from consilience.elicitation.session import elicit
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.baselines import gold_array
    from consilience.evaluation.metrics import score
    from consilience.models import open_model
    from consilience.store.database import Store

    torch.set_num_threads(1)
    name, seed = job
    data, gold, spec = rows_of(name, seed)
    model, settings = open_model(spec), Settings(calls_per_example=CALLS, settled=0.0)
    before, later = part(data, 0, len(data) - LATER), part(data, len(data) - LATER, len(data))
    truth = gold_array(later, gold)
    with Store() as store:
        found = elicit(before, model, settings=settings, store=store, seed=seed)
        new = predict(found, later, model, calls=CALLS_LATER, store=store)
    with Store() as store:
        whole = elicit(part(data, 0, len(data)), model, settings=settings, store=store, seed=seed)
    own = [whole.dataset.index[id] for id in later.ids]
    labelled = score(whole.soft_labels[own], truth, later.groups)["accuracy"]
    return {
        **{"world": name, "seed": seed, "calls": new.asked.calls / len(later)},
        "predicted": float((new.soft_labels.argmax(axis=1) == truth).mean()),
        "labelled": [labelled.estimate, labelled.lower, labelled.upper],
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown, a row for each world: both accuracies, and how often one is within the other."""
    head = [
        "world",
        "draws",
        "labelled in the run",
        "predicted",
        "difference",
        "within the interval",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in (*WORLDS, "all"):
        mine = [run for run in runs if name in (run["world"], "all")]
        if not mine:
            continue
        labelled = [run["labelled"][0] for run in mine]
        predicted = [run["predicted"] for run in mine]
        within = sum(run["predicted"] >= run["labelled"][1] for run in mine)
        gaps = list(np.subtract(predicted, labelled))
        gap = program.interval(gaps) if len(gaps) > 1 else f"{gaps[0]:.3f}"
        cells = [f"{len(mine)}", f"{np.mean(labelled):.3f}", f"{np.mean(predicted):.3f}", gap]
        lines.append(f"| {name} | {' | '.join(cells)} | {within} of {len(mine)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    program.run(__doc__, measure, lambda seeds: product(WORLDS, range(seeds)), table, RESULTS, 3)
