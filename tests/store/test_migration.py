"""Stores of before: a file that an earlier version wrote says the same when it is brought up."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from command import consilience
from consilience.errors import StoreError
from consilience.store.database import Store
from consilience.store.opening import MIGRATIONS
from old_store import write_old
from stored import MODEL, answer, ask

HERE = Path(__file__).parent
LINES = HERE / "before_compact.jsonl"
"""What the version of before exported of the store in `before_compact.sql`, which it wrote."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    db = sqlite3.connect(tmp_path / "old.db")
    db.executescript((HERE / "before_compact.sql").read_text())
    db.close()
    return tmp_path / "old.db"


def test_a_store_of_before_is_brought_up_to_date_by_writing_and_says_the_same(old: Path) -> None:
    with Store(old) as store:
        assert store.verify() == []
        assert store.run().answered == 8
        store.export_jsonl(old.with_name("now.jsonl"))
        added = store.add(MODEL, ask(500), answer(), 0.5)
        assert store.known([added]) == {added}
    assert old.with_name("now.jsonl").read_bytes() == LINES.read_bytes()
    with Store(old, readonly=True) as store:
        assert store.verify() == [] and store.stats().models[0].predictions == 12
    db = sqlite3.connect(old)
    names = [name for (name,) in db.execute("SELECT name FROM migrations ORDER BY name")]
    (left,) = db.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'old%'").fetchone()
    db.close()
    assert names == list(MIGRATIONS) and left == 0


def test_where_it_is_only_read_it_stays_as_it_is(old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    with Store(old, readonly=True) as store:
        assert store.verify() == []
        store.export_jsonl(tmp_path / "now.jsonl")
        with pytest.raises(StoreError, match="readonly"):
            store.add(MODEL, ask(500), answer(), 0.5)
    assert (tmp_path / "now.jsonl").read_bytes() == LINES.read_bytes()
    assert old.read_bytes() == before


def test_a_large_one_has_to_be_opened_for_writing(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consilience.store.opening.MOST_IN_MEMORY", 4096)
    with pytest.raises(StoreError, match="large older store; open it for writing once"):
        Store(old, readonly=True)
    Store(old).close()
    Store(old, readonly=True).close()


def test_the_helper_writes_what_that_version_wrote(old: Path, tmp_path: Path) -> None:
    write_old(LINES, tmp_path / "helped.db")
    tables = ("predictions", "plan", "failures", "datasets", "runs")
    theirs, ours = sqlite3.connect(old), sqlite3.connect(tmp_path / "helped.db")
    for table in tables:
        rows = f"SELECT * FROM {table}"
        assert theirs.execute(rows).fetchall() == ours.execute(rows).fetchall()
    theirs.close()
    ours.close()


def test_a_damaged_store_of_before_is_repaired(old: Path, tmp_path: Path) -> None:
    db = sqlite3.connect(old)
    db.execute("DROP TRIGGER predictions_no_update")
    db.execute("UPDATE predictions SET shots = x'00' WHERE rowid = 3")
    db.commit()
    db.close()
    copy = shutil.copy(old, tmp_path / "copy.db")
    refused = consilience("store", "verify", copy, code=1)
    assert "store repair" in refused.stderr and refused.stderr.count("\n") == 1
    told = consilience("store", "repair", old, tmp_path / "new.db").stderr
    assert "predictions: a column is not JSON" in told and "labels" not in told
    with Store(tmp_path / "new.db") as store:
        assert store.verify() == [] and store.stats().models[0].predictions == 10
