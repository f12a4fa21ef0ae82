"""CSV and TSV as they come: what stands between the cells, and whether quotes quote, is found.

The first rows are read in each way there is, and the way counts in which they all have as many
cells as the header. A file in which no way fits is read in the usual one, whose error then says
which row is wrong.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from consilience.data.columns import refuse_twins
from consilience.data.files import File, encoding, lines
from consilience.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""What may stand between cells, and what it is called in an error."""

_LONGEST = (1 << 31) - 1
"""Characters of a cell, at most: as many as the csv module can count on every machine."""

SAMPLE = 200
"""How many rows decide what stands between the cells."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written: its encoding, what stands between the cells, whether quotes quote.

    `spaced`: a blank after the delimiter belongs to no cell. `skipped`: a first line "sep=;",
    which Excel writes, is no row.
    """

    encoding: str
    delimiter: str
    quoted: bool = True
    spaced: bool = False
    skipped: bool = False

    def reader(self, file: File) -> Reader:
        """The cells of each row, by the csv module."""
        found = lines(file, self.encoding)
        if self.skipped:
            next(found)
        # A carriage return ends a row too; inside quotes the reader puts the parts together.
        ended = (part for line in found for part in re.split(r"(?<=\r)(?=[^\n])", line))
        return csv.reader(
            ended,
            delimiter=self.delimiter,
            strict=True,
            skipinitialspace=self.spaced,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
        )


def delimited_rows(
    file: File, dialect: Dialect, names: Sequence[str] | None, at: list[int], seen: list[str]
) -> Iterator[dict[str, str]]:
    """The rows of a file; the line of each is put into `at`, and the header into `seen`.

    `names` are the columns where the first line is a row already.
    """
    before = csv.field_size_limit(_LONGEST)
    try:
        header = list(names or ())
        seen.extend(header)
        line = first = 2 if dialect.skipped else 1
        reader = dialect.reader(file)
        for cells in reader:
            if not header:
                header = cells
                refuse_twins(header, file.name)
                seen.extend(header)
            elif cells:  # a blank line is no row
                if len(cells) != len(header):
                    raise InputError(_uneven(file, dialect, len(cells), len(header), len(at), line))
                at.append(line)
                yield dict(zip(header, cells, strict=True))
            line = reader.line_num + first
    except csv.Error as error:
        raise InputError(
            f"{file.name}, row {len(at) + 1} (line {line}) is malformed: {error}; "
            "double the quotes inside a quoted cell, or use JSONL"
        ) from None
    finally:
        csv.field_size_limit(before)


def _uneven(file: File, dialect: Dialect, cells: int, header: int, row: int, line: int) -> str:
    called = DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter))
    return (
        f"{file.name}, row {row + 1} (line {line}) has {cells} cells, expected {header} as in the "
        f"header, with a {called} between cells; quote a cell that holds a {called}"
    )


def sniff(file: File) -> Dialect:
    """How a file is written, by its first rows."""
    before = csv.field_size_limit(_LONGEST)
    try:
        return _sniffed(file)
    finally:
        csv.field_size_limit(before)


def _sniffed(file: File) -> Dialect:
    code = encoding(file, western=True)
    usual = "\t" if file.suffix in (".tsv", ".tab") else ","
    first = next(lines(file, code), "").strip().strip('"')
    if re.fullmatch("sep=.", first):
        return Dialect(code, first[-1], skipped=True)
    if first == "sep=":  # of which the tab was taken for white space
        return Dialect(code, "\t", skipped=True)
    tried: list[tuple[int, bool, Dialect]] = []
    for delimiter in DELIMITERS:
        for spaced in (False, True):
            dialect = Dialect(code, delimiter, spaced=spaced)
            if cells := _even(file, dialect):
                tried.append((cells, delimiter == usual, dialect))
                break
    found = max(tried, key=lambda t: t[:2])[2] if tried else Dialect(code, usual)
    return _unquoted(file, found) if found.delimiter == "\t" else found


def _even(file: File, dialect: Dialect) -> int:
    """How many cells each of the first rows has, 0 where they differ or have only one."""
    try:
        counts = {len(cells) for cells in islice(dialect.reader(file), SAMPLE) if cells}
    except (csv.Error, InputError):
        return 0
    count = counts.pop() if len(counts) == 1 else 0
    return count if count > 1 else 0


def _unquoted(file: File, quoted: Dialect) -> Dialect:
    """The dialect in which quotes of a file of tabs are letters, where that is what they are.

    Most writers of TSV quote nothing, and two cells that begin and end with a quote would merge
    all rows between them. So quotes count only if without them some line is too short or too long.
    """
    plain = Dialect(quoted.encoding, "\t", quoted=False, skipped=quoted.skipped)
    width = rows_plain = 0
    for cells in plain.reader(file):
        if not cells:
            continue
        width = width or len(cells)
        if len(cells) != width or width == 1:
            return quoted
        rows_plain += 1
    try:
        merged = sum(bool(cells) for cells in quoted.reader(file)) < rows_plain
    except csv.Error:
        return plain
    return plain if merged else quoted
