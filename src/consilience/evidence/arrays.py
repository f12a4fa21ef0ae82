"""The arrays of evidence: predictions, the lists of shots they showed, and contrasts between them.

Each is a small frozen record of tensors with one row for each prediction, shot or contrast; float64
for nats and weights, int64 for positions and labels, bool for flags. T predictions, L lists of
shots with M shots in all, F contrasts, K classes.

A list of shots is shown to a whole block of targets and is here once, so that what labels say of
it is computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from itertools import compress
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class _Columns:
    """A record whose fields, tensors and tuples, have one entry for each row."""

    def rows(self, keep: Tensor) -> Self:
        """Some of the rows, by a mask (rows,), in the same order."""
        return self._each(lambda v: v[keep], lambda v: tuple(compress(v, keep.tolist())))

    def none(self) -> Self:
        """None of the rows."""
        return self._each(lambda v: v[:0], lambda v: v[:0])

    def to(self, device: str | torch.device) -> Self:
        """The same rows on another device."""
        return self._each(lambda v: v.to(device), lambda v: v)

    def followed_by(self, other: Self) -> Self:
        """These rows, and then those of another."""
        made: dict[str, Any] = {}
        for field in fields(self):
            mine, more = getattr(self, field.name), getattr(other, field.name)
            tensors = isinstance(mine, Tensor)
            made[field.name] = torch.cat([mine, more]) if tensors else (*mine, *more)
        return replace(self, **made)

    def _each(
        self,
        of_tensor: Callable[[Tensor], Tensor],
        of_tuple: Callable[[tuple[str, ...]], tuple[str, ...]],
    ) -> Self:
        made: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            made[field.name] = of_tensor(value) if isinstance(value, Tensor) else of_tuple(value)
        return replace(self, **made)


@dataclass(frozen=True, eq=False)
class PredictionArrays(_Columns):
    """What was asked and answered: one row for each of T predictions.

    - `keys`: the predictions' keys in the store.
    - `target` (T): the position of the example asked about.
    - `logp` (T, K): what was answered, log-probabilities in nats.
    - `weight` (T): how much an answer counts beside others about its example, see `agreement`.
    - `information` (T): that of an answer, log K − H(p), nats.
    - `shown` (T): which list of shots was shown, of those whose labels are on record; −1 for none.
    - `zero` (T): no shots were shown; `brief` (T): part of a contrast; `bounded` (T): some
      label was only bounded.
    - `framing` (T): the position of the framing; `round` (T): in which round it was asked.
    - `context` (T): which list of shots under which framing, −1 without shots; `kind` (T): which
      kind of context.
    """

    keys: tuple[str, ...]
    target: Tensor
    logp: Tensor
    weight: Tensor
    information: Tensor
    shown: Tensor
    zero: Tensor
    brief: Tensor
    bounded: Tensor
    framing: Tensor
    round: Tensor
    context: Tensor
    kind: Tensor

    def __len__(self) -> int:
        return len(self.target)

    @cached_property
    def rivals(self) -> Tensor:
        """All pairs of predictions (R, 2) of one target, each pair once."""
        target = self.target.cpu().numpy()
        order = np.argsort(target, kind="stable")
        runs = np.split(order, np.flatnonzero(np.diff(target[order])) + 1)
        found = np.concatenate([run[_pairs_among(len(run))] for run in runs])
        return torch.from_numpy(found).to(self.target.device)

    def only(self, keep: Tensor) -> PredictionArrays:
        """Some of the predictions, by a mask (T,); contexts and kinds are numbered anew."""
        kept = self.rows(keep)
        return replace(kept, context=_renumbered(kept.context), kind=_renumbered(kept.kind))


@dataclass(frozen=True, eq=False)
class ShotArrays(_Columns):
    """The lists of shots that were shown with labels on record: one row for each of M shots.

    `list` (M): the list that it is in, numbered from 0 and in rising order; `example` (M): which
    example it is; `label` (M): what it was shown as.
    """

    list: Tensor
    example: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.list)

    @cached_property
    def lengths(self) -> Tensor:
        """How many shots each list has, (L,)."""
        return torch.bincount(self.list)

    def counts(self, shown: Tensor) -> Tensor:
        """How many shots a prediction showed, by the number of its list (T), −1 for none; (T,)."""
        return torch.cat([self.lengths, self.lengths.new_zeros(1)])[shown]

    def of_predictions(self, shown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prediction, example and label of each shot of each prediction, by its list (T)."""
        none = self.lengths.new_zeros(1)
        begin = torch.cat([self.lengths.cumsum(dim=0) - self.lengths, none])[shown]
        count = self.counts(shown)
        prediction = torch.arange(len(shown), device=shown.device).repeat_interleave(count)
        first = (count.cumsum(dim=0) - count)[prediction]
        at = begin[prediction] + torch.arange(len(prediction), device=shown.device) - first
        return prediction, self.example[at], self.label[at]

    def used(self, shown: Tensor) -> tuple[ShotArrays, Tensor]:
        """Only the lists that are `shown` (T), numbered anew, and the numbers (T), −1 for none."""
        there = torch.zeros(len(self.lengths) + 1, dtype=torch.bool, device=shown.device)
        there[shown] = True
        # The last place is that of −1.
        place = torch.where(there, torch.cumsum(there, dim=0) - 1, -1)
        place[-1] = -1
        kept = self.rows(there[self.list])
        return replace(kept, list=place[kept.list]), place[shown]


@dataclass(frozen=True, eq=False)
class ContrastArrays(_Columns):
    """Questions asked twice, with the label of one shot flipped: one row for each of F contrasts.

    - `twin`, `flipped` (F): the prediction as it was asked first, and with the label flipped.
    - `example` (F): the shot that was flipped; `before`, `after` (F): its label in each of the two.
    - `pair` (F): which pair of target and shot it is of, numbered from 0.
    """

    twin: Tensor
    flipped: Tensor
    example: Tensor
    before: Tensor
    after: Tensor
    pair: Tensor

    def __len__(self) -> int:
        return len(self.twin)

    def only(self, keep: Tensor) -> ContrastArrays:
        """Those both of whose predictions are kept, by a mask (T,); these are numbered anew."""
        kept = self.rows(keep[self.twin] & keep[self.flipped])
        place = _places(keep)
        return replace(kept, twin=place[kept.twin], flipped=place[kept.flipped])


def _places(keep: Tensor) -> Tensor:
    """The number that each row has among those kept."""
    return torch.cumsum(keep, dim=0) - 1


def _renumbered(values: Tensor) -> Tensor:
    """Numbers from 0 in the order in which they first come; −1 stays."""
    found: dict[int, int] = {-1: -1}
    return torch.tensor([found.setdefault(v, len(found) - 1) for v in values.tolist()]).long()


@lru_cache(maxsize=256)
def _pairs_among(count: int) -> NDArray[np.int64]:
    """All pairs of so many positions, each once; remembered, for most targets have as many."""
    return np.stack(np.triu_indices(count, 1), axis=1)
