"""The result file of a benchmark: JSON, one line per row, rewritten whole after each new row.

Whoever is killed while writing leaves the file as it was. What the rows of a case have in common
(model, settings, versions) stands once, under `setups`, by the id that the rows name.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields
from itertools import starmap
from pathlib import Path
from typing import Any, Self

from consilience.errors import ConsilienceError, InputError
from consilience.evaluation.benchmark.benchmark import Row
from consilience.evaluation.calibration_curve import BinCount
from consilience.evaluation.metrics import Interval

DIGITS = 6
"""So many significant digits of a number are kept, if nobody says how many."""

LATER = ("confidence", "verdict", "readouts", "bins")
"""Fields that a row of an older file lacks, and that stand only in rows that have them."""


class Results:
    """The rows there are, by id, and what they have in common, by the id of the setup.

    `digits` are the significant digits of a number that a new row is kept with.
    """

    def __init__(self, path: str | Path | None = None, digits: int = DIGITS) -> None:
        self.path = None if path is None else Path(path)
        self.digits = digits
        self.setups: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, Row] = {}

    @classmethod
    def read(cls, path: str | Path, digits: int = DIGITS) -> Self:
        """The results in a file; none where it is not there. InputError if it is something else."""
        try:
            found = cls.from_json(json.loads(Path(path).read_text("utf-8")))
        except FileNotFoundError:
            found = cls()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is no file of benchmark results; name another") from error
        found.path, found.digits = Path(path), digits
        return found

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """The results that a file holds; KeyError where a row lacks its setup."""
        found = cls()
        for line in kept["rows"]:
            row = row_from(line)
            found.rows[row.id] = row
            found.setups[row.setup] = dict(kept["setups"][row.setup])
        return found

    def add(self, row: Row, setup: Mapping[str, Any]) -> None:
        """Takes in a row with its setup, and writes the file."""
        self.setups[row.setup] = dict(setup)
        # Of a draw that has changed since, a file with other rows, say, the old row goes.
        for id, old in list(self.rows.items()):
            if _place(old) == _place(row):
                del self.rows[id]
        # As a file gives it back, so that tables are the same before and after.
        self.rows[row.id] = row_from(row_to(row, self.digits))
        self.write()

    def write(self) -> None:
        """Writes the file, if these results have one; it is whole at any moment."""
        if self.path is None:
            return
        partial = self.path.with_name(f"{self.path.name}.part")
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(self.text())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            raise ConsilienceError(
                f"cannot write {self.path}: {error.strerror or error}"
            ) from error

    def text(self) -> str:
        """The file, in the order of ids: that of the work leaves no mark."""
        setups = ",\n".join(
            f"  {json.dumps(k)}: {dumped(v)}" for k, v in sorted(self.setups.items())
        )
        rows = ",\n".join(f"  {dumped(row_to(row))}" for _, row in sorted(self.rows.items()))
        return f'{{\n "setups": {{\n{setups}\n }},\n "rows": [\n{rows}\n ]\n}}\n'


def dumped(data: object) -> str:
    """JSON on one line."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def row_to(row: Row, digits: int = DIGITS) -> dict[str, Any]:
    """A row as plain JSON data; a number that is not there is null."""
    apart = ("scores", *LATER)
    plain = {f.name: _number(getattr(row, f.name), digits) for f in fields(row)}
    made = {name: value for name, value in plain.items() if name not in apart}
    scores = {name: [_number(v, digits) for v in found] for name, found in row.scores.items()}
    # The reason stands only where there is one.
    made["scores"] = {name: v[:3] + [r for r in v[3:] if r] for name, v in scores.items()}
    readouts = {
        readout: {name: _number(value, digits) for name, value in found.items()}
        for readout, found in row.readouts.items()
    }
    bins = {
        name: [[_number(value, digits) for value in count] for count in found]
        for name, found in row.bins.items()
    }
    later = {"confidence": plain["confidence"], "verdict": row.verdict, "readouts": readouts}
    later["bins"] = bins
    return made | {name: value for name, value in later.items() if value}


def row_from(data: Mapping[str, Any]) -> Row:
    """The row that `row_to` wrote."""
    may_miss = ("prompt_tokens_per_example", "fresh", "fresh_zero_shot")
    given = {name: _value(data[name]) for name in may_miss}
    scores = {name: _interval(*values) for name, values in data["scores"].items()}
    readouts = {
        readout: {name: _value(value) for name, value in found.items()}
        for readout, found in data.get("readouts", {}).items()
    }
    bins = {name: tuple(starmap(BinCount, found)) for name, found in data.get("bins", {}).items()}
    return Row(**{**data, **given, "scores": scores, "readouts": readouts, "bins": bins})


def _value(kept: float | None) -> float:
    return math.nan if kept is None else kept


def _interval(
    estimate: float | None, lower: float | None, upper: float | None, reason: str = ""
) -> Interval:
    return Interval(_value(estimate), _value(lower), _value(upper), reason)


def _place(row: Row) -> tuple[object, ...]:
    return row.setup, row.seed, row.budget, row.method


def _number(value: Any, digits: int) -> Any:  # noqa: ANN401 (what is no number is left alone)
    if not isinstance(value, float):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
