"""The contexts of a finished run, best first, and what each adds to all its answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from consilience.data.arrays import Floats
from consilience.errors import InputError
from consilience.evidence.evidence import Evidence
from consilience.results.result import Found
from consilience.store.database import Store

ENOUGH_TARGETS = 10
"""The offset of a context is known well from so many answers."""


@dataclass(frozen=True, slots=True)
class KnownContext:
    """A list of shots under a framing, its offset (K) in nats, and how its answers counted.

    `weight` and `relevance` are those of its predictions in the run, `targets` how many there were.
    """

    framing: str
    shots: tuple[tuple[str, int], ...]
    offset: Floats
    weight: float
    relevance: float
    targets: int


def known_contexts(found: Found, store: Store) -> list[KnownContext]:
    """The contexts that a run asked in: those whose answers counted most first, framings in turn.

    Prompts without shots come last. InputError where the store has none of the run's answers.
    """
    e = found.evidence
    predictions = e.predictions
    mine = {key for rows in store.rounds(found.run.id) for key, _ in rows}
    raw = store.predictions(predictions.keys)
    order = list(found.orientation.order) if found.orientation else list(range(e.k))
    groups: dict[tuple[int, int], list[int]] = {}
    usable = ((predictions.shown >= 0) | predictions.zero) & ~predictions.brief
    for t in torch.nonzero(usable).flatten().tolist():
        if predictions.keys[t] in mine and raw[t] is not None:
            context = int(predictions.context[t]), int(predictions.framing[t])
            groups.setdefault(context, []).append(t)
    shots = _lists_of_shots(e)
    made = []
    for (_, framing), members in groups.items():
        said = np.array([raw[t].logprobs for t in members])[:, order]  # type: ignore[union-attr]
        read = predictions.logp[members].numpy()
        offsets = said - said.mean(axis=1, keepdims=True)
        offsets = offsets - (read - read.mean(axis=1, keepdims=True))
        made.append(
            KnownContext(
                framing=e.framings[framing],
                shots=tuple(shots.get(int(predictions.shown[members[0]]), ())),
                offset=offsets.mean(axis=0),
                weight=float(predictions.weight[members].mean()),
                relevance=float(found.solution.relevance[members].mean()),
                targets=len(members),
            )
        )
    if not made:
        raise InputError(
            f"the store has no answers of run {found.run.id} to compare new ones with; "
            "name the store that it was asked in"
        )
    made.sort(key=lambda c: (bool(c.shots), c.targets >= ENOUGH_TARGETS, c.weight * c.relevance))
    made.reverse()
    return _in_turn(made)


def _lists_of_shots(evidence: Evidence) -> dict[int, list[tuple[str, int]]]:
    """The shots of each list, by its number, as (id, label)."""
    found: dict[int, list[tuple[str, int]]] = {}
    shots = evidence.shots
    columns = (shots.list.tolist(), shots.example.tolist(), shots.label.tolist())
    for at, example, label in zip(*columns, strict=True):
        found.setdefault(at, []).append((evidence.ids[example], label))
    return found


def _in_turn(contexts: list[KnownContext]) -> list[KnownContext]:
    """The best of each framing, then the second of each, and so on; with shots before without."""
    place: dict[tuple[str, bool], int] = {}
    ranked: list[tuple[bool, int, int, KnownContext]] = []
    for context in contexts:
        kind = context.framing, bool(context.shots)
        place[kind] = place.get(kind, -1) + 1
        ranked.append((not context.shots, place[kind], len(ranked), context))
    return [context for *_, context in sorted(ranked, key=lambda one: one[:3])]
