"""Any ordinary file in: what is piped, what is packed, and only the columns that are needed."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

import consilience as cs
from command import consilience
from consilience.data import arrow_rows
from consilience.data.columns import Columns
from consilience.data.readers import Rows, read_rows, rows, texts
from consilience.errors import InputError
from made_up import TASK_OPTIONS, claims, write_csv

CLAIMS = claims(12)
MODEL = ["--model", "simulated:easy", "--calls-per-example", 4, "--set", "planning.shots=4"]


def parquet() -> bytes:
    written = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(CLAIMS), written)
    return written.getvalue()


def arrow() -> bytes:
    written = io.BytesIO()
    pa.feather.write_feather(pa.Table.from_pylist(CLAIMS), written)
    return written.getvalue()


def stream() -> bytes:
    written = io.BytesIO()
    table = pa.Table.from_pylist(CLAIMS)
    with pa.ipc.new_stream(written, table.schema) as writer:
        writer.write_table(table)
    return written.getvalue()


def workbook() -> bytes:
    written = io.BytesIO()
    pd.DataFrame(CLAIMS).to_excel(written, index=False)
    return written.getvalue()


def table(delimiter: str) -> bytes:
    return pd.DataFrame(CLAIMS).to_csv(index=False, sep=delimiter).encode()


def lines() -> bytes:
    return "\n".join(map(json.dumps, CLAIMS)).encode()


PIPED: dict[str, Callable[[], bytes]] = {
    "csv": lambda: table(","),
    "semicolons": lambda: table(";"),
    "tabs": lambda: table("\t"),
    "UTF-16": lambda: table("\t").decode().encode("utf-16"),
    "jsonl": lines,
    "json": lambda: json.dumps(CLAIMS).encode(),
    "gzip": lambda: gzip.compress(table(",")),
    "zstd": lambda: pa.Codec("zstd").compress(lines(), asbytes=True),
    "parquet": parquet,
    "arrow": arrow,
    "xlsx": workbook,
}


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))


@pytest.mark.parametrize("kind", PIPED)
def test_what_is_piped_is_told_by_its_content(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, PIPED[kind]())
    assert list(read_rows("-")) == CLAIMS


def test_a_piped_table_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, table(","))
    words = ["run", "-", "--text", "claim", *TASK_OPTIONS, *MODEL, "--json"]
    told = json.loads(consilience(*words).stdout)["labels"]
    assert [{k: row[k] for k in CLAIMS[0]} for row in told] == CLAIMS


def test_nothing_is_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"")
    words = ["run", "-", *TASK_OPTIONS, *MODEL]
    assert "standard input is empty; check" in consilience(*words, code=2).stderr


# --- only the columns that are needed

HEAVY = pa.table(
    {
        "claim": [row["claim"] for row in CLAIMS],
        "question": [row["question"] for row in CLAIMS],
        "truth": [row["truth"] for row in CLAIMS],
        "embedding": pa.array(np.ones((len(CLAIMS), 64)).tolist()),
    }
)
FILES: dict[str, Callable[[Path], None]] = {
    "a.parquet": lambda path: pa.parquet.write_table(HEAVY, path),
    "a.feather": lambda path: pa.feather.write_feather(HEAVY, path),
    "a.arrow": lambda path: path.write_bytes(_stream_of(HEAVY)),
    "a.csv": lambda path: HEAVY.to_pandas().to_csv(path, index=False),
    "a.jsonl": lambda path: HEAVY.to_pandas().to_json(path, orient="records", lines=True),
}


def _stream_of(made: pa.Table) -> bytes:
    written = io.BytesIO()
    with pa.ipc.new_stream(written, made.schema) as writer:
        writer.write_table(made, max_chunksize=500)
    return written.getvalue()


@pytest.mark.parametrize("name", FILES)
def test_only_the_named_columns_are_read(name: str, tmp_path: Path) -> None:
    FILES[name](tmp_path / name)
    loaded = cs.datasets.load_with_rows(
        tmp_path / name, text="{question} {claim}", label="truth", whole=False
    )
    assert set(loaded.rows[0]) == {"question", "claim", "truth"}
    assert loaded.rows.columns == tuple(HEAVY.column_names)
    with pytest.raises(InputError, match="no column 'clam'; the columns are: claim, question, tru"):
        cs.load_dataset(tmp_path / name, text="clam")


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.arrow"])
def test_other_columns_cost_no_memory(name: str, tmp_path: Path) -> None:
    n = 20_000
    wide = pa.array(np.zeros(n * 256, dtype=np.float32))
    made = pa.table(
        {
            "text": [f"claim {i}" for i in range(n)],
            "embedding": pa.FixedSizeListArray.from_arrays(wide, 256),
        }
    )
    {"parquet": pa.parquet.write_table, "feather": pa.feather.write_feather}.get(
        name.partition(".")[2], lambda t, path: path.write_bytes(_stream_of(t))
    )(made, tmp_path / name)
    del made, wide
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        assert len(read_rows(tmp_path / name, wanted=lambda columns: columns.used("text"))) == n
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < 0.5 * n * 256 * 4


@pytest.mark.parametrize(
    "made",
    [HEAVY.to_pandas(), pl.from_arrow(HEAVY), HEAVY],
    ids=["pandas", "polars", "pyarrow"],
)
def test_frames_give_the_named_columns(made: object) -> None:
    found = rows(made, lambda columns: columns.used("claim"))
    assert list(found) == [{"claim": row["claim"]} for row in CLAIMS]
    assert found.columns == tuple(HEAVY.column_names)


def test_an_audio_column_is_not_decoded(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    sound = {"bytes": b"no sound", "path": "a.wav"}
    made = datasets.Dataset.from_list([{"claim": row["claim"], "sound": sound} for row in CLAIMS])
    made = made.cast_column("sound", datasets.Audio())
    assert list(rows(made, lambda columns: columns.used("claim"))) == [
        {"claim": row["claim"]} for row in CLAIMS
    ]
    task = cs.Task(question="Is it?", classes=("no", "yes"))
    data = cs.Dataset.from_records(made, text="claim", task=task)
    found = cs.elicit(data, cs.open_model("simulated:easy"), calls_per_example=2)
    assert list(found.table()["claim"]) == [row["claim"] for row in CLAIMS]


def test_a_hub_table_is_read_by_the_columns_that_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    made = datasets.Dataset.from_list(CLAIMS)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: made)
    data, gold = cs.load_dataset("hub:nobody/claims", text="claim", label="truth")
    assert len(data) == len(CLAIMS) and gold is not None
    with pytest.raises(InputError, match=r"nobody/claims .* has no column 'clam'; the columns"):
        cs.load_dataset("hub:nobody/claims", text="clam")


# --- what is said of a file


def test_an_old_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "west.csv"
    path.write_bytes("text\ncafé #1 ist offen\nMüller #2 kommt\n".encode("cp1252"))
    data, _ = cs.load_dataset(path)
    assert data.note.startswith(f"{path} is not UTF-8 and was read as Windows-1252. Where")
    # Such letters are Windows-1250's as well: nobody can tell, so that the cure is said.
    assert data.note.endswith("(iconv -f cp1250 -t utf-8).")
    assert "Müller #2 kommt" in data.texts


def test_of_several_sheets_the_first_is_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    with pd.ExcelWriter(path) as book:
        pd.DataFrame({"text": ["a", "b"], "n": ["001", None]}).to_excel(
            book, sheet_name="one", index=False
        )
        pd.DataFrame({"other": ["c"]}).to_excel(book, sheet_name="two", index=False)
    found = read_rows(path)
    assert list(found) == [{"text": "a", "n": "001"}, {"text": "b", "n": None}]
    assert found.note == f"{path} has 2 sheets: 'one' was read."
    assert found.place(1) == f"{path}, row 2 (line 3)"


def test_a_title_above_the_table_is_named(tmp_path: Path) -> None:
    rows = [["Support export 2026", None], ["no", "text"], [1, "Late"]]
    pd.DataFrame(rows).to_excel(tmp_path / "a.xlsx", index=False, header=False)
    with pytest.raises(InputError, match="delete 'Support export 2026' if that is a title"):
        read_rows(tmp_path / "a.xlsx")


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_the_fields_of_an_object_are_columns(name: str, tmp_path: Path) -> None:
    records = [
        {"id": i, "ticket": {"body": f"Text {i}", "from": {"name": "Ann"}}, "tags": ["a"]}
        for i in range(3)
    ]
    lines = "\n".join(map(json.dumps, records)) if name == "t.jsonl" else json.dumps(records)
    (tmp_path / name).write_text(lines)
    read = read_rows(tmp_path / name)
    fields = ("ticket.body", "ticket.from", "ticket.from.name")
    assert read.columns == ("id", "ticket", "tags", *fields)
    assert texts(read, "{ticket.from.name}: {ticket.body}")[0] == "Ann: Text 0"
    # By the way to it a field may have the name of another column.
    (tmp_path / "twice.jsonl").write_text('{"a.b": 1, "a": {"b": 2}}\n')
    with pytest.raises(InputError, match=r"'a\.b' twice"):
        read_rows(tmp_path / "twice.jsonl")


def test_a_cell_beyond_the_columns_is_refused(tmp_path: Path) -> None:
    pd.DataFrame([["text", None], ["a", "lost"]]).to_excel(
        tmp_path / "a.xlsx", index=False, header=False
    )
    with pytest.raises(InputError, match=r"row 1 \(line 2\) has a cell beyond the last column"):
        read_rows(tmp_path / "a.xlsx")


@pytest.mark.parametrize("name", ["datasets.hub", "landmarks", "gold"])
def test_a_hidden_character_is_named_wherever_a_column_is_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [{"label\u200b": "True", "claim": "a"}]
    with pytest.raises(InputError, match=r"differs by what cannot be seen \(ZERO WIDTH SPACE"):
        if name == "gold":
            cs.Gold.from_records(odd, text="claim", label="label", classes=("no", "yes"))
        elif name == "landmarks":
            data = cs.Dataset.from_records([{"claim": "a"}], text="claim")
            from consilience.results.landmarks import Landmarks

            Landmarks.of(odd, data)
        else:
            Columns(("label\u200b",), "hub").require("label")


def test_a_tsv_without_quoting_merges_no_rows_and_no_gold(tmp_path: Path) -> None:
    path = tmp_path / "claims.tsv"
    path.write_bytes(
        b'text\ttruth\n"Good day she said\tTrue\nA gate is shut"\tFalse\nIt is\tTrue\n'
    )
    data, gold = cs.load_dataset(path, label="truth")
    assert sorted(data.texts) == sorted(['"Good day she said', 'A gate is shut"', "It is"])
    assert gold is not None and len(gold) == 3
    assert not any("True" in text or "False" in text for text in data.texts)


def test_bad_columns_that_nobody_named_are_no_fault(tmp_path: Path) -> None:
    n = len(CLAIMS)
    bad = pa.array([b"caf\xe9"] * n, pa.binary())
    others = {
        "date": pa.array([4_000_000] * n, pa.date32()),
        "timestamp": pa.array([2**60] * n, pa.timestamp("ms")),
        "duration": pa.array([2**62] * n, pa.duration("s")),
        "zone": pa.array([1_700_000_000_000_000] * n, pa.timestamp("us", tz="Nowhere/City")),
        "latin1": pa.Array.from_buffers(pa.string(), n, bad.buffers()),
    }
    made = pa.table({"text": [row["claim"] for row in CLAIMS], **others})
    pa.parquet.write_table(made, tmp_path / "a.parquet")
    assert len(cs.load_dataset(tmp_path / "a.parquet")[0]) == n
    assert len(cs.Dataset.from_records(made, text="text")) == n
    # Asked for, they are text where they can be, and else a fault with a name.
    assert arrow_rows.values(made.column("date"), "date", "")[0] == "12921-08-18"
    with pytest.raises(InputError, match=r"column 'latin1' \(string\) holds what is no text"):
        cs.load_dataset(tmp_path / "a.parquet", text="latin1")


def test_rows_know_all_columns_of_a_table_of_which_they_hold_some(tmp_path: Path) -> None:
    found = read_rows(
        write_csv(CLAIMS, tmp_path / "a.csv"), wanted=lambda columns: columns.used("claim")
    )
    assert isinstance(found, Rows) and found.columns == tuple(CLAIMS[0])
    assert set(found[0]) == {"claim"}
