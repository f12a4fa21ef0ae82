"""Tables as files: CSV, JSON lines, Parquet or XLSX, whole or not at all.

Numbers stay the same doubles in all of them. CSV has no types: what reads it without loss takes
every cell for text, as in ``pandas.read_csv(path, dtype=str, keep_default_na=False)``,
``polars.read_csv(path, infer_schema=False)`` and, in DuckDB, ``read_csv('path',
all_varchar=true, allow_quoted_nulls=false)``; what guesses types takes 001 for a number and the
class None for nothing. The others carry the types.

In CSV a cell that a spreadsheet would run as a formula gets an apostrophe (see `guard`), unless it
is told to be left as it is; in XLSX such a cell is a text, which runs nothing.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consilience.data.guard import guarded
from consilience.data.whole_file import whole_file
from consilience.errors import InputError, MissingExtra, check_kind

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def table_path(path: str | Path) -> Path:
    """A path that `write_table` can write, so that it can be checked before anything is spent.

    InputError for another suffix, or a folder that does not exist; MissingExtra for XLSX without
    openpyxl.
    """
    check_kind(path, (str, Path), "what is written to is the path of a file")
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"{path} ends in none of {', '.join(WRITERS)}: the suffix is the format")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if path.suffix.lower() == ".xlsx":
        try:
            import openpyxl  # noqa: F401
        except ImportError:
            raise MissingExtra(f"writing {path}", "xlsx") from None
    return path


def write_table(frame: pd.DataFrame, path: str | Path, *, keep_formulas: bool = False) -> None:
    """Write a table to a file in the format of its suffix; an older file is replaced at the end.

    A named index becomes the first column, another index is not written. Missing values become
    empty cells in CSV and XLSX, and null elsewhere. InputError if the path cannot be written,
    columns share a name, or the format has no word for a value (infinity in JSON).
    """
    path = table_path(path)
    frame = _flat(frame, path)
    try:
        if path.suffix.lower() == ".csv":
            content = csv_bytes(frame, keep_formulas=keep_formulas)
        else:
            content = WRITERS[path.suffix.lower()](frame)
        with whole_file(path) as file:
            file.write(content)
    except (OSError, OverflowError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot write {path}: {reason}") from error


def _flat(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    if frame.index.name is not None:
        frame = frame.reset_index()
    if not frame.columns.is_unique:
        raise InputError(f"cannot write {path}: two columns have the same name")
    return frame


def csv_bytes(frame: pd.DataFrame, *, keep_formulas: bool = False, header: bool = True) -> bytes:
    """A frame as CSV in UTF-8; texts are quoted, numbers and truth values (true, false) bare."""
    # pandas quotes no lone carriage return, which ends the row for readers, and gives truth values
    # a capital that polars does not know.
    import pyarrow as pa
    from pyarrow import csv

    safe: Callable[[str], str] = str if keep_formulas else guarded
    columns = [_text_column(frame.iloc[:, i], safe) for i in range(frame.shape[1])]
    table = pa.table(columns, names=[safe(str(name)) for name in frame.columns])
    written = io.BytesIO()
    csv.write_csv(table, written, csv.WriteOptions(include_header=header, quoting_style="needed"))
    return written.getvalue()


def _text_column(column: pd.Series[Any], safe: Callable[[str], str]) -> pa.Array:
    """A column of numbers or truth values as it is, any other as text."""
    import pyarrow as pa

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return pa.array(column, from_pandas=True)
    cells = [None if value is None else safe(_text(value)) for value in _cells(column)]
    return pa.array(cells, pa.string())


def _cells(column: pd.Series[Any], plain: Callable[[object], object] | None = None) -> list[Any]:
    """The cells of a column as JSON has them, or made `plain`; None where they are missing."""
    import pandas as pd

    if isinstance(column.dtype, pd.ArrowDtype):
        import pyarrow as pa

        from consilience.data.arrow_rows import values

        found = values(pa.chunked_array([pa.array(column)]), str(column.name), "")
    else:
        found = list(column.astype(object).where(column.notna(), None))
    return list(map(plain or _plain, found))


def _plain(value: object) -> object:
    """A cell as plain data: dates in ISO 8601, bytes in Base64, what is exact as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as plain data, missing cells None."""
    columns = {str(name): _cells(frame[name]) for name in frame.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _jsonl(frame: pd.DataFrame) -> bytes:
    # Not by pandas, which rounds to 15 digits.
    rows = plain_rows(frame)
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    return "".join(lines).encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    made = frame.copy()
    made.columns = [str(name) for name in made.columns]
    for name in made.columns:
        try:
            column = pa.array(made[name], from_pandas=True)
            if pa.types.is_nested(column.type):  # objects without a field have no place in a file
                parquet.write_table(pa.table({name: column}), io.BytesIO())
        except (pa.ArrowException, OverflowError, TypeError, ValueError):  # or of several kinds
            cells = (None if v is None else _text(v) for v in _cells(made[name]))
            made[name] = pd.Series(list(cells), index=made.index, dtype=object)
    written: bytes = made.to_parquet(index=False, engine="pyarrow")
    return written


def _xlsx(frame: pd.DataFrame) -> bytes:
    from consilience.data.sheets import sheet_bytes

    columns = {str(name): _cells(frame[name], _cell) for name in frame.columns}
    return sheet_bytes(list(columns), list(zip(*columns.values(), strict=True)))


def _cell(value: object) -> object:
    """A cell as a sheet can hold it: a truth value, a number, a date, or the text of anything."""
    from consilience.data.sheets import is_sheet_date

    if is_sheet_date(value):
        return value
    value = _plain(value)
    return value if value is None or isinstance(value, bool | int | float) else _text(value)


WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    ".csv": csv_bytes,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".xlsx": _xlsx,
}
"""How a table becomes the content of a file, by suffix."""
