"""What examples whose class the user gave say of where two classes lie."""

from __future__ import annotations

import torch
from torch import Tensor

MOVED_BY, STEEPLY = 2.0, 1.5
"""The classes lie where those examples say whose class is given, and not where the answers alone
do, once that puts so many more of them right; half in between. For they are seldom drawn at random:
eight doubtful ones lie about any line, and on answers of a real model (Subj, Gemma 3 270M) moved
one that was right by a tenth of the rows. Counted are rows, not nats, which single ones far on the
other side make large (`docs/development/log.md`)."""

NEVER_OF = -60.0
"""The log-probability, in nats, that an example is of another class than it is known to be."""


def looked_at(held: Tensor, count: int) -> Tensor:
    """Which of N examples are looked at: the first `count`, and after them as many held ones."""
    rest = (held[count:] >= 0).nonzero()[:count, 0] + count
    return torch.cat([torch.arange(min(count, len(held)), device=held.device), rest])


def moved(
    added: Tensor, placed: Tensor, z: Tensor, scale: Tensor, held: Tensor, there: Tensor
) -> Tensor:
    """What is added to answers, (S, K), on the way from where these alone put the classes.

    `placed` (S, K) is where the classes `held` (N), −1 for none, put them; `z` (S, N, K) are the
    answers, `scale` (S,) what a nat of them is worth, `there` (S, N, 1) says who has any.
    """
    given = torch.nn.functional.one_hot(held + 1, z.shape[-1] + 1)[:, 1:] * there
    more = _right(z, placed, scale, given) - _right(z, added, scale, given)
    return added + torch.sigmoid(STEEPLY * (more - MOVED_BY)).unsqueeze(-1) * (placed - added)


def _right(z: Tensor, added: Tensor, scale: Tensor, given: Tensor) -> Tensor:
    """How many of the classes `given` (S, N, K) answers with `added` (S, K) are expected to get."""
    q = torch.softmax(scale.view(-1, 1, 1) * (z + added.unsqueeze(1)), dim=-1)
    return (q * given).sum(dim=(1, 2))


def other_classes(held: Tensor | None, k: int, like: Tensor) -> Tensor:
    """What is added to the log-probability of each class, (K, 1, 1, N), where one is known."""
    if held is None:
        return like.new_zeros(k, 1, 1, 1)
    own = torch.nn.functional.one_hot(held.clamp(min=0), k).to(like.dtype)
    return (NEVER_OF * (1 - own) * (held >= 0).unsqueeze(1)).T[:, None, None]
