"""What an objective is made of: terms, each a function of soft labels with a weight and a role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from torch import Tensor

from consilience.objective.conditioning import State


class Role(Enum):
    """What solvers, predictions and explanations must know of a term beside its value.

    The weights of terms with the role ENTROPY or PRIOR decide how soft labels are: each adds the
    entropy of the labels once, and PRIOR also a part that is linear in them. A term of your own is
    one of these two or OTHER; the other roles are those of the package's terms.
    """

    LOG_POOL = "the logarithmic pool of each target's predictions"
    LINEAR_POOL = "the linear pool of each target's predictions"
    PRIOR = "closeness to the zero-shot answers, with an entropy of its own"
    FREQUENCY = "how frequent the classes are"
    COUPLINGS = "pairs of examples, measured by flipped shots"
    LOGIC = "the relations"
    ENTROPY = "what keeps labels soft"
    OTHER = "made linear at the labels, like any function of them"


@dataclass(frozen=True, slots=True)
class Term:
    """A term of an objective: `function` of a state, its `weight` in the sum, and its `role`.

    The function returns a scalar tensor in nats per example, higher is better. It is computed from
    `state.q` or `state.logq` in torch, for several labellings at once by `torch.vmap`: no `if` on
    values and no `.item()`, in float64 as the labels are. An entropy of your own has
    `Role.ENTROPY`.
    """

    function: Callable[[State], Tensor]
    weight: float = 1.0
    role: Role = Role.OTHER

    def __call__(self, state: State) -> Tensor:
        """The value of the function, unweighted."""
        return self.function(state)

    def at(self, weight: float) -> Term:
        """The same term with another weight."""
        return replace(self, weight=weight)


Terms = Mapping[str, Term]
"""The objective: terms by name."""


def weight_of(terms: Terms, role: Role) -> float:
    """The weight that a role has in an objective, 0 where no term has it."""
    return sum(term.weight for term in terms.values() if term.role is role)
