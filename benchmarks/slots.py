"""Prompt tokens that a real llama-server computes in a run, against those of an ideal cache.

    uv run --group bench python benchmarks/slots.py LLAMA_SERVER   # the path of the program
    uv run python benchmarks/slots.py LLAMA_SERVER --model FILE.gguf --slots 4 --rows 100
    uv run python benchmarks/slots.py --table                      # prints the committed figures

A run of `elicit` over 400 claims at 8 calls each, from 16 workers, with the pocket model made a
GGUF file, or another. Tokens are counted by the server itself (`/metrics`). The ideal cache holds
every prompt that was asked, whole, and serves any beginning of it: tokens are those of the server's
own tokenizer, and of each prompt the last is computed at least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers" / "realserver"))

from serve import get_or_post  # noqa: E402 (it lives with the tests)
from to_gguf import convert  # noqa: E402

from consilience.datasets import load_dataset  # noqa: E402
from consilience.elicitation.session import elicit  # noqa: E402
from consilience.models.base import Answer, Request  # noqa: E402
from consilience.models.capabilities import Capabilities  # noqa: E402
from consilience.models.openai import OpenAIModel  # noqa: E402
from consilience.models.probe import probe  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "slots.json"
POCKET = ROOT / "src" / "consilience" / "datasets" / "pocket_world" / "model"
SLOTS = (1, 4, 16)
CONTEXT = 2048
"""Tokens of one slot."""

CALLS, WORKERS = 8.0, 16


class Noting(OpenAIModel):
    """A model that notes every prompt."""

    def __init__(self, found: Capabilities) -> None:
        super().__init__(found)
        self.prompts: list[str] = []

    async def ask(self, request: Request) -> Answer:
        """Notes the prompt first."""
        self.prompts.append(str(request.prompt))
        return await super().ask(request)


@contextmanager
def serving(program: Path, model: Path, slots: int) -> Iterator[str]:
    """The address of a llama-server with so many slots, one thread each for prompts and answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [program, "-m", model, "--host", "127.0.0.1", "--port", str(port), "-np", str(slots)]
    words += ["-c", str(CONTEXT * slots), "-t", "1", "-tb", "1", "--metrics", "--alias", "tiny"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(list(map(str, words)), stdout=said, stderr=said)
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                try:
                    get_or_post(f"{url}/health", timeout=5)
                    break
                except OSError:
                    if process.poll() is not None:
                        said.seek(0)
                        raise SystemExit(said.read().decode(errors="replace")[-2000:]) from None
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait()


def computed(url: str) -> int:
    """The prompt tokens that the server has computed since it began."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        [count] = re.findall(r"^llamacpp:prompt_tokens_total (\d+)", answer.read().decode(), re.M)
    return int(count)


def ideal(url: str, prompts: Sequence[str]) -> int:
    """The tokens of prompts that a cache of all of them does not serve."""
    told = (
        get_or_post(f"{url}/tokenize", {"content": prompt, "add_special": True})
        for prompt in set(prompts)
    )
    return distinct_beginnings([answer["tokens"] for answer in told])


def distinct_beginnings(lists: Sequence[Sequence[int]]) -> int:
    """How many different beginnings, none of them empty, so many lists have."""
    rows = sorted(map(list, lists))
    # In this order no earlier row has more in common with one than the row before it.
    return sum(map(len, rows)) - sum(in_common(a, b) for a, b in pairwise(rows))


def in_common(a: Sequence[int], b: Sequence[int]) -> int:
    """The length of the longest beginning that two lists share."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def measure(url: str, rows: int) -> dict[str, Any]:
    """What one run had the server compute."""
    data, _ = load_dataset("pocket", claims=str(rows))
    found = asyncio.run(probe(f"{url}/v1", "tiny", "completions"))
    model = Noting(found)
    before, began = computed(url), time.perf_counter()
    elicit(data, model, calls_per_example=CALLS, concurrency=WORKERS)
    seconds, took = time.perf_counter() - began, computed(url) - before
    least = ideal(url, model.prompts)
    return {
        "prompts": len(model.prompts),
        "computed": took,
        "ideal": least,
        "ratio": took / least,
        "seconds": seconds,
    }


def table(found: dict[str, Any]) -> str:
    """Markdown, a row for each number of slots."""
    lines = ["| slots | prompts | tokens computed | of an ideal cache | ratio |", "|---" * 5 + "|"]
    lines += [
        f"| {row['slots']} | {row['prompts']:,} | {row['computed']:,} | {row['ideal']:,} "
        f"| {row['ratio']:.2f} |"
        for row in found["rows"]
    ]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", nargs="?", type=Path, help="the path of llama-server")
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--model", type=Path, help="a GGUF file; the pocket model by default")
    parser.add_argument("--slots", nargs="+", type=int, default=list(SLOTS))
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go")
    given = parser.parse_args()
    if given.program and not given.table:
        with tempfile.TemporaryDirectory() as folder:
            model = given.model or convert(POCKET, Path(folder) / "pocket.gguf")
            rows = []
            for slots in given.slots:
                # A server of its own for each, so that none has a prompt of another.
                with serving(given.program, model, slots) as url:
                    rows.append({"slots": slots, **measure(url, given.rows)})
                print(rows[-1], file=sys.stderr)
                found = {"model": model.name, "rows of data": given.rows, "calls": CALLS}
                found |= {"workers": WORKERS, "slots": given.slots, "rows": rows}
                given.output.write_text(json.dumps(found, indent=1) + "\n")
    print(table(json.loads(given.output.read_text())))


if __name__ == "__main__":
    main()
