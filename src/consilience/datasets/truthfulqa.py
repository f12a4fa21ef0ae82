"""TruthfulQA: claims that answer a question which invites a misconception, true or false.

Stephanie Lin, Jacob Hilton and Owain Evans, "TruthfulQA: Measuring How Models Mimic Human
Falsehoods", ACL 2022, arXiv:2109.07958. One file of the publisher gives three data sets: the
binary edition of January 2025 (the best answer and the best incorrect answer of each question),
and the two multiple-choice ones, mc1 (the best answer and all incorrect ones) and mc2 (all
answers). The audited subset is somebody else's choice of questions whose two claims differ less
on the surface. That exactly one claim is true is how a file was built, so it is a design prior.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from consilience.data.readers import Rows, texts
from consilience.data.relation_columns import exactly_one, gathered
from consilience.data.relations import Relation
from consilience.data.task import Task
from consilience.datasets.hub import Hub
from consilience.datasets.source import Chosen, Reader, Source
from consilience.errors import InputError

_TASK = Task(
    question="Each item is a question and a claim. Is the claim a true answer to the question?",
    classes=("False", "True"),
    statement="The claim is true",
    opposite="The claim is false",
)

_FILES = ("truthfulqa/TruthfulQA.csv", "TruthfulQA.csv")
"""Where the publisher's CSV is looked for in the data directory."""

AUDITED_FILES = ("truthfulqa/tqa_tau052.csv", "tqa_tau052.csv")

_HUB = Hub("wassname/truthful_qa_v2", "binary", "validation")

CHOICES_HUB = Hub(
    "truthfulqa/truthful_qa",
    "multiple_choice",
    "validation",
    revision="979ec0aa226a82ec817a38ddd2f9bce1b0c8477b",
)
"""The first edition, of 817 questions; no multiple-choice copy of the second is known."""

AUDITED_HUB = Hub(
    file="https://raw.githubusercontent.com/foadnamjoo/truthfulqa-audit/"
    "733399714d541d07da02196aa69ecf699ac4338d/"
    "data/subsets/TruthfulQA-Audited/surface_audited/tqa_tau052.csv"
)

PAIR = ("Best Answer", "Best Incorrect Answer")
MC1 = ("Best Answer", "Incorrect Answers")
MC2 = ("Correct Answers", "Incorrect Answers")
"""The columns of true and of false claims."""


def _read(reader: Reader, chosen: Chosen) -> Rows:
    """A row for each claim of the binary edition: question, answer, gold."""
    if reader.folder is None:
        return reader.rows(_FILES, _HUB, ("Question", "Answer", "label"))
    return claims_of(reader.rows(_FILES, _HUB), *PAIR)


def read_choices(targets: str, columns: tuple[str, str], reader: Reader, chosen: Chosen) -> Rows:
    """A row for each choice: of the hub's column `targets`, or of the publisher's columns."""
    if reader.folder is None:
        return choices_of(reader.rows(_FILES, CHOICES_HUB, ("question", targets)), targets)
    return claims_of(reader.rows(_FILES, CHOICES_HUB), *columns)


def read_audited(reader: Reader, chosen: Chosen) -> Rows:
    """A row for each claim of the audited subset."""
    return claims_of(reader.rows(AUDITED_FILES, AUDITED_HUB, ("Question", *PAIR)), *PAIR)


def claims_of(table: Rows, right: str, wrong: str) -> Rows:
    """The publisher's rows, one for each question, as one for each claim.

    A column whose name ends in "Answers" holds several claims, parted by semicolons.
    """
    columns = ((1, right, texts(table, right)), (0, wrong, texts(table, wrong)))
    return _rows(
        (question, claim, label)
        for i, question in enumerate(texts(table, "Question"))
        for label, column, cells in columns
        for claim in _parted(column, cells[i])
    )


def _parted(column: str, cell: str) -> list[str]:
    if not column.endswith("Answers"):
        return [cell]
    return [part.strip() for part in cell.split(";") if part.strip()]


def choices_of(table: Rows, targets: str) -> Rows:
    """The hub's rows, each with lists of choices and labels, as one for each choice."""
    return _rows(
        (row["question"], choice, label)
        for row in table
        for choice, label in zip(row[targets]["choices"], row[targets]["labels"], strict=True)
    )


def _rows(claims: Iterable[tuple[str, str, int]]) -> Rows:
    """A row for each claim; one that stands among the true and the false claims has no gold."""
    claims = list(claims)
    said = {(question, claim, label) for question, claim, label in claims}
    return Rows(
        {
            "Question": question,
            "Answer": claim,
            "label": None if (question, claim, 1 - label) in said else label,
        }
        for question, claim, label in claims
    )


def _relate(most: int | None, rows: Rows, ids: Sequence[str]) -> Sequence[Relation]:
    """Exactly one true claim for each question, which has two claims and `most` at most."""
    questions = texts(rows, "Question")
    wanted = "2" if most == 2 else "2 or more"
    for question, of in gathered(ids, questions).items():
        if len(of) < 2 or (most is not None and len(of) > most):
            raise InputError(
                f"TruthfulQA: the question {str(question)[:60]!r} has {len(of)} different claims, "
                f"expected {wanted}; use the file as the publisher wrote it"
            )
    return exactly_one(ids, questions)


_source = partial(
    Source,
    licence="Apache-2.0",
    origin="https://github.com/sylinrl/TruthfulQA",
    cite="Lin, Hilton and Evans 2022, arXiv:2109.07958",
    page="truthfulqa",
    task=lambda chosen: _TASK,
    text="Question: {Question}\nClaim: {Answer}",
    fields=("Question", "Answer"),
    group="Question",
)

BINARY = _source(
    name="truthfulqa",
    about="790 questions that invite a misconception, one true and one false claim each",
    read=_read,
    relate=partial(_relate, 2),
    relations=("exactly-one (prior)",),
    examples=1580,
    edition="e9c2d6476a3e46f0",
    traps=(
        "Labels follow the sources of 2021; taking the claim with a negation, else the longer "
        "one, is right for about 78 % of the questions without any model."
    ),
)

CHOICE_ONE = _source(
    name="truthfulqa-mc1",
    about="790 questions that invite a misconception, the best answer and all the incorrect ones",
    read=partial(read_choices, "mc1_targets", MC1),
    relate=partial(_relate, None),
    relations=("exactly-one (prior)",),
    examples=4040,
    edition="44861ebc6ad3cbab",
    traps=(
        "Labels follow the sources of 2021; 80 % of the claims are false, and how many negative "
        "words a claim has beside the others of its question is enough for 87 %."
    ),
)

CHOICE_MANY = _source(
    name="truthfulqa-mc2",
    about="790 questions that invite a misconception, all their correct and incorrect answers",
    read=partial(read_choices, "mc2_targets", MC2),
    examples=6023,
    edition="8e7b3a3f489060b8",
    traps=(
        'Labels follow the sources of 2021; "I have no comment" is always true; the answers of '
        "a question are paraphrases of one another. A claim listed as both correct and incorrect "
        "has no gold (two of them in the edition of 2025)."
    ),
)

AUDITED = _source(
    name="truthfulqa-audited",
    about="528 of the questions of truthfulqa, chosen so that the surface tells the claims less",
    licence="MIT (the choice), Apache-2.0 (the questions)",
    origin="https://github.com/foadnamjoo/truthfulqa-audit",
    read=read_audited,
    relate=partial(_relate, 2),
    relations=("exactly-one (prior)",),
    examples=1056,
    edition="deaa353f50a28c3c",
    traps=(
        "Labels follow the sources of 2021; taking the claim with a negation, else the longer "
        "one, is still right for about 70 % of the questions without any model."
    ),
)
