"""Cells that a spreadsheet would run as a formula, made harmless, and back.

A spreadsheet runs a cell of a CSV file that begins with ``=``, ``+``, ``-``, ``@``, a tab or a
carriage return, and texts may come from strangers. An apostrophe before it makes it a text. A
number such as ``-3`` runs nothing and stays.
"""

from __future__ import annotations

import re

_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?%?")


def runs(text: str) -> bool:
    """Whether a spreadsheet may run a cell with this text."""
    return text.startswith(_STARTS) and not _NUMBER.fullmatch(text)


def guarded(text: str) -> str:
    """A text as a cell that runs nothing."""
    return f"'{text}" if runs(text) else text


def unguarded(text: str) -> str:
    """The text of which `guarded` made a cell, where that is what it did."""
    return text[1:] if text.startswith("'") and runs(text[1:]) else text
