"""Examples and data sets: ids, order, fingerprint, samples, rows with relations, gold."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from consilience.data.dataset import Dataset, Example, Gold, example_id
from consilience.data.relations import ExactlyOne, Opposite
from consilience.data.task import Task
from consilience.errors import InputError

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
        (lambda: Task(classes=("a", "b", "c"), statement="It is a"), "for tasks with two classes"),
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


BY_COLUMN = [
    {"text": t, "scene": s, "final": f, "key": k, "pair": p, "left": a, "right": b}
    for t, s, f, k, p, a, b in [
        ("one", "s", "7", "k", "p", "x", "y"),
        ("two", "s", "7", None, "q", "y", "z"),
        ("three", "s", "8", "k", "p", "x", "z"),
        ("four", "t", "7", "k", "q", "y", "x"),
        ("five", "t", None, "l", None, None, None),
    ]
]


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        # "two" has the lower id of the answer's rows, and stands for both.
        ("answer:final", {("equal", "one two"), ("at-most-one", "two three")}),
        ("equal:key", {("equal", "one three four")}),
        ("opposite:pair", {("opposite", "one three"), ("opposite", "two four")}),
        ("at-most-one:final", {("at-most-one", "one two four")}),
        ("exactly-one", {("exactly-one", "one two three"), ("exactly-one", "four five")}),
        ("order:left,right", {("opposite", "one four"), ("ordered", "one two three")}),
    ],
)
@pytest.mark.parametrize("prior", [False, True])
def test_relations_by_column(relation: str, expected: set[tuple[str, str]], prior: bool) -> None:
    made = Dataset.from_records(BY_COLUMN, text="text", group="scene", relations={relation: prior})
    names = {example_id(row["text"]): str(row["text"]) for row in BY_COLUMN}
    order = list(names.values()).index
    found = {
        (r.name, " ".join(sorted((names[m] for m in r.members), key=order))) for r in made.relations
    }
    assert found == expected
    assert {r.prior for r in made.relations} == {prior}


def test_the_fingerprint_is_that_of_its_json_however_large() -> None:
    many = Dataset(
        "many", [Example(f"text {i} é", f"g{i % 3}" if i % 2 else None) for i in range(9000)]
    )
    for made in (data(), many):
        content = {k: v for k, v in made.to_json().items() if k not in ("name", "note")}
        whole = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        assert made.fingerprint == whole[:16]


def test_a_relation_of_each_kind_changes_the_fingerprint() -> None:
    names = ("answer:final", "equal:key", "opposite:pair", "order:left,right", "exactly-one")
    made = [
        Dataset.from_records(BY_COLUMN, text="text", group="scene", relations={name: prior})
        for name in names
        for prior in (False, True)
    ]
    assert len({data.fingerprint for data in made}) == len(made)


def test_a_sample_cuts_relations_that_reach_out_of_it() -> None:
    """Of equal and at-most-one a part still holds; what is lost of the others is counted."""
    rows = [
        {"text": f"text {i}", "group": f"g{i % 4}", "key": "k", "pair": f"p{i // 2}"}
        for i in range(16)
    ]
    made = Dataset.from_records(
        rows,
        text="text",
        group="group",
        relations={"equal:key": False, "at-most-one:key": True},
    )
    sample = made.sample(2, 0)
    assert {r.name for r in sample.relations} == {"equal", "at-most-one"}
    assert all(r.members == sample.ids for r in sample.relations) and sample.note == ""
    pairs = Dataset.from_records(
        rows, text="text", group="group", relations=("opposite:pair", "exactly-one:key")
    )
    sample = pairs.sample(2, 0)
    whole = [r for r in pairs.relations if set(r.members) <= set(sample.ids)]
    cut = [r for r in pairs.relations if not set(r.members).isdisjoint(sample.ids)]
    assert list(sample.relations) == whole
    lost = len(cut) - len(whole)
    assert lost > 0
    reach = "relation reaches" if lost == 1 else "relations reach"
    assert sample.note == f"{lost} {reach} out of the sample and cannot count."


def test_the_label_column_is_not_looked_at() -> None:
    other = [row | {"label": "?", "more": object()} for row in ROWS]
    relations = ("exactly-one", "opposite")
    assert data(other, relations=relations).to_json() == data(relations=relations).to_json()


def test_repeated_rows_are_one_example_and_the_note_says_so() -> None:
    again = data(ROWS + ROWS[:3])
    assert again.fingerprint == data().fingerprint
    assert again.note == "3 rows repeat an earlier text: the same example, with one label."
    assert data([*ROWS, ROWS[0]]).note.startswith("1 row repeats an earlier text")
    assert data().note == ""


def test_the_note_says_of_what_a_relation_says_nothing() -> None:
    made = data([*ROWS, ROWS[0], {"question": None, "claim": "x"}], text="claim", relations="equal")
    assert made.note == (
        "1 row repeats an earlier text: the same example, with one label. "
        "equal says nothing of 1 group with one text and of 1 row without a group."
    )
    assert data(ROWS[:4], relations="equal").note == ""


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
        (ROWS, {"relations": ("equal:",)}, "'equal:' is not complete; write equal:COLUMN"),
        (ROWS, {"relations": ("equal:topic",)}, "no column 'topic'; the columns are: question, c"),
        (ROWS, {"group": None, "relations": ("equal",)}, "'equal' needs groups; name the column"),
        (ROWS[4:], {"relations": ("equal",)}, "'equal' relates nothing: no two rows with differ"),
        (
            ROWS,
            {"relations": ("equal", "opposite")},
            "Down' and 'Which.* are both equal and opposite",
        ),
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
        (
            [*ROWS, ROWS[0] | {"label": None}],
            {"relations": ("equal:label",)},
            "row 6 has the text of row 1 but another 'label', None instead of '1'; put the column",
        ),
        (
            [row | {"left": "a", "right": str(i)} for i, row in enumerate(ROWS)],
            {
                "relations": ("order:left,right",),
                "task": Task("Which?", ("a", "b", "c"), None, None),
            },
            "'order:left,right' is for two classes, the task has 3",
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
