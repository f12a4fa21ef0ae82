"""Every method on public sets that no decision of this project was made on.

    uv run python benchmarks/heldout.py --models MODELS --only gemma --data FOLDER
    uv run python benchmarks/heldout.py --table          # the tables alone

FOLDER is given the tables that it lacks (`benchmarks/heldout_sets.py`); of each 160 rows are drawn,
in one draw that was fixed beforehand. All other options are those of `benchmarks/real.py`, which
measures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import real
from heldout_sets import SETS, written

RESULTS = Path(__file__).parent / "results" / "heldout.json"
METHODS = (
    *("majority", "zero-shot-plain", "zero-shot-names", "zero-shot-negated", "zero-shot-letters"),
    *("zero-shot-all", "random-shots", "bootstrap-confident", "ranked", "consilience", "golden"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the tables that are not there, then measures as `real.py` does."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    given, others = parser.parse_known_args(arguments)
    # The last of two options counts, so that others are the caller's to choose.
    told = ["--output", str(RESULTS), "--methods", *METHODS, "--sets", *given.sets, *others]
    if given.data is not None:
        given.data.mkdir(parents=True, exist_ok=True)
        for name in given.sets:
            written(name, given.data)
        told += ["--data", str(given.data)]
    return real.main(told)


if __name__ == "__main__":
    sys.exit(main())
