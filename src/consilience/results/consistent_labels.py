"""Hard labels in which declared facts hold: where soft ones leave it open, which class it is.

A soft label may be of 0.55 for "yes" in both of two examples that are not both so. As many labels
as that takes are then not of their likeliest class: each component of tied examples gets the most
probable of the labellings that its facts allow. Soft labels stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from consilience.data.arrays import Floats, Integers
from consilience.data.relations import Allowed, Relation, active_relations
from consilience.evidence.best_labelling import best_labelling, put_on_top
from consilience.evidence.relation_factors import Factor, Large, factors

if TYPE_CHECKING:
    from consilience.results.result import Found


@dataclass(frozen=True, slots=True)
class Facts:
    """How many facts count, how many the labels break, how many labels they turned."""

    declared: int
    broken: int
    turned: int

    def to_json(self) -> dict[str, int]:
        """The counts as plain data."""
        return {"declared": self.declared, "broken": self.broken, "turned": self.turned}

    @property
    def sentence(self) -> str:
        """That in words; "" where there are no facts."""
        if not self.declared:
            return ""
        held = (
            f"{self.broken:,} of {self.declared:,} relations that count are broken by the labels"
            if self.broken
            else f"all {self.declared:,} relations that count hold in the labels"
        )
        many = "1 label is" if self.turned == 1 else f"{self.turned:,} labels are"
        turned = f"; for them {many} not of the likeliest class, and open" if self.turned else ""
        return held + turned


def facts_of(found: Found) -> Facts:
    """How the labels of a run go with the facts that count in it."""
    hard, facts = found.hard_labels, _hard(found)
    turned = int((hard != found.soft_labels.argmax(axis=1)).sum())
    return Facts(len(facts), broken(hard, facts, found.dataset.index), turned)


def hard_labels_of(found: Found) -> Integers:
    """The hard labels of a run; those corrected or vouched for are as the user gave them."""
    return _kept(found, found.soft_labels)


def with_facts(found: Found, labels: Floats) -> Floats:
    """Soft labels (N, K) of any method with those classes on top that the facts of a run allow.

    The same array where they break no fact.
    """
    hard = _kept(found, labels)
    return labels if (hard == labels.argmax(axis=1)).all() else put_on_top(labels, hard)


def _kept(found: Found, labels: Floats) -> Integers:
    given = [found.dataset.index[id] for id in found.corrections]
    given += () if found.calibration is None else found.calibration.landmarks.at
    return consistent_labels(labels, _hard(found), found.dataset.index, given)


def _hard(found: Found) -> list[Relation]:
    """The relations that count in a run and hold for sure."""
    priors = found.run.settings.get("priors", False)
    return [r for r in active_relations(found.dataset.relations, priors) if r.strength == 1]


def consistent_labels(
    soft: Floats, facts: Sequence[Relation], index: Mapping[str, int], given: Collection[int] = ()
) -> Integers:
    """The class of each example (N,), the likeliest under `soft` (N, K) that the facts allow.

    Those `given` stay what they are. Where facts of a component too large to be enumerated share
    members (see `relation_factors`), each example has its likeliest class, whatever they say.
    """
    hard: Integers = soft.argmax(axis=1)
    if not broken(hard, facts, index):
        return hard
    tied = _apart(factors(facts, index, soft.shape[1]), len(soft))
    kept = list(given)
    chosen = best_labelling(soft, tied)
    chosen[kept] = hard[kept]
    return chosen


def broken(hard: Integers, facts: Sequence[Relation], index: Mapping[str, int]) -> int:
    """How many facts hard labels (N,) break."""
    alike: dict[tuple[object, ...], list[Relation]] = {}
    for fact in facts:
        worlds = fact.worlds if isinstance(fact, Allowed) else ()
        alike.setdefault((type(fact), fact.label, len(fact.members), worlds), []).append(fact)
    return sum(
        int((~same[0].holds(hard[np.array([[index[m] for m in f.members] for f in same])])).sum())
        for same in alike.values()
    )


def _apart(tied: Sequence[Factor | Large], n: int) -> list[Factor | Large]:
    """The factors that share no member with another: each has all that is said of its members."""
    count = np.zeros(n, dtype=np.int64)
    for factor in tied:
        np.add.at(count, factor.members.numpy(), 1)
    kept = [(factor, (count[factor.members.numpy()] == 1).all(axis=1)) for factor in tied]
    return [replace(factor, members=factor.members[alone]) for factor, alone in kept if alone.any()]
