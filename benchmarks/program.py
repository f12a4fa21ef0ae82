"""What every benchmark over seeds is as a program: measure and keep the figures, or print them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

Run = dict[str, Any]


def run(
    doc: str,
    measure: Callable[[Any], Run],
    jobs: Callable[[int], Iterable[Any]],
    table: Callable[[list[Run]], str],
    results: Path,
    seeds: int = 10,
) -> None:
    """Measures `jobs(seeds)`, in two processes unless told otherwise, and prints the table.

    With --table nothing is measured: the table is that of the figures in `results`.
    """
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    if not given.table:
        with ProcessPoolExecutor(given.workers) as pool:
            runs = []
            for done in pool.map(measure, jobs(given.seeds)):
                runs.append(done)
                print({name: value for name, value in done.items() if not isinstance(value, dict)})
        results.write_text(json.dumps(runs, indent=1) + "\n")
    print(table(json.loads(results.read_text())))
