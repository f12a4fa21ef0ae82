"""What a prompt adds to all answers, whatever is asked, estimated without labels and taken out.

Three ways, by name in `BIAS_METHODS`:

- ``contexts`` (the default): each context (a list of shots under one framing) has an offset of its
  own, see `context_offsets`. It holds the liking for label names, for the label shown last, and all
  else that does not depend on the target.
- ``paired``: over a family of framings each name stands for each class equally
  often, so what a name gets on average, whatever it stands for, is liking. Nothing is assumed
  about how frequent the classes are. Where a family was not asked in all its framings nothing
  can be told, and nothing is taken out.
- ``none``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from consilience.data.arrays import Floats
from consilience.evidence.context_offsets import Contexts, fit_offsets
from consilience.prompts.framing import Framing

Bias = dict[str, dict[str, float] | None]
"""Nats taken from each label name, by family (or framing) and shots; None where not known."""

BIAS_METHODS = ("contexts", "paired", "none")
"""The ways to take out what a prompt adds to all answers."""


def unbiased(
    raw: Floats,
    framing: NDArray[np.int64],
    target: NDArray[np.int64],
    zero: NDArray[np.bool_],
    bounded: NDArray[np.bool_],
    framings: Sequence[Framing],
    method: str,
    contexts: Contexts,
) -> tuple[Floats, Bias]:
    """`raw` (T, K), normalised, without what the prompts add to it; and what was taken out."""
    logp = raw.copy()
    bias: Bias = {}
    if method == "none":
        return logp, bias
    if method == "contexts":
        return _aligned(raw, target, bounded, framings, contexts)
    for family in dict.fromkeys(f.family for f in framings):
        members = [f for f, made in enumerate(framings) if made.family == family]
        for shown, chosen in (("zero-shot", zero), ("with shots", ~zero)):
            of_family = chosen & np.isin(framing, members)
            if not of_family.any():
                continue
            liking = _liking(
                raw, framing, target, of_family & ~bounded, [framings[f] for f in members], members
            )
            bias[f"{family}, {shown}"] = liking
            if liking is None:
                continue
            for f in members:
                taken = np.array([liking[name] for name in framings[f].label_names])
                logp[of_family & (framing == f)] -= taken
    return np.asarray(log_softmax(logp, axis=1)), bias


def _aligned(
    raw: Floats,
    target: NDArray[np.int64],
    bounded: NDArray[np.bool_],
    framings: Sequence[Framing],
    contexts: Contexts,
) -> tuple[Floats, Bias]:
    """`raw` (T, K) less the offset of each context, and the mean offset of each kind of context."""
    offsets = fit_offsets(raw - raw.mean(axis=1, keepdims=True), target, contexts, ~bounded)
    names = {made.name: made.label_names for made in framings}
    bias: Bias = {}
    for group, taken in offsets.groups.items():
        name = group.partition(", ")[0]
        bias[group] = dict(zip(names[name], taken.tolist(), strict=True))
    return np.asarray(log_softmax(raw - offsets.taken, axis=1)), bias


def _liking(
    raw: Floats,
    framing: NDArray[np.int64],
    target: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    family: Sequence[Framing],
    members: Sequence[int],
) -> dict[str, float] | None:
    """What each name gets on average whatever it stands for, centred, in nats; None if unknown.

    Counted over the examples that were asked in every framing of the family (their own signal
    cancels exactly) where these are at least half of those asked in any one; else over all (it
    cancels on average, because chance decided who was asked how). Bounds are not values, so
    bounded predictions do not take part.
    """
    # A family in which a name keeps its class cannot tell liking from signal.
    stands_for = {
        name: {f.label_names.index(name) for f in family if name in f.label_names}
        for name in family[0].label_names
    }
    if any(len(classes) < raw.shape[1] for classes in stands_for.values()):
        return None
    asked_in = [set(target[chosen & (framing == f)].tolist()) for f in members]
    paired = set.intersection(*asked_in)
    if not all(asked_in):
        return None
    most = max(len(asked) for asked in asked_in)
    use = chosen & np.isin(target, sorted(paired)) if 2 * len(paired) >= most else chosen
    total = dict.fromkeys(stands_for, 0.0)
    for f, made in zip(members, family, strict=True):
        rows = use & (framing == f)
        # Per example first: one asked more often in one framing must not tilt the balance.
        index, inverse, counts = np.unique(target[rows], return_inverse=True, return_counts=True)
        sums = np.zeros((len(index), raw.shape[1]))
        np.add.at(sums, inverse, raw[rows])
        mean = (sums / counts[:, None]).mean(axis=0)
        for c, name in enumerate(made.label_names):
            total[name] += float(mean[c]) / len(members)
    centre = float(np.mean(list(total.values())))
    return {name: value - centre for name, value in total.items()}
