"""Measure a pocket model on claims it was never shown labels for.

``python training/evaluate.py src/consilience/datasets/pocket_world/model --output card.json``
prints a table and writes everything that is in the model card.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from documents import NEUTRAL, SORT, TOPIC_TASK, TRUTH_TASK, as_trained
from tokens import load
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from consilience.data.task import Task
from consilience.datasets.pocket_world import (
    Claim,
    balanced_topics,
    claims,
    imbalanced,
    popular_claims,
    unanswerable,
)
from consilience.datasets.pocket_world.world import CLAIM_KINDS
from consilience.prompts.framing import Framing, framings, render

SHOTS = (0, 1, 2, 4, 8, 16, 24)

Label = Callable[[Claim], int]


class Judge:
    """A model that is asked for the probabilities of label names after prompts."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: PreTrainedTokenizerFast = load(folder)
        self.model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.no_grad()
    def probabilities(self, prompts: Sequence[str], names: Sequence[str]) -> np.ndarray:
        """One row for each prompt, one column for each name; rows sum to one."""
        firsts = [self.tokenizer.encode(f" {n}", add_special_tokens=False)[0] for n in names]
        encoded = [self.tokenizer.encode(p, add_special_tokens=False) for p in prompts]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        rows = np.zeros((len(prompts), len(names)))
        for start in range(0, len(order), 32):
            chosen = order[start : start + 32]
            longest = len(encoded[chosen[-1]])
            ids = torch.zeros(len(chosen), longest, dtype=torch.long)
            for row, i in enumerate(chosen):
                ids[row, : len(encoded[i])] = torch.tensor(encoded[i])
            hidden = self.model.model(input_ids=ids).last_hidden_state
            ends = torch.tensor([len(encoded[i]) - 1 for i in chosen])
            logits = self.model.lm_head(hidden[torch.arange(len(chosen)), ends])[:, firsts]
            rows[chosen] = logits.softmax(-1).double().numpy()
        return rows


def ask(
    judge: Judge,
    asked: Sequence[Claim],
    framing: Framing,
    shots: int,
    label: Label,
    *,
    seed: int = 0,
    shown: Label | None = None,
    order: int = 0,
) -> np.ndarray:
    """Class probabilities of every claim after `shots` other claims with their labels.

    `shown` gives the labels in the prompt where they are not `label`'s; `order` another order of
    the same shots.
    """
    prompts = []
    for i, claim in enumerate(asked):
        rng = random.Random(f"{seed} {i}")
        others = [c for c in asked if c.group != claim.group]
        chosen = [(c.text, (shown or label)(c)) for c in rng.sample(others, shots)]
        random.Random(f"{order} {i}").shuffle(chosen)
        prompts.append(str(render(framing, claim.text, chosen)))
    return judge.probabilities(prompts, framing.label_names)


def accuracy(found: np.ndarray, asked: Sequence[Claim], label: Label) -> float:
    """The share of claims whose likelier class is the label."""
    return float(np.mean(found.argmax(1) == [label(c) for c in asked]))


def truth(claim: Claim) -> int:
    """The truth of a claim."""
    return claim.truth


def popular(claim: Claim) -> int:
    """What people believe of a claim."""
    return claim.popular


def coin(seed: int) -> Label:
    """A label that has nothing to do with the claim, the same for the same text."""
    return lambda claim: random.Random(f"{seed} {claim.text}").getrandbits(1)


def truth_table(judge: Judge, count: int) -> dict[str, Any]:
    """Zero-shot, golden and random-label accuracy on `pocket`, by framing, kind, order, names."""
    asked = claims(0, count)
    all_framings = framings(TRUTH_TASK, ("plain", "negated", "letters", "sets"))
    plain = all_framings[0]
    table: dict[str, Any] = {"claims": len(asked)}
    golden = {k: ask(judge, asked, plain, k, truth) for k in SHOTS}
    table["golden"] = {k: accuracy(found, asked, truth) for k, found in golden.items()}
    table["random labels"] = float(
        np.mean(
            [
                accuracy(ask(judge, asked, plain, 16, truth, seed=s, shown=coin(s)), asked, truth)
                for s in range(3)
            ]
        )
    )
    table["by framing"] = {
        f.name: {k: accuracy(ask(judge, asked, f, k, truth), asked, truth) for k in (0, 16)}
        for f in all_framings
    }
    table["by kind"] = {
        kind: {
            k: float(
                np.mean(
                    [
                        golden[k][i].argmax() == c.truth
                        for i, c in enumerate(asked)
                        if c.kind == kind
                    ]
                )
            )
            for k in (0, 16)
        }
        for kind in CLAIM_KINDS
    }
    fresh = claims(0, count, new_wordings=1.0)
    table["in a wording that no label was ever seen in"] = {
        k: accuracy(ask(judge, fresh, plain, k, truth), fresh, truth) for k in (0, 16)
    }
    orders = [ask(judge, asked, plain, 8, truth, order=o) for o in range(3)]
    answers = np.stack([o.argmax(1) for o in orders])
    table["answers that an order of 8 shots changes"] = float(
        np.mean(answers.min(0) != answers.max(0))
    )
    table["spread of P(true) over orders"] = float(np.stack(orders)[:, :, 1].std(0).mean())
    table["share called true, zero-shot"] = float(golden[0].argmax(1).mean())
    names = [*NEUTRAL[:4], ("ping", "pong"), ("left", "right"), ("blue", "red"), ("7", "4")]
    table["by neutral names, 16 shots"] = {
        "/".join(pair): accuracy(
            ask(
                judge,
                asked,
                as_trained(Task(SORT.question, pair, None, None), "plain")[0],
                16,
                truth,
            ),
            asked,
            truth,
        )
        for pair in names
    }
    seen = claims(0, count, unseen=False)
    table["propositions labelled in training"] = {
        k: accuracy(ask(judge, seen, plain, k, truth), seen, truth) for k in (0, 16)
    }
    return table


def other_tables(judge: Judge, count: int) -> dict[str, Any]:
    """The popular misconceptions, the four topics, imbalance, and claims without an answer."""
    plain = framings(TRUTH_TASK, ("plain",))[0]
    asked = popular_claims(0)
    table: dict[str, Any] = {
        "popular": {
            "truth and belief agree": accuracy(np.eye(2)[[popular(c) for c in asked]], asked, truth)
        }
    }
    for name, k, label in (
        ("zero-shot", 0, truth),
        ("16 true shots", 16, truth),
        ("16 popular shots", 16, popular),
        ("16 random shots", 16, coin(0)),
    ):
        found = ask(judge, asked, plain, k, label)
        table["popular"][name] = {
            "truth": accuracy(found, asked, truth),
            "belief": accuracy(found, asked, popular),
        }
    topics = balanced_topics(0)
    table["topics"] = {
        family if family == "plain" else f.name: {
            k: accuracy(ask(judge, topics, f, k, lambda c: c.topic), topics, lambda c: c.topic)
            for k in (0, 16)
        }
        for family in ("plain", "letters", "sets")
        for f in as_trained(TOPIC_TASK, family)
    }
    table["imbalanced"] = {}
    for share in (0.01, 0.1, 0.9, 0.99):
        some = imbalanced(0, share, count)
        table["imbalanced"][share] = {
            k: accuracy(ask(judge, some, plain, k, truth), some, truth) for k in (0, 16)
        }
    known = claims(0, count)
    none = unanswerable(0, count)
    table["mean confidence"] = {
        "pocket": {k: float(ask(judge, known, plain, k, truth).max(1).mean()) for k in (0, 16)},
        "no answer": {k: float(ask(judge, none, plain, k, truth).max(1).mean()) for k in (0, 16)},
    }
    for name in ("source", "firm", "affirmed", "calm"):

        def label(claim: Claim, name: str = name) -> int:
            return int(getattr(claim, name))

        table.setdefault("concepts, 16 shots", {})[name] = accuracy(
            ask(judge, known, plain, 16, label), known, label
        )
        table.setdefault("zero-shot agrees with", {})[name] = accuracy(
            ask(judge, known, plain, 0, truth), known, label
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--claims", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    judge = Judge(options.folder)
    table = {**truth_table(judge, options.claims), **other_tables(judge, options.claims)}
    # Read back with every number rounded, at whatever depth it stands.
    rounded = json.loads(json.dumps(table), parse_float=lambda text: round(float(text), 3))
    text = json.dumps(rounded, indent=1)
    sys.stdout.write(f"{text}\n")
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
