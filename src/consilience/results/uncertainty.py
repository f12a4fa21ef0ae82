"""How sure a label is: solve again on resampled predictions, and split the entropy.

With labels q_b from replicate b: total = H(mean_b q_b), aleatoric = mean_b H(q_b), epistemic =
total − aleatoric (the mutual information of label and replicate; Depeweg et al. 2018,
1710.07283). Epistemic uncertainty is disagreement between predictions, which asking more
removes; aleatoric uncertainty is what every replicate has. Nats throughout.

The replicates are those of the Bayesian bootstrap (Rubin 1981): exponential weights, so that no
example ever loses its last prediction. Answers in one wording about one example share errors, and
so their weights have the correlation that their errors have.

Structural confidence asks something else: not how sure a label is, but whose evidence it rests
on, that about the example alone or that which came by way of others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from consilience.data.arrays import Floats
from consilience.data.random_streams import generator
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import TERMS
from consilience.objective.conditioning import condition
from consilience.objective.term import Role, Terms, weight_of
from consilience.solvers.factor_graph import fields
from consilience.solvers.fixed_point import Problem, Solver
from consilience.solvers.solution import Solution

_LEAST = 1e-9
"""No prediction counts for less than this in a replicate."""

_NOTHING = 1e-9
"""A pull of so few nats is none."""


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Epistemic and aleatoric uncertainty of each example, in nats, and structural confidence.

    All of shape (N,); `structural` is a share from 0 to 1, NaN where nothing pulls the label.
    """

    epistemic: Floats
    aleatoric: Floats
    structural: Floats


def uncertainty(
    evidence: Evidence,
    terms: Terms,
    solver: Solver,
    solution: Solution,
    *,
    seed: int = 0,
    replicates: int = 16,
) -> Uncertainty:
    """The uncertainty of a solution's labels, from `replicates` resampled solves in one batch."""
    rng = generator(seed, "replicates")
    weight = torch.from_numpy(weights(evidence, replicates, rng)).to(
        evidence.predictions.logp.device
    )
    start = torch.from_numpy(solution.labels).to(weight.device).clamp(min=1e-12).log()
    problem = Problem(evidence, terms, weight)
    settled = solver.settle(problem, start.expand(replicates, -1, -1))
    q = settled.logq.exp().cpu().numpy()
    total = _entropy(q.mean(axis=0))
    aleatoric = _entropy(q).mean(axis=0)
    structural = structural_confidence(evidence, terms, solution.labels)
    return Uncertainty(np.maximum(total - aleatoric, 0.0), aleatoric, structural)


def weights(evidence: Evidence, replicates: int, rng: np.random.Generator) -> Floats:
    """Exponential weights (R, T), correlated by `evidence.shared` within example and framing.

    A gamma variable of shape 1 − ρ for each prediction and one of shape ρ that those share.
    """
    cell = (
        evidence.predictions.target.cpu().numpy() * len(evidence.framings)
        + evidence.predictions.framing.cpu().numpy()
    )
    _, cell = np.unique(cell, return_inverse=True)
    count = int(cell.max(initial=-1)) + 1
    own = rng.gamma(1 - evidence.shared, size=(replicates, evidence.t))
    both = rng.gamma(evidence.shared, size=(replicates, count))[:, cell.reshape(-1)]
    return np.asarray(np.maximum(own + both, _LEAST))


def structural_confidence(evidence: Evidence, terms: Terms, labels: Floats) -> Floats:
    """The share of each label's log-odds that comes from other examples, (N,).

    |others| / (|own| + |others|), both in nats, the label against the best other class. Together
    they are what the objective pulls with at the labels (N, K), N ∂J/∂q_i without entropies: at an
    optimum own + others = λ · log-odds, λ the weights of entropy and prior fidelity. Own is what
    would be left if nothing involved another example: predictions with shots had said nothing,
    there were no contrasts and no relations, and nobody knew how frequent the classes are. Each is
    a net pull: shots that contradict each other cancel. Where own and others contradict each other
    it is a share of what pulls, not of the outcome. NaN where neither pulls: nothing is known, or
    all of it is even.
    """
    whole = _pull(evidence, terms, labels)
    alone = {name: term for name, term in terms.items() if term.role is not Role.FREQUENCY}
    scale = float(
        condition(
            evidence, torch.from_numpy(labels).to(evidence.predictions.logp.device)[None]
        ).scale[0]
    )
    own = _pull(replace(_alone(evidence), scale=scale), alone, labels)
    others, own = np.abs(whole - own), np.abs(own)
    total = own + others
    known = total > _NOTHING
    return np.asarray(np.divide(others, total, out=np.full(len(total), math.nan), where=known))


def _alone(evidence: Evidence) -> Evidence:
    """The evidence of the same predictions where nothing involves two examples."""
    asked, own = evidence.predictions, evidence.predictions.zero
    silent = torch.full_like(asked.logp, -math.log(evidence.k))
    return replace(
        evidence,
        predictions=replace(
            asked,
            logp=torch.where(own.unsqueeze(-1), asked.logp, silent),
            information=asked.information * own,
            shown=torch.full_like(asked.shown, -1),
        ),
        shots=evidence.shots.none(),
        contrasts=evidence.contrasts.none(),
        factors=(),
    )


def _pull(evidence: Evidence, terms: Terms, labels: Floats) -> Floats:
    """What the objective pulls each label with against the best other class, in nats, (N,)."""
    # The entropy pulls all labels to 1/K, and is no evidence; prior fidelity has one of its own.
    inner = weight_of(terms, Role.PRIOR)
    said = {name: term for name, term in terms.items() if term.role is not Role.ENTROPY}
    less = {"entropy in prior fidelity": TERMS["entropy"].at(-inner)}
    problem = Problem(evidence, said | less)
    logq = (
        torch.from_numpy(labels)
        .to(evidence.predictions.logp.device)
        .clamp(min=1e-300)
        .log()
        .unsqueeze(0)
    )
    field = fields(problem.objective(problem.condition(logq)), logq)[0].cpu().numpy()
    order = np.argsort(-labels, axis=1, kind="stable")
    best, second = (np.take_along_axis(field, order[:, [c]], axis=1)[:, 0] for c in (0, 1))
    return np.asarray(best - second)


def _entropy(q: Floats) -> Floats:
    return np.asarray(-(q * np.log(np.maximum(q, 1e-300))).sum(axis=-1))
