"""Terms whose value and slope need no back-propagation.

Most of an objective is linear in each example's labels, but for their entropy::

    (1/N) Σ_i Σ_k q_i(k) (f_i(k) − λ log q_i(k)),   f a field of the conditioned evidence

A term that is says so where it is defined, by `each_for_itself`; all such terms together are one
field and one λ, added up once by conditioning. A term whose slope is known otherwise says so by
`with_slope`. Any other function is a term all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from torch import Tensor, zeros_like

from consilience.evidence.evidence import Evidence
from consilience.evidence.few_classes import over_classes
from consilience.objective.conditioning import ConditionedEvidence, State
from consilience.objective.term import Terms

_Function = Callable[[State], Tensor]

_FORMS: dict[_Function, tuple[str | None, float]] = {}
"""The field and the λ of functions that said so."""


def each_for_itself(field: str | None, entropy: float = 0.0) -> Callable[[_Function], _Function]:
    """Declares that a function is of the form above: its field of the evidence, if any, and λ."""

    def declared(function: _Function) -> _Function:
        _FORMS[function] = field, entropy
        return function

    return declared


Slope = Callable[[Tensor, Tensor, float], Tensor]
"""From log labels (S, N, K), a gradient of that shape and a weight: the value of a term, (S,), in
nats in all and unweighted; its gradient in log labels, weighted, is added to that given."""

_SlopeOf = Callable[[Evidence, ConditionedEvidence], Slope | None]

_SLOPES: dict[_Function, _SlopeOf] = {}


def with_slope(of: _SlopeOf) -> Callable[[_Function], _Function]:
    """Declares what gives a function's slope, from conditioned evidence; None: back-propagation."""

    def declared(function: _Function) -> _Function:
        _SLOPES[function] = of
        return function

    return declared


@dataclass(frozen=True, slots=True)
class Separable:
    """Terms in closed form, added up: `field` (S, N, K) in nats, 0 for None, and λ, `entropy`."""

    field: Tensor | None
    entropy: float

    def slope(self, q: Tensor, logq: Tensor) -> tuple[Tensor, Tensor]:
        """The value in nats in all, (S,), and its gradient in log labels (S, N, K)."""
        gained = logq * -self.entropy
        if self.field is not None:
            gained += self.field
        gained *= q
        return gained.sum(dim=(1, 2)), gained.sub_(q, alpha=self.entropy)


@dataclass(frozen=True, slots=True)
class Parts:
    """An objective on conditioned evidence, by how its slope is found.

    What each example has for itself, terms with a `Slope` and their weights, and the others.
    """

    separable: Separable
    sloped: tuple[tuple[float, Slope], ...]
    others: Terms


def separated(terms: Terms, conditioned: ConditionedEvidence, evidence: Evidence) -> Parts:
    """The parts of an objective, on the evidence conditioned on S labellings."""
    field: Tensor | None = None
    entropy = 0.0
    sloped, others = [], {}
    for name, term in terms.items():
        function = term.function if isinstance(term.function, Hashable) else None
        if function in _FORMS:
            part, own = _FORMS[function]
            entropy += term.weight * own
            if part is not None and term.weight:
                pool = getattr(conditioned, part)
                field = zeros_like(pool) if field is None else field
                field.add_(pool, alpha=term.weight)
        elif (
            function in _SLOPES and (slope := _SLOPES[function](evidence, conditioned)) is not None
        ):
            sloped.append((term.weight, slope))
        else:
            others[name] = term
    return Parts(Separable(field, entropy), tuple(sloped), others)


def through_softmax(q: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in θ (S, N, K) made of that in log q, in place, q = softmax(θ)."""
    return gradient.addcmul_(q, over_classes(gradient), value=-1)
