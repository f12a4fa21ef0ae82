"""The problem as a factor graph: what pulls each label, which labels pull each other, which may be.

On conditioned evidence, and near given labels, the objective says of a hard labelling y, in nats,

    E(y) = Σ_i h_i(y_i) + Σ_{ij} c_ij(y_i, y_j), over the labellings in which the relations hold,

and p(y) ∝ exp(E(y)/λ) is what belief propagation takes the marginals of. The pairs c are the
couplings that contrasts measured; the fields h are everything else, made linear at the labels. The
temperature λ is the weight of the entropy in the objective. A relation is a hard fact here, however
small its weight, as long as it has one; a soft one adds its weight times the log weight that it
gives y. With independent labels, and no soft relation, E[E(y)] + λ H is the objective.

Which is which a term says by its role; one without goes into the fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from consilience.errors import MissingExtra
from consilience.evidence.evidence import Evidence
from consilience.evidence.relation_factors import Factor, Large
from consilience.objective.coherence import TERMS, default_terms
from consilience.objective.conditioning import ConditionedEvidence
from consilience.objective.pair_terms import flip_effect
from consilience.objective.term import Role, Terms, weight_of
from consilience.solvers.fixed_point import Objective, Problem, bounded, slope
from consilience.solvers.starts import draw

if TYPE_CHECKING:
    import networkx

    from consilience.solvers.solution import Solution


@dataclass(frozen=True, slots=True)
class Pairs:
    """Couplings: `members` (E, 2), each pair once, and nats by their labels, `table` (S, E, K, K).

    The first axis of labels is that of the first member.
    """

    members: Tensor
    table: Tensor


@dataclass(frozen=True, slots=True)
class Graph:
    """The factor graph of a problem at given labels, one for each of S labellings.

    `field` (S, N, K), in nats, less its mean over the classes; `factors`: the couplings, then the
    relations; `temperature` in nats; `rest`: the terms that the fields stand for.
    """

    field: Tensor
    factors: tuple[Pairs | Factor | Large, ...]
    temperature: float
    rest: Objective


def factor_graph(objective: Objective, logq: Tensor) -> Graph:
    """The factor graph of an objective near log labels (S, N, K)."""
    problem, conditioned = objective.problem, objective.conditioned
    # Prior fidelity, −KL(q ‖ p⁰), is linear but for an entropy of its own, which counts as one.
    own = weight_of(problem.terms, Role.PRIOR)
    relations = facts(problem)
    known = {Role.COUPLINGS, Role.ENTROPY, *([Role.LOGIC] if relations else [])}
    rest = {name: term for name, term in problem.terms.items() if term.role not in known}
    rest["entropy in prior fidelity"] = TERMS["entropy"].at(-own)
    others = Problem(problem.evidence, rest, problem.weight).objective(conditioned)
    pairs = _pairs(problem.evidence, conditioned, weight_of(problem.terms, Role.COUPLINGS))
    return Graph(fields(others, logq), (*pairs, *relations), problem.temperature, others)


def facts(problem: Problem) -> tuple[Factor | Large, ...]:
    """The relations, where the objective counts them at all."""
    weight = weight_of(problem.terms, Role.LOGIC)
    return tuple(f.scaled(weight) for f in problem.evidence.factors) if weight > 0 else ()


def fields(rest: Objective, logq: Tensor) -> Tensor:
    """What terms add per unit of probability, N ∂J/∂q_i(k) less its mean over k, (S, N, K).

    In nats, at log labels (S, N, K). For a term that is linear in q it is the same at all labels.
    """
    # Bounded, because q is divided by.
    logq = bounded(logq)
    _, gradient = slope(rest, logq)
    field = gradient / torch.softmax(logq, dim=-1)
    return field - field.mean(dim=-1, keepdim=True)


def _pairs(
    evidence: Evidence, conditioned: ConditionedEvidence, weight: float
) -> tuple[Pairs, ...]:
    """The couplings that contrasts measured, those of one pair added up; none without contrasts.

    Contrast f, of target i and shot j flipped from a to b, adds v_f (1[y_j = a] − 1[y_j = b])
    d_f(y_i)/2: see `pair_terms.couplings`.
    """
    contrasts = evidence.contrasts
    if not evidence.f or not weight:
        return ()
    target, shot = evidence.predictions.target[contrasts.twin], contrasts.example
    effect = flip_effect(evidence)
    turned = one_hot(contrasts.before, evidence.k) - one_hot(contrasts.after, evidence.k)
    table = turned.unsqueeze(2) * effect.unsqueeze(1) / 2
    table = torch.where((shot > target).view(-1, 1, 1), table.transpose(1, 2), table)
    ends = torch.stack([torch.minimum(shot, target), torch.maximum(shot, target)], dim=1)
    members, at = torch.unique(ends, dim=0, return_inverse=True)
    weighed = weight * conditioned.flip_weight[..., None, None] * table
    empty = weighed.new_zeros(len(weighed), len(members), evidence.k, evidence.k)
    return (Pairs(members, empty.index_add(1, at, weighed)),)


def to_networkx(
    evidence: Evidence, solution: Solution | None = None, terms: Terms | None = None
) -> networkx.Graph:
    """The factor graph as a networkx graph, to look at, to measure, or to write with networkx.

    It is that of the labels of `solution`, or else of the zero-shot answers. `terms` are the
    default ones unless given. MissingExtra without networkx.

    - An example is a node, by its id, with `field_0`, … in nats, `kind` "example", and, of a
      solution, its `label` and `probability`.
    - A coupling is an edge with `coupling` in nats: what the labels gain by being equal rather
      than different, means over the labels. Positive: the two go together.
    - A relation, or what several say together, is a node of `kind` "relation", with an edge to
      each of its members and, where they were listed, `worlds`: how many labellings it allows.
    """
    try:
        import networkx as nx
    except ImportError as error:
        raise MissingExtra("a networkx graph", "graph") from error
    terms = default_terms() if terms is None else terms
    problem = Problem(evidence, terms)
    logq = torch.log_softmax(
        draw(evidence, 1, 0, None if solution is None else solution.labels), dim=-1
    )
    graph = factor_graph(problem.objective(problem.condition(logq)), logq)
    drawn = nx.Graph()
    for i, (id, field) in enumerate(zip(evidence.ids, graph.field[0].tolist(), strict=True)):
        drawn.add_node(id, kind="example", **{f"field_{k}": h for k, h in enumerate(field)})
        if solution is not None:
            label = int(solution.labels[i].argmax())
            drawn.add_node(id, label=label, probability=float(solution.labels[i, label]))
    for factor in graph.factors:
        members = [[evidence.ids[i] for i in row] for row in factor.members.tolist()]
        if isinstance(factor, Pairs):
            for (one, two), nats in zip(members, _gained(factor.table[0]), strict=True):
                drawn.add_edge(one, two, coupling=nats)
            continue
        said = (
            {"worlds": len(factor.worlds)}
            if isinstance(factor, Factor)
            else {"relation": factor.kind.name}
        )
        for ids in members:
            node = f"relation {drawn.number_of_nodes() - evidence.n}"
            drawn.add_node(node, kind="relation", **said)
            drawn.add_edges_from((node, id) for id in ids)
    return drawn


def _gained(table: Tensor) -> list[float]:
    """Mean over equal labels less mean over different ones, of tables (E, K, K)."""
    k = table.shape[-1]
    equal = table.diagonal(dim1=1, dim2=2).sum(dim=-1)
    gained: list[float] = (equal / k - (table.sum(dim=(1, 2)) - equal) / (k * k - k)).tolist()
    return gained
