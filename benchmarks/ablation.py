"""What each term of the objective is worth, on the same stored predictions; and label models.

    uv run --group bench python benchmarks/ablation.py            # measures, writes the JSON
    uv run --group bench python benchmarks/ablation.py --table    # prints the tables from it

For each world and seed one run is asked (8 calls per example, of which a part are contrasts) and
every variant of the objective is solved on its predictions. The same predictions go to the mean
of the last round (what bootstrapping ends in), to Dawid and Skene's and to GLAD (crowd-kit), and
to Snorkel's label model; a round is their worker (without shots, a framing), the likelier label
its vote.
The worlds have no logical facts, so that leaving these out changes nothing; a variant counts
their design priors ("one of three is true"), which only `grouped` has. Accuracy is averaged over
the seeds; the interval is that of the mean (Student's t over seeds).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import program
from program import interval

if TYPE_CHECKING:
    from consilience.evidence.evidence import Evidence

RESULTS = Path(__file__).parent / "results" / "ablation.json"
WORLDS = ("easy", "noisy", "grouped", "k4", "imbalanced", "distractor")
EXAMPLES, CALLS, CONTRASTS = 400, 8.0, 0.25


def variants() -> dict[str, dict[str, float]]:
    """The weights of each objective, by what was changed from the default."""
    from consilience.objective.coherence import DEFAULT_WEIGHTS, TERMS

    made = {"default": dict(DEFAULT_WEIGHTS)}
    for name in DEFAULT_WEIGHTS:
        if name != "entropy":
            made[f"− {name}"] = {n: w for n, w in DEFAULT_WEIGHTS.items() if n != name}
    for name in TERMS:
        if name not in DEFAULT_WEIGHTS and name != "averaging":
            made[f"+ {name} 0.5"] = DEFAULT_WEIGHTS | {name: 0.5}
    made["+ averaging 4"] = DEFAULT_WEIGHTS | {"averaging": 4.0}
    made["entropy 0.5"] = DEFAULT_WEIGHTS | {"entropy": 0.5}
    return made


def votes(evidence: Evidence) -> np.ndarray:
    """The vote of each worker on each example, (N, workers); −1 for none.

    A round is one, of questions without shots each framing: two framings of a round with shots
    share no example, so that label models would find all of them independent.
    """
    asked = evidence.predictions
    alone = np.where(asked.zero.numpy(), asked.framing.numpy(), -1)
    told_apart = np.stack([asked.round.numpy(), alone], axis=1)
    worker = np.unique(told_apart, axis=0, return_inverse=True)[1].reshape(-1)
    table = np.full((evidence.n, worker.max() + 1), -1)
    ordinary, said = ~asked.brief.numpy(), asked.logp.argmax(dim=1).numpy()
    table[asked.target.numpy()[ordinary], worker[ordinary]] = said[ordinary]
    return table


def last_round(evidence: Evidence) -> np.ndarray:
    """The label that each example's last prediction gives: what a bootstrap would show next."""
    asked = evidence.predictions
    ordinary = (~asked.brief).nonzero().flatten().numpy()
    order = ordinary[np.argsort(asked.round.numpy()[ordinary], kind="stable")]
    labels = np.zeros(evidence.n, dtype=int)
    labels[asked.target.numpy()[order]] = asked.logp.argmax(dim=1).numpy()[order]
    return labels


def mean_of_rounds(evidence: Evidence) -> np.ndarray:
    """The mean log-probabilities of each example's predictions with shots: the bootstrap's mean."""
    asked = evidence.predictions
    total = np.zeros((evidence.n, evidence.k))
    shown = (~asked.brief & ~asked.zero).numpy()
    np.add.at(total, asked.target.numpy()[shown], asked.logp.numpy()[shown])
    return total.argmax(axis=1)


def crowd(method: str) -> Callable[[np.ndarray, int], np.ndarray]:
    """A label model of crowd-kit, as a function of votes and the number of classes."""

    def labels(table: np.ndarray, k: int) -> np.ndarray:
        import pandas as pd
        from crowdkit.aggregation import GLAD, DawidSkene

        task, worker = np.nonzero(table >= 0)
        frame = pd.DataFrame({"task": task, "worker": worker, "label": table[task, worker]})
        model = DawidSkene(n_iter=100) if method == "ds" else GLAD(n_iter=100, silent=True)
        return model.fit_predict(frame).reindex(range(len(table))).to_numpy()

    return labels


def snorkel(table: np.ndarray, k: int) -> np.ndarray:
    """Snorkel's label model with its defaults."""
    from snorkel.labeling.model import LabelModel

    model = LabelModel(cardinality=k, verbose=False)
    model.fit(table, n_epochs=500, seed=0, progress_bar=False)
    return model.predict(table, tie_break_policy="random")


OTHERS = {"Dawid–Skene": crowd("ds"), "GLAD": crowd("glad"), "Snorkel LabelModel": snorkel}


def measure(job: tuple[str, int]) -> dict[str, Any]:
    """The accuracies on one world and seed."""
    import torch

    from consilience.elicitation.session import elicit
    from consilience.elicitation.settings import Settings
    from consilience.evidence.relation_factors import factors
    from consilience.models.simulated import SimulatedModel, world_dataset
    from consilience.objective.coherence import TERMS
    from consilience.planning.planner import PlanSettings
    from consilience.solvers.solution import solve

    torch.set_num_threads(1)
    world, seed = job
    data, gold = world_dataset(world, EXAMPLES, seed)
    truth = np.array([gold.labels[id] for id in data.ids])
    settings = Settings(
        calls_per_example=CALLS, settled=0.0, plan=PlanSettings(contrasts=CONTRASTS)
    )
    evidence = elicit(
        data, SimulatedModel(world), settings=settings, seed=seed, concurrency=1
    ).evidence
    scores = {}
    for name, weights in variants().items():
        terms = {term: TERMS[term].at(weight) for term, weight in weights.items()}
        labels = solve(evidence, terms, seed=seed).labels.argmax(axis=1)
        scores[name] = float((labels == truth).mean())
    ties = factors(data.relations, data.index, data.task.k)
    tied = solve(replace(evidence, factors=ties), seed=seed).labels.argmax(axis=1)
    scores["+ design priors"] = float((tied == truth).mean())
    table = votes(evidence)
    said = {"last round": last_round(evidence), "mean of rounds": mean_of_rounds(evidence)}
    said |= {name: model(table, data.task.k) for name, model in OTHERS.items()}
    scores |= {name: float((labels == truth).mean()) for name, labels in said.items()}
    return {"world": world, "seed": seed, "contrasts": evidence.f, "accuracy": scores}


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a row per variant; each cell the mean difference to the default over seeds."""
    names = list(runs[0]["accuracy"])
    lines = ["| | " + " | ".join(WORLDS) + " |", "|" + "---|" * (len(WORLDS) + 1)]
    for name in names:
        cells = []
        for world in WORLDS:
            mine = [r["accuracy"] for r in runs if r["world"] == world]
            if name == "default":
                cells.append(interval([scores[name] for scores in mine]))
            else:
                gap = interval([scores[name] - scores["default"] for scores in mine])
                cells.append(gap if gap.startswith("-") else f"+{gap}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    program.run(__doc__, measure, lambda seeds: product(WORLDS, range(seeds)), table, RESULTS)
