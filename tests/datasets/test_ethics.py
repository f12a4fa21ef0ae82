"""ETHICS: the five parts on made-up rows, and the counts of the real files."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import publisher_ethics as publisher
import publisher_ethics_pairs as pairs
import pytest

from consilience.data.dataset import Dataset, Gold, example_id
from consilience.datasets import load_dataset, load_with_rows
from consilience.datasets.ethics_pairs import LONGEST_CHAIN, chains, closing, pair_of
from consilience.errors import InputError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(
    not (REAL / "ethics").is_dir(), reason="the publisher's files are not here"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publisher.write(tmp_path)
    pairs.write(tmp_path)
    return tmp_path


def loaded(name: str, folder: Path, **options: str) -> tuple[Dataset, Gold]:
    data, gold = load_dataset(f"ethics-{name}", data_dir=folder, **options)
    assert gold is not None
    return data, gold


def label(data: Dataset, gold: Gold, text: str) -> int | None:
    assert text in data.texts
    return gold.labels.get(example_id(text))


def counted(data: Dataset, gold: Gold) -> dict[str, tuple[int, int]]:
    """For each kind of relation how many there are, and how many gold breaks."""
    found, broken = Counter[str](), Counter[str]()
    for relation in data.relations:
        name = f"{relation.name} (prior)" if relation.prior else relation.name
        labels = np.array([[gold.labels[id] for id in relation.members]])
        found[name] += 1
        broken[name] += int(not relation.holds(labels)[0])
    return {name: (n, broken[name]) for name, n in found.items()}


def rewrite(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "ethics" / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


# --- labels and texts


def test_what_class_one_is(folder: Path) -> None:
    data, gold = loaded("commonsense", folder)
    assert label(data, gold, "I oiled the moon while it slept.") == 1
    assert label(data, gold, "I oiled the moon.") == 0
    assert data.task.classes[1] == "Wrong"
    data, gold = loaded("deontology", folder)
    assert label(data, gold, "Situation: I am a spoon.\nResponse: So I should stir.") == 1
    assert label(data, gold, "Situation: I am a spoon.\nResponse: So I should fly south.") == 0
    data, gold = loaded("justice", folder)
    assert label(data, gold, "I deserve a bell because I rang") == 1
    data, gold = loaded("virtue", folder)
    # The last separator counts: a scenario may hold one.
    scenario = "Cy waited for the moon [SEP] twice."
    assert label(data, gold, f"Scenario: {scenario}\nTrait: patient") == 1
    assert label(data, gold, f"Scenario: {scenario}\nTrait: hasty") == 0


def test_groups(folder: Path) -> None:
    data, _ = loaded("deontology", folder)
    assert set(Counter(data.groups).values()) == {2} and "I am a spoon." in data.groups
    data, _ = loaded("justice", folder)
    sizes = Counter(data.groups)
    # Up to the first "because"; a sentence without one is a group of its own.
    assert sizes["I deserve a bell"] == 2
    assert sizes["I normally wave at the tide, but I didn't since I am shy."] == 1
    data, _ = loaded("virtue", folder)
    assert set(Counter(data.groups).values()) == {5}
    data, _ = loaded("commonsense", folder)
    assert data.groups == data.ids


def test_white_space_at_the_ends_is_cut(folder: Path) -> None:
    for name in ("deontology", "utilitarianism"):
        data, _ = loaded(name, folder)
        assert not any(line != line.strip() for text in data.texts for line in text.split("\n"))
    # So that copies which differ in it are one example, as are mirrors of a pair said both ways.
    assert "4 rows repeat an earlier text" in data.note


def test_copies_that_disagree_have_no_gold(folder: Path) -> None:
    data, gold = loaded("commonsense", folder, split="train")
    torn = publisher.commonsense("train")[2][1]
    assert label(data, gold, torn) is None and len(gold) == len(data) - 1
    data, gold = loaded("utilitarianism", folder)
    for one, other in pairs.BOTH:
        assert label(data, gold, f"Situation 1: {one}\nSituation 2: {other}") is None
    assert len(gold) == len(data) - 2


# --- options


def test_length(folder: Path) -> None:
    short, _ = loaded("commonsense", folder)
    long, gold = loaded("commonsense", folder, length="long")
    every, _ = loaded("commonsense", folder, length="all")
    assert set(short.texts) == {text for two in publisher.SHORT for text in two}
    assert set(long.texts) == {text for text, _ in publisher.LONG}
    assert sorted(every.ids) == sorted([*short.ids, *long.ids])
    assert label(long, gold, publisher.LONG[1][0]) == 1


@pytest.mark.parametrize(
    "name", ["commonsense", "deontology", "justice", "utilitarianism", "virtue"]
)
def test_split(name: str, folder: Path) -> None:
    data, _ = loaded(name, folder)
    hard, _ = loaded(name, folder, split="test_hard")
    assert data.ids != hard.ids
    others = load_with_rows(f"ethics-{name}", data_dir=folder).others
    assert others["test_hard"]().ids == hard.ids


def test_virtue_has_no_train(folder: Path) -> None:
    # Its five traits are not five rows there, and exactly one would be wrong.
    with pytest.raises(InputError, match=r"takes split=test\|test_hard, got 'train'"):
        loaded("virtue", folder, split="train")


def test_closure(folder: Path) -> None:
    data, gold = loaded("utilitarianism", folder)
    more, same = loaded("utilitarianism", folder, closure="on")
    assert same == gold and set(data.ids) < set(more.ids)
    added = {text for text in more.texts if text not in data.texts}
    ends = (  # of each two pairs of the chain that share a text
        ("I found a fog.", "I found half a fog.  It left."),
        ("I found a fog.", "I lost a fog."),
        ("I found half a fog.  It left.", "I lost a fog."),
        ("I found half a fog.", "I lost two fogs, and a hat."),
    )
    both = {two for pair in ends for two in (pair, pair[::-1])}
    assert added == {f"Situation 1: {a}\nSituation 2: {b}" for a, b in both}
    assert counted(data, Gold(dict.fromkeys(data.ids, 0)))["ordered"][0] == 1
    kinds = Counter(relation.name for relation in more.relations)
    # One for each three that are now all compared: four of the chain, one more of four added, …
    assert kinds["ordered"] == 1 + 5 and kinds["opposite"] == len(more) // 2
    group = dict(zip(more.texts, more.groups, strict=True))
    one, other = ends[0]
    assert group[f"Situation 1: {one}\nSituation 2: {other}"] in data.groups


# --- relations


def test_one_trait_fits_by_design(folder: Path) -> None:
    data, gold = loaded("virtue", folder)
    assert counted(data, gold) == {"exactly-one (prior)": (9, 0)}
    for relation in data.relations:
        assert len(relation.members) == 5


def test_both_ways_round_are_opposite(folder: Path) -> None:
    data, gold = loaded("utilitarianism", folder)
    scored = [r for r in data.relations if set(r.members) <= set(gold.labels)]
    assert len(scored) == len(data.relations) - 1  # but the pair that is said both ways
    assert counted(Dataset("scored", data.examples, scored), gold) == {
        "opposite": (14, 0),
        "ordered": (1, 0),
    }
    # And each way round is the other's mirror.
    by_id = dict(zip(data.ids, data.texts, strict=True))
    for relation in data.relations:
        if relation.name == "opposite":
            one, other = (by_id[id].split("\n") for id in relation.members)
            assert [line[13:] for line in one] == [line[13:] for line in other[::-1]]


def test_chains_are_bounded_and_connected() -> None:
    texts = [f"t{i:03}" for i in range(100)]
    line = [pair_of(*two) for two in pairwise(texts)]
    star = [pair_of("hub", text) for text in texts[:35]]
    found = chains([*line, *star, ("x", "y")])
    assert chains([("x", "y"), *star[::-1], *line, *line]) == found
    members: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for pair, name in found.items():
        members[name].append(pair)
    assert set(found) == {*line, *star, ("x", "y")} and members[found["x", "y"]] == [("x", "y")]
    assert max(map(len, members.values())) == LONGEST_CHAIN
    for of in members.values():
        reached, left = set(of[0]), of[1:]
        while near := [pair for pair in left if reached & set(pair)]:
            reached |= {text for pair in near for text in pair}
            left = [pair for pair in left if pair not in near]
        assert not left


def test_what_closes_a_chain() -> None:
    assert closing({("a", "b"): "one", ("b", "c"): "two"}) == {("a", "c"): "one"}
    assert closing({("a", "b"): "one", ("b", "c"): "one", ("a", "c"): "one"}) == {}


# --- files that cannot be used


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "said"),
    [
        ("commonsense", "commonsense/cm_test.csv", "is_short", "short", "no column 'is_short'"),
        ("commonsense", "commonsense/cm_test.csv", "True", "no", "has no rows"),
        ("deontology", "deontology/deontology_test.csv", "So I should stir.", " ", "is empty"),
        ("justice", "justice/justice_test.csv", "\n1,", "\n3,", "'3' in column 'label' is none of"),
        ("virtue", "virtue/virtue_test.csv", " [SEP] vain", "", "row 5 .* no .SEP. between"),
        ("utilitarianism", "utilitarianism/util_test.csv", "NA", '"NA",x', "has 3 cells"),
        ("utilitarianism", "utilitarianism/util_test.csv", "NA", "None", "'None' with itself"),
    ],
)
def test_a_file_that_cannot_be_used(
    name: str, file: str, old: str, new: str, said: str, folder: Path
) -> None:
    rewrite(folder, file, old, new)
    with pytest.raises(InputError, match=said) as caught:
        loaded(name, folder)
    assert "\n" not in str(caught.value)


def test_accounts_of_every_length_need_no_column_of_length(folder: Path) -> None:
    before, _ = loaded("commonsense", folder, length="all")
    rewrite(folder, "commonsense/cm_test.csv", "is_short", "something")
    after, _ = loaded("commonsense", folder, length="all")
    assert after.to_json() == before.to_json()


# --- the real files


@real
@pytest.mark.parametrize(
    ("name", "split", "examples", "positive"),
    [
        ("deontology", "test", 3596, 1786),
        ("deontology", "test_hard", 3536, 1763),
        ("justice", "test", 2704, 1354),
        ("justice", "test_hard", 2052, 1050),
        ("virtue", "test", 4975, 995),
        ("virtue", "test_hard", 4780, 956),
        ("utilitarianism", "test", 2 * 4802, 4802),
        ("utilitarianism", "test_hard", 2 * 4270, 4270),
    ],
)
def test_counts(name: str, split: str, examples: int, positive: int) -> None:
    data, gold = loaded(name, REAL, split=split)
    assert (len(data), len(gold), sum(gold.labels.values())) == (examples, examples, positive)


@real
@pytest.mark.parametrize(
    ("split", "length", "examples", "positive"),
    [
        ("test", "short", 2109, 983),
        ("test", "long", 1776, 833),
        ("test", "all", 3885, 1816),
        ("test_hard", "short", 1704, 824),
        ("test_hard", "all", 3964, 2091),
    ],
)
def test_counts_of_accounts(split: str, length: str, examples: int, positive: int) -> None:
    data, gold = loaded("commonsense", REAL, split=split, length=length)
    assert (len(data), len(gold), sum(gold.labels.values())) == (examples, examples, positive)


@real
def test_how_many_of_four_responses_are_reasonable() -> None:
    data, gold = loaded("deontology", REAL)
    per_group: Counter[str] = Counter()
    for id, group in zip(data.ids, data.groups, strict=True):
        per_group[group] += gold.labels[id]
    assert Counter(Counter(data.groups).values()) == {4: 899}
    assert Counter(per_group.values()) == {2: 738, 1: 86, 3: 72, 4: 2, 0: 1}


@real
def test_sentences_that_begin_alike() -> None:
    data, _ = loaded("justice", REAL)
    # Two more groups of four than without the cut at either end: their members differed in it.
    sizes = Counter(Counter(data.groups).values())
    assert sizes == {1: 769, 2: 44, 3: 15, 4: 449, 6: 1}


@real
@pytest.mark.parametrize(("split", "scenarios"), [("test", 995), ("test_hard", 956)])
def test_exactly_one_trait_fits_and_none_is_said_for_80_percent(split: str, scenarios: int) -> None:
    data, gold = loaded("virtue", REAL, split=split)
    assert counted(data, gold) == {"exactly-one (prior)": (scenarios, 0)}
    assert np.mean([value == 0 for value in gold.labels.values()]) == 0.8


@real
@pytest.mark.parametrize(
    ("split", "relations", "paths", "added"),
    [
        pytest.param(
            *("test", {"opposite": (4802, 0), "ordered": (1, 0)}, 2343, 5224),
            marks=pytest.mark.slow,
        ),
        ("test_hard", {"opposite": (4270, 0)}, 967, 2664),
    ],
)
def test_paths_of_two_hardly_ever_close(
    split: str, relations: dict[str, tuple[int, int]], paths: int, added: int
) -> None:
    data, gold = loaded("utilitarianism", REAL, split=split)
    assert counted(data, gold) == relations
    rows = load_with_rows("ethics-utilitarianism", data_dir=REAL, split=split).rows
    above = {(row["first"], row["second"]) for row in rows if row["label"] == 1}
    below: dict[str, set[str]] = defaultdict(set)
    for better, worse in above:
        below[better].add(worse)
    assert sum(len(below.get(middle, ())) for _, middle in above) == paths
    more, _ = loaded("utilitarianism", REAL, split=split, closure="on")
    assert len(more) - len(data) == 2 * added
    assert max(Counter(data.groups).values()) == 2 * LONGEST_CHAIN


@real
@pytest.mark.parametrize("split", ["test", "test_hard"])
def test_what_is_more_pleasant_never_goes_in_a_circle(split: str) -> None:
    rows = load_with_rows("ethics-utilitarianism", data_dir=REAL, split=split).rows
    above: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["label"] == 1:
            above[row["second"]].add(row["first"])
    left = {text for text, of in above.items() for text in (text, *of)}
    # Texts that have nothing above them are taken out until none is left; a circle would stay.
    while top := {text for text in left if not above.get(text, set()) & left}:
        left -= top
    assert not left


@real
def test_a_pair_of_train_is_said_both_ways() -> None:
    data, gold = loaded("utilitarianism", REAL, split="train")
    assert len(data) == 2 * 13617 and len(data) - len(gold) == 2


@real
def test_what_stands_in_both_test_files() -> None:
    for name in ("commonsense", "deontology", "justice", "virtue"):
        options = {"length": "all"} if name == "commonsense" else {}
        data, _ = loaded(name, REAL, **options)
        hard, _ = loaded(name, REAL, split="test_hard", **options)
        assert not set(data.ids) & set(hard.ids)
    files = []
    for split in ("test", "test_hard"):
        path = REAL / "ethics" / "utilitarianism" / f"util_{split}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            files.append({tuple(row) for row in csv.reader(file)})
    assert len(files[0] & files[1]) == 149
    texts = [{text for pair in of for text in pair} for of in files]
    assert len(texts[0]) == 5844 and len(texts[0] & texts[1]) == 935
