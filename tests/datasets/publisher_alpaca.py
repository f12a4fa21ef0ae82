"""Files of AlpacaFarm with made-up instructions and responses."""

from __future__ import annotations

import json
import random
from pathlib import Path

SOURCES: tuple[str, ...] = ("alpaca",)
HIDDEN: tuple[str, ...] = ("as published", "exchanged", "koala-of-the-file", "eval-of-the-file")

# An instruction, its input, two responses, and what people voted: 1 or 2.
JUDGED: tuple[tuple[str, str, str, str, str], ...] = (
    ("Name the moons of Urrl.", "", "Ob and Nyth.", "It has none.", "1112"),
    ("Name the moons of Urrl.", "", "Ob and Nyth.", "Ob, Nyth and Tam.", "2221"),
    ("Name the moons of Urrl.", "", "It has none.", "Ob, Nyth and Tam.", "2222"),
    ("Fold the river.", "length: 3 quills", "Fold it twice,\nthen once.", "No.", "1111"),
    ("Fold the river.", "length: 9 quills", "Fold it twice,\nthen once.", "No.", "1122"),  # a tie
    ("Translate “grüße” into Old Vess.", "", "gruzh", "grz — or ‘grzh’", "2212"),
    ("Write no more than {three} words.", "", "Three {words} only", "", "1111"),
    ("Say the same.", "", "The same.", "The same.", "1212"),  # nothing to choose
    ("Count the lamps.", "", " Seven. ", "Seven lamps, and one that is out.", "2122"),
    ("Who keeps the tide?", "", "Nobody does.", "The harbour master keeps it.", "1121"),
)


def write(folder: Path, *, swap: bool = False, shuffle: int | None = None) -> None:
    """Both files; `swap` turns every vote round, `shuffle` the rows."""
    (folder / "alpaca").mkdir(parents=True, exist_ok=True)
    crossed, single = [], []
    for instruction, given, one, other, votes in JUDGED:
        cast = [3 - int(vote) if swap else int(vote) for vote in votes]
        for annotator, vote in enumerate(cast):
            row = {
                "instruction": f"{instruction}\n\n{given}" if given else instruction,
                "output_1": one,
                "output_2": other,
                "preference": vote,
                "annotator_index": annotator,
                "dataset": "koala-of-the-file",
                "datasplit": "eval-of-the-file",
            }
            if annotator == 3:  # shown to the last of them the other way round
                row |= {"output_1": other, "output_2": one, "preference": 3 - vote}
            crossed.append(row)
        single.append(
            {
                "instruction": instruction,
                "input": given,
                "output_1": one,
                "output_2": other,
                "preference": cast[0],
            }
        )
    for name, rows in (
        ("alpaca_farm_human_crossannotations.json", crossed),
        ("alpaca_human_preference.json", single),
    ):
        if shuffle is not None:
            random.Random(shuffle).shuffle(rows)
        (folder / "alpaca" / name).write_text(json.dumps(rows), "utf-8")
