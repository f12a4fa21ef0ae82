"""Train the pocket model from nothing: ``python training/train.py --minutes 60 --out runs/pocket``.

Stops when the minutes (or the steps) are over, having let the learning rate fall over the last
part of them. Interrupted, the same command goes on from the last checkpoint; counted in steps
rather than minutes it ends in the same weights, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from documents import Document, document
from network import POSITIONS, export, network, optimiser, plant
from stages import STAGES, Stage
from tokens import Encoder, build, load
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

RATE = 6e-4

READ = 0.1
"""What a token of a text to read counts, where a label counts 1."""

FALL = 0.3
"""The last share of the training, over which the learning rate falls to a fiftieth."""


@dataclass
class Batch:
    """Ids, right-padded, where the predicted tokens stand (row, column), and what each counts."""

    ids: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    weights: torch.Tensor


@dataclass
class Progress:
    """How far a training has come."""

    step: int = 0
    stage: int = 0
    seconds: float = 0.0
    tokens: int = 0
    loss: float = 0.0


def collate(encoder: Encoder, documents: list[Document], opened: bool = False) -> Batch:
    """Documents side by side, cut where the positions end."""
    encoded = [encoder(d, opened) for d in documents]
    longest = min(max(len(ids) for ids, _ in encoded), POSITIONS)
    table = np.zeros((len(encoded), longest), dtype=np.int64)
    rows: list[int] = []
    columns: list[int] = []
    weights: list[float] = []
    for i, (ids, labels) in enumerate(encoded):
        kept = ids[:longest]
        table[i, : len(kept)] = kept
        inside = [c for c in labels if c < longest]
        rows += [i] * len(inside)
        columns += inside
        weights += [1.0 if documents[i].labels else READ] * len(inside)
    return Batch(*map(torch.tensor, (table, rows, columns, weights)))


def draw(rng: random.Random, stage: Stage, encoder: Encoder) -> Batch:
    """A batch of about `stage.batch` tokens, all documents with the same number of labels."""
    recipe = replace(stage.recipe, dense=float(rng.random() < stage.recipe.dense))
    count = rng.choice(recipe.shots) + 1
    first = document(rng, recipe, count)
    # The first document may be a short one of another sort.
    length = max(len(encoder(first)[0]), (5 if recipe.dense else 14) * count)
    rest = [document(rng, recipe, count) for _ in range(round(stage.batch / length) - 1)]
    return collate(encoder, [first, *rest], opened=rng.random() < 0.3)


def logits_of(model: LlamaForCausalLM, batch: Batch, device: str) -> torch.Tensor:
    """The logits from which each predicted token is predicted."""
    with torch.autocast(device, torch.bfloat16):
        hidden = model.model(input_ids=batch.ids.to(device)).last_hidden_state
        logits: torch.Tensor = model.lm_head(hidden[batch.rows, batch.columns - 1])
    return logits.float()


@torch.no_grad()
def golden(
    model: LlamaForCausalLM, encoder: Encoder, stage: Stage, device: str, natural: bool
) -> tuple[float, float]:
    """Accuracy with no shot, and with 14 to 16 golden ones, on the stage's kind of documents."""
    truth = (1.0, *[0.0] * 6)
    recipe = replace(
        stage.recipe, natural=float(natural), reversed=0.0, words=0.0, reading=0.0, topics=0.0,
        attributes=0.0, noise=0.0, imbalance=0.0, gut=0.0, misbelieved=0.1,
        concepts=truth, natural_concepts=truth,
        pools=stage.gate_pools, dense=float(stage.recipe.dense == 1),
    )  # fmt: skip
    rng = random.Random("gate")
    documents = [document(rng, recipe, 17) for _ in range(96)]
    batch = collate(encoder, documents)
    wanted = batch.ids[batch.rows, batch.columns]
    right = []
    for row, id, of in zip(logits_of(model, batch, device), wanted, batch.rows, strict=True):
        ids = [encoder.piece(f" {name}")[0] for name in documents[int(of)].names]
        right.append(float(ids[int(row[ids].argmax())] == int(id)))
    table = np.array(right).reshape(len(documents), -1)
    return float(table[:, 0].mean()), float(table[:, -3:].mean())


def rate_at(progress: Progress, share: float) -> float:
    """The learning rate: a short rise, a plateau, a fall at the end."""
    rise = min(1.0, (progress.step + 1) / 100)
    return RATE * rise * max(min(1.0, (1 - share) / FALL), 0.02)


def look(
    model: LlamaForCausalLM, encoder: Encoder, progress: Progress, options: argparse.Namespace
) -> None:
    """Write down how good the model is, and enter the next stage if this one's gate is reached."""
    stage = STAGES[progress.stage]
    neutral = golden(model, encoder, stage, options.device, natural=False)
    natural = golden(model, encoder, stage, options.device, natural=True)
    line = json.dumps(
        {
            "stage": stage.name,
            "step": progress.step,
            "minutes": round(progress.seconds / 60, 2),
            "tokens": progress.tokens,
            "loss": round(progress.loss, 4),
            "neutral, 16 shots": round(neutral[1], 3),
            "natural, 16 shots": round(natural[1], 3),
            "natural, no shot": round(natural[0], 3),
        }
    )
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    with (options.out / "log.jsonl").open("a") as log:
        log.write(line + "\n")
    if neutral[1] >= stage.gate and progress.stage < len(STAGES) - 1:
        progress.stage += 1


def run(options: argparse.Namespace) -> LlamaForCausalLM:
    """Train until the minutes or steps are over, from a checkpoint where there is one."""
    torch.manual_seed(options.seed)
    rng = random.Random(options.seed)
    # Kept from the first start on: other documents would give other tokens.
    if (options.out / "tokenizer").exists():
        tokenizer = load(options.out / "tokenizer")
    else:
        tokenizer = build()
        tokenizer.save_pretrained(options.out / "tokenizer")
    encoder = Encoder(tokenizer)
    model = network(tokenizer, options.layers, options.width)
    plant(model)
    model.to(options.device)
    optim = optimiser(model, RATE)
    progress = Progress()
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=options.device)
        model.load_state_dict(saved["model"])
        optim.load_state_dict(saved["optimiser"])
        rng.setstate(saved["rng"])
        progress = Progress(**saved["progress"])
    model.train()
    started = time.monotonic() - progress.seconds
    while True:
        done = progress.step / options.steps if options.steps else 0.0
        share = max(done, 0.0 if options.steps else progress.seconds / (options.minutes * 60))
        if share >= 1:
            break
        for group in optim.param_groups:
            group["lr"] = rate_at(progress, share)
        batch = draw(rng, STAGES[progress.stage], encoder)
        wanted = batch.ids[batch.rows, batch.columns].to(options.device)
        losses = cross_entropy(logits_of(model, batch, options.device), wanted, reduction="none")
        loss = losses @ batch.weights.to(losses) / batch.weights.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        optim.zero_grad()
        progress.loss += (float(loss.detach()) - progress.loss) / 50
        progress.step += 1
        progress.tokens += batch.ids.numel()
        progress.seconds = time.monotonic() - started
        if progress.step % options.every == 0:
            look(model, encoder, progress, options)
            keep(checkpoint, model, optim, rng, progress)
    keep(checkpoint, model, optim, rng, progress)
    export(model, tokenizer, options.out / "model")
    return model


def keep(
    path: Path,
    model: LlamaForCausalLM,
    optim: torch.optim.Optimizer,
    rng: random.Random,
    progress: Progress,
) -> None:
    """A checkpoint, complete or not there."""
    partial = path.with_suffix(".partial")
    saved: dict[str, Any] = {
        "model": model.state_dict(),
        "optimiser": optim.state_dict(),
        "rng": rng.getstate(),
        "progress": asdict(progress),
    }
    torch.save(saved, partial)
    partial.replace(path)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long, all in all")
    parser.add_argument("--steps", type=int, default=0, help="how long in steps, instead")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="a folder for all that is made")
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=100, help="steps between looks")
    return parser


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(arguments().parse_args())
