"""Files that nobody would write by hand: a data set, or one line."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.data.dataset import Dataset
from consilience.data.readers import SUFFIXES
from consilience.datasets import load_dataset
from consilience.errors import ConsilienceError
from fuzzed import fuzzing

CELLS = st.text(max_size=12) | st.sampled_from(
    ["NA", "None", '"', '""', "a;b", "=1+1", "\t", "001", "true", " ", "x\ny", "\ufeff", "é", "🙂"]
)
DELIMITERS = st.sampled_from([",", ";", "\t", "|"])
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A delimited table, sound or not, in some encoding."""
    delimiter = draw(DELIMITERS)
    heads = [["text"], ["text", "id"], ["text", "id"], ["text", "text"], ["id"], []]
    head = draw(st.sampled_from(heads))
    wide = st.lists(CELLS, min_size=len(head), max_size=len(head))
    some = wide | wide | wide | st.lists(CELLS, max_size=3)
    rows = [["The lamp is lit", "7"][: len(head)], *draw(st.lists(some, max_size=5))]
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoted = draw(st.booleans())
    lines = (
        delimiter.join('"' + c.replace('"', '""') + '"' if quoted else c for c in row)
        for row in [head, *rows]
    )
    return end.join(lines).encode(draw(ENCODINGS), "replace")


@st.composite
def lines_of_json(draw: st.DrawFn) -> bytes:
    """JSON, or lines of it, sound or not."""
    keys = st.sampled_from(["text", "text", "id", "n"])
    rows = [{"text": "lit"}, *draw(st.lists(st.dictionaries(keys, CELLS), max_size=3))]
    whole = draw(st.booleans())
    text = json.dumps(rows) if whole else "\n".join(map(json.dumps, rows))
    cut = draw(st.none() | st.none() | st.integers(0, len(text)))
    return text[:cut].encode(draw(ENCODINGS), "replace")


@st.composite
def columnar(draw: st.DrawFn) -> bytes:
    """A Parquet file with some of its bytes changed."""
    made = io.BytesIO()
    texts = draw(st.lists(st.text("abc ", max_size=5), min_size=1, max_size=4))
    pd.DataFrame({"text": texts}).to_parquet(made)
    content = bytearray(made.getvalue())
    for at, byte in draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))
    ):
        content[at] = byte
    return bytes(content[: draw(st.none() | st.none() | st.integers(0, len(content)))])


FILES = (
    st.tuples(tables(), st.sampled_from([".csv", ".csv", ".tsv"]))
    | st.tuples(lines_of_json(), st.sampled_from([".json", ".jsonl"]))
    | st.tuples(columnar(), st.just(".parquet"))
    | st.tuples(st.binary(max_size=60) | tables() | columnar(), st.sampled_from(sorted(SUFFIXES)))
)
"""The content of a file and its suffix, which mostly go together."""


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_file_is_read_or_refused_in_a_line(tmp_path: Path, count: int) -> None:
    read, seen = 0, 0

    @fuzzing(count)
    @given(FILES, st.booleans())
    def check(file: tuple[bytes, str], packed: bool) -> None:
        nonlocal read, seen
        content, suffix = file
        path = tmp_path / f"table{suffix}{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
        seen += 1
        try:
            data, gold = load_dataset(path, text="text")
        except ConsilienceError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000, error
        else:
            assert isinstance(data, Dataset) and len(data) > 0 and gold is None
            assert all(text.strip() for text in data.texts)
            read += 1
        finally:
            path.unlink()

    check()
    assert seen >= count and read >= seen / 10
