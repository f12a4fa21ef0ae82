"""The user's own table as a data set: a column or a template is the text, gold only if named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from consilience.data.dataset import Dataset, Gold, Task, example_id
from consilience.data.readers import Rows, columns_used, read_rows, texts
from consilience.data.relation_columns import columns_of
from consilience.datasets.hub import Hub, hub_rows
from consilience.datasets.source import Loaded
from consilience.errors import InputError

HUB_PREFIX = "hub:"
"""What stands before the id of a data set on the hub, "hub:owner/name"."""


def table_rows(name_or_path: str | Path, **options: str) -> Rows:
    """The rows of a file, or of "hub:owner/name" by the options config, split and revision."""
    name = str(name_or_path)
    on_hub = name.startswith(HUB_PREFIX)
    known = ("config", "split", "revision") if on_hub else ()
    for option in options:
        if option not in known:
            names = ", ".join(known) or "none"
            raise InputError(f"{name} has no option {option!r}; its options are: {names}")
    if not on_hub:
        return read_rows(name_or_path)
    path = name.removeprefix(HUB_PREFIX)
    if not all(path.split("/")):
        raise InputError(f"{name!r} names no data set of the hub; write {HUB_PREFIX}OWNER/NAME")
    return hub_rows(Hub(path, **options))


def load_table(
    name_or_path: str | Path,
    *,
    text: str | None = None,
    group: str | None = None,
    label: str | None = None,
    relations: Mapping[str, bool] | Sequence[str] = (),
    task: Task | None = None,
    **options: str,
) -> Loaded:
    """The data set of a table, and its gold where `label` names the column that holds it.

    `text` is a column or a template over columns; by default the column "text". The gold column
    may be neither the group nor part of the text or of a relation.
    """
    table = table_rows(name_or_path, **options)
    text = "text" if text is None else text
    seen = {column: "text" for column in columns_used(table, text)}
    for relation in [relations] if isinstance(relations, str) else relations:
        seen |= dict.fromkeys(columns_of(relation), f"relation {relation!r}")
    if group is not None:
        seen[group] = "group"
    if label in seen:
        raise InputError(
            f"column {label!r} is both the gold label and in the {seen[label]}, so that the method "
            f"would see the answers; take it out of the {seen[label]} or leave the label out"
        )
    on_hub = str(name_or_path).startswith(HUB_PREFIX)
    name = str(name_or_path).rpartition("/")[2] if on_hub else Path(name_or_path).stem
    data = Dataset.from_records(
        table, text=text, group=group, relations=relations, task=task, name=name
    )
    gold = None
    if label is not None:
        gold = Gold.from_records(table, text=text, label=label, classes=data.task.classes)
    ids = tuple(example_id(words) for words in texts(table, text))
    return Loaded(data, gold, table, ids, frozenset(seen), label)
