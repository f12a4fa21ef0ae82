"""The objective: a dictionary of small terms, each a function of soft labels.

A term takes a `State`, which is one labelling and the evidence as read under it, and returns a
scalar in nats per example, higher is better. The objective is the weighted sum. To change it,
change the dictionary::

    terms = default_terms() | {"mine": (0.3, my_term)}

Notation: q_i(k) is the soft label of example i; prediction t has target i(t), log-probabilities
ℓ_t(k), a relevance r_t ∈ [0, 1] and a resampling weight w_t (1 unless resampled).

What is held fixed while the labels move. The shots of a prediction carried labels; whether they
were right says how much the prediction is worth (its relevance), but the prediction is no evidence
about them. If its gradient could flow into the labels of its shots, every prediction would vote
for the labels that its prompt happened to show, and the first labels would confirm themselves. So
relevance is computed from the labels, held fixed while L-BFGS moves them, and read again until
nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from consilience.evidence import Evidence

ZERO_SHOT_WEIGHT = 0.5
"""All zero-shot predictions of an example together weigh as half a prediction with shots."""


@dataclass(frozen=True)
class Reading:
    """The evidence as read under given labels: what stays fixed while the labels move.

    `relevance` and `weight` (…, T); `log_pool`, `linear_pool` and `prior` (…, N, K), in nats.
    The pools average, for each example, its predictions, each mixed with ignorance (1/K) by the
    share in which it is not relevant: `log_pool` averages log-probabilities, `linear_pool` is the
    logarithm of averaged probabilities. `prior` is the zero-shot answer alone.
    """

    relevance: Tensor
    weight: Tensor
    log_pool: Tensor
    linear_pool: Tensor
    prior: Tensor


@dataclass(frozen=True)
class State:
    """One labelling and the evidence as read under it: what a term is a function of.

    `logq` (N, K): normalised log soft labels. The fields of `reading` are those of one labelling.
    """

    evidence: Evidence
    reading: Reading
    logq: Tensor

    @cached_property
    def q(self) -> Tensor:
        """Soft labels, (N, K)."""
        return self.logq.exp()


Term = Callable[[State], Tensor]
"""A function of a state that returns a scalar tensor in nats per example, higher is better."""

Terms = Mapping[str, tuple[float, Term]]
"""The objective: (weight, term) by name."""


def read(evidence: Evidence, q: Tensor, weight: Tensor | None = None) -> Reading:
    """The evidence read under labels `q` (S, N, K), one reading per labelling.

    The relevance of a prediction is how far above chance the labels its shots carried are today's
    labels, r_t = max(0, (q̄_t − 1/K) / (1 − 1/K)), q̄_t = mean over its shots j of q_j(c_j). A
    zero-shot prediction has no labels to be out of date: r_t = 1. `weight` (S, T): resampling.
    """
    s, _, k = q.shape
    t = evidence.t
    weight = torch.ones(s, t, dtype=q.dtype, device=q.device) if weight is None else weight
    shown = q[:, evidence.shot_example, evidence.shot_label]
    agreed = torch.zeros(s, t, dtype=q.dtype, device=q.device)
    agreed = agreed.index_add(1, evidence.shot_of, shown)
    shots = torch.zeros(t, dtype=q.dtype, device=q.device)
    shots = shots.index_add(0, evidence.shot_of, torch.ones_like(shots)[evidence.shot_of])
    chance = 1 / k
    relevance = ((agreed / shots.clamp(min=1) - chance) / (1 - chance)).clamp(min=0)
    relevance = torch.where(evidence.zero, torch.ones_like(relevance), relevance)

    zero = evidence.zero.to(q.dtype)
    zeros = _per_target(evidence, zero * weight)
    share = ZERO_SHOT_WEIGHT / zeros.clamp(min=1e-12)
    counts = torch.where(evidence.zero, weight * share[:, evidence.target], weight)
    total = _per_target(evidence, counts)
    ignorant = torch.full_like(total, -math.log(k)).unsqueeze(-1)
    norm = total.clamp(min=1e-12).unsqueeze(-1)
    used, unused = counts * relevance, counts * (1 - relevance)
    lost = _per_target(evidence, unused).unsqueeze(-1)
    logs = _per_target(evidence, used.unsqueeze(-1) * evidence.logp)
    linear = _per_target(evidence, used.unsqueeze(-1) * evidence.logp.exp())
    asked = (total > 0).unsqueeze(-1)
    log_pool = torch.where(asked, (logs + lost * ignorant) / norm, ignorant)
    linear_pool = torch.where(asked, ((linear + lost / k) / norm).clamp(min=1e-300).log(), ignorant)
    prior = _per_target(evidence, (zero * weight).unsqueeze(-1) * evidence.logp)
    prior = torch.log_softmax(prior / zeros.clamp(min=1e-12).unsqueeze(-1), dim=-1)
    return Reading(relevance, weight, log_pool, linear_pool, prior)


def _per_target(evidence: Evidence, values: Tensor) -> Tensor:
    """Sums of `values` (S, T, …) over the predictions of each example, (S, N, …)."""
    zeros = values.new_zeros(values.shape[0], evidence.n, *values.shape[2:])
    return zeros.index_add(1, evidence.target, values)


def mutual_predictability(state: State) -> Tensor:
    """How well the labels are predicted from the others, (1/N) Σ_i Σ_k q_i(k) m_i(k).

    m_i is the average over i's predictions of r_t ℓ_t + (1 − r_t) log(1/K). With hard labels and
    full relevance it is the mean of log P(y_i | shots): Wen et al. 2025, 2506.10139, section 2,
    per example and averaged over many contexts.
    """
    return (state.q * state.reading.log_pool).sum(dim=-1).mean()


def direct_consistency(state: State) -> Tensor:
    """How well the labels fit the average answer over framings and orders.

    (1/N) Σ_i Σ_k q_i(k) log p̄_i(k), p̄_i the linear opinion pool of i's predictions. Its distance
    from mutual predictability (the logarithmic pool) is what the predictions disagree in
    (Jensen), so an example on which wordings disagree is pulled less.
    """
    return (state.q * state.reading.linear_pool).sum(dim=-1).mean()


def prior_fidelity(state: State) -> Tensor:
    """Closeness to the zero-shot answer, −(1/N) Σ_i KL(q_i ‖ p⁰_i)."""
    return -(state.q * (state.logq - state.reading.prior)).sum(dim=-1).mean()


def logical_consistency(state: State) -> Tensor:
    """How probable it is that the relations hold, (1/N) Σ_g log P_q(relations of g hold).

    The negative semantic loss (Xu et al. 2018, 1711.11157), by exact enumeration.
    """
    held = [factor.log_holds(state.logq).sum() for factor in state.evidence.factors]
    return sum(held, state.logq.new_zeros(())) / state.evidence.n


def entropy(state: State) -> Tensor:
    """How unsure the labels are, (1/N) Σ_i H(q_i).

    What makes the labels soft: without it each would go to its best class outright. With weight
    λ, and no relations, the best labels are softmax(evidence / λ).
    """
    return -(state.q * state.logq).sum(dim=-1).mean()


def default_terms() -> dict[str, tuple[float, Term]]:
    """The terms and weights used where nothing else is said."""
    return {
        "mutual predictability": (1.0, mutual_predictability),
        "direct consistency": (0.25, direct_consistency),
        "prior fidelity": (0.1, prior_fidelity),
        "logical consistency": (1.0, logical_consistency),
        "entropy": (1.0, entropy),
    }


def evaluate_terms(
    evidence: Evidence, terms: Terms, reading: Reading, logq: Tensor
) -> dict[str, Tensor]:
    """The value of each term, unweighted, for each of S labellings (S, N, K): name → (S,)."""
    names = [field.name for field in fields(Reading)]

    def one(logq: Tensor, *read: Tensor) -> dict[str, Tensor]:
        state = State(evidence, Reading(**dict(zip(names, read, strict=True))), logq)
        return {name: term(state) for name, (_, term) in terms.items()}

    values: dict[str, Tensor] = torch.vmap(one)(logq, *(getattr(reading, n) for n in names))
    return values


def coherence(evidence: Evidence, terms: Terms, reading: Reading, logq: Tensor) -> Tensor:
    """The objective, in nats per example, for each of S labellings (S, N, K) → (S,)."""
    values = evaluate_terms(evidence, terms, reading, logq)
    parts = [weight * values[name] for name, (weight, _) in terms.items()]
    return torch.stack(parts).sum(dim=0)
