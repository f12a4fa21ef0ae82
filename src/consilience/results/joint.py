"""Several runs about the same examples, of several models, solved together.

Each run brings what speaks for the labels that it ended with, offsets of its prompts off. How much
each counts is told by how far it agrees with the others, list by list (see `agreement`): a run that
ended in another labelling agrees with none of them. Nothing is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from consilience.errors import InputError
from consilience.evidence.evidence import FLIP_FIELDS, PER_PREDICTION, Evidence, rivals_of
from consilience.objective.conditioning import condition
from consilience.results.result import Found
from consilience.results.uncertainty import uncertainty
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.store.runner import CallCounts

_SHOTS = ("shot_example", "shot_label")


def together(runs: Sequence[Found]) -> Found:
    """The labels that the evidence of all `runs` together supports.

    Run, terms, seed and name are those of the first; framings are told apart by the run that they
    are of. InputError where the runs are of other examples or classes, or were calibrated.
    """
    if not runs:
        raise InputError("no runs to solve together; name one or more")
    first = runs[0]
    for other in runs:
        if other.dataset.fingerprint != first.dataset.fingerprint:
            raise InputError(
                f"run {other.run.id} is of other examples or classes than run {first.run.id}; only "
                "runs about the same table can be solved together"
            )
        if other.calibration is not None:
            raise InputError(f"run {other.run.id} is calibrated; solve first, then calibrate")
    if len({other.run.id for other in runs}) < len(runs):
        raise InputError("a run is named twice; its answers would count twice")
    if len(runs) == 1:
        return first
    evidence = reduce(joined, (_named(found) for found in runs)).weighed()
    logq = [np.log(np.maximum(found.solution.labels, 1e-12)) for found in runs]
    start = np.exp(np.mean(logq, axis=0))
    solution = solve(
        evidence, first.terms, seed=first.run.seed, start=start / start.sum(axis=1, keepdims=True)
    )
    labels = torch.from_numpy(solution.labels)[None]
    return replace(
        first,
        framings=tuple(
            replace(framing, name=_tagged(found, framing.name))
            for found in runs
            for framing in found.framings
        ),
        evidence=evidence,
        solution=solution,
        log_odds_scale=float(condition(evidence, labels).scale[0]),
        uncertainty=uncertainty(evidence, first.terms, LBFGS(), solution, seed=first.run.seed),
        saved=sum(found.saved for found in runs),
        asked=sum((found.asked for found in runs), CallCounts()),
        predictions={key: p for found in runs for key, p in found.predictions.items()},
        unanswered={
            id: why
            for id, why in first.unanswered.items()
            if all(id in found.unanswered for found in runs)
        },
    )


def joined(one: Evidence, other: Evidence) -> Evidence:
    """The evidence of both, about the same examples; relations and shares are those of the first.

    Contexts, kinds, rounds and pairs of a flip stay apart. A prediction that is in both counts
    once.
    """
    there = set(one.keys)
    other = other.only(torch.tensor([key not in there for key in other.keys]))
    parts: dict[str, list[Tensor]] = {
        name: [getattr(one, name), getattr(other, name)]
        for name in (*PER_PREDICTION, *_SHOTS, *FLIP_FIELDS, "shot_of", "flip_pair")
    }
    beside = {
        "framing": len(one.framings),
        **{name: _count(getattr(one, name)) for name in ("round", "context", "kind", "flip_pair")},
        **dict.fromkeys(("shot_of", "flip_twin", "flip_contrast"), one.t),
    }
    for name, more in beside.items():
        mine = parts[name][1]
        # −1 stands for no context at all.
        parts[name][1] = torch.where(mine >= 0, mine + more, mine)
    made: dict[str, Any] = {name: torch.cat(both) for name, both in parts.items()}
    total = one.t + other.t
    return replace(
        one,
        **made,
        rivals=rivals_of(made["target"].numpy()),
        framings=(*one.framings, *other.framings),
        keys=(*one.keys, *other.keys),
        bias={**one.bias, **other.bias},
        unsure=one.unsure + other.unsure,
        absent=one.absent + other.absent,
        silent=one.silent + other.silent,
        mean_mass=(one.t * one.mean_mass + other.t * other.mean_mass) / total,
        leaning=max(one.leaning, other.leaning),
        shared=(one.t * one.shared + other.t * other.shared) / total,
    )


def _count(numbers: Tensor) -> int:
    return int(numbers.max()) + 1 if len(numbers) else 0


def _tagged(found: Found, name: str) -> str:
    return f"{found.run.id[:6]} {name}"


def _named(found: Found) -> Evidence:
    """The evidence of a run, its framings and what was taken out of them told apart by the run."""
    evidence = found.evidence
    return replace(
        evidence,
        framings=tuple(_tagged(found, name) for name in evidence.framings),
        bias={_tagged(found, name): taken for name, taken in evidence.bias.items()},
    )
