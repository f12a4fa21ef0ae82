"""What a report shows of scores: as `evaluate` makes them, from outside the wall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Bounded(Protocol):
    """A number with its interval."""

    @property
    def estimate(self) -> float:
        """The number, NaN where it is undefined."""

    @property
    def lower(self) -> float:
        """The lower end."""

    @property
    def upper(self) -> float:
        """The upper end."""


class Bin(Protocol):
    """Labels of about one probability: how probable, and how many of them are right."""

    @property
    def confidence(self) -> float:
        """The mean probability."""

    @property
    def accuracy(self) -> float:
        """The share that is right."""

    @property
    def lower(self) -> float:
        """The lower end of its interval."""

    @property
    def upper(self) -> float:
        """The upper end of its interval."""

    @property
    def examples(self) -> int:
        """How many there are."""


class Scores(Protocol):
    """Methods side by side; `known` (N,) are the classes that examples were scored by, or −1."""

    @property
    def scores(self) -> Mapping[str, Mapping[str, Bounded]]:
        """Each measure of each method."""

    @property
    def calls(self) -> Mapping[str, float]:
        """Calls per example of each method."""

    @property
    def scored(self) -> int:
        """How many examples were scored."""

    @property
    def note(self) -> str:
        """What is to be known about them."""

    @property
    def curve(self) -> Sequence[Bin]:
        """The calibration of the run's labels."""

    @property
    def known(self) -> NDArray[np.int64]:
        """The class of each example, −1 where it is not known."""
