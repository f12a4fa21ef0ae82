"""Every error that Consilience raises on purpose.

ConsilienceError
├── InputError          a file, an option or a name that cannot be used; nothing was spent
│   └── MissingExtra    an optional dependency is not installed
├── ModelError          the model could not be asked, or its answer could not be used
│   ├── ServerError     no usable HTTP answer after the allowed retries
│   ├── AnswerError     an HTTP 200 whose content is not an answer (malformed, empty, NaN)
│   └── NoLogprobs      an answer without log-probabilities: the server cannot be used this way
├── BudgetSpent         what may be spent on a server is spent
├── Interrupted         a signal asked for an end: nothing new is asked
├── StoreError          the file of predictions cannot be opened, or disagrees with itself
└── SolveError          the objective was not finite, or there is no prediction to solve from

Each message is one line: what was attempted, what came back, what to do. The command line prints
it without a traceback and exits with 2 for an InputError and 1 for the others.
"""

from __future__ import annotations

import re
from typing import Literal

_SHOWN = ("str", "int", "float", "bool")
"""What is shown of a value that is of another kind than is wanted; of others their kind is told."""

_BREAK = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")

Reason = Literal["filtered", "too long", "refused"]
"""Why a server refuses one row while it answers others."""


class ConsilienceError(Exception):
    """The base of every error that this package raises on purpose.

    What it quotes, a column's name or what a server said, may hold line breaks: they are written
    out, so that the message stays one line.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_BREAK.sub(lambda found: repr(found[0])[1:-1], message))


class InputError(ConsilienceError):
    """A file, an option or a name that cannot be used; raised before anything is spent."""


def check_kind(value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Nothing, or the InputError that a value is of another kind than is `wanted`.

    `wanted` is a sentence without its end: "a seed is a whole number".
    """
    if not isinstance(value, kinds):
        kind = type(value).__name__
        shown = "None" if value is None else repr(value)[:40] if kind in _SHOWN else f"a {kind}"
        raise InputError(f"{wanted}; got {shown}")


class MissingExtra(InputError):
    """An optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra `{extra}`: "
            f"pip install 'consilience[{extra}]' (or: uv add 'consilience[{extra}]')"
        )


class ModelError(ConsilienceError):
    """The model could not be asked, or its answer could not be used.

    `body` is what came back, kept because it may have been paid for; `fatal` says that asking the
    next query would end the same way, and `doubtful` that this is only so while nothing was
    answered; `reason` is set where the model refuses this row alone.
    """

    doubtful = False

    def __init__(
        self,
        message: str,
        *,
        body: str | None = None,
        fatal: bool = False,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message)
        self.body = body
        self.fatal = fatal
        self.reason = reason


class ServerError(ModelError):
    """No usable HTTP answer after the allowed retries."""


class AnswerError(ModelError):
    """An HTTP 200 whose content is not an answer: malformed JSON, an empty list, NaN."""


class NoLogprobs(ModelError):
    """An answer without log-probabilities; fatal while none had them, as all others would not."""

    doubtful = True

    def __init__(self, message: str, *, body: str | None = None) -> None:
        super().__init__(message, body=body, fatal=True)


class BudgetSpent(ConsilienceError):
    """What may be spent on a server (`Budget`) is spent; what was answered is kept."""


class Interrupted(ConsilienceError):
    """Nothing new is asked, because a signal said so."""


class StoreError(ConsilienceError):
    """The file of predictions cannot be opened, or disagrees with itself."""


class SolveError(ConsilienceError):
    """The objective was not finite, or there is no prediction to solve from."""
