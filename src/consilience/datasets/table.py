"""The user's own table as a data set: a column or a template is the text, gold only if named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from consilience.data.arrow_rows import Wanted, every
from consilience.data.dataset import Dataset, Gold, example_id
from consilience.data.files import PACKED, STDIN
from consilience.data.readers import Rows, columns_used, read_rows, texts
from consilience.data.relation_columns import columns_of
from consilience.data.task import Task
from consilience.datasets.hub import Hub, hub_rows
from consilience.datasets.source import Loaded
from consilience.errors import InputError

HUB_PREFIX = "hub:"
"""What stands before the id of a data set on the hub, "hub:owner/name"."""


def table_rows(name_or_path: str | Path, wanted: Wanted = every, **options: str) -> Rows:
    """The rows of a file, or of "hub:owner/name" by the options config, split and revision.

    `wanted` says which columns are read, of those that there are.
    """
    name = str(name_or_path)
    on_hub = name.startswith(HUB_PREFIX)
    known = ("config", "split", "revision") if on_hub else ()
    for option in options:
        if option not in known:
            names = ", ".join(known) or "none"
            raise InputError(f"{name} has no option {option!r}; its options are: {names}")
    if not on_hub:
        return read_rows(name_or_path, wanted=wanted)
    path = name.removeprefix(HUB_PREFIX)
    if not all(path.split("/")):
        raise InputError(f"{name!r} names no data set of the hub; write {HUB_PREFIX}OWNER/NAME")
    return hub_rows(Hub(path, **options), wanted=wanted)


def load_table(
    name_or_path: str | Path,
    *,
    text: str | None = None,
    id: str | None = None,
    group: str | None = None,
    label: str | None = None,
    relations: Mapping[str, bool] | Sequence[str] = (),
    task: Task | None = None,
    whole: bool = False,
    **options: str,
) -> Loaded:
    """The data set of a table, and its gold where `label` names the column that holds it.

    `text` is a column or a template over columns; by default the column "text". `id` is the column
    of the rows' own ids. The gold column may be neither the group nor part of the text or of a
    relation. Other columns are only read where the `whole` table is asked for, or has to be kept.
    """
    text = "text" if text is None else text
    named = [column for column in (id, group, label) if column is not None]
    for relation in [relations] if isinstance(relations, str) else relations:
        named += columns_of(relation)
    on_hub = str(name_or_path).startswith(HUB_PREFIX)
    piped = str(name_or_path) == STDIN
    # A file is read again when labels are written out; what is piped in cannot be.
    all_of_it = whole or on_hub or piped
    table = table_rows(
        name_or_path,
        every if all_of_it else lambda columns: [*columns.used(text), *named],
        **options,
    )
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
    data = Dataset.from_records(
        table,
        text=text,
        id=id,
        group=group,
        relations=relations,
        task=task,
        name=_called(str(name_or_path)),
        source="" if on_hub or piped else str(Path(name_or_path).absolute()),
    )
    gold = None
    if label is not None:
        gold = Gold.from_records(table, text=text, label=label, classes=data.task.classes)
    ids = tuple(example_id(words) for words in texts(table, text))
    return Loaded(data, gold, table, ids, frozenset(seen), label)


def _called(name: str) -> str:
    """What the data set is called: the last part of a name, without suffixes of files."""
    if name == STDIN:
        return "stdin"
    if name.startswith(HUB_PREFIX):
        return name.rpartition("/")[2]
    path = Path(name)
    return Path(path.stem).stem if path.suffix.lower() in PACKED else path.stem
