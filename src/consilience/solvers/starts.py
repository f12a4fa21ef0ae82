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
from scipy.special import softmax
from torch import Tensor

from consilience.data.random_streams import generator
from consilience.errors import InputError
from consilience.evidence.evidence import Evidence
from consilience.evidence.relation_factors import Factor
from consilience.objective.conditioning import condition, weigh, zero_shot_answer
from consilience.objective.pair_terms import flip_effect
from consilience.solvers.clamping import clamped

FEW_EXAMPLES, STARTS = 64, 8
"""Evidence about so many examples or fewer is solved from `STARTS` starts, more of it from one.

Of 100 examples and more eight starts end where the first does, for six to nine times the time
(`benchmarks/solvers.py`); among few examples that relations wall in they find what one misses. So
they do of 240 pairs that orders tie, not of 1,020: no draw is better in so many places at once."""

MEAN_FIELD = 100
"""The steps of mean field that lead to the start from contrasts."""

FOLLOWED = 10
"""The half steps in which every other start follows the evidence."""

SPREAD = 3.0
"""The standard deviation of the noise in the scores of a start, in nats."""


def first_labels(evidence: Evidence) -> NDArray[np.float64] | None:
    """Where a solve begins: with all answers alike, or, None, with the zero-shot ones if any.

    Without zero-shot answers a solve that begins with no labels ends there: no prediction is
    relevant where nobody has a label.
    """
    predictions = evidence.predictions
    if bool(predictions.zero.any()):
        return None
    total = np.zeros((evidence.n, evidence.k))
    np.add.at(total, predictions.target.numpy(), predictions.logp.numpy())
    counts = np.bincount(predictions.target.numpy(), minlength=evidence.n)
    return np.asarray(softmax(total / np.maximum(counts, 1)[:, None], axis=1))


def default_starts(examples: int) -> int:
    """How many starts evidence about so many examples is solved from."""
    return STARTS if examples <= FEW_EXAMPLES else 1


def draw(evidence: Evidence, count: int, seed: int, start: NDArray[np.float64] | None) -> Tensor:
    """θ of `count` starts (S, N, K): `start` (N, K) or the zero-shot answer, then drawn ones.

    The second is what the evidence says as read under the first; in the others that counts for
    less and less, and in every other one for nothing. Those others stay where they were drawn,
    and the ones between them have followed the evidence from there.
    """
    shape = (1, evidence.n, evidence.k)
    device = evidence.predictions.logp.device
    if start is None:
        alike = torch.ones(1, 1, dtype=torch.float64, device=device).expand(1, evidence.t)
        first = zero_shot_answer(evidence, alike)
    elif start.shape != shape[1:]:
        raise InputError(f"a start of shape {start.shape} for labels of shape {shape[1:]}")
    else:
        first = torch.from_numpy(start).to(device).clamp(min=1e-12).log().unsqueeze(0)
    if count == 1:
        return first
    said = condition(evidence, torch.softmax(first, dim=-1)).log_pool
    made = torch.cat([said, _coupled(evidence)] if evidence.f and count > 2 else [said])
    more = count - 1 - len(made)
    noise = generator(seed, "starts").normal(scale=SPREAD, size=(more, *shape[1:]))
    trust = [0.0 if s % 2 else 1 - s / count for s in range(more)]
    weight = torch.tensor(trust, dtype=torch.float64, device=device).view(-1, 1, 1)
    drawn = weight * said + torch.from_numpy(noise).to(device)
    drawn[::2] = _followed(evidence, drawn[::2])
    return torch.cat([first, _keeping(evidence, torch.cat([made, drawn]))])


def _followed(evidence: Evidence, theta: Tensor) -> Tensor:
    """Where the evidence leads from θ (S, N, K) in a few half steps.

    Each step reads it under labels that keep the relations. From labels drawn at random alone an
    optimum that relations wall in is found only by luck.
    """
    weighing = weigh(evidence)
    for _ in range(FOLLOWED):
        q = torch.softmax(_keeping(evidence, theta), dim=-1)
        conditioned = condition(evidence, q, weighing)
        theta = (theta + conditioned.log_pool + _pull(evidence, conditioned.flip_weight, q)) / 2
    return theta


def _coupled(evidence: Evidence) -> Tensor:
    """θ (1, N, K) from what no label that was ever found has touched: zero-shot and contrasts.

    Mean field on the zero-shot answer and the couplings, damped.
    """
    uniform = torch.full(
        (1, evidence.n, evidence.k),
        1 / evidence.k,
        dtype=torch.float64,
        device=evidence.predictions.logp.device,
    )
    conditioned = condition(evidence, uniform)
    theta = conditioned.prior
    for _ in range(MEAN_FIELD):
        pull = _pull(evidence, conditioned.flip_weight, torch.softmax(theta, dim=-1))
        theta = (theta + conditioned.prior + pull) / 2
    return theta


def _pull(evidence: Evidence, weight: Tensor, q: Tensor) -> Tensor:
    """What the couplings add to each log label where the others are q (S, N, K), in nats.

    `weight` (S, F) is that of the flips.
    """
    contrasts = evidence.contrasts
    target, shot = evidence.predictions.target[contrasts.twin], contrasts.example
    effect = flip_effect(evidence) / 2
    turned = torch.zeros_like(effect)
    turned = turned.scatter(1, contrasts.before.unsqueeze(1), 1.0)
    turned = turned.scatter(1, contrasts.after.unsqueeze(1), -1.0)
    weighed = weight.unsqueeze(-1) * effect
    sure = (q[:, shot] * turned).sum(dim=-1, keepdim=True)
    pull = (q[:, target] * weighed).sum(dim=-1, keepdim=True)
    added = torch.zeros_like(q).index_add(1, target, sure * weighed)
    return added.index_add(1, shot, pull * turned)


def _keeping(evidence: Evidence, theta: Tensor) -> Tensor:
    """Scores in whose best labels the relations hold that were listed, with those held fixed."""
    theta = clamped(evidence, theta)
    for factor in evidence.factors:
        if isinstance(factor, Factor):
            theta = _kept(theta, factor)
    return theta


def _kept(theta: Tensor, factor: Factor) -> Tensor:
    """Scores in whose best labels the relations of a factor hold, its members clear by 3 nats."""
    members, worlds = factor.members, factor.worlds
    local = theta[:, members]
    # (S, G, m, K) read at each world's labels → (S, G, m, W), summed over the members.
    index = worlds.T.expand(*local.shape[:2], -1, -1)
    best = worlds[factor.weighed(local.gather(3, index).sum(dim=2)).argmax(dim=-1)]
    top = local.amax(dim=-1, keepdim=True) + SPREAD
    return theta.index_copy(
        1, members.flatten(), local.scatter(3, best.unsqueeze(-1), top).flatten(1, 2)
    )
