"""What every benchmark over seeds is as a program: measure and keep the figures, or print them."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Gold
    from consilience.elicitation.session import Session
    from consilience.models import Model
    from consilience.results.result import Found
    from consilience.solvers.fixed_point import Solver

Run = dict[str, Any]


def run(
    doc: str,
    measure: Callable[[Any], Run],
    jobs: Callable[[int], Iterable[Any]],
    table: Callable[[list[Run]], str],
    results: Path,
    seeds: int = 10,
) -> None:
    """Measures `jobs(seeds)`, in two processes unless told otherwise, and prints the table.

    With --table nothing is measured: the table is that of the figures in `results`. Each run keeps
    the version of the plan that it was asked by, so that a page can say what is of an earlier one.
    """
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    if not given.table:
        from consilience.elicitation.settings import PLAN_VERSION

        with ProcessPoolExecutor(given.workers) as pool:
            runs = []
            for done in pool.map(measure, jobs(given.seeds)):
                runs.append(done | {"plan": PLAN_VERSION})
                # After each, so that what was measured stays if the rest never is.
                results.write_text(json.dumps(runs, indent=1) + "\n")
                print({name: value for name, value in done.items() if not isinstance(value, dict)})
    print(table(json.loads(results.read_text())))


def interval(values: list[float]) -> str:
    """The mean and the half-width of its 95 % interval over seeds."""
    mean = float(np.mean(values))
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return f"{mean:.3f} ± {half:.3f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, *rows]
    made = [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join([made[0], "|---" * len(head) + "|", *made[1:]])


def resumed(
    path: Path, key: Callable[[Run], object], jobs: Iterable[tuple[object, Callable[[], Run]]]
) -> list[Run]:
    """The rows of a file, and those of the jobs (key, measurement) that it lacks.

    Each is written at once, so that what was measured stays if the rest never is.
    """
    made: list[Run] = json.loads(path.read_text()) if path.exists() else []
    there = {key(row) for row in made}
    for name, measure in jobs:
        if name not in there:
            made.append(measure())
            path.write_text(json.dumps(made, indent=1) + "\n")
    return made


def on_sets(doc: str, sets: Sequence[str], output: Path, stores: Path) -> argparse.ArgumentParser:
    """The options of a benchmark that puts public sets to one model; more may be added."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    add = parser.add_argument
    add("--table", action="store_true", help="print the table, measure nothing")
    add("--model", help="local:FOLDER, openai:NAME, …")
    add("--data", type=Path, help="folder of NAME.csv, with the columns text and label")
    add("--sets", nargs="+", choices=sets, default=sets)
    add("--stores", type=Path, default=stores, help="folder of what was asked")
    add("--output", type=Path, default=output)
    return parser


def said(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """What the options say; a line where something is to be measured, and not by whom or of what.

    Nothing of the kind is needed for a table, nor for simulated worlds.
    """
    given = parser.parse_args(arguments)
    free = given.table or getattr(given, "worlds", False)
    if not free and (given.model is None or given.data is None):
        parser.error("say --model and --data, or --table")
    return given


def once(doc: str, measure: Callable[[], Run], table: Callable[[Run], str], results: Path) -> None:
    """Measures in this process and prints the table; with --table only prints."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    if not parser.parse_args().table:
        results.write_text(json.dumps(measure(), indent=1) + "\n")
    print(table(json.loads(results.read_text())))


def worked_off(
    session: Session,
    *,
    solver: Solver | None = None,
    concurrency: int = 1,
    then: Callable[[Session], None] = lambda session: None,
) -> Found:
    """What a run comes to, `then` called after each round: `elicit`, to be tampered with."""
    while queries := session.next_queries():
        session.ask(queries, concurrency=concurrency)
        session.learn()
        then(session)
    session.state.solver = solver or session.state.solver
    return session.found()


def compared(
    data: Dataset, gold: Gold, model: Model, calls: float, seed: int, concurrency: int
) -> Run:
    """Every method on one data set, model and seed, the whole budget used, in one store."""
    import torch

    from consilience.elicitation.session import elicit
    from consilience.elicitation.settings import Settings
    from consilience.evaluation import baselines
    from consilience.evaluation.evaluation import evaluate
    from consilience.store.database import Store

    torch.set_num_threads(1)
    # The whole budget is used, so that every method has asked the same.
    settings = Settings(calls_per_example=calls, settled=0.0)
    began = time.perf_counter()
    with Store() as store:
        found = elicit(
            data, model, settings=settings, store=store, seed=seed, concurrency=concurrency
        )
        bench = baselines.BaselineContext(
            data, model, store=store, settings=settings, seed=seed, concurrency=concurrency
        )
        rows = [
            baselines.zero_shot(bench, every=True),
            baselines.random_shots(bench),
            baselines.bootstrap(bench),
            baselines.bootstrap_relations(bench),
            baselines.golden_shots(bench, gold),
        ]
    scored = evaluate(found, gold, rows)
    return {
        "seed": seed,
        "calls_per_example": calls,
        "examples": len(data),
        "seconds": round(time.perf_counter() - began, 1),
        "scores": {
            method: {name: metrics[name].estimate for name in ("accuracy", "auroc", "ece")}
            for method, metrics in scored.scores.items()
        },
    }
