"""DailyDilemmas: which action expresses a value more, on made-up rows and on the real files."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import publisher_daily_dilemmas as publisher
import pytest

from consilience.data.dataset import Dataset, Gold, example_id
from consilience.datasets import load_dataset, load_with_rows
from consilience.datasets.daily_dilemmas import THEORIES, dimension
from consilience.errors import InputError
from consilience.evaluation.audit import audit

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(
    not (REAL / "daily_dilemmas").is_dir(), reason="the publisher's files are not here"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publisher.write(tmp_path)
    return tmp_path


def loaded(folder: Path, **options: str) -> tuple[Dataset, Gold]:
    data, gold = load_dataset("daily-dilemmas", data_dir=folder, **options)
    assert gold is not None and len(gold) == len(data)
    return data, gold


def shown(situation: str, action: str, other: str) -> str:
    return example_id(f"Situation: {situation}\nAction 1: {action}\nAction 2: {other}")


def broken(data: Dataset, gold: Gold) -> int:
    return sum(
        not relation.holds(np.array([[gold.labels[id] for id in relation.members]]))[0]
        for relation in data.relations
    )


def test_the_action_with_more_values_of_the_dimension(folder: Path) -> None:
    _, gold = loaded(folder)
    lamp = "Your lamp is deaf. Do you tell it?"
    assert gold.labels[shown(lamp, "Tell the lamp", "Not tell the lamp")] == 1
    assert gold.labels[shown(lamp, "Not tell the lamp", "Tell the lamp")] == 0
    # A value that is listed twice counts twice, and both actions may have some.
    tide = 'The tide asks: "Am I late?" Do you answer?'
    assert gold.labels[shown(tide, "Say yes", "Say no, kindly")] == 1
    assert gold.labels[shown("The moon snores.", "Wake it", "Let it be")] == 0


def test_dilemmas_that_do_not_differ_are_left_out(folder: Path) -> None:
    data, _ = loaded(folder)
    left_out = {"An echo owes you a word.", "The gate is flat."}
    assert set(data.groups) == {item[0] for item in publisher.DILEMMAS} - left_out
    assert set(Counter(data.groups).values()) == {2}
    assert left_out & set(loaded(folder, value="Care")[0].groups) == {"The gate is flat."}


def test_the_two_actions_are_opposite(folder: Path) -> None:
    data, gold = loaded(folder)
    assert {(r.name, r.prior) for r in data.relations} == {("opposite", False)}
    assert len(data.relations) == len(set(data.groups)) and broken(data, gold) == 0


def test_the_value_decides_the_gold_and_the_question(folder: Path) -> None:
    truth, _ = loaded(folder)
    courage, gold = loaded(folder, value="Courage")
    assert set(courage.groups) != set(truth.groups)
    assert gold.labels[shown("The moon snores.", "Wake it", "Let it be")] == 1
    assert '"Truthfulness"' in truth.task.question and '"Courage"' in courage.task.question
    assert courage.task.statement == "Action 1 expresses Courage more than action 2"
    assert courage.task.opposite == "Action 2 expresses Courage more than action 1"


@pytest.mark.parametrize("value", ["Courage", "courage", "Virtue/Courage", "virtue/courage"])
def test_how_a_value_is_named(value: str, folder: Path) -> None:
    assert loaded(folder, value=value)[0].to_json() == loaded(folder, value="Courage")[0].to_json()


def test_no_two_theories_share_a_name() -> None:
    named = [name for _, names in THEORIES.values() for name in names]
    assert len({name.casefold() for name in named}) == len(named) == 37
    for theory, (phrase, names) in THEORIES.items():
        assert "{}" in phrase
        for name in names:
            assert dimension(name) == dimension(f"{theory}/{name}") == (theory, name)


@pytest.mark.parametrize("value", ["candour", "MFT/Courage", "Virtue", ""])
def test_a_value_there_is_not(value: str, folder: Path) -> None:
    with pytest.raises(InputError, match=r"no value='.*'; write .* Virtue: Truthfulness") as caught:
        loaded(folder, value=value)
    assert "\n" not in str(caught.value)


def test_what_is_hidden_is_kept_for_the_audit(folder: Path) -> None:
    rows = load_with_rows("daily-dilemmas", data_dir=folder).rows
    first = rows[0]
    assert (first["action_type"], first["difference"], first["topic_group"]) == (
        "to_do",
        1,
        "zyx 0",
    )
    assert first["negative_consequence"] == "Then the zyx of Tell the lamp came."
    assert [row["difference"] for row in rows if row["action"] == "Say yes"] == [2]


# --- files that cannot be used


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("dilemma_to_action_to_values_aggregated.csv", "action_type", "type", "no column 'action_"),
        ("dilemma_to_action_to_values_aggregated.csv", ",not_to_do,Nod,", ",to_do,Nod,", "second"),
        (
            "dilemma_to_action_to_values_aggregated.csv",
            ",not_to_do,Nod,",
            ",nod,Nod,",
            "to_do, nod",
        ),
        ("dilemma_to_action_to_values_aggregated.csv", "['candour']", "[candour", "no list of val"),
        (
            "dilemma_to_action_to_values_aggregated.csv",
            "['candour']",
            "",
            "holds no list of values",
        ),
        (
            "dilemma_to_action_to_values_aggregated.csv",
            "['candour']",
            "7",
            "holds no list of value",
        ),
        ("dilemma_to_action_to_values_aggregated.csv", "['candour']", "['x']", "lists 'x', which"),
        ("dilemma_to_action_to_values_aggregated.csv", "Wake it", " ", "'action' is empty"),
        ("values.csv", "Truthfulness", "truth", "column 'Virtue' is 'Truthfulness'"),
        ("values.csv", "Virtue", "V", "no column 'Virtue'"),
    ],
)
def test_a_file_that_cannot_be_used(file: str, old: str, new: str, said: str, folder: Path) -> None:
    path = folder / "daily_dilemmas" / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(InputError, match=said) as caught:
        loaded(folder)
    assert "\n" not in str(caught.value)


# --- the real files


@real
@pytest.mark.parametrize(
    ("value", "dilemmas", "to_do"),
    [
        ("Truthfulness", 522, 0.81),
        ("Courage", 258, 0.67),
        ("Patience", 184, 0.14),
        ("Maslow/self-esteem", 932, 0.65),
        ("Emotion/trust", 966, 0.67),
        ("Emotion/remorse", 18, 0.22),
        ("Emotion/contempt", 7, 0.14),
        ("MFT/Fairness", 856, 0.70),
        ("MFT/Authority", 698, 0.62),
        ("MFT/Care", 660, 0.47),
        ("MFT/Loyalty", 555, 0.58),
        ("WVS/Self-expression", 813, 0.54),
    ],
)
def test_counts(value: str, dilemmas: int, to_do: float) -> None:
    loaded = load_with_rows("daily-dilemmas", data_dir=REAL, value=value)
    assert loaded.gold is not None
    assert len(loaded.data) == 2 * dilemmas and len(loaded.data.relations) == dilemmas
    assert broken(loaded.data, loaded.gold) == 0
    more = [row["action_type"] == "to_do" for row in loaded.rows if row["label"] == 1]
    assert len(more) == dilemmas and round(np.mean(more), 2) == to_do


@real
def test_every_dimension_of_the_file_can_be_asked_about() -> None:
    with (REAL / "daily_dilemmas" / "values.csv").open(encoding="utf-8", newline="") as file:
        values = list(csv.DictReader(file))
    assert len(values) == 301
    for theory, (_, names) in THEORIES.items():
        assert {value[theory] for value in values} - {""} == set(names)


@real
def test_what_the_hidden_type_of_the_action_would_tell() -> None:
    found = audit(load_with_rows("daily-dilemmas", data_dir=REAL))
    assert abs(found.scores["field action_type"].estimate - 0.81) < 0.005
    assert "field action_type" in found.kept_out
    assert found.scores["words of the text"].estimate < 0.79
