"""Rows from files and frames: every format gives the same, every bad input says where and why."""

from __future__ import annotations

import csv
import datetime
import gzip
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from consilience.data import readers
from consilience.data.dataset import Dataset, Example, Gold
from consilience.data.export import write_table
from consilience.data.files import PACKED
from consilience.data.readers import KINDS, Rows, as_text, columns_used, read_rows, rows, texts
from consilience.errors import InputError

CONTENT = [
    {"claim": "The door is shut, and locked.", "topic": "door", "label": "1"},
    {"claim": "=SUM(A1:A9) is a formula", "topic": "7", "label": "0"},
    {"claim": 'A "quoted" word\nand a second line', "topic": "door", "label": ""},
    {"claim": "Grüße\u2028an Ōtsu 🏮", "topic": "7", "label": "0"},
    {"claim": "NA", "topic": "", "label": "1"},
]


def write_delimited(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, list(CONTENT[0]), delimiter="\t" if path.suffix == ".tsv" else ","
        )
        writer.writeheader()
        writer.writerows(CONTENT)


def write_lines(path: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in CONTENT]
    path.write_text("\n\n".join(lines), encoding="utf-8")


def write_stream(path: Path) -> None:
    table = pa.Table.from_pylist(CONTENT)
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


WRITERS: dict[str, Callable[[Path], None]] = {
    "a.csv": write_delimited,
    "a.tsv": write_delimited,
    "a.jsonl": write_lines,
    "a.ndjson": write_lines,
    "a.JSON": lambda path: path.write_text(json.dumps(CONTENT), encoding="utf-8-sig"),
    "a.parquet": lambda path: pa.parquet.write_table(pa.Table.from_pylist(CONTENT), path),
    "a.feather": lambda path: pa.feather.write_feather(pa.Table.from_pylist(CONTENT), path),
    "a.arrow": write_stream,
    "a.xlsx": lambda path: write_table(pd.DataFrame(CONTENT), path),
    "a.xlsm": lambda path: path.write_bytes(sheet(path.parent)),
    "a.csv.gz": lambda path: path.write_bytes(gzip.compress(plain(path.parent / "b.csv"))),
    "a.jsonl.zst": lambda path: path.write_bytes(zstd(plain(path.parent / "b.jsonl"))),
}


def plain(path: Path) -> bytes:
    """The content in the format of another file of this list."""
    WRITERS[f"a{path.suffix}"](path)
    return path.read_bytes()


def sheet(folder: Path) -> bytes:
    write_table(pd.DataFrame(CONTENT), folder / "b.xlsx")
    return (folder / "b.xlsx").read_bytes()


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return packed


def test_every_suffix_is_tried() -> None:
    assert {Path(name).suffix.lower() for name in WRITERS} == {*KINDS, *PACKED}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "year=2025"  # which is not a column
    folder.mkdir()
    WRITERS[name](folder / name)
    table = read_rows(folder / name)
    # A workbook has empty cells and no empty texts.
    assert [{k: v or "" for k, v in row.items()} for row in table] == CONTENT
    assert table.columns == ("claim", "topic", "label")
    options = {"text": "claim", "group": "topic", "relations": ("opposite",)}
    assert (
        Dataset.from_records(table, **options).to_json()
        == Dataset.from_records(CONTENT, **options).to_json()
    )


NUMBERS = [
    {"claim": "The door is shut", "n": 3, "label": 1},
    {"claim": "The lamp is lit", "n": None, "label": None},
    {"claim": "The well is dry", "n": 5, "label": 0},
]
FRAMES = {
    "list": lambda: NUMBERS,
    "generator": lambda: (dict(row) for row in NUMBERS),
    "pandas": lambda: pd.DataFrame(NUMBERS),  # in which 3 has become 3.0
    "pandas, nullable": lambda: pd.DataFrame(NUMBERS).convert_dtypes(),
    "pandas, object": lambda: pd.DataFrame(NUMBERS, dtype=object),
    "polars": lambda: pl.DataFrame(NUMBERS),
    "polars, float": lambda: pl.DataFrame(NUMBERS).cast({"n": pl.Float64, "label": pl.Float32}),
    "pyarrow": lambda: pa.Table.from_pylist(NUMBERS),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_every_frame_gives_the_same(kind: str) -> None:
    made = Dataset.from_records(FRAMES[kind](), text="claim", group="n")
    assert made.to_json() == Dataset.from_records(NUMBERS, text="claim", group="n").to_json()
    assert {e.group for e in made.examples} == {"3", None, "5"}
    gold = Gold.from_records(FRAMES[kind](), text="claim", label="label", classes=("no", "yes"))
    assert [gold.labels.get(id) for id in made.ids] == [
        {"The door is shut": 1, "The well is dry": 0}.get(text) for text in made.texts
    ]


NARROW = [0.1, None, 1e30, 3.0]
FEWER_BITS = {
    "pandas": lambda: pd.DataFrame({"n": np.array(NARROW, dtype=np.float32)}),
    "pandas, nullable": lambda: pd.DataFrame({"n": pd.array(NARROW, dtype="Float32")}),
    "pandas, arrow": lambda: pd.DataFrame({"n": pd.array(NARROW, dtype="float[pyarrow]")}),
    "polars": lambda: pl.DataFrame({"n": NARROW}).cast(pl.Float32),
    "pyarrow": lambda: pa.table({"n": pa.array(NARROW, pa.float32())}),
    "list": lambda: [{"n": None if n is None else np.float32(n)} for n in NARROW],
}


@pytest.mark.parametrize("kind", FEWER_BITS)
def test_numbers_of_fewer_bits_are_the_texts_of_a_csv(kind: str) -> None:
    table = rows(FEWER_BITS[kind]())
    assert [table.cell(i, "n") for i in range(4)] == ["0.1", None, "1e+30", "3"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a ", "a "),
        ("=1+1", "=1+1"),
        ("nan", "nan"),
        (" \n\t", None),
        (None, None),
        (float("nan"), None),
        (np.float32("nan"), None),
        (True, "True"),
        (np.bool_(False), "False"),
        (12, "12"),
        (np.int8(-3), "-3"),
        (12.0, "12"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (np.float64(2.5), "2.5"),
        (np.float32(0.1), "0.1"),
        (np.float16(0.1), "0.1"),
        (np.str_("x"), "x"),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_a_cell_as_text(value: object, expected: str | None) -> None:
    assert as_text(value) == expected


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"a", datetime.date(2025, 1, 1), object()])
def test_a_cell_that_is_no_text(value: object) -> None:
    with pytest.raises(InputError, match=f"row 2: column 't' holds a {type(value).__name__}"):
        texts(rows([{"t": "a"}, {"t": value}]), "t")


# --- templates

TABLE = rows([{"Best Answer": "Down", "a:b.c[0]": 1, "{odd}": "?"}])


@pytest.mark.parametrize(
    ("template", "expected", "used"),
    [
        ("Best Answer", "Down", {"Best Answer"}),
        ("{Best Answer}", "Down", {"Best Answer"}),
        ("A: {Best Answer}\n{a:b.c[0]}!", "A: Down\n1!", {"Best Answer", "a:b.c[0]"}),
        ("{{{Best Answer}}} {{x}}", "{Down} {x}", {"Best Answer"}),
        ("{odd}", "?", {"{odd}"}),  # the column of that very name
    ],
)
def test_templates(template: str, expected: str, used: set[str]) -> None:
    assert texts(TABLE, template) == [expected]
    assert columns_used(TABLE, template) == used


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Answer", "no column 'Answer'; the columns are: Best Answer, a:b.c"),
        ("{Answer}", "no column 'Answer'; the columns are: Best Answer, a:b.c"),
        ("{Best Answer} {", "single '{' at character 15; write {column}, or {{ for the brace"),
        ("Best} Answer", "single '}' at character 5; write {column}, or }} for the brace"),
        ("{}", "single '{' at character 1"),
        ("{{Best Answer}}", "no column '{{Best Answer}}'"),
    ],
)
def test_bad_templates(template: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        texts(TABLE, template)
    assert said in str(caught.value)


# --- broken files: (name, bytes, template, what the one line says)

BROKEN: list[tuple[str, bytes, str, list[str]]] = [
    ("a.csv", b"", "t", ["a.csv is empty"]),
    ("a.csv", b"t,u\n", "t", ["a.csv has no rows"]),
    ("a.csv", b"\n\n", "t", ["a.csv has no rows"]),
    ("a.csv", b"t,u\na,b\n", "v", ["a.csv has no column 'v'", "the columns are: t, u"]),
    ("a.csv", b"t,u\na,b\n", "{t}{v}", ["a.csv has no column 'v'", "the columns are: t, u"]),
    ("a.csv", b"t,u\na,b\n,b\n", "t", ["a.csv, row 2 (line 3): column 't' is empty", "fill it"]),
    ("a.csv", b"t,u\na,b\n  ,b\n", "{t}-{u}", ["row 2 (line 3): column 't' is empty"]),
    ("a.csv", b't,u\n"a\na",b\n\n,b', "t", ["row 2 (line 5): column 't' is empty"]),
    ("a.csv", b"t,u\na,b\na,b,c\n", "t", ["row 2 (line 3) has 3 cells, expected 2", "comma"]),
    ("a.csv", b"t,u\na\n", "t", ["row 1 (line 2) has 1 cells, expected 2"]),
    ("a.tsv", b"t\tu\na,b\n", "t", ["row 1 (line 2) has 1 cells, expected 2", "tab"]),
    ("a.csv", b't,u\na,b\n"a"b,c\n', "t", ["row 2 (line 3) is malformed", "double the quotes"]),
    ("a.csv", b't,u\na,b\nc,"b\nc\nd', "t", ["row 2 (line 3) is malformed: unexpected end"]),
    ("a.csv", b"t,u,t\na,b,c\n", "t", ["a.csv names the column 't' twice", "rename"]),
    ("a.csv", "t\nдом у реки\n".encode("cp1251"), "t", ["not UTF-8: byte 0xe4 in line 2"]),
    ("a.csv", "t\nдом у реки\n".encode("cp1251"), "t", ["not read like Windows-1252", "iconv"]),
    ("a.csv", "t\nŁódź nad pływem\n".encode("cp1250"), "t", ["does not read like Windows-1252"]),
    ("a.csv", "t\nλόγος\n".encode("cp1253"), "t", ["not UTF-8: byte 0xeb in line 2"]),
    ("a.csv", "t\n東京は晴れ\n".encode("shift_jis"), "t", ["is not UTF-8: byte 0x93 in line 2"]),
    ("a.csv", b"\xef\xbb\xbft\xe4\n", "t", ["not UTF-8: byte 0xe4 in line 1"]),
    ("a.csv", b"\xff\xfet\0\n\0a", "t", ["a.csv is not UTF-16 after line 1"]),
    ("a.csv", b"PK\x03\x04 and so on", "t", ["by its first bytes, a .xlsx file; give it the suf"]),
    ("a.jsonl", b"PAR1 and so on", "t", ["by its first bytes, a .parquet file; give it the suf"]),
    ("a.csv", b"t,u\na,b\na\0c,b\n", "t", ["NUL byte in line 3: it is damaged"]),
    ("a.jsonl", b'{"t": "a"}\n{"t": "\0"}\n', "t", ["NUL byte in line 2"]),
    ("a.csv", b't,u\n"a,b\nc,d\n' + b"x" * 200_000, "t", ["row 1 (line 2) is malformed: unexpec"]),
    ("a.csv", b"t;u\na;b\n", "v", ["a.csv has no column 'v'", "the columns are: t, u"]),
    ("a.csv", b"t;u\na;b\nc\n", "t", ["no column 't'; the columns are: t;u"]),
    ("a.tsv", b't\tu\na"\t1\t\n', "t", ["has 3 cells, expected 2", "with a tab between cells"]),
    ("a.csv", "t\u200b,u\na,b\n".encode(), "t", ["no column 't', but 't\\u200b'", "ZERO WIDTH SP"]),
    ("a.csv", "\xa0t,u\na,b\n".encode(), "t", ["but '\\xa0t', which differs by", "(NO-BREAK SP"]),
    ("a.csv", "\ufeff\ufefft,u\na,b\n".encode(), "t", ["ZERO WIDTH NO-BREAK SPACE); rename"]),
    ("a.csv", b"t ,u\na,b\n", "t", ["but 't ', which differs", "a blank at its end or beginning"]),
    ("a.csv", b"Text,u\na,b\n", "{text}", ["columns are: Text, u; 'Text' is probably meant"]),
    ("a.jsonl", b'{"t": "a"}\n\n{"t": "b"\n', "t", ["row 2 (line 3) is not JSON: Expecting ','"]),
    ("a.jsonl", b'{"t": "a"}\n["b"]\n', "t", ["row 2 (line 2) is a list, expected an object"]),
    ("a.jsonl", b'{"t": "a"}\n{"u": "b"}', "t", ["row 2 (line 2): column 't' is empty"]),
    ("a.jsonl", b'{"t": "a"}\n{"t": null}', "t", ["row 2 (line 2): column 't' is empty"]),
    ("a.jsonl", b'{"t": NaN}', "t", ["row 1 (line 1): column 't' is empty"]),
    ("a.jsonl", b'{"t": ["a"]}', "t", ["row 1 (line 1): column 't' holds a list", "convert it"]),
    ("a.jsonl", b'{"t": {"a": "b"}}', "t", ["column 't' holds a dict", "convert it"]),
    (
        "a.jsonl",
        b'{"t": "a"}\n{"t": "b \\ud83d"}',
        "t",
        ["row 2 (line 2)", r"'t' holds half a char"],
    ),
    ("a.jsonl", b'{"t": "a"}\n{"t": "a", "t": "b"}', "t", ["row 2 names the column 't' twice"]),
    ("a.jsonl", b'{"t": ' + b"1" * 5000 + b"}", "t", ["row 1 (line 1) cannot be used", "digits"]),
    ("a.json", b"[" * 100_000, "t", ["a.json (line 1) cannot be used", "recursion"]),
    ("a.jsonl", b"\n \n", "t", ["a.jsonl has no rows"]),
    ("a.jsonl", b'{"t": "\xff"}', "t", ["not UTF-8: byte 0xff in line 1"]),
    ("a.json", b'[{"t": "a"},\n {"t": }]', "t", ["a.json (line 2) is not JSON: Expecting value"]),
    ("a.json", b'{"t": "a"}\n{"t": "b"}', "t", ["(line 2) is not JSON: Extra data", ".jsonl"]),
    (
        "a.json",
        b'{"t": "a"}',
        "t",
        ["a.json holds one object, expected a list", "save it as .jsonl"],
    ),
    ("a.json", b'{"t": ["a", "b"], "u": [1, 2]}', "t", ["holds columns (t, u), expected rows"]),
    ("a.json", b'{"t": {"0": "a"}}', "t", ["holds columns (t), expected rows", 'orient="records"']),
    ("a.json", b'{"a": [{"t": 1}], "b": [{"t": 1}]}', "t", ["several lists of objects (a, b)"]),
    ("a.json", b'"a"', "t", ["a.json holds one str, expected a list of objects"]),
    ("a.xlsx", b"PK\x03\x04 no more", "t", ["a.xlsx cannot be read as a workbook: "]),
    ("a.xls", b"x", "t", ["a.xls is of no known kind (.xls); save it as .xlsx"]),
    ("a.zip", b"x", "t", ["a.zip is of no known kind (.zip); unpack it first"]),
    ("a.csv.gz", b"no gzip", "t", ["a.csv.gz cannot be read: "]),
    ("a.json", b'[{"t": "a"}, "b"]', "t", ["a.json, row 2 is a str, expected an object"]),
    ("a.json", b'[{"t": "a"}, {"t": ""}]', "t", ["a.json, row 2: column 't' is empty"]),
    ("a.json", b"[]", "t", ["a.json has no rows"]),
    ("a.parquet", b"PAR1 no more", "t", ["a.parquet cannot be read as parquet: "]),
    ("a.arrow", b"ARROW1 no more", "t", ["a.arrow cannot be read as arrow: "]),
    ("a.feather", b"something else", "t", ["a.feather cannot be read as feather: "]),
    ("a.txt", b"a\n", "t", ["a.txt is of no known kind (.txt)", ".csv, .tsv, .jsonl"]),
    ("a", b"a\n", "t", ["is of no known kind (no suffix)"]),
]


@pytest.mark.parametrize(("name", "content", "template", "said"), BROKEN)
def test_broken_files(
    name: str, content: bytes, template: str, said: list[str], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        texts(read_rows(path), template)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    for fragment in said:
        assert fragment in message


LONG = "x" * 300_000
WORKING: list[tuple[str, bytes, list[str]]] = [
    ("a.csv", b"t,u\r\na,1\r\n\r\nb,2\r\n", ["a", "b"]),
    ("a.csv", b"t,u\ra,1\r\rb,2\r", ["a", "b"]),
    ("a.csv", b'\xef\xbb\xbft,u\n"a\nb\r\nc\rd",1\n', ["a\nb\r\nc\rd"]),
    ("a.csv", f"t\n{LONG}\nb\n".encode(), [LONG, "b"]),
    ("a.csv", b"t\n=SUM(A1:A3)\n+1\n@cmd\n-2\n\tx", ["=SUM(A1:A3)", "+1", "@cmd", "-2", "\tx"]),
    ("a.csv", b"t\nTrue\n3.0\n007\n", ["True", "3.0", "007"]),
    ("a.tsv", b't\tu\n"a\tb"\t1\n', ["a\tb"]),
    ("a.tsv", b't\tu\n"a\nb"\t1\nc\t2\n', ["a\nb", "c"]),
    ("a.tsv", b't\n"a\nb"\n', ["a\nb"]),
    # Quotes that are letters: two of them never merge the rows between them.
    ("a.tsv", b't\tu\n"a she said\t1\nb is shut"\t0\nc\t1\n', ['"a she said', 'b is shut"', "c"]),
    ("a.csv", b't\tu\n"a\t1\nb"\t0\n', ['"a', 'b"']),
    ("a.tsv", b't\tu\n"a\t1\nb\t0\n', ['"a', "b"]),
    ("a.csv", b't;u\n"a, b, c";1\nd;2\n', ["a, b, c", "d"]),
    ("a.csv", b"t;u\na, b;1\n", ["a, b"]),
    ("a.csv", b"sep=;\r\nt;u\r\na;1\r\n", ["a"]),
    ("a.csv", b"sep=\t\nt\tu\na\t1\n", ["a"]),
    ("a.csv", b"t|u\na, b|1\n", ["a, b"]),
    ("a.csv", b't,u\n1, "a, red, b"\n2, "c"\n', ["1", "2"]),
    ("a.csv", b"t\na; b\n", ["a; b"]),
    ("a.csv", "t,u\nGrüße,b\n".encode("utf-16"), ["Grüße"]),
    ("a.csv", "t,u\na,b\n".encode("utf-16-le"), ["a"]),
    ("a.tsv", "t\tu\nüber\tb\n".encode("utf-16-be"), ["über"]),
    ("a.csv", "t\na\n".encode("utf-32"), ["a"]),
    ("a.csv", "t,u\nGrüße – 5 €,b\n".encode("cp1252"), ["Grüße – 5 €"]),
    ("a.jsonl", '{"t": "ü"}'.encode("utf-16"), ["ü"]),
    ("a.json", b'{"version": 1, "data": [{"t": "a"}, {"t": "b"}]}', ["a", "b"]),
    ("a.jsonl", b'\xef\xbb\xbf{"t": "a"}\r\n{"t": "b"}\r\n', ["a", "b"]),
    ("a.jsonl", b'{"t": true}\n{"t": 3}\n{"t": 3.0}\n{"t": 0.5}', ["True", "3", "3", "0.5"]),
    ("a.jsonl", b'{"t": "a\\u0000b"}\n{"t": "\\ud83c\\udfee"}', ["a\0b", "\U0001f3ee"]),
    ("a.json", b'[\r\n{"t": "a"},\r\n{"t": "b", "v": [1]}\r\n]', ["a", "b"]),
]


@pytest.mark.parametrize(("name", "content", "expected"), WORKING)
def test_odd_files_that_work(
    name: str, content: bytes, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    limit = csv.field_size_limit()
    table = read_rows(tmp_path / name)
    assert texts(table, "t") == expected
    assert csv.field_size_limit() == limit
    made = Dataset.from_records(table, text="t")
    assert Dataset.from_json(json.loads(json.dumps(made.to_json()))).ids == made.ids


def test_lines_are_counted_in_windows_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b't,u\r\n"a\r\nb",1\r\n,2\r\n')
    with pytest.raises(InputError, match=r"row 2 \(line 4\): column 't' is empty"):
        texts(read_rows(tmp_path / "a.csv"), "t")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"t\na\n")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"a\.csv cannot be read: Permission denied"):
        read_rows(path)


def test_half_a_character_in_the_template() -> None:
    with pytest.raises(InputError, match=r"template '\{t\} \\udcff' holds half a character"):
        texts(rows([{"t": "a"}]), "{t} \udcff")


# --- too many rows


def counted(count: int) -> Iterator[dict[str, object]]:
    """Rows made one by one, of which no more than one too many may be asked for."""
    for i in range(count):
        yield {"t": f"text {i}"}
    raise AssertionError("the table was read to its end")


MANY: dict[str, Callable[[Path], object]] = {
    "generator": lambda path: rows(counted(12)),
    "list": lambda path: rows([{"t": "a"}] * 12),
    "pandas": lambda path: rows(pd.DataFrame({"t": ["a"] * 12})),
    "polars": lambda path: rows(pl.DataFrame({"t": ["a"] * 12})),
    "pyarrow": lambda path: rows(pa.table({"t": ["a"] * 12})),
    "sized": lambda path: Rows([{"t": "a"}] * 12, "hub"),
    "a.csv": lambda path: read_rows(path),
    "a.tsv": lambda path: read_rows(path),
    "a.jsonl": lambda path: read_rows(path),
    "a.JSON": lambda path: read_rows(path),
    "a.parquet": lambda path: read_rows(path),
    "a.feather": lambda path: read_rows(path),
    "a.arrow": lambda path: read_rows(path),
}


@pytest.mark.parametrize("kind", MANY)
def test_too_many_rows_are_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind in WRITERS:
        WRITERS[kind](tmp_path / kind)
    count = len(CONTENT) if kind in WRITERS else 12
    monkeypatch.setattr(readers, "MOST_ROWS", count - 1)
    with pytest.raises(InputError) as caught:
        MANY[kind](tmp_path / kind)
    assert re.search(
        rf"has (more than {count - 1}|{count}) rows, expected at most {count - 1}, which take "
        ".* GB of memory; take a sample of whole groups, or split it",
        str(caught.value),
    )
    if kind == "generator":
        return
    monkeypatch.setattr(readers, "MOST_ROWS", count)
    MANY[kind](tmp_path / kind)


@pytest.mark.parametrize("kind", ["a.csv", "a.jsonl"])
def test_lines_beyond_the_limit_are_not_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[kind](tmp_path / kind)
    with (tmp_path / kind).open("ab") as file:
        file.write(b"\n{broken, broken, broken, broken")
    monkeypatch.setattr(readers, "MOST_ROWS", len(CONTENT) - 1)
    with pytest.raises(InputError, match=f"more than {len(CONTENT) - 1} rows"):
        read_rows(tmp_path / kind)


def test_a_parquet_file_is_counted_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS["a.parquet"](tmp_path / "a.parquet")
    monkeypatch.setattr(readers, "MOST_ROWS", 1)
    monkeypatch.setattr(pa.parquet.ParquetFile, "read", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(InputError, match=r"a\.parquet has 5 rows, expected at most 1"):
        read_rows(tmp_path / "a.parquet")


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv does not exist; check the path"):
        read_rows(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a directory, expected a file"):
        read_rows(tmp_path)


def test_a_table_that_names_a_column_twice(tmp_path: Path) -> None:
    twins = pa.table([["a"], ["b"]], names=["t", "t"])
    pa.feather.write_feather(twins, tmp_path / "a.feather")
    frame = pd.DataFrame([["a", "b"]], columns=["t", "t"])
    for read in (
        lambda: read_rows(tmp_path / "a.feather"),
        lambda: rows(twins),
        lambda: rows(frame),
    ):
        with pytest.raises(InputError, match="names the column 't' twice"):
            read()
    for made in (pd.DataFrame([["a", "b"]], columns=[1, "1"]), [{1: "a", "1": "b"}]):
        with pytest.raises(InputError, match="names the column '1' twice"):
            rows(made)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "the table has no rows"),
        (pd.DataFrame({"t": []}), "the table has no rows"),
        (pl.DataFrame({"t": []}), "the table has no rows"),
        (["a", "b"], "row 1 is a str, expected an object with named columns"),
        ({"t": ["a", "b"]}, "expected a list of mappings, .* got a dict"),
        (7, "expected a list of mappings, .* got a int"),
        (pl.DataFrame({"t": ["a"]}).lazy(), "got a LazyFrame"),
        ("claims.csv", "got the string 'claims.csv'; a file is read by load_dataset"),
    ],
)
def test_records_that_are_no_rows(records: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        rows(records)


def test_column_names_become_text() -> None:
    assert texts(rows(pd.DataFrame([["a", "b"]])), "1") == ["b"]
    assert texts(rows([{0: "a"}]), "{0}") == ["a"]


def test_rows_stay_as_they_are() -> None:
    table = Rows([{"t": "a"}], "a.csv", [2])
    assert rows(table) is table
    assert table.place(0) == "a.csv, row 1 (line 2)"
    assert rows([{"t": "a"}]).place(0) == "row 1"


def test_what_pandas_has_for_missing_is_empty_in_mappings_too():
    rows = [{"t": "a", "g": pd.NA}, {"t": "b", "g": pd.NaT}, {"t": "c", "g": "x"}]
    made = Dataset.from_records(rows, text="t", group="g")
    assert [made.examples[made.index[Example(t).id]].group for t in "abc"] == [None, None, "x"]
    assert as_text(pd.NA) is None and as_text(pd.NaT) is None


def test_whole_numbers_that_a_gap_made_doubles_are_no_groups() -> None:
    # The two differ by one, and pandas has made one number of them.
    numbers, texts = [2**53 + 2, 2**53 + 3, None], ["one lamp", "two lamps", "three lamps"]
    frame = pd.DataFrame({"t": texts, "n": numbers})
    with pytest.raises(InputError, match=r"column 'n' has gaps.* lose digits; make it text or Int"):
        Dataset.from_records(frame, text="t", group="n")
    assert len(Dataset.from_records(frame, text="t")) == 3
    whole = frame.assign(n=pd.array(numbers, dtype="Int64"))
    groups = Dataset.from_records(whole, text="t", group="n").groups
    assert sorted(map(str, groups))[:2] == [str(2**53 + 2), str(2**53 + 3)]
