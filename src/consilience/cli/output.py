"""Printing: tables and JSON on stdout, talk on stderr."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from consilience.cli.harmless import harmless, harmless_json

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table

    from consilience.models.price import Price
    from consilience.store.progress import ProgressBar


def speak_utf8() -> None:
    """UTF-8 on stdout and stderr, whatever the console says; half a surrogate pair is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def talk(text: str) -> None:
    """A line for the person at the terminal."""
    click.echo(harmless(text), err=True)


def say(text: str, *, end: bool = True) -> None:
    """Text for stdout: as it is into a pipe or a file, harmless on a terminal."""
    click.echo(harmless(text) if sys.stdout.isatty() else text, nl=end)


def progress_bar(price: Price | None = None) -> ProgressBar:
    """The asking as a bar on stderr, which with a `price` counts money too."""
    from rich.console import Console

    from consilience.store.progress import ProgressBar

    return ProgressBar(Console(stderr=True, highlight=False), price)


def rows(data: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """A table of rows with the same keys, or the same as a JSON list."""
    if as_json:
        click.echo(dump(list(data)))
        return
    from rich.table import Table

    table = Table()
    for name in data[0] if data else ():
        table.add_column(cell(str(name)), overflow="fold")
    for row in data:
        table.add_row(*(cell(value) for value in row.values()))
    _print(table)


def pairs(data: Iterable[tuple[str, object]], as_json: bool) -> None:
    """A table of two columns, or the same as a JSON object."""
    found = dict(data)
    if as_json:
        click.echo(dump(found))
        return
    from rich.table import Table

    table = Table(show_header=False)
    for name, value in found.items():
        table.add_row(cell(name), cell(value))
    _print(table)


def _print(table: Table) -> None:
    from rich.console import Console

    # In a pipe or a file a row is a line, however long.
    width = None if sys.stdout.isatty() else 10_000
    Console(highlight=False, markup=False, width=width).print(table)


def cell(value: object) -> str:
    """A value as a person reads it, on one line."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return harmless(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def csv(frame: DataFrame, *, keep_formulas: bool = False, header: bool = True) -> None:
    """A table as CSV, the same as in a file."""
    from consilience.data.export import csv_bytes

    say(csv_bytes(frame, keep_formulas=keep_formulas, header=header).decode(), end=False)


def dump(data: object) -> str:
    """JSON in one piece; a number that is not there is null, and what acts is escaped."""
    text = json.dumps(_plain(data), ensure_ascii=False, indent=2, allow_nan=False)
    return harmless_json(text)


def _plain(data: object) -> object:
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if hasattr(data, "item"):
        data = data.item()
    if type(data).__name__ == "NAType":  # pandas has a word of its own for what is not there
        return None
    return None if isinstance(data, float) and not math.isfinite(data) else data
