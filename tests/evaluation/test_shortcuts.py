"""Shortcuts: each feature on data sets small enough to be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import AtMostOne, Equal, ExactlyOne
from consilience.evaluation.shortcuts import NEGATION, SHORTCUTS, ranked

TEXTS = {
    "No, it is not": "a",
    "It is, at noon": "a",
    "Yes": "b",
    "yes, and very much so": "b",
    "Hardly": "b",
    "alone": None,
}
DATA = Dataset("made up", [Example(text, group) for text, group in TEXTS.items()])


def of(name: str, data: Dataset = DATA) -> dict[str, list[float]]:
    feature = SHORTCUTS[name](data)
    assert feature is not None and feature.shape[0] == len(data)
    return dict(zip(data.texts, feature.tolist(), strict=True))


def test_length_and_its_rank() -> None:
    found = of("length")
    assert {text: row[0] for text, row in found.items()} == {text: len(text) for text in TEXTS}
    assert [found[t][1] for t in TEXTS] == [0, 1, 0, 1, 0.5, 0.5]


def test_negations_are_counted() -> None:
    found = of("negation")
    assert [found[t][0] for t in TEXTS] == [2, 0, 0, 0, 1, 0]
    assert [found[t][1] for t in TEXTS] == [1, 0, 0.25, 0.25, 1, 0.5]


def test_negation_first_then_length() -> None:
    found = of("negation, then length")
    assert [found[t][0] for t in TEXTS] == [1, 0, 0, 0.5, 1, 0.5]


@pytest.mark.parametrize(
    ("text", "negative"),
    [
        ("it isn't", True),
        ("it isn’t", True),
        ("NOTHING at all", True),
        ("few do", True),
        ("a knot in a notebook", False),
        ("nobly noted", False),
        ("canto", False),
    ],
)
def test_what_is_negative(text: str, negative: bool) -> None:
    assert bool(NEGATION.search(text)) == negative


def test_equal_keys_share_their_rank() -> None:
    data = Dataset("four", [Example(str(i), "g") for i in range(4)])
    keys = {"0": 5, "1": 5, "2": 7, "3": 1}
    rank = ranked(data, [keys[t] for t in data.texts])
    assert dict(zip(data.texts, rank.tolist(), strict=True)) == pytest.approx(
        {"0": 0.5, "1": 0.5, "2": 1, "3": 0}
    )


def test_group_size_says_nothing_where_all_are_alike() -> None:
    assert [of("group size")[t][0] for t in TEXTS] == [2, 2, 3, 3, 3, 1]
    even = Dataset("even", [Example(str(i), str(i // 2)) for i in range(6)])
    assert SHORTCUTS["group size"](even) is None


def test_structure() -> None:
    ids = {text: Example(text).id for text in TEXTS}
    pair = tuple(sorted((ids["Yes"], ids["Hardly"])))
    rivals = tuple(sorted((pair[0], ids["yes, and very much so"])))
    two = (ids["No, it is not"], ids["It is, at noon"])
    tied = Dataset("tied", DATA.examples, [Equal(pair), AtMostOne(rivals), ExactlyOne(two)])
    agreeing = of("agreement: how many have the same answer", tied)
    assert [agreeing[t][0] for t in TEXTS] == [1, 1, 2, 1, 2, 1]
    excluding = of("rivals: how many exclude it", tied)
    assert [excluding[t][0] for t in TEXTS] == [
        *(2, 2),
        *(2 if ids[t] in rivals else 0 for t in ("Yes", "yes, and very much so", "Hardly")),
        0,
    ]
    marginals = np.array([of("relations alone", tied)[t] for t in TEXTS])
    # (no, yes) for each: of the pair's and its rival's three worlds (none, the pair, the rival).
    assert marginals[[0, 1, 5]] == pytest.approx(0.5)
    assert marginals[2:5, 1] == pytest.approx(1 / 3)


def test_no_relations_are_no_structure() -> None:
    for name in ("relations alone", "agreement: how many have the same answer"):
        assert SHORTCUTS[name](DATA) is None
    assert SHORTCUTS["rivals: how many exclude it"](DATA) is None
