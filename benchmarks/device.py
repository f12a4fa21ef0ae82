"""A graphics card beside the processor of its machine: solving, and a model in this process.

    uv run python benchmarks/device.py             # needs CUDA, writes results/device.json
    uv run python benchmarks/device.py --table     # prints the tables of the documentation from it

Solving: the evidence of one run on the world `grouped` (400 examples, 8 calls), once and as many
copies of it side by side, solved by the default solver on each. Asking: the queries of
`local.py`, of a Llama of a billion random weights, which costs what a trained one does, and, for
what rounding is worth, of the pocket model. Only ratios mean anything.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import local
import numpy as np
import program
import torch

from consilience.datasets import load_dataset
from consilience.elicitation.session import elicit, gather
from consilience.elicitation.settings import Settings
from consilience.evidence.arrays import ContrastArrays, PredictionArrays, ShotArrays
from consilience.evidence.evidence import Evidence
from consilience.models import open_model
from consilience.models.base import Model
from consilience.models.simulated import world_dataset
from consilience.solvers.solution import solve
from consilience.store.database import Store

RESULTS = Path(__file__).parent / "results" / "device.json"
COPIES = (1, 25, 100)
WORLD, EXAMPLES, CALLS = "grouped", 400, 8.0
BILLION = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
}
Arrays = TypeVar("Arrays", PredictionArrays, ShotArrays, ContrastArrays)

EXACT = ("float64", "float32")
OF_EXAMPLES = ("target", "example")
OF_PREDICTIONS = ("prediction", "twin", "flipped")
"""The arrays of the evidence that are positions of examples, and of predictions."""


def repeated(one: Evidence, times: int) -> Evidence:
    """The evidence of as many data sets that are alike, with everything said about each."""
    pairs = int(one.contrasts.pair.max()) + 1 if one.f else 0

    def many(arrays: Arrays) -> Arrays:
        made: dict[str, Any] = {}
        for name in arrays.__dataclass_fields__:
            value = getattr(arrays, name)
            if name == "keys":
                made[name] = tuple(f"{i}:{key}" for i in range(times) for key in value)
                continue
            step = one.n if name in OF_EXAMPLES else one.t if name in OF_PREDICTIONS else 0
            step = pairs if name == "pair" else step
            made[name] = torch.cat([value + step * i if step else value for i in range(times)])
        return replace(arrays, **made)

    return replace(
        one,
        ids=tuple(f"{i}:{id}" for i in range(times) for id in one.ids),
        predictions=many(one.predictions),
        shots=many(one.shots),
        contrasts=many(one.contrasts),
        factors=tuple(
            replace(f, members=torch.cat([f.members + one.n * i for i in range(times)]))
            for f in one.factors
        ),
    )


def solving() -> list[dict[str, Any]]:
    """Seconds on either, and how far apart the labels are, for each size."""
    settings = Settings(calls_per_example=CALLS, settled=0.0)
    data, _ = world_dataset(WORLD, EXAMPLES)
    with Store() as store:
        found = elicit(data, open_model(f"simulated:{WORLD}"), settings=settings, store=store)
        one = gather(store, found.run.id, data, settings)
    solve(one, device="cuda")  # what is loaded once is not counted
    rows = []
    for copies in COPIES:
        many = repeated(one, copies)
        taken, labels = {}, {}
        for device in ("cpu", "cuda"):
            began = time.perf_counter()
            labels[device] = solve(many, device=device).labels
            taken[device] = time.perf_counter() - began
        apart = np.abs(labels["cpu"] - labels["cuda"]).max(axis=1)
        rows.append(
            {
                "labels": many.n,
                "predictions": many.t,
                "seconds": taken,
                "largest_difference": float(apart.max()),
                "alike": float((apart < 1e-3).mean()),
            }
        )
        print(rows[-1], flush=True)
    return rows


def random_model(folder: Path, texts: list[str]) -> Path:
    """A Llama of a billion random weights, and a tokenizer trained on the texts."""
    # They take seconds to load, and printing the table needs neither.
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1536, initial_alphabet=alphabet, special_tokens=["<eos>"], show_progress=False
    )
    bpe.train_from_iterator([*texts, *[" True False"] * 50], trainer)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<eos>").save_pretrained(folder)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=1536,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=0,
        **BILLION,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


def asking() -> dict[str, Any]:
    """The queries of `local`, as it asks them, of a billion weights on the card."""
    with tempfile.TemporaryDirectory() as made:
        texts = list(world_dataset("easy", local.EXAMPLES)[0].texts)
        folder = random_model(Path(made) / "billion", texts)
        ways = {
            f"{dtype}, {way}": (
                open_model(f"local:{folder}", device="cuda", dtype=dtype, **options),
                workers,
            )
            for dtype in ("bfloat16", "float32")
            for way, (options, workers) in local.WAYS.items()
            if "dtype" not in options
        }
        plain: Any = ways["bfloat16, one by one, every prompt in full"][0]
        asked = local.queries(plain, world_dataset("easy", local.EXAMPLES)[0])
        rows: dict[str, Any] = {}
        # The second time counts: kernels are chosen and loaded in the first.
        for _ in range(2):
            first: dict[str, Any] = {}
            for way, (model, workers) in ways.items():
                began = time.perf_counter()
                found = local.answers(model, asked, workers)
                seconds = (time.perf_counter() - began) / len(asked)
                gap = local.gap(first.setdefault(way.split(",")[0], found), found)
                rows[way] = {"per_second": 1 / seconds, "largest_difference": gap}
            began = time.perf_counter()
            local.generated(plain, asked[: local.GENERATED])
            seconds = (time.perf_counter() - began) / local.GENERATED
            rows[f"bfloat16, {local.GENERATE}"] = {"per_second": 1 / seconds}
        parameters = sum(p.numel() for p in plain._scorer._network.parameters())
    print(rows, flush=True)
    return {"parameters": parameters, "ways": rows}


def rounding() -> dict[str, float]:
    """How far apart the pocket model's answers are on the two, in nats."""
    claims, _ = load_dataset("pocket", seed=0, claims=str(local.EXAMPLES))

    def asked(device: str, dtype: str) -> Any:  # noqa: ANN401
        model: Model = open_model("local:pocket", device=device, dtype=dtype)
        return local.answers(model, local.queries(model, claims), local.WORKERS)

    return {dtype: local.gap(asked("cpu", dtype), asked("cuda", dtype)) for dtype in EXACT}


def measure() -> dict[str, Any]:
    """Everything; an error where there is no card."""
    if not torch.cuda.is_available():
        sys.exit("benchmarks/device.py compares a CUDA device with the CPU, and there is none here")
    return {
        "card": torch.cuda.get_device_name(),
        "processor_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "rounding": rounding(),
        "asking": asking(),
        "solving": solving(),
    }


def table(found: dict[str, Any]) -> str:
    """Markdown: solving by size, then the ways to ask."""
    lines = [
        f"| labels | predictions | CPU / {found['card']} | largest difference of a label |",
        "|---|---|---|---|",
    ]
    for row in found["solving"]:
        ratio = row["seconds"]["cpu"] / row["seconds"]["cuda"]
        lines.append(
            f"| {row['labels']:,} | {row['predictions']:,} | {ratio:.1f} | "
            f"{row['largest_difference']:.0e} |"
        )
    ways = found["asking"]["ways"]
    slowest = ways[f"bfloat16, {local.GENERATE}"]["per_second"]
    lines += ["", "| way | times as fast as the last | largest difference, nats |", "|---|---|---|"]
    for way, row in ways.items():
        gap = row.get("largest_difference")
        said = "" if gap is None else f"{gap:.0e}"
        lines.append(f"| {way} | {row['per_second'] / slowest:.1f} | {said} |")
    apart = ", ".join(f"{gap:.0e} nats in {dtype}" for dtype, gap in found["rounding"].items())
    return "\n".join(lines) + (
        f"\n\nSolving: {found['processor_threads']} threads of the CPU. Asking: the queries of the "
        f"table above, a model of {found['asking']['parameters'] / 1e9:.1f} billion parameters; "
        "differences are to the first way in the same precision. The pocket model's answers on the "
        f"CPU and on the card are at most {apart} apart."
    )


if __name__ == "__main__":
    program.once(__doc__, measure, table, RESULTS)
