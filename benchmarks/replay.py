"""Recorded answers of real models, solved again: what a change to the objective does, in a minute.

    uv run python benchmarks/replay.py                     # the table
    uv run python benchmarks/replay.py --output now.json   # the figures too
    uv run python benchmarks/replay.py --renew             # today's scores become those to keep

Nothing is asked. Each run is solved from its answers alone, all rounds together, whatever chose its
shots; in brackets what has changed since the scores in its file were written.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import recorded
from recorded import FOLDER, SCORES, Recording

HEAD = ("model, set, examples", "method", "calls", *SCORES, "seconds")


def replayed(recording: Recording) -> Iterator[dict[str, Any]]:
    """The figures of each run of a recording, solved by today's objective."""
    for run in recording.runs:
        began = time.perf_counter()
        labels = recorded.solved(recording, run)
        yield {
            "recording": recording.name,
            "method": run.method,
            "calls": round(run.calls / len(recording.data), 2),
            "seconds": round(time.perf_counter() - began, 2),
            "scores": recorded.scores_of(labels, recording.gold),
            "before": dict(run.scores),
        }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The figures as a Markdown table, and their means."""
    lines = [f"| {' | '.join(HEAD)} |", "| --- | --- |" + " --: |" * (len(HEAD) - 2)]
    for row in rows:
        cells = [row["recording"], row["method"], f"{row['calls']:g}"]
        cells += [_changed(row["scores"][name], row["before"].get(name)) for name in SCORES]
        lines.append(f"| {' | '.join([*cells, format(row['seconds'], '.1f')])} |")
    if rows:
        mean = [sum(row["scores"][name] for row in rows) / len(rows) for name in SCORES]
        told = " | ".join(f"{value:.3f}" for value in mean)
        took = sum(row["seconds"] for row in rows)
        lines.append(f"| mean of {len(rows)} | | | {told} | {took:.1f} |")
    return "\n".join(lines)


def _changed(now: float, before: float | None) -> str:
    """A score, and in brackets its change where there is one."""
    moved = 0.0 if before is None else now - before
    return f"{now:.3f}" + (f" ({moved:+.3f})" if abs(moved) >= 0.0005 else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Solves all recordings and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the recordings")
    parser.add_argument("--only", help="recordings whose name has this in it")
    parser.add_argument("--output", type=Path, help="a file for the figures, as JSON")
    parser.add_argument("--renew", action="store_true", help="write the scores into the recordings")
    given = parser.parse_args(arguments)
    rows = []
    for path in recorded.files(given.folder):
        if given.only and given.only not in path.name:
            continue
        recording = recorded.read(path)
        mine = list(replayed(recording))
        rows += mine
        if given.renew:
            pairs = zip(recording.runs, mine, strict=True)
            runs = tuple(replace(run, scores=row["scores"]) for run, row in pairs)
            recorded.write(replace(recording, runs=runs), given.folder)
    if given.output:
        given.output.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
