"""What is held while labels are looked for."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest

from consilience.objective.coherence import TERMS, default_terms
from consilience.objective.conditioning import ConditionedEvidence
from consilience.solvers import adam, lbfgs
from consilience.solvers.fixed_point import natural_step
from consilience.solvers.solution import solve
from zoo import evidence, random_rows


@pytest.fixture(autouse=True)
def nothing_else_to_look_through() -> Iterator[None]:
    """What is there already is no longer among what `gc` lists: some hundred thousand objects."""
    gc.freeze()
    yield
    gc.unfreeze()


def conditionings() -> int:
    return sum(type(one) is ConditionedEvidence for one in gc.get_objects())


@pytest.mark.parametrize(
    "solver", [lbfgs.LBFGS(starts=1), adam.Adam(starts=1, steps=20, conditionings=2)]
)
@pytest.mark.parametrize(("term", "held"), [("entropy", 0), ("averaging", 1)])
def test_conditioned_evidence_is_held_only_for_terms_that_need_it(
    monkeypatch, solver, term, held
) -> None:
    """Of the others a slope is found from their sum."""
    ev = evidence(6, random_rows(np.random.default_rng(0), 6, 2))
    before, seen = conditionings(), []

    def step(*given):
        seen.append(conditionings() - before)
        return natural_step(*given)

    for module in (lbfgs, adam):
        monkeypatch.setattr(module, "natural_step", step)
    solve(ev, default_terms() | {term: TERMS[term]}, solver)
    assert set(seen) == {held}
