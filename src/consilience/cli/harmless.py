"""Texts of strangers as a terminal may show them: no escape acts, and nothing hides.

A text can hold escape sequences that move the cursor or set the title, marks that turn the
direction of what follows, and characters that cannot be seen. They are shown as escapes.
"""

from __future__ import annotations

import re

ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters but tab and line feed, marks of direction, what has no width, half pairs."""

JOINERS = "\u200c\u200d"
"""Letters of Persian and of Hindi, and emoji of families, are written with these."""


def harmless(text: str) -> str:
    """The text with what acts or hides written as escapes."""
    return ACTING.sub(_escape, text)


def harmless_json(text: str) -> str:
    """JSON text with the same characters as JSON's own escapes, so that nothing of it is lost."""
    return ACTING.sub(_json_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if character in JOINERS:
        return character
    code = ord(character)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def _json_escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
