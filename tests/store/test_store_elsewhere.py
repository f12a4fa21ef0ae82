"""A store in Datasette and in DuckDB, by the lines that its page has for them."""

from __future__ import annotations

import importlib.util
import json
import re
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from stored import filled

PAGE = (Path(__file__).parents[2] / "docs" / "store.md").read_text("utf-8")
VIEWS = ("labels", "prompts")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the present one, with a store where the page has one."""
    filled(tmp_path / "runs" / "tqa.db").close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own(folder: Path, view: str) -> list[dict[str, Any]]:
    """The rows of a view as SQLite itself gives them."""
    db = sqlite3.connect(folder / "runs" / "tqa.db")
    db.row_factory = sqlite3.Row
    rows = [dict(row) for row in db.execute(f"SELECT * FROM {view}")]
    db.close()
    return rows


def test_datasette_shows_labels_and_prompts(folder: Path) -> None:
    pytest.importorskip("datasette", reason="Datasette is not installed")
    [line] = re.findall(r"^(datasette .*?) *(?:#.*)?$", PAGE, re.MULTILINE)
    served = subprocess.Popen(
        [sys.executable, "-m", *line.split(), "--port", "0"],
        **{"stderr": subprocess.PIPE, "text": True, "cwd": folder},
    )
    try:
        assert served.stderr is not None
        said = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in served.stderr)
        address = next(found for found in said if found)[0]
        for view in VIEWS:
            with urllib.request.urlopen(f"{address}/tqa/{view}.json?_shape=array") as reply:
                shown = json.load(reply)
            assert shown == own(folder, view) and shown
            with urllib.request.urlopen(f"{address}/tqa/{view}") as reply:
                assert reply.status == 200
    finally:
        served.terminate()
        served.communicate(timeout=30)


def test_duckdb_attaches_a_store(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    [lines] = re.findall(r"```duckdb\n(.*?)```", PAGE, re.DOTALL)
    load, attach, *queries = [line for line in lines.splitlines() if line]
    assert load == "INSTALL sqlite; LOAD sqlite;"
    with duckdb.connect() as db:
        db.execute(_load(duckdb))
        db.execute(attach)
        for view, query in zip(VIEWS, queries, strict=True):
            found = db.sql(query)
            rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
            # A view that is asked by a function comes with texts for numbers.
            assert [_texts(row) for row in rows] == [_texts(row) for row in own(folder, view)][:10]


def _texts(row: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in row.items()}


def _load(duckdb: Any) -> str:
    """What loads the extension without a download, which a test does not do."""
    package = importlib.util.find_spec("duckdb_extension_sqlite_scanner")
    if package is None or package.origin is None:
        pytest.skip("DuckDB's extension for SQLite is not installed")
    name = f"v{duckdb.__version__}/sqlite_scanner.duckdb_extension"
    path = Path(package.origin).parent / "extensions" / name
    if not path.exists():
        pytest.skip(f"DuckDB's extension for SQLite is of another version than {name}")
    return f"LOAD '{path}'"
