"""What each example has for itself, in closed form, against back-propagation through the terms."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from consilience.data.relations import Equal, ExactlyOne
from consilience.evidence.relation_factors import factors
from consilience.objective.closed_form import separated
from consilience.objective.coherence import TERMS, default_terms, entropy, mutual_predictability
from consilience.objective.conditioning import State
from consilience.objective.pair_terms import ranking_within
from consilience.objective.term import Term, Terms
from consilience.solvers.fixed_point import Objective, Problem
from scenes import case


def my_entropy(state: State) -> torch.Tensor:
    """Another entropy, of a form that nobody declared."""
    return (1 - state.q.square().sum(dim=-1)).mean()


OBJECTIVES: dict[str, Terms] = {
    "default": default_terms(),
    "every": {name: term.at(0.3) for name, term in TERMS.items()},
    "none in closed form": {"mine": Term(my_entropy), "rank": Term(ranking_within, 0.5)},
    "all in closed form": {"m": Term(mutual_predictability, 2.0), "e": Term(entropy, -0.5)},
    "negative and zero": {"p": TERMS["prior fidelity"].at(-1.0), "m": TERMS["entropy"].at(0.0)},
}


def checked_slope(objective: Objective, batch: torch.Tensor, n: int) -> torch.Tensor:
    """The gradient in closed form, which must be that of back-propagation, as must the value."""
    value, gradient = objective.slope(batch)
    through = batch.clone().requires_grad_(True)
    whole = n * objective(through)
    (expected,) = torch.autograd.grad(whole.sum(), through)
    assert torch.allclose(value, whole.detach(), rtol=0, atol=1e-10)
    assert torch.allclose(gradient, expected, rtol=0, atol=1e-12)
    return gradient


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_value_and_slope_are_those_of_the_terms(name: str, k: int, held: bool) -> None:
    ev, theta = case(3, k)
    problem = Problem(ev.holding({0: 1, 5: 0}) if held else ev, OBJECTIVES[name])
    for batch in (theta.unsqueeze(0), torch.stack([theta, 2 * theta])):
        objective = problem.objective(problem.condition(torch.log_softmax(batch, dim=-1)))
        gradient = checked_slope(objective, batch, ev.n)
        assert not held or not gradient[:, [0, 5]].any()


@pytest.mark.parametrize("strength", [1.0, 0.7])
@pytest.mark.parametrize("k", [2, 3])
def test_the_slope_of_relations_is_that_of_back_propagation(k: int, strength: float) -> None:
    """Components of two shapes, and a relation that is softer, of one batch and of two."""
    ties = [Equal(("1", "2")), ExactlyOne(("3", "4", "5"), strength=strength), Equal(("6", "0"))]
    ev, theta = case(3, k)
    tied = factors(ties, {str(i): i for i in range(ev.n)}, k)
    problem = Problem(replace(ev.only(~ev.predictions.brief), factors=tied), default_terms())
    for batch in (theta.unsqueeze(0), torch.stack([theta, 2 * theta])):
        conditioned = problem.condition(torch.log_softmax(batch, dim=-1))
        parts = separated(problem.terms, conditioned, problem.evidence)
        assert len(parts.sloped) == 2
        assert not parts.others
        checked_slope(problem.objective(conditioned), batch, ev.n)


@pytest.mark.parametrize("f", [0, 1, 40])
@pytest.mark.parametrize("k", [2, 3])
def test_the_slope_of_couplings_is_that_of_back_propagation(k: int, f: int) -> None:
    """Of none, one, and of many with one target, one shot and one pair in several of them."""
    ev, theta = case(3, k)
    assert ev.f
    several = torch.arange(f) % ev.f
    problem = Problem(
        replace(ev, contrasts=ev.contrasts.rows(several), factors=()), default_terms()
    )
    for batch in (theta.unsqueeze(0), torch.stack([theta, 2 * theta])):
        conditioned = problem.condition(torch.log_softmax(batch, dim=-1))
        parts = separated(problem.terms, conditioned, problem.evidence)
        assert not parts.others
        checked_slope(problem.objective(conditioned), batch, ev.n)


def test_only_what_said_so_is_taken_in_closed_form() -> None:
    """A function that takes the name and role of a term of the package is its own function."""
    ev, theta = case(3, 2)
    problem = Problem(ev, default_terms())
    conditioned = problem.condition(torch.log_softmax(theta.unsqueeze(0), dim=-1))
    terms = {
        "entropy": Term(my_entropy, role=TERMS["entropy"].role),
        "class frequency": Term(partial(TERMS["class frequency"].function)),
        "mine": TERMS["mutual predictability"],
    }
    parts = separated(terms, conditioned, ev)
    assert [*parts.others] == ["entropy", "class frequency"]
    assert not parts.sloped
    assert parts.separable.entropy == 0
    assert parts.separable.field is not None
    assert torch.equal(parts.separable.field, conditioned.log_pool)
