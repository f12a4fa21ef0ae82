"""Moral foundations vignettes: versions of one act, the human gold, and what the texts let slip."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import publisher_vignettes as publisher
import pytest

from consilience.data.dataset import Dataset, Gold, example_id
from consilience.datasets import load_dataset, load_with_rows
from consilience.datasets.vignettes import FOUNDATIONS, PERSONS, SETS
from consilience.errors import InputError
from consilience.models.label_logprobs import PREFIX
from consilience.prompts.framing import framings

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(
    not (REAL / "tiny_mfv").is_dir(), reason="the publisher's files are not here"
)
BOTH = ("moral-foundations", "moral-foundations-wrong")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publisher.write(tmp_path)
    return tmp_path


def loaded(folder: Path, name: str = BOTH[0], **options: str) -> tuple[Dataset, Gold]:
    data, gold = load_dataset(name, data_dir=folder, **options)
    assert gold is not None
    return data, gold


def broken(data: Dataset, gold: Gold) -> int:
    return sum(
        not relation.holds(np.array([[gold.labels[id] for id in relation.members]]))[0]
        for relation in data.relations
        if set(relation.members) <= set(gold.labels)
    )


def change(folder: Path, how: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "tiny_mfv" / "vignettes_classic_other_violate.jsonl"
    made = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    how(made[2])
    path.write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")


# --- gold


def test_what_most_raters_said(folder: Path) -> None:
    data, gold = loaded(folder)
    assert data.task.classes == tuple(FOUNDATIONS)
    fog = example_id("You sell the same fog twice.")
    assert data.task.classes[gold.labels[fog]] == "Fairness"
    soup = example_id("You see someone eating soup with a gate.")
    assert data.task.classes[gold.labels[soup]] == "Social Norms"
    wrong, is_wrong = loaded(folder, BOTH[1])
    assert wrong.ids == data.ids
    assert is_wrong.labels[fog] == 1 and is_wrong.labels[soup] == 0
    # As many raters for one as for another: no gold for either question.
    even = example_id("You tune a hill.")
    assert even in data.ids and even not in gold.labels and even not in is_wrong.labels


def test_the_foundation_that_the_file_names_is_not_gold(folder: Path) -> None:
    before = loaded(folder)
    change(folder, lambda row: row.update(foundation="Liberty", foundation_coarse="Liberty"))
    assert loaded(folder)[1] == before[1]
    change(folder, lambda row: row.update(human_Liberty=99.0))
    assert loaded(folder)[1] != before[1] and loaded(folder)[0].ids == before[0].ids


# --- sets and relations


@pytest.mark.parametrize("name", BOTH)
def test_sets(name: str, folder: Path) -> None:
    texts = {}
    for which in SETS:
        data, gold = loaded(folder, name, set=which)
        assert len(data) == 2 * len(publisher.ACTS)
        assert {(r.name, r.prior, len(r.members)) for r in data.relations} == {("equal", False, 2)}
        assert len(data.relations) == len(publisher.ACTS) and broken(data, gold) == 0
        texts[which] = set(data.texts)
    every, gold = loaded(folder, name, set="all")
    assert set(every.texts) == set.union(*texts.values()) and broken(every, gold) == 0
    # The classic set and that of artificial actors share ids, science fiction has its own.
    assert Counter(len(r.members) for r in every.relations) == {4: 10, 2: 10}
    assert Counter(Counter(every.groups).values()) == {4: 10, 2: 10}
    by_id = dict(zip(every.ids, every.texts, strict=True))
    for relation in every.relations:
        orbit = {"In orbit." in by_id[id] for id in relation.members}
        assert orbit == {len(relation.members) == 2}


def test_the_answer_at_the_end_of_a_text_is_cut_off(folder: Path) -> None:
    data, _ = loaded(folder, set="ai-actor")
    assert not any("Foundation" in text for text in data.texts)
    assert "You pinch the sleeping moon. As a bot." in data.texts
    assert "You praise the other tide. As a bot." in data.texts
    rows = load_with_rows(BOTH[0], data_dir=folder, set="ai-actor").rows
    cut = [row["left_over"] for row in rows if row["left_over"]]
    assert len(cut) == 5 and "\nFoundation: Care (zyx)" in cut


# --- how seven classes are asked about


def test_seven_names_that_can_be_told_apart() -> None:
    names = tuple(FOUNDATIONS)
    assert len({name.casefold()[:PREFIX] for name in names}) == 7
    data_task = load_task()
    named, turned = framings(data_task)
    assert named.family == turned.family == "names"
    assert named.label_names == turned.label_names == names
    assert named.instruction.endswith(f"Answer with one of: {', '.join(names)}.")
    assert turned.instruction.endswith(f"Answer with one of: {', '.join(names[::-1])}.")
    letters = framings(data_task, ["letters"])
    assert len(letters) == 7
    for c in range(7):
        assert {framing.label_names[c] for framing in letters} == set("ABCDEFG")
    for framing in letters:
        for name, what in FOUNDATIONS.items():
            assert f"{name}: {what}." in framing.instruction


def load_task() -> Any:
    from consilience.datasets import REGISTRY

    return REGISTRY[BOTH[0]].task({"set": "classic"})


# --- files that cannot be used


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda row: row.update(human_Care="many"), "row 3 .* human ratings holds no number"),
        (lambda row: row.update(human_Care=None), "row 3 .* human ratings holds no number"),
        (lambda row: row.update(text=" "), "column 'text' is empty"),
        (lambda row: row.update(id=None), "column 'id' is empty"),
        (lambda row: row.update(text="You tune a hill."), "in another group"),
    ],
)
def test_a_file_that_cannot_be_used(
    how: Callable[[dict[str, Any]], object], said: str, folder: Path
) -> None:
    change(folder, how)
    with pytest.raises(InputError, match=said) as caught:
        loaded(folder)
    assert "\n" not in str(caught.value)


def test_a_file_without_ratings(folder: Path) -> None:
    path = folder / "tiny_mfv" / "vignettes_classic_self_violate.jsonl"
    path.write_text(path.read_text("utf-8").replace("human_", "people_"), "utf-8")
    with pytest.raises(InputError, match=r"self_violate\.jsonl has no column 'human_Care'"):
        loaded(folder)


# --- the real files


@real
@pytest.mark.parametrize("which", SETS)
def test_counts(which: str) -> None:
    data, gold = loaded(REAL, set=which)
    assert (len(data), len(gold), len(data.relations)) == (264, 264, 132)
    assert broken(data, gold) == 0
    count = Counter(data.task.classes[label] for label in gold.labels.values())
    assert count == {
        **{"Care": 64, "Fairness": 34, "Authority": 34, "Sanctity": 34, "Liberty": 34},
        **{"Loyalty": 32, "Social Norms": 32},
    }
    data, gold = loaded(REAL, BOTH[1], set=which)
    assert Counter(gold.labels.values()) == {1: 232, 0: 32} and broken(data, gold) == 0


@real
def test_all_sets_together() -> None:
    data, gold = loaded(REAL, set="all")
    assert len(data) == len(gold) == 792 and broken(data, gold) == 0
    assert Counter(len(relation.members) for relation in data.relations) == {4: 132, 2: 132}


@real
@pytest.mark.parametrize("which", SETS)
def test_the_gold_agrees_with_the_other_columns(which: str) -> None:
    rows = load_with_rows(BOTH[0], data_dir=REAL, set=which).rows
    assert all(row["label"] == row["foundation_coarse"] for row in rows)
    odd = [row["wrong"] for row in rows if row["label"] == "Social Norms"]
    others = [row["wrong"] for row in rows if row["label"] != "Social Norms"]
    # The mean rating of wrongness parts the two as well; in scifi it is on another scale.
    highest, lowest = (2.8, 3.7) if which == "scifi" else (0.5, 1.4)
    assert (max(odd), min(others)) == (highest, lowest)


@real
def test_the_order_of_the_file_is_that_of_the_foundations() -> None:
    rows = load_with_rows(BOTH[0], data_dir=REAL).rows[:132]
    turns = sum(a["label"] != b["label"] for a, b in pairwise(rows))
    assert turns == 6


@real
def test_what_the_texts_let_slip() -> None:
    cut, named = Counter[str](), Counter[str]()
    for which in SETS:
        for row in load_with_rows(BOTH[0], data_dir=REAL, set=which).rows:
            cut[which] += bool(row["left_over"])
            assert row["left_over"].strip() in ("", f"Foundation: {row['foundation']}")
            named[which] += bool(re.search(rf"\b{row['label']}\b", row["text"], re.IGNORECASE))
    assert cut == {"classic": 0, "scifi": 0, "ai-actor": 64}
    # Rewritten in the second person, a few vignettes name what they violate.
    assert named == {"classic": 5, "scifi": 4, "ai-actor": 0}
    assert len(PERSONS) == 2
