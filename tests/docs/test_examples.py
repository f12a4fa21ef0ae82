"""The small program in examples/: what it prints, and that its seed is no lucky one."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "small.py"


@pytest.fixture(scope="module")
def printed() -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words, end="\n": lines.extend((*words, end)))
        runpy.run_path(str(PROGRAM))
    return "".join(lines).splitlines()


def test_it_prints_ten_labels_and_how_it_ended(printed):
    *table, count, end = printed
    assert count == "right: 8 hunches, 10 labels"
    assert re.fullmatch(r"50 predictions, \d+\.\d\d s\. The labels settled: .*\.", end)
    assert len(table) == 10
    shape = r"(.{11}) hunch (?:True|False) +label (True|False) +p\(True\) (\d\.\d\d)"
    for line in table:
        claim, label, p = re.fullmatch(shape, line).groups()
        sum_, says = claim.split("=")
        assert label == str(eval(sum_.strip()) == float(says)) == str(float(p) > 0.5)
    assert any(re.search(r"hunch False +label True", line) for line in table)


@pytest.mark.slow
def test_its_seed_is_no_lucky_one():
    text = PROGRAM.read_text()
    said = r"default_rng\((\d+)\)  # over the seeds 0 to 29, (.*) hunches and (.*) labels are right"
    seed, hunches, labels = re.search(said, text).groups()
    right = []
    for other in range(30):
        made: dict = {"print": lambda *words, **how: None}
        exec(text.replace(f"default_rng({seed})", f"default_rng({other})"), made)
        found = (made["hunch"], made["solution"].labels.argmax(axis=1))
        right.append([np.equal(labels, made["right"]).sum() for labels in found])
    assert np.mean(right, axis=0) == pytest.approx([float(hunches), float(labels)], abs=0.05)


def test_it_is_read_in_a_minute():
    text = PROGRAM.read_text()
    assert len(text.splitlines()) <= 60
    # The term of one's own is one line, and it counts.
    (line,) = [line for line in text.splitlines() if "cs.default_terms() | " in line]
    made: dict = {"print": lambda *words, **how: None}
    exec(text, made)
    exec(text.replace(line, "terms = cs.default_terms()"), other := {"print": made["print"]})
    moved = np.abs(made["solution"].labels - other["solution"].labels).max()
    assert 1e-4 < moved < 0.1
