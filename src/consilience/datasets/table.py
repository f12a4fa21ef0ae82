"""The user's own table as a data set: a column or a template is the text, gold only if named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which columns of a table say what; see `load_dataset`."""

    text: str | None = None
    id: str | None = None
    group: str | None = None
    label: str | None = None
    relations: Mapping[str, bool] | Sequence[str] = ()
    task: Task | None = None

    @property
    def named_relations(self) -> list[str]:
        """The declarations of relations."""
        return [self.relations] if isinstance(self.relations, str) else list(self.relations)

    @property
    def named(self) -> list[str]:
        """The columns that are read beside those of the text."""
        columns = [column for column in (self.id, self.group, self.label) if column is not None]
        return columns + [c for relation in self.named_relations for c in columns_of(relation)]

    def given(self) -> dict[str, object]:
        """What was said, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def load_table(
    name_or_path: str | Path, said: TableColumns, options: Mapping[str, str], *, whole: bool = False
) -> Loaded:
    """The data set of a table, and its gold where a column is named that holds it.

    The text is by default the column "text". The gold column may be neither the group nor part of
    the text or of a relation. Other columns are only read where the `whole` table is asked for, or
    has to be kept.
    """
    text = "text" if said.text is None else said.text
    on_hub = str(name_or_path).startswith(HUB_PREFIX)
    piped = str(name_or_path) == STDIN
    # A file is read again when labels are written out; what is piped in cannot be.
    all_of_it = whole or on_hub or piped
    table = table_rows(
        name_or_path,
        every if all_of_it else lambda columns: [*columns.used(text), *said.named],
        **options,
    )
    seen = _seen(table, text, said)
    data = Dataset.from_records(
        table,
        text=text,
        id=said.id,
        group=said.group,
        relations=said.relations,
        task=said.task,
        name=_called(str(name_or_path)),
        source="" if on_hub or piped else str(Path(name_or_path).absolute()),
    )
    gold = None
    if said.label is not None:
        gold = Gold.from_records(table, text=text, label=said.label, classes=data.task.classes)
    ids = tuple(example_id(words) for words in texts(table, text))
    return Loaded(data, gold, table, ids, seen, said.label)


def _seen(table: Rows, text: str, said: TableColumns) -> frozenset[str]:
    """The columns that the method sees; InputError where that of the gold labels is among them."""
    seen = {column: "text" for column in columns_used(table, text)}
    for relation in said.named_relations:
        seen |= dict.fromkeys(columns_of(relation), f"relation {relation!r}")
    if said.group is not None:
        seen[said.group] = "group"
    if said.label in seen:
        where = seen[said.label]
        raise InputError(
            f"column {said.label!r} is both the gold label and in the {where}, so that the method "
            f"would see the answers; take it out of the {where} or leave the label out"
        )
    return frozenset(seen)


def _called(name: str) -> str:
    """What the data set is called: the last part of a name, without suffixes of files."""
    if name == STDIN:
        return "stdin"
    if name.startswith(HUB_PREFIX):
        return name.rpartition("/")[2]
    path = Path(name)
    return Path(path.stem).stem if path.suffix.lower() in PACKED else path.stem
