"""The folder of the publishers' files, which commands read and never write to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.cli.config import Config


def check_outside(path: str | None, config: Config) -> None:
    """InputError if `path`, which is to be written, is in the folder of the publishers' files.

    Whoever reads the folder next would take it for the publisher's, or find theirs replaced.
    """
    if not path:
        return
    from consilience.datasets import DATA_DIR

    table = Path(config.data.file or "").is_file()  # for which no folder is read
    folder = config.data.folder or (None if table else os.environ.get(DATA_DIR))
    if folder and Path(path).resolve().is_relative_to(Path(folder).resolve()):
        raise InputError(
            f"{path} is in {folder}, the folder of the publishers' files; name a file elsewhere"
        )
