"""AlpacaFarm's comparisons: votes counted for each pair, whichever way round it was shown."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import publisher_alpaca as publisher
import pytest

from consilience.data.dataset import Dataset, Gold, example_id
from consilience.datasets import load_dataset, load_with_rows
from consilience.errors import InputError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publisher.write(tmp_path)
    return tmp_path


def loaded(folder: Path, **options: str) -> tuple[Dataset, Gold]:
    data, gold = load_dataset("alpaca", data_dir=folder, **options)
    assert gold is not None
    return data, gold


def said(request: str, first: str, second: str) -> str:
    return example_id(f"Instruction: {request}\nResponse 1: {first}\nResponse 2: {second}")


def broken(data: Dataset, gold: Gold) -> tuple[Counter[str], Counter[str]]:
    """How many facts of each kind there are whose members all have gold, and how many break it."""
    found: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for relation in data.relations:
        assert not relation.prior
        labels = [gold.labels.get(id) for id in relation.members]
        if None not in labels:
            found[relation.name] += 1
            one, *others = labels
            holds = one != others[0] or (relation.name == "ordered" and others == [one, one])
            wrong[relation.name] += not holds
    return found, wrong


def test_both_orders_of_every_pair(folder: Path) -> None:
    data, gold = loaded(folder)
    # Nine pairs in two orders, and one of two equal responses; two votes are divided.
    assert len(data) == 19 and len(gold) == 16
    assert sum(gold.labels.values()) * 2 == len(gold)
    moons = "Name the moons of Urrl."
    assert gold.labels[said(moons, "Ob and Nyth.", "It has none.")] == 1
    assert gold.labels[said(moons, "It has none.", "Ob and Nyth.")] == 0
    divided = said("Fold the river.\n\nlength: 9 quills", "No.", "Fold it twice,\nthen once.")
    assert divided in data.index and divided not in gold.labels
    assert data.groups[data.index[divided]] == "Fold the river.\n\nlength: 9 quills"


def test_equal_and_empty_responses_stay(folder: Path) -> None:
    data, gold = loaded(folder)
    same = said("Say the same.", "The same.", "The same.")
    assert same in data.index and same not in gold.labels
    assert all(same not in relation.members for relation in data.relations)
    empty = said("Write no more than {three} words.", "Three {words} only", "(no text)")
    assert gold.labels[empty] == 1
    assert said("Count the lamps.", "Seven.", "Seven lamps, and one that is out.") in data.index


def test_better_is_asymmetric_and_transitive(folder: Path) -> None:
    data, gold = loaded(folder)
    assert Counter(r.name for r in data.relations) == {"opposite": 9, "ordered": 1}
    assert broken(data, gold) == ({"opposite": 8, "ordered": 1}, {"opposite": 0, "ordered": 0})
    (ordered,) = (r for r in data.relations if r.name == "ordered")
    assert {data.groups[data.index[id]] for id in ordered.members} == {"Name the moons of Urrl."}


def test_the_other_split(folder: Path) -> None:
    data, gold = loaded(folder, split="human_preference")
    assert len(data) == 19 and len(gold) == 18  # one vote each: nobody is divided
    tide = said("Who keeps the tide?", "Nobody does.", "The harbour master keeps it.")
    assert gold.labels[tide] == 1
    river = said("Fold the river.\nlength: 3 quills", "Fold it twice,\nthen once.", "No.")
    assert data.groups[data.index[river]] == "Fold the river.\nlength: 3 quills"


def test_the_audit_sees_order_and_votes(folder: Path) -> None:
    loaded = load_with_rows("alpaca", data_dir=folder)
    first, second = loaded.rows[:2]
    assert (first["order"], first["lead"], first["label"]) == ("as published", 2, 1)
    assert (second["order"], second["lead"], second["label"]) == ("exchanged", -2, 0)
    assert not {"order", "lead"} & loaded.used


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"preference": 3}, "row 2: 3 in column 'preference', expected 1 or 2; use the file"),
        ({"preference": None}, "row 2: None in column 'preference', expected 1 or 2"),
        ({"instruction": " "}, "row 2: column 'instruction' is empty, expected text"),
        ({"output_1": ["a"]}, "row 2: column 'output_1' holds a list, expected text"),
    ],
)
def test_a_file_that_cannot_be_used(change: dict[str, Any], expected: str, folder: Path) -> None:
    path = folder / "alpaca" / "alpaca_farm_human_crossannotations.json"
    rows = json.loads(path.read_text("utf-8"))
    rows[1] |= change
    path.write_text(json.dumps(rows), "utf-8")
    with pytest.raises(InputError) as caught:
        load_dataset("alpaca", data_dir=folder)
    assert str(caught.value).startswith(f"{path}, {expected}") and "\n" not in str(caught.value)


def test_a_column_that_is_missing(folder: Path) -> None:
    (folder / "alpaca" / "alpaca_human_preference.json").write_text('[{"instruction": "Go."}]')
    with pytest.raises(InputError, match="no column 'input'; the columns are: instruction"):
        load_dataset("alpaca", data_dir=folder, split="human_preference")


@pytest.mark.skipif(not (REAL / "alpaca").is_dir(), reason="the publisher's files are not here")
def test_the_facts_hold_in_the_real_file() -> None:
    found, wrong = broken(*loaded(REAL))
    assert found["opposite"] > 400 and wrong["opposite"] == 0
