"""Every tensor of a solve is made where the evidence is: a graphics card takes one argument.

There need be no card for it: whatever is made without saying where goes to a device that holds
nothing, and cannot be used with what the evidence holds.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from consilience.evidence.evidence import Evidence
from consilience.solvers.adam import Adam
from consilience.solvers.belief_propagation import BeliefPropagation
from consilience.solvers.fixed_point import Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from scenes import case

SOLVERS = [LBFGS(), Adam(steps=4, conditionings=2), BeliefPropagation(steps=5, conditionings=2)]


def scene(k: int) -> Evidence:
    """Evidence with contrasts, relations of both kinds, and one label that is held."""
    return case(2, k)[0].holding({0: 1})


def test_a_tensor_made_without_saying_where_cannot_be_used() -> None:
    asked = scene(2).predictions
    with torch.device("meta"), pytest.raises((RuntimeError, NotImplementedError)):
        (asked.weight * torch.ones(len(asked), dtype=torch.float64)).tolist()


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_every_tensor_is_made_where_the_evidence_is(solver: Solver, k: int) -> None:
    evidence = scene(k)
    expected = solve(evidence, solver=solver, starts=3)
    with torch.device("meta"):
        found = solve(evidence, solver=solver, starts=3, device="cpu")
    assert np.array_equal(found.labels, expected.labels)
    assert found.result is expected.result


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no graphics card here")
def test_a_graphics_card_finds_the_same_labels() -> None:
    evidence = scene(2)
    labels = solve(evidence, device="cuda").labels
    assert np.allclose(labels, solve(evidence).labels, rtol=0, atol=1e-6)
