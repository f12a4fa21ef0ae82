"""The generated parts of the documentation: cog runs these from the comments in the pages.

uv run cog -I docs -r README.md docs/*.md docs/datasets/*.md
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"

EXAMPLE = """\
import consilience as cs

data, gold = cs.load_dataset("noisy", groups=200)  # gold stays apart; nothing below sees it
model = cs.open_model("simulated:noisy")  # or "openai:NAME", base_url="http://localhost:8000/v1"
found = cs.elicit(data, model, calls_per_example=8, store="noisy.db", seed=0)

print(found.labels[["id", "name", "probability", "epistemic"]].head(3).round(2))
print(found.solution.result.value)
print(cs.evaluate(found, gold))
found.export("labels.parquet")
"""


SIX_CLAIMS = """\
import numpy as np
import pandas as pd

import consilience as cs
from consilience.evidence import collect
from consilience.relations import Opposite
from consilience.store import Prediction
from consilience.uncertainty import uncertainty

TRUE = {  # the probability of True in up to four wordings
    **{"agreed": [0.9] * 4, "disputed": [0.95, 0.05, 0.95, 0.2], "even": [0.5] * 4},
    **{"by shots": [0.55, 0.9, 0.9, 0.9], "by relation": [], "unknown": []},
}
ids = {name: cs.Example(name).id for name in TRUE}
opposite = Opposite((ids["agreed"], ids["by relation"]))
data = cs.Dataset("six claims", map(cs.Example, TRUE), [opposite])
wordings = [cs.Framing(w, w, "Is it right?", "Right:", ("False", "True")) for w in "abcd"]
asked = []
for name, answers in TRUE.items():
    for p, wording in zip(answers, "abcd", strict=False):
        shots = ((ids["agreed"], 1),) if name == "by shots" and wording != "a" else ()
        query, said = cs.Query(ids[name], shots, wording), (np.log(1 - p), np.log(p))
        kept = Prediction(str(query), query, ("False", "True"), said, (True, True), 1.0, {}, 0.0)
        asked.append((query, kept))
evidence = collect(data, wordings, [asked])
solution = cs.solve(evidence)
sure = uncertainty(evidence, cs.default_terms(), cs.LBFGS(), solution)

table = pd.DataFrame({"p(True)": solution.labels[:, 1]}, index=data.ids)
for measure in ("epistemic", "aleatoric", "structural"):
    table[measure] = getattr(sure, measure)
spread = evidence.table("ensemble variance").set_index("id")
table = table.join(spread[["score_spread", "label_disagreement"]])
print(table.loc[list(ids.values())].set_axis(list(ids)).round(2).to_string())
"""


def run_example(program: str = EXAMPLE) -> str:
    """What an example of a page prints, by default that of the README, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            check=True,
            capture_output=True,
            text=True,
        )
    return done.stdout


def example() -> str:
    """The example and what it prints."""
    return f"```python\n{EXAMPLE}```\n\n```\n{run_example().rstrip()}\n```\n"


def six_claims() -> str:
    """The example of docs/theory.md and what it prints."""
    printed = run_example(SIX_CLAIMS).rstrip()
    return f"```python\n{SIX_CLAIMS}```\n\n```\n{printed}\n```\n"


def figures(name: str) -> tuple[ModuleType, Any]:
    """A benchmark and the figures that it left."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    benchmark = import_module(name)
    return benchmark, json.loads(benchmark.RESULTS.read_text())


def table(name: str) -> str:
    """The table of a benchmark, as the benchmark makes it from its figures."""
    benchmark, found = figures(name)
    return f"{benchmark.table(found)}\n"


def dataset(name: str) -> str:
    """The facts of a data set, and what its audit found, if its files were at hand."""
    from consilience.datasets import REGISTRY

    source = REGISTRY[name]
    task = source.task(source.chosen({}))
    facts = {
        "examples": "unknown until loaded" if source.examples is None else f"{source.examples:,}",
        "classes": ", ".join(task.classes),
        "question": task.question,
        "relations": ", ".join(source.relations) or "none",
        "licence": source.licence,
        "from": source.origin,
        "cite": source.cite,
    }
    for option in source.options:
        choices = f" ({', '.join(option.choices)})" if option.choices else ""
        facts[f"`--set {option.name}={option.default}`"] = f"{option.about}{choices}"
    lines = [f"| `{name}` | {source.about} |", "|---|---|"]
    lines += [f"| {fact} | {value} |" for fact, value in facts.items()]
    _, audits = figures("audits")
    if name in audits:
        lines += ["", *(f"- {note}" for note in audits[name]["notes"])]
        lines.append(f"- {audits[name]['verdict']}")
    return "\n".join(lines) + "\n"


SHOWN = {
    "majority": "majority",
    "zero-shot-all": "zero-shot, all framings",
    "bootstrap": "bootstrap",
    "bootstrap-relations": "bootstrap, consistent",
    "consilience": "consilience",
    "golden": "golden shots (ceiling)",
}
"""The methods of the README's table, of those that `elicitation` measures, and what they are."""


def accuracies() -> dict[tuple[str, str, float | None], list[float]]:
    """The accuracy for each seed, in order, by world, method and budget; None: of any."""
    _, found = figures("elicitation")
    made: dict[tuple[str, str, float | None], list[float]] = {}
    for row in sorted(found["rows"], key=lambda row: row["seed"]):
        world = found["setups"][row["setup"]]["data"]
        of = made.setdefault((world, row["method"], row["budget"]), [])
        of.append(row["scores"]["accuracy"][0])
    return made


def worlds() -> str:
    """The table of the simulated worlds."""
    benchmark, _ = figures("elicitation")
    interval, found = import_module("program").interval, accuracies()
    lines = [
        "Accuracy on simulated worlds with known truth, 400 examples each, 5 seeds, mean and 95 % "
        "interval over seeds.\nAll methods ask the same learner the same number of times, in the "
        "same framings.\n",
        "| world | calls | " + " | ".join(SHOWN.values()) + " | consilience − bootstrap |",
        "|" + "---|" * (len(SHOWN) + 3),
    ]
    for calls in (4.0, 8.0):
        for world in (*benchmark.STANDARD, *benchmark.STRESS):
            by_method = {m: found.get((world, m, calls)) or found[world, m, None] for m in SHOWN}
            paired = zip(by_method["consilience"], by_method["bootstrap"], strict=True)
            gap = interval([ours - theirs for ours, theirs in paired])
            cells = [world, f"{calls:g}", *map(interval, by_method.values()), gap]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def floors() -> str:
    """What the class balance and the relations alone are worth on each simulated world."""
    benchmark, _ = figures("elicitation")
    interval, found = import_module("program").interval, accuracies()
    lines = ["| world | majority | structure only |", "|---|---|---|"]
    for world in (*benchmark.STANDARD, *benchmark.STRESS):
        cells = [interval(found[world, method, None]) for method in ("majority", "structure")]
        lines.append(f"| {world} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def reached() -> str:
    """What was aimed at on the standard worlds, and what is reached."""
    from consilience.bench_tables import over_seeds, recovered

    benchmark, found = figures("elicitation")
    interval, scores = import_module("program").interval, accuracies()
    worlds, at = benchmark.STANDARD, benchmark.SHOWN
    few = at / 2
    # In one order, for two methods may be level.
    methods = sorted({method for _, method, _ in scores} - {"consilience", "golden", "majority"})

    def of(world: str, method: str, calls: float) -> list[float]:
        return scores.get((world, method, calls)) or scores[world, method, None]

    def mean(method: str, calls: float) -> float:
        return sum(over_seeds(of(w, method, calls)).mean for w in worlds) / len(worlds)

    shares, leads = [], []
    for world in worlds:
        ours = of(world, "consilience", at)
        share = recovered(ours, of(world, "zero-shot-all", at), of(world, "golden", at)).mean
        rivals = {m: of(world, m, at) for m in methods}
        best = max(rivals, key=lambda name: over_seeds(rivals[name]).mean)
        gap = interval([a - b for a, b in zip(ours, rivals[best], strict=True)])
        shares.append(share)
        leads.append(f"{world} {gap} ({best})")
    one, whole = uncached(found, worlds, at)
    said = [f"{world} {share:.2f}" for world, share in zip(worlds, shares, strict=True)]
    rows = [
        ("PGR", "1.0", f"{sum(shares) / len(shares):.2f}: {', '.join(said)}"),
        ("accuracy less that of the best other method", "above 0", "; ".join(leads)),
        (
            f"accuracy with {few:g} calls",
            f"{mean('bootstrap-relations', at):.3f}, that of bootstrap and relations with {at:g}",
            f"{mean('consilience', few):.3f}",
        ),
        (
            "characters per prediction that no prefix cache serves",
            "1.3 × a zero-shot prompt",
            f"{whole:.2f} × a zero-shot prompt, {one:.2f} × what no cache serves of those",
        ),
    ]
    lines = [f"| with {at:g} calls, if not said otherwise | aim | reached |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def uncached(found: dict[str, Any], worlds: tuple[str, ...], at: float) -> tuple[float, float]:
    """What no prefix cache serves of a prediction, relative to zero-shot: as cached, and whole."""
    from consilience.baselines.bench import Bench
    from consilience.bench import zero_shot_prompts
    from consilience.models.simulated import SimulatedModel, world_dataset
    from consilience.settings import Settings
    from consilience.sharing import flat
    from consilience.store import Store

    cached, whole = [], []
    for row in found["rows"]:
        said = found["setups"][row["setup"]]
        if (row["method"], row["budget"]) == ("consilience", at) and said["data"] in worlds:
            data, _ = world_dataset(said["data"], said["options"]["examples"], row["seed"])
            with Store() as store:
                model, settings = SimulatedModel(said["data"]), Settings()
                bench = Bench(data, model, store=store, settings=settings, seed=row["seed"])
                lengths = [len(flat(prompt)) for prompt in zero_shot_prompts(bench)]
            cached.append(row["fresh"] / row["fresh_zero_shot"])
            whole.append(row["fresh"] * len(lengths) / sum(lengths))
    return sum(cached) / len(cached), sum(whole) / len(whole)


def rare() -> str:
    """What becomes of labels, order and probabilities where a class is rare."""
    benchmark, found = figures("elicitation")
    interval = import_module("program").interval
    lines = [
        "| true | accuracy | majority | bootstrap | golden | AUROC | less that of half | ECE |",
        "|" + "---|" * 8,
    ]

    def of(world: str, method: str, score: str) -> list[float]:
        return [
            row["scores"][score][0]
            for row in sorted(found["rows"], key=lambda row: row["seed"])
            if found["setups"][row["setup"]]["data"] == world
            and (row["method"], row["budget"] in (None, benchmark.SHOWN)) == (method, True)
        ]

    half = of("noisy", "consilience", "auroc")
    for world, share in benchmark.SHARES.items():
        methods = ("consilience", "majority", "bootstrap", "golden")
        cells = [interval(of(world, method, "accuracy")) for method in methods]
        order = of(world, "consilience", "auroc")
        less = [a - b for a, b in zip(order, half, strict=True)]
        cells += map(interval, (order, less, of(world, "consilience", "ece")))
        lines.append(f"| {share} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def servers() -> str:
    """What labelling TruthfulQA through the real servers took."""
    columns = {
        "predictions": "predictions",
        "failed": "failed",
        "share_exact": "exact",
        "prompt_tokens": "prompt tokens",
        "cached_tokens": "from the cache",
        "seconds": "seconds",
        "asked_again": "asked on a second run",
        "same_labels_again": "same labels",
    }
    lines = [
        "| server | endpoint | " + " | ".join(columns.values()) + " |",
        "|" + "---|" * (len(columns) + 2),
    ]
    for kind in ("vllm", "llamacpp"):
        path = RESULTS / f"realserver_{kind}.json"
        for row in json.loads(path.read_text()) if path.exists() else []:
            cells = [_cell(row[name]) for name in columns]
            lines.append(f"| {kind} | {row['api']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return "not reported"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1%}"
    return f"{value:,}"
