"""The programs and commands of pages that no other test runs, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from command import consilience

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *(p for p in sorted(DOCS.rglob("*.md")) if p.name != "log.md")]


def blocks(page: Path, kind: str = r"\w*") -> list[str]:
    text = page.read_text("utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The commands of a page, those that go on in a next line as one."""
    lines = "".join(blocks(page)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("consilience ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_run_of_a_table_says_what_is_asked(page: Path) -> None:
    """A run of a file without a question and classes is refused; a task file has them."""
    tables = [c for c in commands(page) if re.match(r"consilience (run|plan) \S+\.csv ", c)]
    assert [c for c in tables if "--question" not in c] == []


@pytest.mark.slow
def test_an_old_log_is_solved_by_the_command_and_by_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = DOCS / "legacy.md"
    monkeypatch.chdir(tmp_path)
    for rows in blocks(page, "json"):
        Path("predictions.jsonl").write_text(rows, "utf-8")
        for command in commands(page):
            consilience(*shlex.split(command)[1:])
        labels = pd.read_csv("labels.csv")
        assert 20 in set(labels["uid"])
        (program,) = blocks(page, "python")
        made: dict[str, object] = {}
        exec(program, made)
        assert "1 count, 0 repeat an earlier one, 0 left out" in capsys.readouterr().out
        named = re.findall(r"solved\.labels  # (.*)$", program, re.MULTILINE)[0].split(", ")
        assert list(made["solved"].labels.columns) == named  # type: ignore[attr-defined]


@pytest.mark.slow
def test_your_own_data_is_read_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = DOCS / "datasets" / "your-own.md"
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(
        {
            "claim_id": [f"c{i}" for i in range(12)],
            "question": [f"What is {i} + {i}?" for i in range(4) for _ in range(3)],
            "claim": [f"It is {i + i}, by way {j}." for i in range(4) for j in range(3)],
            "final": [f"{i + i + (j > 1)}" for i in range(4) for j in range(3)],
            "truth": [str(j < 2) for _ in range(4) for j in range(3)],
        }
    )
    frame.to_csv("claims.csv", index=False)
    frame.to_parquet("claims.parquet")
    (program,) = blocks(page, "python")
    offline = "".join(line for line in program.splitlines(True) if '"hub:' not in line)
    assert offline.count("\n") == program.count("\n") - 1
    made: dict[str, object] = {"frame": frame}
    exec(offline, made)
    assert len(made["gold"].labels) == len(frame)  # type: ignore[attr-defined]
    show, run, audit = commands(page)
    shown = consilience(*shlex.split(show)[1:]).stdout
    assert re.search(r"^What is \d \+ \d\? It is \d, by way \d\.$", shown, re.MULTILINE)
    asked = run.replace("openai:NAME --base-url http://localhost:8000/v1", "local:pocket")
    dry = consilience(*shlex.split(asked)[1:], "--dry-run")
    assert "Is the claim true or false?" in dry.stdout + dry.stderr
    consilience(*shlex.split(audit)[1:])
