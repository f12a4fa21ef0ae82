"""Several runs about the same examples, of several models, solved together.

Each run brings what speaks for the labels that it ended with, offsets of its prompts off. How much
each counts is told by how far it agrees with the others, list by list (see `agreement`): a run that
ended in another labelling agrees with none of them. Nothing is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from consilience.errors import InputError
from consilience.evidence.evidence import Evidence, Tally
from consilience.objective.conditioning import condition
from consilience.results.result import Found
from consilience.results.uncertainty import uncertainty
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.store.runner import CallCounts


def together(runs: Sequence[Found]) -> Found:
    """The labels that the evidence of all `runs` together supports.

    Run, terms, seed and name are those of the first; framings are named after their run; a
    correction in any of them holds. InputError if the runs have different examples or classes,
    were calibrated, or have different corrections of one example.
    """
    _refuse_unlike(runs)
    first = runs[0]
    if len(runs) == 1:
        return first
    models = len({found.run.model for found in runs}) > 1
    corrections = _corrections(runs)
    held = {first.dataset.index[id]: label for id, label in corrections.items()}
    evidence = reduce(joined, (_named(found) for found in runs)).holding(held)
    evidence = evidence.weighed(models=models)
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
        corrections=corrections,
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


def _refuse_unlike(runs: Sequence[Found]) -> None:
    """InputError where runs cannot be solved together."""
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


def _corrections(runs: Sequence[Found]) -> dict[str, int]:
    """The corrections of all runs; InputError where two of them contradict each other."""
    made: dict[str, int] = {}
    for found in runs:
        for id, label in found.corrections.items():
            if made.setdefault(id, label) != label:
                classes = found.dataset.task.classes
                raise InputError(
                    f"row {found.dataset.own_id(id)} was corrected to {classes[made[id]]!r} in one "
                    f"run and to {classes[label]!r} in run {found.run.id}; take one of them back"
                )
    return made


def joined(one: Evidence, other: Evidence) -> Evidence:
    """The evidence of both, about the same examples; relations and shares are those of the first.

    Contexts, kinds, rounds and pairs of a flip stay apart. A prediction that is in both counts
    once.
    """
    there = set(one.predictions.keys)
    other = other.only(torch.tensor([key not in there for key in other.predictions.keys]))
    first, more, total = one.predictions, other.predictions, one.t + other.t
    more = replace(
        more,
        framing=more.framing + len(one.framings),
        shown=torch.where(more.shown >= 0, more.shown + len(one.shots.lengths), more.shown),
        round=_after(first.round, more.round),
        context=_after(first.context, more.context),
        kind=_after(first.kind, more.kind),
    )
    shots = replace(other.shots, list=other.shots.list + len(one.shots.lengths))
    contrasts = replace(
        other.contrasts,
        twin=other.contrasts.twin + one.t,
        flipped=other.contrasts.flipped + one.t,
        pair=_after(one.contrasts.pair, other.contrasts.pair),
    )
    return replace(
        one,
        framings=(*one.framings, *other.framings),
        predictions=first.followed_by(more),
        shots=one.shots.followed_by(shots),
        contrasts=one.contrasts.followed_by(contrasts),
        tally=Tally(
            bias={**one.tally.bias, **other.tally.bias},
            absent=one.tally.absent + other.tally.absent,
            silent=one.tally.silent + other.tally.silent,
            unsure=one.tally.unsure + other.tally.unsure,
            mean_mass=(one.t * one.tally.mean_mass + other.t * other.tally.mean_mass) / total,
        ),
        leaning=max(one.leaning, other.leaning),
        shared=(one.t * one.shared + other.t * other.shared) / total,
    )


def _after(first: Tensor, more: Tensor) -> Tensor:
    """Numbers that follow on those of the first; −1, which stands for none at all, stays."""
    return torch.where(more >= 0, more + _count(first), more)


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
        tally=replace(
            evidence.tally,
            bias={_tagged(found, name): taken for name, taken in evidence.tally.bias.items()},
        ),
    )
