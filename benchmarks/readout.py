"""What part of a lead is in the asking, and what part in how answers become labels.

    uv run python benchmarks/readout.py            # measures, writes the JSON
    uv run python benchmarks/readout.py --table    # prints the table from it

Each method asks as it does on the page of methods (8 calls for each example, draws from 2000 on),
and labels twice: as it does, and by the solve that consilience ends with, on the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import program
from program import interval, markdown

if TYPE_CHECKING:
    import numpy as np

    from consilience.evaluation.baselines.base import BaselineContext, QueryAnswers

RESULTS = Path(__file__).parent / "results" / "readout.json"
WORLDS = ("easy", "noisy", "grouped", "k4")
METHODS = ("bootstrap-confident", "ranked", "golden", "consilience")
EXAMPLES, CALLS, FIRST = 400, 8.0, 2000
OWN, SOLVED = "as it does", "solved"


def measure(job: tuple[str, int]) -> dict[str, Any]:
    """The accuracies of each method on one world and draw, by how its answers became labels."""
    import numpy as np
    import torch

    from consilience.elicitation.settings import Settings
    from consilience.evaluation.baselines.base import BaselineContext
    from consilience.evaluation.benchmark.methods import BENCHMARK_METHODS
    from consilience.evaluation.benchmark.scores import readout_scores
    from consilience.models.simulated import SimulatedModel, world_dataset
    from consilience.store.database import Store

    torch.set_num_threads(1)
    world, seed = job
    data, gold = world_dataset(world, EXAMPLES, seed)
    truth = np.array([gold.labels[id] for id in data.ids])
    settings = Settings(calls_per_example=CALLS, settled=0.0)
    accuracy: dict[str, dict[str, float]] = {}
    with Store() as store:
        for name in METHODS:
            bench = BaselineContext(
                data, SimulatedModel(world), store=store, settings=settings, seed=seed
            )
            kept = watched(bench)
            made = BENCHMARK_METHODS[name](bench, gold)
            ways = {OWN: made.labels}
            if name != "consilience":
                ways[SOLVED] = solved(bench, kept)
            accuracy[name] = {
                way: readout_scores(labels, truth)["accuracy"] for way, labels in ways.items()
            }
    return {"world": world, "seed": seed, "accuracy": accuracy}


def watched(bench: BaselineContext) -> list[QueryAnswers]:
    """A list that gets every round that is asked from now on, with its answers."""
    kept: list[QueryAnswers] = []
    ask = bench.asked

    def asked(*given: Any, **more: Any) -> QueryAnswers:  # noqa: ANN401 (passed on)
        kept.append(ask(*given, **more))
        return kept[-1]

    bench.asked = asked  # type: ignore[method-assign]
    return kept


def solved(bench: BaselineContext, rounds: Sequence[QueryAnswers]) -> np.ndarray:
    """The labels (N, K) that the solve makes of answers, each wording and round weighed."""
    from consilience.evidence.collect import collect
    from consilience.solvers.solution import solve
    from consilience.solvers.starts import first_labels

    evidence = collect(bench.data, bench.framings, rounds).weighed()
    return solve(evidence, start=first_labels(evidence), seed=bench.seed).labels


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Accuracies in both ways, and by how much consilience is ahead in each."""
    lines = []
    for world in WORLDS:
        mine = [run["accuracy"] for run in runs if run["world"] == world]
        ours = [scores["consilience"][OWN] for scores in mine]
        for name in METHODS[:-1]:
            cells = [world, name]
            for way in (OWN, SOLVED):
                cells.append(interval([scores[name][way] for scores in mine]))
            for way in (OWN, SOLVED):
                theirs = [scores[name][way] for scores in mine]
                cells.append(interval([a - b for a, b in zip(ours, theirs, strict=True)]))
            lines.append(cells)
    head = ["world", "method", OWN, SOLVED, f"consilience less it, {OWN}", f"less it, {SOLVED}"]
    return markdown(head, lines)


def jobs(seeds: int) -> product[tuple[str, int]]:
    """Every world and draw."""
    return product(WORLDS, range(FIRST, FIRST + seeds))


if __name__ == "__main__":
    program.run(__doc__, measure, jobs, table, RESULTS)
