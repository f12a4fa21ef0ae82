"""What is added up over the predictions of each example, a part of the predictions at a time.

Ten million predictions are read at the speed of memory, and nothing as long as they are is made on
the way. The sums run in the order of the predictions, however they are cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from consilience.evidence.evidence import Evidence
from consilience.evidence.few_classes import normalised

PART = 2**14
"""So many numbers of predictions are worked on at once."""


@dataclass(frozen=True, slots=True)
class PooledAnswers:
    """What the predictions of each example say, in shares of its pool, for each of S labellings.

    `logp` (S, N, K): their log-probabilities, so far as they are relevant; `missed` (S, N): what
    those told that are not; `used` (S, N): the share that is relevant.
    """

    logp: Tensor
    missed: Tensor
    used: Tensor


def what_is_said(evidence: Evidence, share: Tensor, relevance: Tensor) -> PooledAnswers:
    """The sums over each example's predictions, by their share (S, T) in its pool.

    `relevance` (S, L + 1) is that of no shots and of each list of shots, see `at_lists`.
    """
    asked, k = evidence.predictions, evidence.k
    total = share.new_zeros(k + 2, len(share), evidence.n)
    for part in parts(evidence.t, len(share)):
        target, logp = asked.target[part], asked.logp[part]
        relevant = at_lists(relevance, asked.shown[part])
        used = share[:, part] * relevant
        lost = share[:, part] - used
        for c in range(k):
            add(total[c], target, used * logp[:, c])
        # What a prediction told counts against labels that leave it unexplained.
        add(total[k], target, lost.mul_(asked.information[part] + math.log(k)))
        add(total[k + 1], target, used)
    return PooledAnswers(total[:k].movedim(0, -1), total[k], total[k + 1])


def average_answer(evidence: Evidence, share: Tensor, relevance: Tensor, scale: Tensor) -> Tensor:
    """The sum of probabilities at a `scale` (S,) of log-odds, (S, N, K), so far as relevant.

    `share` and `relevance` as in `what_is_said`.
    """
    asked, k = evidence.predictions, evidence.k
    total = share.new_zeros(k, len(share), evidence.n)
    for part in parts(evidence.t, len(share)):
        used = share[:, part] * at_lists(relevance, asked.shown[part])
        p = normalised(scale.view(-1, 1, 1) * asked.logp[part])
        for c in range(k):
            add(total[c], asked.target[part], used * p[..., c])
        del p  # before the next is made
    return total.movedim(0, -1)


def at_lists(of_list: Tensor, shown: Tensor) -> Tensor:
    """Values of no list of shots, and of each, (…, L + 1), at what was `shown` (…, T), (…, T)."""
    return of_list.gather(-1, (shown + 1).expand(*of_list.shape[:-1], -1))


def of_lists(evidence: Evidence, values: Tensor) -> Tensor:
    """The mean of `values` (S, N, K) over the shots of each list and their labels, (S, L)."""
    shots, flat = evidence.shots, values.transpose(1, 2).flatten(1)
    total = flat.new_zeros(len(flat), len(shots.lengths))
    for part in parts(len(shots), len(flat)):
        place = shots.label[part] * evidence.n + shots.example[part]
        add(total, shots.list[part], at(flat, place))
    return total.div_(shots.lengths)


def per_target(evidence: Evidence, values: Tensor) -> Tensor:
    """Sums of `values` (S, T) or (S, T, K) over the predictions of each example, (S, N[, K])."""
    target = evidence.predictions.target
    if values.dim() == 2:
        return summed(values, target, evidence.n)
    columns = [summed(column, target, evidence.n) for column in values.unbind(-1)]
    return torch.stack(columns, dim=-1)


def summed(values: Tensor, cell: Tensor, cells: int) -> Tensor:
    """Sums of `values` (S, T) over the rows of each cell, (S, cells)."""
    return add(values.new_zeros(len(values), cells), cell, values)


def at(values: Tensor, place: Tensor) -> Tensor:
    """The columns of `values` (S, cells) at each place (T), (S, T).

    By `gather`: along a second dimension `index_select` takes four times as long.
    """
    return values.gather(1, place.expand(len(values), -1))


def add(total: Tensor, cell: Tensor, values: Tensor) -> Tensor:
    """Adds `values` (S, T) to the cells of `total` (S, cells) that they belong to, in place.

    By `scatter_add`: of several rows at once `index_add` is twenty times as slow.
    """
    return total.scatter_add_(1, cell.expand(len(values), -1), values)


def parts(rows: int, starts: int) -> Iterator[slice]:
    """Slices of the rows, each of as many as stay in a processor's cache."""
    each = max(1, PART // max(1, starts))
    return (slice(first, first + each) for first in range(0, rows, each))
