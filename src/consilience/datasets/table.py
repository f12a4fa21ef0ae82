"""The user's own file as a data set: a column or a template is the text, gold only if named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from consilience.errors import InputError
from consilience.examples import Dataset, Gold, Task
from consilience.records import columns_used, read_rows


def load_table(
    path: str | Path,
    *,
    text: str | None = None,
    group: str | None = None,
    label: str | None = None,
    relations: Mapping[str, bool] | Sequence[str] = (),
    task: Task | None = None,
) -> tuple[Dataset, Gold | None]:
    """The data set of a file, and its gold where `label` names the column that holds it.

    `text` is a column or a template over columns; by default the column "text". The gold column
    may be neither the group nor part of the text.
    """
    table = read_rows(path)
    text = "text" if text is None else text
    if label is not None and (label == group or label in columns_used(table, text)):
        where = "group" if label == group else "text"
        raise InputError(
            f"column {label!r} is both the gold label and in the {where}, so that the method "
            f"would see the answers; take it out of the {where} or leave the label out"
        )
    name = Path(path).stem
    data = Dataset.from_records(
        table, text=text, group=group, relations=relations, task=task, name=name
    )
    if label is None:
        return data, None
    return data, Gold.from_records(table, text=text, label=label, classes=data.task.classes)
