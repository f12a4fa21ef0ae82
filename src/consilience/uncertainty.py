"""How sure a label is: solve again on resampled predictions, and split the entropy.

With labels q_b from replicate b: total = H(mean_b q_b), aleatoric = mean_b H(q_b), epistemic =
total − aleatoric (the mutual information of label and replicate; Depeweg et al. 2018,
1710.07283). Epistemic uncertainty is disagreement between predictions, which asking more
removes; aleatoric uncertainty is what every replicate has. Nats throughout.

The replicates are those of the Bayesian bootstrap (Rubin 1981): exponential weights, so that no
example ever loses its last prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from consilience.coherence import Terms
from consilience.evidence import Evidence
from consilience.settling import Problem, Solver
from consilience.solvers import Solution

Floats = NDArray[np.float64]

STREAM = 30
"""What tells the random numbers of this module from those of others that use the same seed."""


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Epistemic and aleatoric uncertainty of each example, in nats, shape (N,)."""

    epistemic: Floats
    aleatoric: Floats


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
    rng = np.random.default_rng([seed, STREAM])
    drawn = rng.exponential(size=(replicates, evidence.t))
    weight = torch.from_numpy(drawn).to(evidence.logp.device)
    start = torch.from_numpy(solution.labels).to(weight.device).clamp(min=1e-12).log()
    problem = Problem(evidence, terms, weight)
    settled = solver.settle(problem, start.expand(replicates, -1, -1))
    q = settled.logq.exp().cpu().numpy()
    total = _entropy(q.mean(axis=0))
    aleatoric = _entropy(q).mean(axis=0)
    return Uncertainty(np.maximum(total - aleatoric, 0.0), aleatoric)


def _entropy(q: Floats) -> Floats:
    return np.asarray(-(q * np.log(np.maximum(q, 1e-300))).sum(axis=-1))
