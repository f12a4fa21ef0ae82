"""Rows from XLSX workbooks and back, through openpyxl, which comes with the extra `xlsx`.

Characters that XML cannot hold stand in a workbook as ``_x000D_``; they are read as what they are.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import date, datetime, time
from typing import Any
from zipfile import BadZipFile

from consilience.data.columns import refuse_twins
from consilience.data.files import File
from consilience.errors import InputError, MissingExtra

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")
_ESCAPED = re.compile("_x[0-9A-Fa-f]{4}_")


def sheet_rows(
    file: File, at: list[int], seen: list[str], notes: list[str]
) -> Iterator[dict[str, Any]]:
    """The rows of the first sheet of a workbook; `at` and `seen` as in `delimited_rows`.

    Formulas give the values that were saved with them. That there are more sheets goes to `notes`.
    """
    with ExitStack() as stack:
        book = _workbook(file, stack)
        sheet = book.worksheets[0]
        if len(book.worksheets) > 1:
            notes.append(
                f"{file.name} has {len(book.worksheets)} sheets: {sheet.title!r} was read."
            )
        header: list[str] = []
        for line, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            if all(cell is None for cell in cells):
                continue
            if not header:
                header = ["" if cell is None else str(_read(cell)) for cell in cells]
                while not header[-1]:
                    header.pop()
                refuse_twins(header, file.name)
                seen.extend(header)
                continue
            extra = [cell for cell in cells[len(header) :] if cell is not None]
            if extra:
                cure = "name the column or clear the cell"
                if not at and sum(map(bool, header)) == 1:
                    cure += f", or delete {max(header)[:60]!r} if that is a title above the table"
                raise InputError(
                    f"{file.name}, row {len(at) + 1} (line {line}) has a cell beyond the last "
                    f"column that has a name, {extra[0]!r}; {cure}"
                )
            at.append(line)
            padded = (*map(_read, cells), *[None] * len(header))[: len(header)]
            yield dict(zip(header, padded, strict=True))


def _workbook(file: File, stack: ExitStack) -> Any:  # noqa: ANN401 (openpyxl has no types)
    """The workbook in a file, both closed by the stack; InputError where it is none."""
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise MissingExtra(f"reading {file.name}", "xlsx") from None
    stream = stack.enter_context(file.open())
    try:
        book = load_workbook(stream, read_only=True, data_only=True)
    except (InvalidFileException, BadZipFile, KeyError, ValueError) as error:
        raise InputError(f"{file.name} cannot be read as a workbook: {error}") from None
    stack.callback(book.close)
    return book


def _read(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    return _ESCAPED.sub(lambda match: chr(int(match[0][2:6], 16)), cell)


MOST_IN_CELL, MOST_IN_SHEET, MOST_EXACT = 32_767, 1_048_576, 2**53
"""What a cell and a sheet can hold, and the largest number whose neighbours all differ there."""


def is_sheet_date(value: object) -> bool:
    """Whether a value is a date, a time of a day or both that a sheet holds as it is.

    It has no time zones, counts days from 1900, where it is off by one for two months, and rounds
    to milliseconds.
    """
    if isinstance(value, datetime | time) and (value.tzinfo or value.microsecond % 1000):
        return False
    if getattr(value, "nanosecond", 0):
        return False
    return isinstance(value, time) or (isinstance(value, date) and value.year > 1900)


def sheet_bytes(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """A workbook of one sheet; a text is a text whatever it looks like, so that it runs nothing.

    ValueError where a sheet cannot hold it.
    """
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    if len(rows) >= MOST_IN_SHEET:
        raise ValueError(f"a sheet holds {MOST_IN_SHEET:,} rows; write .csv or .parquet")
    # All of them before the first is written: a sheet that is begun has to be ended.
    made = [[_written(value, i) for value in row] for i, row in enumerate((header, *rows))]
    book = Workbook(write_only=True)
    sheet = book.create_sheet("labels")
    for row in made:
        cells = [None if text is None else WriteOnlyCell(sheet, text) for _, text in row]
        for (kind, _), cell in zip(row, cells, strict=True):
            if cell is not None and kind != "d":  # of dates the format says what they are
                cell.data_type = kind
        sheet.append(cells)
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def _written(value: object, row: int) -> tuple[str, Any]:
    """The type of a cell and its content: n a number, b a truth value, d a date, s a text."""
    if is_sheet_date(value):
        return "d", value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    if value is None or isinstance(value, bool):
        return "b", value
    if isinstance(value, float) and math.isfinite(value):
        return "n", repr(value)  # openpyxl itself writes 16 digits, and a double has 17
    if isinstance(value, int) and abs(value) <= MOST_EXACT:
        return "n", str(value)
    text = _ESCAPED.sub(r"_x005F\g<0>", str(value))
    text = _CONTROL.sub(lambda match: f"_x{ord(match[0]):04X}_", text)
    if len(text) > MOST_IN_CELL:
        raise ValueError(
            f"a cell of row {row} has {len(text):,} characters, a sheet holds "
            f"{MOST_IN_CELL:,} in one; write .csv or .parquet"
        )
    return "s", text
