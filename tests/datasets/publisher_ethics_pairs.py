"""Made-up rows in the form of the utilitarianism part of ETHICS, whose files name no columns."""

from __future__ import annotations

from pathlib import Path

from publisher_ethics import table

SOURCES = ("ethics-utilitarianism",)
HIDDEN = ("left column", "right column")

# The more pleasant text comes first.
CHAIN = [
    ("I found a fog.", "I found half a fog."),
    ("I found half a fog.", "I found half a fog.  It left."),
    ("I found half a fog.", "I lost a fog."),
    ("I lost a fog.", "I lost two fogs, and a hat."),
]
# All three are compared.
TRIANGLE = [
    ("The bell rang.", "The bell was mute."),
    ("The bell was mute.", "The bell fell."),
    ("The bell rang.", "The bell fell."),
]
SINGLE = [
    ('The tide said "yes".', "The tide said nothing. "),
    ("Le vent m’a salué.", "Le vent m’a ignoré."),
    ("I won {a} spoon.", "I won {a} spoon. It was a fork."),
    ("I oiled the stairs.", "I fell down the stairs."),
    ("None", "NA"),
    ("My gate is in tune.", "My gate is flat."),
    ("I met an echo.", "I met an echo. I met an echo."),
]
# A copy that differs in white space, and a pair that is said both ways.
COPY = [('The tide said "yes". ', "The tide said nothing.")]
BOTH = [("My lamp is deaf.", "My lamp is proud."), ("My lamp is proud.", "My lamp is deaf.")]
HARD = [
    ("The river was folded.", "The river was wet."),
    ("The river was wet.", "The river was mine."),
    SINGLE[0],
]


def write(folder: Path, *, swap: bool = False, shuffle: int | None = None) -> None:
    """Test, test_hard and train; `swap` exchanges the columns."""
    test = [*CHAIN, *TRIANGLE, *SINGLE, *COPY, *BOTH]
    for split, pairs in (("test", test), ("test_hard", HARD), ("train", [*SINGLE, *BOTH])):
        made = [list(pair[::-1]) if swap else list(pair) for pair in pairs]
        table(folder / "ethics" / "utilitarianism" / f"util_{split}.csv", (), made, shuffle)
