"""What a model wrote, as a store keeps it: its identity, its row, and what is read from one.

A text's identity is the hash of what decides it: the model's name, the prompt, and the settings
of the writing, its greatest length among them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consilience.errors import AnswerError
from consilience.models.base import Completion, Writer, plain_usage
from consilience.prompts.framing import Prompt
from consilience.store.identities import dump, plain, text_identity
from consilience.store.schema import now, storable
from consilience.store.verification import seconds_fault


@dataclass(frozen=True, slots=True)
class Note:
    """One request for a text: the prompt, and how many tokens it may have."""

    prompt: Prompt
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Text:
    """What a model wrote, without the prompt and the raw response; `seconds` as for an answer."""

    key: str
    text: str
    usage: Mapping[str, Any]
    seconds: float


def text_key(writer: Writer, note: Note) -> str:
    """The identity of a text, ``sha256:…``, before it is written."""
    return text_identity(_columns(writer, note))


def text_row(writer: Writer, note: Note, written: Completion, seconds: float) -> dict[str, Any]:
    """The row of a text; AnswerError if it cannot be one."""
    if fault := seconds_fault(seconds):
        raise AnswerError(
            f"the text of {writer.name} cannot be kept: {fault}", body=dump(written.raw)
        )
    return _head(writer, note) | {
        "seconds": seconds,
        "text": storable(written.text),
        "usage": plain_usage(written.usage),
        "raw": written.raw,
    }


def failure_row(writer: Writer, note: Note, error: str, body: str | None) -> dict[str, Any]:
    """The row of a call that gave no text."""
    came = None if body is None else storable(body)
    return _head(writer, note) | {"error": storable(error), "body": came}


def text_of(row: sqlite3.Row) -> Text:
    """The text that a row holds."""
    return Text(row["key"], row["text"], json.loads(row["usage"]), row["seconds"])


def _columns(writer: Writer, note: Note) -> dict[str, Any]:
    settings = plain(writer.writing) | {"max_tokens": note.max_tokens}
    return {"model": writer.name, "settings": settings, "prompt": note.prompt}


def _head(writer: Writer, note: Note) -> dict[str, Any]:
    columns = _columns(writer, note)
    return {"key": text_identity(columns), "created": now()} | columns
