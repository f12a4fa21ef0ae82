"""Where the file of a store lies: made for its owner alone, read where nobody may write."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from consilience.errors import StoreError, check_kind

BESIDE = ("", "-wal", "-shm", "-journal")
"""What the files of a store end in."""


def file_of(path: str | Path) -> str | Path:
    """The file of a store that a user names, or ":memory:"."""
    check_kind(path, (str, Path), "a store is the path of a file, or ':memory:'")
    return path if path == ":memory:" else Path(path).expanduser()


def refuse_links(path: Path) -> None:
    """StoreError for a folder, and where the file, or one that SQLite keeps beside it, is a link.

    What is written would go where the link says, which may be somebody else's file.
    """
    if path.is_dir():
        raise StoreError(f"cannot open the store {path}: it is a folder; name a file in it")
    for end in BESIDE:
        if (file := path.with_name(path.name + end)).is_symlink():
            raise StoreError(
                f"cannot open the store {path}: {file} is a symbolic link; name the file itself"
            )


def create(path: Path) -> None:
    """The folder and an empty file, which nobody else may read: it will hold texts and answers."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        here = os.O_CREAT | os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
        os.close(os.open(path, here, 0o600))
    except OSError as error:
        raise StoreError(f"cannot open the store {path}: {error.strerror or error}") from error


def lies_alone(path: Path) -> bool:
    """Whether SQLite keeps nothing beside a file, so that nobody has it open."""
    return not any(path.with_name(path.name + end).exists() for end in BESIDE[1:])


def tidy(path: Path) -> None:
    """Takes away what a reader has left beside a store, as the last writer to close it would.

    Where somebody has it open by now, or it may not be written, nothing happens.
    """
    with suppress(sqlite3.Error):
        db = sqlite3.connect(path.absolute().as_uri() + "?mode=rw", 0, uri=True)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            db.close()


def lies_still(path: Path, error: StoreError) -> bool:
    """Whether a store that cannot be opened lies in a folder where nothing changes.

    StoreError where its newest answers are beside it and could only be read with it.
    """
    if not isinstance(error.__cause__, sqlite3.OperationalError) or not path.is_file():
        return False
    beside = path.with_name(path.name + "-wal")
    if beside.exists() and beside.stat().st_size:
        raise StoreError(
            f"{path} cannot be read where it is: its newest answers are in {beside.name}, and the "
            "folder may not be written; copy both files to another folder"
        ) from error
    return True
