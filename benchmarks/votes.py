"""The same predictions as votes: our labels beside those of label models, speed and accuracy.

    uv run --group bench python benchmarks/votes.py                # measures, writes the JSON
    uv run --group bench python benchmarks/votes.py --mmlu FILE    # the answers of seven models too
    uv run --group bench python benchmarks/votes.py --speed        # speed anew, accuracy stays
    uv run python benchmarks/votes.py --table                      # prints the tables from it

Speed is that of made evidence (see `made_evidence`), accuracy that of recorded answers of real
models. Dawid and Skene's model and GLAD are crowd-kit's, the label model Snorkel's, with their
defaults; a round is their worker (without shots, a framing), the likelier label its vote. The mean
of log-probabilities is that of all answers about an example, their mean over all examples taken
off, and once as they are. All run on one thread in one process, by turns; seconds are of the
processor, and of several times the least.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import recorded
import torch
from ablation import OTHERS, votes
from made_evidence import make_evidence
from numpy.typing import NDArray

from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.results.joint import joined
from consilience.solvers.solution import solve
from consilience.solvers.starts import first_labels
from consilience.store.rows import Prediction

RESULTS = Path(__file__).parent / "results" / "votes.json"
SIZES, REPEATS, LONG, MANY = (1_000, 10_000), 3, 5.0, 10_000
OURS, MEAN, CENTRED, MAJORITY = "consilience", "mean", "mean, centred", "majority"
MMLU, SPAM = "MMLU", "-sms-"
FEWEST_WORKERS = 3
"""Snorkel's label model refuses fewer."""

Labels = NDArray[np.int64]


def consilience(evidence: Evidence) -> Labels:
    """The labels that a run ends with."""
    return solve(evidence, start=first_labels(evidence)).labels.argmax(axis=1)


def mean(evidence: Evidence, *, centred: bool) -> Labels:
    """The mean log-probability of each class, with or without the mean over all answers."""
    asked = evidence.predictions
    logp = asked.logp.numpy() - (asked.logp.mean(dim=0).numpy() if centred else 0)
    total = np.zeros((evidence.n, evidence.k))
    np.add.at(total, asked.target.numpy(), logp)
    return total.argmax(axis=1)


def majority(evidence: Evidence) -> Labels:
    """The class that most answers say."""
    asked = evidence.predictions
    counts = np.zeros((evidence.n, evidence.k))
    np.add.at(counts, (asked.target.numpy(), asked.logp.argmax(dim=1).numpy()), 1)
    return counts.argmax(axis=1)


def methods(evidence: Evidence) -> dict[str, Callable[[], Labels]]:
    """Everything that finds labels from the evidence, by name; votes are made beforehand."""
    table = votes(evidence)
    made: dict[str, Callable[[], Labels]] = {
        OURS: lambda: consilience(evidence),
        MEAN: lambda: mean(evidence, centred=False),
        CENTRED: lambda: mean(evidence, centred=True),
        MAJORITY: lambda: majority(evidence),
    }
    for name, model in OTHERS.items():
        if name == "GLAD" and evidence.n > MANY:
            continue  # it takes tens of minutes
        if name.startswith("Snorkel") and table.shape[1] < FEWEST_WORKERS:
            continue
        made[name] = lambda model=model: model(table, evidence.k)  # type: ignore[misc]
    return made


def compared(evidence: Evidence, gold: Labels, repeats: int = 1) -> dict[str, dict[str, float]]:
    """Seconds and accuracy of each."""
    known = gold >= 0
    rows: dict[str, dict[str, float]] = {}
    for _ in range(repeats):
        for name, find in methods(evidence).items():
            if rows.get(name, {}).get("seconds", 0) > LONG:
                continue
            began = time.process_time()
            labels = find()
            seconds = min(time.process_time() - began, rows.get(name, {}).get("seconds", np.inf))
            right = float((labels == gold)[known].mean())
            rows[name] = {"seconds": round(seconds, 4), "accuracy": round(right, 4)}
    return rows


def of_seven_models(path: Path, voters: str) -> tuple[Evidence, Labels]:
    """Answers to multiple-choice questions, one JSON object a line: gold, and each voter's.

    `voters` is the end of the names of those that count. A voter that said nothing is left out.
    """
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    names = [name for name in lines[0] if "|" in name and name.endswith(voters)]
    examples = [Example(f"{row['subject']} {row['row']}") for row in lines]
    classes = tuple("ABCD")
    data = Dataset("questions", examples, task=Task("Which?", dict.fromkeys(classes, "")))
    models = dict.fromkeys(name.partition("|")[0] for name in names)
    made = []
    for model in models:
        own = [name for name in names if name.partition("|")[0] == model]
        framings = [Framing(name, name, "Which?", "Answer:", classes) for name in own]
        asked = []
        for example, row in zip(examples, lines, strict=True):
            for name in own:
                if sum(row[name]) > 0:
                    query = Query(example.id, (), name)
                    said = tuple(np.log(np.maximum(row[name], 1e-6)).tolist())
                    key = f"{example.id} {name}"
                    asked.append(
                        (query, Prediction(key, query, classes, said, (True,) * 4, 1.0, {}, 0))
                    )
        made.append(collect(data, framings, [asked]))
    evidence = reduce(joined, made).weighed(models=True)
    gold = {example.id: row["y"] for example, row in zip(examples, lines, strict=True)}
    return evidence, np.array([gold[id] for id in data.ids])


def measured_speed() -> list[dict[str, Any]]:
    """Seconds and accuracy of each on made evidence."""
    compared(*make_evidence(40, tied=False))  # what is loaded once is not counted
    speed = []
    for n in SIZES:
        evidence, truth = make_evidence(n, tied=False)
        speed.append({"labels": n, "methods": compared(evidence, truth, REPEATS)})
        print(json.dumps(speed[-1]), flush=True)
    return speed


def measured_accuracy(mmlu: Path | None) -> list[dict[str, Any]]:
    """Seconds and accuracy of each on recorded answers, and on those of seven models."""
    real = []
    for path in recorded.files():
        recording = recorded.read(path)
        for run in recording.runs:
            evidence = recorded.evidence_of(recording, run).weighed()
            found = compared(evidence, recording.gold)
            real.append({"name": recording.name, "run": run.method, "methods": found})
            print(json.dumps(real[-1]), flush=True)
    for voters in ("Direct", "") if mmlu else ():
        assert mmlu is not None
        evidence, gold = of_seven_models(mmlu, voters)
        found = compared(evidence, gold)
        name = "seven models, " + ("direct" if voters else "direct and after thinking")
        real.append({"name": MMLU, "run": name, "methods": found})
        print(json.dumps(real[-1]), flush=True)
    return real


def main() -> None:
    """Measures, or prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--mmlu", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.table:
        found = json.loads(RESULTS.read_text()) if given.speed else {}
        found["speed"] = measured_speed()
        if not given.speed:
            found["real"] = measured_accuracy(given.mmlu)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(table(json.loads(RESULTS.read_text())))


def table(found: dict[str, Any]) -> str:
    """Speed and accuracy as two tables."""
    names = list(found["speed"][0]["methods"])
    head = f"| {' | '.join(['', *names])} |\n| --- |" + " --: |" * len(names)
    lines = ["Seconds, made evidence of 8 predictions a label:", "", head]
    for row in found["speed"]:
        cells = [f"{row['methods'][name]['seconds']:.3f}" for name in names]
        lines.append(f"| {row['labels']:,} labels | {' | '.join(cells)} |")
    lines += ["", "Accuracy:", "", head]
    for row in found["speed"]:
        cells = [f"{row['methods'][name]['accuracy']:.3f}" for name in names]
        lines.append(f"| made, {row['labels']:,} labels | {' | '.join(cells)} |")
    for row in found["real"]:
        found_by = [row["methods"].get(name) for name in names]
        cells = ["" if by is None else f"{by['accuracy']:.3f}" for by in found_by]
        lines.append(f"| {row['name']}, {row['run']} | {' | '.join(cells)} |")
    whole = [row for row in found["real"] if row["methods"].keys() == set(names)]
    for said, some in (
        (", all", whole),
        (" but spam", [r for r in whole if SPAM not in r["name"]]),
    ):
        means = [np.mean([row["methods"][name]["accuracy"] for row in some]) for name in names]
        cells = [f"{mean:.3f}" for mean in means]
        lines.append(f"| mean of {len(some)} runs of one model{said} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
