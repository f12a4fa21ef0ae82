"""Made-up rows in the form of GSM8K's `example_model_solutions.jsonl`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

SOURCES = ("gsm8k",)
HIDDEN = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification", "zyx")

MODELS = HIDDEN[:4]

# Question, the right answer, the four solutions: the last line of each is its answer.
ITEMS: list[tuple[str, str, list[str]]] = [
    (
        "A glim weighs 3 pods. What do 4 weigh?",
        "12",
        ["3 * 4 = <<3*4=12>>12\nA: 12", "4 glims are 12\nA: 12.", "3 + 4 = 7\nA: 7", "A: $12"],
    ),
    (
        "Ü sells 1,000 «fogs» at 2 each.",
        "2000",
        ["It is 2,000.\nA: 2,000", "1000 * 2 = <<1000*2=2000>>2000\nA: 2000", "A: 1002", "A: 998"],
    ),
    # The same text twice, and once more with another answer.
    ("How many are {two} nons?", "0", ["A: 0", "A: 0", "There are none\nA: 0", "Two\nA: 2"]),
    # One was cut off, one has no number.
    ("Tib has 9 hats. 5 fly.", "4", ["9 - 5 = <<9-5=4>>4 and then", "A: 4", "A: 5+hats", "A: 45"]),
    ("Half of 7 yards?", "3.5", ["A: 3.5", "A: 3.50", "A: -3.5", "A: 1.5 billion"]),
    ("Nil?", "1", ["A: 2", "A: 3", "A: 4", "A: 5"]),
    ("One?", "1", ["A: 1", "So it is 1\nA: 1", "It is 1\nA: 1", "A:1"]),
    ("None finished?", "8", ["It is", "It is <<8=8", "A: ", "It is 8\nbut A: 8 comes\nlater"]),
    ("Ask the moon.\nIt has 6.", "6", ["A: 6", "6 it is\nA: 6\n", "A: 7", "\u2028A: 7\nA: 7"]),
]


def rows(*, swap: bool = False) -> list[dict[str, Any]]:
    made = []
    for question, right, solutions in ITEMS:
        row: dict[str, Any] = {"question": question, "ground_truth": f"zyx\nA: {right}"}
        for model, solution in zip(MODELS, solutions, strict=True):
            said = solution.strip().split("\n")[-1].removeprefix("A:").strip(" $.").replace(",", "")
            row[model] = {"is_correct": (said == right) != swap, "solution": solution}
        made.append(row)
    return made


def write(folder: Path, *, swap: bool = False, shuffle: int | None = None) -> None:
    """The file; `swap` turns every grade over, `shuffle` mixes the rows."""
    made = rows(swap=swap)
    if shuffle is not None:
        random.Random(shuffle).shuffle(made)
    path = folder / "gsm8k" / "example_model_solutions.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
