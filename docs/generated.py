"""The generated parts of the documentation: cog runs these from the comments in the pages.

uv run cog -I docs -r README.md docs/servers.md
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

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


def run_example() -> str:
    """What the example of the README prints, run in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", EXAMPLE],
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


def worlds() -> str:
    """The table of the simulated worlds, from the figures that the benchmark left."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from worlds import RESULTS as FIGURES
    from worlds import table

    runs = json.loads(FIGURES.read_text())
    seeds = len({run["seed"] for run in runs})
    return (
        f"Accuracy on simulated worlds with known truth, 400 examples each, {seeds} seeds, mean "
        "and 95 % interval over seeds.\nAll methods ask the same learner the same number of times, "
        f"in the same framings.\n\n{table(runs)}\n"
    )


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
