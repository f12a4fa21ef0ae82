"""Which class the text of a label means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

from consilience.errors import InputError


def label_reader(classes: Sequence[str]) -> Callable[[str], int | None]:
    """The function from the text of a label to its class, None where it is no class."""
    numbers = {name.casefold(): i for i, name in enumerate(classes)}
    if len(numbers) < len(classes):
        raise InputError(f"two of the classes {', '.join(classes)} differ only in case")
    usual = {"false": 0, "no": 0, "true": 1, "yes": 1}
    if len(classes) == 2 and all(usual.get(name, i) == i for name, i in numbers.items()):
        numbers = usual | numbers
    # Where a class is called by a number, numbers are names, else positions; and 1.0 is how a frame
    # writes 1 in a column that has a gap.
    called = [_number(name) for name in classes]
    if all(value is None for value in called):
        called = [float(i) for i in range(len(classes))]
    positions = {v: i for i, v in enumerate(called) if v is not None and called.count(v) == 1}

    def read(cell: str) -> int | None:
        found = numbers.get(cell.strip().casefold())
        value = _number(cell) if found is None else None
        return found if value is None else positions.get(value)

    return read


def _number(text: str) -> float | None:
    """The number that a text is, if it is a finite one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None
