"""Made-up rows in the form of DailyDilemmas: actions with values, and the values' dimensions."""

from __future__ import annotations

import random
from pathlib import Path

from made_up import write_csv

SOURCES = ("daily-dilemmas",)
HIDDEN = ("to_do", "not_to_do", "zyx", "bell-mindedness", "fogginess", "candour", "['")

COLUMNS = (
    *("idx", "dilemma_idx", "basic_situation", "dilemma_situation", "action_type", "action"),
    *("negative_consequence", "values_aggregated", "topic", "topic_group"),
)

# Value, then WVS, MFT, Virtue, Emotion, Maslow; most have no dimension in most theories.
VALUES = [
    ("candour", "", "Fairness", "Truthfulness", "trust", "self-esteem"),
    ("plain speech", "Secular-rational", "", "Truthfulness", "", ""),
    ("bell-mindedness", "Survival", "Care", "", "joy", "safety"),
    ("fogginess", "", "", "", "", ""),
    ("l’égard", "Self-expression", "Loyalty", "Courage", "", "love and belonging"),
]

# Situation, doing it and its values, not doing it and its values.
DILEMMAS = [
    (
        "Your lamp is deaf. Do you tell it?",
        ("Tell the lamp", ["candour", "l’égard"]),
        ("Not tell the lamp", ["fogginess", "bell-mindedness"]),
    ),
    (
        'The tide asks: "Am I late?" Do you answer?',
        ("Say yes", ["plain speech", "candour", "candour"]),
        ("Say no, kindly", ["candour"]),
    ),
    # As many on both sides: no gold for Truthfulness.
    ("An echo owes you a word.", ("Ask", ["candour"]), ("Wait", ["plain speech"])),
    ("The gate is flat.", ("Tune it", ["bell-mindedness"]), ("Leave it flat", ["fogginess"])),
    ("The moon snores.", ("Wake it", ["l’égard", "fogginess"]), ("Let it be", ["candour"])),
    ("Der Wind lügt.", ("Ihm glauben", ["l’égard"]), ("Ihn rügen", ["plain speech"])),
    ("A {spoon} wants to fly south.", ("Let it", ["fogginess"]), ("Tell it", ["candour"])),
    ("Stairs ask their number.", ("Count, aloud", ["candour"]), ("Hum", ["bell-mindedness"])),
    ("The river is not yours.", ("Admit it", ["candour"]), ("Don't admit it", ["l’égard"])),
    ("A hill was moved.", ("Say who", ["plain speech"]), ("Say nothing", ["fogginess"])),
    ("Fog, again.", ("Name it", ["candour", "bell-mindedness"]), ("Nod", ["bell-mindedness"])),
]


def rows(*, swap: bool = False) -> list[dict[str, str]]:
    made = []
    for n, (situation, *actions) in enumerate(DILEMMAS):
        values = [listed for _, listed in actions]
        if swap:
            values.reverse()
        for kind, (action, _), listed in zip(("to_do", "not_to_do"), actions, values, strict=True):
            cells = (
                *(str(len(made)), str(7 * n % 11), "being asked.", situation, kind, action),
                *(f"Then the zyx of {action} came.", repr(listed), str(n % 3), f"zyx {n % 3}"),
            )
            made.append(dict(zip(COLUMNS, cells, strict=True)))
    return made


def write(folder: Path, *, swap: bool = False, shuffle: int | None = None) -> None:
    """Both files; `swap` exchanges the values of the two actions of each dilemma."""
    made = rows(swap=swap)
    theories = ("value", "WVS", "MFT", "Virtue", "Emotion", "Maslow")
    values = [
        {"": str(i)} | dict(zip(theories, value, strict=True)) for i, value in enumerate(VALUES)
    ]
    if shuffle is not None:
        random.Random(shuffle).shuffle(made)
        random.Random(shuffle).shuffle(values)
    ours = folder / "daily_dilemmas"
    write_csv(made, ours / "dilemma_to_action_to_values_aggregated.csv")
    write_csv(values, ours / "values.csv")
