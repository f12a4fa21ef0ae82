"""A public data set in a few declarations: where its rows are, which fields count, what relates.

`read` brings the publisher's rows into one shape, a row for each example: the allowed fields, the
gold label, and hidden fields that only an audit may look at. `relate` and the texts are made from
a table in which nothing but the allowed fields is left, so that no label can shape them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from consilience.data.dataset import Dataset, Gold, example_id
from consilience.data.readers import Rows, read_rows, texts
from consilience.data.relations import Relation
from consilience.data.task import Task
from consilience.datasets.hub import Hub, hub_rows
from consilience.errors import InputError

LABEL = "label"
"""The column of a source's rows that holds gold."""


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads a publisher's table: from `folder`, or from the hub where there is none.

    `seed` is that of data sets that are made up and not read.
    """

    folder: Path | None
    seed: int = 0

    def rows(
        self,
        files: Sequence[str],
        hub: Hub,
        fields: Sequence[str] | None = None,
        *,
        header: Sequence[str] | None = None,
    ) -> Rows:
        """The rows of the first of `files` that the folder holds, or those of the hub.

        Only `fields` are kept, and each must be there. `header` names the columns of a CSV file
        that has no line of names.
        """
        if self.folder is None:
            return hub_rows(hub, fields, header=header)
        found = read_rows(self.file(files), header=header)
        if fields is None:
            return found
        for column in fields:
            found.require(column)
        return found.only(fields)

    def file(self, files: Sequence[str]) -> Path:
        """The first of `files` that the folder holds; InputError names them where it has none."""
        assert self.folder is not None
        for name in files:
            if (path := self.folder / name).is_file():
                return path
        raise InputError(
            f"{self.folder} holds neither {' nor '.join(files)}; put the publisher's file there, "
            "or leave the data directory out to read the Hugging Face hub"
        )


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that a data set leaves to its user: a name, a default and what it decides.

    `choices` are the values there are; where it is empty, `read` checks the value.
    """

    name: str
    default: str
    about: str
    choices: tuple[str, ...] = ()


Chosen = Mapping[str, str]
"""The value of each option of a source."""


@dataclass(frozen=True, slots=True)
class Source:
    """A public data set: what it is, whose it is, and how it is made from the publisher's rows.

    `read(reader, chosen)` gives a row for each example, with the columns of `fields` (the
    allow-list: the text's template, the group and the relations are made from these alone),
    "label" (gold; empty where there is none) and `hidden` (looked at by the audit only).
    `relate(rows, ids)` gets the allowed columns and the id of each row. `examples` and `edition`,
    the first 16 digits of the SHA-256 of all ids, are those of the default options; `edition`
    pins the content whichever the source. `traps` is the sentence printed beside results.
    """

    name: str
    about: str
    licence: str
    origin: str
    cite: str
    page: str
    task: Callable[[Chosen], Task]
    text: str
    fields: tuple[str, ...]
    read: Callable[[Reader, Chosen], Rows]
    group: str | None = None
    relate: Callable[[Rows, Sequence[str]], Sequence[Relation]] | None = None
    relations: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    examples: int | None = None
    edition: str | None = None
    traps: str = ""

    def chosen(self, given: Mapping[str, str]) -> dict[str, str]:
        """Every option's value; InputError for an option or a value that there is not."""
        known = {option.name: option for option in self.options}
        for name, value in given.items():
            if name not in known:
                names = ", ".join(known) or "none"
                raise InputError(
                    f"the data set {self.name!r} has no option {name!r}; its options are: {names}"
                )
            if known[name].choices and value not in known[name].choices:
                raise InputError(
                    f"the data set {self.name!r} takes {name}={'|'.join(known[name].choices)}, "
                    f"got {value!r}"
                )
        return {name: given.get(name, option.default) for name, option in known.items()}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data set, its gold, and the rows they came from, which only an audit may look at.

    `ids` are those of the rows, in the order of the file; `used` the columns that the method may
    see; `label` the column that holds gold. `others` reads the data sets of the other splits.
    """

    data: Dataset
    gold: Gold | None
    rows: Rows
    ids: tuple[str, ...]
    used: frozenset[str]
    label: str | None
    others: Mapping[str, Callable[[], Dataset]] = field(default_factory=dict)


def load(source: Source, reader: Reader, given: Mapping[str, str]) -> Loaded:
    """The data set that a source describes, from the publisher's files or the hub."""
    chosen = source.chosen(given)
    rows = source.read(reader, chosen)
    data = build(source, rows.only(source.fields), chosen)
    ids = tuple(example_id(text) for text in texts(rows, source.text))
    gold = None
    if any(row.get(LABEL) is not None for row in rows):
        gold = Gold.from_records(rows, text=source.text, label=LABEL, classes=data.task.classes)
    others = {
        split: partial(_other, source, reader, {**given, "split": split})
        for option in source.options
        if option.name == "split"
        for split in option.choices
        if split != chosen["split"]
    }
    return Loaded(data, gold, rows, ids, frozenset(source.fields), LABEL if gold else None, others)


def _other(source: Source, reader: Reader, given: Mapping[str, str]) -> Dataset:
    return load(source, reader, given).data


def build(source: Source, rows: Rows, chosen: Chosen) -> Dataset:
    """The examples and the relations of rows that hold nothing but the allowed fields."""
    plain = Dataset.from_records(
        rows, text=source.text, group=source.group, task=source.task(chosen), name=source.name
    )
    ids = [example_id(text) for text in texts(rows, source.text)]
    relations = () if source.relate is None else source.relate(rows, ids)
    notes = [words for words in (source.traps, plain.note) if words]
    default = all(chosen[option.name] == option.default for option in source.options)
    if source.edition and default and edition(plain) != source.edition:
        notes.append("The content differs from the edition that was checked.")
    return Dataset(source.name, plain.examples, relations, task=plain.task, note=" ".join(notes))


def edition(data: Dataset) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all ids."""
    return hashlib.sha256("".join(data.ids).encode()).hexdigest()[:16]
