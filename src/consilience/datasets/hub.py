"""Rows of a data set on the Hugging Face hub, or at a pinned address, through `datasets`.

`datasets` comes with the extra `hub`. Its loading scripts are gone since version 4, so a data set
is read from its Parquet or data files, and by a commit or a branch that holds no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from consilience.data.arrow_rows import Wanted, every
from consilience.data.columns import Columns
from consilience.data.readers import Rows, rows
from consilience.errors import InputError, MissingExtra

BUILDERS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
"""Which of the library's builders reads a file, by its suffix."""


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a data set lies: a repository on the hub, or with `file` the address of one file.

    `revision` is a commit, or a branch where no commit is known; an address carries its commit.
    """

    path: str = ""
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return self.file or f"{self.path} ({self.config or 'default'}, {self.split})"


def hub_rows(
    hub: Hub,
    fields: Sequence[str] | None = None,
    *,
    header: Sequence[str] | None = None,
    wanted: Wanted = every,
) -> Rows:
    """The rows of one split with no more than the allowed `fields` (None: those `wanted`).

    `header` names the columns of a CSV file that has no line of names.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtra(f"reading {hub} from the Hugging Face hub", "hub") from None
    try:
        if hub.file is None:
            pinned = {} if hub.revision is None else {"revision": hub.revision}
            loaded = datasets.load_dataset(hub.path, hub.config, split=hub.split, **pinned)
        else:
            builder = BUILDERS[PurePosixPath(hub.file).suffix.lower()]
            loaded = datasets.load_dataset(
                builder, data_files=hub.file, split="train", **_as_written(builder, hub, header)
            )
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{hub} could not be loaded from the Hugging Face hub: {reason}; "
            "check the network, or put the publisher's file into a folder and name the folder "
            "with data.folder or CONSILIENCE_DATA_DIR"
        ) from None
    if fields is not None:
        for field in fields:
            Columns(tuple(loaded.column_names), str(hub)).require(field)
        loaded = loaded.select_columns(list(fields))
    return rows(loaded, wanted, str(hub))


def _as_written(builder: str, hub: Hub, header: Sequence[str] | None) -> dict[str, Any]:
    """What keeps the library from reading words such as "None" and "NA" as empty cells."""
    if builder != "csv":
        return {}
    options: dict[str, Any] = {"keep_default_na": False, "na_values": []}
    if str(hub.file).lower().endswith(".tsv"):
        options["sep"] = "\t"
    if header is not None:
        options |= {"column_names": list(header), "header": None}
    return options
