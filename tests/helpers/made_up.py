"""Rows that tests make up: claims about things that do not exist."""

from __future__ import annotations

import csv
import random
from pathlib import Path

ANIMALS = ("gorbel", "minty", "tarrow", "quill", "besk", "orrin", "lumet", "haddow")
PLACES = ("the north shore", "a high tower", "the salt flats", "an old mill", "the ninth street")


def claims(count: int = 24, seed: int = 0) -> list[dict[str, str]]:
    """Rows with a question, a claim, a truth; two claims to a question, one of them true."""
    rng = random.Random(seed)
    rows = []
    for number in range(count // 2):
        animal, (one, two) = rng.choice(ANIMALS), rng.sample(PLACES, 2)
        question = f"Where does {animal} number {number} live?"
        right = rng.random() < 0.5
        for place, truth in ((one, right), (two, not right)):
            claim = f"{animal} number {number} lives at {place}"
            rows.append({"question": question, "claim": claim, "truth": str(truth)})
    return rows


def write_csv(rows: list[dict[str, str]], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


TASK_OPTIONS = ["--question", "Is the claim true or false?", "--classes", "False,True"]
"""The task that is about claims, said in full."""

FILE_OPTIONS = ["--text", "{question} {claim}", "--set", "data.group=question", *TASK_OPTIONS]
