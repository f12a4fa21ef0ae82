"""The user's whole table as a pandas frame, every column as it was, for writing it out again."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consilience.data import arrow_rows
from consilience.data.columns import Columns, refuse_twins
from consilience.data.files import find
from consilience.data.origin import ROW, Origin
from consilience.data.readers import Rows, read_rows, rows, texts
from consilience.errors import ConsilienceError, InputError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from consilience.data.dataset import Dataset


def read_frame(path: str | Path) -> pd.DataFrame:
    """The whole table in a file; cells of CSV stay text."""
    file = find(path)
    if file.suffix in (".parquet", ".arrow", ".feather"):
        table, _ = arrow_rows.read(file, arrow_rows.every, lambda count, name: None)
        return arrow_frame(table)
    return rows_frame(read_rows(path))


def whole_frame(source: object) -> pd.DataFrame:
    """The whole of a frame or a table in memory, or of rows."""
    found: Any = source
    if isinstance(source, Rows):
        return rows_frame(source)
    if hasattr(found, "select_columns") and hasattr(found, "num_rows"):  # datasets
        return arrow_frame(found.with_format("arrow")[:])
    if hasattr(found, "to_dicts"):  # polars
        return arrow_frame(found.to_arrow())
    if hasattr(found, "column_names"):  # pyarrow
        return arrow_frame(found)
    return _named(found)


def is_frame(source: object) -> bool:
    """Whether `whole_frame` takes this as it is; a generator, for one, is read only once."""
    return isinstance(source, Rows) or hasattr(source, "columns") or hasattr(source, "column_names")


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.index.name is not None and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def rows_frame(table: Rows) -> pd.DataFrame:
    """Rows as a frame; a column of more than one kind of value keeps them as they are."""
    import pandas as pd

    columns = {}
    for name in table.columns:
        cells = [row.get(name) for row in table]
        kinds = set(map(type, cells))
        plain = len(kinds) == 1 and kinds <= {str, int, float, bool}
        columns[name] = pd.Series(cells, dtype=None if plain else object)
    frame = pd.DataFrame(columns)
    if table.source:  # a frame's own column may be called so, but JSON refuses one that is
        frame.attrs[_FIELDS] = [name for name in table.columns if _is_field(name, table)]
    return frame


def arrow_frame(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a frame; types that pandas lacks stay those of Arrow."""
    import pandas as pd

    refuse_twins(table.column_names, "the table")
    return pd.DataFrame({name: _series(table.column(name)) for name in table.column_names})


def _series(column: pa.ChunkedArray) -> pd.Series[Any]:
    import pandas as pd
    import pyarrow as pa

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:  # bytes that say of themselves that they are text
            cells = column.cast(pa.binary()).to_pylist()
            told = [None if cell is None else cell.decode(errors="replace") for cell in cells]
            return pd.Series(told, dtype=object)
        return pd.Series(column.to_pandas())
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if number and not column.null_count:
        return pd.Series(column.to_pandas())
    return pd.Series(pd.arrays.ArrowExtensionArray(column))


def own_rows(data: Dataset) -> tuple[pd.DataFrame, Sequence[int]]:
    """The rows as the user has them, and for each the position of its example in `data`.

    Where there is no table, or it cannot be read again or has changed, a row has its id, text and
    group alone; a warning says why.
    """
    import pandas as pd

    origin = data.origin
    if origin is None:
        columns = {"id": data.ids, "text": data.texts, "group": data.groups}
        return pd.DataFrame(columns), range(len(data))
    at = [data.index[example] for example in origin.examples]
    try:
        frame = _read_again(origin)
    except (ConsilienceError, OSError) as error:
        warnings.warn(f"only ids, texts and groups are given: {error}", stacklevel=3)
        name = origin.text if not set(origin.text) & set("{}") else "text"
        columns = {origin.id_name: origin.ids, name: tuple(data.texts[i] for i in at)}
        if origin.group and origin.group not in columns:
            columns[origin.group] = tuple(data.examples[i].group or "" for i in at)
        return pd.DataFrame(columns), at
    frame = frame.drop(columns=frame.attrs.get(_FIELDS, []))
    if origin.id is None:
        numbers = np.array([i + 1 for i in origin.at], dtype=np.int64)
        frame.insert(0, free_name(ROW, list(frame.columns)), numbers)
    return frame, at


_FIELDS = "consilience_fields"
"""Where a frame keeps which of its columns were made of the fields of objects in JSON."""


def _is_field(name: str, table: Rows) -> bool:
    """Whether a column is a field of the objects in another, which the user's table has whole."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        above, field = ".".join(parts[:end]), ".".join(parts[end:])
        cells = (row.get(above) for row in table)
        if any(isinstance(cell, Mapping) and field in cell for cell in cells):
            return True
    return False


def _read_again(origin: Origin) -> pd.DataFrame:
    """The columns of the rows of an origin; InputError where they are not there any more."""
    import pandas as pd

    from consilience.data.dataset import example_id

    if origin.read is None:
        raise InputError("the table was not a file, so that its columns cannot be read again")
    whole = origin.read()
    what = origin.source or "the table"
    changed = f"{what} has changed since it was labelled"
    if len(whole) != origin.count:
        raise InputError(f"{changed}: it has {len(whole):,} rows, and had {origin.count:,}")
    frame = whole.iloc[list(origin.at)]
    if whole.index.equals(pd.RangeIndex(len(whole))):
        frame = frame.reset_index(drop=True)
    used = Columns(tuple(frame.columns), what).used(origin.text)
    found = texts(rows(frame[list(used)]), origin.text)
    for i, (words, example) in enumerate(zip(found, origin.examples, strict=True)):
        if example_id(words) != example:
            raise InputError(f"{changed}: row {origin.at[i] + 1} has another text")
    return frame


def free_name(name: str, taken: Sequence[object]) -> str:
    """A name that no column has: the user's columns keep theirs."""
    while name in taken:
        name = f"consilience_{name}"
    return name
