"""`report` on the command line: a page of a run, with gold or without, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_light_start import HEAVY, started

from command import consilience
from made_up import FILE_OPTIONS, claims, write_csv


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("run")
    write_csv(claims(24), made / "claims.csv")
    words = ["run", made / "claims.csv", *FILE_OPTIONS, "--model", "simulated:easy"]
    consilience(*words, "--shots", 4, "--calls-per-example", 3, "--store", made / "s.db")
    return made


def test_a_page_of_a_run_with_its_gold_and_without(folder: Path) -> None:
    page = folder / "one.html"
    done = consilience("report", "--store", folder / "s.db", "--output", page)
    assert done.stdout == ""
    assert f"24 examples on a page of 0.1 MB, {page}" in done.stderr
    plain = page.read_text("utf-8")
    assert "Methods side by side" not in plain
    words = ["report", folder / "claims.csv", "--text", "{question} {claim}", "--label", "truth"]
    consilience(*words, "--group", "question", "--store", folder / "s.db", "--output", page)
    scored = page.read_text("utf-8")
    assert "Methods side by side" in scored
    assert '"gold":' in scored
    table = consilience("evaluate", *words[1:], "--group", "question", "--store", folder / "s.db")
    accuracy = next(line for line in table.stdout.splitlines() if line.startswith("consilience"))
    assert accuracy.split()[1] in scored


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("report", "Missing option '--output'"),
        ("report --output page.pdf", "has to end in .html"),
        ("report --output no/page.html", "there is no folder no"),
    ],
)
def test_what_is_refused_at_once(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, loaded, talk = started(*words.split())
    assert (code, said in talk) == (2, True), talk
    assert loaded.isdisjoint(HEAVY)
