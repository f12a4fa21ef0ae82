"""The command line, run inside the test's own process: the same code, without 10 s of imports."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import NamedTuple
from unittest import mock

from consilience.cli import main


class Done(NamedTuple):
    """What a command printed and how it ended."""

    stdout: str
    stderr: str
    code: int


def consilience(*words: object, code: int = 0) -> Done:
    """The command, run to its end; anything but the expected exit code is an error."""
    out, err = io.StringIO(), io.StringIO()
    ended: int | str | None = 0
    with (
        mock.patch.object(sys, "argv", ["consilience", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            ended = stop.code
    done = Done(out.getvalue(), err.getvalue(), int(ended or 0))
    assert done.code == code, f"exit code {done.code}: {done.stderr}"
    return done
