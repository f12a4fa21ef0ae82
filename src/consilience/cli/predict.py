"""`predict`: labels for rows that come after a run, and a run grown by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.config import Config
from consilience.cli.inputs import check_apart, check_table
from consilience.cli.opening import check_model, open_model, open_price
from consilience.cli.output import csv, progress_bar, talk
from consilience.cli.results import label_table, opened, print_labels, result
from consilience.cli.tables import OutputOptions
from consilience.cli.values import COUNT
from consilience.data.counted import counted
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.results.result import Found
    from consilience.store.runner import CallCounts


@options.command()
@click.argument("rows")
@options.configured(
    *options.MODEL,
    *("budget", "output.store", "output.table", "landmarks.file"),
)
@options.run_id
@options.option(
    "--calls",
    type=COUNT,
    default=2,
    show_default=True,
    section="Spend",
    help="Calls for each new row, each under a list of shots that the run has asked.",
)
@options.option(
    "--extend",
    is_flag=True,
    help="ROWS is the table of the run, grown: ask its new rows alone and solve all again, as a "
    "run of its own.",
)
@options.details
@options.as_json
def predict(
    rows: str,
    config: Config,
    run_id: str | None,
    calls: int,
    extend: bool,
    details: bool,
    as_json: bool,
) -> None:
    """Labels rows that come after a run, with a few calls each.

    ROWS is a file whose columns of text and ids are called as those of the run's table, or - for
    standard input. The finished labels are shown as shots. Answers go into the same store: run it
    again and nothing is asked twice. Without --output labels are printed as CSV block by block, as
    they are answered.
    """
    said = config.output
    details = details or said.details
    check_table(said.table)
    check_model(config)
    if run_id and "," in run_id:
        raise InputError("new rows are asked as one run was; name one in --run")
    store = said.store or options.STORE
    found = opened(store, run_id, config=config)
    check_apart(said.table, config, found.dataset, rows)
    _check_name(str(config.model.name), found)
    config = replace(config, output=replace(said, store=store))
    with open_model(config) as (model, db):
        from consilience.elicitation import prediction

        source: Any = Path(rows) if rows != "-" else rows
        asking: dict[str, Any] = {
            "calls": calls,
            "store": db,
            "concurrency": config.model.concurrency,
            "progress": progress_bar(open_price(config.budget)),
        }
        if extend:
            _show_grown(prediction.extend(found, source, model, **asking), said, details, as_json)
            return
        if config.named or as_json:
            made = prediction.predict(found, source, model, **asking)
            print_labels(made.table(details=details), config.named, as_json, said.keep_formulas)
            talk(f"{taken(made.asked)}; {trust(found)}")
            return
        parts = prediction.predict_blocks(found, source, model, **asking)
        for number, part in enumerate(parts):
            table = part.table(details=details)
            csv(table, keep_formulas=said.keep_formulas, header=not number)
            talk(taken(part.asked))
        talk(trust(found))


def _check_name(name: str, found: Found) -> None:
    """InputError, before a server is asked what it can do, where another model is named."""
    kind, _, model = name.partition(":")
    if kind == "openai" and model and model != found.run.model:
        raise InputError(f"the run asked {found.run.model}, not {model}; name that one in --model")


def _show_grown(grown: Found, said: OutputOptions, details: bool, as_json: bool) -> None:
    """What a run that was extended took, and its labels."""
    talk(f"{taken(grown.asked)}\nrun {grown.run.id}\n{result(grown)}")
    table = label_table(grown, said.decided_only, details)
    print_labels(table, said.table, as_json, said.keep_formulas)


def taken(asked: CallCounts) -> str:
    """What new rows took, and the first failure."""
    said = (
        f"{counted(asked.calls, 'call')} made, {counted(asked.known, 'answer')} found in the store"
    )
    if asked.failures:
        said += f", {len(asked.failures)} failed: {next(iter(asked.failures.values()))}"
    return "; ".join([said, *asked.notes])


def trust(found: Found) -> str:
    """How far the probabilities of new rows can be trusted: as far as those of the run."""
    return f"probabilities are {found.probabilities}, as those of run {found.run.id}"
