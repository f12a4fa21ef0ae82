"""What is shown and where: any console, texts of strangers, stores that may only be read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from command import consilience
from consilience.cli.harmless import harmless, harmless_json
from consilience.errors import StoreError
from consilience.store.database import Store
from made_up import TASK_OPTIONS
from wire_server import serve

NASTY = (
    "Das Lämpchen \u65e5\u672c \x1b[2J\x1b]0;owned\x07 \u202egnp.exe \u200b\x9b31m \U0001f600 \r!"
)
ACTS = ("\x1b", "\x07", "\u202e", "\u200b", "\x9b", "\r!")


@pytest.fixture
def claims(tmp_path):
    path = tmp_path / "claims.jsonl"
    rows = [NASTY, *(f"The lamp number {i} is lit: \u00fc\u4e2d." for i in range(9))]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    return path


def test_any_console_gets_utf8(claims):
    done = subprocess.run(
        [sys.executable, "-m", "consilience", "datasets", "show", claims],
        capture_output=True, timeout=200, check=True,
        env=os.environ | {"PYTHONIOENCODING": "cp1252", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "Das Lämpchen 日本" in done.stdout.decode("utf-8")
    assert b"Traceback" not in done.stderr


def test_nothing_in_a_text_acts_on_a_terminal(claims, tmp_path):
    with serve("openai-legacy") as server:
        words = ["run", claims, *TASK_OPTIONS, "--model", "openai:tiny", "--base-url", server.url]
        spent = ["--calls-per-example", 3, "--output", tmp_path / "l.csv"]
        consilience(*words, *spent, "--store", tmp_path / "s.db")
    solved = consilience("solve", "--store", tmp_path / "s.db", "--json")
    [row] = [r for r in json.loads(solved.stdout) if r["text"].startswith("Das")]
    assert row["text"] == NASTY
    shown = [
        solved,
        consilience("datasets", "show", claims),
        consilience("explain", str(row["row"]), "--store", tmp_path / "s.db"),
        consilience("evidence", "--kind", "direct", "--store", tmp_path / "s.db"),
        consilience("store", "runs", tmp_path / "s.db"),
    ]
    for done in shown:
        assert not any(act in done.stderr for act in ACTS)
    assert not any(act in solved.stdout for act in ACTS)


@pytest.mark.parametrize("text", [NASTY, "\ud800 half", "\u2066x\u2069", "tab\tand\nline"])
def test_what_acts_is_shown_and_json_loses_nothing(text):
    assert not any(act in harmless(text) for act in ACTS)
    raw = json.dumps({"t": text}, ensure_ascii=False)
    assert json.loads(harmless_json(raw)) == {"t": text}
    assert harmless("tab\tand\nline, üñ 日本 👩‍👩‍👧") == "tab\tand\nline, üñ 日本 👩‍👩‍👧"


# ---- stores ------------------------------------------------------------------------------------

POWERLESS = ["--bounding-set=-dac_override,-dac_read_search"]
POWERLESS += ["--inh-caps=-dac_override,-dac_read_search"]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["solve", "--store"], marks=pytest.mark.slow),
        ["store", "runs"],
        ["store", "verify"],
    ],
    ids=" ".join,
)
def test_a_store_in_a_folder_without_write_permission_is_read(claims, tmp_path, command):
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and cannot be told not to")
    folder = tmp_path / "ro"
    with serve("openai-legacy") as server:
        words = ["run", claims, *TASK_OPTIONS, "--model", "openai:tiny", "--base-url", server.url]
        spent = ["--calls-per-example", 1, "--output", tmp_path / "l.csv"]
        consilience(*words, *spent, "--store", folder / "s.db")
    before = sorted(p.name for p in folder.iterdir())
    (folder / "s.db").chmod(0o444)
    folder.chmod(0o555)
    first = ["setpriv", *POWERLESS] if os.geteuid() == 0 else []
    try:
        done = subprocess.run(
            [*first, sys.executable, "-m", "consilience", *command, str(folder / "s.db")],
            capture_output=True, text=True, timeout=200,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert sorted(p.name for p in folder.iterdir()) == before
    finally:
        folder.chmod(0o755)


def test_a_store_with_somebody_elses_trigger_is_refused(tmp_path):
    path = tmp_path / "s.db"
    with Store(path) as store:
        store._db.execute("CREATE TRIGGER t AFTER INSERT ON probes BEGIN SELECT 1; END")
    for readonly in (False, True):
        with pytest.raises(StoreError, match="a trigger that no store has"):
            Store(path, readonly=readonly)
