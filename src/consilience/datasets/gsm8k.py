"""GSM8K verification: four models' solutions of each of 1,319 word problems, right or wrong.

Karl Cobbe and others, "Training Verifiers to Solve Math Word Problems", 2021, arXiv:2110.14168.
The publisher's `example_model_solutions.jsonl` holds the solutions that two sizes of model gave,
with and without a verifier, and whether each one's final answer is that of the test set. So two
solutions with the same final answer are right or wrong together, and two with different ones are
not both right: facts, which need no label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consilience.data.readers import Rows, texts
from consilience.data.relation_columns import different_answers, same_answer
from consilience.data.relations import Relation
from consilience.data.task import Task
from consilience.datasets.hub import Hub
from consilience.datasets.source import Chosen, Reader, Source
from consilience.errors import InputError

_TASK = Task(
    question="Each item is a maths problem and a solution. Is the solution's answer right?",
    classes=("Wrong", "Right"),
    statement="The solution is right",
    opposite="The solution is wrong",
)

_FILES = ("gsm8k/example_model_solutions.jsonl", "example_model_solutions.jsonl")

_HUB = Hub(
    file="https://raw.githubusercontent.com/openai/grade-school-math/"
    "3101c7d5072418e28b9008a6636bde82a006892c/"
    "grade_school_math/data/example_model_solutions.jsonl"
)

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
"""The models, in the order of the file; which of them wrote a solution is hidden."""

CALCULATION = re.compile(r"<<[^<>]*>>")
"""What a solution told the calculator that was called while it was written: <<16-3=13>>."""


def _read(reader: Reader, chosen: Chosen) -> Rows:
    """A row for each solution: the text without calculator calls, its final answer, gold."""
    table = reader.rows(_FILES, _HUB, ("question", "ground_truth", *MODELS))
    return Rows(_solutions(table), table.source)


def _solutions(table: Rows) -> Iterator[dict[str, Any]]:
    for i, row in enumerate(table):
        for model in MODELS:
            of = row[model]
            if not isinstance(of, Mapping) or not isinstance(of.get("solution"), str):
                raise InputError(
                    f"{table.place(i)}: column {model!r} holds no solution; "
                    "use the file as the publisher wrote it"
                )
            solution = CALCULATION.sub("", of["solution"])
            yield {
                "question": row["question"],
                "solution": solution,
                "answer": final_answer(solution),
                "label": of.get("is_correct"),
                "model": model,
                "ground_truth": row["ground_truth"],
            }


def final_answer(solution: str) -> str | None:
    """What stands after "A:" in the last line, without $, commas and spaces; None without one."""
    last = solution.rstrip().rpartition("\n")[2]
    if not last.startswith("A:"):
        return None
    return re.sub(r"[$,\s]", "", last[2:]).rstrip(".") or None


def _relate(rows: Rows, ids: Sequence[str]) -> Sequence[Relation]:
    """The same final answer, the same label; of different ones, one at most is right."""
    questions, answers = texts(rows, "question"), [row["answer"] for row in rows]
    return [*same_answer(ids, answers, questions), *different_answers(ids, answers, questions)]


SOLUTIONS = Source(
    name="gsm8k",
    about="1,319 grade-school maths problems with the solutions of four models",
    licence="MIT",
    origin="https://github.com/openai/grade-school-math",
    cite="Cobbe and others 2021, arXiv:2110.14168",
    page="gsm8k",
    task=lambda chosen: _TASK,
    text="Question: {question}\nSolution: {solution}",
    fields=("question", "solution", "answer"),
    group="question",
    read=_read,
    relate=_relate,
    relations=("equal", "at-most-one"),
    hidden=("model", "ground_truth"),
    examples=5268,
    edition="30cf9a17476641ac",
    traps=(
        "Gold grades the final answer alone, not the steps; calling right whatever shares its "
        "final answer with another solution of the group is right for 83 % without any model."
    ),
)
