"""Baselines that ask nothing: what the relations of a data set imply about the labels."""

from __future__ import annotations

import numpy as np
import torch

from consilience.data.dataset import Dataset
from consilience.data.relations import AtMostOne, Equal, ExactlyOne
from consilience.evaluation.baselines.base import Baseline
from consilience.evidence.relation_factors import factors


@torch.inference_mode(False)  # whether the caller records gradients or not
def structure_only(data: Dataset) -> Baseline:
    """What the relations alone say, design priors included: no model, no text.

    The marginals of the uniform distribution over the labellings that each component allows
    (where a component is too large to be enumerated, of what its last relation allows), weighed
    by soft relations, where there are any: what a model proposed counts here too.
    """
    n, k = len(data), data.task.k
    labels = np.full((n, k), 1 / k)
    for factor in factors(data.relations, data.index, k):
        logq = torch.full((n, k), -np.log(k), dtype=torch.float64, requires_grad=True)
        # ∂ log P(holds) / ∂ log q_i(k) is the probability that i has class k given that it holds.
        (marginal,) = torch.autograd.grad(factor.log_holds(logq).sum(), logq)
        members = factor.members.flatten()
        chosen = marginal[members] / marginal[members].sum(dim=1, keepdim=True)
        labels[members.numpy()] = chosen.numpy()
    return Baseline("structure only", labels, 0.0, 0.0)


def agreement_only(data: Dataset) -> Baseline | None:
    """What relations say by their number: true is what another example of the group agrees with.

    Two classes, and data that say which answers are the same; None for others. Right answers are
    found more than once and wrong ones are not: on verified solutions this alone goes far.
    """
    # A soft relation may be the model's own opinion, which is no structure.
    hard = [r for r in data.relations if r.strength == 1]
    shared = {m for r in hard if isinstance(r, Equal) for m in r.members}
    excluding = any(isinstance(r, AtMostOne | ExactlyOne) for r in hard)
    if data.task.k != 2 or not shared or not excluding:
        return None
    agreed = np.array([id in shared for id in data.ids], dtype=np.int64)
    return Baseline("structure only, agreement", np.eye(2)[agreed], 0.0, 0.0)
