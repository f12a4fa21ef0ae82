"""Terms about two things at once: a target and a flipped shot, or two predictions of a target.

σ is the logistic function. A ranking asks for an order and not for a value, so it stands a model
whose log-probabilities are on the wrong scale: once the order is clear (by `margin` nats and
more) nothing is left to gain. For another margin, ``functools.partial(ranking_within, margin=2)``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from consilience.evidence.evidence import Evidence
from consilience.objective.closed_form import Slope, with_slope
from consilience.objective.conditioning import ConditionedEvidence, State


def flip_effect(evidence: Evidence) -> Tensor:
    """What showing a shot as it was `before` rather than `after` adds to ℓ of the target, (F, K).

    In nats, less its mean over the classes, and less what every contrast shows alike: that a model
    repeats the label it has just seen. Were that left in, all examples would be coupled to have
    one label. (Taking the mean out cannot turn a coupling round: at any balance of the classes the
    mean of couplings ±g is between 0 and g.)
    """
    contrasts = evidence.contrasts
    effect = (
        evidence.predictions.logp[contrasts.twin] - evidence.predictions.logp[contrasts.flipped]
    )
    effect = effect - effect.mean(dim=-1, keepdim=True)
    if not evidence.f:
        return effect
    shown = torch.zeros_like(effect)
    shown.scatter_(1, contrasts.before.unsqueeze(1), 0.5)
    shown.scatter_add_(1, contrasts.after.unsqueeze(1), torch.full_like(effect[:, :1], -0.5))
    repeated = 2 * (effect * shown).sum(dim=-1).mean()
    return effect - repeated * shown


def _slope_of_couplings(evidence: Evidence, conditioned: ConditionedEvidence) -> Slope:
    """The slope of `couplings`, which is linear in the labels of targets and in those of shots."""
    if not evidence.f:
        return lambda logq, gradient, weight: logq.new_zeros(len(logq))
    contrasts, n, k = evidence.contrasts, evidence.n, evidence.k
    target, shot = evidence.predictions.target[contrasts.twin], contrasts.example
    before, after = contrasts.before, contrasts.after
    half, counts = flip_effect(evidence) / 2, conditioned.flip_weight

    def slope(logq: Tensor, gradient: Tensor, weight: float) -> Tensor:
        q = logq.exp()
        sure = (q[:, shot, before] - q[:, shot, after]).mul_(counts)
        pull = (q[:, target] * half).sum(dim=-1)
        value = (sure * pull).sum(dim=1)
        each = logq.new_zeros(len(logq), n, k)
        each.index_add_(1, target, sure.unsqueeze(-1) * half, alpha=weight)
        pull.mul_(counts)
        cells = each.flatten(start_dim=1)
        cells.index_add_(1, shot * k + before, pull, alpha=weight)
        cells.index_add_(1, shot * k + after, pull, alpha=-weight)
        gradient.addcmul_(q, each)
        return value

    return slope


@with_slope(_slope_of_couplings)
def couplings(state: State) -> Tensor:
    """How well labels go with what flips did, (1/N) Σ_f v_f (q_j(a) − q_j(b)) Σ_k q_i(k) d_f(k)/2.

    Contrast f flipped shot j of target i from a to b; d_f(k) is `flip_effect`, v_f its weight,
    shrunk by the number of contrasts. For two classes this is the energy of an Ising model with
    the measured couplings J_ij = d/2. The gradient flows into target and shot alike.
    """
    e = state.evidence
    if not e.f:
        return state.logq.new_zeros(())
    contrasts = e.contrasts
    target, shot = e.predictions.target[contrasts.twin], contrasts.example
    sure = state.q[shot, contrasts.before] - state.q[shot, contrasts.after]
    pull = (state.q[target] * flip_effect(e)).sum(dim=-1) / 2
    return (state.conditioned.flip_weight * sure * pull).sum() / e.n


def ranking_propagation(state: State, margin: float = 0.0) -> Tensor:
    """That the better label of a flipped shot is the one that speaks for the target's label.

    (1/N) Σ_f v_f Σ_k q_i(k) [q_j(a) log σ(δ_f(k) − m) + q_j(b) log σ(−δ_f(k) − m)], δ_f(k) the
    twin's ℓ(k) less the contrast's: couplings that saturate. A preference between two ways to
    propagate a label (Bradley and Terry 1952).
    """
    e = state.evidence
    contrasts = e.contrasts
    predictions = e.predictions
    target, shot = predictions.target[contrasts.twin], contrasts.example
    rise = predictions.logp[contrasts.twin] - predictions.logp[contrasts.flipped]
    kept = state.q[shot, contrasts.before].unsqueeze(-1) * logsigmoid(rise - margin)
    turned = state.q[shot, contrasts.after].unsqueeze(-1) * logsigmoid(-rise - margin)
    fit = (state.q[target] * (kept + turned)).sum(dim=-1)
    return (state.conditioned.flip_weight * fit).sum() / e.n


def ranking_within(state: State, margin: float = 1.0) -> Tensor:
    """That within each prediction the label comes before the others.

    (1/N) Σ_t s_t r_t Σ_k q_i(k) mean_{k'≠k} log σ(ℓ_t(k) − ℓ_t(k') − m).
    """
    e, conditioned = state.evidence, state.conditioned
    predictions = e.predictions
    ahead = logsigmoid(predictions.logp.unsqueeze(2) - predictions.logp.unsqueeze(1) - margin)
    others = ahead.sum(dim=2) - ahead.diagonal(dim1=1, dim2=2)
    fit = (state.q[predictions.target] * others).sum(dim=-1) / (e.k - 1)
    return (conditioned.share * conditioned.relevance * fit).sum() / e.n


def ranking_across(state: State, margin: float = 0.0) -> Tensor:
    """That of two predictions of a target the more relevant one speaks more for its label.

    (1/N) Σ_{t,t'} s_t s_t' |r_t − r_t'| Σ_k q_i(k) log σ(ℓ_t(k) − ℓ_t'(k) − m), over the pairs
    of predictions of one target, t the more relevant.
    """
    e, conditioned = state.evidence, state.conditioned
    predictions = e.predictions
    one, two = predictions.rivals[:, 0], predictions.rivals[:, 1]
    ahead = (conditioned.relevance[one] - conditioned.relevance[two]).unsqueeze(-1)
    rise = (predictions.logp[one] - predictions.logp[two]) * ahead.sign()
    fit = (state.q[predictions.target[one]] * logsigmoid(rise - margin)).sum(dim=-1)
    share = conditioned.share[one] * conditioned.share[two] * ahead.squeeze(-1).abs()
    return (share * fit).sum() / e.n


def downstream_consistency(state: State) -> Tensor:
    """Whether the labels, shown as shots, make other predictions fit better than they do without.

    (1/N) Σ_j Σ_a q_j(a) d_j(a) n/(n + 1), d_j(a) the mean, over the n predictions t that showed j
    as a, of the advantage A_t = f_t − mean of f over the predictions with shots of t's target,
    f_t = Σ_k y(k) ℓ_t(k) with the labels y that the evidence was read under, held fixed.
    Predictions of targets less sure than the floor do not count. Because advantages sum to zero
    over a target, showing a label is no vote for it; only doing better than other prompts is.
    """
    e, conditioned = state.evidence, state.conditioned
    predictions = e.predictions
    fit = (conditioned.labels[predictions.target] * predictions.logp).sum(dim=-1)
    sure = (conditioned.labels.amax(dim=-1) > e.floor).to(fit.dtype)[predictions.target]
    with_shots = conditioned.weight * sure * (~predictions.zero).to(fit.dtype)
    empty = fit.new_zeros(e.n)
    count = empty.index_add(0, predictions.target, with_shots)
    mean = empty.index_add(0, predictions.target, with_shots * fit) / count.clamp(min=1e-12)
    advantage = fit - mean[predictions.target]
    shown = torch.where(predictions.shown >= 0, predictions.shown, len(e.shots.lengths))
    cell = e.shots.example * e.k + e.shots.label
    cells = fit.new_zeros(e.n * e.k)
    # Per list of shots first; the last place is that of no list.
    lists = fit.new_zeros(len(e.shots.lengths) + 1)
    of_list = [lists.index_add(0, shown, v) for v in (with_shots, with_shots * advantage)]
    n, gained = (cells.index_add(0, cell, total[e.shots.list]) for total in of_list)
    return (state.q.flatten() * gained / (n + 1)).sum() / e.n
