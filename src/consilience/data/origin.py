"""Where examples come from: the user's rows, in their order and under their own ids.

An example is a text, and its id a hash of it, so that nothing of the table can carry a label. A
row has the id that the user gave it, else its number; what the user sees is about rows. The other
columns may hold gold, so none of them is kept here: they are read when labels are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from consilience.data.guard import unguarded
from consilience.data.readers import Rows
from consilience.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

ROW = "row"
"""What the column of row numbers is called where the user named no ids."""


@dataclass(frozen=True)
class Origin:
    """The rows that examples come from: their own ids, and the example that each row became.

    `at` has the place of each row in the whole table of `count` rows, from 0; a sample has not all.
    `id` and `group` are the columns of ids and groups, None where none was named (ids are then row
    numbers from 1), `text` the column or template of the texts. `source` is the path of a file,
    "" where the rows were in memory. `read` gives the whole table again; None where nobody can.
    `stated` is whether the user said what is asked about the rows.
    """

    ids: tuple[str, ...]
    examples: tuple[str, ...]
    at: tuple[int, ...]
    count: int
    id: str | None
    text: str
    group: str | None = None
    source: str = ""
    stated: bool = True
    read: Callable[[], pd.DataFrame] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def of(self) -> dict[str, str]:
        """The example of each row, by the row's id."""
        return dict(zip(self.ids, self.examples, strict=True))

    @cached_property
    def names(self) -> dict[str, str]:
        """The id of the first row of each example."""
        return dict(zip(reversed(self.examples), reversed(self.ids), strict=True))

    @property
    def id_name(self) -> str:
        """What the column of the ids is called."""
        return self.id or ROW

    def find(self, id: str) -> str | None:
        """The example of a row's id, None where there is no such row."""
        return self.of.get(id) or self.of.get(unguarded(id))

    def within(self, examples: Collection[str]) -> Origin:
        """The rows of some of the examples."""
        kept = [i for i, example in enumerate(self.examples) if example in examples]
        return replace(
            self,
            ids=tuple(self.ids[i] for i in kept),
            examples=tuple(self.examples[i] for i in kept),
            at=tuple(self.at[i] for i in kept),
        )

    def to_json(self, index: Mapping[str, int]) -> dict[str, Any]:
        """The origin as plain data; `index` has the position of each example."""
        return {
            "ids": list(self.ids) if self.id else None,
            "examples": [index[example] for example in self.examples],
            "at": list(self.at),
            "count": self.count,
            "id": self.id,
            "text": self.text,
            "group": self.group,
            "source": self.source,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], examples: Sequence[str]) -> Origin:
        """The origin that `to_json` wrote; `examples` are the ids in their order."""
        from consilience.data.frames import read_frame

        source = data["source"]
        return cls(
            ids=tuple(data["ids"] or (str(i + 1) for i in data["at"])),
            examples=tuple(examples[i] for i in data["examples"]),
            at=tuple(data["at"]),
            count=data["count"],
            id=data["id"],
            text=data["text"],
            group=data["group"],
            source=source,
            read=partial(read_frame, source) if source else None,
        )


def row_ids(table: Rows, id: str | None) -> tuple[str, ...]:
    """The id of each row: the cell of a column, or without one the number of the row, from 1.

    InputError where a cell is empty or two rows have the same id.
    """
    if id is None:
        return tuple(str(i + 1) for i in range(len(table)))
    table.require(id)
    first: dict[str, int] = {}
    for i in range(len(table)):
        cell = table.cell(i, id)
        if cell is None:
            raise InputError(
                f"{table.place(i)}: column {id!r} is empty, expected an id; fill it, or name no "
                "column of ids, so that rows go by their numbers"
            )
        if (j := first.setdefault(cell, i)) != i:
            raise InputError(
                f"{table.place(i)} has the id of {table.place(j)}, {cell[:60]!r} in column {id!r}; "
                "correct one of them, or name no column of ids, so that rows go by their numbers"
            )
    return tuple(first)
