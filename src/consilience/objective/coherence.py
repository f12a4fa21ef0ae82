"""The objective: a dictionary of small terms, each a function of soft labels (see `term`).

The function of a term takes a `State`, which is one labelling and the evidence as read under it,
and returns a scalar in nats per example, higher is better. The objective is the weighted sum. To
change it, change the dictionary::

    terms = default_terms() | {"mine": Term(my_function, 0.3)}

`TERMS` has every term of the package by name; terms about pairs are in `pair_terms`. What stays
fixed while the labels move, and the notation, are in `conditioning`.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from consilience.data.plugins import load_plugin, plugin_names
from consilience.errors import InputError
from consilience.evidence.evidence import Evidence
from consilience.evidence.relation_factors import Factor
from consilience.objective.closed_form import Slope, each_for_itself, with_slope
from consilience.objective.conditioning import ConditionedEvidence, State
from consilience.objective.pair_terms import (
    couplings,
    downstream_consistency,
    ranking_across,
    ranking_propagation,
    ranking_within,
)
from consilience.objective.term import Role, Term, Terms


@each_for_itself("log_pool")
def mutual_predictability(state: State) -> Tensor:
    """How well the labels are predicted from the others, (1/N) Σ_i Σ_k q_i(k) m_i(k).

    m_i = Σ_t s_t [r_t ℓ_t + (1 − r_t)(log(1/K) − (log K − H(p_t)))] over i's predictions: one
    that is not to the point is worth ignorance, less what it told and nothing explains. With hard
    labels and full relevance it is the mean of log P(y_i | shots): Wen et al. 2025, 2506.10139,
    section 2, per example and averaged over many contexts.
    """
    return (state.q * state.conditioned.log_pool).sum(dim=-1).mean()


@each_for_itself("linear_pool")
def direct_consistency(state: State) -> Tensor:
    """How well the labels fit the average answer over framings and orders.

    (1/N) Σ_i Σ_k q_i(k) log p̄_i(k), p̄_i the linear opinion pool of i's predictions. Its distance
    from mutual predictability (the logarithmic pool) is what the predictions disagree in
    (Jensen), so an example on which wordings disagree is pulled less.
    """
    return (state.q * state.conditioned.linear_pool).sum(dim=-1).mean()


@each_for_itself("prior", entropy=1.0)
def prior_fidelity(state: State) -> Tensor:
    """Closeness to the zero-shot answer, −(1/N) Σ_i KL(q_i ‖ p⁰_i), p⁰ freed of label-name bias."""
    return -(state.q * (state.logq - state.conditioned.prior)).sum(dim=-1).mean()


@each_for_itself("frequency")
def class_frequency(state: State) -> Tensor:
    """How well the labels go with how frequent the classes are, (1/N) Σ_i Σ_k q_i(k) φ_i(k).

    φ, in nats, is what the answers themselves say of the shares of the classes, less what the
    model leans to one of them; see `mixture`. Of a rare class are only those that the model is
    surer of than of most that it calls so. 0 for fewer examples than `mixture.FEWEST_EXAMPLES`.
    """
    return (state.q * state.conditioned.frequency).sum(dim=-1).mean()


def _slope_of_relations(evidence: Evidence, conditioned: ConditionedEvidence) -> Slope | None:
    """The slope of `logical_consistency`, where every relation is in a component."""
    factors = [factor for factor in evidence.factors if isinstance(factor, Factor)]
    if len(factors) < len(evidence.factors):
        return None

    def slope(logq: Tensor, gradient: Tensor, weight: float) -> Tensor:
        held = [factor.climb(logq, gradient, weight) for factor in factors]
        return sum(held, logq.new_zeros(len(logq)))

    return slope


@with_slope(_slope_of_relations)
def logical_consistency(state: State) -> Tensor:
    """How probable it is that the relations hold, (1/N) Σ_g log P_q(relations of g hold).

    The negative semantic loss (Xu et al. 2018, 1711.11157), exact in components of up to 12
    members, relation by relation above.
    """
    held = [factor.log_holds(state.logq).sum() for factor in state.evidence.factors]
    return sum(held, state.logq.new_zeros(())) / state.evidence.n


@each_for_itself(None, entropy=1.0)
def entropy(state: State) -> Tensor:
    """How unsure the labels are, (1/N) Σ_i H(q_i).

    What makes the labels soft: without it each would go to its best class outright. With weight
    λ, and no relations, the best labels are softmax(evidence / λ). A negative weight rewards
    confidence instead.
    """
    return -(state.q * state.logq).sum(dim=-1).mean()


def averaging(state: State) -> Tensor:
    """The naive form of coherence, −(1/N) Σ_t s_t Σ_k (q_i(k) − mean over shots j of q_j(k))².

    No prediction is in it, so that one label for everybody is its optimum; it is here to be
    compared with, and never on by default.
    """
    e = state.evidence
    shown, lengths = e.predictions.shown, e.shots.lengths
    total = state.q.new_zeros(len(lengths) + 1, e.k)
    total = total.index_add(0, e.shots.list, state.q[e.shots.example])
    mean = total / torch.cat([lengths, lengths.new_ones(1)]).unsqueeze(-1)
    apart = (state.q[e.predictions.target] - mean[shown]).square().sum(dim=-1)
    return -(state.conditioned.share * apart * (shown >= 0)).sum() / e.n


TERMS: dict[str, Term] = {
    "mutual predictability": Term(mutual_predictability, role=Role.LOG_POOL),
    "couplings": Term(couplings, role=Role.COUPLINGS),
    "direct consistency": Term(direct_consistency, role=Role.LINEAR_POOL),
    "downstream consistency": Term(downstream_consistency),
    "logical consistency": Term(logical_consistency, role=Role.LOGIC),
    "prior fidelity": Term(prior_fidelity, role=Role.PRIOR),
    "class frequency": Term(class_frequency, role=Role.FREQUENCY),
    "ranking within": Term(ranking_within),
    "ranking across": Term(ranking_across),
    "ranking propagation": Term(ranking_propagation),
    "entropy": Term(entropy, role=Role.ENTROPY),
    "averaging": Term(averaging),
}
"""Every term by the name that options and records use, of weight 1."""


def find_term(name: str) -> Term:
    """The term of that name, of this package or another (see `plugins`); InputError for none.

    Another package gives a `Term`, or a function of a state.
    """
    others = plugin_names("terms", TERMS)
    found = TERMS.get(name) or (load_plugin("terms", name) if name in others else None)
    if found is None:
        known = ", ".join((*TERMS, *others))
        raise InputError(f"no term {name!r}; the terms are: {known}")
    return found if isinstance(found, Term) else Term(found)


DEFAULT_WEIGHTS = {
    "mutual predictability": 1.0,
    "couplings": 1.0,
    "direct consistency": 0.25,
    "prior fidelity": 0.1,
    "class frequency": 1.25,
    "logical consistency": 1.0,
    "entropy": 1.0,
}
"""The weights used where nothing else is said; a term that is not here is off."""


def default_terms() -> dict[str, Term]:
    """The terms and weights used where nothing else is said."""
    return {name: TERMS[name].at(weight) for name, weight in DEFAULT_WEIGHTS.items()}


# What an array makes once and keeps is then good for gradients too.
@torch.inference_mode(False)
def evaluate_terms(
    evidence: Evidence, terms: Terms, conditioned: ConditionedEvidence, logq: Tensor
) -> dict[str, Tensor]:
    """The value of each term, unweighted, for each of S labellings (S, N, K): name → (S,)."""
    names = [field.name for field in fields(ConditionedEvidence)]

    def one(logq: Tensor, *read: Tensor) -> dict[str, Tensor]:
        state = State(evidence, ConditionedEvidence(**dict(zip(names, read, strict=True))), logq)
        return {name: term(state) for name, term in terms.items()}

    read = [getattr(conditioned, name) for name in names]
    if len(logq) == 1:
        alone = one(logq[0], *(array[0] for array in read))
        return {name: value.unsqueeze(0) for name, value in alone.items()}
    values: dict[str, Tensor] = torch.vmap(one)(logq, *read)
    return values


def coherence(
    evidence: Evidence, terms: Terms, conditioned: ConditionedEvidence, logq: Tensor
) -> Tensor:
    """The objective, in nats per example, for each of S labellings (S, N, K) → (S,)."""
    return weighted_sum(terms, evaluate_terms(evidence, terms, conditioned, logq))


def weighted_sum(terms: Terms, values: dict[str, Tensor]) -> Tensor:
    """The objective from the values of its terms, each (S,): → (S,)."""
    return torch.stack([term.weight * values[name] for name, term in terms.items()]).sum(dim=0)
