"""The tables of the pages that are made from what `benchmarks/real.py` measured on real models.

Not called `real`, as the benchmark is: both are found by that name alone.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from figures import RESULTS, program

READOUT = "offsets off"
"""How the answers behind every row are read, where a page shows one way only."""


@cache
def measured() -> tuple[Any, Any]:
    """What makes the tables, and the rows by model, set, method and budget, if there are any."""
    from consilience.evaluation.benchmark.result_file import Results

    tables, kept = program("real_tables"), RESULTS / "real.json"
    found = json.loads(kept.read_text("utf-8")) if kept.exists() else {"rows": []}
    return tables, tables.cells(Results.from_json(found))


def real_summary() -> str:
    """What each method comes to over all sets, a table for each model, and the verdicts."""
    tables, made = measured()
    if not made:
        return "Nothing is measured yet.\n"
    shown = [tables.summary(figures, title) for title, figures in tables.parts(made)]
    return "\n\n".join([*shown, tables.verdicts(made)]) + "\n"


def real_scores(readout: str = READOUT) -> str:
    """Accuracy / AUROC of each method on each set in one readout, a table for each model."""
    tables, made = measured()
    if not made:
        return "Nothing is measured yet.\n"
    parts = tables.parts(made)
    return "\n\n".join(tables.scores(figures, title, readout) for title, figures in parts) + "\n"
