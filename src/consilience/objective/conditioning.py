"""The evidence conditioned on given labels, and the state that the terms of the objective see.

What is held fixed while the labels move. The shots of a prediction carried labels; whether they
were right says how much the prediction is worth (its relevance), but the prediction is no evidence
about them. If its gradient could flow into the labels of its shots, every prediction would vote
for the labels that its prompt happened to show, and the first labels would confirm themselves. So
relevance is computed from the labels, held fixed while a solver moves them, and computed again
until nothing changes. Only a contrast, which shows one shot both ways, says something about a shot.

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

from consilience.evidence.agreement import ZERO_SHOT_WEIGHT
from consilience.evidence.evidence import Evidence
from consilience.evidence.few_classes import log_normalised, over_classes
from consilience.evidence.mixture import FEWEST_EXAMPLES, fit_mixture
from consilience.objective.pools import (
    add,
    at,
    at_lists,
    average_answer,
    of_lists,
    parts,
    summed,
    what_is_said,
)

_SAME = 1e-6
"""Log-odds that spread by less than this are all alike."""

FAINT = 1e-3
"""Probabilities below this count as this, where labels are placed among all."""


@dataclass(frozen=True)
class ConditionedEvidence:
    """The evidence as read under given labels: what stays fixed while the labels move.

    `labels` (…, N, K): the labels it was read under; `weight` and `share` (…, T). `of_list`
    (…, L + 1): how relevant predictions without shots are, and those under each list of shots;
    `shown` (…, T): which list that was, −1 for none.
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
    of_list: Tensor
    shown: Tensor
    weight: Tensor
    share: Tensor
    log_pool: Tensor
    linear_pool: Tensor
    prior: Tensor
    frequency: Tensor
    flip_weight: Tensor
    scale: Tensor

    @property
    def relevance(self) -> Tensor:
        """How relevant each prediction is, from 0 to 1, (…, T); made anew where it is asked for."""
        return at_lists(self.of_list, self.shown)


@dataclass(frozen=True)
class State:
    """One labelling and the evidence conditioned on it: what a term is a function of.

    `logq` (N, K): normalised log soft labels. `conditioned` has the fields of one labelling.
    """

    evidence: Evidence
    conditioned: ConditionedEvidence
    logq: Tensor

    @cached_property
    def q(self) -> Tensor:
        """Soft labels, (N, K)."""
        return self.logq.exp()


@dataclass(frozen=True, slots=True)
class Weighing:
    """How much each prediction counts, whatever the labels are: computed once for a solve.

    `weight`, `share` (S, T) and `flip_weight` (S, F) as in `ConditionedEvidence`; `known` (S, N):
    who has any prediction that counts; `zero_shot` (S, N, K): the mean log-probabilities of the
    zero-shot answers, 0 for an example without any.
    """

    weight: Tensor
    share: Tensor
    known: Tensor
    zero_shot: Tensor
    flip_weight: Tensor


def weigh(evidence: Evidence, weight: Tensor | None = None) -> Weighing:
    """The weighing of the predictions, resampled by `weight` (S, T), or as they are (S = 1)."""
    if weight is None:
        like = evidence.predictions.logp
        weight = like.new_ones(1, 1).expand(1, evidence.t)
    share, known = _shares(evidence, weight)
    zero_shot, flips = _zero_shot(evidence, weight), _flip_weight(evidence, weight)
    return Weighing(weight, share, known, zero_shot, flips)


@torch.no_grad()
def condition(
    evidence: Evidence, q: Tensor, weight: Weighing | Tensor | None = None
) -> ConditionedEvidence:
    """The evidence conditioned on labels `q` (S, N, K), once for each labelling.

    The relevance of a prediction is how far above chance the labels its shots carried are today's
    labels, r_t = max(0, (q̄_t − 1/K) / (1 − 1/K)), q̄_t = mean over its shots j of q_j(c_j), or how
    far above the middle of all examples they stand in their log-odds for that label, 2ū_t − 1 (see
    `_placed`); the larger of the two. The second does not take unsure labels for wrong ones; places
    among fewer than `mixture.FEWEST_EXAMPLES` say nothing. Where no label was shown (zero-shot), or
    none was recorded, none can be out of date: r_t = 1. `weight`: a resampling (S, T), or the
    weighing that was made of one.
    """
    s, k = len(q), evidence.k
    made = weight if isinstance(weight, Weighing) else weigh(evidence, weight)
    share, known = made.share.expand(s, -1), made.known.expand(s, -1)
    relevance = _relevance(evidence, _evenly_sure(evidence, q))
    said = what_is_said(evidence, share, relevance)
    # As if all predictions were relevant: else a labelling would be the surer the less fits it.
    whole = said.used.sum(dim=1) / known.sum(dim=1).clamp(min=1)
    mean = said.logp / whole.clamp(min=1e-6).view(-1, 1, 1)
    mixture = fit_mixture(mean, known, evidence.leaning, evidence.shares, evidence.held)
    del mean  # as large as the labels, as is what is made in place below
    scale = mixture.scale if evidence.scale is None else torch.full_like(whole, evidence.scale)
    nats, unknown = scale.view(-1, 1, 1), ~known.unsqueeze(-1)
    log_pool = said.logp.mul_(nats).sub_(said.missed.unsqueeze(-1))
    ignorance = (known.to(q.dtype) - said.used).clamp_(min=0).div_(k).unsqueeze(-1)
    linear_pool = average_answer(evidence, share, relevance, scale).add_(ignorance)
    frequency = (scale * whole).unsqueeze(-1) * mixture.frequency
    return ConditionedEvidence(
        labels=q,
        of_list=relevance,
        shown=evidence.predictions.shown.expand(s, -1),
        weight=made.weight.expand(s, -1),
        share=share,
        log_pool=log_pool.masked_fill_(unknown, -math.log(k)),
        linear_pool=linear_pool.clamp_(min=1e-300).log_().masked_fill_(unknown, -math.log(k)),
        prior=log_normalised(nats * made.zero_shot),
        frequency=(frequency.unsqueeze(-1) * known.unsqueeze(1)).transpose(1, 2),
        scale=scale,
        flip_weight=made.flip_weight.expand(s, -1),
    )


def _shares(evidence: Evidence, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Each prediction's share in the pool of its target, (S, T), and who has any, (S, N)."""
    asked, s = evidence.predictions, len(weight)
    briefs, total = (weight.new_zeros(s, evidence.n) for _ in range(2))
    brief = asked.zero | asked.brief
    for part in parts(evidence.t, s):
        add(briefs, asked.target[part], weight[:, part] * brief[part])
    of_briefs = ZERO_SHOT_WEIGHT / briefs.clamp_(min=1e-12)
    share = weight.new_empty(s, evidence.t)
    for part in parts(evidence.t, s):
        mine, target = weight[:, part], asked.target[part]
        counts = torch.where(brief[part], mine * at(of_briefs, target), mine)
        share[:, part] = counts.mul_(asked.weight[part])
        add(total, target, share[:, part])
    known = total > 0
    total.clamp_(min=1e-12)
    for part in parts(evidence.t, s):
        share[:, part] /= at(total, asked.target[part])
    return share, known


def _relevance(evidence: Evidence, q: Tensor) -> Tensor:
    """How far no shots, and those of each list, carried today's labels, 0 to 1, (S, L + 1)."""
    chance = 1 / evidence.k
    of_list = (of_lists(evidence, q) - chance) / (1 - chance)
    if evidence.n >= FEWEST_EXAMPLES:
        of_list = torch.maximum(of_list, 2 * of_lists(evidence, _placed(q)) - 1)
    return torch.nn.functional.pad(of_list.clamp_(min=0), (1, 0), value=1.0)


def _evenly_sure(evidence: Evidence, q: Tensor) -> Tensor:
    """Labels (S, N, K) in which those that the user gave are as sure as the others on average.

    A few certain ones among labels that are not would decide alone which lists of shots count.
    """
    if evidence.held is None or bool((evidence.held >= 0).all()):
        return q
    given = (evidence.held >= 0).unsqueeze(-1)
    own = torch.nn.functional.one_hot(evidence.held.clamp(min=0), evidence.k).to(q.dtype)
    sure = q[:, ~given[:, 0]].amax(dim=-1).mean(dim=1).view(-1, 1, 1)
    return torch.where(given, own * sure + (1 - own) * (1 - sure) / (evidence.k - 1), q)


def _placed(q: Tensor) -> Tensor:
    """Where each label stands among all, from 0 to 1 for each class, at any scale, (S, N, K).

    The normal probability of its standardised log-odds: a rank that moves smoothly with the labels.
    1/2 where all are alike.
    """
    z = q.clamp(min=FAINT).log_()
    z -= over_classes(z) / q.shape[-1]
    z -= z.mean(dim=1, keepdim=True)
    spread = z.square().mean(dim=1, keepdim=True).sqrt()
    z /= spread.clamp(min=_SAME)
    placed: Tensor = torch.special.ndtr(z)
    return placed


def zero_shot_answer(evidence: Evidence, weight: Tensor) -> Tensor:
    """Log of the zero-shot answers, (S, N, K), weighed by `weight` (S, T).

    1/K for an example without any.
    """
    return log_normalised(_zero_shot(evidence, weight))


def _zero_shot(evidence: Evidence, weight: Tensor) -> Tensor:
    """The mean log-probabilities of those answers, (S, N, K)."""
    asked, s, k = evidence.predictions, len(weight), evidence.k
    total = weight.new_zeros(k + 1, s, evidence.n)
    for part in parts(evidence.t, s):
        used = weight[:, part] * asked.zero[part] * asked.weight[part]
        for c in range(k):
            add(total[c], asked.target[part], used * asked.logp[part, c])
        add(total[k], asked.target[part], used)
    return (total[:k] / total[k].clamp(min=1e-12)).movedim(0, -1)


def _flip_weight(evidence: Evidence, weight: Tensor) -> Tensor:
    """w_f / (1 + Σ w over the contrasts of the same pair), w_f the twins' mean weight; (S, F)."""
    contrasts = evidence.contrasts
    twin, flipped = at(weight, contrasts.twin), at(weight, contrasts.flipped)
    drawn = (twin + flipped) / 2
    pairs = int(contrasts.pair.max()) + 1 if evidence.f else 0
    return drawn / (1 + at(summed(drawn, contrasts.pair, pairs), contrasts.pair))
