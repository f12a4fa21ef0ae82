"""Each page of figures begins with its answer, and terms are explained where they first appear."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from consilience.objective.coherence import DEFAULT_WEIGHTS, TERMS

DOCS = Path(__file__).parents[2] / "docs"
QUESTIONS = sorted(p for p in (DOCS / "benchmarks").glob("*.md") if p.name != "README.md")
MADE = re.compile(r"\]\]\] -->\n(.*?)<!-- \[\[\[end", re.DOTALL)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@pytest.mark.parametrize("page", QUESTIONS, ids=lambda page: page.stem)
def test_a_page_of_figures_is_a_question_that_begins_with_its_answer(page: Path) -> None:
    title, answer, *_ = page.read_text("utf-8").split("\n\n")
    assert re.fullmatch(r"# [^\n]+\?", title)
    bold = re.match(r"\*\*(.+?)\*\*", answer, re.DOTALL)
    assert bold, "the first words after the title are the answer, in bold"
    assert len(bold.group(1).split()) <= 70


@pytest.mark.parametrize("page", QUESTIONS, ids=lambda page: page.stem)
def test_the_figures_of_an_answer_are_those_of_its_tables(page: Path) -> None:
    text = page.read_text("utf-8")
    bold = re.search(r"\*\*(.+?)\*\*", text, re.DOTALL)
    assert bold
    measured = set(NUMBER.findall(" ".join(MADE.findall(text))))
    assert measured, "the page has no table that is made from figures"
    assert set(NUMBER.findall(bold.group(1))) <= measured


def test_the_index_has_every_question() -> None:
    index = (DOCS / "benchmarks" / "README.md").read_text("utf-8")
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == {page.name for page in QUESTIONS}


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_pgr_is_where_it_first_stands(page: Path) -> None:
    text = page.read_text("utf-8")
    # What a command prints, and the log, whose entries are read by whoever changes the code.
    if page.name in ("cli.md", "log.md") or "PGR" not in text:
        return
    first = text.index("PGR")
    assert re.search(r"share\s+of\s+the\s+gap", text[first : first + 200]), text[first : first + 60]


def test_every_term_of_the_objective_is_explained_with_its_weight() -> None:
    page = (DOCS / "how-it-works.md").read_text("utf-8")
    on = dict(re.findall(r"^\| ([a-z ]+) \| ([\d.]+) \| .{20,} \|$", page, re.MULTILINE))
    assert {name: float(weight) for name, weight in on.items()} == DEFAULT_WEIGHTS
    section = page.split("off by default")[1].split("\n## ")[0]
    off = {name for line in re.findall(r"^\| (.+?) \|", section, re.MULTILINE) for name in [line]}
    for name in TERMS.keys() - DEFAULT_WEIGHTS.keys():
        assert any(name in words for words in off), name


def test_the_page_of_held_out_sets_counts_those_that_are_level_with_true_labels() -> None:
    measured = json.loads((DOCS.parent / "benchmarks/results/heldout.json").read_text("utf-8"))
    right: dict[str, dict[str, float]] = {"consilience": {}, "golden": {}}
    for row in measured["rows"]:
        setup = measured["setups"][row["setup"]]
        if "gemma" in setup["model"] and row["method"] in right:
            right[row["method"]][setup["data"]] = row["scores"]["accuracy"][0]
    ours, theirs = right["consilience"], right["golden"]
    assert len(ours) == len(theirs) == 9
    level = sum(ours[name] > theirs[name] - 0.02 for name in ours)
    words = ("four", "five", "six", "seven", "eight", "nine")
    page = (DOCS / "benchmarks/held-out.md").read_text("utf-8")
    assert f"On {words[level - 4]} sets it is level with true labels" in page
