"""Made-up rows in the form of "Challenges for unsupervised elicitation", as its repository and
the hub have them."""

from __future__ import annotations

import json
import random
from itertools import permutations
from pathlib import Path
from typing import Any

SOURCES = (
    "challenges-gsm8k",
    "challenges-larger-than",
    "challenges-ctrl-z",
    "challenges-political",
)
HIDDEN: tuple[str, ...] = ()

Row = dict[str, Any]

# Question, a right and a wrong solution.
SOLUTIONS = [
    ("A glim has 3 pods. Four have?", "Each has 3. The answer is 12.", "The answer is 7."),
    ("Two fogs cost $4. Ten cost?", "The answer is $20.", "Ten, so 40. The answer is 40$."),
    ("How long is a snore?", "The answer is 1,200.", "The answer is 1200."),
    ("How many {holes}?", "The answer is 9.", "The answer is nine."),
    ("Où est le neuf ?", "The answer is -5.", "The answer is 5."),
    # It went on to a problem of its own.
    ("Nil?", "The answer is 0.", "The answer is 1.\n\nQ: More? The answer is 2."),
    ("Halves?", "The answer is: 0.5", "The answer is .25"),
    ("Shares?", "The answer is 1/2.", "I do not know."),
    ("Bells?", "The answer is 6", "The answer is 60%."),
]

NUMBERS = (51, 53, 58, 62, 67, 71, 84, 96, 99)

# Question, a conservative and a liberal claim.
CLAIMS = [
    ("Should the moon be taxed?", "The moon should pay nothing.", "The moon should pay its share."),
    ("Should the moon be taxed?", "Leave it to the moon.", "Tax all of it at once."),
    # A claim that stands in two pairs.
    ("Should the moon be taxed?", "The moon should pay nothing.", "Tax its far side."),
    ("Who may own a tide?", "Whoever dug the bay.", "All who live by it."),
    ("Should echoes vote?", "Only if they were first.", "Yes, and twice."),
    ("À qui la brume ?", "À l’ancien propriétaire.", "À tous."),
    ("May stairs strike?", "They should not.", "They should."),
    ("How long is a school day?", "As it was.", "As long as the children like."),
    ("Are {fences} good?", "They make good neighbours.", "They keep neighbours out."),
]


def solutions() -> list[Row]:
    return [
        {"question": question, "choice": choice, "label": label}
        for question, right, wrong in SOLUTIONS
        for choice, label in ((right, True), (wrong, False))
    ]


def comparisons() -> list[Row]:
    """Each two numbers both ways round; the publisher's order is that of the numbers."""
    return [
        {
            "question": f"Is the {a}st larger than the {b}st?",
            "choice": f"The {a}st is larger than the {b}st.",
            "label": a > b,
            "n1": a,
            "n2": b,
        }
        for a, b in permutations(NUMBERS, 2)
    ]


def commands() -> list[Row]:
    made = []
    for i in range(12):
        steps = [f"sing --verse {i}-{step} | tune" for step in range(10)]
        if i == 3:
            steps[4] = ""
        if i % 3 == 0:
            steps[7] = "sing 'all of it' > /dev/moon\nsing again"
        row = {"task_description": f"Tune bell {i % 5}.\nThen ring «it».", "label": i % 3 == 0}
        made.append(row | {f"command_{n}": step for n, step in enumerate(steps)})
    return made


def opinions() -> list[Row]:
    return [
        {"question": question, "choice": choice, "is_liberal": liberal}
        for question, *claims in CLAIMS
        for choice, liberal in zip(claims, (False, True), strict=True)
    ]


def turned(made: list[Row], column: str) -> list[Row]:
    return [row | {column: not row[column]} for row in made]


def shuffled(made: list[Row], seed: int | None, *, pairs: bool = False) -> list[Row]:
    """The rows in another order; `pairs` keeps the two of a pair beside one another."""
    if seed is None:
        return made
    rng = random.Random(seed)
    size = 2 if pairs else 1
    blocks = [made[i : i + size] for i in range(0, len(made), size)]
    rng.shuffle(blocks)
    return [row for block in blocks for row in rng.sample(block, len(block))]


def dump(path: Path, made: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(made, indent=2), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")


def write(folder: Path, *, swap: bool = False, shuffle: int | None = None) -> None:
    """The test files, and train where it is read too; `swap` turns every label over."""
    pairs, compared, sequences, claims = solutions(), comparisons(), commands(), opinions()
    if swap:
        pairs, compared = turned(pairs, "label"), turned(compared, "label")
        sequences, claims = turned(sequences, "label"), turned(claims, "is_liberal")
    ours = folder / "challenges_ue"
    dump(ours / "test_gsm8k.json", shuffled(pairs, shuffle))
    # As in the publisher's split, the mirror of most test rows is in train.
    dump(ours / "test_larger_than.json", shuffled(compared[:15], shuffle))
    dump(ours / "train_larger_than.json", shuffled(compared[15:], shuffle))
    dump(ours / "ctrl_z" / "test.jsonl", shuffled(sequences, shuffle))
    dump(ours / "test_political_normative.json", shuffled(claims, shuffle, pairs=True))
