"""TruthfulQA, the binary edition of 2025: 790 questions, each with one true and one false claim.

Stephanie Lin, Jacob Hilton and Owain Evans, "TruthfulQA: Measuring How Models Mimic Human
Falsehoods", ACL 2022, arXiv:2109.07958. The edition of January 2025 names a best answer and a
best incorrect answer for each question; they are the two claims. That exactly one is true is how
the file was built, so it is a design prior. The publisher's CSV and the hub's copy give the same
data set, byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from consilience.datasets.hub import hub_rows
from consilience.errors import InputError
from consilience.examples import Dataset, Example, Gold, Task, example_id
from consilience.records import Rows, read_rows, texts
from consilience.relations import ExactlyOne

TASK = Task(
    question="Each item is a question and a claim. Is the claim a true answer to the question?",
    classes=("False", "True"),
    statement="The claim is true",
    opposite="The claim is false",
)

TEXT = "Question: {Question}\nClaim: {Answer}"

FILES = ("truthfulqa/TruthfulQA.csv", "TruthfulQA.csv")
"""Where the publisher's CSV is looked for in the data directory."""

EDITION = "e9c2d6476a3e46f0"
"""The first 16 digits of the SHA-256 of all ids; it pins the content, whichever the source."""


def load(data_dir: Path | None) -> tuple[Dataset, Gold]:
    """The data set and its gold, from the publisher's CSV in `data_dir`, or else from the hub."""
    if data_dir is None:
        claims = hub_rows(
            "wassname/truthful_qa_v2", "binary", "validation", ("Question", "Answer", "label")
        )
    else:
        claims = claims_of(read_rows(_file(data_dir)))
    data = build(zip(texts(claims, "Question"), texts(claims, "Answer"), strict=True))
    return data, Gold.from_records(claims, text=TEXT, label="label", classes=TASK.classes)


def _file(data_dir: Path) -> Path:
    for name in FILES:
        if (path := data_dir / name).is_file():
            return path
    raise InputError(
        f"{data_dir} holds neither {' nor '.join(FILES)}; put the publisher's file there, "
        "or leave the data directory out to read the Hugging Face hub"
    )


def claims_of(table: Rows) -> Rows:
    """The publisher's rows, one for each question, as the hub has them: one for each claim."""
    questions = texts(table, "Question")
    columns = (("Best Answer", 1), ("Best Incorrect Answer", 0))
    return Rows(
        {"Question": question, "Answer": answer, "label": label}
        for column, label in columns
        for question, answer in zip(questions, texts(table, column), strict=True)
    )


def build(claims: Iterable[tuple[str, str]]) -> Dataset:
    """The data set of (question, claim) pairs; no label comes in, so none can shape it."""
    examples = []
    members: dict[str, set[str]] = {}
    for question, claim in claims:
        text = TEXT.format(Question=question, Answer=claim)
        example = Example(text, group=example_id(question))
        examples.append(example)
        members.setdefault(question, set()).add(example.id)
    for question, ids in members.items():
        if len(ids) != 2:
            raise InputError(
                f"TruthfulQA: the question {question[:60]!r} has {len(ids)} different claims, "
                "expected 2; use the file as the publisher wrote it"
            )
    relations = [ExactlyOne(tuple(sorted(ids)), prior=True) for ids in members.values()]
    note = (
        "Labels follow the sources of 2021; taking the claim with a negation, else the longer "
        "one, is right for about 77 % of the questions without any model."
    )
    all_ids = "".join(sorted(example.id for example in examples))
    if hashlib.sha256(all_ids.encode()).hexdigest()[:16] != EDITION:
        note += " The content differs from the edition of 2025 with 790 questions."
    return Dataset("truthfulqa", examples, relations, task=TASK, note=note)
