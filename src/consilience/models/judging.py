"""What came back from a server, judged: what is read from an answer, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from consilience.errors import AnswerError, ModelError
from consilience.models import wire
from consilience.models.body import Unreadable, parse
from consilience.models.refusals import CURES

_Read = TypeVar("_Read")


class Failed(Exception):
    """One failed attempt, on its way to the decision whether to make another.

    `usage` is what it was charged all the same, where its answer says so.
    """

    def __init__(self, failure: wire.Failure, usage: Mapping[str, Any] | None = None) -> None:
        super().__init__(str(failure.error))
        self.failure = failure
        self.usage = usage


def judged(
    what: str,
    status: int,
    headers: Mapping[str, str],
    text: str,
    read: Callable[[Any], _Read],
    hide: Callable[[str], str],
) -> tuple[Any, _Read]:
    """The JSON of an answer and what `read` makes of it; Failed where it cannot be used.

    Both as they came; what a failure shows goes through `hide`.
    """
    if not 200 <= status < 300:
        raise Failed(wire.refused(what, status, headers, hide(text)))
    try:
        answer = parse(text)
    except Unreadable as error:
        raise Failed(unusable(what, str(error), hide(text))) from error
    inner = wire.inner_status(answer)
    if inner is not None:
        raise Failed(wire.refused(what, inner, headers, hide(text)), wire.usage_of(answer))
    try:
        return answer, read(answer)
    except AnswerError as error:
        made = unusable(what, hide(str(error)), hide(text), error)
        raise Failed(made, wire.usage_of(answer)) from error
    except ModelError as error:
        error.args = (hide(str(error)),)
        error.body = hide(error.body or text)
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        said = f"it has an unknown shape ({type(error).__name__})"
        raise Failed(unusable(what, said, hide(text)), wire.usage_of(answer)) from error


def taken(
    what: str, status: int, text: str, read: Callable[[Any], _Read], hide: Callable[[str], str]
) -> tuple[Any, _Read]:
    """An answer that came by another way than a connection, judged as one that came by it.

    The JSON and what `read` makes of it; ModelError where it cannot be used.
    """
    try:
        return judged(what, status, {}, text, read, hide)
    except Failed as failed:
        raise failed.failure.error from failed.__cause__


def unusable(what: str, why: str, text: str, cause: AnswerError | None = None) -> wire.Failure:
    """The failure of an answer that came but cannot be used, with its text."""
    reason = cause.reason if cause is not None else None
    cure = "look at the server's log, or run again later"
    if "web page" in why:
        cure = "the base URL should end where the API begins (usually in /v1)"
    if reason is not None:
        cure = CURES[reason]
    message = f"{what}: an answer that cannot be used: {why}: {wire.excerpt(text)}; {cure}"
    return wire.Failure(AnswerError(message, body=text, reason=reason), reason is None)
