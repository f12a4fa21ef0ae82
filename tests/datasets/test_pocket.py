"""The data sets of the pocket world: what they hold, their options, and that gold shapes none."""

from __future__ import annotations

from collections import Counter

import pytest

from consilience.data.dataset import example_id
from consilience.datasets import MADE, load_dataset, load_with_rows
from consilience.errors import InputError
from consilience.prompts.framing import framings, render

by_name = pytest.mark.parametrize("name", MADE)


def share(name: str, seed: int = 0, **options: str) -> float:
    _, gold = load_dataset(name, seed=seed, **options)
    assert gold is not None
    return sum(gold.labels.values()) / len(gold)


@by_name
def test_a_seed_makes_the_same_claims_and_another_seed_others(name: str) -> None:
    data, gold = load_dataset(name, seed=3)
    again, other = load_dataset(name, seed=3)
    assert data.to_json() == again.to_json() and gold == other
    assert set(load_dataset(name, seed=4)[0].ids) != set(data.ids)
    assert len(data) == MADE[name].examples
    assert gold is not None and set(gold.labels) == set(data.ids)


@by_name
def test_no_attribute_is_in_a_prompt_or_a_group(name: str) -> None:
    loaded = load_with_rows(name, seed=1)
    assert loaded.used == {"text", "group"}
    assert set(loaded.rows.columns) == {"text", "group", "label", *MADE[name].hidden}
    prompts = [render(f, loaded.data.texts[0]) for f in framings(loaded.data.task)]
    assert all(loaded.data.texts[0] in str(prompt) for prompt in prompts)
    labels = {row["group"]: set() for row in loaded.rows}
    for row in loaded.rows:
        labels[row["group"]].add(row["label"])
    # A claim and its negation share a group: where it has two, it has both labels.
    sizes = Counter(row["group"] for row in loaded.rows)
    if name == "pocket":
        assert {len(labels[group]) for group, size in sizes.items() if size == 2} == {2}


def test_of_a_claim_and_its_negation_one_is_true() -> None:
    data, gold = load_dataset("pocket", seed=2)
    assert gold is not None and len(data.relations) > 30
    for relation in data.relations:
        assert (relation.name, relation.prior) == ("exactly-one", False)
        assert sum(gold.labels[id] for id in relation.members) == 1


@pytest.mark.parametrize("true", ["0.01", "0.1", "0.5", "0.9", "0.99"])
def test_the_share_of_true_claims(true: str) -> None:
    assert share("pocket-imbalanced", true=true) == pytest.approx(float(true))


def test_the_other_data_sets_are_balanced() -> None:
    assert share("pocket") == share("pocket-popular") == 0.5
    assert 0.4 < share("pocket-salient") < 0.6
    _, topics = load_dataset("pocket-topics")
    assert topics is not None and set(Counter(topics.labels.values()).values()) == {60}


def attribute(name: str, attribute: str, seed: int = 0) -> dict[str, int]:
    rows = load_with_rows(name, seed=seed).rows
    return {example_id(row["text"]): int(row[attribute]) for row in rows}


def agreement(one: dict[str, int], other: dict[str, int]) -> float:
    return sum(one[id] == other[id] for id in one) / len(one)


def test_popular_belief_is_the_truth_by_chance_only() -> None:
    truth, belief = (attribute("pocket-popular", a) for a in ("truth", "popular"))
    assert agreement(truth, belief) == 0.5
    of_true = {id: label for id, label in truth.items() if label}
    assert agreement(of_true, belief) == 0.5
    usual = agreement(attribute("pocket", "truth"), attribute("pocket", "popular"))
    assert usual == pytest.approx(0.95)


def test_what_stands_out_is_not_the_truth() -> None:
    speaker = attribute("pocket-salient", "source")
    for other in ("firm", "calm"):
        assert attribute("pocket-salient", other) == speaker
    assert abs(agreement(speaker, attribute("pocket-salient", "truth")) - 0.5) < 0.1


def test_nobody_knows_what_does_not_exist() -> None:
    drawn = [load_dataset("pocket-no-answer", seed=s)[1] for s in range(3)]
    assert all(gold is not None and abs(sum(gold.labels.values()) - 200) < 50 for gold in drawn)


@by_name
def test_what_is_asked_is_held_out_of_training(name: str) -> None:
    if name != "pocket-no-answer":
        assert all(row["held_out"] for row in load_with_rows(name, seed=5).rows)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("pocket", {"claims": "few"}, "claims is a number from 8 to 800, got 'few'"),
        ("pocket", {"claims": "7"}, "from 8 to 800"),
        ("pocket", {"true": "0.1"}, "has no option 'true'; its options are: claims"),
        ("pocket-imbalanced", {"true": "0"}, "true is a share from 0.01 to 0.99, got '0'"),
        ("pocket-imbalanced", {"true": "half"}, "got 'half'"),
        ("pocket-topics", {"claims": "800"}, "no 200 different claims like that; ask for fewer"),
    ],
)
def test_options_that_cannot_be(name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_dataset(name, **options)


def test_there_are_no_files_to_name() -> None:
    with pytest.raises(InputError, match="'pocket' takes no data_dir"):
        load_dataset("pocket", data_dir="somewhere")
    assert len(load_dataset("pocket", claims="24")[0]) in (24, 25)
