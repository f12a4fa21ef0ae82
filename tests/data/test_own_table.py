"""The user's table comes back: columns, ids, duplicates and order, whatever reads or writes it."""

from __future__ import annotations

import csv
import datetime
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

import consilience as cs
from command import consilience
from consilience.data.export import write_table
from consilience.data.frames import own_rows
from consilience.data.readers import read_rows
from consilience.data.relations import Opposite
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.planning.planner import PlanSettings
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found

WORDS = [
    "NA",
    "None",
    "null",
    "nan",
    "N/A",
    "007",
    "1e5",
    "#N/A",
    "True",
    "-",
    "",
    "=1+1",
    "@x",
    "é",
]
"""Cells that some reader takes for something else."""

TICKETS = [
    {"ticket": f"00{i}", "message": f"{word} #{i % 11}", "group": f"0{i % 3}", "cell": word}
    for i, word in enumerate(WORDS)
]
TICKETS += [TICKETS[3] | {"ticket": "T-1"}, TICKETS[3] | {"ticket": "T-2", "cell": "other"}]
TASK = cs.Task(question="Is there anything?", classes=("None", "N/A"))
RESULTS = ["label", "probability", "uncertainty", "open"]
SETTINGS = Settings(calls_per_example=4.0, plan=PlanSettings(shots=4), settled=0.0)
NUMBERS = ["probability", "uncertainty"]


def found_on(rows: object, store: str | Path = ":memory:", **how: Any) -> Found:
    data = cs.Dataset.from_records(
        rows, **({"text": "message", "id": "ticket", "task": TASK} | how)
    )
    return cs.elicit(data, cs.open_model("simulated:easy"), settings=SETTINGS, store=store)


@pytest.fixture(scope="module")
def found() -> Found:
    return found_on(TICKETS)


FRAMES: dict[str, Callable[[], object]] = {
    "rows": lambda: TICKETS,
    "generator": lambda: (row for row in TICKETS),
    "pandas": lambda: pd.DataFrame(TICKETS),
    "polars": lambda: pl.DataFrame(TICKETS),
    "pyarrow": lambda: pa.Table.from_pylist(TICKETS),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_the_table_is_the_users(kind: str, found: Found) -> None:
    table = found_on(FRAMES[kind]()).table()
    assert list(table.columns) == [*TICKETS[0], *RESULTS]
    assert table[list(TICKETS[0])].to_dict("records") == TICKETS
    pd.testing.assert_frame_equal(table[RESULTS], found.table()[RESULTS])
    of = found.labels.set_index("id")
    for row in table.to_dict("records"):
        example = of.loc[found.dataset.find(row["ticket"])]
        assert row["label"] == example["name"] in TASK.classes
        assert row["probability"] == example["probability"]
        assert row["uncertainty"] == pytest.approx(example["epistemic"] + example["aleatoric"])


def test_what_was_found_can_be_pickled(found: Found) -> None:
    for made in (found, found_on(pd.DataFrame(TICKETS)), found_on(row for row in TICKETS)):
        again = pickle.loads(pickle.dumps(made))
        pd.testing.assert_frame_equal(again.table(), made.table())


def test_a_datasets_table_comes_back() -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    table = found_on(datasets.Dataset.from_list(TICKETS)).table()
    assert table[list(TICKETS[0])].to_dict("records") == TICKETS
    with pytest.raises(InputError, match="several splits; choose one of 'train'"):
        found_on(datasets.DatasetDict(train=datasets.Dataset.from_list(TICKETS)))


def test_the_order_and_the_ids_of_rows_change_no_label(found: Found) -> None:
    mixed = [row | {"ticket": f"x{i}"} for i, row in enumerate(reversed(TICKETS))]
    other = found_on(mixed)
    pd.testing.assert_frame_equal(other.labels, found.labels)
    assert list(other.table()["label"]) == list(found.table()["label"])[::-1]
    assert other.dataset.fingerprint == found.dataset.fingerprint


def test_columns_are_not_read_before_labels_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a column was read that may hold gold")

    monkeypatch.setattr("consilience.data.frames._read_again", refused)
    made = found_on(pd.DataFrame(TICKETS))
    made.explain("T-1")
    with pytest.raises(AssertionError, match="may hold gold"):
        made.table()


def test_details(found: Found) -> None:
    table = found.table(details=True)
    assert list(table.columns) == [
        *TICKETS[0],
        *RESULTS,
        *("epistemic", "aleatoric", "structural", "predictions", "p_None", "p_N/A", "example"),
    ]
    ids = [found.dataset.find(id) for id in table["ticket"]]
    assert list(table["example"]) == ids and ids[-1] == ids[-2] == ids[3]


def test_without_ids_rows_go_by_their_numbers() -> None:
    made = found_on(TICKETS, id=None)
    table = made.table()
    assert list(table.columns) == ["row", *TICKETS[0], *RESULTS]
    assert list(table["row"]) == list(range(1, len(TICKETS) + 1))
    assert made.dataset.find("4") == made.dataset.find("15") == made.dataset.find("16")
    assert len(made.explain("16")) == len(made.explain("4")) > 0


def test_a_named_index_is_a_column() -> None:
    frame = pd.DataFrame(TICKETS).set_index("ticket")
    table = found_on(frame).table()
    assert list(table["ticket"]) == list(frame.index)
    kept = pd.DataFrame(TICKETS, index=range(100, 100 + len(TICKETS)))
    assert list(found_on(kept).table().index) == list(kept.index)


def test_columns_of_the_user_keep_their_names() -> None:
    rows = [row | {"label": "mine", "row": 7} for row in TICKETS]
    table = found_on(rows, id=None).table()
    assert set(table["label"]) == {"mine"} and set(table["row"]) == {7}
    assert set(table["consilience_label"]) <= set(TASK.classes)
    assert list(table["consilience_row"]) == list(range(1, len(TICKETS) + 1))


def test_a_sample_gives_the_rows_of_its_groups() -> None:
    data = cs.Dataset.from_records(
        [row | {"message": f"{row['message']} {row['group']}"} for row in TICKETS],
        **{"text": "message", "id": "ticket", "group": "group", "task": TASK},
    ).sample(1)
    made = cs.elicit(data, cs.open_model("simulated:easy"), settings=SETTINGS)
    table = made.table()
    group = table["group"].iloc[0]
    assert [r["ticket"] for r in TICKETS if r["group"] == group] == list(table["ticket"])


# --- ids everywhere


def test_ids_of_rows_work_where_an_example_is_named(found: Found) -> None:
    data = found.dataset
    example = data.find("T-2")
    assert example == data.find("003") == data.find(example or "") and data.own_id(example) == "003"
    pd.testing.assert_frame_equal(found.explain("T-2"), found.explain(example or ""))
    landmarks = Landmarks.of({"T-2": "None", "001": "N/A"}, data)
    rows = [{"ticket": "T-2", "label": "None"}, {"ticket": "001", "label": "N/A"}]
    assert landmarks == Landmarks.of(rows, data)
    texts = [{"message": TICKETS[3]["message"], "label": "None"}, TICKETS[1] | {"label": "N/A"}]
    texts[1].pop("ticket")
    assert landmarks == Landmarks.of(texts, data)
    tied = data.with_relations([Opposite(("T-1", "001"))])
    assert tied.relations[0].members in (
        (data.find("T-1"), data.find("001")),
        (data.find("001"), data.find("T-1")),
    )
    made = replace(found, dataset=tied)
    said = " ".join(made.explain("T-2")["what"].astype(str))
    assert "opposite: 001=" in said


def test_an_id_that_was_made_harmless_is_still_the_row() -> None:
    rows = [row | {"ticket": f"@{i}"} for i, row in enumerate(TICKETS)]
    data = found_on(rows).dataset
    assert data.find("'@3") == data.find("@3")
    formula = {"message": "'=1+1 #0", "label": "None"}
    assert Landmarks.of([formula], data).ids == (data.find("@11"),)


# --- out, and read back


def read_csv_pandas(path: Path) -> list[dict[str, Any]]:
    found = pd.read_csv(path, dtype=str, keep_default_na=False)
    return [dict(row) for row in found.to_dict("records")]


def read_csv_polars(path: Path) -> list[dict[str, Any]]:
    return pl.read_csv(path, infer_schema=False).to_dicts()


def read_csv_duckdb(path: Path) -> list[dict[str, Any]]:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    found = duckdb.sql(
        f"SELECT * FROM read_csv('{path}', all_varchar=true, allow_quoted_nulls=false)"
    )
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def query_duckdb(read: str, path: Path) -> pd.DataFrame:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    found = duckdb.sql(f"SELECT * FROM {read}('{path}')")
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    return pd.DataFrame(rows)


def read_csv_plain(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "read",
    [read_csv_pandas, read_csv_polars, read_csv_duckdb, read_csv_plain, read_rows],
)
def test_csv_is_read_back_exactly(
    read: Callable[[Path], list[dict[str, Any]]], found: Found, tmp_path: Path
) -> None:
    found.export(tmp_path / "a.csv", keep_formulas=True)
    back = [dict(row) for row in read(tmp_path / "a.csv")]
    for row, own in zip(back, found.table().to_dict("records"), strict=True):
        assert row.pop("open") == str(own.pop("open")).lower()
        for name in NUMBERS:
            assert float(row.pop(name)) == own.pop(name)
        assert row == own


def test_formulas_are_harmless_by_default(found: Found, tmp_path: Path) -> None:
    found.export(tmp_path / "a.csv")
    cells = [row["cell"] for row in read_csv_plain(tmp_path / "a.csv")]
    assert cells[11:13] == ["'=1+1", "'@x"] and cells[9] == "'-"
    assert cells[:9] == WORDS[:9]


@pytest.mark.parametrize(
    ("suffix", "read"),
    [
        (".parquet", pd.read_parquet),
        (".parquet", lambda path: pl.read_parquet(path).to_pandas()),
        (
            ".jsonl",
            lambda path: pd.DataFrame(map(json.loads, path.read_text("utf-8").splitlines())),
        ),
        (".jsonl", lambda path: pl.read_ndjson(path).to_pandas()),
        (".parquet", lambda path: query_duckdb("read_parquet", path)),
        (".jsonl", lambda path: query_duckdb("read_json", path)),
        (".xlsx", lambda path: pd.read_excel(path, dtype=str, keep_default_na=False)),
    ],
)
def test_the_others_carry_the_types(
    suffix: str, read: Callable[[Path], pd.DataFrame], found: Found, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    found.export(path)
    back, own = read(path), found.table()
    if suffix == ".xlsx":  # numbers and truth values are cells of their own kind there
        back[NUMBERS] = back[NUMBERS].astype(float)
        back["open"] = back["open"] == "True"
    assert list(back.columns) == list(own.columns)
    for name in own.columns:
        assert list(back[name]) == list(own[name]), name


KINDS = pa.table(
    {
        "message": [row["message"] for row in TICKETS],
        "far": pa.array([4_000_000] * len(TICKETS), pa.date32()),
        "when": pa.array([2**60] * len(TICKETS), pa.timestamp("ms")),
        "long": pa.array([2**62] * len(TICKETS), pa.duration("s")),
        "zone": pa.array([10**15] * len(TICKETS), pa.timestamp("us", tz="Nowhere/City")),
        "embedding": pa.array([[0.5, 1.5]] * len(TICKETS), pa.list_(pa.float32())),
        "audio": pa.array([{"bytes": b"\xff\0", "path": None}] * len(TICKETS)),
        "gap": pa.array([1, *[None] * (len(TICKETS) - 1)], pa.int64()),
        "money": pa.array([Decimal("1.50")] * len(TICKETS)),
        "day": pa.array([datetime.date(2026, 1, 2)] * len(TICKETS)),
        "name": pa.array(["a"] * len(TICKETS)).dictionary_encode(),
    }
)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".xlsx"])
def test_columns_of_every_type_come_back(suffix: str, tmp_path: Path) -> None:
    pa.parquet.write_table(KINDS, tmp_path / "in.parquet")
    data, _ = cs.load_dataset(tmp_path / "in.parquet", text="message", task=TASK)
    made = cs.elicit(data, cs.open_model("simulated:easy"), settings=SETTINGS)
    made.export(tmp_path / f"out{suffix}")
    if suffix == ".parquet":
        back = pa.parquet.read_table(tmp_path / "out.parquet")
        for name in KINDS.column_names:
            kind = KINDS.schema.field(name).type
            assert back.column(name).cast(kind).equals(KINDS.column(name).cast(kind)), name
    else:
        row = dict(read_rows(tmp_path / f"out{suffix}")[0])
        assert row["message"] == TICKETS[0]["message"]
        assert (str(row["gap"]), row["money"]) == ("1", "1.50")
        day = datetime.datetime(2026, 1, 2) if suffix == ".xlsx" else "2026-01-02"
        assert row["day"] == day
        assert row["far"] == "12921-08-18" and row["embedding"] in ([0.5, 1.5], "[0.5, 1.5]")


def test_bytes_that_are_no_text_do_not_stop_the_table(tmp_path: Path) -> None:
    bad = pa.array([b"caf\xe9"] * len(TICKETS), pa.binary())
    column = pa.Array.from_buffers(pa.string(), len(TICKETS), bad.buffers())
    made = found_on(pa.table({"message": KINDS.column("message"), "bad": column}), id=None)
    assert set(made.table()["bad"]) == {"caf\ufffd"}
    with pytest.raises(InputError, match=r"column 'bad' \(string\) holds what is no text"):
        cs.Dataset.from_records(pa.table({"bad": column}), text="bad")


def test_cells_of_several_kinds_are_written(tmp_path: Path) -> None:
    rows = [row | {"mixed": [1, "x", None, 2.5, [1]][i % 5]} for i, row in enumerate(TICKETS)]
    made = found_on(rows)
    assert list(made.table()["mixed"][:5]) == [1, "x", None, 2.5, [1]]
    for suffix in (".csv", ".jsonl", ".parquet", ".xlsx"):
        made.export(tmp_path / f"a{suffix}")
    back = pa.parquet.read_table(tmp_path / "a.parquet").column("mixed").to_pylist()
    assert back[:5] == ["1", "x", None, "2.5", "[1]"]


# --- from a store alone, and from the command line

SMALL = ["--calls-per-example", 4, "--set", "planning.shots=4", "--model", "simulated:easy"]
ASKED = ["--question", "Is there anything?", "--classes", "None,N/A"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_table(pd.DataFrame(TICKETS), "tickets.csv", keep_formulas=True)
    return Path("tickets.csv")


def run(path: Path, *more: object) -> str:
    words = [path, "--text", "message", "--id", "ticket", *ASKED, *SMALL, "--store", "s.db"]
    return consilience("run", *words, *more).stdout


def test_the_command_line_gives_the_table(path: Path) -> None:
    printed = run(path, "--set", "output.keep_formulas=yes")
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [{k: v for k, v in row.items() if k in TICKETS[0]} for row in rows] == TICKETS
    assert list(rows[0]) == [*TICKETS[0], *RESULTS]
    assert (
        consilience("solve", "--store", "s.db", "--set", "output.keep_formulas=yes").stdout
        == printed
    )
    for suffix in (".csv", ".jsonl", ".parquet", ".xlsx"):
        said = consilience(
            "export", f"a{suffix}", "--store", "s.db", "--set", "output.keep_formulas=yes"
        )
        assert f"{len(TICKETS)} rows written" in said.stderr
    assert Path("a.csv").read_text(encoding="utf-8") == printed
    told = json.loads(run(path, "--json"))["labels"]
    assert [row["ticket"] for row in told] == [row["ticket"] for row in TICKETS]


def test_rows_are_explained_by_their_ids(path: Path) -> None:
    run(path)
    done = consilience("explain", "T-1", "--store", "s.db")
    assert done.stderr.startswith(f"T-1: {TICKETS[3]['message']}\n→ N")
    assert consilience("explain", "003", "--store", "s.db").stdout == done.stdout
    assert "has the id 'T-9'" in consilience("explain", "T-9", "--store", "s.db", code=2).stderr


def test_another_table_with_the_same_texts_is_another_table(path: Path) -> None:
    run(path)
    other = [row | {"ticket": f"x{i}"} for i, row in enumerate(reversed(TICKETS))]
    for rows, first in ((other, "x0"), (TICKETS, "000")):
        write_table(pd.DataFrame(rows), path, keep_formulas=True)
        run(path)
        solved = consilience("solve", "--store", "s.db").stdout
        assert next(csv.DictReader(io.StringIO(solved)))["ticket"] == first
    with cs.Store("s.db") as store:
        assert store.verify() == [] and len(store.runs()) == 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "does not exist"),
        (lambda path: write_table(pd.DataFrame(TICKETS[1:]), path), "has 15 rows, and had 16"),
        (lambda path: write_table(pd.DataFrame(TICKETS[::-1]), path), "row 1 has another text"),
    ],
)
def test_a_table_that_is_not_there_any_more(
    path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    run(path)
    spoil(path)
    done = consilience("solve", "--store", "s.db", "--set", "output.keep_formulas=yes")
    assert "only ids, texts and groups are given: " in done.stderr and said in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == ["ticket", "message", *RESULTS]
    assert [row["ticket"] for row in rows] == [row["ticket"] for row in TICKETS]


def test_open_rows_can_be_left_out(path: Path) -> None:
    told = json.loads(run(path, "--json"))["labels"]
    kept = json.loads(run(path, "--json", "--set", "output.decided_only=yes"))["labels"]
    assert [row["ticket"] for row in kept] == [row["ticket"] for row in told if not row["open"]]


def test_landmarks_are_the_table_with_labels_corrected(path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run(path))))
    vouched = [{"ticket": row["ticket"], "label": row["label"]} for row in rows[:8]]
    pd.DataFrame(vouched).to_csv("mine.csv", index=False)
    done = consilience(
        *(
            "solve",
            "--store",
            "s.db",
            "--landmarks",
            "mine.csv",
            "--set",
            "landmarks.calibration=none",
            "--details",
        )
    )
    solved = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["label"] for row in solved[:8]] == [row["label"] for row in vouched]
    assert np.sum([row["landmark"] == "true" for row in solved]) == 10  # two rows repeat a text


def test_objects_in_a_row_come_back_whole(tmp_path: Path) -> None:
    """Their fields are there to be named, and are no columns of the user's."""
    own = [
        {"id": f"T{i}", "said": {"body": f"Text {i}", "by": {"name": "Ann"}}, "said.when": i}
        for i in range(4)
    ]
    table = tmp_path / "own.jsonl"
    table.write_text("\n".join(map(json.dumps, own)))
    out = tmp_path / "out.jsonl"
    words = ["run", table, "--text", "said.body", "--question", "Is it?", "--classes", "no,yes"]
    words += ["--model", "simulated:easy", "--calls-per-example", "1", "--output", out]
    consilience(*words)
    back = [json.loads(line) for line in out.read_text().splitlines()]
    assert [{name: row[name] for name in own[0]} for row in back] == own
    assert list(back[0]) == ["row", *own[0], *RESULTS]


@pytest.mark.parametrize("kind", ["rows", "pandas", "arrow", "parquet"])
def test_a_column_called_as_a_field_of_another_is_the_users_own(tmp_path: Path, kind: str) -> None:
    records = [{"t": f"lamp {i}", "meta": {"src": "in"}, "meta.src": f"own {i}"} for i in range(3)]
    frame = pd.DataFrame(records)
    path = tmp_path / "t.parquet"
    frame.to_parquet(path)
    if kind == "parquet":
        data, _ = cs.load_dataset(path, text="t", task=TASK)
    else:
        given = {"rows": records, "pandas": frame, "arrow": pa.Table.from_pandas(frame)}[kind]
        data = cs.Dataset.from_records(given, text="t", task=TASK)
    table, _ = own_rows(data)
    assert list(table.columns) == ["row", "t", "meta", "meta.src"]
    assert list(table["meta.src"]) == ["own 0", "own 1", "own 2"]


@pytest.mark.parametrize("text", ["t", "{meta.src}: {t}"])
def test_fields_of_objects_in_json_come_back_within_their_objects_alone(
    tmp_path: Path, text: str
) -> None:
    records = [{"t": f"lamp {i}", "meta": {"src": "in", "deep": {"e": i}}} for i in range(3)]
    path = tmp_path / "t.json"
    path.write_text(json.dumps(records))
    table, _ = own_rows(cs.load_dataset(path, text=text, task=TASK)[0])
    assert list(table.columns) == ["row", "t", "meta"]
    assert list(table["meta"]) == [record["meta"] for record in records]
