"""The commands and the program of the quickstart, run one after the other as they stand there."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from pathlib import Path

import pytest

from command import consilience

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "quickstart.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def correct(path: str) -> None:
    """Writes the other class into the column `correction` of the first row."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["correction"] = "True" if rows[0]["label"] == "False" else "False"
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


@pytest.mark.slow
def test_what_the_page_shows_is_what_its_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(DOCS / "claims.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    printed, ran = "", 0
    for kind, block in BLOCKS:
        if kind == "python":
            exec(block, {})
            printed = capsys.readouterr().out
            assert "C-100" in printed
            assert "coherent" in printed
        elif kind == "toml":
            guessed = Path("claims.toml").read_text("utf-8")
            for line in ('file = "claims.csv"', 'text = "claim"', 'id = "claim_id"'):
                assert line in guessed, line
            Path("claims.toml").write_text(block, "utf-8")
        elif block.startswith("consilience "):
            if "--corrections" in block:
                correct("doubtful.csv")
            done = consilience(*shlex.split(block)[1:])
            printed, ran = done.stdout + done.stderr, ran + 1
        else:
            # What another processor's rounding may move is shown to one digit.
            shown = [re.sub(r"(\d\.\d)\d*", r"\1", line) for line in block.splitlines() if line]
            said = re.sub(r"(\d\.\d)\d*", r"\1", printed)
            for line in shown:
                assert line.strip() in said, line
    assert ran == 10
    assert "Content-Security-Policy" in (tmp_path / "claims.html").read_text("utf-8")
    labelled = (tmp_path / "labels.csv").read_text("utf-8").splitlines()
    assert len(labelled) == len((DOCS / "claims.csv").read_text("utf-8").splitlines())
    named = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert labelled[0].replace('"', "").split(",")[3:] == named
