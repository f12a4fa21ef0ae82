"""Tables come back from their files as they were."""

import json
import math
import struct

import numpy as np
import pandas as pd
import pytest

from consilience.data.export import table_path, write_table
from consilience.errors import InputError


def read_jsonl(path):
    lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    return pd.DataFrame([json.loads(line) for line in lines])


READERS = {
    "csv": lambda path: pd.read_csv(path, dtype={"id": str}),
    "jsonl": read_jsonl,
    "parquet": pd.read_parquet,
}
TEXTS = [
    "plain",
    "=1+1",
    "+a",
    "-b",
    "@c",
    'a "quoted", cell',
    "two\nlines",
    "a\rb",
    "日本 ü",
    " x ",
]


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    n = len(TEXTS)
    return pd.DataFrame(
        {
            # Ids that a careless reader takes for numbers.
            "id": ["0012", "1e5", "00000000", "7", *(f"{i:016d}" for i in range(n - 4))],
            "text": TEXTS,
            "label": np.arange(n) % 2,
            "probability": [*rng.random(n - 4), 0.1 + 0.2, 5e-324, 1 - 2**-53, 1.0],
            "sure": np.arange(n) > 4,
        }
    )


def bits(values):
    return [struct.pack("<d", value) for value in values]


@pytest.mark.parametrize("suffix", READERS)
def test_the_round_trip_changes_nothing(table, tmp_path, suffix):
    path = tmp_path / f"labels.{suffix}"
    write_table(table, path)
    back = READERS[suffix](path)
    assert list(back.columns) == list(table.columns)
    assert list(back["id"]) == list(table["id"])
    assert list(back["text"]) == TEXTS
    assert bits(back["probability"]) == bits(table["probability"])
    assert list(back["label"]) == list(table["label"]) and back["label"].dtype.kind == "i"
    assert list(back["sure"]) == list(table["sure"]) and back["sure"].dtype.kind == "b"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_lines_of_json_are_one_object_each(table, tmp_path):
    write_table(table, tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == "" and len(lines) == len(table)
    assert json.loads(lines[0]) == {
        "id": "0012",
        "text": "plain",
        "label": 0,
        "probability": table["probability"][0],
        "sure": False,
    }


def test_cells_that_look_like_formulas_are_not_changed(table, tmp_path):
    write_table(table, tmp_path / "a.csv")
    assert '\n"1e5","=1+1",1,' in (tmp_path / "a.csv").read_text()


@pytest.mark.parametrize("suffix", READERS)
def test_missing_values_stay_missing(tmp_path, suffix):
    frame = pd.DataFrame({"id": ["a", "b"], "p": [0.5, math.nan], "group": ["g", None]})
    write_table(frame, tmp_path / f"a.{suffix}")
    back = READERS[suffix](tmp_path / f"a.{suffix}")
    assert list(back["p"].isna()) == list(back["group"].isna()) == [False, True]


@pytest.mark.parametrize("suffix", READERS)
def test_a_named_index_is_a_column(table, tmp_path, suffix):
    write_table(table.set_index("id"), tmp_path / f"a.{suffix}")
    assert list(READERS[suffix](tmp_path / f"a.{suffix}")["id"]) == list(table["id"])


def test_an_empty_table_can_be_written(table, tmp_path):
    for suffix in READERS:
        write_table(table[:0], tmp_path / f"a.{suffix}")
    assert (tmp_path / "a.csv").read_text() == '"id","text","label","probability","sure"\n'
    assert (tmp_path / "a.jsonl").read_text() == ""
    assert list(pd.read_parquet(tmp_path / "a.parquet").columns) == list(table.columns)


def test_the_suffix_may_be_in_capitals(table, tmp_path):
    write_table(table, str(tmp_path / "A.CSV"))
    assert (tmp_path / "A.CSV").read_text().startswith('"id","text"')


def test_a_path_that_cannot_be_written_is_refused_in_one_line(table, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path, words in [
        (tmp_path / "a.xlsx", "ends in none of .csv, .jsonl, .parquet"),
        (tmp_path / "labels", "ends in none of"),
        (tmp_path / "missing" / "a.csv", "missing does not exist"),
        (tmp_path / "folder.csv", "is a folder"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            table_path(path)
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match=words):
            write_table(table, path)


@pytest.mark.parametrize(
    ("frame", "suffix", "words"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "csv", "same name"),
        (pd.DataFrame({"a": [math.inf]}), "jsonl", "JSON"),
        (pd.DataFrame({"a": [object()]}), "jsonl", "not JSON serializable"),
        (pd.DataFrame({"a": [1, "x"]}), "parquet", "cannot write"),
    ],
)
def test_a_table_that_cannot_be_written_leaves_the_old_file(tmp_path, frame, suffix, words):
    path = tmp_path / f"a.{suffix}"
    path.write_text("old")
    with pytest.raises(InputError, match=words) as caught:
        write_table(frame, path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
