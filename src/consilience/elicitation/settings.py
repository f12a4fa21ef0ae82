"""What decides a run: budget, framings, how it plans; written into the store and read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from consilience.data.dataset import Dataset
from consilience.data.task import Task
from consilience.elicitation.called import called
from consilience.errors import InputError, check_kind
from consilience.evidence.evidence import FLOOR
from consilience.evidence.label_bias import BIAS_METHODS
from consilience.objective.term import Terms
from consilience.planning.planner import PlanSettings, zero_shot_calls, zero_shot_round
from consilience.prompts.framing import Framing, framings, told_apart
from consilience.prompts.query import Query
from consilience.results.landmarks import Landmarks
from consilience.solvers.fixed_point import Solver

PLAN_VERSION = 12
"""Raised when the same settings would plan other queries, so that old runs stay what they are."""

_EXACT = 1e-6
"""Shares that miss 1 by no more add up to it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides a run's queries and labels, apart from data, model and seed.

    The budget is `calls_per_example` times the number of examples. At most the share `first` of it
    is asked zero-shot, but each example at least once; at most the share `census` of the rest goes
    into the search for concepts (see `discovery`), none if it is 0. `framings` are names of
    families (see `prompts.framing`), or framings of your own; `anchor` describes what the classes
    of the framing `sets` differ in. A run stops early if less than the share `settled` of all
    probability moved from one class to another in each of two rounds in a row; 0 turns that off.
    `priors` lets design priors count beside logical facts; `floor` and `bias` are those of
    `evidence.collect`. `shares` (class → share of the examples) gives the known class shares; the
    other classes share the rest equally.
    """

    calls_per_example: float = 8.0
    framings: tuple[str | Framing, ...] | None = None
    anchor: str | None = None
    plan: PlanSettings = field(default_factory=PlanSettings)
    priors: bool = False
    settled: float = 0.01
    census: float = 0.6
    first: float = 0.25
    floor: float = FLOOR
    bias: str = "contexts"
    shares: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.bias not in BIAS_METHODS:
            known = ", ".join(BIAS_METHODS)
            raise InputError(f"no way {self.bias!r} to take out bias; there are: {known}")
        if not 0 <= self.floor < 1:
            raise InputError(f"floor is a probability from 0 to below 1, got {self.floor}")
        check_kind(self.calls_per_example, (int, float), "calls per example are a number")
        if not 0 < self.calls_per_example < math.inf:
            raise InputError(f"calls per example must be above 0, got {self.calls_per_example}")
        if not 0 <= self.settled < 1:
            raise InputError(f"settled is a share from 0 to below 1, got {self.settled}")
        if not 0 < self.first <= 1:
            raise InputError(f"first is a share above 0, at most 1, got {self.first}")
        if not 0 <= self.census < 1:
            raise InputError(f"census is a share from 0 to below 1, got {self.census}")
        for name, share in (self.shares or {}).items():
            if not 0 < share < 1:
                raise InputError(f"the share of {name!r} must be between 0 and 1, got {share}")

    def framings_for(self, dataset: Dataset) -> tuple[Framing, ...]:
        """The framings that these settings ask a data set in."""
        return framings(dataset.task, self.framings, self.anchor)

    def suited(self, model: object, task: Task) -> Settings:
        """The settings for a model: one that reads whole labels can be asked by similar names."""
        whole = getattr(model, "whole_labels", False)
        if self.framings is None and whole and not told_apart(task):
            return replace(self, framings=("names",))
        return self

    def shares_of(self, task: Task) -> tuple[float, ...] | None:
        """The share of each class; None if none was given, InputError if they are impossible."""
        if not self.shares:
            return None
        if unknown := sorted(self.shares.keys() - set(task.classes)):
            raise InputError(
                f"a share is given for {', '.join(unknown)}; the classes are "
                f"{', '.join(task.classes)}"
            )
        left, others = 1 - math.fsum(self.shares.values()), task.k - len(self.shares)
        if (others and left < _EXACT) or (not others and abs(left) > _EXACT):
            raise InputError(
                f"the shares given add up to {1 - left:g}: those of all classes must add up to 1, "
                "and those of some leave something for the others"
            )
        return tuple(self.shares.get(name, left / max(others, 1)) for name in task.classes)

    def zero_shot(self, dataset: Dataset) -> list[Query]:
        """The zero-shot round, in as many framings as its share of the budget has room for."""
        return zero_shot_round(dataset, self.framings_for(dataset), self._most_zero_shot)

    def zero_shot_calls(self, dataset: Dataset) -> int:
        """How many queries the zero-shot round has."""
        return zero_shot_calls(dataset, self.framings_for(dataset), self._most_zero_shot)

    @property
    def _most_zero_shot(self) -> int:
        """In how many framings an example is asked without shots, at most."""
        return max(1, int(self.calls_per_example * self.first))

    def budget(self, dataset: Dataset) -> int:
        """The number of calls that may be planned; InputError where round 0 does not fit."""
        calls = int(self.calls_per_example * len(dataset))
        first = self.zero_shot_calls(dataset)
        if calls < first:
            raise InputError(
                f"{self.calls_per_example:g} calls per example are {calls} calls, fewer than the "
                f"{first} of the zero-shot round; raise them, or ask in fewer framings"
            )
        return calls


def record(
    settings: Settings,
    terms: Terms,
    solver: Solver,
    landmarks: Landmarks | None = None,
) -> Mapping[str, Any]:
    """Everything that decides a run's queries and labels, as plain data for the store."""
    vouched = () if landmarks is None else zip(landmarks.ids, landmarks.classes, strict=True)
    return {
        "plan_version": PLAN_VERSION,
        **asdict(settings),
        "terms": {name: [term.weight, called(term.function)] for name, term in terms.items()},
        "solver": repr(solver),
        "landmarks": dict(vouched),
    }


def settings_from(record: Mapping[str, Any], shares: Mapping[str, float] | None = None) -> Settings:
    """The settings that `record` wrote; with these `shares`, where they were told since."""
    names = record["framings"]
    return Settings(
        calls_per_example=record["calls_per_example"],
        framings=None if names is None else tuple(map(_framing_from, names)),
        anchor=record["anchor"],
        plan=PlanSettings(**record["plan"]),
        priors=record["priors"],
        settled=record["settled"],
        census=record["census"],
        first=record["first"],
        floor=record["floor"],
        bias=record["bias"],
        shares=shares or record["shares"],
    )


def _framing_from(told: str | Mapping[str, Any]) -> str | Framing:
    """A framing as `record` wrote it: a name, or one of the user's own, whole."""
    if isinstance(told, str):
        return told
    return Framing(**{**told, "label_names": tuple(told["label_names"])})
