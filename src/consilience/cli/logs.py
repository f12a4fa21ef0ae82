"""Log lines for an operator: what was sent again and why, what was given up, each round."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from consilience.cli.harmless import harmless
from consilience.cli.output import talk
from consilience.errors import InputError

if TYPE_CHECKING:
    from logging import LogRecord

LEVELS = ("debug", "info", "warning", "error")
"""What `--log-level` can be, the most first."""

LONGEST = 1000
"""Characters that are shown of what another library says."""

_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Talk(logging.Handler):
    """Log lines on stderr, above a progress bar where there is one."""

    def emit(self, record: LogRecord) -> None:
        talk(self.format(record))


class _File(logging.FileHandler):
    """Log lines in a file; where no more of them can be written, one line on stderr says so."""

    def handleError(self, record: LogRecord) -> None:
        if self.level <= logging.CRITICAL:
            self.setLevel(logging.CRITICAL + 1)
            reason = sys.exc_info()[1]
            talk(f"the log {self.baseFilename} ends here, it cannot be written: {reason}")

    def close(self) -> None:
        """Closes the file, whose last lines are lost where they could not be written."""
        with suppress(OSError):  # which was said
            super().close()


class _Lines(logging.Formatter):
    """One line a record, harmless on a terminal."""

    def format(self, record: LogRecord) -> str:
        return harmless(super().format(record)).replace("\n", " ")


class _Others(logging.Handler):
    """What other libraries log, one harmless line each on stderr."""

    def emit(self, record: LogRecord) -> None:
        if record.name.partition(".")[0] != "consilience":
            talk(f"{record.name}: {_on_a_line(record.getMessage())}")


def _on_a_line(text: str) -> str:
    return " ".join(text.split())[:LONGEST]


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    talk(f"{category.__name__}: {_on_a_line(str(message))}")


@contextmanager
def others_in_lines() -> Iterator[None]:
    """Within the block, what other libraries log and warn of is one harmless line each on stderr.

    Their words may quote texts and files of strangers, and Python would print them as they are.
    """
    root, handler = logging.getLogger(), _Others(logging.WARNING)
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warned
            yield
    finally:
        root.removeHandler(handler)


def set_up(level: str | None, file: str | None) -> logging.Handler | None:
    """Sends the log of the package to a file, else to stderr; None where neither was asked for.

    InputError where the file cannot be written.
    """
    if level is None and file is None:
        return None
    try:
        handler = _Talk() if file is None else _File(file, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write the log {file}: {error.strerror or error}") from error
    handler.setFormatter(_Lines(_LINE))
    log = logging.getLogger("consilience")
    log.setLevel((level or "info").upper())
    log.addHandler(handler)
    return handler


def put_away(handler: logging.Handler) -> None:
    """Ends what `set_up` began."""
    logging.getLogger("consilience").removeHandler(handler)
    handler.close()


def check_log_apart(files: Iterable[str | None]) -> None:
    """InputError where the log of this command is one of the files that it reads or writes."""
    log = log_file()
    for file in files:
        if log and file and Path(file).resolve() == Path(log).resolve():
            raise InputError(f"the log {log} is a file of this command; name another --log-file")


def log_file() -> str | None:
    """The file that this command logs to, if any."""
    named: str | None = click.get_current_context().find_root().params.get("log_file")
    return named
