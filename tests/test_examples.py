"""Examples and data sets: ids, order, fingerprint, samples, rows with relations, gold."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from consilience.errors import InputError
from consilience.examples import Dataset, Example, Gold, Task, example_id
from consilience.relations import ExactlyOne, Opposite

ROWS = [
    {"question": q, "claim": c, "label": y}
    for q, c, y in [
        ("Which way does water run?", "Down", 1),
        ("Which way does water run?", "Up", 0),
        ("How many legs has a table?", "Four", 1),
        ("How many legs has a table?", "Nine", 0),
        ("Is a lamp bright?", "Yes, lit", 1),
    ]
]
TEXT = "{question}\n{claim}"


def data(rows: list[dict[str, object]] = ROWS, **options: object) -> Dataset:
    return Dataset.from_records(rows, **({"text": TEXT, "group": "question"} | options))


# --- ids and order


def test_an_id_is_a_hash_of_the_text() -> None:
    assert Example("ä", "g").id == example_id("ä") == hashlib.sha256(b"\xc3\xa4").hexdigest()[:16]
    assert Example("a", "g").id == Example("a", "h").id != Example("b").id


def test_a_data_set_is_in_the_order_of_its_ids() -> None:
    made = Dataset("d", map(Example, "abcdef"))
    assert list(made.ids) == sorted(map(example_id, "abcdef"))
    assert [made.index[id] for id in made.ids] == list(range(6))
    assert [example_id(text) for text in made.texts] == list(made.ids)
    assert made.groups == made.ids  # without a group, each is one of its own


def test_order_of_rows_and_relations_changes_nothing() -> None:
    shuffled = ROWS.copy()
    random.Random(3).shuffle(shuffled)
    one, two = data(relations=("exactly-one",)), data(shuffled, relations=("exactly-one",))
    assert one.to_json() == two.to_json()
    assert one.fingerprint == two.fingerprint


def test_the_fingerprint_is_of_what_can_change_a_label() -> None:
    base = data()
    assert data(name="other").fingerprint == base.fingerprint
    changed = [
        data(ROWS[:-1]),
        data(group=None),
        data(relations=("exactly-one",)),
        data(relations={"exactly-one": False}),
        data(task=Task("Is it so?")),
    ]
    assert len({base.fingerprint, *(d.fingerprint for d in changed)}) == 6


def test_json_round_trip() -> None:
    made = data(relations={"at-most-one": False, "equal": True}, name="n")
    again = Dataset.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json()
    assert repr(again) == "Dataset('n', 5 examples, 3 groups, 4 relations, K=2)"


def test_a_sample_keeps_whole_groups_and_their_relations() -> None:
    made = data(relations=("exactly-one",))
    for seed in range(5):
        sample = made.sample(2, seed)
        assert len(set(sample.groups)) == 2
        assert set(sample.ids) == {
            id for id, g in zip(made.ids, made.groups, strict=True) if g in sample.groups
        }
        assert set(sample.relations) == {
            r for r in made.relations if set(r.members) <= set(sample.ids)
        }
    assert made.sample(2, 1).fingerprint == made.sample(2, 1).fingerprint
    assert len({made.sample(1, seed).fingerprint for seed in range(20)}) == 3
    assert set(made.sample(1, 4).ids) <= set(made.sample(2, 4).ids)
    with pytest.raises(InputError, match="at least one group"):
        made.sample(0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Dataset("d", []), "'d' has no examples"),
        (lambda: Dataset("d", [Example("a", "g"), Example("a", "h")]), "two groups, 'g' and 'h'"),
        (lambda: Dataset("d", [Example("a")], [Opposite(("x", "y"))]), "names x, not an example"),
        (
            lambda: Dataset(
                "d",
                map(Example, "ab"),
                [ExactlyOne(tuple(map(example_id, "ab")), label=2)],
            ),
            "speaks of class 2, but the task has the classes 0 … 1",
        ),
        (lambda: Task(classes=("a",)), "two or more different classes"),
        (lambda: Task(classes=("a", "b", "a"), statement=None, opposite=None), "different"),
        (lambda: Task(classes=("a", "b", "c")), "for tasks with two classes"),
    ],
)
def test_what_cannot_be(make: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


# --- rows


def test_relations_join_the_members_of_each_group() -> None:
    made = data(relations={"exactly-one": True, "at-most-one": False})
    tied = [(r.name, r.prior, len(r.members)) for r in made.relations]
    assert tied == [("at-most-one", False, 2)] * 2 + [("exactly-one", True, 2)] * 2
    for relation in made.relations:
        assert list(relation.members) == sorted(relation.members)
        assert len({made.groups[made.index[id]] for id in relation.members}) == 1
    assert data(relations="opposite").relations == data(relations=["opposite"]).relations


def test_the_label_column_is_not_looked_at() -> None:
    other = [row | {"label": "?", "more": object()} for row in ROWS]
    relations = ("exactly-one", "opposite")
    assert data(other, relations=relations).to_json() == data(relations=relations).to_json()


def test_repeated_rows_are_one_example_and_the_note_says_so() -> None:
    again = data(ROWS + ROWS[:3], relations=("exactly-one",))
    assert again.fingerprint == data(relations=("exactly-one",)).fingerprint
    assert again.note == "3 rows repeat an earlier text: the same example, with one label."
    assert data([*ROWS, ROWS[0]]).note.startswith("1 row repeats an earlier text")
    assert data().note == ""


def test_an_empty_group_is_no_group() -> None:
    rows = [{"t": "a", "g": "x"}, {"t": "b", "g": ""}, {"t": "c", "g": None}, {"t": "d", "g": "x"}]
    made = Dataset.from_records(rows, text="t", group="g", relations=("opposite",))
    assert len(made.relations) == 1
    assert len(set(made.groups)) == 3


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (ROWS, {"relations": ("xor",)}, "no relation 'xor'; the relations are: equal"),
        (ROWS, {"group": "topic"}, "no column 'topic'; the columns are: question, claim, label"),
        (ROWS, {"group": None, "relations": ("equal",)}, "equal need groups of two or more"),
        (ROWS[4:], {"relations": ("equal",)}, "need groups of two or more rows"),
        (ROWS, {"relations": ("and",)}, r"'and' depends on the order.*with And\(\(id, …\)\)"),
        (
            [*ROWS, ROWS[0] | {"claim": "Round"}],
            {"relations": ("opposite",)},
            "'opposite' is for groups of 2, but group 'Which way does water run.' has 3 members",
        ),
        (
            [*ROWS, ROWS[0] | {"label": "other"}],
            {"group": "label"},
            "row 6 has the text of row 1 in another group, 'other' instead of '1'",
        ),
    ],
)
def test_rows_that_do_not_fit(
    rows: list[dict[str, object]], options: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        data(rows, **options)
    assert "\n" not in str(caught.value)


# --- gold


def gold(labels: list[object], classes: tuple[str, ...] = ("False", "True")) -> list[int | None]:
    """The labels read back, one for each row."""
    rows = [{"t": f"text {i}", "y": label} for i, label in enumerate(labels)]
    read = Gold.from_records(rows, text="t", label="y", classes=classes).labels
    return [read.get(example_id(row["t"])) for row in rows]


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([0, 1, 1], ("False", "True"), [0, 1, 1]),
        ([True, False], ("False", "True"), [1, 0]),
        (["0", " 1 ", "1.0"], ("False", "True"), [0, 1, 1]),
        (["TRUE", "false", "Yes", "no"], ("False", "True"), [1, 0, 1, 0]),
        ([1.0, None, float("nan"), "", 0.0], ("False", "True"), [1, None, None, None, 0]),
        (["Spam", "ham", 1, "yes"], ("ham", "spam"), [1, 0, 1, 1]),
        (["red", "BLUE", 1, "2"], ("red", "green", "blue"), [0, 2, 1, 2]),
        (["3", 1, 2.0], ("1", "2", "3"), [2, 0, 1]),
        (["yes", "NO", 0], ("yes", "no"), [0, 1, 0]),
    ],
)
def test_labels_are_read(
    labels: list[object], classes: tuple[str, ...], expected: list[int | None]
) -> None:
    assert gold(labels, classes) == expected


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ([1, 2], ("False", "True"), "row 2: '2' in column 'y' is none of the classes False, True"),
        (["maybe"], ("False", "True"), "row 1: 'maybe'"),
        ([1, 0.5], ("False", "True"), "row 2: '0.5'"),
        ([1, -1], ("False", "True"), "row 2: '-1'"),
        (["yes"], ("red", "green", "blue"), "'yes'"),
        (["true"], ("yes", "no"), "'true'"),
        ([0], ("1", "2", "3"), "'0'"),
        (["a"], ("A", "a"), "differ only in case"),
        (["", None], ("False", "True"), "column 'y' is empty in every row"),
        ([[1]], ("False", "True"), "row 1: column 'y' holds a list"),
    ],
)
def test_labels_that_cannot_be_read(
    labels: list[object], classes: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        gold(labels, classes)


def test_gold_for_a_text_must_agree() -> None:
    rows = [{"t": "a", "y": 1}, {"t": "b", "y": 0}, {"t": "a", "y": None}, {"t": "a", "y": 0}]
    read = Gold.from_records(rows[:3], text="t", label="y", classes=("no", "yes"))
    assert read.labels == {example_id("a"): 1, example_id("b"): 0} and len(read) == 2
    assert list(read.labels) == sorted(read.labels)
    with pytest.raises(InputError, match=r"row 4 has the text of row 1 .*'no' instead of 'yes'"):
        Gold.from_records(rows, text="t", label="y", classes=("no", "yes"))
    with pytest.raises(InputError, match="no column 'z'"):
        Gold.from_records(rows, text="t", label="z", classes=("no", "yes"))
