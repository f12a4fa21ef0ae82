"""The offsets of contexts: what a list of shots under one framing adds to every answer given there.

A model's answer is a signal about the target plus an offset of its prompt (a context: an ordered
list of shots under one framing). The offset moves all answers of the context alike, by 1 to 2.5
nats on small pretrained models, and by another amount under another list, so answers are compared
with each other and not with 0.

The model is additive, centred log-probabilities z of prediction t about example i in context c,
which belongs to a group g of contexts with the same framing and about as many shots::

    z_t = a_i + b_g + u_c + noise,   a ~ N(0, v_a),  b ~ N(0, GROUP²),  u ~ N(0, v_u)

It is fitted by coordinate ascent with the variances re-estimated as in expectation maximisation
(a two-way mixed model). Examples meet several contexts, so the signal of the examples that a
context happened to be asked about does not pass for its offset. What all contexts have in common
cannot be told from the mean signal, so the mean signal is taken for 0: how frequent the classes
are is estimated, or assumed, afterwards (`mixture`).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consilience.data.arrays import Floats, Integers
from consilience.prompts.query import Query

GROUP = 3.0
"""The standard deviation, in nats, of what a framing prefers before anything is seen.

On three pretrained models and twelve data sets it was 0 to 2.5 nats (`docs/development/log.md`)."""

_Shots = tuple[tuple[str, int], ...]

MANY = 12
"""Contexts of so many shots and more have a common mean; so have those of fewer, and of none."""

_STEPS = 60
"""Rounds of coordinate ascent."""

_STILL = 1e-5
"""A fit is at rest when no offset moves by more than this, in nats."""

_LEAST = 1e-4
"""The least variance, in nats²."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """Which context and which group of contexts each of T predictions was made in.

    `context` (T,) is −1 without shots: such a prompt is its framing's own. `names` are those of the
    groups.
    """

    context: Integers
    group: Integers
    names: tuple[str, ...]


class ContextNumbers:
    """The contexts of queries and their groups, numbered in the order in which they come."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, _Shots], int] = {}
        self._groups: dict[str, int] = {}
        self._context, self._group = array("q"), array("q")

    def add(self, queries: Sequence[Query]) -> None:
        """Further queries."""
        last: tuple[str, _Shots] | None = None
        for query in queries:
            shots = query.shots
            # A block shows one list, whose hash takes long.
            if last is None or last[1] is not shots or last[0] != query.framing:
                last = query.framing, shots
                shown = "zero-shot" if not shots else "with shots"
                few = ", few" if 0 < len(shots) < MANY else ""
                kind = f"{query.framing}, {shown}{few}"
                group = self._groups.setdefault(kind, len(self._groups))
                context = self._lists.setdefault(last, len(self._lists)) if shots else -1
            self._group.append(group)
            self._context.append(context)

    @property
    def all(self) -> Contexts:
        """Those of all queries so far."""
        context, group = np.array(self._context, np.int64), np.array(self._group, np.int64)
        return Contexts(context, group, tuple(self._groups))


@dataclass(frozen=True, slots=True)
class Offsets:
    """Offsets (T, K) in nats of each prediction, and of each group by name, summing to 0 over K."""

    taken: Floats
    groups: dict[str, Floats]


def fit_offsets(
    z: Floats, target: Integers, contexts: Contexts, used: NDArray[np.bool_]
) -> Offsets:
    """The offsets of the contexts in which centred log-probabilities z (T, K) were answered.

    Only predictions that are `used` (T,) decide; the offset of each is given all the same.
    """
    shown, rows = contexts.context >= 0, np.flatnonzero(used)
    spread = float(z[used].var()) if used.any() else 1.0
    # Class by class, as it is added up; of two the second is the negative of the first.
    left = np.array(z.T[:1] if z.shape[1] == 2 else z.T, order="C")
    # What was asked without shots is of a list that nobody used, and so has none of its own.
    context = np.where(shown, contexts.context, contexts.context.max(initial=-1) + 1)
    parts = (
        _Effect(contexts.group, used, GROUP**2, fixed=True),
        _Effect(target, used, spread + _LEAST),
        _Effect(context, used & shown, 0.25),
    )
    groups, _, lists = parts
    noise = spread / 2 + _LEAST
    for _step in range(_STEPS):
        moved = max(part.fit(left, noise) for part in parts)
        if used.any():
            # What the effects leave, and what they may have taken of it by chance.
            unsure = sum(part.unsure(noise) for part in parts)
            rest = left if len(rows) == len(z) else np.take(left, rows, axis=1)
            noise = max(float(np.vdot(rest, rest)) / rest.size + unsure, _LEAST)
        if moved < _STILL:
            break
    taken = _of_all(groups.of_each() + lists.of_each(), z.shape[1])
    of_groups = _of_all(groups.value, z.shape[1])
    return Offsets(taken, {name: of_groups[g] for g, name in enumerate(contexts.names)})


def _of_all(values: Floats, k: int) -> Floats:
    """Values by class (K, L), or of the first of two (1, L), as (L, K)."""
    return (values if len(values) == k else np.concatenate([values, -values])).T.copy()


class _Effect:
    """One additive effect: a value (K, L) for each level, shrunk towards 0 by its variance.

    Of two classes that of the first alone, (1, L).
    """

    def __init__(
        self, level: Integers, used: NDArray[np.bool_], variance: float, *, fixed: bool = False
    ) -> None:
        # Rows are many times as fast to take by their numbers as by a mask.
        self._level, self._used = level, np.flatnonzero(used)
        self._of_used = level[used]
        self._all = used.size
        self._count = np.bincount(self._of_used, minlength=int(level.max(initial=0)) + 1)
        self._there = np.flatnonzero(self._count)
        self._variance, self._fixed = variance, fixed
        self.value: Floats = np.zeros((1, len(self._count)))

    def of_each(self) -> Floats:
        """The value of each prediction's level, (K, T); 0 where the level is of no one used."""
        return np.take(self.value, self._level, axis=1)

    def fit(self, left: Floats, noise: float) -> float:
        """Fits the values to what the other effects leave; how far the farthest moved.

        `left` (K, T) is what all effects leave, and is changed in place to what they leave then.
        """
        strength = noise / self._variance
        each = self._count + strength
        # What they leave and what this one had taken, added up by level.
        mine = left if len(self._used) == self._all else np.take(left, self._used, axis=1)
        found = np.array([np.bincount(self._of_used, own, len(self._count)) for own in mine])
        before, self.value = self.value, (found + self._count * self.value) / each
        if not self._fixed and len(self._used):
            value = self.value[:, self._there]
            spread = np.take(noise / each, self._there)
            self._variance = max(_mean(value * value) + _mean(spread), _LEAST)
        moved = self.value - before
        left -= np.take(moved, self._level, axis=1)
        return float(np.abs(moved).max(initial=0.0))

    def unsure(self, noise: float) -> float:
        """The mean variance of the value that a prediction that counts is given, in nats²."""
        each = noise / (self._count + noise / self._variance)
        return float((each * self._count).sum() / max(self._all, 1))


def _mean(values: NDArray[np.floating[Any]]) -> float:
    """Their mean as numpy has it, to the bit, in half of the time that its method takes on few."""
    return float(np.add.reduce(values, axis=None)) / values.size
