"""`init`: a task file for a table, with what can be told from the table filled in."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from consilience.cli import options, values
from consilience.cli.output import talk
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.data.readers import Rows

SEEN = 1000
"""So many rows are looked at to tell what a column holds."""

LONG_ID = 40
"""An id is no longer than this."""


@options.command()
@click.argument("file")
@options.option(
    "--text", metavar="COLUMN", help="The text column, or a template  [default: the longest texts]"
)
@options.option(
    "--id",
    metavar="COLUMN",
    help="The column of ids, all different  [default: the first short column without repeats]",
)
@options.option(
    "--output",
    metavar="TASK",
    callback=values.home,
    help="The task file to write  [default: beside the table, with its name and .toml]",
)
@options.option("--force", is_flag=True, help="Write over a task file that is there.")
def init(file: str, text: str | None, id: str | None, output: str | None, force: bool) -> None:
    """Writes a task file: what is asked about a table, by whom.

    FILE is the table. Its columns are guessed where they are not said; the question and the classes
    are nobody's guess: fill them in, look at the rest, then `consilience run TASK --dry-run`.
    """
    from consilience.data.files import PACKED
    from consilience.data.readers import read_rows
    from consilience.data.whole_file import whole_file

    bare = Path(file)
    if bare.is_dir():
        raise InputError(f"{file} is a folder; name the table in it")
    if bare.suffix.lower() in PACKED:
        bare = bare.with_suffix("")
    path = Path(output) if output else bare.with_suffix(".toml")
    if path.suffix != ".toml":
        raise InputError(f"a task file ends in .toml, not as {path}")
    if path.exists() and not force:
        raise InputError(f"{path} is there; choose another --output, or --force to write over it")
    table = read_rows(file)
    if id is not None:
        table.require(id)
    chosen = text or longest_column(table)
    table.head.used(chosen)
    own = id or id_column(table, chosen)
    try:
        at = Path(file).absolute().relative_to(path.parent.absolute())
    except ValueError:
        at = Path(file).absolute()
    written = task_text(at.as_posix(), table.columns, chosen, own, path.stem)
    try:
        with whole_file(path) as task:
            task.write(written.encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    found = f"id column {own!r}" if own else "no column of ids: rows are called by their number"
    talk(
        f"{path} written: text column {chosen!r}, {found}. Fill in question, classes and model, "
        f"then: consilience run {shlex.quote(str(path))} --dry-run"
    )


def longest_column(table: Rows) -> str:
    """The column whose texts are longest in the first rows, counted in characters."""
    lengths = {
        column: sum(len(cell) for cell in _cells(table, column) if cell) for column in table.columns
    }
    return max(lengths, key=lambda column: lengths[column])


def id_column(table: Rows, text: str) -> str | None:
    """The first column of short cells that are all there and all different; None without one.

    One that is called id, or ends so, comes before others.
    """
    used = table.head.used(text)
    called = sorted(table.columns, key=lambda c: not c.casefold().endswith(("id", "key")))
    for column in called:
        cells = [] if column in used else _cells(table, column, len(table))
        known = [cell for cell in cells if cell is not None and len(cell) <= LONG_ID]
        if cells and len(known) == len(set(cells)) == len(cells):
            return column
    return None


def _cells(table: Rows, column: str, most: int = SEEN) -> list[str | None]:
    """The first cells of a column as text; none where they hold what is no text."""
    try:
        return [table.cell(i, column) for i in range(min(most, len(table)))]
    except InputError:
        return []


def quoted(text: str) -> str:
    """A text as TOML has it between quotes."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_TASK_FILE = """\
# What is labelled, what is asked, by whom, for how much. Fill in question, classes, model; then:
#   consilience run {words} --dry-run   shows a prompt and the cost, and sends nothing
#   consilience run {words}             labels the table
#   consilience review {words}          the doubtful rows first, to correct for nothing
#   consilience report {words}          everything on one page, {name}.html
# Lines that begin with # are what else can be said; what they show is not in force.

[data]
file = {file}
# Its columns: {columns}
text = {text}   # a column, or a template: "{{subject}}: {{body}}"
{id}
# group = "COLUMN"       # rows that belong together; relations hold within a group
# label = "COLUMN"       # true labels, if there are any: for scoring, the model never sees them

[task]
question = ""            # what is asked about each row: "Which team should answer?"
# instruction = ""       # what stands before the question in every prompt; "@FILE" reads a file
# statement = ""         # of two classes, the sentence that is true of the second: "It is urgent"
# opposite = ""          # and the one that is true of the first: "It can wait"
# framings = ["names"]   # how to ask, of: names, plain, negated, letters, codes, sets

# The classes, the first one first: a name, and what belongs there ("" where the name says it all).
[task.classes]
# "billing" = "money, invoices, refunds"
# "technical" = "something does not work"

[model]
name = ""                # openai:NAME on a server, local:FOLDER_OR_HUB_ID in this process
# base_url = "http://localhost:8000/v1"   # the address of the server
# concurrency = 16       # requests under way at once
# The key of the server is read from the environment: CONSILIENCE_API_KEY.

[budget]
calls_per_example = 8
# price = [0.10, 0.01, 0.40]   # per million tokens: of prompts, cached ones, answers
# currency = "EUR"
# max_cost = 5           # stop before more than this is spent

[relations]
# facts = ["exactly-one"]      # hold in each group for logical reasons: equal, opposite,
#                              # at-most-one, exactly-one, answer:COLUMN
# priors = []                  # the same, because the table was built so; count_priors = true

[output]
store = {store}   # every answer, so that nothing is asked twice
table = {table}   # or .jsonl, .parquet, .xlsx
# details = true         # also what the uncertainty is made of, and each class's probability
"""


def task_text(file: str, columns: tuple[str, ...], text: str, id: str | None, name: str) -> str:
    """The task file itself."""
    none = '# id = "COLUMN"          # all different; else row numbers'
    return _TASK_FILE.format(
        name=name,
        words=shlex.quote(f"{name}.toml"),
        file=quoted(file),
        columns=", ".join(quoted(column) for column in columns),
        text=quoted(text),
        id=f"id = {quoted(id)}" if id else none,
        store=quoted(f"{name}.db"),
        table=quoted(f"{name}-labels.csv"),
    )
