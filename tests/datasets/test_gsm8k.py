"""GSM8K's solutions as examples: what is shown of them, and what their answers say."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import publisher_gsm8k
import pytest

from consilience.data.dataset import Dataset, Gold, example_id
from consilience.datasets import load_dataset, load_with_rows
from consilience.datasets.gsm8k import final_answer
from consilience.datasets.source import Loaded
from consilience.errors import InputError
from consilience.evaluation.baselines import agreement_only, gold_array

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(
    not (DATA / "gsm8k" / "example_model_solutions.jsonl").is_file(),
    reason="the publisher's file is not here",
)


def made(folder: Path) -> tuple[Dataset, Gold]:
    publisher_gsm8k.write(folder)
    data, gold = load_dataset("gsm8k", data_dir=folder)
    assert gold is not None
    return data, gold


def id_of(item: int, solution: int, *, said: str | None = None) -> str:
    question, _, solutions = publisher_gsm8k.ITEMS[item]
    return example_id(f"Question: {question}\nSolution: {said or solutions[solution]}")


def violations(data: Dataset, gold: Gold) -> Counter[str]:
    """How many relations of each kind gold breaks."""
    return Counter(
        relation.name
        for relation in data.relations
        if not relation.holds(np.array([[gold.labels[id] for id in relation.members]]))[0]
    )


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("2 + 2 = 4\nA: 4", "4"),
        ("A: 4\n", "4"),
        ("A:4", "4"),
        ("A: $1,234.50", "1234.50"),
        ("A: 7.", "7"),
        ("A: -3", "-3"),
        ("A: 1.5 billion", "1.5billion"),
        ("A: 4\nand then", None),
        ("so 4", None),
        ("A: ", None),
        ("A: $.", None),
    ],
)
def test_final_answers(solution: str, answer: str | None) -> None:
    assert final_answer(solution) == answer


def test_what_is_shown(tmp_path: Path) -> None:
    data, gold = made(tmp_path)
    shown = id_of(0, 0, said="3 * 4 = 12\nA: 12")
    assert shown in data.ids and gold.labels[shown] == 1
    # A call that was cut off is no call, and stays.
    assert id_of(7, 1) in data.ids
    assert gold.labels[id_of(3, 0, said="9 - 5 = 4 and then")] == 0
    # Two models wrote the same: one example.
    assert len(data) == 35 and "1 row repeats an earlier text" in data.note


def test_what_the_answers_say(tmp_path: Path) -> None:
    data, gold = made(tmp_path)
    first = [id_of(0, 0, said="3 * 4 = 12\nA: 12"), *(id_of(0, i) for i in (1, 2, 3))]
    equal = {frozenset(r.members) for r in data.relations if r.name == "equal"}
    other = {frozenset(r.members) for r in data.relations if r.name == "at-most-one"}
    assert frozenset([first[0], first[1], first[3]]) in equal
    # One solution stands for each answer; that it is equal to the others is said already.
    assert frozenset([min(first[0], first[1], first[3]), first[2]]) in other
    assert frozenset(id_of(5, i) for i in range(4)) in other
    assert frozenset(id_of(6, i) for i in range(4)) in equal
    assert not any(r.prior for r in data.relations)
    assert violations(data, gold) == {}
    # What has no final answer is related to nothing.
    tied = {id for r in data.relations for id in r.members}
    loose = {*(id_of(7, i) for i in range(4)), id_of(3, 0, said="9 - 5 = 4 and then")}
    assert set(data.ids) - tied == loose


def test_a_wrong_relation_would_be_seen(tmp_path: Path) -> None:
    data, gold = made(tmp_path)
    turned = Gold({id: 1 - label for id, label in gold.labels.items()})
    assert violations(data, turned)["at-most-one"] > 0
    one = next(r for r in data.relations if r.name == "equal").members[0]
    changed = Gold({**gold.labels, one: 1 - gold.labels[one]})
    assert violations(data, changed)["equal"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"6b_finetuning": None}, r"row 1 .line 1.: column '6b_finetuning' holds no solution"),
        ({"6b_finetuning": {"solution": 5}}, r"column '6b_finetuning' holds no solution"),
        ({"6b_finetuning": {"solution": ""}}, r"row 1: column 'solution' is empty"),
        ({"question": " "}, r"row 1: column 'question' is empty"),
        ({"6b_finetuning": {"is_correct": "maybe", "solution": "A: 1"}}, r"row 1: 'maybe' in col"),
    ],
)
def test_a_file_that_cannot_be_used(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    rows = publisher_gsm8k.rows()
    rows[0] |= change
    path = tmp_path / "example_model_solutions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=said) as caught:
        load_dataset("gsm8k", data_dir=tmp_path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_a_model_that_is_missing(tmp_path: Path) -> None:
    rows = publisher_gsm8k.rows()
    for row in rows:
        del row["175b_finetuning"]
    (tmp_path / "example_model_solutions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match="has no column '175b_finetuning'; the columns are: "):
        load_dataset("gsm8k", data_dir=tmp_path)


# --- the real file


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load_with_rows("gsm8k", data_dir=DATA)


def by_question(loaded: Loaded) -> list[list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in loaded.rows:
        groups.setdefault(row["question"], []).append(row)
    return list(groups.values())


@real
def test_counts(loaded: Loaded) -> None:
    data, gold = loaded.data, loaded.gold
    assert gold is not None
    assert len(loaded.rows) == 5276 and len(data) == len(gold) == 5268
    assert len(set(data.groups)) == 1319
    assert sum(row["label"] for row in loaded.rows) == 2001
    assert sum(gold.labels.values()) == 1994
    assert sum(row["answer"] is None for row in loaded.rows) == 11
    right = Counter(sum(row["label"] for row in of) for of in by_question(loaded))
    assert right == {0: 432, 1: 290, 2: 236, 3: 205, 4: 156}
    assert not any(row["label"] for row in loaded.rows if row["answer"] is None)
    assert "edition" not in data.note


@real
def test_the_facts_hold_in_gold(loaded: Loaded) -> None:
    data, gold = loaded.data, loaded.gold
    assert gold is not None
    assert Counter(r.name for r in data.relations) == {"equal": 869, "at-most-one": 1156}
    assert violations(data, gold) == {}
    pairs: Counter[str] = Counter()
    for of in by_question(loaded):
        answered = [row for row in of if row["answer"] is not None]
        for one, other in combinations(answered, 2):
            if one["answer"] == other["answer"]:
                pairs["same answer"] += 1
                pairs["disagree"] += one["label"] != other["label"]
            else:
                pairs["different answers"] += 1
                pairs["both right"] += one["label"] and other["label"]
    assert pairs == {"same answer": 2175, "disagree": 0, "different answers": 5707, "both right": 0}


@real
def test_what_structure_alone_tells(loaded: Loaded) -> None:
    data, gold = loaded.data, loaded.gold
    assert gold is not None
    rows = found = 0
    for of in by_question(loaded):
        times = Counter(row["answer"] for row in of if row["answer"] is not None)
        found += sum((times[row["answer"]] >= 2) == row["label"] for row in of)
        rows += len(of)
    assert found / rows == pytest.approx(0.831, abs=0.0005)
    assert 1 - 2001 / rows == pytest.approx(0.621, abs=0.0005)
    baseline = agreement_only(data)
    assert baseline is not None
    agreed = baseline.labels.argmax(axis=1) == gold_array(data, gold)
    assert agreed.mean() == pytest.approx(0.831, abs=0.0005)


@real
def test_without_calculator_calls_nothing_falls_together(loaded: Loaded) -> None:
    table = (DATA / "gsm8k" / "example_model_solutions.jsonl").read_text("utf-8").splitlines()
    written = {
        (row["question"], row[model]["solution"])
        for row in map(json.loads, table)
        for model in publisher_gsm8k.MODELS
    }
    assert len(written) == len(loaded.data)
    assert sum("<<" in text for text in loaded.data.texts) < 12  # the cut-off ones
    assert not any(">>" in text for text in loaded.data.texts)
