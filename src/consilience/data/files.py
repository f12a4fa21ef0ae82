"""Files as bytes and as lines of text: where they lie, how they are packed, how encoded.

What is packed by gzip or Zstandard is unpacked on the way, "-" is standard input, and an encoding
is told by its marks, never by likelihood: a wrong guess would put other words to the model.
"""

from __future__ import annotations

import codecs
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from consilience.errors import InputError

STDIN = "-"
"""What is said in place of a path for standard input."""

PACKED = {".gz": "gzip", ".zst": "zstd"}
"""Suffixes of files that are unpacked, and what pyarrow calls their codec."""

_MARKS: dict[bytes, str] = {
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"PK\x03\x04": ".xlsx",
    b"\x1f\x8b": ".gz",
    b"\x28\xb5\x2f\xfd": ".zst",
}
"""The first bytes of files that are no text, and the suffix that such a file should have."""

_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: its name in errors, the suffix of what is in it, and how it is opened.

    `open` gives its bytes, unpacked, from the beginning each time; `path` is None for standard
    input, which can be read in one process only.
    """

    name: str
    suffix: str
    open: Callable[[], IO[bytes]]
    path: Path | None = None


def find(path: str | Path) -> File:
    """The file at a path, or standard input; InputError where there is none or it is empty."""
    if str(path) == STDIN:
        return _standard_input()
    path = Path(path)
    if not path.is_file():
        what = "is a directory, expected a file" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}; check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; check how it was written")
    suffix = path.suffix.lower()
    if suffix in PACKED:
        inner = Path(path.stem).suffix.lower()
        return File(str(path), inner, lambda: _unpacked(path, PACKED[suffix]), path)
    return File(str(path), suffix, lambda: path.open("rb"), path)


def _unpacked(source: Path | io.BytesIO, codec: str) -> IO[bytes]:
    # Imported here: pyarrow takes longer to load than all else that reads a CSV file.
    import pyarrow as pa

    raw = pa.OSFile(str(source)) if isinstance(source, Path) else pa.PythonFile(source, mode="r")
    stream: IO[bytes] = io.BufferedReader(pa.CompressedInputStream(raw, codec))
    return stream


def _standard_input() -> File:
    data = sys.stdin.buffer.read()
    if not data:
        raise InputError("standard input is empty; check what is piped into it")
    suffix = suffix_of(data[:64])
    if suffix in PACKED:
        with _unpacked(io.BytesIO(data), PACKED[suffix]) as stream:
            data = stream.read()
        suffix = suffix_of(data[:64])
    return File("standard input", suffix, lambda: io.BytesIO(data))


def suffix_of(head: bytes) -> str:
    """The suffix that a file with these first bytes should have, by its content."""
    for mark, suffix in _MARKS.items():
        if head.startswith(mark):
            return suffix
    text = head.removeprefix(codecs.BOM_UTF8).replace(b"\0", b"").lstrip(b"\xff\xfe \t\r\n")
    return {b"[": ".json", b"{": ".jsonl"}.get(text[:1], ".csv")


def lines(file: File, encoding: str) -> Iterator[str]:
    """The lines of a file with their ends; UTF-8 that is none is an InputError with its line.

    A line ends in a line feed; a lone carriage return is left for the reader of the format.
    """
    number = 1
    with file.open() as stream:
        text = io.TextIOWrapper(stream, encoding=encoding, errors="strict", newline="\n")
        try:
            for number, line in enumerate(text, start=1):
                if "\0" in line:
                    raise InputError(
                        f"{file.name} holds a NUL byte in line {number}: it is damaged"
                        f"{_called(file)}"
                    )
                yield line
        except UnicodeError as error:
            raise InputError(
                f"{file.name} is not {encoding.upper()} after line {number}: {error}; "
                "save it as UTF-8"
            ) from None


def _called(file: File) -> str:
    """What a file seems to be by its first bytes, where its suffix says something else."""
    with file.open() as stream:
        found = suffix_of(stream.read(64))
    return f", or no text but a {found} file" if found in _MARKS.values() else ""


def encoding(file: File, *, western: bool = False) -> str:
    """How the text of a file is encoded: UTF-8, UTF-16 or UTF-32 by their marks, or "cp1252".

    UTF-16 without a mark is told by its zeros. `western` takes what is not UTF-8 for Windows-1252,
    if it reads like a language of Western Europe. InputError where none of it fits.
    """
    with file.open() as stream:
        head = stream.read(4096)
    for mark, suffix in _MARKS.items():
        if head.startswith(mark):
            raise InputError(
                f"{file.name} is no text but, by its first bytes, a {suffix} file; "
                f"give it the suffix {suffix}"
            )
    marked = next((name for order, name in _ORDER_MARKS if head.startswith(order)), "")
    if marked and marked != "utf-8-sig":
        return marked
    if b"\0" in head:
        for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
            zeros = head[first::2]
            if zeros.count(0) > 0.3 * len(zeros) and not head[1 - first :: 2].count(0):
                return name
        return "utf-8"  # whose reader says where the zero stands
    fault = _not_utf8(file)
    if not fault:
        return marked or "utf-8"
    if western and not marked and _is_western(file):
        return "cp1252"
    other = " and does not read like Windows-1252" if western and not marked else ""
    raise InputError(
        f"{file.name} is not UTF-8: {fault}{other}; save it as UTF-8 (if it is in another "
        "encoding, such as cp1251: iconv -f cp1251 -t utf-8)"
    )


def _not_utf8(file: File) -> str:
    """Where a file stops being UTF-8, as an error says it; "" where it is all UTF-8."""
    # By line, which the error names, and because no character crosses the end of one.
    with file.open() as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"byte 0x{line[error.start]:02x} in line {number}"
    return ""


def _is_western(file: File) -> bool:
    """Whether bytes read like Western Europe in Windows-1252.

    Words mix letters beyond ASCII with others there, and no sign such as "³" stands inside one; in
    Cyrillic, Greek or Asian encodings words are beyond ASCII as a whole.
    """
    mixed = beyond = 0
    with file.open() as stream:
        for line in stream:
            try:
                text = line.decode("cp1252")
            except UnicodeDecodeError:
                return False
            if text.isascii():
                continue
            if _SIGN_INSIDE.search(text):
                return False
            for word in _WORD.findall(text):
                if not word.isascii():
                    own = sum(c > "\x7f" for c in word)
                    beyond, mixed = beyond + own, mixed + len(word) - own
    return beyond <= 2 * mixed


_WORD = re.compile(r"[^\W\d_]+")
_SIGN_INSIDE = re.compile(r"[^\W\d_][¡-©¬-±´¶¸»-¿×÷¹²³][^\W\d_]")
"""A sign between two letters that no Western word has; not the Catalan middle dot."""
