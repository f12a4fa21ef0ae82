"""The slots of a server that keeps one prompt in each: how many it has, and which one is meant.

A slot serves what a prompt has in common with the last that it computed. llama-server tells how
many it has, and takes the number of one with a request; llama-cpp-python has one.
"""

from __future__ import annotations

from contextvars import ContextVar

from consilience.errors import AnswerError, ServerError
from consilience.models.capabilities import TokenizerKind
from consilience.models.server import Connection

SLOT: ContextVar[int | None] = ContextVar("slot", default=None)
"""The slot that the requests of a task go to; None where the server may choose."""


async def slots_of(server: Connection, kind: TokenizerKind | None) -> int | None:
    """How many slots a server of a kind has; None where its cache is in no slots, or unknown."""
    if kind == "llama-cpp-python":
        return 1
    if kind != "llama-server":
        return None
    try:
        _, found = await server.call("GET", "/props", None, _read_slots, root=True)
    except (ServerError, AnswerError):  # an old one, or one that may not be asked
        return None
    return found


def _read_slots(answer: object) -> int:
    found = answer.get("total_slots") if isinstance(answer, dict) else None
    if type(found) is not int or found < 1:
        raise AnswerError("no number of slots")
    return found
