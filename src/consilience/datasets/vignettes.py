"""Moral foundations vignettes: what a short act violates, one of seven, and whether it is wrong.

Scott Clifford and others, "Moral foundations vignettes: a standardized stimulus database of
scenarios based on moral foundations theory", Behavior Research Methods 2015, whose 132 vignettes
were each put to human raters. Michael Clark's tiny-mfv has them in the third and the second
person, and rewritten twice: as science fiction and fantasy, and with an artificial intelligence
as the actor. The ratings of a vignette are inherited by its rewritings, which are therefore equal
by construction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from consilience.data.readers import Rows, texts
from consilience.data.relation_columns import per_group
from consilience.data.relations import Equal, Relation
from consilience.data.task import Task
from consilience.datasets.hub import Hub
from consilience.datasets.source import Chosen, Option, Reader, Source
from consilience.errors import InputError

FOUNDATIONS = {
    "Care": "making a person or an animal suffer",
    "Fairness": "cheating, or taking more than one's share",
    "Loyalty": "betraying one's own group",
    "Authority": "disobeying or disrespecting those above one, or a tradition",
    "Sanctity": "degrading or disgusting acts",
    "Liberty": "forcing or dominating others",
    "Social Norms": "odd, but not morally wrong",
}
"""The classes, and how the question explains them."""

NOT_WRONG = "Social Norms"
"""What stands for the raters' answer that an act is not morally wrong."""

HUMAN = tuple(f"human_{name.replace(' ', '')}" for name in FOUNDATIONS)
"""The columns of the shares of raters, in the order of the classes."""

JUDGE = (*(name.replace("human", "ai") for name in HUMAN), "ai_wrongness")

SETS = ("classic", "scifi", "ai-actor")
PERSONS = ("other_violate", "self_violate")

_REPOSITORY = (
    "https://raw.githubusercontent.com/wassname/moral-maps/"
    "01e9026641c58fb57fb565916b5ecbafbdfce4d5/src/moralmaps/data"
)

LEFT_OVER = re.compile(r"\s*\bFoundation: [^\n]*\Z")
"""The answer, which whoever rewrote the vignettes let stand at the end of some texts."""


def _read(by_foundation: bool, reader: Reader, chosen: Chosen) -> Rows:
    """A row for each vignette of the chosen sets, in both persons."""
    made = []
    for name in SETS if chosen["set"] == "all" else (chosen["set"],):
        for person in PERSONS:
            file = f"vignettes_{name}_{person}.jsonl"
            found = reader.rows(
                (f"tiny_mfv/{file}", file),
                Hub(file=f"{_REPOSITORY}/{file}"),
                ("id", "text", "foundation", "foundation_coarse", "wrong", *HUMAN, *JUDGE),
            )
            made += [
                _row(found, i, text, by_foundation) for i, text in enumerate(texts(found, "text"))
            ]
    return Rows(made)


def _row(found: Rows, i: int, text: str, by_foundation: bool) -> dict[str, Any]:
    shown = LEFT_OVER.sub("", text)
    top = _top(found, i)
    label = top if by_foundation or top is None else int(top != NOT_WRONG)
    return {**found[i], "text": shown, "left_over": text[len(shown) :], "label": label}


def _top(found: Rows, i: int) -> str | None:
    """What most raters said; None where two answers are even."""
    try:
        shares = [float(found[i][column]) for column in HUMAN]
    except (TypeError, ValueError):
        raise InputError(
            f"{found.place(i)}: a column of human ratings holds no number; "
            "use the file as the publisher wrote it"
        ) from None
    top = [name for name, share in zip(FOUNDATIONS, shares, strict=True) if share == max(shares)]
    return top[0] if len(top) == 1 else None


def _relate(rows: Rows, ids: Sequence[str]) -> Sequence[Relation]:
    """The versions of one vignette, which share its id, are equal."""
    return per_group(Equal, ids, texts(rows, "id"), prior=False)


_source = partial(
    Source,
    licence="MIT, as the data card says; the original vignettes come without one",
    origin="https://huggingface.co/datasets/wassname/tiny-mfv",
    cite="Clifford and others 2015, doi:10.3758/s13428-014-0551-2; Clark 2026, tiny-mfv",
    page="moral-foundations",
    text="text",
    fields=("id", "text"),
    group="id",
    relate=_relate,
    relations=("equal",),
    hidden=("left_over", "foundation", "foundation_coarse", "wrong", *HUMAN, *JUDGE),
    options=(
        Option(
            "set",
            "classic",
            "the original vignettes or a rewriting; scifi has other ids, so that nothing ties it",
            (*SETS, "all"),
        ),
    ),
    examples=264,
    edition="3244d4403b04db6c",
)

FOUNDATION = _source(
    name="moral-foundations",
    about="132 vignettes of one act each, and which of seven moral foundations it violates",
    task=lambda chosen: Task(
        question=(
            "Each item describes an act. Which moral foundation does it violate? "
            + " ".join(f"{name}: {what}." for name, what in FOUNDATIONS.items())
        ),
        classes=tuple(FOUNDATIONS),
        statement=None,
        opposite=None,
    ),
    read=partial(_read, True),
    traps=(
        "Only 132 different acts (intervals of about 8 points), known from the literature. The "
        "file is sorted by foundation; 64 texts of the set ai-actor ended in the name of theirs, "
        "which is cut off."
    ),
)

WRONG = _source(
    name="moral-foundations-wrong",
    about="132 vignettes of one act each, which most raters called morally wrong or did not",
    task=lambda chosen: Task(
        question="Each item describes an act. Is it morally wrong?",
        classes=("Not wrong", "Wrong"),
        statement="The act is morally wrong",
        opposite="The act is morally acceptable",
    ),
    read=partial(_read, False),
    traps=(
        "88 % of the acts are wrong (116 of 132), and the 16 others are odd ones with no victim "
        "at all: saying wrong throughout is right for 88 %."
    ),
)
