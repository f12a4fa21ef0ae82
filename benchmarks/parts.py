"""What each part of the method is worth on real models: asked and solved without it.

    uv run python benchmarks/parts.py --models MODELS --data DATA
    uv run python benchmarks/parts.py --table                        # the tables alone

MODELS and DATA are those of `benchmarks/real.py`. Unlike `ablation.py`, which solves the same
predictions under other objectives, every variant asks anew, for its labels are in the shots of the
next round: 160 examples of a public set, 8 calls for each. Runs that the file of results has are
not made again, and what was asked is kept (`--stores`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import real
from program import markdown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consilience.data.dataset import Dataset, Gold
    from consilience.elicitation.settings import Settings
    from consilience.models.base import Model
    from consilience.planning.planner import Shot, _Drawer
    from consilience.store.database import Store

RESULTS = Path(__file__).parent / "results" / "parts.json"
CALLS = 8.0
MODELS = ("gemma", "smol")
SETS = ("sst2", "subj", "sms", "mr")
DEFAULT = "default"
RIGHT = 0.7
"""A run on a set of two classes is right from this accuracy on."""

NOTHING = 1e-12
"""A share of probability so small that a run which stops below it never does."""

DRAWN_ANYHOW = "shots of the likeliest class, not by rank"
START = "zero-shot answers the only start"
SURE = "as sure as the mixture says"
PARTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Callable[..., Any] | float]]] = {
    DEFAULT: ({}, {}),
    "offsets left in": ({"bias": "none"}, {}),
    DRAWN_ANYHOW: ({}, {"planning.planner._Drawer._queue": lambda *given: anyhow(*given)}),
    START: ({"census": 0.0}, {}),
    "wordings and lists worth alike": (
        {},
        {"evidence.agreement._agreeing": lambda z, *given, **options: np.ones(len(z))},
    ),
    "errors taken for independent": ({}, {"evidence.collect.shared_error": lambda *given: 0.0}),
    SURE: (
        {},
        {
            "evidence.mixture.BELIEVED": 1.0,
            "evidence.mixture.BELIEVED_OF_MANY": 1.0,
            "results.diagnosis.temper_factor": lambda *given: 1.0,
        },
    ),
}
"""By what is left out: the settings, and what takes the place of what in the package."""


def anyhow(drawer: _Drawer, members: NDArray[np.int64], c: int, wanted: float) -> Iterator[Shot]:
    """Those whose likeliest class is `c`, in random order."""
    mine = members[drawer.allowed[members, c] & (drawer.hard[members] == c)]
    return ((int(i), c) for i in drawer.rng.permutation(mine))


@contextmanager
def without(part: str) -> Iterator[Settings]:
    """The settings of a variant, and in the package what it puts in the place of a part."""
    from consilience.elicitation.settings import Settings

    settings, replaced = PARTS[part]
    with ExitStack() as stack:
        for place, other in replaced.items():
            stack.enter_context(patch(f"consilience.{place}", other))
        # A store knows a run by its settings: a variant must not be taken for another one.
        yield Settings(calls_per_example=CALLS, settled=NOTHING * [*PARTS].index(part), **settings)


def measured(
    part: str, data: Dataset, gold: Gold, model: Model, store: Store, seed: int
) -> dict[str, Any]:
    """What a run without a part comes to."""
    from consilience.elicitation.session import elicit
    from consilience.evaluation.baselines import gold_array
    from consilience.evaluation.metrics import score

    with without(part) as settings:
        found = elicit(data, model, settings=settings, store=store, seed=seed, concurrency=64)
        verdict = found.verdict.kind.value
        labels = found.soft_labels
    scores = score(labels, gold_array(data, gold), data.groups)
    return {
        **{name: round(scores[name].estimate, 4) for name in ("accuracy", "auroc", "ece")},
        "sure": round(float(labels.max(axis=1).mean()), 4),
        "verdict": verdict,
    }


def measure(
    given: argparse.Namespace, runs: list[dict[str, Any]], keep: Callable[[], None]
) -> None:
    """Every variant on the sets and models given that `runs` lack, kept one by one."""
    from consilience.elicitation.settings import PLAN_VERSION
    from consilience.store.database import Store

    for name, chosen in product(given.sets, given.only):
        spec = f"local:{given.models / chosen}"
        (case,) = real.cases(argparse.Namespace(**vars(given) | {"sets": [name]}), spec)
        place = {"model": chosen, "data": name, "seed": 0}
        run = next((r for r in runs if place.items() <= r.items()), None)
        if run is None or run["plan"] != PLAN_VERSION:
            runs[:] = [r for r in runs if r is not run]
            run = place | {"plan": PLAN_VERSION, "parts": {}}
            runs.append(run)
        data, gold = case.data(0)
        for part in PARTS:
            if part not in run["parts"]:
                with Store(case.store) as store:
                    run["parts"][part] = measured(part, data, gold, case.model(), store, 0)
                print(chosen, name, part, run["parts"][part], flush=True)
                keep()


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a table for each model."""
    models = list(dict.fromkeys(run["model"] for run in runs))
    return "\n".join(_of_model(m, [run for run in runs if run["model"] == m]) for m in models)


def _of_model(model: str, runs: list[dict[str, Any]]) -> str:
    """A row for each variant: accuracy and AUROC on each set, and what the runs say of themselves.

    Of the runs that have all variants.
    """
    runs = [run for run in runs if run["parts"].keys() >= PARTS.keys()]
    names = [run["data"] for run in runs]
    head = ["", *names, "mean accuracy", "ECE", "max p", "coherent, right", "coherent, wrong"]
    lines = []
    for part in PARTS:
        mine = [run["parts"][part] for run in runs]
        told = [made["verdict"] == "coherent" for made in mine]
        right = [made["accuracy"] >= RIGHT for made in mine]
        mean = (f"{np.mean([made[s] for made in mine]):.2f}" for s in ("accuracy", "ece", "sure"))
        cells = [f"{made['accuracy']:.2f} / {made['auroc']:.2f}" for made in mine]
        both = sum(a and b for a, b in zip(told, right, strict=True))
        cells += [*mean, f"{both} of {sum(right)}", f"{sum(told) - both} of {right.count(False)}"]
        lines.append([part, *cells])
    return f"{model}, accuracy / AUROC\n\n{markdown(head, lines)}\n"


def main() -> None:
    """Measures what was asked for and the file lacks, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--table", action="store_true", help="print the tables, measure nothing")
    add("--models", type=Path, help="folder of the folders of models")
    add("--only", nargs="+", default=MODELS, help="the folders in it that are measured")
    add("--data", type=Path, help="folder of NAME.csv, with the columns text and label")
    add("--sets", nargs="+", choices=real.TASKS, default=SETS, metavar="SET")
    add("--examples", type=int, default=real.EXAMPLES)
    add("--stores", type=Path, default=real.STORES, help="folder of what was asked")
    add("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.base_url = None
    runs = json.loads(given.output.read_text()) if given.output.exists() else []

    def keep() -> None:
        # After each run, so that what was measured stays if the rest never is.
        given.output.write_text(json.dumps(runs, indent=1) + "\n")

    if not given.table:
        if not (given.models and given.data):
            parser.error("say --models and --data, or --table")
        measure(given, runs, keep)
    print(table(runs))


if __name__ == "__main__":
    main()
