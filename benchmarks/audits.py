"""What the gold of each data set can be guessed from without a model.

    uv run python benchmarks/audits.py FOLDER     # audits what the folder holds of the publishers'
    uv run python benchmarks/audits.py --table    # prints the table of the documentation from it

FOLDER is what data.folder is elsewhere. A data set whose files are not there keeps no figures, and
the table says so. Five-fold, over groups: see `consilience datasets audit`.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from consilience.datasets import REGISTRY, load_with_rows
from consilience.errors import InputError
from consilience.evaluation.audit import MAJORITY, audit

RESULTS = Path(__file__).parent / "results" / "audits.json"


def measure(folder: str) -> dict[str, Any]:
    """The audit of each data set that the folder holds."""
    found: dict[str, Any] = {}
    for name in REGISTRY:
        try:
            made = audit(load_with_rows(name, data_dir=folder))
        except InputError as error:
            if "put the publisher's file there" not in str(error):
                raise
            print(f"{name}: not in the folder")
            continue
        found[name] = {"notes": made.notes, "verdict": made.verdict, "ways": made.rows}
        print(f"{name}: {made.verdict}")
    return found


def table(found: dict[str, Any]) -> str:
    """A row for each data set: the most frequent class, the best way, what was kept out."""
    lines = [
        "| data set | most frequent class | best guess without a model | from | kept out | from |",
        "|---|---|---|---|---|---|",
    ]
    for name in REGISTRY:
        if name not in found or not found[name]["ways"]:
            lines.append(f"| `{name}` | not measured | | | | |")
            continue
        ways = found[name]["ways"]
        base = next(way for way in ways if way["guessed from"] == MAJORITY)
        best = max(
            (way for way in ways if not way["kept out"]),
            key=lambda way: (way["accuracy"], way is base),
        )
        hidden = max(
            (way for way in ways if way["kept out"]), key=lambda way: way["accuracy"], default=None
        )
        cells = [f"`{name}`", share(base), share(best), best["guessed from"]]
        cells += [share(hidden), hidden["guessed from"]] if hidden else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def share(way: dict[str, Any]) -> str:
    """An accuracy with half the width of its interval, in per cent."""
    half = (way["upper"] - way["lower"]) / 2
    return f"{way['accuracy']:.1%}" + ("" if math.isnan(half) else f" ± {half * 100:.1f}")


def main() -> None:
    """Measures, or prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", help="the folder of the publishers' files")
    parser.add_argument("--table", action="store_true", help="print, measure nothing")
    given = parser.parse_args()
    if not given.table:
        if given.folder is None:
            parser.error("name the folder of the publishers' files, or say --table")
        RESULTS.write_text(json.dumps(measure(given.folder), indent=1) + "\n")
    print(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
