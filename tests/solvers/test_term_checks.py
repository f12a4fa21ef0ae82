"""A term of one's own is tried before it costs anything, and its gradient is never lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import consilience as cs
from consilience.errors import InputError, SolveError
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.objective.coherence import TERMS, default_terms, entropy
from consilience.objective.term import Role, Term
from consilience.solvers.adam import Adam
from consilience.solvers.annealing import Annealing
from consilience.solvers.belief_propagation import BeliefPropagation
from consilience.solvers.solution import solve
from consilience.solvers.term_checks import OWN_ROLES, check_terms
from recorder import Recorder
from zoo import evidence

DATA, _ = world_dataset("noisy", 30)


@pytest.fixture(scope="module")
def run() -> cs.Found:
    """A run with the default terms."""
    return cs.elicit(DATA, SimulatedModel("noisy"), calls_per_example=3)


def cautious(s):
    return -s.q[:, 1].mean() if s.q[:, 1].mean() > 0.9 else s.q[:, 1].mean() * 0


def my_entropy(s):
    return -(s.q * s.logq).sum(dim=-1).mean()


def to_prior(s):
    return 2 * my_entropy(s) + (s.q * torch.tensor([0.3, 0.7]).log()).sum(dim=-1).mean()


def balance(s):
    return -(s.q.mean(dim=0) * s.q.mean(dim=0).log()).sum()


def pairs(s):
    """The entropy of the mean label of each two."""
    mean = (s.q[::2] + s.q[1::2]) / 2
    return -(mean * mean.log()).sum(dim=-1).mean()


REFUSED = {
    "a choice": (cautious, "several labellings at once.*torch.where.*vmap"),
    "a number of one labelling": (lambda s: s.q.sum() * s.q[0, 0].item(), r"torch.where.*\.item"),
    "luck": (lambda s: (s.q * torch.rand_like(s.q)).sum(), "several labellings at once.*random"),
    "a typo": (lambda s: s.qq, "failed: AttributeError: 'State'.*'qq'"),
    "a number": (lambda s: 1.0, "returned 1.0, a float; it is to return one number in a tensor"),
    "nothing": (lambda s: None, "returned None"),
    "a value for each": (lambda s: s.q[:, 1], r"returned a tensor of shape \(30,\)"),
    "a row of one": (lambda s: s.q.mean().reshape(1), r"returned a tensor of shape \(1,\)"),
    "an array": (lambda s: torch.tensor(s.q.numpy().mean()), "no gradient: RuntimeError.*numpy"),
    "a detached value": (lambda s: s.q.detach()[:, 1].mean(), "has no gradient in them"),
    "a jump": (lambda s: (s.q[:, 1] > 0.5).double().mean(), "use Annealing"),
    "32 bits": (lambda s: s.q.float()[:, 1].mean(), r"returned a torch.float32; .*`.double\(\)`"),
    "16 bits": (
        lambda s: s.q.half()[:, 1].mean(),
        "a torch.float16; compute it in float64",
    ),
    "an entropy": (my_entropy, "has 1 times the entropy.*role=Role.ENTROPY"),
    "a divergence": (to_prior, "has 2 times the entropy.*Role.PRIOR"),
    "an entropy beside a spread": (
        lambda s: 20 * s.q[:, 1].var() + 0.5 * my_entropy(s),
        "has 0.5 times the entropy.*beside other parts.*a term of its own",
    ),
    "an entropy beside balance, bounded": (
        lambda s: balance(s) - 0.1 * (s.q * s.q.clamp(min=1e-6).log()).sum(dim=-1).mean(),
        "has 0.1 times the entropy.*beside other parts",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_term_that_cannot_be_used_is_refused_by_name_before_anything_is_asked(
    run: cs.Found, name: str
) -> None:
    term, message = REFUSED[name]
    terms = default_terms() | {"mine": Term(term, 1.0)}
    model = Recorder()
    for use in (
        lambda: solve(run.evidence, terms),
        lambda: cs.elicit(DATA, model, calls_per_example=3, terms=terms),
    ):
        with pytest.raises(InputError, match=f"the term 'mine' .*{message}") as error:
            use()
        assert "\n" not in str(error.value)
    assert not model.asked


def test_a_term_that_is_not_finite_is_refused_by_name_before_anything_is_asked() -> None:
    model = Recorder()
    terms = default_terms() | {"mine": Term(lambda s: s.conditioned.flip_weight.mean() * s.q.sum())}
    with pytest.raises(SolveError, match="the term 'mine': the objective is not finite"):
        cs.elicit(DATA, model, calls_per_example=3, terms=terms)
    assert not model.asked


@pytest.mark.parametrize(
    "term",
    [
        lambda s: torch.tensor(1.0),
        lambda s: s.q.sum(dim=-1).mean(),
        lambda s: s.conditioned.relevance.mean(),
        balance,
        pairs,
        lambda s: s.logq[:, 1].mean(),
        lambda s: s.q.sqrt().mean(),
        lambda s: 100 * s.q[:, 1].var(),
        lambda s: -s.q.square().sum(dim=-1).mean(),
        lambda s: torch.relu(s.q[:, 1].mean() - 0.9),
    ],
    ids=[
        "constant",
        "the same everywhere",
        "of the conditioned evidence",
        "balance",
        "balance of pairs",
        "log labels",
        "roots",
        "a spread",
        "gini",
        "hinge",
    ],
)
def test_a_term_that_can_be_used_is_taken(run: cs.Found, term) -> None:
    terms = default_terms() | {"mine": Term(term)}
    for solver in (cs.LBFGS(), Adam(), BeliefPropagation(), Annealing()):
        check_terms(run.evidence, terms, solver)


@pytest.mark.parametrize("name", [name for name, t in TERMS.items() if t.role is not Role.OTHER])
def test_a_term_of_the_package_without_its_role_is_refused(run: cs.Found, name: str) -> None:
    for role in [role for role in Role if role is not TERMS[name].role]:
        terms = default_terms() | {"mine": Term(TERMS[name].function, role=role)}
        with pytest.raises(InputError, match=f"'mine' is '{name}' of the package.*TERMS"):
            solve(run.evidence, terms)
    solve(run.evidence, {"mine": TERMS["entropy"], "yours": TERMS[name].at(0.5)})


@pytest.mark.parametrize("role", [role for role in Role if role not in OWN_ROLES])
def test_a_role_of_the_package_is_refused_for_another_term(run: cs.Found, role: Role) -> None:
    terms = default_terms() | {"mine": Term(lambda s: s.q[:, 1].mean(), 0.3, role)}
    with pytest.raises(InputError, match=f"'mine' has {role}, .*leave the role out"):
        solve(run.evidence, terms)


def test_annealing_takes_jumps(run: cs.Found) -> None:
    terms = {"mine": Term(REFUSED["a jump"][0])}
    check_terms(run.evidence, terms, Annealing())
    for solver in (Adam(), BeliefPropagation()):
        with pytest.raises(InputError, match="use Annealing"):
            check_terms(run.evidence, terms, solver)


def test_in_one_row_an_entropy_is_told_from_what_resembles_it() -> None:
    one = evidence(1, [(0, [0.2, 0.8], ())])
    check_terms(one, {"mine": Term(lambda s: -s.q.square().sum())}, cs.LBFGS())
    with pytest.raises(InputError, match="1 times the entropy"):
        check_terms(one, {"mine": Term(my_entropy)}, cs.LBFGS())


WRONG = {
    "a function": ({"mine": cautious}, r"'mine' is to be a Term\(FUNCTION, WEIGHT\); got a func"),
    "a list": ([1], "a dictionary of Term by name; got a list"),
    "none": ({}, "at least one term"),
    "no weight": ({"mine": Term(entropy, math.nan)}, "a finite number, got nan for 'mine'"),
    "a weight in words": ({"mine": Term(entropy, "1")}, "the weight of the term 'mine'.*'1'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_objective_is_said(run: cs.Found, name: str) -> None:
    terms, message = WRONG[name]
    for use in (
        lambda: solve(run.evidence, terms),
        lambda: cs.elicit(DATA, Recorder(), calls_per_example=3, terms=terms),
    ):
        with pytest.raises(InputError, match=message):
            use()


def test_what_is_no_role_is_said(run: cs.Found) -> None:
    term = Term(my_entropy, role="entropy")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the role of the term 'mine' is one of"):
        solve(run.evidence, {"mine": term})


@pytest.mark.parametrize("solver", ["lbfgs", cs.LBFGS, cs.LBFGS(starts=1).maximise])
def test_what_is_no_solver_is_said(run: cs.Found, solver) -> None:
    for use in (
        lambda: solve(run.evidence, solver=solver),
        lambda: cs.elicit(DATA, Recorder(), calls_per_example=3, solver=solver),
    ):
        with pytest.raises(InputError, match="a solver is an object such as LBFGS"):
            use()


def test_an_entropy_of_ones_own_is_the_entropy_by_its_role(run: cs.Found) -> None:
    own = default_terms() | {"entropy": Term(my_entropy, 1.0, role=Role.ENTROPY)}
    settings = {"calls_per_example": 3, "terms": own}
    found = cs.elicit(DATA, SimulatedModel("noisy"), **settings)
    np.testing.assert_allclose(found.soft_labels, run.soft_labels, atol=1e-3)
    told = [f.labels["structural"] for f in (found, run)]
    np.testing.assert_allclose(*told, atol=1e-2)
    twice = own | {"entropy": Term(lambda s: 2 * my_entropy(s), 0.5, role=Role.ENTROPY)}
    with pytest.raises(InputError, match=r"Role.ENTROPY.*1 times the entropy.*factors into its we"):
        solve(run.evidence, twice)
    assert cs.Role is Role


NO_GRADIENTS = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


@pytest.mark.parametrize("mode", NO_GRADIENTS.values(), ids=NO_GRADIENTS)
def test_a_term_pulls_where_the_caller_records_no_gradients(mode) -> None:
    others = {name: TERMS[name] for name in ("ranking across", "downstream consistency")}
    terms = default_terms() | others | {"mine": Term(lambda s: s.q[:, 1].mean())}
    given = {"calls_per_example": 3, "terms": terms}
    plain = cs.elicit(DATA, SimulatedModel("noisy"), **given)
    with mode():
        found = cs.elicit(DATA, SimulatedModel("noisy"), **given)
        again = solve(plain.evidence, terms)
        told = found.explain(DATA.ids[0])
    np.testing.assert_array_equal(found.soft_labels, plain.soft_labels)
    # And what was made in one mode is used in the other.
    outside = solve(found.evidence, terms)
    np.testing.assert_array_equal(again.labels, outside.labels)
    assert told.equals(plain.explain(DATA.ids[0]))
