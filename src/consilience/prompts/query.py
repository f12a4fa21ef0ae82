"""The query: one question that is put to the model about one target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """A target, the shots shown before it in order, the framing, and the repeat number.

    `shots` are (example id, class shown). `contrast` is the position of the shot whose label was
    flipped, where the query is the contrast of a twin that is otherwise the same; else None.
    """

    target: str
    shots: tuple[tuple[str, int], ...] = ()
    framing: str = "plain"
    repeat: int = 0
    contrast: int | None = None
