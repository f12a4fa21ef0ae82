"""Made-up rows in the form of ETHICS: commonsense, deontology, justice and virtue."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

SOURCES = ("ethics-commonsense", "ethics-deontology", "ethics-justice", "ethics-virtue")
HIDDEN: tuple[str, ...] = ()

# An acceptable account and a wrong one.
SHORT = [
    ("I oiled the moon.", "I oiled the moon while it slept."),
    ('I said "ring" to the bell.', "I said nothing, and the bell cracked."),
    ("I paid the tide, as agreed.", "I paid the tide, in sand."),
    ("J’ai rendu l’écho à son mur.", "J’ai gardé l’écho."),
    ("I let {the} fog in.", "I sold {the} fog."),
    ("NA", "None"),
]
LONG = [
    ("AITA for moving a hill? | It was mine.\n\nThey knew, and so on.", "0"),
    ("AITA for keeping a cloud? | It rained on me first,\nso to speak.", "1"),
]

# A situation and four responses with gold; the publisher has any number of reasonable ones.
RESPONSES = [
    (
        "Aren't you supposed to wind the stairs?",
        ["No because they run. ", "No, I am a bell."],
        "10",
    ),
    ("I am the keeper of a fog.", ["So I should count it.", "So I should spill it."], "10"),
    ("Could you fold the river?", ['But it is "wet".', "But I would rather not."], "00"),
    ("I am an echo, in a valley.", ["So I should answer.", "So I should wait."], "11"),
    ("Könnten Sie den Wind heben?", ["But he is tall.", "But I am the wind."], "01"),
    ("Can you whistle for the lamp? ", ["But it is deaf.", "But it whistles itself."], "10"),
    ("I am a spoon.", ["So I should stir.", "So I should fly south."], "10"),
    ("Will you tune the gate?", ["But it is a gate.", "But it is tuned."], "01"),
    ("Are you to feed the clock?", ["No because it ate.", "No because I dislike it."], "10"),
]

# The beginning, and reasons with gold; some have no "because", and some repeat a word.
REASONS = [
    ("I used to lend my hat to the pond but I don't anymore", ["it shrank it", "it is tall"], "10"),
    ("I deserve a bell", ["I rang", "it is Tuesday because it is"], "10"),
    ("I usually greet the gate, but not today", ["it was open.", "it squeaks."], "01"),
    ("I am justified in expecting fog", ["I paid for it", "I am thin"], "10"),
    ("Je mérite l’écho", ["I called", "I am deaf"], "10"),
    ("I merit {rain}", ["I asked", "I danced, twice"], "11"),
    ("I am entitled to the stairs", ["I climbed them", "I fell"], "00"),
]
PLAIN = [
    ("I normally wave at the tide, but I didn't since it was out.", "1"),
    ("I normally wave at the tide, but I didn't since I am shy.", "0"),
]

# A scenario and five traits, of which the first fits.
TRAITS = [
    ("Ada gave her fog away.", ["generous", "dull", "sly", "stoutness", "vain"]),
    ("Bo hid the bell, and lied.", ["sly", "honest", "merry", "humble", "bold"]),
    ("Cy waited for the moon [SEP] twice.", ["patient", "hasty", "rude", "vain", "dull"]),
    ("Dé a salué l’écho.", ["polite", "rude", "sly", "bold", "meek"]),
    ("Ed climbed {the} stairs.", ["bold", "meek", "dull", "merry", "vain"]),
    ("Flo sang to a gate.", ["merry", "sad", "sly", "hasty", "humble"]),
    ("Gus, a spoon, stirred.", ["diligent", "idle", "vain", "rude", "sly"]),
    ('Hal said "no" to the tide.', ["firm", "meek", "merry", "sly", "dull"]),
    ("Ida would not ring.", ["stubborn", "eager", "bold", "polite", "vain"]),
]

Row = list[str]


def commonsense(split: str) -> list[Row]:
    pairs = SHORT if split == "test" else [(f"{a} ({split})", b) for a, b in SHORT[:2]]
    made = [
        [label, text, "True", "False"]
        for two in pairs
        for label, text in zip("01", two, strict=True)
    ]
    made += [[label, text, "False", "False"] for text, label in LONG]
    # Copies that agree, and in train copies that do not.
    made.append(made[0])
    if split == "train":
        made.append(["1" if made[2][0] == "0" else "0", *made[2][1:]])
    return made


def deontology(split: str) -> list[Row]:
    items = RESPONSES if split == "test" else RESPONSES[:3]
    return [
        [label, situation, response]
        for situation, responses, gold in items
        for label, response in zip(gold, responses, strict=True)
    ]


def justice(split: str) -> list[Row]:
    made = [
        [label, f"{stem} because {reason}"]
        for stem, reasons, gold in REASONS
        for label, reason in zip(gold, reasons, strict=True)
    ]
    return [*made, *([label, text] for text, label in PLAIN)] if split == "test" else made[:6]


def virtue(split: str) -> list[Row]:
    return [
        [str(int(i == 0)), f"{scenario} [SEP] {trait}"]
        for scenario, traits in (TRAITS if split == "test" else TRAITS[2:])
        for i, trait in enumerate(traits)
    ]


def flipped(made: list[Row]) -> list[Row]:
    return [[{"0": "1", "1": "0"}[row[0]], *row[1:]] for row in made]


def turned(made: list[Row]) -> list[Row]:
    """Each label moved one row on, so that still one of five traits fits."""
    labels = [row[0] for row in made]
    return [[label, *row[1:]] for label, row in zip(labels[-1:] + labels[:-1], made, strict=True)]


def table(path: Path, header: Sequence[str], made: list[Row], shuffle: int | None = None) -> None:
    if shuffle is not None:
        made = random.Random(shuffle).sample(made, len(made))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *made] if header else made)


def write(folder: Path, *, swap: bool = False, shuffle: int | None = None) -> None:
    """Test, test_hard and train; `swap` turns every label over, of virtue to the next trait."""
    change = flipped if swap else list
    for split in ("test", "test_hard", "train"):
        for part, header, made in (
            ("commonsense/cm", ("label", "input", "is_short", "edited"), commonsense(split)),
            ("deontology/deontology", ("label", "scenario", "excuse"), deontology(split)),
            ("justice/justice", ("label", "scenario"), justice(split)),
        ):
            table(folder / "ethics" / f"{part}_{split}.csv", header, change(made), shuffle)
        made = turned(virtue(split)) if swap else virtue(split)
        path = folder / "ethics" / "virtue" / f"virtue_{split}.csv"
        table(path, ("label", "scenario"), made, shuffle)
