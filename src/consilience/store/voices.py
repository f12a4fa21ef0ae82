"""Voices: the different ways in which fixed questions were answered under one name.

Who answers them otherwise than before is another model, or one that runs otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

CANARY = "canary"
"""The framing that its queries carry."""

FIXED_QUESTIONS = {
    "canary-1": "A tomato is a vegetable.",
    "canary-2": "Most people would rather be an hour early than a minute late.",
}
"""What is asked, by target: nothing that every model is sure of."""

VOICE_TOLERANCE = 0.5
"""By how much a log-probability may differ, in nats: servers round, and batches differ."""

RARE = -6.0
"""Log-probabilities below are not compared: their rounding is larger."""


class Voiced(Protocol):
    """The part of an answer that is compared."""

    @property
    def logprobs(self) -> tuple[float, ...]:
        """The log-probability of each label, in nats."""
        ...

    @property
    def exact(self) -> tuple[bool, ...]:
        """Which of them are no bounds."""
        ...


class Voices:
    """The different ways in which the canary's questions were answered, from 0."""

    def __init__(self) -> None:
        self._known: list[Mapping[str, Voiced]] = []
        self.now: int | None = None

    def hear(self, said: Mapping[str, Voiced]) -> int:
        """The number of the voice that answers so, a new one where none did."""
        same = (i for i, voice in enumerate(self._known) if _alike(voice, said))
        if (found := next(same, None)) is None:
            found = len(self._known)
            self._known.append(said)
        self.now = found
        return found

    def told(self, number: int) -> str:
        """What a voice answers, in a few words."""
        values = (x for voiced in self._known[number].values() for x in voiced.logprobs)
        return ", ".join(f"{value:.2f}" for value in values)


def _alike(one: Mapping[str, Voiced], other: Mapping[str, Voiced]) -> bool:
    for target, voiced in one.items():
        again = other[target]
        for c, (before, now) in enumerate(zip(voiced.logprobs, again.logprobs, strict=True)):
            known = voiced.exact[c] and again.exact[c] and max(before, now) > RARE
            if known and abs(before - now) > VOICE_TOLERANCE:
                return False
    return True
