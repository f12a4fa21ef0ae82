"""The canary: two fixed questions that a model is asked now and then, to hear whether it changed.

A server may put another model behind a name and say nothing. What it answers to the same questions
then changes, and that is seen. The answers are predictions like all others, of the framing
`CANARY`, and the repeat number counts the checks; so the store knows between which predictions the
model changed (see `sources`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from consilience.data.task import Task
from consilience.models.base import Answer, Model, Request
from consilience.prompts.framing import framings, render
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.prediction_keys import prediction_key
from consilience.store.voices import CANARY, FIXED_QUESTIONS, Voiced, Voices

EVERY = 500
"""So many answers lie between two checks of a run."""

FEW = 200
"""A run of fewer calls has no canary, which would be more than one call in a hundred."""

_CHUNK = 64


def canary_for(model: Model, store: Store, calls: int) -> Canary | None:
    """The canary of a run of so many calls; None where they are few, or nothing can be swapped."""
    if calls < FEW or not getattr(model, "swappable", False):
        return None
    return Canary(model, store)


class Canary:
    """The checks of one model in one run; what earlier runs in the store heard counts too."""

    def __init__(self, model: Model, store: Store) -> None:
        self._model, self._store = model, store
        self._framing = framings(Task(), ["plain"])[0]
        self._voices = Voices()
        self._number: int | None = None
        self._since = 0

    def answered(self) -> None:
        """One more answer has come since the last check."""
        self._since += 1

    @property
    def due(self) -> bool:
        """Whether a check is due: before the first question, then after every `EVERY` answers."""
        return self._number is None or self._since >= EVERY

    def begin(self) -> list[tuple[str, Request]]:
        """The questions of the next check, each under its key."""
        if self._number is None:
            self._number = self._heard_before()
        else:
            self._number += 1
        self._since = 0
        return [self._question(target, self._number) for target in FIXED_QUESTIONS]

    def end(self, said: Mapping[str, Answer]) -> str | None:
        """What a check came to: a line where the model answers otherwise than before."""
        before = self._voices.now
        now = self._voices.hear(said)
        if before is None or before == now:
            return None
        return (
            f"{self._model.name!r} answers fixed questions otherwise than before (log-probabilities"
            f" {self._voices.told(before)}; now {self._voices.told(now)}): another model may stand "
            "behind the name; `consilience store sources` tells their answers apart"
        )

    def _question(self, target: str, number: int) -> tuple[str, Request]:
        prompt = render(self._framing, FIXED_QUESTIONS[target], style=self._model.style)
        query = Query(target, framing=CANARY, repeat=number)
        request = Request(query, prompt, self._framing.label_names)
        return prediction_key(self._model, request), request

    def _heard_before(self) -> int:
        """Hears the checks that the store has; the number of the next."""
        following = 0
        for number, said in self._stored():
            following = number + 1
            if len(said) == len(FIXED_QUESTIONS):
                self._voices.hear(said)
        return following

    def _stored(self) -> Iterator[tuple[int, Mapping[str, Voiced]]]:
        for start in count(0, _CHUNK):
            numbers = range(start, start + _CHUNK)
            there: dict[int, dict[str, Voiced]] = {number: {} for number in numbers}
            for target in FIXED_QUESTIONS:
                keys = [self._question(target, number)[0] for number in numbers]
                for number, kept in zip(numbers, self._store.predictions(keys), strict=True):
                    if kept is not None:
                        there[number][target] = kept
            yield from ((number, said) for number, said in there.items() if said)
            if not there[numbers[-1]]:
                return
