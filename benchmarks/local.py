"""A model in this process: shared prefixes computed once, against not, and against `generate`.

    uv run python benchmarks/local.py             # measures, writes results/local.json
    uv run python benchmarks/local.py --table     # prints the table from it

The first queries of a round as the planner makes it, in blocks of 40 that share 24 shots, about the
package's own claims to its own model. Each way must give the same log-probabilities; `generate` is
asked for one token of one prompt at a time, as one writes it first, on a part of the queries. One
thread, one process, the ways in turn; only ratios mean anything.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import program
import torch

from consilience.data.dataset import Dataset
from consilience.datasets import load_dataset
from consilience.models import open_model
from consilience.models.base import Answer, Model, Request
from consilience.models.local import LocalModel, TransformersEngine
from consilience.planning.planner import PlanSettings, shot_round
from consilience.prompts.framing import framings
from consilience.store.runner import requests

RESULTS = Path(__file__).parent / "results" / "local.json"
EXAMPLES, QUERIES, WORKERS, GENERATED, TIMES = 240, 80, 64, 20, 3

WAYS: dict[str, tuple[dict[str, Any], int]] = {
    "together, prefixes once": ({}, WORKERS),
    "together, every prompt in full": ({"reuse": False}, WORKERS),
    "one by one, prefixes once": ({}, 1),
    "one by one, every prompt in full": ({"reuse": False}, 1),
    "together, prefixes once, 64 bits": ({"dtype": "float64"}, WORKERS),
}
"""The options of the model, and the number of requests under way at once."""

GENERATE = "`generate`, one prompt at a time"


def queries(model: Model, data: Dataset) -> list[Request]:
    """The first requests of one round on the data, in the planner's order."""
    labels = np.random.default_rng(0).dirichlet([1.0, 1.0], size=len(data))
    asked = framings(data.task)
    planned = shot_round(data, asked, labels, round=1, seed=0, settings=PlanSettings())
    return [request for _, request in requests(planned[:QUERIES], data, asked, model)]


def answers(model: Model, asked: list[Request], workers: int) -> list[Answer]:
    """Every request answered by so many workers, as `ask` does it, without a store."""
    found: dict[int, Answer] = {}
    waiting = iter(enumerate(asked))

    async def work() -> None:
        for i, request in waiting:
            found[i] = await model.ask(request)

    async def serve() -> None:
        await asyncio.gather(*(work() for _ in range(workers)))
        await model.close()  # type: ignore[attr-defined]

    asyncio.run(serve())
    return [found[i] for i in range(len(asked))]


def generated(model: LocalModel, asked: list[Request]) -> list[float]:
    """The log-probability of the last label's first token, by one `generate` per prompt."""
    found = []
    engine = model._engine
    assert isinstance(engine, TransformersEngine)
    network = engine.network
    for request in asked:
        ids = model._tokenizer(request.prompt, return_tensors="pt").to(network.device)
        made = network.generate(
            **ids,
            max_new_tokens=1,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
            pad_token_id=0,
        )
        label = model._ids(f"\n {request.label_names[-1]}")[1]
        found.append(float(made.scores[0][0].log_softmax(-1)[label]))
    return found


def measure() -> dict[str, Any]:
    """Predictions per second by each way, the median of a few runs in turn."""
    torch.set_num_threads(1)
    opened = {
        way: (open_model("local:pocket", **options), workers)
        for way, (options, workers) in WAYS.items()
    }
    plain: Any = opened["one by one, every prompt in full"][0]
    asked = queries(plain, load_dataset("pocket", claims=str(EXAMPLES))[0])
    taken: dict[str, list[float]] = {}
    found: dict[str, list[Answer]] = {}
    for _ in range(TIMES):
        for way, (model, workers) in opened.items():
            began = time.perf_counter()
            found[way] = answers(model, asked, workers)
            taken.setdefault(way, []).append((time.perf_counter() - began) / len(asked))
        began = time.perf_counter()
        heard = generated(plain, asked[:GENERATED])
        taken.setdefault(GENERATE, []).append((time.perf_counter() - began) / GENERATED)
    first = found[next(iter(WAYS))]
    gaps = {way: gap(first, other) for way, other in found.items()}
    labels = [a.raw["labels"][r.label_names[-1]] for a, r in zip(first, asked, strict=True)]
    own = [next(iter(parts.values()))[0] for parts in labels[:GENERATED]]
    gaps[GENERATE] = max(abs(a - b) for a, b in zip(own, heard, strict=True))
    usages = [answer.usage for answer in first]
    return {
        "model": plain.name,
        "parameters": sum(p.numel() for p in plain._scorer._network.parameters()),
        "queries": len(asked),
        "prompt_tokens": sum(u["prompt_tokens"] for u in usages),
        "cached_tokens": sum(u["prompt_tokens_details"]["cached_tokens"] for u in usages),
        "ways": {
            way: {"per_second": 1 / statistics.median(times), "largest_difference": gaps[way]}
            for way, times in taken.items()
        },
    }


def gap(one: list[Answer], other: list[Answer]) -> float:
    """The largest difference of a log-probability."""
    return max(
        abs(a - b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x.logprobs, y.logprobs, strict=True)
    )


def table(found: dict[str, Any]) -> str:
    """The ways as rows, how fast each is beside `generate`, and how far apart answers are."""
    slowest = found["ways"][GENERATE]["per_second"]
    head = "| way | times as fast as the last | largest difference, nats |\n|---|---|---|\n"
    rows = [
        f"| {way} | {row['per_second'] / slowest:.1f} | {row['largest_difference']:.0e} |\n"
        for way, row in found["ways"].items()
    ]
    return (
        head
        + "".join(rows)
        + f"\n{found['queries']:,} queries of {found['prompt_tokens'] / found['queries']:,.0f} "
        f"tokens, {found['cached_tokens'] / found['prompt_tokens']:.0%} of them computed before; "
        f"a model of {found['parameters'] / 1e6:.1f} million parameters, one thread "
        "(`uv run python benchmarks/local.py`)."
    )


if __name__ == "__main__":
    program.once(__doc__, measure, table, RESULTS)
