"""Files of Geometry of Truth with made-up statements: cities, words and numbers there are not."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable
from itertools import permutations
from pathlib import Path

SOURCES: tuple[str, ...] = (
    "geometry-cities",
    "geometry-sp-en",
    "geometry-larger-than",
    "geometry-conj",
    "geometry-disj",
)
HIDDEN: tuple[str, ...] = (".csv", "Rep. of")

CITIES = {  # each city: the country it is in, and others
    "Vellamo": ("Kurrland", "the Sild Isles"),
    "Mors, Upper Vale, Tarn": ("the Sild Isles", "Kurrland"),
    "N'Garra": ("Côte d'Ambre", "Kurrland", "Østermark"),
    "Ölund-si": ("Østermark", "Kurrland"),
    "Is in Between": ("Kurrland", "Østermark"),
    "Not-in-Hand": ("Kurrland", "Côte d'Ambre"),
    "Pell": ("the Sild Isles", "Pell and Herm"),
    "Quay": ("Pell and Herm", "Østermark"),
    "Lone Hythe": ("Kurrland",),
}
WORDS = (
    *(
        ("blarto", "lantern", 1),
        ("mirga", "to whistle", 1),
        ("tezo", "moss", 0),
        ("ún", "to be", 1),
    ),
    *(("perdo", "gravel", 0), ("o'la", "wave", 1), ("blarto", "to row", 0), ("cesk", "to knit", 0)),
    *(("mirga", "to whistle", 1), ("dun", "hill", 1)),  # one of them for the second time
)
NUMBERS = ("ozz", "treb", "quill-one", "quill-two", "varn")

Line = dict[str, object]


def write(folder: Path, *, swap: bool = False, shuffle: int | None = None) -> None:
    """All files; `swap` turns every label round, `shuffle` the rows of each file."""
    for stem, rows in files(swap).items():
        lines = list(rows)
        if shuffle is not None:
            random.Random(f"{stem} {shuffle}").shuffle(lines)
        path = folder / "geometry" / f"{stem}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)


def files(swap: bool) -> dict[str, Iterable[Line]]:
    """The rows of each file."""
    return {
        "cities": [city(*said, swap) for said in said_of_cities()],
        "neg_cities": [city(*said, swap, "not ") for said in said_of_cities()],
        "sp_en_trans": [word(*said, "means", swap) for said in WORDS],
        "neg_sp_en_trans": [word(*said, "does not mean", not swap) for said in WORDS],
        "larger_than": [number(*pair, "larger", swap) for pair in permutations(range(5), 2)],
        "smaller_than": [number(*pair, "smaller", swap) for pair in permutations(range(5), 2)],
        "cities_cities_conj": [compound(*two, "both", "and", swap) for two in pairs()],
        "cities_cities_disj": [compound(*two, "either", "or", swap) for two in pairs()],
    }


def said_of_cities() -> list[tuple[str, str]]:
    return [(name, country) for name, countries in CITIES.items() for country in countries]


def right(name: str, country: str, swap: bool) -> bool:
    return (CITIES[name][0] == country) != swap


def city(name: str, country: str, swap: bool, negation: str = "") -> Line:
    return {
        "statement": f"The city of {name} is {negation}in {country}.",
        "label": int(right(name, country, swap) != bool(negation)),
        "city": name,
        "country": country,
        "correct_country": f"{CITIES[name][0]}, Rep. of",
    }


def word(said: str, meaning: str, label: int, verb: str, swap: bool) -> Line:
    return {
        "statement": f"The Spanish word '{said}' {verb} '{meaning}'.",
        "label": int(bool(label) != swap),
    }


def number(one: int, other: int, how: str, swap: bool) -> Line:
    return {
        "statement": f"{NUMBERS[one].capitalize()} is {how} than {NUMBERS[other]}.",
        "label": int(((one > other) == (how == "larger")) != swap),
        "n1": one,
        "n2": other,
        "diff": one - other,
        "abs_diff": abs(one - other),
    }


def pairs() -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Every third pair of statements; one statement with itself, and one pair for a second time."""
    said = said_of_cities()
    return [*list(permutations(said, 2))[::3], (said[0], said[0]), (said[0], said[1])]


def compound(
    one: tuple[str, str], other: tuple[str, str], how: str, joined: str, swap: bool
) -> Line:
    """A row as the publisher has it, which names the countries in another way beside the text."""
    rows = [city(*part, swap) for part in (one, other)]
    parts = [str(row["statement"]) for row in rows]
    labels = [int(str(row["label"])) for row in rows]
    first, second = (f"{part[0].lower()}{part[1:-1]}" for part in parts)
    line: Line = {
        "statement": f"It is the case {how} that {first} {joined} that {second}.",
        "label": min(labels) if joined == "and" else max(labels),
    }
    for n, row in enumerate(rows, start=1):
        line |= {f"{name}{n}": row[name] for name in row}
    return line
