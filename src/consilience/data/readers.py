"""Rows from files and frames, and the text of each row, with errors that name the row.

One rule turns a cell of any table into text (`as_text`), so that the same content gives the same
examples whether it came from CSV, JSONL, Parquet or a frame. Every bad input is one line: which
file, which row, which column, what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from consilience.data import arrow_rows, delimited, json_rows
from consilience.data.arrow_rows import Wanted, chosen_columns, every
from consilience.data.columns import Columns, half_character, refuse_twins
from consilience.data.files import PACKED, File, find
from consilience.errors import InputError

MOST_ROWS = 2_000_000
"""More rows than this are refused: each takes about 1.2 kB of memory, and then its calls."""


def _refuse_many(count: int, source: str, more: bool = False) -> None:
    """Nothing, or the InputError for too many rows; `more`: the table was not read to its end."""
    if count > MOST_ROWS:
        counted = f"more than {MOST_ROWS:,} rows" if more else f"{count:,} rows"
        raise InputError(
            f"{source or 'the table'} has {counted}, expected at most {MOST_ROWS:,}, which take "
            f"{MOST_ROWS * 1.2e-6:.1f} GB of memory; take a sample of whole groups, or split it"
        )


class Rows(list[dict[str, Any]]):
    """Rows of a table that remember where they stood: the file, and the line of each row.

    `names` are all columns that the table has, where the rows hold only some of them. `note` says
    what was taken for granted in reading it.
    """

    def __init__(
        self,
        rows: Iterable[dict[str, Any]],
        source: str = "",
        lines: Sequence[int] = (),
        names: Sequence[str] = (),
    ) -> None:
        if isinstance(rows, Sized):
            _refuse_many(len(rows), source)
        super().__init__(islice(rows, MOST_ROWS + 1))
        _refuse_many(len(self), source, more=True)
        self.source = source
        self.lines = tuple(lines)
        self.note = ""
        self.head = Columns(
            tuple(names) or tuple(dict.fromkeys(name for row in self for name in row)), source
        )
        if not self:
            raise InputError(f"{source or 'the table'} has no rows; nothing can be labelled")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.head.names

    def place(self, i: int) -> str:
        """Where row `i` stands, as an error says it; data rows count from 1."""
        file = f"{self.source}, " if self.source else ""
        line = f" (line {self.lines[i]})" if self.lines else ""
        return f"{file}row {i + 1}{line}"

    def require(self, column: str) -> None:
        """Nothing, or the InputError that lists the columns there are."""
        self.head.require(column)

    def only(self, columns: Iterable[str]) -> Rows:
        """The same rows with nothing but these columns."""
        kept = tuple(columns)
        return Rows(
            ({name: row.get(name) for name in kept} for row in self), self.source, self.lines
        )

    def cell(self, i: int, column: str) -> str | None:
        """The text of one cell, None where it is empty or the row lacks it."""
        value = self[i].get(column)
        try:
            text = as_text(value)
        except TypeError:
            raise InputError(
                f"{self.place(i)}: column {column!r} holds a {type(value).__name__}, "
                "expected text or a number; convert it to one string first"
            ) from None
        if text is not None and (half := half_character(text)):
            raise InputError(
                f"{self.place(i)}: column {column!r} holds half a character ({half}); "
                "correct it or take it out"
            )
        return text


def as_text(value: object) -> str | None:
    """A cell as text, by one rule for every kind of table; None where the cell is empty.

    Text stays as it is; white space alone, None, NaN and what pandas has for them are empty. True
    and False are "True" and "False"; a number is its shortest decimal form without a final ".0",
    because a frame turns a column of integers that has a gap into floats. Anything else is a
    TypeError.
    """
    if isinstance(value, np.floating):  # of fewer bits than Python's: its own shortest form
        value = float(str(value))
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if type(value).__name__ in ("NAType", "NaTType"):  # of pandas, which need not be there
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, int | Decimal):
        return str(value)
    raise TypeError(type(value).__name__)


def columns_used(table: Rows, text: str) -> frozenset[str]:
    """The columns that `text`, a column or a template over columns, reads."""
    return table.head.used(text)


def texts(table: Rows, text: str) -> list[str]:
    """The text of each row, from a column or a template such as ``"{question} {claim}"``."""
    pieces = table.head.template(text)
    made = []
    for i in range(len(table)):
        parts = []
        for words, column in pieces:
            parts.append(words)
            if column is not None:
                cell = table.cell(i, column)
                if cell is None:
                    raise InputError(
                        f"{table.place(i)}: column {column!r} is empty, expected text; "
                        "fill it or leave the row out"
                    )
                parts.append(cell)
        made.append("".join(parts))
    return made


def rows(records: object, wanted: Wanted = every, source: str = "") -> Rows:
    """The rows of a list of mappings, a pandas, polars or pyarrow table, or one of `datasets`.

    `wanted` says which columns of a frame or a table are read, of those that there are; `source`
    is what errors call it.
    """
    if isinstance(records, Rows):
        return records
    table: Any = records
    if isinstance(records, Sized):
        _refuse_many(len(records), source)
    if isinstance(records, Mapping) and all(hasattr(t, "num_rows") for t in records.values()):
        splits = ", ".join(map(repr, records))
        raise InputError(f"expected one table, got several splits; choose one of {splits}")
    if hasattr(table, "select_columns") and hasattr(table, "num_rows"):  # datasets
        names = tuple(table.column_names)
        some = table.select_columns(chosen_columns(wanted, names, source)).with_format("arrow")[:]
        return _arrow(some, names, source)
    if hasattr(table, "to_dicts"):  # polars
        names = tuple(table.columns)
        return _arrow(table.select(chosen_columns(wanted, names, source)).to_arrow(), names, source)
    if hasattr(table, "to_pylist") and hasattr(table, "column_names"):  # pyarrow
        names = tuple(table.column_names)
        refuse_twins(names, source or "the table")
        return _arrow(table.select(chosen_columns(wanted, names, source)), names, source)
    if hasattr(table, "notna") and hasattr(table, "columns"):  # pandas
        return _pandas(table, wanted, source)
    if isinstance(records, str | Path):
        raise InputError(
            f"expected rows, got the string {str(records)[:60]!r}; a file is read by load_dataset"
        )
    if isinstance(records, Mapping) or not isinstance(records, Iterable):
        raise InputError(
            "expected a list of mappings, a pandas or polars frame, a pyarrow table or a Dataset "
            f"of `datasets`, got a {type(records).__name__}"
        )
    place = f"{source}, row" if source else "row"
    named = (json_rows.named(record, f"{place} {i}") for i, record in enumerate(records, start=1))
    return Rows(named, source)


def _arrow(table: Any, names: Sequence[str], source: str) -> Rows:  # noqa: ANN401 - untyped
    _refuse_many(table.num_rows, source)
    return Rows(arrow_rows.rows_of(table, source), source, names=names)


def _pandas(frame: Any, wanted: Wanted, source: str) -> Rows:  # noqa: ANN401 - loaded only if the user did
    if frame.index.name is not None and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    names = tuple(map(str, frame.columns))
    refuse_twins(names, source or "the frame")
    asked = set(chosen_columns(wanted, names, source))
    kept = [i for i, name in enumerate(names) if name in asked]
    some = frame.iloc[:, kept]
    if wanted is not every:  # of columns that nobody uses no digit is missed
        _refuse_lost_digits(some, source)
    filled = some.astype(object).where(some.notna(), None)
    for i, kind in enumerate(some.dtypes):
        if narrow := _NARROW.get(str(kind).lower()):
            cells = [
                cell if cell is None else float(str(narrow(cell))) for cell in filled.iloc[:, i]
            ]
            filled.isetitem(i, np.array(cells, dtype=object))
    made = ({str(n): v for n, v in row.items()} for row in filled.to_dict(orient="records"))
    return Rows(made, source, names=names)


def _refuse_lost_digits(frame: Any, source: str) -> None:  # noqa: ANN401 - as above
    """Nothing, or the InputError that whole numbers beside a gap are doubles, which lack digits."""
    for i, name in enumerate(frame.columns):
        column = frame.iloc[:, i]
        if column.dtype != np.float64 or not column.isna().any():
            continue
        if (np.isfinite(column) & (abs(column) > 2**53)).any():
            raise InputError(
                f"{source or 'the frame'}: column {str(name)!r} has gaps, and so its numbers are "
                f"doubles, which above {2**53:,} lose digits; make it text or Int64 from the start"
            )


_NARROW = {
    **{name: np.float32 for name in ("float32", "float[pyarrow]")},
    **{name: np.float16 for name in ("float16", "halffloat[pyarrow]")},
}
"""The types of pandas' columns whose numbers Python would say in more digits than they have."""


def read_rows(
    path: str | Path, *, header: Sequence[str] | None = None, wanted: Wanted = every
) -> Rows:
    """The rows of a file, or of standard input ("-"); its kind is told by its suffix.

    `header` names the columns of a CSV file whose first line is a row already; `wanted` says which
    columns are kept, and of Parquet and Arrow files read, of those that there are.
    """
    try:
        file = find(path)
        if file.suffix not in KINDS:
            raise InputError(_unknown(file))
        return _read(file, header, wanted)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _read(file: File, header: Sequence[str] | None, wanted: Wanted) -> Rows:
    lines: list[int] = []
    seen: list[str] = []
    notes: list[str] = []
    if file.suffix in (".parquet", ".arrow", ".feather"):
        table, names = arrow_rows.read(file, wanted, _refuse_many)
        return Rows(arrow_rows.rows_of(table, file.name), file.name, names=names)
    if file.suffix in (".jsonl", ".ndjson"):
        found: Iterable[dict[str, Any]] = json_rows.line_rows(file, lines)
    elif file.suffix == ".json":
        found = json_rows.list_rows(file)
    elif file.suffix in (".xlsx", ".xlsm"):
        from consilience.data.sheets import sheet_rows

        found = sheet_rows(file, lines, seen, notes)
    else:
        dialect = delimited.sniff(file)
        if dialect.encoding == "cp1252":
            notes.append(
                f"{file.name} is not UTF-8 and was read as Windows-1252. Where letters are wrong "
                "it is in another encoding: save it as UTF-8 (iconv -f cp1250 -t utf-8)."
            )
        found = delimited.delimited_rows(file, dialect, header, lines, seen)
    made = Rows(_thinned(found, seen, wanted, file.name), file.name, lines, seen)
    made.note = " ".join(notes)
    if not seen:  # JSON says the names of its columns with each row
        kept = set(wanted(made.head))
        for row in made:
            for name in row.keys() - kept:
                del row[name]
    return made


def _thinned(
    found: Iterable[dict[str, Any]], names: Sequence[str], wanted: Wanted, source: str
) -> Iterator[dict[str, Any]]:
    """The rows with the wanted columns alone, where their names are known from the first row."""
    kept: list[str] | None = None
    for row in found:
        if kept is None:
            kept = chosen_columns(wanted, names, source) if names else []
        yield {name: row[name] for name in kept} if names and len(kept) < len(row) else row


def _unknown(file: File) -> str:
    known = f"the kinds are: {', '.join(KINDS)}"
    if file.suffix == ".xls":
        known = "save it as .xlsx"
    elif file.suffix == ".zip":
        known = "unpack it first"
    return f"{file.name} is of no known kind ({file.suffix or 'no suffix'}); {known}"


KINDS = (
    *(".csv", ".tsv", ".jsonl", ".ndjson", ".json"),
    *(".parquet", ".arrow", ".feather", ".xlsx", ".xlsm"),
)
"""What a file may be, by its suffix."""

SUFFIXES = (*KINDS, *PACKED)
"""The suffixes of the files that `read_rows` reads, packed ones among them."""
