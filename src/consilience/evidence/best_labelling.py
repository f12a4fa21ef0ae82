"""Labels made consistent: the most probable labelling that the relations allow, no search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consilience.data.relations import And, Equal, Or
from consilience.evidence.relation_factors import Factor, Large

HELD = 1e6
"""Nats by which a label that one relation has settled is preferred by the next ones."""

NUDGE = 1e-9
"""The probability by which a class that is chosen out of several equally good ones is ahead."""


def best_labelling(
    labels: NDArray[np.float64], tied: Sequence[Factor | Large]
) -> NDArray[np.int64]:
    """The most probable labelling (N,) under `labels` (N, K) that the relations allow.

    Examples are independent but for the relations, so the best world of each component is found
    by looking at all of them, and that of a single relation too large for that in closed form.
    Where the relations of a component too large to be enumerated share members (see
    `relation_factors`), they are settled one after the other, and a label once settled is given up
    only where the next relation leaves no choice: the earlier one may then end up broken.
    """
    logp = np.log(np.clip(labels, 1e-300, None))
    chosen = logp.argmax(axis=1)
    for factor in tied:
        for g, members in enumerate(factor.members.numpy()):
            if isinstance(factor, Factor):
                best = _best_world(factor, g, logp[members])
            else:
                best = _best_of_large(factor, g, logp[members])
            chosen[members] = best
            logp[members, best] += HELD
    return np.asarray(chosen, dtype=np.int64)


def put_on_top(labels: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same soft labels with the `chosen` class of each the most probable one.

    It changes places with the one that was, so that a label is turned with its confidence.
    """
    turned = labels.copy()
    rows = np.flatnonzero(labels.argmax(axis=1) != chosen)
    top = labels[rows].argmax(axis=1)
    turned[rows, top] = labels[rows, chosen[rows]]
    turned[rows, chosen[rows]] = labels[rows, top]
    even = rows[turned[rows].argmax(axis=1) != chosen[rows]]
    turned[even] *= 1 - NUDGE
    turned[even, chosen[even]] += NUDGE
    return turned


def _best_world(factor: Factor, g: int, logp: NDArray[np.float64]) -> NDArray[np.int64]:
    """The best labelling of component `g`, from the log-probabilities (m, K) of its members."""
    worlds = factor.worlds.numpy()
    free = logp.argmax(axis=1)
    # Rounding must not choose another that is as good.
    if factor.log_weights is None and (worlds == free).all(axis=1).any():
        return np.asarray(free, dtype=np.int64)
    score = logp[np.arange(len(logp)), worlds].sum(axis=1)
    if factor.log_weights is not None:
        score = score + factor.log_weights[g].numpy()
    return np.asarray(worlds[score.argmax()], dtype=np.int64)


def _best_of_large(tied: Large, g: int, logp: NDArray[np.float64]) -> NDArray[np.int64]:
    """The best labelling of the members of relation `g`, from their log-probabilities (m, K)."""
    at = np.arange(len(logp))
    free = logp.argmax(axis=1)
    relation = tied.kind(tuple(map(str, at)), label=tied.label)
    if relation.holds(free[None])[0]:
        return np.asarray(free, dtype=np.int64)
    best = np.asarray(_satisfying(tied, logp), dtype=np.int64)
    rest = None if tied.log_rest is None else float(tied.log_rest[g])
    if rest is not None and logp[at, free].sum() + rest > logp[at, best].sum():
        return np.asarray(free, dtype=np.int64)
    return best


def _satisfying(tied: Large, logp: NDArray[np.float64]) -> NDArray[np.int64]:
    """The best labelling that keeps the relation, where the best of all breaks it."""
    m = len(logp)
    at = np.arange(m)
    if tied.kind is Equal:
        return np.full(m, logp.sum(axis=0).argmax())
    apart = logp.copy()
    apart[:, tied.label] = -np.inf
    other = apart.argmax(axis=1)
    gain = logp[:, tied.label] - logp[at, other]
    if tied.kind not in (And, Or):
        # None has the class or several have it; in both cases the likeliest shall have it alone.
        return np.where(at == gain.argmax(), tied.label, other)
    # The last is `on` if all the others are, and else `off`; in Or it is the absence that counts.
    label = np.full(m, tied.label)
    on, off = (label, other) if tied.kind is And else (other, label)
    loss = logp[at, on] - logp[at, off]
    parts = loss[:-1] > 0
    if parts.all():
        parts[loss[:-1].argmin()] = False
    some = np.append(np.where(parts, on[:-1], off[:-1]), off[-1])
    better = logp[at, on].sum() > logp[at, some].sum()
    return on if better else some
