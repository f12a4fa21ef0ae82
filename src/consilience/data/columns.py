"""The names of a table's columns: what a template reads of them, and errors about one missing."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from consilience.errors import InputError

# A doubled brace is the brace itself, as in str.format; column names may hold anything else.
_BRACES = re.compile(r"(?P<double>\{\{|\}\})|\{(?P<column>[^{}]+)\}|(?P<stray>[{}])")

Pieces = list[tuple[str, str | None]]
"""A template in pieces: the words before a column, and the column (None at the end)."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns of a table, and what the table is called in errors."""

    names: tuple[str, ...]
    source: str = ""

    def require(self, column: str) -> None:
        """Nothing, or the InputError that says which columns there are, and which one is meant."""
        if column in self.names:
            return
        place = f"{self.source or 'the table'} has no column {column!r}"
        alike = [name for name in self.names if _plain(name) == _plain(column)]
        if alike and (hidden := _invisible(alike[0])):
            raise InputError(
                f"{place}, but {alike[0]!a}, which differs by what cannot be seen ({hidden}); "
                "rename that column"
            )
        known = ", ".join(self.names)
        meant = f"; {alike[0]!r} is probably meant" if alike else ""
        raise InputError(f"{place}; the columns are: {known}{meant}")

    def template(self, text: str) -> Pieces:
        """The pieces of `text`, a column or a template such as ``"{question} {claim}"``."""
        if text in self.names:
            return [("", text), ("", None)]
        if half := half_character(text):
            raise InputError(f"the template {text!a} holds half a character ({half}); retype it")
        pieces: Pieces = []
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
                self.require(match["column"])
                pieces.append((words, match["column"]))
                words = ""
        if not pieces:
            self.require(text)
        return [*pieces, (words + text[end:], None)]

    def used(self, text: str) -> frozenset[str]:
        """The columns that `text`, a column or a template, reads."""
        return frozenset(column for _, column in self.template(text) if column is not None)


def half_character(text: str) -> str:
    """The first lone surrogate of a text, which cannot be sent or stored, written out; else ""."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return ascii(text[error.start])[1:-1]
    return ""


def refuse_twins(names: Iterable[object], place: str) -> None:
    """Nothing, or the InputError that a column is named twice, so that one would be lost."""
    twins = [name for name, count in Counter(map(str, names)).items() if count > 1]
    if twins:
        raise InputError(f"{place} names the column {twins[0]!r} twice; rename one of them")


def _plain(name: str) -> str:
    """A name as it looks: without invisible characters, white space round it, and case."""
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if not _unseen(c))
    return " ".join(seen.split()).casefold()


def _unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Cc") and not character.isspace()


def _invisible(name: str) -> str:
    """The characters of a name that a reader does not see, by their names; "" where there are none.

    They are format characters, spaces that are not the usual one, and white space at either end.
    """
    odd = [c for c in name if _unseen(c) or (c.isspace() and c != " ")]
    if odd:
        return ", ".join(dict.fromkeys(unicodedata.name(c, f"U+{ord(c):04X}") for c in odd))
    return "a blank at its end or beginning" if name != name.strip() else ""
