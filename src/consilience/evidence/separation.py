"""Whether answers without shots lie in classes further apart than those with shots.

Shots teach most models what is asked. Some models know it already, and shots only distract them:
true and false statements about cities, asked of Qwen2.5-Coder 1.5B, lie 4.4 standard deviations
apart without shots and 1.8 with them, whose answers are six of eight and agree with each other.
How far apart the classes lie is seen without labels: the two means of an example's answers, without
shots (g = 0) and with them (g = 1), are taken to be normal about those of its class, with one
covariance W in all directions::

    x_ig(k) = λ_g (1[k is the class of i] − 1/K) + noise,   noise over g ~ N(0, W)

fitted by expectation maximisation with the shares of the classes. These lie λ_g / √W_gg apart in
each kind, and W⁻¹ λ is what each should count in the best of their sums (Fisher 1936).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from consilience.data.arrays import Flags, Floats, Integers, row_sums
from consilience.evidence.agreement import ZERO_SHOT_WEIGHT
from consilience.evidence.mixture import APART, FEWEST_EXAMPLES, LOOKED
from consilience.models.threads import one_thread

SHARPER = 1.5
"""Answers without shots count for more where their classes lie this many times as far apart.

And at least `mixture.APART`. On public sets, after every round: cities of Qwen 2.3 to 2.9 times
(4.3 deviations), languages and numbers of Gemma 3 270M 3.0 to 4.4 times (3.0 to 3.5); in 40 other
runs of three models they lie 3.0 deviations apart or less, and no further than with shots where it
is more than 2.5. One broad cluster has at most 1.8 of them."""

RAREST = 0.05
"""A class of a smaller share is taken for a few answers that lie far from all others."""

MOST_OF = 0.9
"""The most of an example's evidence that answers without shots are then made."""

_SHARP = 1.5
"""How sharp the labels are that the fit begins with, in log-odds per standard deviation."""

_STEPS = 100
_AT_REST = 1e-5
_LEAST = 1e-4
"""The least variance, in nats²."""


def shot_free_weights(
    z: Floats, target: Integers, weight: Floats, zero: Flags, shown: Flags
) -> Floats:
    """The weights (T,), 1 on average, in which answers without shots count as they should.

    From centred log-probabilities `z` (T, K) and the weights so far; `zero` and `shown` (T,) say
    which answers have no shots and which have; those that are neither are contrasts. Nothing
    changes where the classes lie no further apart without shots, or too little was asked.
    """
    n = int(target.max(initial=-1)) + 1
    total = [np.bincount(target, weight * kind, n) for kind in (zero, shown)]
    both = np.flatnonzero((total[0] > 0) & (total[1] > 0))
    if len(both) < FEWEST_EXAMPLES:
        return weight
    each = total[0][both] / np.bincount(target, zero, n)[both]
    usual = ZERO_SHOT_WEIGHT * float(each.mean() / total[1][both].mean())
    looked = both[np.linspace(0, len(both) - 1, min(len(both), LOOKED)).astype(np.int64)]
    means = [
        row_sums(target, (weight * kind)[:, None] * z, n)[looked] / whole[looked, None]
        for kind, whole in zip((zero, shown), total, strict=True)
    ]
    with one_thread():
        found = _fitted(torch.from_numpy(np.stack(means, axis=-1)), usual)
    apart, best, shares = (figures.tolist() for figures in found)
    if apart[0] < max(APART, SHARPER * apart[1]) or min(shares) < RAREST:
        return weight
    ratio = min(best[0] / max(best[1], 1e-9), MOST_OF / (1 - MOST_OF))
    made = np.where(zero, weight * max(ratio / usual, 1.0), weight)
    return np.asarray(made / made.mean())


def _fitted(x: Tensor, usual: float) -> tuple[Tensor, Tensor, Tensor]:
    """λ_g / √W_gg and W⁻¹ λ, both (2,), of means `x` (N, K, 2) without and with shots.

    Last the shares of the classes, (K,). `usual` is what the first count for one of the second.
    """
    n, k, _ = x.shape
    flat = (x - x.mean(dim=0)).reshape(n, 2 * k)
    pairs = flat.reshape(n * k, 2)
    whole = (pairs @ torch.tensor([usual, 1.0], dtype=x.dtype)).reshape(n, k)
    q = torch.softmax(whole / whole.std().clamp(min=1e-9) * _SHARP, dim=1)
    spread = pairs.T @ pairs
    within, means, members = spread, flat, q  # replaced at once
    for _ in range(_STEPS):
        members = q.sum(dim=0).clamp(min=1e-9)
        means = ((q.T @ flat) / members[:, None]).reshape(k * k, 2)
        explained = (members.repeat_interleave(k)[:, None] * means).T @ means
        within = (spread - explained) / (n * (k - 1)) + _LEAST * torch.eye(2, dtype=x.dtype)
        # −½ Σ over columns of (x − mean)ᵀ W⁻¹ (x − mean), less what all classes have in common.
        turned = means @ torch.linalg.inv(within)
        norm = (turned * means).reshape(k, 2 * k).sum(dim=1) / 2
        said = flat @ turned.reshape(k, 2 * k).T - norm + members.log()
        before, q = q, torch.softmax(said, dim=1)
        if (q - before).abs().max() < _AT_REST:
            break
    shares = members / n
    own = means.reshape(k, k, 2).diagonal().T  # what classes say of themselves, (K, 2)
    slope = (shares @ own) / (1 - shares.square().sum()).clamp(min=1e-9)
    return slope / within.diagonal().sqrt(), torch.linalg.solve(within, slope), shares
