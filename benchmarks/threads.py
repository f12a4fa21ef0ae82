"""A small network in this process: asked in one thread, against one thread for each core.

    uv run python benchmarks/threads.py             # measures, writes results/threads.json
    uv run python benchmarks/threads.py --table     # prints the table of the documentation from it

Networks of several sizes with random weights score the same prompts in turn, with all cores to
themselves and beside a program on each core that never rests. The fastest of a few times counts,
for other programs only ever slow one down; only ratios mean anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import program
import torch

from consilience.models.prefix import Question, Scorer
from consilience.models.threads import given_threads

RESULTS = Path(__file__).parent / "results" / "threads.json"
SIZES = ((160, 4), (256, 6), (384, 6), (512, 8), (768, 12))
"""The width and the number of layers; the first is that of the package's own model, nearly."""
WORDS, PROMPTS, SHARED, OWN, TIMES = 1536, 64, 300, 25, 5


def network(width: int, layers: int) -> Any:  # noqa: ANN401
    """A Llama of that size with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
    )
    return LlamaForCausalLM(shape).eval()


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """So many programs that never rest, while the block runs."""
    idle = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for process in idle:
            process.kill()
            process.wait()


def seconds(scorer: Scorer, asked: list[Question], threads: int) -> float:
    """How long it takes to score all prompts together, and then a few one by one."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    scorer.forget()
    scorer.score(asked)
    for question in asked[:8]:
        scorer.score([question])
    return time.perf_counter() - began


def measure() -> dict[str, Any]:
    """For each size, with the cores free and not: the time in one thread relative to all."""
    cores = os.cpu_count() or 1
    rng = np.random.default_rng(0)
    shared = tuple(rng.integers(WORDS, size=SHARED).tolist())
    tails = rng.integers(WORDS, size=(PROMPTS, OWN)).tolist()
    asked = [Question((*shared, *tail), ((5,), (7,))) for tail in tails]
    rows = []
    for width, layers in SIZES:
        made = network(width, layers)
        scorer = Scorer(made)
        # What is measured is whether it should choose.
        scorer._threads = given_threads
        row: dict[str, Any] = {"parameters": made.num_parameters()}
        for name, others in (("free", 0), ("busy", cores)):
            taken: dict[int, list[float]] = {1: [], cores: []}
            with busy(others):
                for _, threads in product(range(TIMES), taken):
                    taken[threads].append(seconds(scorer, asked, threads))
            row[name] = min(taken[1]) / min(taken[cores])
        rows.append(row)
    return {"cores": cores, "rows": rows}


def table(found: dict[str, Any]) -> str:
    """The sizes as rows; below 1 one thread is the faster way."""
    lines = [
        f"| parameters | time in one thread, relative to {found['cores']} | "
        "the same with all cores busy |",
        "|---|---|---|",
    ]
    lines += [
        f"| {row['parameters'] / 1e6:.1f} million | {row['free']:.2f} | {row['busy']:.2f} |"
        for row in found["rows"]
    ]
    return "\n".join([*lines, "", "`uv run python benchmarks/threads.py`"])


if __name__ == "__main__":
    program.once(__doc__, measure, table, RESULTS)
