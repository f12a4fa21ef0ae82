"""Rows of a data set on the Hugging Face hub, through the `datasets` library (the extra `hub`)."""

from __future__ import annotations

from collections.abc import Sequence

from consilience.errors import InputError, MissingExtra
from consilience.records import Rows


def hub_rows(path: str, config: str, split: str, fields: Sequence[str]) -> Rows:
    """The rows of one split with no more than the allowed `fields`: others may carry a label."""
    try:
        import datasets
    except ImportError:
        raise MissingExtra(f"reading {path} from the Hugging Face hub", "hub") from None
    source = f"{path} ({config}, {split})"
    try:
        loaded = datasets.load_dataset(path, config, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{source} could not be loaded from the Hugging Face hub: {reason}; "
            "check the network, or put the publisher's file into a folder and name the folder "
            "with --data-dir or CONSILIENCE_DATA_DIR"
        ) from None
    columns = loaded.column_names
    for field in fields:
        if field not in columns:
            raise InputError(
                f"{source} has no column {field!r}; the columns are: {', '.join(columns)}"
            )
    return Rows(loaded.select_columns(list(fields)), source)
