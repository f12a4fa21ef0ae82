"""Columns of Parquet and Arrow files and of frames, of which only those asked for are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from consilience.data.columns import Columns, refuse_twins
from consilience.data.files import File
from consilience.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Wanted = Callable[[Columns], Iterable[str]]
"""Which columns are read, of those that there are."""


def every(columns: Columns) -> Iterable[str]:
    """All columns are wanted."""
    return columns.names


def chosen_columns(wanted: Wanted, names: Sequence[str], source: str) -> list[str]:
    """The wanted columns in the order of the table."""
    asked = set(wanted(Columns(tuple(names), source)))
    return [name for name in names if name in asked]


Guard = Callable[[int, str], None]
"""Refuses a table of so many rows, called so."""


def read(file: File, wanted: Wanted, guard: Guard) -> tuple[pa.Table, tuple[str, ...]]:
    """The wanted columns of a Parquet, Arrow or Feather file, and the names of all of them."""
    # Imported here: pyarrow takes longer to load than the rest of this package's words together.
    import pyarrow as pa

    try:
        if file.suffix == ".parquet":
            return _parquet(file, wanted, guard)
        return _ipc(file, wanted, guard)
    # Of a file that is damaged Arrow says so in many ways, names that are no text among them.
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{file.name} cannot be read as {file.suffix[1:]}: {reason}") from None


def _parquet(file: File, wanted: Wanted, guard: Guard) -> tuple[pa.Table, tuple[str, ...]]:
    import pyarrow.parquet as pq

    # Not pq.read_table(), which adds columns for folders called a=b.
    with _source(file) as source, pq.ParquetFile(source) as opened:
        guard(opened.metadata.num_rows, file.name)
        names = _names(opened.schema_arrow, file.name)
        return opened.read(columns=chosen_columns(wanted, names, file.name)), names


def _ipc(file: File, wanted: Wanted, guard: Guard) -> tuple[pa.Table, tuple[str, ...]]:
    import pyarrow as pa

    with file.open() as stream:
        is_file = stream.read(6) == b"ARROW1"
    kind = pa.ipc.open_file if is_file else pa.ipc.open_stream
    with _source(file) as source, kind(source) as opened:
        names = _names(opened.schema, file.name)
        asked = chosen_columns(wanted, names, file.name)
        fields = [names.index(name) for name in asked]
    options = pa.ipc.IpcReadOptions(included_fields=fields)
    with _source(file) as source, kind(source, options=options) as opened:
        if is_file:
            table = opened.read_all()
        else:  # a batch comes as a whole: what is wanted is copied, and the rest let go
            batches = [batch.take(pa.array(range(len(batch)))) for batch in opened]
            table = pa.Table.from_batches(batches, schema=opened.schema)
    guard(table.num_rows, file.name)
    return table, names


def _source(file: File) -> pa.NativeFile:
    import pyarrow as pa

    if file.path is None or file.path.suffix.lower() != file.suffix:  # packed, or standard input
        with file.open() as stream:
            return pa.BufferReader(stream.read())
    return pa.OSFile(str(file.path))


def _names(schema: pa.Schema, source: str) -> tuple[str, ...]:
    refuse_twins(schema.names, source)
    return tuple(schema.names)


def rows_of(table: pa.Table, source: str) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow table as mappings; what Python cannot hold comes as text."""
    columns = {name: values(table.column(name), name, source) for name in table.column_names}
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))


def values(column: pa.ChunkedArray, name: str, source: str) -> list[Any]:
    """The cells of a column; dates, times and zones that Python cannot hold come as text.

    A number of fewer than 64 bits is the one with its shortest decimal form: 0.1 in 32 bits is 0.1.
    InputError where they are no text either, such as bytes that are not UTF-8.
    """
    import pyarrow as pa

    cells: list[Any]
    try:
        cells = column.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):
        cells = _texts(column, name, source)
    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        narrow = column.type.to_pandas_dtype()
        cells = [cell if cell is None else float(str(narrow(cell))) for cell in cells]
    return cells


def _texts(column: pa.ChunkedArray, name: str, source: str) -> list[str | None]:
    import pyarrow as pa

    try:
        plain = column.type
        if pa.types.is_timestamp(plain):  # in UTC, where this machine does not know the zone
            plain = pa.timestamp(plain.unit)
        cells: list[str | None] = column.cast(plain).cast(pa.string()).to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):
        raise InputError(
            f"{source or 'the table'}: column {name!r} ({column.type}) holds what is no text; "
            "take the column out or convert it"
        ) from None
    return cells
