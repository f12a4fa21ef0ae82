"""What each part of a run is worth: asked and solved without it, on the same worlds and draws.

    uv run python benchmarks/parts.py            # measures, writes results/parts.json
    uv run python benchmarks/parts.py --table    # prints the table of the documentation from it

Unlike `ablation.py`, which solves the same predictions under other objectives, every variant asks
anew, for its labels are in the shots of the next round: 400 examples (240 claims for the pocket
model), 8 calls for each where not said otherwise. A cell is the mean over draws of the paired
difference to the default, in accuracy, with the 95 % interval of that mean (Student's t).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import program
from program import interval

if TYPE_CHECKING:
    from torch import Tensor

    from consilience.elicitation.session import Session
    from consilience.elicitation.settings import Settings
    from consilience.objective.conditioning import State
    from consilience.objective.term import Terms

RESULTS = Path(__file__).parent / "results" / "parts.json"
WORLDS = ("noisy", "grouped", "k4", "imbalanced")
POCKET = ("pocket-popular", "pocket-imbalanced")
DEFAULT = "default"
STALE = "labels change after every second round"
EXAMPLES, CLAIMS, CALLS, MORE = 400, 240, 8.0, 32.0
PLAIN = "plain framing alone"
LONG, EARLY = f"{MORE:g} calls", f"{MORE:g} calls, stopping early"
LASTING = (LONG, EARLY)
"""The variants that are asked on the first world alone: they take four times as long."""


def undated(state: State) -> Tensor:
    """Mutual predictability with every prediction relevant, whatever labels its prompt showed."""
    from consilience.objective.pools import per_target

    share = state.reading.share.unsqueeze(0).unsqueeze(-1)
    pool = per_target(state.evidence, share * state.evidence.predictions.logp)[0]
    return (state.q * pool).sum(dim=-1).mean()


def slowly() -> Callable[[Session], None]:
    """After every other round but those of a census, the labels stay those before it."""
    kept = None

    def hold(session: Session) -> None:
        nonlocal kept
        state = session.state
        begun = state.round - (1 if state.ranking is None else state.ranking.end)
        if begun > 0 and begun % 2:
            state.labels = kept
        kept = state.labels

    return hold


def variants() -> dict[str, tuple[Settings, Terms]]:
    """Settings and objective of each variant, by what was changed."""
    from dataclasses import replace

    from consilience.elicitation.settings import Settings
    from consilience.objective.coherence import default_terms
    from consilience.planning.planner import PlanSettings

    usual, terms = Settings(calls_per_example=CALLS, settled=0.0), default_terms()
    fewer = {name: term for name, term in terms.items() if name != "class frequency"}
    undated_too = {
        "mutual predictability": replace(terms["mutual predictability"], function=undated)
    }

    def planned(plan: PlanSettings) -> tuple[Settings, Terms]:
        return replace(usual, plan=plan), terms

    return {
        DEFAULT: (usual, terms),
        "no census": (replace(usual, census=0.0), terms),
        "no class frequency": (usual, fewer),
        "neither of the two": (replace(usual, census=0.0), fewer),
        PLAIN: (replace(usual, framings=("plain",)), terms),
        "names not paired": (replace(usual, bias="none"), terms),
        "every prediction relevant": (
            usual,
            {**terms, **undated_too},
        ),
        STALE: (usual, terms),
        "a quarter of the calls in contrasts": planned(PlanSettings(contrasts=0.25)),
        "relations as design priors": (replace(usual, priors=True), terms),
        "stopping early": (replace(usual, settled=Settings().settled), terms),
        LONG: (replace(usual, calls_per_example=MORE), terms),
        EARLY: (replace(usual, calls_per_example=MORE, settled=Settings().settled), terms),
    }


def measure(job: tuple[str, int]) -> dict[str, Any]:
    """The accuracy and the calls of every variant on one data set and draw."""
    import numpy as np
    import torch

    from consilience.datasets import load_dataset
    from consilience.elicitation.session import Session
    from consilience.models import open_model
    from consilience.models.simulated import world_dataset
    from consilience.store.database import Store

    torch.set_num_threads(1)
    name, seed = job
    real = name in POCKET
    if real:
        model = open_model("local:pocket")
        data, gold = load_dataset(name, seed=seed, claims=str(CLAIMS))
        assert gold is not None
    else:
        model = open_model(f"simulated:{name}")
        data, gold = world_dataset(name, EXAMPLES, seed)
    truth = np.array([gold.labels[id] for id in data.ids])
    reached, calls = {}, {}
    for variant, (settings, terms) in variants().items():
        if variant in LASTING and name != WORLDS[0]:
            continue
        if variant == PLAIN and not data.task.statement:
            continue
        with Store() as store:
            session = Session(data, model, store, settings=settings, seed=seed, terms=terms)
            found = program.worked_off(
                session,
                concurrency=64 if real else 1,
                then=slowly() if variant == STALE else lambda session: None,
            )
        reached[variant] = float((found.solution.labels.argmax(axis=1) == truth).mean())
        calls[variant] = found.run.planned / len(data)
    return {"data": name, "seed": seed, "accuracy": reached, "calls": calls}


def jobs(seeds: int) -> list[tuple[str, int]]:
    """The draws of each world; a quarter as many of the pocket model's, which takes longest."""
    return [*product(WORLDS, range(seeds)), *product(POCKET, range(seeds // 4))]


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a row per variant, the first the accuracy, the others the difference to it."""
    columns = [n for n in (*WORLDS, *POCKET) if any(run["data"] == n for run in runs)]
    lines = ["| | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 1)]
    for variant in runs[0]["accuracy"]:
        cells = []
        for name in columns:
            mine = [r["accuracy"] for r in runs if r["data"] == name and variant in r["accuracy"]]
            if not mine:
                cells.append("")
            elif variant == DEFAULT:
                cells.append(interval([row[variant] for row in mine]))
            else:
                gap = interval([row[variant] - row[DEFAULT] for row in mine])
                cells.append(gap if gap.startswith("-") else f"+{gap}")
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    asked = {
        name: [run["calls"][name] for run in runs if name in run["calls"]]
        for name in ("stopping early", EARLY)
    }
    one, more = (f"{sum(calls) / len(calls):.2f}" for calls in asked.values())
    said = f"Stopping early: {one} calls of {CALLS:g}, {more} of {MORE:g}."
    return "\n".join(lines) + f"\n\n{said}"


if __name__ == "__main__":
    program.run(__doc__, measure, jobs, table, RESULTS, 20)
