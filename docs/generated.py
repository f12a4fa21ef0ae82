"""The generated parts of the documentation: cog runs these from the comments in the pages.

uv run cog -I docs -r README.md docs/*.md docs/*/*.md
"""

from __future__ import annotations

import io
import json
import tempfile
from contextlib import chdir, redirect_stdout
from pathlib import Path

from arithmetic import scale_arithmetic
from elicited import ends, floors, leads, picture, rare_worlds, reached, worlds
from figures import RESULTS, figures
from held_out import held_out, held_out_means, held_out_scores, held_out_summary
from real_models import (
    real_anew,
    real_failures,
    real_picture,
    real_rows,
    real_scores,
    real_summary,
)

__all__ = [
    "ends",
    "floors",
    "held_out",
    "held_out_means",
    "held_out_scores",
    "held_out_summary",
    "leads",
    "picture",
    "rare_worlds",
    "reached",
    "real_anew",
    "real_failures",
    "real_picture",
    "real_rows",
    "real_scores",
    "real_summary",
    "scale_arithmetic",
    "worlds",
]

ROOT = Path(__file__).parent.parent

EXAMPLE = """\
import consilience as cs

data, gold = cs.load_dataset("noisy", groups=400)  # gold stays apart; nothing below sees it
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
from consilience.data.relations import Opposite
from consilience.evidence.collect import collect
from consilience.objective.evidence_tables import evidence_table
from consilience.results.uncertainty import uncertainty
from consilience.store.rows import Prediction

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
evidence = collect(data, wordings, [asked], bias="none")
solution = cs.solve(evidence)
sure = uncertainty(evidence, cs.default_terms(), cs.LBFGS(), solution)

table = pd.DataFrame({"p(True)": solution.labels[:, 1]}, index=data.ids)
for measure in ("epistemic", "aleatoric", "structural"):
    table[measure] = getattr(sure, measure)
spread = evidence_table(evidence, "ensemble variance").set_index("id")
table = table.join(spread[["score_spread", "label_disagreement"]])
print(table.loc[list(ids.values())].set_axis(list(ids)).round(2).to_string())
"""


def run_example(program: str = EXAMPLE) -> str:
    """What an example of a page prints, by default that of the README, in a folder of its own."""
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, chdir(folder), redirect_stdout(printed):
        exec(program, {"__name__": "__main__"})
    return printed.getvalue()


def example() -> str:
    """The example and what it prints."""
    return f"```python\n{EXAMPLE}```\n\n```\n{run_example().rstrip()}\n```\n"


def six_claims() -> str:
    """The example of docs/theory.md and what it prints."""
    printed = run_example(SIX_CLAIMS).rstrip()
    return f"```python\n{SIX_CLAIMS}```\n\n```\n{printed}\n```\n"


def script(name: str) -> str:
    """A script of examples/ as a page: its cells of prose as text, the others as code."""
    source = (ROOT / "examples" / name).read_text("utf-8")
    kind = {"py": "python", "sh": "sh"}[name.rpartition(".")[2]]
    parts = []
    for cell in source.split("# %%")[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            lines = (line.removeprefix("#").removeprefix(" ") for line in body.strip().split("\n"))
            parts.append("\n".join(lines))
        else:
            parts.append(f"```{kind}\n{body.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def table(name: str) -> str:
    """The table of a benchmark, as the benchmark makes it from its figures."""
    benchmark, found = figures(name)
    older = _of_an_earlier_plan(found) if hasattr(benchmark, "program") else ""
    return f"{benchmark.table(found)}\n{older}"


def _of_an_earlier_plan(found: object) -> str:
    """A line below the figures of runs that were not asked as runs are today; else nothing."""
    from consilience.elicitation.settings import PLAN_VERSION

    if not isinstance(found, list) or all(run.get("plan") == PLAN_VERSION for run in found):
        return ""
    return "\n**Asked by an earlier default than today's.**\n"


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
