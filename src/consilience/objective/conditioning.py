"""The evidence as read under given labels, and the state that the terms of the objective see.

What is held fixed while the labels move. The shots of a prediction carried labels; whether they
were right says how much the prediction is worth (its relevance), but the prediction is no evidence
about them. If its gradient could flow into the labels of its shots, every prediction would vote
for the labels that its prompt happened to show, and the first labels would confirm themselves. So
relevance is computed from the labels, held fixed while a solver moves them, and read again until
nothing changes. Only a contrast, which shows one shot both ways, says something about a shot.

Notation: q_i(k) is the soft label of example i; prediction t has target i(t), log-probabilities
ℓ_t(k), a relevance r_t ∈ [0, 1], a resampling weight w_t (1 unless resampled) and a share s_t in
the pool of its target; the shares of a target's predictions sum to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from consilience.evidence.evidence import Evidence
from consilience.evidence.mixture import FEWEST_EXAMPLES, fit_mixture

ZERO_SHOT_WEIGHT = 0.5
"""All zero-shot predictions of an example, with those that are part of a contrast (a few shots),
together weigh as half a prediction with shots."""

_SAME = 1e-6
"""Log-odds that spread by less than this are all alike."""

FAINT = 1e-3
"""Probabilities below this count as this, where labels are placed among all."""


@dataclass(frozen=True)
class ConditionedEvidence:
    """The evidence as read under given labels: what stays fixed while the labels move.

    `labels` (…, N, K): the labels it was read under; `relevance`, `weight` and `share` (…, T).
    The pools (…, N, K), in nats, average the predictions of each example, each mixed with
    ignorance (1/K) by the share in which it is not relevant: `log_pool` averages
    log-probabilities, less what the irrelevant ones told that is then left unexplained (the same
    for every class, so that it moves no label, but tells one labelling from another);
    `linear_pool` is the logarithm of averaged probabilities. `prior` is the zero-shot answer.
    `frequency` (…, N, K), in nats: what is added because classes are not equally frequent, and
    the model may lean to one (see `mixture`); 0 for an example that nobody asked about.
    `flip_weight` (…, F): how much each contrast counts; those of one pair of target and shot sum
    to n/(n + 1), n their number, so that a single one counts half.
    `scale` (…,): how many nats a nat of the answers' log-odds is worth (see `mixture`); the pools,
    the prior and the frequency are in nats so scaled.
    """

    labels: Tensor
    relevance: Tensor
    weight: Tensor
    share: Tensor
    log_pool: Tensor
    linear_pool: Tensor
    prior: Tensor
    frequency: Tensor
    flip_weight: Tensor
    scale: Tensor


@dataclass(frozen=True)
class State:
    """One labelling and the evidence as read under it: what a term is a function of.

    `logq` (N, K): normalised log soft labels. The fields of `reading` are those of one labelling.
    """

    evidence: Evidence
    reading: ConditionedEvidence
    logq: Tensor

    @cached_property
    def q(self) -> Tensor:
        """Soft labels, (N, K)."""
        return self.logq.exp()


def condition(evidence: Evidence, q: Tensor, weight: Tensor | None = None) -> ConditionedEvidence:
    """The evidence read under labels `q` (S, N, K), one reading per labelling.

    The relevance of a prediction is how far above chance the labels its shots carried are today's
    labels, r_t = max(0, (q̄_t − 1/K) / (1 − 1/K)), q̄_t = mean over its shots j of q_j(c_j), or how
    far above the middle of all examples they stand in their log-odds for that label, 2ū_t − 1 (see
    `_placed`); the larger of the two. The second does not take unsure labels for wrong ones; places
    among fewer than `mixture.FEWEST` examples say nothing. Where no label was shown (zero-shot), or
    none was recorded, none can be out of date: r_t = 1. `weight` (S, T): resampling.
    """
    predictions = evidence.predictions
    s, _, k = q.shape
    weight = torch.ones(s, evidence.t, dtype=q.dtype, device=q.device) if weight is None else weight
    relevance = _relevance(evidence, q)
    share, known = _shares(evidence, weight)
    used = (share * relevance).unsqueeze(-1)
    lost = share * (1 - relevance)
    ignorance = per_target(evidence, lost).unsqueeze(-1) / k
    # What a prediction told counts against labels that leave it unexplained.
    missed = per_target(evidence, lost * (math.log(k) + predictions.information)).unsqueeze(-1)
    unknown = ~known.unsqueeze(-1)
    said = per_target(evidence, used * predictions.logp)
    # As if all predictions were relevant: else a labelling would be the surer the less fits it.
    whole = (share * relevance).sum(dim=1) / known.sum(dim=1).clamp(min=1)
    mean = said / whole.clamp(min=1e-6).view(-1, 1, 1)
    mixture = fit_mixture(mean, known, evidence.leaning, evidence.shares, evidence.held)
    scale = mixture.scale if evidence.scale is None else torch.full_like(whole, evidence.scale)
    log_pool = scale.view(-1, 1, 1) * said - missed
    log_pool = log_pool.masked_fill(unknown, -math.log(k))
    scaled = torch.log_softmax(scale.view(-1, 1, 1) * predictions.logp, dim=-1).exp()
    linear_pool = (per_target(evidence, used * scaled) + ignorance).clamp(min=1e-300).log()
    linear_pool = linear_pool.masked_fill(unknown, -math.log(k))
    frequency = (scale * whole).view(-1, 1, 1) * mixture.frequency.unsqueeze(1)
    return ConditionedEvidence(
        labels=q.detach(),
        relevance=relevance,
        weight=weight,
        share=share,
        log_pool=log_pool,
        linear_pool=linear_pool,
        prior=untouched_answer(evidence, weight, scale),
        frequency=frequency * known.unsqueeze(-1),
        scale=scale,
        flip_weight=_flip_weight(evidence, weight),
    )


def _shares(evidence: Evidence, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Each prediction's share in the pool of its target, (S, T), and who has any, (S, N)."""
    predictions = evidence.predictions
    brief = (predictions.untouched | predictions.brief).to(weight.dtype)
    briefs = per_target(evidence, brief * weight)
    of_briefs = ZERO_SHOT_WEIGHT / briefs.clamp(min=1e-12)
    counts = torch.where(brief > 0, weight * _picked(of_briefs, predictions.target), weight)
    counts = counts * predictions.weight
    total = per_target(evidence, counts)
    return counts / _picked(total.clamp(min=1e-12), predictions.target), total > 0


def _relevance(evidence: Evidence, q: Tensor) -> Tensor:
    """How far each prediction's shots carried today's labels, from 0 to 1, (S, T)."""
    chance = 1 / evidence.k
    of_list = (_of_lists(evidence, q) - chance) / (1 - chance)
    if evidence.n >= FEWEST_EXAMPLES:
        of_list = torch.maximum(of_list, 2 * _of_lists(evidence, _placed(q)) - 1)
    every = torch.cat([of_list.clamp(min=0), torch.ones_like(q[:, :1, 0])], dim=1)
    shown = evidence.predictions.shown
    # The last is that of no list.
    return _picked(every, torch.where(shown < 0, every.shape[1] - 1, shown))


def _of_lists(evidence: Evidence, values: Tensor) -> Tensor:
    """The mean of `values` (S, N, K) over the shots of each list and their labels, (S, L)."""
    shots = evidence.shots
    shown = _picked(values.flatten(1), shots.example * evidence.k + shots.label)
    return _summed(shown, shots.list, len(shots.lengths)) / shots.lengths


def _placed(q: Tensor) -> Tensor:
    """Where each label stands among all, from 0 to 1 for each class, at any scale, (S, N, K).

    The normal probability of its standardised log-odds: a rank that moves smoothly with the labels.
    1/2 where all are alike.
    """
    logq = q.clamp(min=FAINT).log()
    z = logq - logq.mean(dim=-1, keepdim=True)
    z = z - z.mean(dim=1, keepdim=True)
    spread = z.square().mean(dim=1, keepdim=True).sqrt()
    placed: Tensor = torch.special.ndtr(z / spread.clamp(min=_SAME))
    return placed


def untouched_answer(evidence: Evidence, weight: Tensor, scale: Tensor | None = None) -> Tensor:
    """Log of the answers that no found label has touched, (S, N, K), weighed by `weight` (S, T).

    1/K for an example without any. Their log-odds times `scale` (S,), where that is known.
    """
    predictions = evidence.predictions
    used = predictions.untouched.to(weight.dtype) * weight * predictions.weight
    total = per_target(evidence, used.unsqueeze(-1) * predictions.logp)
    count = per_target(evidence, used).clamp(min=1e-12).unsqueeze(-1)
    mean = total / count
    return torch.log_softmax(mean if scale is None else scale.view(-1, 1, 1) * mean, dim=-1)


def per_target(evidence: Evidence, values: Tensor) -> Tensor:
    """Sums of `values` (S, T) or (S, T, K) over the predictions of each example, (S, N[, K])."""
    cell, width = evidence.predictions.target, values.shape[2:].numel()
    if values.dim() == 3:
        # One flat index: an addition along a middle dimension is many times as slow.
        cell = (cell.unsqueeze(1) * width + torch.arange(width, device=cell.device)).flatten()
    total = _summed(values.flatten(1), cell, evidence.n * width)
    return total.view(-1, evidence.n, *values.shape[2:])


def _summed(values: Tensor, cell: Tensor, cells: int) -> Tensor:
    """Sums of `values` (S, T) over the rows of each cell, (S, cells).

    Of several rows at once `index_add` is twenty times as slow, with the same bits.
    """
    total = values.new_zeros(len(values), cells)
    return total.scatter_add(1, cell.expand(len(values), -1), values)


def _picked(values: Tensor, index: Tensor) -> Tensor:
    """`values` (S, N) at the positions `index` (T), (S, T); faster than by an index of columns."""
    return values.gather(1, index.expand(len(values), -1))


def _flip_weight(evidence: Evidence, weight: Tensor) -> Tensor:
    """w_f / (1 + Σ w over the contrasts of the same pair), w_f the twins' mean weight; (S, F)."""
    contrasts = evidence.contrasts
    drawn = (_picked(weight, contrasts.twin) + _picked(weight, contrasts.flipped)) / 2
    pairs = int(contrasts.pair.max()) + 1 if evidence.f else 0
    return drawn / (1 + _picked(_summed(drawn, contrasts.pair, pairs), contrasts.pair))
