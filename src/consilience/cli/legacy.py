"""`legacy`: the labels in a log of predictions that another program kept."""

from __future__ import annotations

import click

from consilience.cli import options, values
from consilience.cli.inputs import check_apart, check_table
from consilience.cli.output import csv, dump, talk
from consilience.data.counted import counted


@options.command()
@click.argument("log")
@options.option(
    "--labels",
    metavar="FILE",
    callback=values.home,
    help="JSON of the labels that the shots carried, a list by index or an object by uid, for a "
    "log that has none; never gold.",
)
@options.option(
    "--output",
    metavar="FILE",
    callback=values.home,
    help="Write the labels to this .csv, .jsonl, .parquet or .xlsx file, and not to stdout.",
)
@options.as_json
def legacy(log: str, labels: str | None, output: str | None, as_json: bool) -> None:
    """Solves a log of predictions that another program kept.

    LOG is a JSON or JSONL file of rows with uid, score and context, or with context_indices,
    target_index and llm_pred. What cannot be told from a default value is left out and counted.
    Labels go to stdout as CSV, or to --output.
    """
    from consilience.data.export import write_table
    from consilience.elicitation.legacy import read_log

    check_table(output)
    check_apart(output, log, labels)
    found = read_log(log, labels)
    talk(found.summary())
    solved = found.solve()
    talk(solved.summary())
    table = solved.labels
    if output:
        write_table(table, output)
        talk(f"{counted(len(table), 'row')} written to {output}")
    elif as_json:
        click.echo(dump(table.astype(object).where(table.notna(), None).to_dict("records")))
    else:
        csv(table)
