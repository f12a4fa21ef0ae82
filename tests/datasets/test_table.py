"""The user's own table: relations by column, what is hidden, what is told, the hub, the options."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from command import consilience
from consilience.data.dataset import Dataset, Gold
from consilience.data.readers import Rows
from consilience.datasets import load_dataset, load_with_rows, table
from consilience.datasets.hub import Hub
from consilience.errors import InputError
from made_up import TASK_OPTIONS

ROWS: list[dict[str, str]] = [
    {"text": t, "scene": s, "final": f, "key": k, "pair": p, "left": a, "right": b, "gold": y}
    for t, s, f, k, p, a, b, y in [
        ("The tarn is deeper than the well", "s", "7", "k", "p", "tarn", "well", "yes"),
        ("The well is deeper than the sink", "s", "7", "", "q", "well", "sink", "yes"),
        ("The tarn is deeper than the sink", "s", "8", "k", "p", "tarn", "sink", ""),
        ("The well is deeper than the tarn", "t", "7", "m", "q", "well", "tarn", "no"),
        ("=SUM(A1:A3) is deeper than @cmd", "t", "", "l", "", "", "", "no"),
    ]
]
RELATIONS = {
    "answer:final": False,
    "equal:key": True,
    "at-most-one:pair": True,
    "order:left,right": False,
    "exactly-one": True,
}
DESCRIBED: dict[str, Any] = {"group": "scene", "relations": RELATIONS}


def write(path: Path, rows: Sequence[dict[str, str]] = ROWS) -> Path:
    """The rows in the format of the suffix."""
    as_table = pa.Table.from_pylist(list(rows))
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pa.parquet.write_table(as_table, path)
    elif path.suffix == ".arrow":
        pa.feather.write_feather(as_table, path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "depths.csv")


def gold_of(name: Path, label: str = "gold") -> Gold:
    _, gold = load_dataset(name, label=label)
    assert gold is not None
    return gold


# --- the same from everywhere, and gold nowhere in it


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow", ".jsonl"])
def test_every_file_and_frame_gives_the_same(suffix: str, tmp_path: Path) -> None:
    data, _ = load_dataset(write(tmp_path / f"depths{suffix}"), **DESCRIBED)
    assert len(data) == 5 and {r.name for r in data.relations} == {
        *("at-most-one", "equal", "exactly-one", "opposite", "ordered")
    }
    for frame in (ROWS, pd.DataFrame(ROWS), pl.DataFrame(ROWS), pa.Table.from_pylist(ROWS)):
        made = Dataset.from_records(frame, text="text", name="depths", **DESCRIBED)
        assert made.to_json() == data.to_json()


@pytest.mark.parametrize("other", ["permuted", "blank", "absent"])
def test_gold_shapes_nothing(other: str, tmp_path: Path, path: Path) -> None:
    labels = [row["gold"] for row in ROWS]
    changed = {"permuted": labels[::-1], "blank": [""] * 5, "absent": labels}[other]
    rows = [row | {"gold": label} for row, label in zip(ROWS, changed, strict=True)]
    if other == "absent":
        rows = [{name: cell for name, cell in row.items() if name != "gold"} for row in rows]
    (tmp_path / "other").mkdir()
    again = write(tmp_path / "other" / "depths.csv", rows)
    data, gold = load_dataset(path, label="gold", **DESCRIBED)
    same, _ = load_dataset(again, label="gold" if other == "permuted" else None, **DESCRIBED)
    assert json.dumps(same.to_json()) == json.dumps(data.to_json())
    if other == "permuted":
        assert gold is not None and gold_of(again) != gold


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"relations": ("equal:gold",)}, "the relation 'equal:gold'"),
        ({"relations": {"order:left,gold": False}}, "the relation 'order:left,gold'"),
        ({"relations": "answer:gold", "group": "scene"}, "the relation 'answer:gold'"),
        ({"group": "gold"}, "the group"),
        ({"text": "{text} {gold}"}, "the text"),
    ],
)
def test_gold_in_what_the_method_sees(path: Path, options: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError, match=f"'gold' is both the gold label and in {where}, so that"):
        load_dataset(path, label="gold", **options)


def test_a_column_is_gold_only_where_it_is_named(path: Path) -> None:
    data, gold = load_dataset(path, relations=("equal:gold",))
    assert gold is None and [len(r.members) for r in data.relations] == [2, 2]


def test_what_the_audit_may_count_as_seen(path: Path) -> None:
    loaded = load_with_rows(path, label="gold", **DESCRIBED)
    assert loaded.used == {"text", "scene", "final", "key", "pair", "left", "right"}
    assert load_with_rows(path, text="{text}?", group="key").used == {"text", "key"}
    assert load_with_rows(path).used == {"text"}


# --- what is told and what is refused


def test_gold_that_is_partly_empty_is_counted(path: Path) -> None:
    assert len(gold_of(path)) == 4
    words = [path, "--label", "gold", *TASK_OPTIONS, "--model", "simulated:easy"]
    assert (
        "gold for 4 of 5 examples: the others are not scored" in consilience("run", *words).stderr
    )
    whole = [path, "--text", "{text} {scene}", *words[3:], "--dry-run"]
    assert "not scored" not in consilience("run", *whole).stderr


def test_what_relations_leave_out_is_told(path: Path) -> None:
    said = consilience(
        "datasets",
        "show",
        path,
        "--set",
        "data.group=scene",
        "--set",
        "relations.facts=answer:final",
    )
    assert "answer:final says nothing of 1 row without an answer." in said.stderr


def one_line(*words: object) -> str:
    """The one line of a mistake."""
    done = consilience(*words, code=2)
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


BROKEN: dict[str, tuple[bytes, list[str], str]] = {
    "no column": (b"claim\na\n", [], "x.csv has no column 'text'; the columns are: claim"),
    "empty text": (b"text,g\na,1\n,2\n", [], "x.csv, row 2 (line 3): column 'text' is empty"),
    "unknown relation": (
        b"text\na\n",
        ["--set", "relations.facts=xor"],
        "there is no relation 'xor'; the rela",
    ),
    "groups of one": (
        b"text,g\na,1\nb,2\n",
        ["--set", "data.group=g", "--set", "relations.priors=exactly-one"],
        "relation 'exactly-one' relates nothing: no two rows with different texts share a group",
    ),
    "a text in two groups": (
        b"text,g\na,1\na,2\n",
        ["--set", "data.group=g"],
        "row 2 (line 3) has the text of x.csv, row 1 (line 2) in another group, '2' instead of '1'",
    ),
    "a text with two keys": (
        b"text,k\na,1\nb,1\na,2\n",
        ["--set", "relations.facts=equal:k"],
        "row 3 (line 4) has the text of x.csv, row 1 (line 2) but another 'k', '2' instead of '1'",
    ),
    "a text with two golds": (
        b"text,y\na,1\nb,1\na,0\n",
        ["--label", "y"],
        "row 3 (line 4) has the text of x.csv, row 1 (line 2) but another label, 'False' instead",
    ),
    "three that are a pair": (
        b"text,p\na,1\nb,1\nc,1\n",
        ["--set", "relations.facts=opposite:p"],
        "relation 'opposite' is for groups of 2, but group '1' has 3 members",
    ),
    "itself": (
        b"text,l,r\na,x,x\n",
        ["--set", "relations.facts=order:l,r"],
        "compares 'x' with itself",
    ),
    "torn": (
        b"text,k,p\na,1,1\nb,1,1\n",
        ["--set", "relations.facts=equal:k", "--set", "relations.facts=opposite:p"],
        "by the relations equal:k, opposite:p the texts 'b' and 'a' are both equal and opposite",
    ),
    "Cyrillic": ("text\nдом\n".encode("cp1251"), [], "byte 0xe4 in line 2 and does not read like"),
    "an id twice": (
        b"text,n\na,1\nb,2\nc,1\n",
        ["--id", "n"],
        "x.csv, row 3 (line 4) has the id of x.csv, row 1 (line 2), '1' in column 'n'; correct one",
    ),
    "no id": (b"text,n\na,1\nb,\n", ["--id", "n"], "row 2 (line 3): column 'n' is empty, expected"),
    "no column of ids": (b"text\na\n", ["--id", "n"], "x.csv has no column 'n'; the columns are:"),
    "a fact and a prior": (
        b"text,k\na,1\nb,1\n",
        ["--set", "relations.facts=equal:k", "--set", "relations.priors=equal:k"],
        "facts and priors of [relations] both say 'equal:k'; leave one out",
    ),
    "gold in a relation": (
        b"text,y\na,1\nb,1\n",
        ["--set", "relations.facts=equal:y", "--label", "y"],
        "column 'y' is both the gold label and in the relation 'equal:y'",
    ),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_file_is_one_line(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, options, said = BROKEN[mistake]
    Path("x.csv").write_bytes(content)
    assert said in one_line("datasets", "show", "x.csv", *options)
    assert said in one_line("run", "x.csv", *options, "--model", "simulated:easy")


def test_a_formula_is_asked_as_it_is_and_runs_in_no_spreadsheet(path: Path, tmp_path: Path) -> None:
    prompts = consilience("datasets", "show", path, "--json").stdout
    formula = "=SUM(A1:A3) is deeper than @cmd"
    assert formula in prompts
    out = tmp_path / "out.csv"
    for more, written in (([], f"'{formula}"), (["--set", "output.keep_formulas=yes"], formula)):
        words = ["run", path, *TASK_OPTIONS, "--model", "simulated:easy", "--output", out, *more]
        consilience(*words)
        with out.open(encoding="utf-8", newline="") as file:
            assert [row["text"] for row in csv.DictReader(file)][4] == written


# --- the hub, and --set


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Hub]:
    """What the hub was asked for; it has the rows for everything."""
    found: list[Hub] = []

    def rows(hub: Hub, wanted: object) -> Rows:
        found.append(hub)
        return Rows([dict(row) for row in ROWS], str(hub))

    monkeypatch.setattr(table, "hub_rows", rows)
    return found


def test_a_hub_id(asked: list[Hub], path: Path) -> None:
    data, gold = load_dataset("hub:nobody/depths-1.5", label="gold", **DESCRIBED)
    assert (data.name, asked) == ("depths-1.5", [Hub("nobody/depths-1.5")])
    from_file, file_gold = load_dataset(path, label="gold", **DESCRIBED)
    assert data.fingerprint == from_file.fingerprint and gold == file_gold
    load_dataset("hub:depths", config="c", split="test", revision="abc")
    assert asked[-1] == Hub("depths", "c", "test", "abc")


@pytest.mark.parametrize("name", ["hub:", "hub:nobody/", "hub:/depths"])
def test_a_hub_id_that_is_none(asked: list[Hub], name: str) -> None:
    with pytest.raises(InputError, match="names no data set of the hub; write hub:OWNER/NAME"):
        load_dataset(name)
    assert asked == []


def test_options_reach_the_hub_from_the_command_line(asked: list[Hub]) -> None:
    words = [
        "hub:nobody/depths",
        "--set",
        "split=test",
        "--set",
        "config=a=b",
        "--set",
        "revision=",
    ]
    consilience("datasets", "show", *words)
    assert asked == [Hub("nobody/depths", "a=b", "test", "")]
    consilience("run", *words, *TASK_OPTIONS, "--model", "simulated:easy", "--dry-run")
    consilience("datasets", "audit", *words, "--label", "gold")
    assert asked == [asked[0]] * 3


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("x.csv", ["split"], "KEY=VALUE is expected, such as split=test, got 'split'"),
        ("x.csv", ["=test"], "KEY=VALUE is expected"),
        ("x.csv", ["split=test"], "x.csv has no option 'split'; its options are: none"),
        ("hub:a/b", ["value=x"], "no option 'value'; its options are: config, split, revision"),
        ("easy", ["split=test"], "the data set 'easy' takes no split; leave it out"),
        ("truthfulqa", ["size=2"], "the data set 'truthfulqa' has no option 'size'"),
        ("x.csv", ["seed=3"], "--set seed=… is no option of a data set; see --help"),
        ("x.csv", ["groups=3"], "'groups' is the key of a table: say data.groups="),
        ("x.csv", ["relations=equal"], "--set relations=… is no option of a data set"),
    ],
)
def test_options_that_cannot_be_set(name: str, options: list[str], said: str) -> None:
    words = [word for option in options for word in ("--set", option)]
    assert said in one_line("datasets", "show", name, *words)
