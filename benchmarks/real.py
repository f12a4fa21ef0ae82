r"""Every method on real pretrained models and public data sets, all read in the same two ways.

    uv run python benchmarks/real.py --models MODELS --data DATA      # measures, then the tables
    uv run python benchmarks/real.py --table                          # the tables alone

MODELS holds the folders `smol`, `gemma` and `qwen` (see `--only`), DATA the tables `NAME.csv` with
the columns text and label. With a model of your own, on any of the sets:

    uv run python benchmarks/real.py --model local:FOLDER --data DATA --output mine.json
    uv run python benchmarks/real.py --model openai:NAME --base-url URL --data DATA \
        --output mine.json

What the file of results has is not measured again, and what was asked is kept in one store for
each model and set (`--stores`), so it can be stopped at any time and started again. Neither data
nor stores are ever committed. The methods that ask far more than the others are named:

    uv run python benchmarks/real.py --models MODELS --only gemma --data DATA \
        --sets sst2 sp_en agnews sms --methods unsupervised-full icm-full
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heldout_sets import SETS as HELD_OUT
from real_tables import READOUTS, model_of, table

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Gold
    from consilience.data.task import Task
    from consilience.evaluation.benchmark.benchmark import Case, Job, Row
    from consilience.evaluation.benchmark.result_file import Results

__all__ = ["RESULTS", "draw", "main", "measure", "table"]

RESULTS = Path(__file__).parent / "results" / "real.json"
STORES = Path(__file__).parent / "stores"
MODELS = ("smol", "gemma", "qwen")
EXAMPLES = 160
BUDGETS = (8.0,)
DIGITS = 4

CLAIM = ("Is the claim true or false?", ("False", "True"), "The claim is right")
CLAIMS = (*CLAIM, "The claim is wrong")
REVIEW = ("What is the sentiment of the review?", ("negative", "positive"))
REVIEWS = (*REVIEW, "The review is positive", "The review is negative")
TASKS: Mapping[str, tuple[str, tuple[str, ...], str | None, str | None]] = {
    **dict.fromkeys(("cities", "sp_en", "common_claim", "counterfact", "larger_than"), CLAIMS),
    **dict.fromkeys(("sst2", "mr"), REVIEWS),
    "agnews": (
        "What is the news headline about?",
        ("Business", "Sports", "Technology", "World"),
        *(None, None),
    ),
    "trec": (
        "What does the question ask for?",
        ("Abbreviation", "Description", "Entity", "Location", "Number", "Person"),
        *(None, None),
    ),
    "subj": (
        "Is the sentence subjective (an opinion) or objective (a plot fact)?",
        ("objective", "subjective"),
        *("The sentence is subjective", "The sentence is objective"),
    ),
    "sms": (
        "Is the text message spam?",
        ("ham", "spam"),
        *("The message is spam", "The message is not spam"),
    ),
    "offensive": (
        "Is the tweet offensive?",
        ("not offensive", "offensive"),
        *("The tweet is offensive", "The tweet is not offensive"),
    ),
}
"""The question, classes, statement and opposite of each set, by the name of its file."""

EVERY = {**TASKS, **{name: held.task for name, held in HELD_OUT.items()}}
"""Those of the held-out sets too."""

METHODS = (
    *("majority", "zero-shot", "zero-shot-plain", "zero-shot-names"),
    *("zero-shot-negated", "zero-shot-letters", "zero-shot-all"),
    *("zero-shot-contextual", "zero-shot-batch"),
    *("random-shots", "random-contextual", "random-batch"),
    *("bootstrap", "bootstrap-confident", "ranked", "ranked-long", "iterative-pseudo"),
    *("consilience", "golden"),
)
"""What is compared if nobody says what.

Named are `unsupervised-full` and `icm-full`, and at the same calls `icm-zero-shot`, `gibbs` and
`n-pass`.
"""


def task_of(name: str) -> Task:
    """The task of one of the sets."""
    from consilience.data.task import Task

    question, classes, statement, opposite = EVERY[name]
    return Task(question, classes, statement, opposite)


def draw(folder: str | Path, name: str, examples: int, seed: int) -> tuple[Dataset, Gold]:
    """So many rows of a set, drawn by the seed, and their gold."""
    from numpy.random import default_rng

    from consilience.data.dataset import Dataset, Example, Gold, example_id
    from consilience.errors import InputError

    path, task = Path(folder) / f"{name}.csv", task_of(name)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            label_of = {row["text"]: row["label"] for row in csv.DictReader(file)}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    wrong = sorted(set(label_of.values()) - set(task.classes))
    if wrong:
        raise InputError(f"{path}: {', '.join(wrong)} are none of {', '.join(task.classes)}")
    texts = list(label_of)
    chosen = default_rng(seed).permutation(len(texts))[:examples]
    labels = {example_id(texts[i]): task.classes.index(label_of[texts[i]]) for i in chosen}
    return Dataset(name, [Example(texts[i]) for i in chosen], task=task), Gold(labels)


def cases(given: argparse.Namespace, spec: str) -> list[Case]:
    """One case for each set, all of one model, which is opened once."""
    from consilience.evaluation.benchmark.benchmark import Case
    from consilience.models import open_model

    opened = cache(partial(open_model, spec, base_url=given.base_url))
    safe = "".join(c if c.isalnum() or c in "-." else "-" for c in spec.rpartition("/")[2])
    given.stores.mkdir(parents=True, exist_ok=True)
    return [
        Case(
            name,
            partial(draw, given.data, name, given.examples),
            opened,
            given.stores / f"{safe.removeprefix('local-')}-{name}.db",
            {"examples": given.examples},
        )
        for name in given.sets
    ]


def specs(given: argparse.Namespace) -> list[str]:
    """The models that the options name, as `open_model` takes them."""
    named = [given.model] if given.model else []
    folders = [given.models / name for name in given.only] if given.models else []
    return [*named, *(f"local:{folder}" for folder in folders)]


def measure(given: argparse.Namespace) -> int:
    """Makes the rows that the file lacks, each written at once; how many could not be made."""
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.benchmark.benchmark import (
        check_methods,
        pending,
        plan_jobs,
        setup_of,
    )
    from consilience.evaluation.benchmark.result_file import Results

    results, settings, failed = Results.read(given.output, DIGITS), Settings(), 0
    methods = check_methods(given.methods)
    for spec in specs(given):
        jobs = []
        setups: dict[str, Mapping[str, Any]] = {}
        for case in cases(given, spec):
            mine = plan_jobs(
                *(case, case.model(), methods, given.budgets, given.draws, settings),
                concurrency=given.concurrency,
            )
            setups |= {job.setup: setup_of(case, case.model(), settings) for job in mine}
            jobs += mine
        for job in pending(jobs, results.rows):
            for row in rows_of(job):
                if isinstance(row, str):
                    failed += 1
                    print(f"{spec}, {job.case.name}, draw {job.seed}: {row}", file=sys.stderr)
                    continue
                outdate(results, row, setups[row.setup])
                results.add(row, setups[row.setup])
                print(told(job.case.name, row), flush=True)
    return failed


def rows_of(job: Job) -> Iterator[Row | str]:
    """The rows of a job, and in the place of one that cannot be made why not."""
    from consilience.errors import ConsilienceError
    from consilience.evaluation.benchmark.benchmark import measure

    left = dict(job.wanted)
    while left:
        try:
            for row in measure(replace(job, wanted=dict(left)), job.case.model()):
                del left[row.method]
                yield row
        except ConsilienceError as error:
            # Names that a tokenizer cannot tell apart, say: the other methods may ask others.
            method = next(name for name in job.order if name in left)
            del left[method]
            yield f"{method}: {error}"


def outdate(results: Results, row: Row, setup: Mapping[str, Any]) -> None:
    """Drops the rows whose place in the tables a new one takes: of settings that were changed."""

    def place(row: Row, setup: Mapping[str, Any]) -> tuple[object, ...]:
        return model_of(setup), setup["data"], row.method, row.budget, row.seed

    for id, old in list(results.rows.items()):
        if place(old, results.setups[old.setup]) == place(row, setup):
            del results.rows[id]
    used = {old.setup for old in results.rows.values()}
    for name in results.setups.keys() - used:
        del results.setups[name]


def told(name: str, row: Row) -> str:
    """One line about a row that was made."""
    at = "" if row.budget is None else f", {row.budget:g} calls"
    found = row.readouts.get("offsets off", {}).get("auroc")
    auroc = "" if found is None else f", AUROC with offsets off {found:.3f}"
    accuracy = row.scores["accuracy"].estimate
    return (
        f"{name}, draw {row.seed}{at}: {row.method}, accuracy {accuracy:.3f}{auroc}, "
        f"{row.seconds:.0f} s"
    )


def options() -> argparse.ArgumentParser:
    """The options of the command."""
    from consilience.cli.values import seeds

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--table", action="store_true", help="print the tables, measure nothing")
    add("--readout", choices=READOUTS, action="append", help="of the tables; all by default")
    add("--models", type=Path, help="folder of the folders of models")
    add("--only", nargs="+", default=MODELS, help="the folders in it that are measured")
    add("--model", help="a model of your own: local:FOLDER, openai:NAME, …")
    add("--base-url", help="the address of its server")
    add("--data", type=Path, help="folder of NAME.csv, with the columns text and label")
    add("--sets", nargs="+", choices=EVERY, default=[*TASKS], metavar="SET")
    add("--methods", nargs="+", default=METHODS)
    add("--budgets", nargs="+", type=float, default=BUDGETS)
    add("--examples", type=int, default=EXAMPLES)
    add("--draws", type=partial(seeds, None, None), default="1", help="how many, or as 3-5")
    add("--stores", type=Path, default=STORES, help="folder of what was asked")
    add("--concurrency", type=int, default=64)
    add("--output", type=Path, default=RESULTS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures unless told not to, and prints the tables; 1 where a job could not be done."""
    parser = options()
    given = parser.parse_args(arguments)
    failed = 0
    if not given.table:
        if given.data is None or not specs(given):
            parser.error("say --data, and --models or --model; or --table")
        failed = measure(given)
    kept = given.output.read_text("utf-8") if given.output.exists() else '{"rows": []}'
    print(table(json.loads(kept), given.readout or READOUTS))
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
