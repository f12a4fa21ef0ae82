"""AlpacaFarm's comparisons: which of two responses to an instruction people prefer.

Yann Dubois and others, "AlpacaFarm: A Simulation Framework for Methods that Learn from Human
Feedback", NeurIPS 2023, arXiv:2305.14387. Each pair of responses makes two examples, one for each
order, so that which of them stands first tells nothing. Gold is the majority of the people asked;
where they are divided there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

from consilience.data.dataset import example_id
from consilience.data.readers import Rows, texts
from consilience.data.relation_columns import comparisons
from consilience.data.relations import Relation
from consilience.data.task import Task
from consilience.datasets.hub import Hub
from consilience.datasets.source import Chosen, Option, Reader, Source
from consilience.errors import InputError

_TASK = Task(
    question=(
        "Each item is an instruction and two responses to it. Which response is more helpful and "
        "harmless?"
    ),
    classes=("Response 2", "Response 1"),
    statement="Response 1 is more helpful and harmless than Response 2",
    opposite="Response 2 is more helpful and harmless than Response 1",
)

CROSS = "cross_annotations"

_FILES = {
    CROSS: "alpaca_farm_human_crossannotations.json",
    "human_preference": "alpaca_human_preference.json",
}
"""The publisher's file of each split."""

HUBS = {
    CROSS: "tatsu-lab/alpaca_eval@7253f4f440699890dfa4059b7aeed3f1463c0147",
    "human_preference": "tatsu-lab/alpaca_farm@e576524ca841af3c36fd6912e68e5920430928c1",
}
"""The repository and the commit that holds it."""

_NOTHING = "(no text)"
"""What stands for an empty response; leaving one out would leave out the pair."""


def _read(reader: Reader, chosen: Chosen) -> Rows:
    """Two rows for each pair of responses, one for each order, where the pair first stands."""
    split = chosen["split"]
    file = _FILES[split]
    # Only one of the two files has its inputs in a column of their own.
    inputs = () if split == CROSS else ("input",)
    found = reader.rows(
        (f"alpaca/{file}", file),
        Hub(file=f"hf://datasets/{HUBS[split]}/{file}"),
        ("instruction", *inputs, "output_1", "output_2", "preference"),
    )
    votes: dict[tuple[str, str, str], int] = {}
    for i, instruction in enumerate(texts(found, "instruction")):
        given = found.cell(i, "input") if inputs else None
        request = instruction.strip() if given is None else f"{instruction}\n{given}".strip()
        one, other = ((found.cell(i, f"output_{n}") or _NOTHING).strip() for n in (1, 2))
        for_one = {"1": 1, "2": -1}.get(found.cell(i, "preference") or "")
        if for_one is None:
            raise InputError(
                f"{found.place(i)}: {found[i]['preference']!r} in column 'preference', expected "
                "1 or 2; use the file as the publisher wrote it"
            )
        if (request, other, one) in votes:
            one, other, for_one = other, one, -for_one
        votes[request, one, other] = votes.get((request, one, other), 0) + for_one
    return Rows(
        row
        for (request, one, other), lead in votes.items()
        for row in _both_orders(request, one, other, lead)
    )


def _both_orders(request: str, one: str, other: str, lead: int) -> list[dict[str, object]]:
    published = {"request": request, "first": one, "second": other, "order": "as published"}
    if one == other:  # neither is better, and both orders are one text
        return [{**published, "lead": lead}]
    exchanged = {"request": request, "first": other, "second": one, "order": "exchanged"}
    return [
        {**row, "lead": ahead, "label": int(ahead > 0) if ahead else None}
        for row, ahead in ((published, lead), (exchanged, -lead))
    ]


def _relate(rows: Rows, ids: Sequence[str]) -> Sequence[Relation]:
    """Better is asymmetric, and transitive among three responses that are all compared."""
    return comparisons(ids, _names(rows, "first"), _names(rows, "second"))


def _names(rows: Rows, side: str) -> list[tuple[str, str] | None]:
    # A hash of the response, so that the place in an "ordered" is not that of the alphabet. Two
    # equal responses are not compared.
    return [
        None if row["first"] == row["second"] else (row["request"], example_id(row[side]))
        for row in rows
    ]


RESPONSE_COMPARISONS = Source(
    name="alpaca",
    about="pairs of responses to an instruction, compared by people, in both orders",
    licence="CC BY-NC 4.0",
    origin="https://huggingface.co/datasets/tatsu-lab/alpaca_eval",
    cite="Dubois and others 2023, arXiv:2305.14387",
    page="alpaca",
    task=lambda chosen: _TASK,
    text="Instruction: {request}\nResponse 1: {first}\nResponse 2: {second}",
    fields=("request", "first", "second"),
    group="request",
    read=_read,
    relate=_relate,
    relations=("opposite", "ordered"),
    hidden=("order", "lead"),
    options=(
        Option(
            "split",
            CROSS,
            "about 650 pairs judged by four people each, or 9,691 judged by one",
            (CROSS, "human_preference"),
        ),
    ),
    traps=(
        "People disagree about the better response of many pairs, and the longer one is preferred "
        "in about 64 % of those of which most agree; not for commercial use."
    ),
)
