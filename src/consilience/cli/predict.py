"""`predict`: labels for rows that come after a run, and a run grown by them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.inputs import check_model, check_table, open_model
from consilience.cli.output import csv, progress_bar, talk
from consilience.cli.results import label_table, opened, print_labels, result
from consilience.cli.values import COUNT
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.results.result import Found
    from consilience.store.runner import CallCounts


@click.command()
@click.argument("rows")
@options.store_read
@options.run_id
@options.model
@click.option(
    "--calls",
    type=COUNT,
    default=2,
    show_default=True,
    help="Calls for each new row, each under a list of shots that the run has asked.",
)
@click.option(
    "--extend",
    is_flag=True,
    help="ROWS is the table of the run, grown: ask its new rows alone and solve all again, as a "
    "run of its own.",
)
@options.concurrency
@options.budget
@options.price
@options.output
@options.details
@options.keep_formulas
@options.landmarks
@options.as_json
def predict(rows: str, store: str, run_id: str | None, **given: Any) -> None:
    """Labels rows that come after a run, with a few calls each.

    ROWS is a file whose columns of text and ids are called as those of the run's table, or - for
    standard input. The finished labels are shown as shots. Answers go into the same store: run it
    again and nothing is asked twice. Without --output labels are printed as CSV block by block, as
    they are answered.
    """
    output, keep = given["output"], given["keep_formulas"]
    check_table(output)
    check_model(given)
    if run_id and "," in run_id:
        raise InputError("new rows are asked as one run was; name one in --run")
    chosen = {key: given[key] for key in ("landmarks", "calibration")}
    found = opened(store, run_id, **chosen)
    with open_model({**given, "store": store}) as (model, db):
        asking: dict[str, Any] = {
            "calls": given["calls"],
            "store": db,
            "concurrency": given["concurrency"],
            "progress": progress_bar(given["price"]),
        }
        source: Any = Path(rows) if rows != "-" else rows
        from consilience.elicitation import prediction

        if given["extend"]:
            grown = prediction.extend(found, source, model, **asking)
            talk(f"{taken(grown.asked)}\nrun {grown.run.id}\n{result(grown)}")
            table = label_table(grown, details=given["details"])
            print_labels(table, output, given["as_json"], keep)
            return
        if output or given["as_json"]:
            made = prediction.predict(found, source, model, **asking)
            print_labels(made.table(details=given["details"]), output, given["as_json"], keep)
            talk(f"{taken(made.asked)}; {trust(found)}")
            return
        first = True
        for part in prediction.predict_blocks(found, source, model, **asking):
            csv(part.table(details=given["details"]), keep_formulas=keep, header=first)
            talk(taken(part.asked))
            first = False
        talk(trust(found))


def taken(asked: CallCounts) -> str:
    """What new rows took, and the first failure."""
    said = f"{asked.calls:,} calls made, {asked.known:,} answers found in the store"
    if asked.failures:
        said += f", {len(asked.failures)} failed: {next(iter(asked.failures.values()))}"
    return said


def trust(found: Found) -> str:
    """How far the probabilities of new rows can be trusted: as far as those of the run."""
    return f"probabilities are {found.probabilities}, as those of run {found.run.id}"
