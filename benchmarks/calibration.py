"""How far probabilities are right without landmarks, and how far these calibrate them.

    OMP_NUM_THREADS=1 uv run python benchmarks/calibration.py  # measures: results/calibration.json
    uv run python benchmarks/calibration.py --table            # prints the table from it

Landmarks are drawn at random, again where they are all of one class, and the expected calibration
error (ECE) is that of all other examples. Of a finite sample it is biased upwards, so beside it
stands the ECE that the same probabilities would show if they were perfectly calibrated, measured
on labels drawn from them. Where a run's verdict doubts its labels their log-odds are multiplied by
less than one (`Verdict.doubt`): the first table has the factor, and the one that the truth would
have chosen, by likelihood, before and after it. Numbers are averaged over the draws of a seed, then
over the seeds; the interval is that of the mean (Student's t over seeds). Each seed is a data set
of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import program
from numpy.typing import NDArray
from scipy import stats
from scipy.special import softmax

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

RESULTS = Path(__file__).parent / "results" / "calibration.json"
WORLDS = (
    *("easy", "noisy", "grouped", "k4"),
    *("imbalanced", "imbalanced-1", "imbalanced-99", "distractor"),
    *("pocket", "pocket-popular", "pocket-no-answer"),
)
METHODS = ("none", "temperature", "platt", "auto")
COUNTS = (5, 10, 20)
HOW = ("solved", "scaled")
EXAMPLES, CLAIMS, CALLS = 400, 240, 8.0
FACTORS = np.exp(np.linspace(-1.5, 2.5, 81))
"""What the truth may choose among."""
DRAWS, SIMULATED = 4, 20
TARGET = 0.05


def measure(job: tuple[str, int]) -> dict[str, Any]:
    """The scores of every way to calibrate one run, by number of landmarks."""
    import torch

    from consilience.datasets import load_dataset
    from consilience.elicitation.session import elicit
    from consilience.elicitation.settings import Settings
    from consilience.models import open_model
    from consilience.models.simulated import world_dataset

    torch.set_num_threads(1)
    world, seed = job
    real = world.startswith("pocket")
    if real:
        data, gold = load_dataset(world, seed=seed, claims=str(CLAIMS))
    else:
        data, gold = world_dataset(world, EXAMPLES, seed)
    assert gold is not None
    model = open_model("local:pocket" if real else f"simulated:{world}")
    # The whole budget is used, as in the other measurements on worlds.
    settings = Settings(calls_per_example=CALLS, settled=0.0)
    began = time.perf_counter()
    found = elicit(data, model, settings=settings, seed=seed, concurrency=64 if real else 1)
    truth = np.array([gold.labels[id] for id in data.ids])
    labels, solved = found.soft_labels, found.solution.labels
    rng = np.random.default_rng([seed, 50])
    return {
        "world": world,
        "seed": seed,
        "calls_per_example": CALLS,
        "examples": len(data),
        "accuracy": float((labels.argmax(axis=1) == truth).mean()),
        "factor": found.verdict.doubt,
        "best_factor": best_factor(solved, truth),
        "solved": scores(solved, truth, rng),
        "scaled": scores(labels, truth, rng),
        "landmarks": {str(count): drawn(labels, truth, data.ids, count, rng) for count in COUNTS},
        "seconds": round(time.perf_counter() - began, 1),
    }


def best_factor(labels: Floats, truth: Whole) -> float:
    """The factor of the log-odds under which the truth is most probable."""
    logq, at = np.log(np.maximum(labels, 1e-12)), np.arange(len(truth))
    likely = [
        np.log(np.maximum(softmax(f * logq, axis=1)[at, truth], 1e-9)).mean() for f in FACTORS
    ]
    return float(FACTORS[int(np.argmax(likely))])


def drawn(
    labels: Floats, truth: Whole, ids: Sequence[str], count: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Mean scores over the draws of `count` landmarks: method → score → number; what was chosen."""
    from consilience.results.calibration import SCALINGS, calibrate
    from consilience.results.landmarks import Landmarks

    rows: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    chosen = []
    for _ in range(DRAWS):
        at = np.sort(rng.choice(len(truth), size=count, replace=False))
        while len(set(truth[at])) < 2:
            at = np.sort(rng.choice(len(truth), size=count, replace=False))
        landmarks = Landmarks(tuple(ids[i] for i in at), tuple(at), tuple(truth[at]))
        made = {name: fit(labels, at, truth[at]).apply(labels) for name, fit in SCALINGS.items()}
        auto = calibrate(labels, landmarks)
        chosen.append(auto.method)
        rest = np.setdiff1d(np.arange(len(truth)), at)
        for method, q in (made | {"auto": auto.labels}).items():
            rows[method].append(scores(q[rest], truth[rest], rng))
    return {
        "chosen": chosen,
        "scores": {
            method: {name: float(np.mean([s[name] for s in of])) for name in of[0]}
            for method, of in rows.items()
        },
    }


def scores(q: Floats, truth: Whole, rng: np.random.Generator) -> dict[str, float]:
    """ECE and log loss, and the mean ECE on labels drawn from the probabilities themselves."""
    from consilience.evaluation.metrics import ece, log_loss

    ones = np.ones((1, len(q)))
    perfect = [
        ece(q, (rng.random(len(q))[:, None] > q.cumsum(axis=1)[:, :-1]).sum(axis=1), ones)[0]
        for _ in range(SIMULATED)
    ]
    return {
        "ece": float(ece(q, truth, ones)[0]),
        "perfect": float(np.mean(perfect)),
        "log_loss": float(log_loss(np.maximum(q, 1e-9), truth, ones)[0]),
    }


def interval(values: list[float]) -> str:
    """The mean and the half-width of its 95 % interval over seeds."""
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return f"{np.mean(values):.3f} ± {half:.3f}"


def row(runs: list[dict[str, Any]], count: int) -> list[str]:
    """The cells of one world and number of landmarks, after those two."""
    of = [run["landmarks"][str(count)] for run in runs]

    def values(method: str, score: str) -> list[float]:
        return [one["scores"][method][score] for one in of]

    chosen = [method for one in of for method in one["chosen"]]
    return [
        *(interval(values(method, "ece")) for method in METHODS),
        f"{np.mean(values('auto', 'perfect')):.3f}",
        *(f"{np.mean(values(method, 'log_loss')):.3f}" for method in METHODS),
        "/".join(str(chosen.count(method)) for method in ("temperature", "platt", "none")),
    ]


def without_landmarks(runs: list[dict[str, Any]]) -> str:
    """What log-odds are taken to be worth, as Markdown, one row per world."""
    header = ["world", "factor", "best factor", "ECE as solved", "ECE", "if it were calibrated"]
    header += ["log loss as solved", "log loss"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for world in WORLDS:
        if mine := [run for run in runs if run["world"] == world]:
            cells = [
                interval([run["factor"] for run in mine]),
                interval([run["best_factor"] for run in mine]),
                *(interval([run[of]["ece"] for run in mine]) for of in HOW),
                f"{np.mean([run['scaled']['perfect'] for run in mine]):.3f}",
                *(f"{np.mean([run[of]['log_loss'] for run in mine]):.3f}" for of in HOW),
            ]
            lines.append("| " + " | ".join([world, *cells]) + " |")
    return "\n".join(lines)


def table(runs: list[dict[str, Any]]) -> str:
    """The scores as Markdown: without landmarks, then a row per world and number of landmarks."""
    header = [
        *("world", "landmarks"),
        *(f"ECE {method}" for method in METHODS),
        "ECE of auto if it were calibrated",
        *(f"log loss {method}" for method in METHODS),
        "chosen: temperature/platt/none",
    ]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for world, count in product(WORLDS, COUNTS):
        if mine := [run for run in runs if run["world"] == world]:
            lines.append("| " + " | ".join([world, str(count), *row(mine, count)]) + " |")
    missed = []
    for world in WORLDS:
        found = [
            run["landmarks"]["20"]["scores"]["auto"]["ece"] for run in runs if run["world"] == world
        ]
        if found and np.mean(found) > TARGET:
            missed.append(f"{world} ({np.mean(found):.3f})")
    lines.append(f"\nAbove {TARGET} with 20 landmarks, on average: {', '.join(missed) or 'none'}.")
    return without_landmarks(runs) + "\n\n" + "\n".join(lines)


if __name__ == "__main__":
    program.run(
        __doc__, measure, lambda seeds: product(WORLDS, range(seeds)), table, RESULTS, seeds=6
    )
