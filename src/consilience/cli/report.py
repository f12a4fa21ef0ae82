"""`report`: a run as one HTML page."""

from __future__ import annotations

from typing import Any

import click

from consilience.cli import options, values
from consilience.cli.output import talk
from consilience.cli.results import opened, scored_by


@click.command()
@click.argument("data", required=False)
@click.option(
    "--output",
    metavar="FILE.html",
    required=True,
    callback=values.home,
    help="Where the page is written.",
)
@options.described
@options.store_read
@options.run_id
@options.landmarks
def report(data: str | None, output: str, store: str, run_id: str | None, **given: Any) -> None:
    """A run as one HTML page, every row with its reasons.

    The page needs nothing beside it and asks nothing of any server: verdict, prompt, cost, rounds,
    evidence, concepts, and a table to search whose rows open. With the column of its gold in
    --label, and DATA, the file that the run labelled, it also has methods side by side and a
    calibration curve. Asks nothing.
    """
    from consilience.results.report import check_report

    path = check_report(output)
    vouched = {key: given[key] for key in ("landmarks", "calibration", "text")}
    found = opened(store, run_id, **vouched)
    scores = scored_by(found, data, given) if data or given["label"] else None
    found.report(path, scores=scores)
    size = path.stat().st_size / 1e6
    talk(f"run {found.run.id}: {len(found.dataset):,} examples on a page of {size:.1f} MB, {path}")
