"""Which class a label means: names, numbers, and numbers that are names."""

from __future__ import annotations

from itertools import permutations

import pytest

from consilience.data.class_labels import label_reader
from consilience.errors import InputError


@pytest.mark.parametrize(
    "classes",
    [
        *permutations(("1", "2", "3")),
        *permutations(("1.0", "2.0", "0.0")),
        ("1", "0"),
        ("1.0", "0.0"),
        ("0.5", "1"),
        ("low", "1", "2"),
        ("-1", "1"),
        ("01", "1"),
        ("1e3", "nan"),
        ("no", "yes"),
        ("spam", "ham"),
    ],
    ids="-".join,
)
def test_every_class_is_called_by_its_name(classes):
    read = label_reader(classes)
    assert [read(name) for name in classes] == list(range(len(classes)))
    assert [read(f" {name.upper()} ") for name in classes] == list(range(len(classes)))


CASES = [
    (("spam", "ham"), {"0": 0, "1": 1, "1.0": 1, "2": None, "maybe": None, "": None, "nan": None}),
    (("False", "True"), {"no": 0, "yes": 1, "1": 1, "0.0": 0}),
    (("True", "False"), {"no": None, "yes": None, "True": 0, "1": 1}),
    # A frame writes whole numbers as 1.0 where a column has a gap.
    (("1", "2", "3"), {"1.0": 0, "3.0": 2, "0": None, "0.0": None}),
    (("1.0", "2.0"), {"1": 0, "2": 1, "0": None}),
    (("low", "2"), {"2.0": 1, "0": None, "1": None}),
    # Which of two is meant by another spelling of both, nobody knows.
    (("01", "1"), {"1.0": None}),
]


@pytest.mark.parametrize(("classes", "said"), CASES, ids=lambda case: "-".join(case))
def test_numbers_are_names_where_a_class_has_one_and_positions_elsewhere(classes, said):
    read = label_reader(classes)
    assert {cell: read(cell) for cell in said} == said


def test_classes_that_differ_in_case_alone_are_refused():
    with pytest.raises(InputError, match="differ only in case"):
        label_reader(("Spam", "spam"))
