"""Rows from files and frames, and the text of each row, with errors that name the row.

One rule turns a cell of any table into text (`as_text`), so that the same content gives the same
examples whether it came from CSV, JSONL, Parquet or a frame. Every bad input is one line: which
file, which row, which column, what to do.
"""

from __future__ import annotations

import csv
import json
import math
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

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
    """Rows of a table that remember where they stood: the file, and the line of each row."""

    def __init__(
        self, rows: Iterable[dict[str, Any]], source: str = "", lines: Sequence[int] = ()
    ) -> None:
        if isinstance(rows, Sized):
            _refuse_many(len(rows), source)
        super().__init__(islice(rows, MOST_ROWS + 1))
        _refuse_many(len(self), source, more=True)
        self.source = source
        self.lines = tuple(lines)
        self.columns = tuple(dict.fromkeys(name for row in self for name in row))
        if not self:
            raise InputError(f"{source or 'the table'} has no rows; nothing can be labelled")

    def place(self, i: int) -> str:
        """Where row `i` stands, as an error says it; data rows count from 1."""
        file = f"{self.source}, " if self.source else ""
        line = f" (line {self.lines[i]})" if self.lines else ""
        return f"{file}row {i + 1}{line}"

    def require(self, column: str) -> None:
        """Nothing, or the InputError that lists the columns there are."""
        if column not in self.columns:
            known = ", ".join(self.columns)
            raise InputError(
                f"{self.source or 'the table'} has no column {column!r}; the columns are: {known}"
            )

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
        if text is not None and (half := _half_character(text)):
            raise InputError(
                f"{self.place(i)}: column {column!r} holds half a character ({half}); "
                "correct it or take it out"
            )
        return text


def as_text(value: object) -> str | None:
    """A cell as text, by one rule for every kind of table; None where the cell is empty.

    Text stays as it is; white space alone, None and NaN are empty. True and False are "True" and
    "False"; a number is its shortest decimal form without a final ".0", because a frame turns a
    column of integers that has a gap into floats. Anything else is a TypeError.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, int | Decimal):
        return str(value)
    raise TypeError(type(value).__name__)


def _half_character(text: str) -> str:
    """The first lone surrogate of a text, which cannot be sent or stored, written out; else ""."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return ascii(text[error.start])[1:-1]
    return ""


# A doubled brace is the brace itself, as in str.format; column names may hold anything else.
_BRACES = re.compile(r"(?P<double>\{\{|\}\})|\{(?P<column>[^{}]+)\}|(?P<stray>[{}])")


def _template(table: Rows, text: str) -> list[tuple[str, str | None]]:
    """The pieces of a template: the words before a column, and the column (None at the end)."""
    if text in table.columns:
        return [("", text)]
    if half := _half_character(text):
        raise InputError(f"the template {text!a} holds half a character ({half}); retype it")
    pieces: list[tuple[str, str | None]] = []
    words, end = "", 0
    for match in _BRACES.finditer(text):
        words += text[end : match.start()]
        end = match.end()
        if match["stray"]:
            raise InputError(
                f"the template {text!r} has a single {match[0]!r} at character "
                f"{match.start() + 1}; write {{column}}, or {match[0] * 2} for the brace itself"
            )
        if match["double"]:
            words += match[0][0]
        else:
            table.require(match["column"])
            pieces.append((words, match["column"]))
            words = ""
    if not pieces:
        table.require(text)
    return [*pieces, (words + text[end:], None)]


def columns_used(table: Rows, text: str) -> frozenset[str]:
    """The columns that `text`, a column or a template over columns, reads."""
    return frozenset(column for _, column in _template(table, text) if column is not None)


def texts(table: Rows, text: str) -> list[str]:
    """The text of each row, from a column or a template such as ``"{question} {claim}"``."""
    pieces = _template(table, text)
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


def rows(records: object) -> Rows:
    """The rows of a list of mappings, a pandas or polars frame, or a pyarrow table."""
    if isinstance(records, Rows):
        return records
    table: Any = records
    if isinstance(records, Sized):
        _refuse_many(len(records), "")
    if hasattr(table, "to_dicts"):  # polars
        return Rows(table.to_dicts())
    if hasattr(table, "to_pylist") and hasattr(table, "column_names"):  # pyarrow
        _refuse_twins(table.column_names, "the table")
        return Rows(table.to_pylist())
    if hasattr(table, "notna") and hasattr(table, "columns"):  # pandas
        _refuse_twins(table.columns, "the frame")
        filled = table.astype(object).where(table.notna(), None)
        return Rows(_named(row) for row in filled.to_dict(orient="records"))
    if isinstance(records, str | Path):
        raise InputError(
            f"expected rows, got the string {str(records)[:60]!r}; a file is read by load_dataset"
        )
    if isinstance(records, Mapping) or not isinstance(records, Iterable):
        raise InputError(
            "expected a list of mappings, a pandas or polars frame or a pyarrow table, "
            f"got a {type(records).__name__}"
        )
    return Rows(_mapping(record, f"row {i}") for i, record in enumerate(records, start=1))


def _named(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def _mapping(record: object, place: str) -> dict[str, Any]:
    if not isinstance(record, Mapping):
        raise InputError(
            f"{place} is a {type(record).__name__}, expected an object with named columns, "
            'such as {"text": "…"}'
        )
    named = _named(record)
    if len(named) < len(record):
        _refuse_twins(record, place)
    return named


def _refuse_twins(names: Iterable[object], place: str) -> None:
    twins = [name for name, count in Counter(map(str, names)).items() if count > 1]
    if twins:
        raise InputError(f"{place} names the column {twins[0]!r} twice; rename one of them")


def read_rows(path: str | Path, *, header: Sequence[str] | None = None) -> Rows:
    """The rows of a file; its kind is told by its suffix.

    `header` names the columns of a CSV file whose first line is a row already.
    """
    path = Path(path)
    read = _READERS.get(path.suffix.lower())
    if not path.is_file():
        what = "is a directory, expected a file" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}; check the path")
    if read is None:
        raise InputError(
            f"{path} is of no known kind ({path.suffix or 'no suffix'}); "
            f"the kinds are: {', '.join(_READERS)}"
        )
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty; check how it was written")
        return _read_csv(path, header) if read is _read_csv else read(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, each read when it is asked for."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                guess = "utf-16" if line[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "latin1"
                raise InputError(
                    f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} in line {number}"
                    f"; save it as UTF-8 (if it is {guess}: iconv -f {guess} -t utf-8)"
                ) from None
            if "\0" in text:
                raise InputError(
                    f"{path} holds a NUL byte in line {number}: it is damaged, or UTF-16; "
                    "save it as UTF-8 (iconv -f utf-16 -t utf-8)"
                )
            yield text


def _read_csv(path: Path, names: Sequence[str] | None = None) -> Rows:
    lines: list[int] = []
    return Rows(_csv_rows(path, names, lines), str(path), lines)


def _csv_rows(
    path: Path, names: Sequence[str] | None, lines: list[int]
) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file; the line of each is put into `lines`."""
    delimiter, called = ("\t", "tab") if path.suffix.lower() == ".tsv" else (",", "comma")
    header = list(names or ())
    line = 1
    # The usual limit of a cell, 131,072 characters, is no limit of texts.
    before = csv.field_size_limit(max(csv.field_size_limit(), path.stat().st_size))
    try:
        # A carriage return ends a row too; inside quotes the reader puts the parts together.
        ended = (part for line in _lines(path) for part in re.split(r"(?<=\r)(?=[^\n])", line))
        reader = csv.reader(ended, delimiter=delimiter, strict=True)
        for cells in reader:
            if not header:
                header = cells
                _refuse_twins(header, str(path))
            elif cells:  # a blank line is no row
                if len(cells) != len(header):
                    raise InputError(
                        f"{path}, row {len(lines) + 1} (line {line}) has {len(cells)} cells, "
                        f"expected {len(header)} as in the header; quote a cell that holds a "
                        f"{called}"
                    )
                lines.append(line)
                yield dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, row {len(lines) + 1} (line {line}) is malformed: {error}; "
            "double the quotes inside a quoted cell, or use JSONL"
        ) from None
    finally:
        csv.field_size_limit(before)


def _parsed(text: str, place: str, line: int, cure: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=partial(_object, place))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{place} (line {line + error.lineno - 1}) is not JSON: {error.msg} at character "
            f"{error.colno}; {cure}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} (line {line}) cannot be used: {error}; correct it") from None


def _object(place: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):  # one of the values would be lost
        _refuse_twins((name for name, _ in pairs), place)
    return made


def _read_jsonl(path: Path) -> Rows:
    lines: list[int] = []
    return Rows(_jsonl_rows(path, lines), str(path), lines)


def _jsonl_rows(path: Path, lines: list[int]) -> Iterator[dict[str, Any]]:
    """The rows of a file of JSON lines; the line of each is put into `lines`."""
    # JSON allows other line separators, such as U+2028, inside its strings.
    for line, text in enumerate(_lines(path), start=1):
        if text.strip():
            place = f"{path}, row {len(lines) + 1}"
            record = _parsed(text.rstrip(), place, line, "each line holds one object")
            lines.append(line)
            yield _mapping(record, f"{place} (line {line})")


def _read_json(path: Path) -> Rows:
    cure = "a file with one object on each line is called .jsonl"
    parsed = _parsed("".join(_lines(path)), str(path), 1, cure)
    if not isinstance(parsed, list):
        what = type(parsed).__name__
        raise InputError(f"{path} holds one {what}, expected a list of objects; {cure}")
    return Rows(
        (_mapping(item, f"{path}, row {i}") for i, item in enumerate(parsed, start=1)), str(path)
    )


def _read_arrow(path: Path) -> Rows:
    # Imported here: pyarrow takes longer to load than the rest of this package's words together.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            # Not pq.read_table(), which adds columns for folders called a=b.
            with pq.ParquetFile(path) as file:
                _refuse_many(file.metadata.num_rows, str(path))
                table = file.read()
        else:
            with pa.OSFile(str(path)) as source:
                is_file = source.read(6) == b"ARROW1"
                source.seek(0)
                opened = pa.ipc.open_file if is_file else pa.ipc.open_stream
                with opened(source) as reader:
                    table = reader.read_all()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: {reason}") from None
    _refuse_many(table.num_rows, str(path))
    _refuse_twins(table.column_names, str(path))
    return Rows(table.to_pylist(), str(path))


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_arrow,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
}

SUFFIXES = tuple(_READERS)
"""The suffixes of the files that `read_rows` reads."""
