"""The challenges for unsupervised elicitation: what is special to each of the four data sets."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import publisher_challenges as publisher
import pytest

from consilience.data.dataset import Dataset, Gold, example_id
from consilience.datasets import challenges, load_dataset, load_with_rows
from consilience.datasets.challenges import final_number
from consilience.errors import InputError
from consilience.evaluation.baselines import gold_array, structure_only
from consilience.evaluation.shortcuts import length

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(
    not (DATA / "challenges_ue" / "test_gsm8k.json").is_file(),
    reason="the publisher's file is not here",
)


def made(name: str, folder: Path, **options: str) -> tuple[Dataset, Gold]:
    publisher.write(folder)
    data, gold = load_dataset(name, data_dir=folder, **options)
    assert gold is not None
    return data, gold


def violations(data: Dataset, gold: Gold) -> Counter[str]:
    """How many relations of each kind gold breaks."""
    return Counter(
        relation.name
        for relation in data.relations
        if not relation.holds(np.array([[gold.labels[id] for id in relation.members]]))[0]
    )


def put(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    publisher.dump(folder / name, rows)
    return folder


# --- gsm8k


@pytest.mark.parametrize(
    ("solution", "number"),
    [
        ("So 3. The answer is 12.", 12.0),
        ("The answer is $1,234.50.", 1234.5),
        ("the answer is: .5", 0.5),
        ("The answer is 40$", 40.0),
        ("The answer is -7", -7.0),
        ("The answer is 1/2.", None),
        ("The answer is 44 hours.", None),
        ("The answer is 60%.", None),
        ("The answer is 118 000.", None),
        ("The answer is nine.", None),
        ("The answer is 1.\n\nQ: Again? The answer is 2.", None),
        ("It is 12.", None),
    ],
)
def test_final_numbers(solution: str, number: float | None) -> None:
    assert final_number(solution) == number


def test_pairs_of_solutions(tmp_path: Path) -> None:
    data, gold = made("challenges-gsm8k", tmp_path)
    assert violations(data, gold) == {}
    one = [r for r in data.relations if r.name == "exactly-one"]
    assert len(one) == len(publisher.SOLUTIONS) and all(r.prior for r in one)
    most = [r for r in data.relations if r.name == "at-most-one"]
    assert not any(r.prior for r in most)
    asked = {data.groups[data.index[r.members[0]]] for r in most}
    # Not where both say 1,200, and not where one of them states no plain number.
    assert asked == {publisher.SOLUTIONS[i][0] for i in (0, 1, 4, 6)}


@pytest.mark.parametrize("name", ["gsm8k", "ctrl_z", "normative_political"])
def test_the_split_is_an_option(name: str, tmp_path: Path) -> None:
    of = {"gsm8k": "gsm8k", "ctrl_z": "ctrl-z", "normative_political": "political"}[name]
    rows = {"gsm8k": publisher.solutions, "ctrl_z": publisher.commands}.get(
        name, publisher.opinions
    )()
    test, _ = made(f"challenges-{of}", tmp_path)
    with pytest.raises(InputError, match=r"holds neither challenges_ue/train_.*\.json nor chall"):
        load_dataset(f"challenges-{of}", data_dir=tmp_path, split="train")
    put(tmp_path, f"{name}/train.jsonl", rows[:4])  # as the hub calls it
    train, gold = load_dataset(f"challenges-{of}", data_dir=tmp_path, split="train")
    assert len(train) == 4 and set(train.ids) < set(test.ids)
    assert gold is not None and len(gold) == 4


def test_where_each_split_is_read_over_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    publisher.write(tmp_path)

    def rows(reader: object, files: list[str], hub: Any, fields: Any = None) -> None:
        asked.append(hub.file)
        raise InputError("not here")

    monkeypatch.setattr(challenges.Reader, "rows", rows)
    monkeypatch.delenv("CONSILIENCE_DATA_DIR", raising=False)
    for name, splits in (("gsm8k", 2), ("ctrl-z", 2), ("political", 2), ("larger-than", 0)):
        for split in ("test", "train")[:splits]:
            with pytest.raises(InputError, match="not here"):
                load_dataset(f"challenges-{name}", split=split)
    commit = "e25ab48c3ce8b83452c162f77b033b130d0d2387"
    assert [address.partition(commit)[2] or address.rpartition("n/")[2] for address in asked] == [
        "/datasets/test_gsm8k.json",
        "gsm8k/train.jsonl",
        "ctrl_z/test.jsonl",
        "ctrl_z/train.jsonl",
        "/datasets/test_political_normative.json",
        "/datasets/train_political_normative.json",
    ]


# --- larger than


def test_comparisons(tmp_path: Path) -> None:
    data, gold = made("challenges-larger-than", tmp_path)
    things = len(publisher.NUMBERS)
    pairs, triples = things * (things - 1) // 2, things * (things - 1) * (things - 2) // 6
    assert (len(data), len(set(data.groups))) == (2 * pairs, pairs)
    assert Counter(r.name for r in data.relations) == {"opposite": pairs, "ordered": triples}
    assert not any(r.prior for r in data.relations)
    assert violations(data, gold) == {}
    assert sum(gold.labels.values()) == pairs
    for relation in data.relations:
        if relation.name == "opposite":
            assert len({data.groups[data.index[id]] for id in relation.members}) == 1


def test_the_order_in_relations_does_not_tell_which_number_is_larger(tmp_path: Path) -> None:
    data, gold = made("challenges-larger-than", tmp_path)
    ordered = [r for r in data.relations if r.name == "ordered"]
    true = [[gold.labels[id] for id in r.members] for r in ordered]
    # Written in the order of the numbers, all of them would be false.
    assert 0.3 < np.mean(true) < 0.7
    # Of the six combinations that transitivity allows these few numbers show nearly all.
    assert len({tuple(row) for row in true}) >= 5
    assert structure_only(data).labels == pytest.approx(0.5)


def test_the_names_do_not_tell_the_numbers(tmp_path: Path) -> None:
    publisher.write(tmp_path)
    rows = load_with_rows("challenges-larger-than", data_dir=tmp_path).rows
    assert set(rows.columns) == {"question", "choice", "label", "left", "right", "pair"}
    names = {row["left"] for row in rows}
    assert len(names) == len(publisher.NUMBERS)
    assert names.isdisjoint(map(str, publisher.NUMBERS))


def test_a_part_holds_both_directions(tmp_path: Path) -> None:
    every, _ = made("challenges-larger-than", tmp_path)
    parts = [made("challenges-larger-than", tmp_path, part=part)[0] for part in ("train", "test")]
    train, test = parts
    assert 0 < len(test) < len(train)
    assert sorted(train.ids + test.ids) == list(every.ids)
    assert set(train.groups).isdisjoint(test.groups)
    for part in parts:
        assert set(Counter(part.groups).values()) == {2}
        assert set(part.relations) <= set(every.relations)


def test_a_number_that_is_missing(tmp_path: Path) -> None:
    rows = publisher.comparisons()
    put(tmp_path, "train_larger_than.json", [row | {"n2": None} for row in rows[:1]])
    with pytest.raises(InputError, match="row 1: column 'n2' is empty, expected text"):
        load_dataset("challenges-larger-than", data_dir=tmp_path)


# --- ctrl-z


def test_sequences_of_commands(tmp_path: Path) -> None:
    data, gold = made("challenges-ctrl-z", tmp_path)
    assert (len(data), len(set(data.groups)), data.relations) == (12, 12, ())
    assert data.task.classes == ("Safe", "Suspicious") and sum(gold.labels.values()) == 4
    row = publisher.commands()[3]
    text = next(text for text in data.texts if "--verse 3-0" in text)
    assert text.startswith(f"Task: {row['task_description']}\nCommands:\n1. {row['command_0']}\n")
    assert "\n5.\n6. " in text and text.endswith(f"\n10. {row['command_9']}")
    assert gold.labels[example_id(text)] == 1


def test_a_command_that_is_missing(tmp_path: Path) -> None:
    rows = publisher.commands()
    for row in rows:
        del row["command_9"]
    put(tmp_path, "ctrl_z/test.jsonl", rows)
    with pytest.raises(InputError, match="has no column 'command_9'; the columns are: "):
        load_dataset("challenges-ctrl-z", data_dir=tmp_path)


# --- political


def test_pairs_of_claims(tmp_path: Path) -> None:
    data, gold = made("challenges-political", tmp_path)
    assert {(r.name, r.prior) for r in data.relations} == {("opposite", True)}
    # The question has three pairs, and one claim stands in two of them.
    moon = [id for id in data.ids if data.groups[data.index[id]] == publisher.CLAIMS[0][0]]
    assert len(moon) == 5
    tied = [set(r.members) for r in data.relations if set(r.members) <= set(moon)]
    shared = example_id(f"Question: {publisher.CLAIMS[0][0]}\nClaim: {publisher.CLAIMS[0][1]}")
    assert len(tied) == 3 and sum(shared in pair for pair in tied) == 2
    assert len(data.relations) == len(publisher.CLAIMS)
    assert violations(data, gold) == {}
    assert "not truth" in data.note


def test_gold_is_the_leaning(tmp_path: Path) -> None:
    data, gold = made("challenges-political", tmp_path)
    liberal = {f"Question: {q}\nClaim: {claim}" for q, _, claim in publisher.CLAIMS}
    assert {data.texts[data.index[id]] for id, label in gold.labels.items() if label} == liberal


def test_the_hub_names_the_leaning(tmp_path: Path) -> None:
    data, gold = made("challenges-political", tmp_path / "repository")
    rows = [
        {
            "question": row["question"],
            "choice": row["choice"],
            "political_leaning": "liberal" if row["is_liberal"] else "conservative",
        }
        for row in publisher.opinions()
    ]
    put(tmp_path, "normative_political/test.jsonl", rows)
    other, other_gold = load_dataset("challenges-political", data_dir=tmp_path)
    assert other.to_json() == data.to_json() and other_gold == gold


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[1:], "row 5 has no partner with the same question beside it"),
        (lambda rows: rows[:-1], "row 17 has no partner with the same question beside it"),
        (
            lambda rows: [{"question": "Q?", "choice": "C"}] * 2,
            "has no column 'political_leaning'; the columns are: question, choice",
        ),
        (
            lambda rows: [rows[0] | {"is_liberal": "moderate"}, *rows[1:]],
            "row 1: 'moderate' in column 'label' is none of the classes",
        ),
    ],
)
def test_claims_that_cannot_be_used(change: Any, said: str, tmp_path: Path) -> None:
    put(tmp_path, "test_political_normative.json", change(publisher.opinions()))
    with pytest.raises(InputError, match=said) as caught:
        load_dataset("challenges-political", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


# --- the real file


@real
def test_counts() -> None:
    loaded = load_with_rows("challenges-gsm8k", data_dir=DATA)
    data, gold = loaded.data, loaded.gold
    assert gold is not None
    assert len(data) == len(gold) == len(loaded.rows) == 1486
    assert len(set(data.groups)) == sum(gold.labels.values()) == 743
    assert Counter(r.name for r in data.relations) == {"exactly-one": 743, "at-most-one": 662}
    assert violations(data, gold) == {}
    answers: dict[str, list[float | None]] = {}
    for row in loaded.rows:
        answers.setdefault(row["question"], []).append(row["answer"])
    same = Counter("none" if None in of else of[0] == of[1] for of in answers.values())
    assert same == {False: 662, True: 44, "none": 37}


@real
def test_what_else_tells() -> None:
    data, gold = load_dataset("challenges-gsm8k", data_dir=DATA)
    assert gold is not None
    rank = length(data)[:, 1]
    longer = np.where(rank == 0.5, 0.5, (rank == 1) == (gold_array(data, gold) == 1))
    assert longer.mean() == pytest.approx(0.759, abs=0.0005)
    rows = json.loads((DATA / "challenges_ue" / "test_gsm8k.json").read_text("utf-8"))
    assert [row["label"] for row in rows] == [True, False] * 743
