"""What is asked about every example: the question, the classes and what belongs into each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consilience.errors import InputError

_UNSAID = ""
_CLAIMS = ("Is the claim true or false?", ("False", "True"))


@dataclass(frozen=True, slots=True, init=False)
class Task:
    """What is asked about every example of a data set.

    `classes` are the natural names of the labels 0 … K−1, or a mapping of each name to a
    description of what belongs there; `descriptions` has these in the order of the classes, and is
    empty where nothing is described. An `instruction` stands before the question. Both are part of
    every prompt. With two classes, `statement` is the sentence that is true of class 1 ("The claim
    is right") and `opposite` the one that is true of class 0; the pair lets a negated wording
    cancel the model's liking for an answer. Where neither is said they are those two for the
    question about claims, and none for any other task.
    """

    question: str
    classes: tuple[str, ...]
    statement: str | None
    opposite: str | None
    instruction: str
    descriptions: tuple[str, ...]

    def __init__(
        self,
        question: str = _CLAIMS[0],
        classes: Sequence[str] | Mapping[str, str] = _CLAIMS[1],
        statement: str | None = _UNSAID,
        opposite: str | None = _UNSAID,
        instruction: str = "",
        descriptions: Sequence[str] = (),
    ) -> None:
        if isinstance(classes, str):
            raise InputError(f"`classes` are several names, got the one text {classes!r}")
        if isinstance(classes, Mapping):
            descriptions = list(classes.values())
        names = tuple(classes)
        if statement == _UNSAID:
            statement = "The claim is right" if (question, names) == _CLAIMS else None
        if opposite == _UNSAID:
            opposite = "The claim is wrong" if statement == "The claim is right" else None
        if len(names) < 2 or len(set(names)) != len(names):
            raise InputError(f"a task needs two or more different classes, got {names}")
        if not all(isinstance(name, str) and name.strip() for name in names):
            raise InputError(f"the name of a class is a text that is not empty, got {names}")
        if len(names) > 2 and (statement or opposite):
            raise InputError("`statement` and `opposite` are for tasks with two classes")
        lines = tuple(" ".join(words.split()) for words in descriptions)
        if lines and len(lines) != len(names):
            raise InputError(f"{len(lines)} descriptions do not fit {len(names)} classes")
        values = {
            "question": question,
            "classes": names,
            "statement": statement,
            "opposite": opposite,
            "instruction": instruction.strip(),
            "descriptions": lines if any(lines) else (),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def k(self) -> int:
        """The number of classes."""
        return len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """The task as plain data, the inverse of `Task(**data)`; what is not said is left out."""
        said: dict[str, Any] = {
            "question": self.question,
            "classes": list(self.classes),
            "statement": self.statement,
            "opposite": self.opposite,
        }
        if self.instruction:
            said["instruction"] = self.instruction
        if self.descriptions:
            said["descriptions"] = list(self.descriptions)
        return said
