"""Geometry of Truth: what statements say of one another, read from their words alone."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import publisher_geometry as publisher
import pytest

from consilience.data.dataset import Dataset, Gold, example_id
from consilience.datasets import load_dataset
from consilience.errors import InputError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"

STATEMENTS = {  # what is in the publisher's files: the rows of one file, and true ones among them
    "geometry-cities": (1496, 748),
    "geometry-sp-en": (354, 177),
    "geometry-larger-than": (1980, 990),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publisher.write(tmp_path)
    return tmp_path


def loaded(name: str, folder: Path, **options: str) -> tuple[Dataset, Gold]:
    data, gold = load_dataset(name, data_dir=folder, **options)
    assert gold is not None and len(gold) == len(data)
    return data, gold


def counted(data: Dataset, gold: Gold) -> dict[str, tuple[int, int]]:
    """For each kind of fact how many there are, and how many gold breaks."""
    found: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for relation in data.relations:
        assert not relation.prior
        found[relation.name] += 1
        labels = np.array([[gold.labels[id] for id in relation.members]])
        broken[relation.name] += int(not relation.holds(labels)[0])
    return {name: (count, broken[name]) for name, count in found.items()}


def said(*texts: str) -> tuple[str, ...]:
    return tuple(example_id(text) for text in texts)


# --- what holds of the statements


@pytest.mark.parametrize(
    ("name", "relations"),
    [
        ("geometry-cities", {"opposite": 18, "at-most-one": 8}),
        ("geometry-sp-en", {"opposite": 9}),
        ("geometry-larger-than", {"equal": 20, "opposite": 10, "ordered": 10}),
        ("geometry-conj", {"and": 103, "at-most-one": 8}),
        ("geometry-disj", {"or": 103, "at-most-one": 8}),
    ],
)
def test_every_relation_is_a_fact_that_gold_keeps(
    name: str, relations: dict[str, int], folder: Path
) -> None:
    assert counted(*loaded(name, folder)) == {kind: (n, 0) for kind, n in relations.items()}


def test_cities(folder: Path) -> None:
    data, gold = loaded("geometry-cities", folder)
    assert len(data) == 36 and sum(gold.labels.values()) == 18
    assert set(data.groups) == set(publisher.CITIES)
    where = "The city of N'Garra is in {}."
    one, other, third = said(*map(where.format, publisher.CITIES["N'Garra"]))
    assert (gold.labels[one], gold.labels[other]) == (1, 0)
    assert tuple(sorted((one, other, third))) in {r.members for r in data.relations}
    denied = said(where.format("Kurrland").replace("is in", "is not in"))[0]
    assert tuple(sorted((other, denied))) in {r.members for r in data.relations}


def test_words_may_have_several_meanings(folder: Path) -> None:
    data, _ = loaded("geometry-sp-en", folder)
    assert len(data) == 18 and len(set(data.groups)) == 8
    assert "2 rows repeat an earlier text: the same example, with one label." in data.note


def test_numbers(folder: Path) -> None:
    data, gold = loaded("geometry-larger-than", folder)
    assert len(data) == 40 and set(Counter(data.groups).values()) == {4}
    larger, smaller, turned = said(
        "Varn is larger than ozz.", "Ozz is smaller than varn.", "Varn is smaller than ozz."
    )
    assert [gold.labels[id] for id in (larger, smaller, turned)] == [1, 1, 0]
    facts = {
        r.name: {x.members for x in data.relations if x.name == r.name} for r in data.relations
    }
    assert tuple(sorted((larger, smaller))) in facts["equal"]
    # An opposite for each pair of numbers is enough: the equal ones carry it to all four.
    assert len({frozenset(data.groups[data.index[m]] for m in o) for o in facts["opposite"]}) == 10


def test_the_place_in_an_order_does_not_tell_the_label(folder: Path) -> None:
    data, gold = loaded("geometry-larger-than", folder)
    worlds = {
        tuple(gold.labels[id] for id in r.members) for r in data.relations if r.name == "ordered"
    }
    assert len(worlds) > 1
    assert not any(name in group for group in data.groups for name in publisher.NUMBERS)


@pytest.mark.parametrize(("name", "one_is_enough"), [("geometry-conj", 0), ("geometry-disj", 1)])
def test_compounds(name: str, one_is_enough: int, folder: Path) -> None:
    data, gold = loaded(name, folder)
    how, joined = [("both", "and"), ("either", "or")][one_is_enough]
    home, abroad = "the city of Vellamo is in Kurrland", "the city of Vellamo is in the Sild Isles"
    whole, one, other = said(
        f"It is the case {how} that {home} {joined} that {abroad}.",
        f"T{home[1:]}.",
        f"T{abroad[1:]}.",
    )
    assert [gold.labels[id] for id in (whole, one, other)] == [one_is_enough, 1, 0]
    members = {r.members for r in data.relations}
    assert (one, other, whole) in members
    twice = said(f"It is the case {how} that {home} {joined} that {home}.")[0]
    assert (one, twice) in members
    assert data.groups[data.index[whole]] == "Vellamo"


# --- options


def test_without_negations(folder: Path) -> None:
    for name, relations in (
        ("geometry-cities", {"at-most-one": (8, 0)}),
        ("geometry-sp-en", {}),
    ):
        every, _ = loaded(name, folder)
        data, gold = loaded(name, folder, negations="without")
        assert set(data.ids) < set(every.ids) and len(data) * 2 == len(every)
        assert not any(" not " in text for text in data.texts)
        assert counted(data, gold) == relations


def test_a_limit_keeps_whole_structures(folder: Path) -> None:
    every, _ = loaded("geometry-conj", folder)
    data, gold = loaded("geometry-conj", folder, limit="5")
    assert counted(data, gold)["and"] == (5, 0)
    assert set(data.ids) < set(every.ids)
    assert sum(text.startswith("It is the case") for text in data.texts) == 5
    publisher.write(folder, swap=True, shuffle=4)
    assert loaded("geometry-conj", folder, limit="5")[0].to_json() == data.to_json()


@pytest.mark.parametrize("limit", ["0", "-1", "half", ""])
def test_a_limit_that_is_none(limit: str, folder: Path) -> None:
    with pytest.raises(InputError, match="is no number of statements; give one from 1, or all"):
        load_dataset("geometry-disj", data_dir=folder, limit=limit)


# --- files that cannot be used


def rewrite(path: Path, column: str, value: str) -> None:
    """The file with another value in one column of its third row."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[2][column] = value
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("name", "stem", "column", "value", "expected"),
    [
        ("geometry-cities", "neg_cities", "label", "yes", "'yes' in column 'label', expected 0 or"),
        ("geometry-cities", "cities", "label", "", "None in column 'label', expected 0 or 1"),
        ("geometry-cities", "cities", "statement", "Pell is in Herm.", "has not the form that all"),
        ("geometry-larger-than", "smaller_than", "statement", "A equals b.", "has not the form"),
        ("geometry-conj", "cities_cities_conj", "label2", "2", "'2' in column 'label2', expected"),
        (
            *("geometry-disj", "cities_cities_disj", "statement"),
            "It is the case either that pell is wet or that quay is dry.",
            "the part 'Pell is wet.' is not about a city",
        ),
        (
            *("geometry-disj", "cities_cities_disj", "statement"),
            "It is the case both that pell is wet and that quay is dry.",
            "has not the form that all",
        ),
    ],
)
def test_a_file_that_cannot_be_used(
    name: str, stem: str, column: str, value: str, expected: str, folder: Path
) -> None:
    path = folder / "geometry" / f"{stem}.csv"
    rewrite(path, column, value)
    with pytest.raises(InputError) as caught:
        load_dataset(name, data_dir=folder)
    message = str(caught.value)
    assert expected in message and "\n" not in message
    assert message.startswith(f"{path}, row 3 (line 4): ")


def test_a_column_that_is_missing(folder: Path) -> None:
    path = folder / "geometry" / "cities.csv"
    path.write_text("statement,label\nThe city of Pell is in Herm.,1\n", "utf-8")
    with pytest.raises(InputError, match="has no column 'correct_country'; the columns are: state"):
        load_dataset("geometry-cities", data_dir=folder)


def test_labels_that_disagree(folder: Path) -> None:
    path = folder / "geometry" / "cities_cities_conj.csv"
    rewrite(path, "label1", "0")
    with pytest.raises(InputError, match="but another label"):
        load_dataset("geometry-conj", data_dir=folder)


# --- the real files


@pytest.mark.skipif(not (REAL / "geometry").is_dir(), reason="the publisher's files are not here")
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_facts_hold_in_the_real_files(name: str) -> None:
    data, gold = loaded(name, REAL)
    rows, true = STATEMENTS[name]
    assert sum(gold.labels.values()) * 2 == len(data)
    assert len(data) == 2 * (rows - (3 if name == "geometry-sp-en" else 0)) and true * 2 == rows
    assert {broken for _, broken in counted(data, gold).values()} == {0}


@pytest.mark.skipif(not (REAL / "geometry").is_dir(), reason="the publisher's files are not here")
@pytest.mark.parametrize(("name", "kind"), [("geometry-conj", "and"), ("geometry-disj", "or")])
def test_compounds_of_the_real_files(name: str, kind: str) -> None:
    found = counted(*loaded(name, REAL))
    assert found[kind][0] <= 1498 and {broken for _, broken in found.values()} == {0}
