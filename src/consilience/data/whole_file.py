"""A file that is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name only when it is complete; until then it is ``NAME.part``.

    Nobody else may read it, unless they may read the older file that it replaces. OSError if it
    cannot be written; an exception in the block leaves an older file as it was.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        # Somebody else may have left a link of that name, in a folder that all may write.
        how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        made = os.open(part, how | getattr(os, "O_BINARY", 0), 0o600)
        with open(made, "wb") as file:
            yield file
        if path.is_file():
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
