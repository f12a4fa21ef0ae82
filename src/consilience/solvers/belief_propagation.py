"""Belief propagation: examples and factors tell each other what they take the labels to be.

Sum-product in the log domain (Kschischang, Frey and Loeliger 2001) on the graph of `factor_graph`,
at its temperature; all factors of a shape and all starts at once. On a graph without loops the
beliefs are the exact marginals. With loops they are those of the Bethe approximation, where the
messages come to rest at all; damping helps them to (Murphy, Weiss and Jordan 1999, 1301.6725).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from consilience.errors import InputError
from consilience.evidence.relation_factors import Factor, Large
from consilience.solvers.clamping import clamped
from consilience.solvers.factor_graph import Graph, Pairs, factor_graph, fields
from consilience.solvers.fixed_point import (
    FixedPoints,
    Objective,
    OptimizeResult,
    Problem,
    Result,
    bounded,
    settle,
)

NEVER = -1e6
"""What a message says, in nats, of a label that a relation rules out; not −∞, to be subtracted."""


@dataclass(frozen=True, slots=True)
class BeliefPropagation:
    """Damped loopy belief propagation, all starts in one batch; its beliefs are the soft labels.

    `damping` is the share of the old message in the new one, `steps` limits one run, and
    `tolerance` is the change of a message or field, in nats, that still counts as rest;
    `starts` and `conditionings` are those of `LBFGS`. A start is what the messages begin with, and
    the first conditioned. Labels that nothing decides between stay undecided: no start breaks a
    tie.
    """

    starts: int | None = None
    damping: float = 0.5
    steps: int = 200
    tolerance: float = 1e-6
    conditionings: int = 50

    def __post_init__(self) -> None:
        given = 1 if self.starts is None else self.starts
        if min(given, self.steps, self.conditionings) < 1 or self.tolerance <= 0:
            raise InputError(f"starts, steps, tolerance and conditionings must be positive: {self}")
        if not 0 <= self.damping < 1:
            raise InputError(f"damping must be at least 0 and below 1: {self}")

    def settle(self, problem: Problem, theta: Tensor) -> FixedPoints:
        """The beliefs that each start leads to."""
        return settle(problem, self.maximise, theta, self.conditionings, short=Result.RESTLESS)

    def maximise(self, objective: Objective, theta: Tensor) -> OptimizeResult:
        """The beliefs where the messages that begin with each start come to rest."""
        logq = torch.log_softmax(theta, dim=-1)
        graph = factor_graph(objective, logq)
        messages = [_sent(graph, f, logq[:, f.members]) for f in graph.factors]
        taken = 0
        while True:
            taken += 1
            logq, new = _passed(graph, messages)
            field = fields(graph.rest, logq)
            moved = [_far(field, graph.field), *map(_far, new, messages)]
            resting = torch.stack(moved).amax(dim=0) <= self.tolerance
            if taken == self.steps or bool(resting.all()):
                return OptimizeResult(bounded(logq), taken, resting)
            graph = replace(graph, field=self._damped(graph.field, field))
            messages = list(map(self._damped, messages, new))

    def _damped(self, old: Tensor, new: Tensor) -> Tensor:
        return self.damping * old + (1 - self.damping) * new


def _passed(graph: Graph, messages: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The beliefs (S, N, K), as logarithms, and what the factors then send to their members."""
    total = graph.field
    for factor, message in zip(graph.factors, messages, strict=True):
        total = total.index_add(1, factor.members.flatten(), message.flatten(1, 2))
    total = clamped(graph.rest.problem.evidence, total, NEVER)
    new = [
        _sent(graph, factor, total[:, factor.members] - message)
        for factor, message in zip(graph.factors, messages, strict=True)
    ]
    return torch.log_softmax(total / graph.temperature, dim=-1), new


def _far(one: Tensor, two: Tensor) -> Tensor:
    """The largest difference within each start, (S,)."""
    return (one - two).abs().flatten(1).amax(dim=1)


def _sent(graph: Graph, factor: Pairs | Factor | Large, heard: Tensor) -> Tensor:
    """What factors send to their members, given what they heard from them, (S, G, m, K), in nats.

    The best label of each message is at 0.
    """
    if isinstance(factor, Pairs):
        sent = _from_pairs(factor, heard, graph.temperature)
    elif isinstance(factor, Factor):
        sent = _from_worlds(factor, heard, graph.temperature)
    else:
        sent = _from_large(factor, heard, graph.temperature)
    return (sent - sent.amax(dim=-1, keepdim=True)).clamp(min=NEVER)


def _from_pairs(pairs: Pairs, heard: Tensor, temperature: float) -> Tensor:
    """λ log Σ_{y_i} exp[(c_ij(y_i, y_j) + m_i(y_i))/λ], and the same the other way round."""
    to_second = (pairs.table + heard[:, :, 0].unsqueeze(3)) / temperature
    to_first = (pairs.table + heard[:, :, 1].unsqueeze(2)) / temperature
    sent = torch.stack([torch.logsumexp(to_first, dim=3), torch.logsumexp(to_second, dim=2)], dim=2)
    return temperature * sent


def _from_worlds(factor: Factor, heard: Tensor, temperature: float) -> Tensor:
    """For each member and label the worlds with that label, λ log Σ_w exp[(v_w + Σ_j m_j(w_j))/λ].

    v_w is the log weight of the world. Less what the member itself had said.
    """
    index = factor.worlds.T.expand(*heard.shape[:2], -1, -1)
    score = factor.weighed(heard.gather(3, index).sum(dim=2)).unsqueeze(2).expand_as(index)
    # A label's own maximum, for a common one would drown what is a few λ below it.
    top = torch.full_like(heard, -torch.inf).scatter_reduce(3, index, score, "amax")
    parts = ((score - top.gather(3, index)) / temperature).exp()
    summed = torch.zeros_like(heard).scatter_add(3, index, parts)
    return top + temperature * summed.log() - heard


def _from_large(factor: Large, heard: Tensor, temperature: float) -> Tensor:
    """The same by the closed form: that the relation holds when a member has a label for sure."""
    s, g, m, k = heard.shape
    local = torch.log_softmax(heard / temperature, dim=-1)
    label = torch.eye(k, dtype=local.dtype, device=local.device)
    sure = ((1 - label) * NEVER / temperature).view(1, k, 1, k)
    member = torch.eye(m, dtype=torch.bool, device=local.device).view(m, 1, m, 1)
    # (S, G, m, K, m, K): which member is sure of which label, then everybody's labels.
    each = torch.where(member, sure, local[:, :, None, None]).flatten(0, 4)
    rest = factor.log_rest
    alone = replace(
        factor,
        members=torch.arange(len(each), device=local.device).view(-1, m),
        log_rest=None if rest is None else rest.view(1, g, 1, 1).expand(s, g, m, k).flatten(),
    )
    return temperature * alone.scaled(1 / temperature).log_holds(each).view(heard.shape)
