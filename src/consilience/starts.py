"""Where a solve begins: with the zero-shot answers or what is given, and then all over the place.

Where relations tie examples, a labelling that breaks them is a poor place to begin: single labels
would have to move together, and the way there leads downhill. So each further start is made to
keep them: within each component it takes the best of the labellings that the relations allow,
under scores that are the evidence, noise, or both (perturb and MAP, Papandreou and Yuille 2011).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from consilience.errors import InputError
from consilience.evidence import Evidence
from consilience.logic import Factor
from consilience.reading import read

STREAM = 20
"""What tells the random numbers of this module from those of others that use the same seed."""

SPREAD = 3.0
"""The standard deviation of the noise in the scores of a start, in nats."""


def draw(evidence: Evidence, count: int, seed: int, start: NDArray[np.float64] | None) -> Tensor:
    """θ of `count` starts (S, N, K): `start` (N, K) or the zero-shot answer, then drawn ones.

    The second is what the evidence says as read under the first; in the others that counts for
    less and less, and in every other one for nothing.
    """
    shape = (1, evidence.n, evidence.k)
    device = evidence.logp.device
    if start is None:
        uniform = torch.full(shape, 1 / evidence.k, dtype=torch.float64, device=device)
        first = read(evidence, uniform).prior
    elif start.shape != shape[1:]:
        raise InputError(f"a start of shape {start.shape} for labels of shape {shape[1:]}")
    else:
        first = torch.from_numpy(start).to(device).clamp(min=1e-12).log().unsqueeze(0)
    if count == 1:
        return first
    said = read(evidence, torch.softmax(first, dim=-1)).log_pool
    noise = np.random.default_rng([seed, STREAM]).normal(scale=SPREAD, size=(count - 2, *shape[1:]))
    trust = [0.0 if s % 2 else 1 - s / count for s in range(count - 2)]
    weight = torch.tensor(trust, dtype=torch.float64, device=device).view(-1, 1, 1)
    drawn = torch.cat([said, weight * said + torch.from_numpy(noise).to(device)])
    for factor in evidence.factors:
        if isinstance(factor, Factor):
            drawn = _kept(drawn, factor)
    return torch.cat([first, drawn])


def _kept(theta: Tensor, factor: Factor) -> Tensor:
    """Scores in whose best labels the relations of a factor hold, its members clear by 3 nats."""
    members, worlds = factor.members, factor.worlds
    local = theta[:, members]
    # (S, G, m, K) read at each world's labels → (S, G, m, W), summed over the members.
    index = worlds.T.expand(*local.shape[:2], -1, -1)
    best = worlds[local.gather(3, index).sum(dim=2).argmax(dim=-1)]
    top = local.amax(dim=-1, keepdim=True) + SPREAD
    return theta.index_copy(
        1, members.flatten(), local.scatter(3, best.unsqueeze(-1), top).flatten(1, 2)
    )
