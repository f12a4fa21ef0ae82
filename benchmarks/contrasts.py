"""Runs whose first shots carry the labels of a wrong concept: are they found out, and how often.

    uv run python benchmarks/contrasts.py            # measures, writes results/contrasts.json
    uv run python benchmarks/contrasts.py --table    # prints the table from it

The simulated learner carries three concepts; the first is the truth. A run either begins as usual,
from the zero-shot answers, or its first shots are labelled by the second concept. Counted are the
runs in which the labels chosen are nearer to the truth than to the second concept, those in
which one of the optima returned is, and those in which the second opinion is, that is, the
labels from zero-shot answers and contrasts alone. Agreement is that of labels and second opinion.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import program
from program import interval

RESULTS = Path(__file__).parent / "results" / "contrasts.json"
WORLDS = ("noisy", "easy", "distractor")
BUDGETS = ((8.0, 0.0), (8.0, 0.5), (16.0, 1.0))
EXAMPLES = 400


def measure(job: tuple[str, int, tuple[float, float], bool]) -> dict[str, Any]:
    """One run: what was chosen, what was returned, and what the second opinion says."""
    import torch

    from consilience.elicitation.session import Session
    from consilience.elicitation.settings import Settings
    from consilience.models.simulated import WORLDS as KNOWN
    from consilience.models.simulated import SimulatedModel, true_label, world_dataset
    from consilience.planning.planner import PlanSettings
    from consilience.results.shot_free_check import check_without_shots
    from consilience.solvers.lbfgs import LBFGS
    from consilience.store.database import Store

    torch.set_num_threads(1)
    world, seed, (calls, contrasts), seeded = job
    data, _ = world_dataset(world, EXAMPLES, seed)
    concepts = np.array([[true_label(KNOWN[world], c, id) for id in data.ids] for c in range(2)])
    settings = Settings(
        calls_per_example=calls, settled=0.0, census=0.0, plan=PlanSettings(contrasts=contrasts)
    )

    def tamper(session: Session) -> None:
        if seeded and session.round == 1:
            session.state.labels = np.where(np.eye(2)[concepts[1]] > 0, 0.9, 0.1)

    with Store() as store:
        session = Session(data, SimulatedModel(world), store, settings=settings, seed=seed)
        found = program.worked_off(session, solver=LBFGS(starts=16), then=tamper)
    opinion = check_without_shots(found.evidence, found.solution, found.terms, seed=seed)
    assert opinion is not None

    def near(labels: np.ndarray) -> list[float]:
        return [float(x) for x in (labels.argmax(axis=1) == concepts).mean(axis=1)]

    return {
        "world": world,
        "seed": seed,
        "calls_per_example": calls,
        "contrasts": contrasts,
        "seeded": seeded,
        "chosen": near(found.solution.labels),
        "returned": [near(optimum.labels) for optimum in found.solution.optima],
        "opinion": near(opinion.labels),
        "agreement": opinion.agreement,
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown, one row per world, budget and start."""
    head = ["world", "calls", "contrasts", "first shots", "accuracy", "chosen is true"]
    head += ["one returned is", "second opinion is", "agreement", "lowest", "highest"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for world, (calls, contrasts), seeded in product(WORLDS, BUDGETS, (False, True)):
        wanted = (world, calls, contrasts, seeded)
        mine = [
            r
            for r in runs
            if (r["world"], r["calls_per_example"], r["contrasts"], r["seeded"]) == wanted
        ]
        if not mine:
            continue
        n = len(mine)
        agreement = [r["agreement"] for r in mine]
        cells = [world, f"{calls:g}", f"{contrasts:g}", "wrong concept" if seeded else "as usual"]
        cells += [
            interval([r["chosen"][0] for r in mine]),
            f"{sum(r['chosen'][0] > r['chosen'][1] for r in mine)} of {n}",
            f"{sum(any(a > b for a, b in r['returned']) for r in mine)} of {n}",
            f"{sum(r['opinion'][0] > r['opinion'][1] for r in mine)} of {n}",
            f"{np.mean(agreement):.2f}",
            f"{min(agreement):.2f}",
            f"{max(agreement):.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    program.run(
        __doc__,
        measure,
        lambda seeds: product(WORLDS, range(seeds), BUDGETS, (False, True)),
        table,
        RESULTS,
    )
