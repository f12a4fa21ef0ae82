"""Tables as files: CSV, JSON lines or Parquet, whole or not at all.

Ids stay strings and floats stay the same doubles in all three. CSV has no types, so whoever reads
it must say that ids are text; JSON lines and Parquet carry the types.

Cells that begin with ``=``, ``+``, ``-`` or ``@`` are written as they are. A spreadsheet runs such
a cell of a CSV file as a formula, and texts of a data set may come from strangers; but a mark put
in front of them would be changed data for every other reader, and the text would no longer be the
one that its id is the hash of. Open a table with texts from Parquet or JSON lines, or import the
CSV with its columns set to text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from consilience.data.whole_file import whole_file
from consilience.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def table_path(path: str | Path) -> Path:
    """A path that `write_table` can write, so that it can be checked before anything is spent.

    InputError for another suffix, or a folder that does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"{path} ends in none of {', '.join(WRITERS)}: the suffix is the format")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    return path


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table to a file in the format of its suffix; an older file is replaced at the end.

    A named index becomes the first column, another index is not written. Missing values become
    empty cells in CSV and null elsewhere. ``pandas.read_csv(path, dtype={"id": str})`` reads CSV
    without loss (before pandas 3.1 with ``float_precision="round_trip"`` too). InputError if the
    path cannot be written, columns share a name, or JSON has no word for a value (infinity).
    """
    path = table_path(path)
    if frame.index.name is not None:
        frame = frame.reset_index()
    if not frame.columns.is_unique:
        raise InputError(f"cannot write {path}: two columns have the same name")
    try:
        content = WRITERS[path.suffix.lower()](frame)
        with whole_file(path) as file:
            file.write(content)
    except (OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot write {path}: {reason}") from error


def _csv(frame: pd.DataFrame) -> bytes:
    # Every text is quoted: by default a lone carriage return is not, and ends the row for readers.
    text = frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text.encode()


def _jsonl(frame: pd.DataFrame) -> bytes:
    # Not by pandas, which rounds to 15 digits.
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    return "".join(lines).encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    return frame.to_parquet(index=False, engine="pyarrow")


WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
"""How a table becomes the content of a file, by suffix."""
