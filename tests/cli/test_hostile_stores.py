"""A store that somebody else made, through every command that reads one: one line, nothing done."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from command import consilience
from stored import filled

READERS = {
    "solve": ["solve", "--store", "S"],
    "explain": ["explain", "text", "--store", "S"],
    "evidence": ["evidence", "--store", "S"],
    "concepts": ["concepts", "--store", "S"],
    "export": ["export", "O", "--store", "S"],
    "weights": ["weights", "--store", "S"],
    "review": ["review", "--store", "S"],
    "landmarks": ["landmarks", "--store", "S"],
    "rerun": ["rerun", "1", "--store", "S"],
    **{name: ["store", name, "S"] for name in ("stats", "runs", "sources", "verify", "gc")},
    "show": ["store", "show", "S", "sha256:0"],
    "store export": ["store", "export", "S", "O"],
    "store import": ["store", "import", "S", "L"],
    "repair": ["store", "repair", "S", "O"],
}


def with_trigger(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TRIGGER spy AFTER INSERT ON datasets BEGIN DELETE FROM migrations; END")
    db.close()


def as_a_view(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE texts RENAME TO hidden")
        db.execute("CREATE VIEW texts AS SELECT * FROM hidden")
    db.close()


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("spoil", [with_trigger, as_a_view, linked])
@pytest.mark.parametrize("name", READERS)
def test_a_hostile_store_is_refused_in_a_line(name, spoil, tmp_path):
    store, lines, output = tmp_path / "s.db", tmp_path / "l.jsonl", tmp_path / "out.csv"
    with filled(store) as db:
        db.export_jsonl(lines)
    spoil(store)
    before = store.read_bytes()
    named = {"S": store, "O": output, "L": lines}
    done = consilience(*(named.get(word, word) for word in READERS[name]), code=1)
    assert "no store has" in done.stderr or "symbolic link" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not done.stdout
    assert store.read_bytes() == before and not output.exists()
