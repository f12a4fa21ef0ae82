"""What a command is told: all tables of settings, built once, from values that were checked.

A value of the command line (or of its environment variable) wins over one of `--set`, that over
the task file, and that over what is usual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, NamedTuple

from consilience.cli.tables import (
    BudgetOptions,
    DataOptions,
    DescribingOptions,
    LandmarkOptions,
    ModelOptions,
    OutputOptions,
    PlanningOptions,
    RelationOptions,
    SolvingOptions,
    TaskOptions,
)
from consilience.cli.values import Kind

Values = Mapping[str, Mapping[str, Any]]
"""Checked values by table and key."""


@dataclass(frozen=True, slots=True)
class Config:
    """All of it. `seed` decides every random choice; `source` is the task file, if there is one.

    `named` is the file that the command line names for what the command writes. The `table` of a
    task file is that of the run's labels, and nothing else is written over it.
    """

    data: DataOptions = field(default_factory=DataOptions)
    task: TaskOptions = field(default_factory=TaskOptions)
    relations: RelationOptions = field(default_factory=RelationOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    budget: BudgetOptions = field(default_factory=BudgetOptions)
    planning: PlanningOptions = field(default_factory=PlanningOptions)
    solving: SolvingOptions = field(default_factory=SolvingOptions)
    landmarks: LandmarkOptions = field(default_factory=LandmarkOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    describing: DescribingOptions = field(default_factory=DescribingOptions)
    seed: int = 0
    source: str | None = None
    named: str | None = None


TABLES: dict[str, type] = {
    "data": DataOptions,
    "task": TaskOptions,
    "relations": RelationOptions,
    "model": ModelOptions,
    "budget": BudgetOptions,
    "planning": PlanningOptions,
    "solving": SolvingOptions,
    "landmarks": LandmarkOptions,
    "output": OutputOptions,
    "describing": DescribingOptions,
}
"""The tables of a task file, by name."""


class Setting(NamedTuple):
    """One setting: its table, its key, and what its field says of it."""

    table: str
    key: str
    kind: Kind
    help: str
    option: str
    metavar: str | None

    @property
    def name(self) -> str:
        """What `--set` calls it."""
        return f"{self.table}.{self.key}"


def _settings() -> Iterator[Setting]:
    for table, options in TABLES.items():
        every: tuple[Field[Any], ...] = fields(options)
        for one in every:
            yield Setting(table, one.name, **one.metadata)


SETTINGS: dict[str, Setting] = {one.name: one for one in _settings()}
"""Every setting by its name, in the order of the tables."""


def built(seed: int, source: str | None, *layers: Values) -> Config:
    """The configuration of some layers of values, of which a later one wins.

    The first is what a task file says, the others what the command line does. Tables within a
    table (headers, shares) are merged key by key.
    """
    made: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for layer in layers:
        for table, values in layer.items():
            for key, value in values.items():
                before = made[table].get(key)
                if key != "classes" and isinstance(before, dict) and isinstance(value, dict):
                    value = before | value
                made[table][key] = value
    return Config(
        **{table: options(**made[table]) for table, options in TABLES.items()},
        seed=seed,
        source=source,
        named=next(filter(None, (v.get("output", {}).get("table") for v in layers[:0:-1])), None),
    )
