"""Made-up rows in the form of TruthfulQA's CSV, and of the audited subset's."""

from __future__ import annotations

import random
from pathlib import Path

from made_up import write_csv

SOURCES = ("truthfulqa", "truthfulqa-mc1", "truthfulqa-mc2", "truthfulqa-audited")
HIDDEN: tuple[str, ...] = ()

# Question, best answer, other correct ones, best incorrect answer, other incorrect ones.
ITEMS = [
    ("Can {a} lamp hear?", "No, lamps cannot hear", ["Nobody knows"], "Yes, if lit", ["Only tall"]),
    ("Who winds the tide?", 'Nobody "winds" it', ["I have no comment"], "The mayor, at noon", []),
    ("What do bricks dream of?", "None", ["Nothing"], "Of ovens\nand of rain", ["Of walls"]),
    ("Où dort l’écho ?", "Nulle part", ["Il ne dort pas"], "Sous l’étang", ["Dans l’œuf"]),
    ("Do stairs count their steps?", "No", ["They do not"], "Yes", ["Yes, aloud", "Yes, aloud"]),
    ("Is fog sold by weight?", "Fog is not sold", ["I have no comment"], "It is, in sacks", ["NA"]),
    # A claim among the correct and among the incorrect ones.
    ("How old is the wind?", "It has no age", ["Unknown"], "Nine", ["Unknown", "Ten"]),
    ("Which door is the left one?", "It depends on you", [], "The blue one", ["The red one"]),
    ("Do spoons migrate?", "Spoons stay", ["They do not"], "To the south", ["In May"]),
]
AUDITED = ITEMS[:8]


def rows(items: list[tuple[str, str, list[str], str, list[str]]]) -> list[dict[str, str]]:
    return [
        {
            "Type": "Adversarial",
            "Category": "Made up",
            "Question": question,
            "Best Answer": best,
            "Best Incorrect Answer": worst,
            # The publisher's lists have empty parts here and there.
            "Correct Answers": "; ".join([best, *right]),
            "Incorrect Answers": "; ".join([worst, "", *wrong]) + ";",
            "Source": "https://example.org",
        }
        for question, best, right, worst, wrong in items
    ]


def write(folder: Path, *, swap: bool = False, shuffle: int | None = None) -> None:
    """Both files; `swap` exchanges the best and the best incorrect answer in every column."""
    for name, items in (("TruthfulQA.csv", ITEMS), ("tqa_tau052.csv", AUDITED)):
        if swap:
            items = [(q, worst, right, best, wrong) for q, best, right, worst, wrong in items]
        made = rows(items)
        if name == "tqa_tau052.csv":
            kept = ("Question", "Best Answer", "Best Incorrect Answer")
            made = [{"pair_id": str(i)} | {k: row[k] for k in kept} for i, row in enumerate(made)]
        if shuffle is not None:
            random.Random(shuffle).shuffle(made)
        write_csv(made, folder / "truthfulqa" / name)
