"""Examples, the data set that holds them, and gold, which it cannot hold.

An id is a hash of the text, and a data set keeps its examples in the order of their ids, so that
neither the order of a file nor the numbering of its rows can carry a label. `Gold` is a separate
object that nothing between `plan` and `solve` accepts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from numbers import Integral
from typing import Any

from consilience.data.class_labels import label_reader
from consilience.data.origin import Origin, row_ids
from consilience.data.readers import Rows, rows, texts
from consilience.data.relation_checks import checked, refuse_contradiction
from consilience.data.relation_columns import ORDER, columns_of, declared
from consilience.data.relations import AtMostOne, Equal, Relation, relation_from_json
from consilience.data.task import Task
from consilience.errors import InputError, check_kind


def example_id(text: str) -> str:
    """The id of an example: the first 16 hexadecimal digits of its text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Example:
    """A text to be labelled; `group` names the examples that it belongs with."""

    text: str
    group: str | None = None
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", example_id(self.text))


class Dataset:
    """Examples in the order of their ids, the relations among them, and the task; never a label.

    `note` is printed wherever the data set's results are (what it is, what its labels mean).
    `origin` are the rows that the examples come from, if any; nothing that asks or solves looks.
    """

    def __init__(
        self,
        name: str,
        examples: Iterable[Example],
        relations: Iterable[Relation] = (),
        *,
        task: Task | None = None,
        note: str = "",
        origin: Origin | None = None,
    ) -> None:
        self.name = name
        self.origin = origin
        self.task = task or Task()
        self.note = note
        by_id: dict[str, Example] = {}
        for example in examples:
            check_kind(example, Example, "a data set is made of Example(TEXT), or by from_records")
            other = by_id.setdefault(example.id, example)
            if other.group != example.group:
                raise InputError(
                    f"the text {example.text[:60]!r} stands in two groups, {other.group!r} and "
                    f"{example.group!r}; put the group into the text with a template"
                )
            if other.text != example.text:
                raise InputError(f"two texts share the id {example.id}; change one of them")
        if not by_id:
            raise InputError(f"data set {name!r} has no examples")
        self.examples = tuple(by_id[id] for id in sorted(by_id))
        self.relations = checked(relations, {id: by_id[id].text for id in by_id}, self.task.k)

    def __len__(self) -> int:
        return len(self.examples)

    def __repr__(self) -> str:
        groups = len(set(self.groups))
        return (
            f"Dataset({self.name!r}, {len(self)} examples, {groups} groups, "
            f"{len(self.relations)} relations, K={self.task.k})"
        )

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids, sorted."""
        return tuple(example.id for example in self.examples)

    @cached_property
    def index(self) -> dict[str, int]:
        """The position of each id."""
        return {id: i for i, id in enumerate(self.ids)}

    @cached_property
    def repeats(self) -> tuple[int, ...]:
        """How many rows of the table have the text of each example; 1 without a table."""
        rows = Counter(self.origin.examples if self.origin else self.ids)
        return tuple(rows[id] for id in self.ids)

    def find(self, id: str) -> str | None:
        """The id of the example with this id, or of the row with this id; None if there is none."""
        found = self.origin.find(id) if self.origin else None
        return found or (id if id in self.index else None)

    def own_id(self, id: str) -> str:
        """The user's id of an example: that of its first row; without a table, the example's id."""
        return self.origin.names[id] if self.origin else id

    def require_task(self, cure: str = "give the Dataset a Task") -> None:
        """Raises InputError if the examples are rows of a table and no task was stated."""
        if self.origin is not None and not self.origin.stated:
            raise InputError(
                f"nobody said what is asked about {self.name!r}: {cure} with a question and classes"
            )

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The texts, in the order of the ids."""
        return tuple(example.text for example in self.examples)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The group of each example; an example without one is a group of its own."""
        return tuple(e.group if e.group is not None else e.id for e in self.examples)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that can influence a label: texts, groups, relations, task."""
        # Part by part, so that a large table is not in memory once more as one line of JSON.
        told = hashlib.sha256(b'{"examples": [')
        for at in range(0, len(self), 4096):
            part = [[e.text, e.group] for e in self.examples[at : at + 4096]]
            told.update(f"{', ' if at else ''}{json.dumps(part)[1:-1]}".encode())
        others = {
            "relations": [r.to_json() for r in self.relations],
            "task": self.task.to_json(),
        }
        told.update(f"], {json.dumps(others, sort_keys=True)[1:]}".encode())
        return told.hexdigest()[:16]

    def sample(self, groups: int, seed: int = 0) -> Dataset:
        """A data set of `groups` groups, chosen by a hash of the group and the seed.

        Relations that reach out of the sample are cut to what they still say; the note counts
        those that then say nothing.
        """
        check_kind(groups, Integral, "how many groups are sampled is a whole number")
        names = sorted(
            set(self.groups), key=lambda g: hashlib.sha256(f"{seed}\x1f{g}".encode()).digest()
        )
        if groups < 1:
            raise InputError(f"a sample needs at least one group, got {groups}")
        kept = set(names[:groups])
        examples = [e for e, g in zip(self.examples, self.groups, strict=True) if g in kept]
        ids = {e.id for e in examples}
        touching = [r for r in self.relations if not ids.isdisjoint(r.members)]
        within = [r for r in (_within(r, ids) for r in touching) if r is not None]
        note = self.note
        if cut := len(touching) - len(within):
            what = "relation reaches" if cut == 1 else "relations reach"
            note = f"{note} {cut:,} {what} out of the sample and cannot count.".lstrip()
        rows = self.origin and self.origin.within(ids)
        return Dataset(self.name, examples, within, task=self.task, note=note, origin=rows)

    def with_relations(self, relations: Iterable[Relation], note: str = "") -> Dataset:
        """The same data set with more relations, among ids of rows or of examples.

        `note` is added to its own.
        """
        notes = " ".join(words for words in (self.note, note) if words)
        named = (
            replace(r, members=tuple(self.find(member) or member for member in r.members))
            for r in relations
        )
        every = (*self.relations, *named)
        return Dataset(
            self.name, self.examples, every, task=self.task, note=notes, origin=self.origin
        )

    @classmethod
    def from_records(
        cls,
        records: object,
        *,
        text: str,
        id: str | None = None,
        group: str | None = None,
        relations: Mapping[str, bool] | Sequence[str] = (),
        task: Task | None = None,
        name: str = "records",
        source: str = "",
    ) -> Dataset:
        r"""A data set from rows: mappings, a pandas, polars or `datasets` table, a pyarrow one.

        `text` is a column, or a template over columns such as ``"{question}\n{claim}"``; `id` the
        column of the rows' own ids, None for their numbers, from 1. `source` is the file that the
        rows were read from.
        `relations` names those that hold: ``"equal"``, ``"opposite"``, ``"at-most-one"`` or
        ``"exactly-one"`` among all members of each group of two or more, with a column behind it
        (``"equal:key"``) among the rows that share a value there, ``"answer:final"``,
        ``"order:winner,loser"`` and ``"implies:id,weaker"`` as `relation_columns.declared` says.
        A sequence means design priors; a mapping says of each whether it is one
        (``{"at-most-one": False}``: a logical fact). Other columns are not looked at. The note says
        which rows no relation speaks of.
        """
        named = [relations] if isinstance(relations, str) else relations
        priors = dict(named) if isinstance(named, Mapping) else dict.fromkeys(named, True)
        used = [] if group is None else [group]
        used += [column for relation in priors for column in columns_of(relation)]
        also = used if id is None else [*used, id]
        table = rows(records, lambda columns: [*columns.used(text), *also])
        own = row_ids(table, id)
        for column in used:
            table.require(column)
        cells = {column: [table.cell(i, column) for i in range(len(table))] for column in used}
        groups = [None] * len(table) if group is None else cells[group]
        of_row = [Example(*row) for row in zip(texts(table, text), groups, strict=True)]
        notes = [table.note, _repeats(table, of_row, cells, group)]
        ids = [example.id for example in of_row]
        made, silent = _declared(priors, ids, cells, group, task)
        # Here with the words that the user declared them in.
        refuse_contradiction(made, {e.id: e.text for e in of_row}, (task or Task()).k, priors)
        from consilience.data.frames import is_frame, read_frame, whole_frame

        again = partial(whole_frame, records if is_frame(records) else table)
        origin = Origin(
            own,
            tuple(ids),
            tuple(range(len(ids))),
            len(ids),
            id,
            text,
            group,
            source,
            stated=task is not None,
            read=partial(read_frame, source) if source else again,
        )
        note = " ".join(filter(None, [*notes, *silent]))
        return cls(name, of_row, made, task=task, note=note, origin=origin)

    def to_json(self) -> dict[str, Any]:
        """The data set as plain data, the inverse of `from_json`."""
        return {
            "name": self.name,
            "note": self.note,
            "task": self.task.to_json(),
            "examples": [[e.text, e.group] for e in self.examples],
            "relations": [r.to_json() for r in self.relations],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Dataset:
        """The data set that `to_json` wrote."""
        return cls(
            data["name"],
            [Example(text, group) for text, group in data["examples"]],
            [relation_from_json(r) for r in data["relations"]],
            task=Task(**data["task"]),
            note=data["note"],
        )


def _repeats(
    table: Rows,
    of_row: Sequence[Example],
    cells: Mapping[str, Sequence[str | None]],
    group: str | None,
) -> str:
    """A sentence on the rows that repeat a text, "" without any; `cells` has what else is read.

    InputError where two rows of one text differ in it.
    """
    first: dict[str, int] = {}
    for i, example in enumerate(of_row):
        j = first.setdefault(example.text, i)
        for column, of in cells.items():
            if of[i] != of[j]:
                what = "in another group" if column == group else f"but another {column!r}"
                raise InputError(
                    f"{table.place(i)} has the text of {table.place(j)} {what}, {of[i]!r} "
                    f"instead of {of[j]!r}; put the {'group' if column == group else 'column'} "
                    "into the text with a template"
                )
    repeats = len(of_row) - len(first)
    many = "row repeats" if repeats == 1 else "rows repeat"
    return (
        f"{repeats:,} {many} an earlier text: the same example, with one label." if repeats else ""
    )


def _declared(
    priors: Mapping[str, bool],
    ids: Sequence[str],
    cells: Mapping[str, Sequence[str | None]],
    group: str | None,
    task: Task | None,
) -> tuple[list[Relation], list[str]]:
    """The relations of all declarations, and what each says of the rows it says nothing of."""
    made: list[Relation] = []
    notes = []
    for relation, prior in priors.items():
        if relation.startswith(f"{ORDER}:") and task is not None and task.k > 2:
            raise InputError(f"relation {relation!r} is for two classes, the task has {task.k}")
        related, silent = declared(relation, prior, ids, cells, group)
        made += related
        notes.append(silent)
    return made, notes


def _within(relation: Relation, ids: set[str]) -> Relation | None:
    """What a relation says among some of the examples; None where that is nothing."""
    kept = tuple(member for member in relation.members if member in ids)
    if len(kept) == len(relation.members):
        return relation
    # Of others a part says nothing: of exactly one in ten, none may be in the sample.
    if isinstance(relation, Equal | AtMostOne) and len(kept) > 1:
        return replace(relation, members=kept)
    return None


@dataclass(frozen=True, slots=True)
class Gold:
    """Reference labels by example id, for scoring only; examples without one are not scored."""

    labels: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def from_records(
        cls, records: object, *, text: str, label: str, classes: Sequence[str]
    ) -> Gold:
        """The labels in column `label` of the rows that `Dataset.from_records` takes.

        A label is the name of a class in any case, or its number from 0; with two classes also
        true, false, yes or no, unless a class of that name is the other one. Where a class is
        called by a number, numbers are names. A row with an empty label is unlabelled.
        """
        table = rows(records)
        table.require(label)
        read = label_reader(classes)
        labels: dict[str, int] = {}
        first: dict[str, int] = {}
        for i, words in enumerate(texts(table, text)):
            cell = table.cell(i, label)
            if cell is None:
                continue
            number = read(cell)
            if number is None:
                raise InputError(
                    f"{table.place(i)}: {cell[:60]!r} in column {label!r} is none of the classes "
                    f"{', '.join(classes)}; correct it, or give a task with the right classes"
                )
            id = example_id(words)
            j = first.setdefault(id, i)
            if labels.setdefault(id, number) != number:
                raise InputError(
                    f"{table.place(i)} has the text of {table.place(j)} but another label, "
                    f"{classes[number]!r} instead of {classes[labels[id]]!r}; correct one of them"
                )
        if not labels:
            raise InputError(f"column {label!r} is empty in every row; leave the label out")
        return cls(dict(sorted(labels.items())))
