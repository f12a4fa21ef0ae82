"""The audit finds each leak that was put into a file, and none in a file without."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from command import consilience
from consilience.datasets import load_with_rows
from consilience.evaluation.audit import LARGEST, Audit, audit
from made_up import ANIMALS

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the publishers' files are not here")

Row = dict[str, Any]


def rows(pairs: int = 150, seed: int = 0) -> list[Row]:
    """Two claims to a question, one of them right, in random order; the wording tells nothing."""
    rng = random.Random(seed)
    made = []
    for number in range(pairs):
        of_question = [
            {
                "question": f"Q{number}",
                "text": f"{rng.choice(ANIMALS)} {rng.randrange(10**6):06} of Q{number:03}",
                "right": right,
                "city": rng.choice(("Orm", "Lund", "Vik")),
            }
            for right in (0, 1)
        ]
        rng.shuffle(of_question)
        made += of_question
    return made


def audited(folder: Path, made: list[Row], **how: Any) -> Audit:
    path = folder / "claims.jsonl"
    path.write_text("\n".join(map(json.dumps, made)))
    return audit(load_with_rows(path, group="question", label="right", **how))


def accuracy(found: Audit, way: str) -> float:
    return found.scores[way].estimate


def test_a_file_without_leaks(tmp_path: Path) -> None:
    found = audited(tmp_path, rows())
    assert max(score.estimate for score in found.scores.values()) < 0.62
    assert accuracy(found, "majority") == pytest.approx(0.5, abs=0.02)
    assert "nothing else that a method could see is known to tell more" in found.verdict
    assert found.notes[0].startswith("300 examples; groups: 150 of 2; relations: none")
    assert found.notes[1] == "Gold for 300 of 300 examples: False 50.0%, True 50.0%."
    assert found.kept_out == {"place in the file", "place in its group, in the file", "field city"}


def longer(row: Row) -> None:
    row["text"] += " as everybody knows" * row["right"]


def negated(row: Row) -> None:
    row["text"] += " and that is not so" if row["right"] else " and that is far so"


def worded(row: Row) -> None:
    row["text"] += " verily" if row["right"] else " mostly"


def fielded(row: Row) -> None:
    row["city"] = "Orm" if row["right"] else "Vik"


def absent(row: Row) -> None:
    if not row["right"]:
        row["city"] = None


def typed(row: Row) -> None:
    row["city"] = 1 if row["right"] else "1"


def nested(row: Row) -> None:
    row["city"] = {"a": "b" * (1 + row["right"])}


@pytest.mark.parametrize(
    ("leak", "way", "hidden"),
    [
        (longer, "length", False),
        (negated, "negation", False),
        (negated, "negation, then length", False),
        (worded, "words of the text", False),
        (fielded, "field city", True),
        (absent, "field city", True),
        (typed, "field city", True),
        (nested, "field city", True),
    ],
)
def test_a_leak_is_found(leak: Any, way: str, hidden: bool, tmp_path: Path) -> None:
    made = rows()
    for row in made:
        leak(row)
    found = audited(tmp_path, made)
    assert accuracy(found, way) > 0.95
    assert (way in found.kept_out) == hidden
    said = f"Kept out, because it would tell more: {way}" if hidden else "A result must beat 100.0%"
    assert said in found.verdict


def test_the_order_of_the_file(tmp_path: Path) -> None:
    made = sorted(rows(), key=lambda row: (row["question"], row["right"]))
    found = audited(tmp_path, made)
    assert accuracy(found, "place in its group, in the file") > 0.99
    assert accuracy(found, "place in the file") < 0.62
    by_label = audited(tmp_path, sorted(rows(), key=lambda row: row["right"]))
    assert accuracy(by_label, "place in the file") > 0.99


def test_structure_that_the_file_declares(tmp_path: Path) -> None:
    made = []
    for row in rows():
        # Two right claims and one wrong one, so that who excludes whom tells the gold.
        made.append(row)
        if row["right"]:
            made.append(row | {"text": row["text"] + " again"})
    for row in made:
        row["size"] = f"{row['question']} {row['right']}"
    found = audited(tmp_path, made)
    assert accuracy(found, "majority") == pytest.approx(2 / 3)
    path = tmp_path / "claims.jsonl"
    grouped = audit(load_with_rows(path, group="size", label="right"))
    assert accuracy(grouped, "group size") == 1


def test_copies(tmp_path: Path) -> None:
    made = rows(20)
    made += [made[0], made[1] | {"text": made[1]["text"].upper() + "!"}]
    found = audited(tmp_path, made)
    assert found.notes[2].startswith("1 of 42 rows repeat an earlier text; 1 more differ")


def test_without_gold_or_with_too_little(tmp_path: Path) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_text("\n".join(map(json.dumps, rows(4))))
    few = audit(load_with_rows(path, group="question", label="right"))
    assert few.scores == {} and "Too few groups" in few.verdict
    bare = audit(load_with_rows(path, group="question"))
    assert bare.rows == [] and "Name the gold column" in bare.verdict


def test_unlabelled_rows_are_not_scored(tmp_path: Path) -> None:
    made = rows()
    for row in made[::3]:
        row["right"] = None
    found = audited(tmp_path, made)
    assert found.notes[1].startswith("Gold for 200 of 300 examples")
    assert accuracy(found, "majority") <= 0.6


def test_a_large_file_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LARGEST == 20_000
    monkeypatch.setattr("consilience.evaluation.audit.LARGEST", 100)
    found = audited(tmp_path, rows())
    assert "Accuracies are those of a sample of 100 examples, whole groups." in found.notes


def test_the_command(tmp_path: Path) -> None:
    made = rows()
    for row in made:
        negated(row)
    path = tmp_path / "claims.jsonl"
    path.write_text("\n".join(map(json.dumps, made)))
    options = ["--set", "data.group=question", "--label", "right"]
    done = consilience("datasets", "audit", path, *options)
    assert "negation" in done.stdout
    assert "A result must beat 100.0%" in done.stderr
    told = json.loads(consilience("datasets", "audit", path, *options, "--json").stdout)
    assert told["ways"][0]["accuracy"] > 0.95 and told["notes"]
    broken = consilience("datasets", "audit", path, "--label", "nothing", code=2)
    assert "no column 'nothing'" in broken.stderr


@pytest.mark.slow
@real
@pytest.mark.parametrize(
    ("name", "way", "wanted"),
    [
        ("gsm8k", "majority", 0.621),
        ("gsm8k", "structure only, agreement", 0.831),
        ("truthfulqa", "negation, then length", 0.784),
        ("daily-dilemmas", "field action_type", 0.81),
        ("ethics-virtue", "majority", 0.80),
    ],
)
def test_the_figures_of_the_real_files(name: str, way: str, wanted: float) -> None:
    found = audit(load_with_rows(name, data_dir=DATA))
    assert accuracy(found, way) == pytest.approx(wanted, abs=0.005)
