r"""Codes against names: the classes asked by their names, and behind codes.

    uv run python benchmarks/codes.py --model local:FOLDER --data DATA   # measures
    uv run python benchmarks/codes.py --table                                # the table alone

DATA holds the tables `NAME.csv` of `benchmarks/real.py`. `mixed` is made of rows of several: what
kind of text is it, of 19 kinds, so that a code has two letters. Every way asks the same examples as
often; what was asked is kept in `--stores`, so it can be stopped and started again.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import real
from program import markdown, on_sets, said

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Gold
    from consilience.evaluation.metrics import Interval

RESULTS = Path(__file__).parent / "results" / "codes.json"
SETS = ("agnews", "trec", "mixed")
WAYS = ("names", "codes")
CALLS = 8.0
OF_EACH = 4
METRICS = ("accuracy", "auroc")
EXAMPLES = 160

QUESTION = "What kind of text is it?"
KINDS: Mapping[tuple[str, str], str] = {
    ("agnews", "Business"): "Business headline",
    ("agnews", "Sports"): "Sports headline",
    ("agnews", "Technology"): "Technology headline",
    ("agnews", "World"): "World headline",
    ("trec", "Description"): "Description asked for",
    ("trec", "Entity"): "Thing asked for",
    ("trec", "Location"): "Location asked for",
    ("trec", "Number"): "Number asked for",
    ("trec", "Person"): "Person asked for",
    ("sst2", "negative"): "Negative film review",
    ("sst2", "positive"): "Positive film review",
    ("sms", "ham"): "Private text message",
    ("sms", "spam"): "Spam text message",
    ("subj", "objective"): "Plot of a film",
    ("offensive", "offensive"): "Offensive tweet",
    ("cities", "True"): "City and its country",
    ("sp_en", "True"): "Spanish word translated",
    ("larger_than", "True"): "Comparison of two numbers",
    ("counterfact", "True"): "Fact about a person, place or thing",
}
"""The kinds of text of `mixed`: the set and the class that a row has there, and its name here."""


def mixed(folder: Path, seed: int) -> tuple[Dataset, Gold]:
    """`OF_EACH` rows of each kind of text, drawn by the seed, and what kind they are."""
    from numpy.random import default_rng

    from consilience.data.dataset import Dataset, Example, Gold, example_id
    from consilience.data.task import Task

    rng = default_rng(seed)
    labels: dict[str, int] = {}
    for kind, (name, label) in enumerate(KINDS):
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            texts = sorted({row["text"] for row in csv.DictReader(file) if row["label"] == label})
        labels |= {texts[i]: kind for i in rng.permutation(len(texts))[:OF_EACH]}
    task = Task(QUESTION, tuple(KINDS.values()))
    shuffled = rng.permutation(sorted(labels)).tolist()
    gold = Gold({example_id(text): kind for text, kind in labels.items()})
    return Dataset("mixed", [Example(text) for text in shuffled], task=task), gold


def measure(given: argparse.Namespace, name: str, way: str, seed: int) -> dict[str, Any]:
    """A run that asks one set in one way, and its scores."""
    from consilience.elicitation.session import elicit
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.evaluation import AS_ASKED, ZERO_SHOT, evaluate
    from consilience.models import open_model

    drawn = mixed(given.data, seed) if name == "mixed" else None
    data, gold = drawn or real.draw(given.data, name, given.examples, seed)
    # The whole budget is used, so that every way has asked the same.
    settings = Settings(calls_per_example=CALLS, settled=0.0, framings=(way,))
    given.stores.mkdir(parents=True, exist_ok=True)
    store, began = given.stores / f"codes-{name}.db", time.perf_counter()
    found = elicit(data, open_model(given.model), settings=settings, store=store, seed=seed)
    scores = evaluate(found, gold).scores
    zero = scores.get(ZERO_SHOT) or scores[AS_ASKED]
    return {
        "model": given.model.rpartition("/")[2],
        **{"set": name, "way": way, "draw": seed, "examples": len(data), "classes": data.task.k},
        **{"calls": found.run.planned, "verdict": found.verdict.kind.value},
        **{"seconds": round(time.perf_counter() - began)},
        "label mass": round(found.evidence.tally.mean_mass, 3),
        **{
            row: {metric: kept(found[metric]) for metric in METRICS}
            for row, found in (("all calls", scores["consilience"]), ("zero-shot", zero))
        },
    }


def kept(found: Interval) -> list[float | None]:
    """A score as it is kept: the estimate, and the ends of its 95 % interval, None without one."""
    numbers = (found.estimate, found.lower, found.upper)
    return [None if math.isnan(value) else round(value, 4) for value in numbers]


def shown(score: list[float | None]) -> str:
    """A score with its interval, where a class is too rare without."""
    estimate, low, high = (None if value is None else f"{value:.2f}" for value in score)
    return f"{estimate}" if low is None else f"{estimate} ({low} to {high})"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a row for each set and way: scores with all calls and without shots."""
    head = ["set", "rows", "classes", "asked by", "accuracy", "AUROC", "accuracy, zero-shot"]
    head += ["AUROC, zero-shot", "probability on the names", "verdict"]
    lines = []
    places = {(row["model"], row["set"], row["draw"], row["way"]): row for row in rows}
    order = sorted(places, key=lambda place: (place[0], SETS.index(place[1]), *place[2:3]))
    for place in order:
        row = places[place]
        scores = [row[calls][metric] for calls in ("all calls", "zero-shot") for metric in METRICS]
        cells = [
            row["set"],
            row["examples"],
            row["classes"],
            row["way"],
            *map(shown, scores),
        ]
        lines.append([*cells, row["label mass"], row["verdict"]])
    return markdown(head, lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the file of results lacks, unless told not to, and prints the table."""
    parser = on_sets(__doc__, SETS, RESULTS, real.STORES)
    add = parser.add_argument
    add("--ways", nargs="+", choices=WAYS, default=WAYS)
    add("--draws", type=int, default=1)
    add("--examples", type=int, default=EXAMPLES, help="of each set but `mixed`")
    given = said(parser, arguments)
    rows = json.loads(given.output.read_text("utf-8")) if given.output.exists() else []
    if not given.table:
        done = {(row["model"], row["set"], row["way"], row["draw"]) for row in rows}
        for draw, name, way in product(range(given.draws), given.sets, given.ways):
            if (given.model.rpartition("/")[2], name, way, draw) in done:
                continue
            rows.append(measure(given, name, way, draw))
            given.output.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
            print(rows[-1], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
