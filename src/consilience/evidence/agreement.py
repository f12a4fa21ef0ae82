"""What wordings and lists of shots are worth, by how far their answers agree with all the others.

A wording that a model does not understand (a negation, letters) gives answers that agree with
nothing, or with the opposite; a list of shots may say one thing where all others say another.
Agreement is held out: the answers of one group (a framing, with or without shots; then each list)
are compared with the mean of all other answers about the same examples, offsets taken off. With

    z_t = λ_g a_i + noise of variance ψ_g

the best linear estimate of the signal a weighs a prediction by λ_g / ψ_g (Thurstone 1951, "Bartlett
scores"). Groups that agree with the others by less than nothing count for nothing.

That takes what spreads further for noisier, which holds of the answers of one model. Of several
models one that speaks in more nats is surer: there a nat is a nat, a group is weighed by its
correlation with the others, ρ_g / (1 − ρ_g²), and none is worth more than the usual one, so that
two models that repeat each other do not vouch for each other.

Answers to the same example in the same wording share what the wording makes of it, and are not
independent: n of them are worth n / (1 + (n − 1) ρ), ρ their correlation once the signal is off
(Kish 1965, the design effect).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from consilience.data.arrays import Floats, Integers, row_sums
from consilience.evidence.context_offsets import Contexts

ZERO_SHOT_WEIGHT = 0.5
"""All zero-shot predictions of an example, with those that are part of a contrast (a few shots),
together weigh as half a prediction with shots, where their weights do not say otherwise."""

PRIOR = 30
"""A group is taken to agree as the average one does until so many examples say otherwise."""

MOST = 3.0
"""No group counts for more than so many times the average one."""

CLOSEST = 0.95
"""A correlation above this counts as this."""

_STEPS = 20
"""Rounds in which weights and signal are fitted to each other."""


def prediction_weights(
    z: Floats, target: Integers, contexts: Contexts, wording: Integers, shared: float
) -> Floats:
    """The weight of each of T predictions, 1 on average, from centred log-probabilities (T, K).

    By wording alone; `wording` (T,) tells framings apart, `shared` is their `shared_error`.
    """
    every = np.ones(len(z))
    if not len(z):
        return every
    every = _agreeing(z, target, contexts.group, every)
    return _shared(target, wording, every, shared)


def list_weights(
    z: Floats, target: Integers, contexts: Contexts, weight: Floats, *, models: bool = False
) -> Floats:
    """The weights (T,) by wording times how far each list of shots agrees with the others.

    For predictions that are all about one labelling: of several, the one asked about most would
    outvote the others. `models`: whether they are of several models.
    """
    if not len(z):
        return weight
    lists = np.where(contexts.context >= 0, contexts.context, -1 - contexts.group)
    _, part = np.unique(lists, return_inverse=True)
    made = weight * _agreeing(z, target, part.reshape(-1), weight, models=models)
    return np.asarray(made / max(float(made.mean()), 1e-12))


def _agreeing(
    z: Floats, target: Integers, group: Integers, weight: Floats, *, models: bool = False
) -> Floats:
    """How much the answers of each group agree with the others, (T,), 1 on average over them."""
    each = np.ones(int(group.max()) + 1)
    parts = _parts(z, target, group)
    for _ in range(_STEPS):
        now = each[group] * weight
        before, each = each, _group_weights(z, target, parts, now, len(each), models=models)
        if np.abs(each - before).max() < 1e-4:
            break
    return np.asarray(each[group])


class _Part(NamedTuple):
    """The answers of a group: its number, their rows (R) and centred log-probabilities (R, K).

    `targets` (M,) are its examples, `at` (R,) says which of them each answer is about.
    """

    group: int
    rows: Integers
    z: Floats
    targets: Integers
    at: Integers


def _parts(z: Floats, target: Integers, group: Integers) -> list[_Part]:
    order = np.argsort(group, kind="stable")
    found = []
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        mine, at = np.unique(target[rows], return_inverse=True)
        own = np.take(z, rows, axis=0)
        found.append(_Part(int(group[rows[0]]), rows, own, mine, at.reshape(-1)))
    return found


def _group_weights(
    z: Floats, target: Integers, parts: list[_Part], now: Floats, groups: int, *, models: bool
) -> Floats:
    """λ/ψ of each group against the signal that the others give, 1 on average, shrunk to that.

    `now` (T,) is how much each answer counts so far. Of several `models` ρ/(1 − ρ²), and 1 at most.
    """
    n = int(target.max()) + 1
    every, asked = row_sums(target, now[:, None] * z, n), np.bincount(target, now, n)
    found, seen = np.zeros(groups), np.zeros(groups)
    for g, rows, said, mine, at in parts:
        counts = now[rows]
        own = row_sums(at, counts[:, None] * said, len(mine))
        rest = asked[mine] - np.bincount(at, counts, len(mine))
        there = rest > 1e-9
        seen[g] = there.sum()
        if seen[g] < 2:
            continue
        signal = (np.take(every, mine, axis=0) - own) / np.maximum(rest, 1e-9)[:, None]
        heard = np.take(signal, at, axis=0)
        if not there.all():  # what nobody else answered about tells neither agreement nor noise
            both = np.flatnonzero(there[at])
            heard, said = np.take(heard, both, axis=0), np.take(said, both, axis=0)
        found[g] = _worth(heard, said, models=models)
    known = seen >= 2
    usual = float(np.average(found[known], weights=seen[known])) if known.any() else 0.0
    if usual <= 0:
        return np.ones(groups)
    if models:  # two that repeat each other say nothing of what is usual
        usual = min(usual, float(np.median(found[known & (found > 0)])))
    shrunk = (seen * found / usual + PRIOR) / (seen + PRIOR)
    shrunk = np.where((found <= 0) & known, shrunk * PRIOR / (seen + PRIOR), shrunk)
    return np.asarray(np.minimum(shrunk, 1.0 if models else MOST))


def _worth(heard: Floats, said: Floats, *, models: bool) -> float:
    """λ/ψ of answers `said` against the signal `heard`, (R, K) both; ρ/(1 − ρ²) of `models`."""
    if models:
        spread = np.sqrt((said**2).sum() * (heard**2).sum())
        rho = float(np.clip((said * heard).sum() / max(spread, 1e-9), 0, CLOSEST))
        return rho / (1 - rho**2)
    slope = (said * heard).sum() / max((heard**2).sum(), 1e-9)
    return float(max(slope, 0.0) / max(((said - slope * heard) ** 2).mean(), 1e-3))


def _shared(target: Integers, wording: Integers, weight: Floats, rho: float) -> Floats:
    """Weights divided by the design effect of answers that share example and wording."""
    cell = target * (int(wording.max(initial=0)) + 1) + wording
    _, inverse, count = np.unique(cell, return_inverse=True, return_counts=True)
    n = count[inverse]
    made = weight / (1 + (n - 1) * rho)
    return np.asarray(made / max(made.mean(), 1e-12))


def shared_error(z: Floats, target: Integers, wording: Integers) -> float:
    """The correlation of what two answers in one wording about one example have beside the signal.

    From 0 to 1; 0 where there is only one wording, for then it cannot be told from the signal.
    """
    if not len(z) or wording.max() == 0:
        return 0.0
    n, words = int(target.max()) + 1, int(wording.max()) + 1
    cell = wording * n + target
    total = row_sums(cell, z, words * n).reshape(words, n, -1)
    count = np.bincount(cell, minlength=words * n).reshape(words, n)
    mean = total / np.maximum(count, 1)[..., None]
    there = count >= 1
    # Within cells: noise alone. Between the wordings of an example: noise and what they share.
    left = z - np.take(mean.reshape(words * n, -1), cell, axis=0)
    spare = float(np.maximum(count - 1, 0).sum())
    wordings = there.sum(axis=0)
    wide = wordings > 1
    if not wide.any() or not spare:
        return 0.0
    noise = float((left**2).sum()) / spare
    both = there[:, wide, None]
    middle = np.where(both, mean[:, wide], 0.0).sum(axis=0) / wordings[wide, None]
    apart = np.where(both, mean[:, wide] - middle, 0.0)
    degrees = float((wordings[wide] - 1).sum())
    # An example's m means about their own mean: noise of 1 − 1/m of that in each of them.
    told = 1 / np.maximum(count[:, wide], 1) * (1 - 1 / wordings[wide])
    expected = noise * float(told[there[:, wide]].sum()) / degrees
    shared = max(float((apart**2).sum()) / degrees - expected, 0.0)
    return shared / max(shared + noise, 1e-9)
