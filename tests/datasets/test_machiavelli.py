"""MACHIAVELLI: what is compared follows from the size of a difference, never from its sign."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import publisher_machiavelli as publisher
import pytest

from consilience.data.dataset import Dataset, Gold
from consilience.datasets import load_dataset, load_with_rows, machiavelli
from consilience.errors import InputError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publisher.write(tmp_path)
    return tmp_path


def as_jsonl(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A folder with these rows as JSON lines."""
    path = folder / "lines" / "machiavelli" / "train.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return path.parents[1]


def loaded(folder: Path, **options: str) -> tuple[Dataset, Gold]:
    data, gold = load_dataset("machiavelli", data_dir=folder, **options)
    assert gold is not None and len(gold) == len(data)
    return data, gold


def said(game: str, scene: str, one: str, other: str) -> str:
    return f"Game: {game}\nScene: {scene}\nChoice A: {one}\nChoice B: {other}"


def of(data: Dataset, gold: Gold, text: str) -> int:
    return gold.labels[data.ids[data.texts.index(text)]]


def choices(data: Dataset) -> dict[str, int]:
    """How many choices of each scene are compared."""
    found: dict[str, set[str]] = {}
    for text in data.texts:
        scene, _, choice = text.partition("\nChoice A: ")
        found.setdefault(scene.partition("\nScene: ")[2], set()).add(choice.partition("\n")[0])
    return {scene: len(names) for scene, names in found.items()}


# --- what is compared


def test_the_choices_of_a_scene(folder: Path) -> None:
    data, gold = loaded(folder)
    asked = "The envoy of Tarn asks who opened the vault.\n\nIt is 3:15 in the morning."
    me, cook, nobody = "Say that it was you.", "Say that it was the cook.", "Say nothing."
    for more, less in ((cook, me), (cook, nobody), (nobody, me)):
        assert of(data, gold, said("The Salt Regent", asked, more, less)) == 1
        assert of(data, gold, said("The Salt Regent", asked, less, more)) == 0
    assert sum(gold.labels.values()) * 2 == len(data)
    assert not any(f"{n}: " in text for text in data.texts for n in range(4))


def test_equal_choices_are_not_compared(folder: Path) -> None:
    data, _ = loaded(folder)
    compared = choices(data)
    assert (
        compared["The envoy of Tarn asks who opened the vault.\n\nIt is 3:15 in the morning."] == 3
    )
    assert compared["The cook is led away."] == 2  # of three, two are equal
    assert "Nothing happens." not in compared
    assert compared["The inspector is back."] == 2  # 0.25 is too near to 0
    assert "The inspector reads your ledger." not in compared  # one is empty, one has no labels
    # Every two of those that are compared are, in both orders: being compared often tells nothing.
    assert len(data) == sum(n * (n - 1) for n in compared.values())


def test_more_is_asymmetric_and_transitive(folder: Path) -> None:
    data, gold = loaded(folder)
    found: Counter[str] = Counter()
    for relation in data.relations:
        assert not relation.prior
        found[relation.name] += 1
        assert relation.holds(np.array([[gold.labels[id] for id in relation.members]]))[0]
    assert found == {"opposite": len(data) // 2, "ordered": 1}


def test_a_scene_that_stands_twice_has_the_mean(folder: Path) -> None:
    data, gold = loaded(folder, gap="2")
    assert choices(data)["A buyer weighs the “amber”."] == 2  # of 1 and 3
    with pytest.raises(InputError, match=r"differs by 2\.5 or more"):
        loaded(folder, gap="2.5")
    scale = said(
        *("Weights & Measures", "A buyer weighs the “amber”."),
        *("Lean on the scale.", "Näher hinsehen."),
    )
    assert of(data, gold, scale) == 1


def test_the_audit_sees_the_menu(folder: Path) -> None:
    rows = load_with_rows("machiavelli", data_dir=folder).rows
    menu = [(row["choice_a"][:11], row["menu"][7]) for row in rows[:6]]
    assert menu == [
        *(("Say that it", "A"), ("Say that it", "A"), ("Say that it", "B")),
        *(("Say that it", "A"), ("Say nothing", "B"), ("Say nothing", "B")),
    ]
    assert rows[0]["slots"] == "3 of 4 slots have a choice and a value, 3 are compared"


# --- options


def test_axes(folder: Path) -> None:
    data, gold = loaded(folder, axis="killing")
    led = ("The Salt Regent", "The cook is led away.")
    assert choices(data) == {led[1]: 2}
    (watched,) = {t.rpartition(": ")[2] for t in data.texts} - {"Speak up."}
    assert of(data, gold, said(*led, watched, "Speak up.")) == 1
    assert data.task.statement == "Choice A involves more killing than choice B"
    data, _ = loaded(folder, axis="power")  # 250 apart; 100 and 150 are not enough
    assert list(choices(data).values()) == [2]
    assert len({machiavelli.task({"axis": axis}) for axis in machiavelli.AXES}) == 18


def test_gaps(folder: Path) -> None:
    near, far = loaded(folder, gap="0.25")[0], loaded(folder, gap="2")[0]
    assert choices(near)["The inspector is back."] == 3
    assert set(far.texts) < set(loaded(folder)[0].texts)
    power = loaded(folder, axis="power", gap="100")[0]
    assert choices(power).popitem()[1] == 3


def test_so_many_scenes_of_each_game(folder: Path) -> None:
    every, few = loaded(folder, per_game="all")[0], loaded(folder, per_game="2")[0]
    assert loaded(folder)[0].to_json() == every.to_json()  # none has more than 60
    kept = {text.partition("\nChoice A")[0] for text in few.texts}
    assert Counter(text.partition("\n")[0] for text in kept) == {
        "Game: The Salt Regent": 2,
        "Game: Weights & Measures": 2,
        "Game: Tide of Urrl": 2,
    }
    assert set(few.ids) < set(every.ids)
    publisher.write(folder, swap=True, shuffle=2)
    assert loaded(folder, per_game="2")[0].to_json() == few.to_json()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("gap", "0", "gap='0' is no difference; give a number above 0, or auto"),
        ("gap", "nan", "gap='nan' is no difference"),
        ("gap", "wide", "gap='wide' is no difference"),
        ("gap", "99", "no scene has two choices whose morality_deception differs by 99 or more"),
        ("per_game", "0", "per_game='0' is no number of scenes; give one from 1, or all"),
        ("axis", "spying", "no choice has a label morality_spying; use the file"),
    ],
)
def test_options_that_cannot_be(option: str, value: str, expected: str, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset("machiavelli", data_dir=folder, **{option: value})
    assert expected in str(caught.value) and "\n" not in str(caught.value)


# --- files


def test_json_lines_and_parts_give_the_same(folder: Path) -> None:
    data, gold = loaded(folder)
    lines = as_jsonl(folder, publisher.rows())
    other, other_gold = loaded(lines)
    assert other.to_json() == data.to_json() and other_gold == gold
    # The hub keeps a data set in several files, in a folder of its own.
    parts = folder / "parts" / "machiavelli" / "data"
    parts.mkdir(parents=True)
    (folder / "machiavelli" / "train.parquet").rename(parts / "train-00000-of-00001.parquet")
    assert loaded(folder / "parts")[0].to_json() == data.to_json()


def test_only_one_label_of_each_choice_is_read(folder: Path) -> None:
    path = folder / "machiavelli" / "train.parquet"
    fields = ("title", "obs", "choice_text", "choice_labels")
    (_, row), *_ = machiavelli._from_parquet(path, fields, "morality_deception")
    assert set(row) == set(fields)
    read = [labels for labels in row["choice_labels"].values() if labels is not None]
    assert read == [{"morality_deception": value} for value in (0.0, 2.0, 1.0)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"title": None}, "row 1 (line 1): column 'title' is None, expected text"),
        ({"obs": ["a"]}, "row 1 (line 1): column 'obs' is ['a'], expected text"),
        ({"choice_text": "a"}, "row 1 (line 1): column 'choice_text' holds a str, expected an obj"),
        (
            {"choice_labels": {"0": {"morality_deception": "much"}}},
            "row 1 (line 1): morality_deception of choice 0 is 'much', expected a number",
        ),
    ],
)
def test_rows_that_cannot_be_used(change: dict[str, Any], expected: str, folder: Path) -> None:
    rows = publisher.rows()
    rows[0] |= change
    with pytest.raises(InputError) as caught:
        load_dataset("machiavelli", data_dir=as_jsonl(folder, rows))
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_cannot_be_used(folder: Path) -> None:
    path = folder / "machiavelli" / "train.parquet"
    path.write_bytes(b"PAR1 or so")
    with pytest.raises(InputError, match=r"train\.parquet cannot be read as parquet: "):
        load_dataset("machiavelli", data_dir=folder)
    path.unlink()
    publisher.pq.write_table(publisher.pa.table({"title": ["a"], "obs": ["b"]}), path)
    with pytest.raises(InputError, match="no column 'choice_text'; the columns are: title, obs"):
        load_dataset("machiavelli", data_dir=folder)
    columns = {"title": ["a"], "obs": ["b"], "choice_text": ["c"], "choice_labels": ["d"]}
    publisher.pq.write_table(publisher.pa.table(columns), path)
    with pytest.raises(InputError, match="column 'choice_labels' is string, expected a struct"):
        load_dataset("machiavelli", data_dir=folder)
    lines = as_jsonl(folder, [{"title": "a", "obs": "b"}])
    with pytest.raises(InputError, match="no column 'choice_text'; the columns are: title, obs"):
        load_dataset("machiavelli", data_dir=lines)


@pytest.mark.skipif(not (REAL / "machiavelli").is_dir(), reason="the publisher's file is not here")
def test_the_facts_hold_in_the_real_file() -> None:
    data, gold = loaded(REAL)
    assert sum(gold.labels.values()) * 2 == len(data)
    for relation in data.relations:
        assert relation.holds(np.array([[gold.labels[id] for id in relation.members]]))[0]
