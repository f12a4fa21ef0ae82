"""Errors: one line whatever they quote."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from consilience.data.columns import Columns
from consilience.datasets import load_dataset
from consilience.errors import ConsilienceError, InputError, ModelError, StoreError


@pytest.mark.parametrize("kind", [ConsilienceError, InputError, ModelError, StoreError])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028"])
def test_a_message_is_one_line_and_says_where_it_broke(
    kind: type[ConsilienceError], end: str
) -> None:
    message = str(kind(f"one{end}two{end}"))
    escaped = repr(end)[1:-1]
    assert message == f"one{escaped}two{escaped}"
    assert str(pickle.loads(pickle.dumps(kind(f"one{end}two")))) == f"one{escaped}two"


def test_a_column_named_by_a_line_break(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(b'\n\n"\n"\n""')
    with pytest.raises(InputError, match=r"the columns are: \\n$"):
        load_dataset(table, text="text")
    with pytest.raises(InputError, match=r"no column 'x'; the columns are: a\\nb, c$"):
        Columns(("a\nb", "c")).require("x")
