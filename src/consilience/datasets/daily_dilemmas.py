"""DailyDilemmas: which of the two actions of a dilemma expresses a value more.

Yu Ying Chiu, Liwei Jiang and Yejin Choi, "DailyDilemmas: Revealing Value Preferences of LLMs with
Quandaries of Daily Life", ICLR 2025, arXiv:2410.02683. Nobody says which action is right. A model
wrote the dilemmas and listed the values behind each action, and a second file says which value
belongs to which dimension of five theories. Gold is the action with more values of a dimension;
where both have as many, the dilemma is left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consilience.data.readers import Rows, texts
from consilience.data.relation_columns import opposites
from consilience.data.relations import Relation
from consilience.data.task import Task
from consilience.datasets.hub import Hub
from consilience.datasets.source import Chosen, Option, Reader, Source
from consilience.errors import InputError

_FILES = (
    "daily_dilemmas/dilemma_to_action_to_values_aggregated.csv",
    "dilemma_to_action_to_values_aggregated.csv",
)
VALUE_FILES = ("daily_dilemmas/values.csv", "values.csv")

_HUB = Hub(
    file="https://raw.githubusercontent.com/Zachary-Wojtowicz/preference-learning-dev/"
    "5fa7e028c8311c14a6b23a9c4094ccb1698b693b/datasets/dilemma_to_action_to_values_aggregated.csv"
)
"""A copy of what the hub calls Dilemmas_with_values_aggregated, of which no commit is known."""

VALUES_HUB = Hub(
    file="https://raw.githubusercontent.com/kellycyy/daily_dilemmas/"
    "3b579ab5d9ec44e1c68597f84f6fde8eee34783e/data/values.csv"
)

FIELDS = (
    *("dilemma_idx", "dilemma_situation", "action_type", "action", "negative_consequence"),
    *("values_aggregated", "topic_group"),
)

THEORIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "WVS": (
        'the orientation "{}" (of the World Values Survey)',
        ("Traditional", "Secular-rational", "Survival", "Self-expression"),
    ),
    "MFT": (
        'the moral foundation "{}"',
        ("Care", "Fairness", "Loyalty", "Authority", "Purity"),
    ),
    "Virtue": (
        'the virtue "{}" (in Aristotle\'s sense)',
        (
            *("Truthfulness", "Courage", "Patience", "Liberality", "Friendliness", "Ambition"),
            *("Temperance", "Modesty", "Righteous Indignation"),
        ),
    ),
    "Emotion": (
        'the emotion "{}"',
        (
            *("trust", "anticipation", "joy", "optimism", "fear", "sadness", "disgust", "love"),
            *("submission", "anger", "remorse", "disapproval", "contempt", "aggressiveness"),
        ),
    ),
    "Maslow": (
        'the need "{}" (of Maslow\'s hierarchy)',
        ("physiological", "safety", "love and belonging", "self-esteem", "self-actualization"),
    ),
}
"""The theories by their column: how a prompt speaks of a dimension, and the dimensions."""

_PAIR = ("to_do", "not_to_do")
"""The types of the two actions of a dilemma."""


def dimension(value: str) -> tuple[str, str]:
    """The theory and the dimension that "Virtue/Truthfulness" or "Truthfulness" names."""
    asked = value.casefold()
    for theory, (_, names) in THEORIES.items():
        for name in names:
            if asked in (name.casefold(), f"{theory}/{name}".casefold()):
                return theory, name
    known = "; ".join(f"{theory}: {', '.join(names)}" for theory, (_, names) in THEORIES.items())
    raise InputError(
        f"the data set 'daily-dilemmas' has no value={value!r}; write a dimension, or "
        f"THEORY/DIMENSION; they are: {known}"
    )


def _task(chosen: Chosen) -> Task:
    """Which action expresses the chosen value more."""
    theory, name = dimension(chosen["value"])
    phrase = THEORIES[theory][0].format(name)
    return Task(
        question=(
            "Each item is a situation and the two actions that are open in it. Which action "
            f"expresses {phrase} more than the other?"
        ),
        classes=("Action 2", "Action 1"),
        statement=f"Action 1 expresses {name} more than action 2",
        opposite=f"Action 2 expresses {name} more than action 1",
    )


def _read(reader: Reader, chosen: Chosen) -> Rows:
    """A row for each action, beside the other one, of the dilemmas where the value tells them."""
    theory, name = dimension(chosen["value"])
    values = reader.rows(VALUE_FILES, VALUES_HUB, ("value", theory))
    names = [values.cell(i, theory) for i in range(len(values))]
    if name not in names:
        raise InputError(
            f"{values.source}: no value of the column {theory!r} is {name!r}; "
            "use the file as the publisher wrote it"
        )
    belongs = {value: of == name for value, of in zip(texts(values, "value"), names, strict=True)}
    found = reader.rows(_FILES, _HUB, FIELDS)
    return Rows(_compared(found, [_count(found, i, belongs) for i in range(len(found))]))


def _count(found: Rows, i: int, belongs: Mapping[str, bool]) -> int:
    """How many of an action's values belong to the dimension; one listed twice counts twice."""
    try:
        listed = ast.literal_eval(found.cell(i, "values_aggregated") or "")
        return sum(belongs[value] for value in listed)
    except (ValueError, SyntaxError, TypeError):
        what = "holds no list of values"
    except KeyError as error:
        what = f"lists {error}, which the file of values lacks"
    raise InputError(
        f"{found.place(i)}: column 'values_aggregated' {what}; "
        "use the files as the publisher wrote them"
    )


def _compared(found: Rows, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    situations, actions = texts(found, "dilemma_situation"), texts(found, "action")
    types, dilemmas = texts(found, "action_type"), texts(found, "dilemma_idx")
    place: dict[str, dict[str, int]] = {}
    for i, (dilemma, kind) in enumerate(zip(dilemmas, types, strict=True)):
        if place.setdefault(dilemma, {}).setdefault(kind, i) != i:
            raise InputError(
                f"{found.place(i)}: the dilemma {dilemma} has a second action {kind!r}, expected "
                f"one of each of {', '.join(_PAIR)}; use the file as the publisher wrote it"
            )
    for i, (dilemma, kind) in enumerate(zip(dilemmas, types, strict=True)):
        of = place[dilemma]
        if set(of) != set(_PAIR):
            raise InputError(
                f"{found.place(i)}: the dilemma {dilemma} has the actions {', '.join(of)}, "
                f"expected {', '.join(_PAIR)}; use the file as the publisher wrote it"
            )
        other = of[_PAIR[1 - _PAIR.index(kind)]]
        if difference := counts[i] - counts[other]:
            yield {
                "situation": situations[i],
                "action": actions[i],
                "other": actions[other],
                "label": int(difference > 0),
                "difference": difference,
                **{name: found[i][name] for name in _HIDDEN[1:]},
            }


def _relate(rows: Rows, ids: Sequence[str]) -> Sequence[Relation]:
    """The two actions of a dilemma are opposite: each is compared with the other."""
    return opposites(ids, texts(rows, "situation"))


_HIDDEN = ("difference", "action_type", "negative_consequence", "values_aggregated", "topic_group")

DILEMMAS = Source(
    name="daily-dilemmas",
    about="dilemmas of daily life with two actions, of which one expresses a value more",
    licence="CC BY 4.0",
    origin="https://huggingface.co/datasets/kellycyy/daily_dilemmas",
    cite="Chiu, Jiang and Choi 2025, arXiv:2410.02683",
    page="daily-dilemmas",
    task=_task,
    text="Situation: {situation}\nAction 1: {action}\nAction 2: {other}",
    fields=("situation", "action", "other"),
    group="situation",
    read=_read,
    relate=_relate,
    relations=("opposite",),
    hidden=_HIDDEN,
    options=(
        Option(
            "value",
            "Truthfulness",
            "the dimension that is asked about, as in Care, trust or Maslow/safety",
        ),
    ),
    examples=1044,
    edition="817a83dfdab25889",
    traps=(
        "Gold is a model's annotation of values, not what is right. Dilemmas where both actions "
        "have as many values of the dimension are left out (838 of 1,360 for Truthfulness). Doing "
        "it is truer than not doing it in 81 % of the others; that is hidden, but the words of the "
        "two actions alone tell 76 %."
    ),
)
