"""Tables come back from their files as they were."""

import json
import math
import struct
from datetime import date, datetime, time
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from consilience.data.export import table_path, write_table
from consilience.data.guard import guarded, unguarded
from consilience.data.readers import read_rows
from consilience.errors import InputError


def read_jsonl(path):
    lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    return pd.DataFrame([json.loads(line) for line in lines])


def read_csv(path):
    """As the documentation says, with numbers made numbers again."""
    back = pd.read_csv(path, dtype=str, keep_default_na=False)
    numbers = {"probability": float, "p": float, "label": int}
    for name in back.columns.intersection(list(numbers)):
        missing = back[name] == ""
        back[name] = back[name].mask(missing, "nan").astype(float)
        if numbers[name] is int:
            back[name] = back[name].astype(int)
    for name in back.columns.intersection(["sure"]):
        back[name] = back[name] == "true"
    return back.mask(back == "") if "group" in back.columns else back


READERS = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "parquet": pd.read_parquet,
    "xlsx": lambda path: pd.DataFrame(list(read_rows(path))),
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
    write_table(table, path, keep_formulas=True)
    back = READERS[suffix](path)
    assert list(back.columns) == list(table.columns)
    assert list(back["id"]) == list(table["id"])
    assert list(back["text"]) == TEXTS
    assert bits(back["probability"]) == bits(table["probability"])
    assert list(back["label"]) == list(table["label"]) and back["label"].dtype.kind == "i"
    assert list(back["sure"]) == list(table["sure"]) and back["sure"].dtype.kind == "b"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_parquet_is_a_data_set_of_datasets(table, tmp_path):
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    write_table(table, tmp_path / "t.parquet")
    cache = str(tmp_path / "cache")
    made = datasets.Dataset.from_parquet(str(tmp_path / "t.parquet"), cache_dir=cache)
    made.save_to_disk(tmp_path / "disk")
    back = datasets.load_from_disk(tmp_path / "disk").to_pandas()
    pd.testing.assert_frame_equal(back, pd.read_parquet(tmp_path / "t.parquet"))


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


RUNS = ["=1+1", "+a", "-b", "@c", "\ta", "\rb", "=", "-1+2", "+1 or so", "--1", "-1e", "@"]
STAYS = ["-1", "+1.5e3", "-0,5", "-.5", "+3%", "a=b", "'=1", " =1", "", "'"]


def test_cells_that_a_spreadsheet_would_run_are_made_texts(tmp_path):
    frame = pd.DataFrame({"=t": RUNS + STAYS, "n": -1.5})
    write_table(frame, tmp_path / "a.csv")
    back = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    assert list(back.columns) == ["'=t", "n"] and set(back["n"]) == {"-1.5"}
    assert list(back["'=t"]) == [f"'{text}" for text in RUNS] + STAYS
    assert [unguarded(guarded(text)) for text in RUNS] == RUNS
    write_table(frame, tmp_path / "a.csv", keep_formulas=True)
    kept = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    assert list(kept["=t"]) == RUNS + STAYS


def test_a_workbook_holds_formulas_as_texts(tmp_path):
    write_table(pd.DataFrame({"t": [*RUNS, "#N/A", "_x000D_"]}), tmp_path / "a.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "inlineStr"}
    found = [row["t"] for row in read_rows(tmp_path / "a.xlsx")]
    assert found == [*RUNS, "#N/A", "_x000D_"]


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
    with pytest.raises(InputError, match="has no rows"):
        read_rows(tmp_path / "a.xlsx")
    assert (tmp_path / "a.csv").read_text() == '"id","text","label","probability","sure"\n'
    assert (tmp_path / "a.jsonl").read_text() == ""
    assert list(pd.read_parquet(tmp_path / "a.parquet").columns) == list(table.columns)


def test_the_suffix_may_be_in_capitals(table, tmp_path):
    write_table(table, str(tmp_path / "A.CSV"))
    assert (tmp_path / "A.CSV").read_text().startswith('"id","text"')


def test_a_path_that_cannot_be_written_is_refused_in_one_line(table, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path, words in [
        (tmp_path / "a.xls", "ends in none of .csv, .jsonl, .parquet, .xlsx"),
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
        (pd.DataFrame({"a": ["x" * 40_000]}), "xlsx", "a cell of row 1 has 40,000 characters"),
    ],
)
def test_a_table_that_cannot_be_written_leaves_the_old_file(tmp_path, frame, suffix, words):
    path = tmp_path / f"a.{suffix}"
    path.write_text("old")
    with pytest.raises(InputError, match=words) as caught:
        write_table(frame, path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


ODD = {
    "objects without a field": [{}, {}, {}],
    "lists of them": [[{}], [], [{}]],
    "large numbers": [-1, 2**63 + 5, 0],
    "larger numbers": [2**70, 1, 2],
    "several kinds": [1, "a", None],
}


@pytest.mark.parametrize("cells", ODD.values(), ids=ODD)
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".xlsx"])
def test_any_cells_can_be_written(tmp_path: Path, cells: list[object], suffix: str) -> None:
    frame = pd.DataFrame({"id": ["a", "b", "c"], "meta": pd.Series(cells, dtype=object)})
    write_table(frame, tmp_path / f"t{suffix}")
    if suffix == ".parquet":
        back = pd.read_parquet(tmp_path / "t.parquet")
        assert [v is None or str(v) != "" for v in back["meta"]] == [True] * 3
        assert list(back["id"]) == ["a", "b", "c"]


def test_dates_stay_dates_in_a_sheet_where_it_can_hold_them(tmp_path: Path) -> None:
    kept = [
        datetime(2024, 1, 1, 13, 5, 7),
        datetime(2024, 2, 29, 1, 2, 3, 456000),
        date(1999, 12, 31),
        time(23, 59, 1),
    ]
    text = [
        datetime(2024, 1, 1, 0, 0, 0, 1),
        date(1899, 1, 1),
        pd.Timestamp("2024-01-01", tz="UTC"),
        pd.Timestamp("2024-01-01 00:00:00.000000001"),
    ]
    frame = pd.DataFrame({"when": pd.Series([*kept, *text, None], dtype=object)})
    frame["stamp"] = pd.to_datetime(["2024-05-06 07:08:09"] * len(frame))
    write_table(frame, tmp_path / "t.xlsx")
    back = pd.read_excel(tmp_path / "t.xlsx")
    assert list(back["stamp"]) == list(frame["stamp"])
    found = back["when"].tolist()
    assert found[:2] == kept[:2] and found[2].date() == kept[2] and found[3] == kept[3]
    assert found[4:8] == [value.isoformat() for value in text] and pd.isna(found[8])
