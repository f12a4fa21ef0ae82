"""A store that somebody else made, through every command that reads one: one line, nothing done."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from command import consilience
from every_command import leaves
from stored import filled

SIMULATED = ["--model", "simulated:easy", "--store", "S"]
READERS = {
    **{
        name: [name, "--store", "S"]
        for name in ("solve", "evidence", "concepts", "weights", "review", "landmarks", "evaluate")
    },
    "explain": ["explain", "text", "--store", "S"],
    "export": ["export", "O", "--store", "S"],
    "estimate": ["estimate", "--store", "S", "--landmarks", "M"],
    "report": ["report", "--store", "S", "--output", "H"],
    "rerun": ["rerun", "1", "--store", "S"],
    "run": ["run", "easy", *SIMULATED],
    "plan": ["plan", "easy", *SIMULATED, "--output", "O"],
    "ask": ["ask", "P", *SIMULATED],
    "describe": ["describe", *SIMULATED],
    "predict": ["predict", "M", *SIMULATED],
    "bench": ["bench", "--data", "easy", "--methods", "zero-shot", *SIMULATED, "--output", "O"],
    **{
        f"store {name}": ["store", name, "S"]
        for name in ("stats", "runs", "sources", "verify", "gc")
    },
    "store show": ["store", "show", "S", "sha256:0"],
    "store export": ["store", "export", "S", "O"],
    "store import": ["store", "import", "S", "L"],
    "store ingest": ["store", "ingest", "L", "--store", "S"],
    "store repair": ["store", "repair", "S", "O"],
}


def test_no_command_that_opens_a_store_is_forgotten() -> None:
    opening = {
        name
        for name, command in leaves()
        if name.startswith("store ") or any("--store" in param.opts for param in command.params)
    }
    assert opening == READERS.keys()


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
    plan, table, page = tmp_path / "p.jsonl", tmp_path / "m.csv", tmp_path / "page.html"
    plan.write_text(json.dumps({"run": "1", "round": 0, "store": str(store)}))
    table.write_text("text,label\ntext 0,True\n")
    spoil(store)
    before = store.read_bytes()
    named = {"S": store, "O": output, "L": lines, "P": plan, "M": table, "H": page}
    done = consilience(*(named.get(word, word) for word in READERS[name]), code=1)
    assert "no store has" in done.stderr or "symbolic link" in done.stderr
    # A comparison says first how much there is to do.
    assert len(done.stderr.splitlines()) == 1 + (name == "bench") and not done.stdout
    assert store.read_bytes() == before and not output.exists() and not page.exists()
