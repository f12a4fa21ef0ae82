"""What terms and a solver of the user's own are refused for, before they cost anything."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import TypeVar

import torch
from torch import Tensor

from consilience.data.random_streams import generator
from consilience.errors import InputError, SolveError, check_kind
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import TERMS
from consilience.objective.conditioning import ConditionedEvidence, State
from consilience.objective.term import Role, Term, Terms
from consilience.solvers.adam import Adam
from consilience.solvers.belief_propagation import BeliefPropagation
from consilience.solvers.factor_graph import fields
from consilience.solvers.fixed_point import Objective, Problem, chosen
from consilience.solvers.lbfgs import LBFGS

_Made = TypeVar("_Made")

OWN_ROLES = (Role.OTHER, Role.ENTROPY, Role.PRIOR)
"""What a term of the user's own can be."""

LABELLINGS = 3
"""So many labellings drawn at random are tried; three tell an entropy from what resembles it."""

_SAME = 1e-9
"""Values of a term that differ by less are the same."""

CORNERS = (-9.0, -11.0, -13.0)
"""Log-probabilities of the unlikely classes at which an entropy is looked for beside other parts.

Far enough down that smooth functions have settled, and above what a term that bounds q by 1e-6
before it takes a logarithm leaves alone."""

_EVEN = 0.02
"""How even, in parts of the whole, the growth is of which an entropy is the cause."""

_MIXED = 1e-3
"""Less of an entropy than this beside other parts is not looked for."""

_EXACT = 1e-4
"""The largest error, in parts of the whole, of what is an entropy."""


def check_objective(terms: object, solver: object) -> None:
    """InputError for terms that are none, or not finite in weight, and for what is no solver."""
    check_kind(terms, Mapping, "terms are a dictionary of Term by name")
    assert isinstance(terms, Mapping)
    if not terms:
        raise InputError("an objective needs at least one term, as default_terms() has")
    for name, term in terms.items():
        check_kind(term, Term, f"the term {name!r} is to be a Term(FUNCTION, WEIGHT)")
        check_kind(term.weight, Real, f"the weight of the term {name!r} is a number")
        if not math.isfinite(term.weight):
            raise InputError(f"a weight is a finite number, got {term.weight} for {name!r}")
        check_kind(term.role, Role, f"the role of the term {name!r} is one of cs.Role")
        _check_role(str(name), term)
    if isinstance(solver, type) or not (hasattr(solver, "settle") and hasattr(solver, "starts")):
        check_kind(solver, (), "a solver is an object such as LBFGS(starts=8)")


def _check_role(name: str, term: Term) -> None:
    """InputError for a role that is not that of the function.

    Belief propagation, explanations and labels of later rows have formulas of their own for terms
    of the package, and know them by their roles.
    """
    known = {of: one.role for of, one in TERMS.items() if one.function is term.function}
    for of, role in known.items():
        if term.role is not role:
            raise InputError(
                f"the term {name!r} is {of!r} of the package, whose role is {role}; take "
                f"TERMS[{of!r}].at(WEIGHT) from consilience.objective.coherence"
            )
    if not known and term.role not in OWN_ROLES:
        raise InputError(
            f"the term {name!r} has {term.role}, which only a term of the package has; leave the "
            "role out"
        )


def own_terms(terms: Terms) -> Terms:
    """Those terms whose function is none of the package's."""
    known = [term.function for term in TERMS.values()]
    return {
        name: term
        for name, term in terms.items()
        if not any(term.function is function for function in known)
    }


@torch.inference_mode(False)
def check_terms(evidence: Evidence, terms: Terms, solver: object) -> None:
    """InputError for a term of the user's own that cannot be evaluated or followed, and why.

    SolveError for one that is not finite. Each is tried on labels drawn at random, held to one
    conditioned: on one labelling alone and on several at once, as solvers do.
    """
    own = own_terms(terms)
    if not own:
        return
    free = replace(evidence, held=None)
    noise = generator(0, "tried labels").normal(size=(LABELLINGS, evidence.n, evidence.k))
    theta = torch.from_numpy(noise).to(evidence.predictions.logp.device)
    logq = torch.log_softmax(theta, dim=-1)
    read = Problem(free, own).condition(logq[:1])
    first = [getattr(read, field.name)[0] for field in dataclasses.fields(ConditionedEvidence)]
    state = State(free, ConditionedEvidence(*first), logq[0])
    corners = _corners(free.n, free.k).to(logq.device)
    conditioned = chosen(read, torch.zeros(LABELLINGS, dtype=torch.int64, device=logq.device))
    for name, term in own.items():
        value: object = _tried(name, partial(term, state), "failed")
        if not isinstance(value, Tensor) or value.shape:
            raise InputError(
                f"the term {name!r} returned {_shown(value)}; it is to return one number in a "
                "tensor, as `.mean()` does"
            )
        problem = Problem(free, {name: term.at(1.0)})
        _tried(name, partial(problem.objective(read).slope, logq[:1]), "has no gradient")
        objective = problem.objective(conditioned)
        field = _tried(
            name,
            partial(fields, objective, logq),
            "cannot take several labellings at once (write a choice as torch.where, not as `if` or "
            "with `.item()`)",
        )
        # In fewer bits a search that compares values is lost in their rounding.
        if value.dtype is not logq.dtype and bool(field.any()):
            raise InputError(
                f"the term {name!r} returned a {value.dtype}; compute it in float64, as `state.q` "
                "is (a network of your own by `.double()`)"
            )
        if isinstance(solver, LBFGS | Adam | BeliefPropagation):
            _check_followed(name, objective(logq), field)
        _check_softness(name, term, logq, field)
        if term.role is Role.OTHER and free.n >= free.k:
            _check_mixture(name, objective, corners)


def _tried(name: str, evaluate: Callable[[], _Made], what: str) -> _Made:
    """What evaluating a term gives; InputError for what it raises."""
    try:
        return evaluate()
    except SolveError as error:
        raise SolveError(f"the term {name!r}: {error}") from error
    except MemoryError:
        raise
    # A term is a program of whoever calls, tried on labels drawn at random; what it raises is told
    # by its name, and stands behind the error.
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        raise InputError(f"the term {name!r} {what}: {type(error).__name__}: {said}") from error


def _shown(value: object) -> str:
    """What a term returned, in few words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"{value!r:.20}, a {type(value).__name__}"


def _check_followed(name: str, values: Tensor, field: Tensor) -> None:
    """InputError where the value changes with the labels and nothing says so to a gradient."""
    if float(values.max() - values.min()) > _SAME and not bool(field.any()):
        raise InputError(
            f"the term {name!r} changes with the labels but has no gradient in them, so that no "
            "label would follow it; compute it from `state.q` in torch, without `.detach()` or "
            "jumps, or use Annealing, which takes jumps"
        )


def _check_softness(name: str, term: Term, logq: Tensor, field: Tensor) -> None:
    """InputError for an entropy whose role does not say so, or a role that is none.

    What a term adds changes from one labelling to another by −c Δ log q where it is linear but for
    c times the entropy; what labels are divided by is read off the roles.
    """
    held, gap = _entropy_in(field[1:] - field[0], logq[1:] - logq[0])
    is_entropy = abs(held) > _EXACT and gap <= _EXACT * abs(held)
    if term.role in (Role.ENTROPY, Role.PRIOR):
        if not is_entropy or abs(held - 1) > _EXACT:
            raise InputError(
                f"the term {name!r} has {term.role}, so it is to be 1 times the entropy of the "
                "labels and what is linear in them; put factors into its weight, or leave the role"
            )
    elif is_entropy:
        raise InputError(
            f"the term {name!r} has {held:.3g} times the entropy of the labels in it, which "
            "predictions and explanations know by its role: Term(FUNCTION, WEIGHT, "
            "role=Role.ENTROPY), or Role.PRIOR for −KL(q ‖ p)"
        )


def _check_mixture(name: str, objective: Objective, corners: Tensor) -> None:
    """InputError for an entropy that is only a part of a term.

    Where a class becomes ever less probable, what a smooth function adds to it settles, and what an
    entropy adds goes on growing with −log q, evenly for every example.
    """
    field = fields(objective, corners)
    first, second = (
        _entropy_in(field[i + 1] - field[i], corners[i + 1] - corners[i]) for i in (0, 1)
    )
    (held, gap), (still, rest) = first, second
    least = _EVEN * abs(held)
    if abs(held) > _MIXED and max(gap, rest, abs(held - still)) <= least:
        raise InputError(
            f"the term {name!r} has {held:.2g} times the entropy of the labels beside other parts, "
            "which predictions and explanations know only by a role: make the entropy a term of "
            "its own, Term(ENTROPY, WEIGHT, role=Role.ENTROPY)"
        )


def _entropy_in(bent: Tensor, moved: Tensor) -> tuple[float, float]:
    """How many times the entropy explains best how fields are `bent` as log labels `moved`.

    Second what it leaves unexplained, in the same unit.
    """
    moved = moved - moved.mean(dim=-1, keepdim=True)
    held = -float((bent * moved).sum() / moved.square().sum())
    return held, float((bent + held * moved).norm() / moved.norm())


def _corners(n: int, k: int) -> Tensor:
    """Log labels (LABELLINGS, N, K) next to one corner, each nearer; every class is somewhere's."""
    classes = torch.from_numpy(generator(0, "tried labels", 1).permutation(n) % k)
    own = torch.nn.functional.one_hot(classes, k).to(torch.float64)
    return torch.stack([torch.log_softmax((1 - own) * low, dim=-1) for low in CORNERS])
