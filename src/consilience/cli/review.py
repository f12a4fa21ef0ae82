"""`review` and `landmarks`: rows for a person to label, and what that person says of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.config import Config
from consilience.cli.inputs import check_apart, check_table
from consilience.cli.output import talk
from consilience.cli.results import label_table, opened, print_labels, result
from consilience.cli.values import COUNT, home
from consilience.data.counted import counted
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.results.result import Found

SHOWN = 20
"""So many rows are shown or drawn where nobody says how many."""

count = options.option(
    "--count",
    type=COUNT,
    help=f"How many rows to show or draw  [default: {SHOWN}; all where a review goes to --output]",
)
corrections = options.option(
    "--corrections",
    metavar="FILE",
    callback=home,
    help="A review that was filled in, or what the report's button gave: ids, column correction.",
)
back = options.option(
    "--take-back", metavar="ID", multiple=True, help="A row whose correction is taken back."
)


@options.command()
@options.configured("output.store", "output.table", "landmarks.file")
@options.run_id
@count
@corrections
@back
@options.as_json
def review(
    config: Config,
    run_id: str | None,
    count: int | None,
    corrections: str | None,
    take_back: tuple[str, ...],
    as_json: bool,
) -> None:
    """Doubtful rows first, to correct; corrections cost nothing.

    Shows the rows whose two likeliest classes are closest, with an empty column `correction`; with
    --output all rows, as a table to fill in (.csv, .xlsx, …). With --corrections that table comes
    back: the labels are solved again with the corrections held fixed, 0 calls, and the whole table
    of labels is written to --output or stdout. Corrections stay in the store, and later rounds
    show them to the model, until --take-back, or "take back" in that column, takes them away. They
    do not calibrate: `landmarks` draws rows that do.
    """
    said = config.output
    check_table(said.table)
    solved = corrections is not None or bool(take_back)
    if solved and count is not None:
        raise InputError("--count is for rows to correct; with corrections all labels are written")
    found = opened(said.store or options.STORE, run_id, config=config)
    check_apart(said.table, config, found.dataset, corrections)
    if solved:
        corrected = _corrected(found, corrections, take_back)
        table = label_table(corrected, said.decided_only, said.details)
        print_labels(table, said.table, as_json, said.keep_formulas)
        return
    from consilience.results.corrections import review_table

    shown = review_table(found, count or (None if config.named else SHOWN))
    _check_empty(config.named, shown.columns[-1])
    where = "" if config.named or as_json else "--output FILE makes a table of them all; "
    talk(
        f"run {found.run.id}: {len(found.corrections)} corrections so far; {where}write the right "
        f"class ({', '.join(found.dataset.task.classes)}) into its last column where a label is "
        "wrong, and give the file back with --corrections"
    )
    if config.named or as_json:
        print_labels(shown, config.named, as_json, said.keep_formulas)
    else:
        show(shown)


def _check_empty(path: str | None, column: str) -> None:
    """InputError if `path` is a table in which somebody has filled in the column to fill in."""
    if path is None or not Path(path).exists():
        return
    from consilience.data.readers import read_rows

    try:
        there = read_rows(path)
        filled = column in there.columns and sum(
            there.cell(i, column) is not None for i in range(len(there))
        )
    except InputError:  # what is no table has no such column
        return
    if filled:
        raise InputError(
            f"{path} is there, and its column {column} is filled in "
            f"({counted(filled, 'row')}), which would be lost; name another file in "
            "--output, or take that one away"
        )


def _corrected(found: Found, file: str | None, take_back: tuple[str, ...]) -> Found:
    """The run with the corrections of a file, and without those taken back; says what changed."""
    before = found.hard_labels
    if file is not None:
        found = found.corrected(Path(file))
    if take_back:
        found = found.corrected(dict.fromkeys(take_back))
    moved = int((found.hard_labels != before).sum())
    talk(
        f"run {found.run.id}: {len(found.corrections)} corrections, kept in {found.place}; "
        f"{moved} labels changed, theirs included; 0 calls\n{result(found)}"
    )
    return found


def show(table: Any) -> None:
    """A table for the terminal, long cells folded to a line."""
    from consilience.cli.output import rows
    from consilience.cli.results import SHORT

    short = [
        {name: value[:SHORT] if isinstance(value, str) else value for name, value in row.items()}
        for row in table.drop(columns=table.columns[-1]).to_dict("records")
    ]
    rows(short, as_json=False)


@options.command()
@options.configured("output.store", "output.table", seeded=True)
@options.run_id
@count
@options.as_json
def landmarks(config: Config, run_id: str | None, count: int | None, as_json: bool) -> None:
    """Draws rows at random, for you to label.

    They say how good the labels are. Fill in the column `label` and give the file to `solve`,
    `export` or `run` (--landmarks), which calibrates probabilities by it, or to `estimate`, for a
    share or an accuracy with an interval.
    Each text is drawn with the same chance, whatever was found.
    """
    said = config.output
    check_table(config.named)
    found = opened(said.store or options.STORE, run_id)
    check_apart(config.named, config, found.dataset)
    from consilience.results.corrections import draw_landmarks

    drawn = draw_landmarks(found, count or SHOWN, config.seed)
    _check_empty(config.named, drawn.columns[-1])
    print_labels(drawn, config.named, as_json, said.keep_formulas)
    names = ", ".join(found.dataset.task.classes)
    talk(
        f"write the class of each ({names}) into the column {drawn.columns[-1]}; "
        "leave none out that is hard"
    )


@options.command()
@options.configured("output.store", "landmarks.file")
@options.run_id
@options.option(
    "--level",
    type=click.FloatRange(0.5, 0.999),
    default=0.95,
    show_default=True,
    help="How often such intervals hold the truth.",
)
@options.as_json
def estimate(config: Config, run_id: str | None, level: float, as_json: bool) -> None:
    """Shares of the classes and the accuracy, with intervals.

    By rows drawn at random (`consilience landmarks`) and labelled by a person, and the labels
    found as predictions of all others: prediction-powered inference, never wider than from the
    landmarks alone. Nothing is asked.
    """
    from consilience.cli.output import rows

    path = config.landmarks.file
    if path is None:
        raise InputError("an estimate needs labels that you know; name their file in --landmarks")
    found = opened(config.output.store or options.STORE, run_id)
    from consilience.results.estimation import estimates

    made = estimates(found, Path(path), level=level)
    rows([{"of": name, **one.to_json()} for name, one in made.items()], as_json)
