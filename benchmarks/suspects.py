"""How well each measure of uncertainty finds the labels that are wrong.

    uv run python benchmarks/suspects.py            # measures, writes results/suspects.json
    uv run python benchmarks/suspects.py --table    # prints the table of docs/theory.md from it

On simulated worlds with known truth: the AUROC of a measure for telling wrong labels from right
ones (0.5 is chance; below it the low values are the suspect ones), and its rank correlation with
1 − probability. Means over the seeds.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import program

from consilience.objective.evidence_tables import evidence_table

RESULTS = Path(__file__).parent / "results" / "suspects.json"
WORLDS = ("noisy", "no-answer")
MEASURES = (
    *("1 − probability", "aleatoric", "epistemic"),
    *("label_disagreement", "score_spread", "structural"),
)
EXAMPLES, CALLS = 200, 8.0


def measure(job: tuple[str, int]) -> dict[str, Any]:
    """The AUROC and the rank correlation of every measure in one run."""
    import torch
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    from consilience.elicitation.session import elicit
    from consilience.models.simulated import SimulatedModel, world_dataset

    torch.set_num_threads(1)
    world, seed = job
    data, gold = world_dataset(world, EXAMPLES, seed)
    found = elicit(data, SimulatedModel(world), calls_per_example=CALLS, seed=seed, concurrency=1)
    spread = evidence_table(found.evidence, "ensemble variance", found.solution.labels)
    table = found.labels.merge(spread, on="id", validate="one_to_one")
    table["1 − probability"] = 1 - table["probability"]
    wrong = table["label"] != table["id"].map(gold.labels)
    return {
        "world": world,
        "seed": seed,
        "accuracy": float(1 - wrong.mean()),
        "auroc": {name: float(roc_auc_score(wrong, table[name])) for name in MEASURES},
        "correlation": {
            name: float(spearmanr(table["1 − probability"], table[name]).statistic)
            for name in MEASURES
        },
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown, two rows per world."""
    lines = ["| | " + " | ".join(f"`{name}`" for name in MEASURES) + " |"]
    lines.append("|" + "---|" * (len(MEASURES) + 1))
    for world, (score, said) in product(
        WORLDS, (("auroc", "finds wrong labels"), ("correlation", "rank correlation"))
    ):
        mine = [run[score] for run in runs if run["world"] == world]
        means = [f"{np.mean([scores[name] for scores in mine]):.2f}" for name in MEASURES]
        lines.append(f"| {world}, {said} | " + " | ".join(means) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    program.run(
        __doc__, measure, lambda seeds: product(WORLDS, range(seeds)), table, RESULTS, seeds=5
    )
