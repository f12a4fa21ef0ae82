"""What hard relations leave of the classes of examples, where the user gave those of some.

Each example has the classes that it may still have; each relation takes away those that it allows
in no way, given what the others of its members may have, until nothing changes (arc consistency,
Mackworth 1977). Within a component that is enumerated this is all that follows; between relations
of a larger one something may follow that no single relation shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from consilience.data.arrays import Flags
from consilience.data.relations import And, AtMostOne, Equal, ExactlyOne
from consilience.evidence.relation_factors import Factor, Large


def implied_classes(
    factors: Sequence[Factor | Large], given: Mapping[int, int], k: int
) -> dict[int, int]:
    """The classes (position → class) that hard relations leave to examples, where some are given.

    Those given are among them. A relation that the classes given break implies nothing.
    """
    may, _ = _left(factors, given, k)
    only = {at: classes for at, classes in may.items() if classes.sum() == 1}
    return dict(given) | {at: int(classes.argmax()) for at, classes in only.items()}


def broken_by(
    factors: Sequence[Factor | Large], given: Mapping[int, int], k: int
) -> tuple[int, ...]:
    """The members of a relation that cannot hold with the classes given, none if all can."""
    return next(iter(_left(factors, given, k)[1]), ())


def _left(
    factors: Sequence[Factor | Large], given: Mapping[int, int], k: int
) -> tuple[dict[int, Flags], list[tuple[int, ...]]]:
    """The classes that examples may have (position → (K,)), and the members of what is broken.

    Of examples that nothing is known of there is no entry.
    """
    may = {at: np.arange(k) == label for at, label in given.items()}
    broken: dict[tuple[int, ...], None] = {}
    changed = set(may)
    while changed:
        moved: set[int] = set()
        for factor, members in _touched(factors, changed):
            before = np.array([may.get(at, np.ones(k, dtype=bool)) for at in members])
            after = _allowed(factor, before)
            if not after.any(axis=1).all():
                broken[tuple(members)] = None
                continue
            for at in np.flatnonzero((after != before).any(axis=1)):
                may[members[at]] = after[at]
                moved.add(members[at])
        changed = moved
    return may, list(broken)


def _touched(
    factors: Sequence[Factor | Large], changed: set[int]
) -> Iterator[tuple[Factor | Large, list[int]]]:
    """The hard relations among some of these examples, and the members of each."""
    wanted = torch.tensor(sorted(changed))
    for factor in factors:
        if isinstance(factor, Factor) or factor.log_rest is None:
            members = factor.members.cpu()
            for row in members[torch.isin(members, wanted).any(dim=1)].tolist():
                yield factor, row


def _allowed(factor: Factor | Large, may: Flags) -> Flags:
    """Which classes of members that may have those of `may` (m, K) the relation allows, (m, K)."""
    if isinstance(factor, Factor):
        worlds = factor.worlds.cpu().numpy()
        fits = worlds[may[np.arange(len(may)), worlds].all(axis=1)]
        return np.asarray((fits[:, :, None] == np.arange(may.shape[1])).any(axis=0))
    if factor.kind is Equal:
        return np.broadcast_to(may.all(axis=0), may.shape)
    yes, others = may[:, factor.label], np.delete(np.arange(may.shape[1]), factor.label)
    pair = np.stack([yes, may[:, others].any(axis=1)], axis=1)
    if factor.kind in (AtMostOne, ExactlyOne):
        left = _at_most_one(pair, factor.kind is ExactlyOne)
    elif factor.kind is And:
        left = _definition(pair)
    else:
        left = _definition(pair[:, ::-1])[:, ::-1]
    made = may & left[:, 1:]
    made[:, factor.label] = yes & left[:, 0]
    return np.asarray(made)


def _at_most_one(may: Flags, one: bool) -> Flags:
    """The same of members that may be so and may be not (m, 2), of which one at most is so.

    Exactly `one`, if that is asked.
    """
    made = may.copy()
    sure = ~may[:, 1]
    if sure.any():
        made[~sure, 0] = False
        made[sure, 0] &= sure.sum() == 1
    elif one and may[:, 0].sum() <= 1:
        made[may[:, 0], 1] = False
        made[:, 1] &= may[:, 0].any()
    return made


def _definition(may: Flags) -> Flags:
    """The same where the last is so exactly when all the others are."""
    made = may.copy()
    parts, whole = made[:-1], made[-1]
    if not may[-1, 1]:  # it is so
        parts[:, 1] = False
    unsure = may[:-1, 1]
    if not may[-1, 0] and unsure.sum() <= 1:  # it is not, and one alone may be why
        parts[unsure, 0] = False
        parts[:, 0] &= unsure.any()
    whole[0] &= may[:-1, 0].all()
    whole[1] &= unsure.any()
    return made
