"""Which target is asked under which shots: rounds of queries, seeded and countable, at no cost.

Round 0 asks every example zero-shot in every framing that means something without shots. Each
later round asks each target once, in blocks: one ordered list of shots, and the targets asked
under it, which share the whole prompt up to the target. Shots are drawn by confidence, half from
the block's own neighbourhood and half from everywhere (bridges), evenly over the predicted
classes, with the labels of today's solution. An example that a relation ties to a target is never
among its shots: with its mates in view a target could be answered by counting.

Nothing here can receive gold. `labels` are soft labels from the solver, or of a baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from consilience.errors import InputError
from consilience.examples import Dataset
from consilience.grouping import neighbour_groups
from consilience.prompts import Framing
from consilience.query import Query
from consilience.relations import mates

SoftLabels = NDArray[np.float64]
"""A probability for each class of each example, shape (examples, classes)."""

STREAM = 10
"""What tells the random numbers of this module from those of others that use the same seed."""

CONTRAST_FLOOR = 0.6
"""A shot is flipped in a contrast only where its label was more probable than this."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How queries are planned; part of a run's identity.

    `shots` examples are shown in a prompt, `bridges` of them from anywhere and the others from
    the neighbourhood of the block; about `block` targets share a list of shots (a few more
    where some had to leave another block); `group` is the size of a neighbourhood. `contrasts`
    is the number of contrasts per ordinary query, each of them two calls that show
    `contrast_shots` shots: after many shots a model is settled, and one more flipped says nothing.
    """

    shots: int = 24
    bridges: int = 12
    block: int = 40
    group: int = 10
    contrasts: float = 0.0
    contrast_shots: int = 1

    def __post_init__(self) -> None:
        lowest = {"shots": 1, "bridges": 0, "block": 1, "group": 1, "contrast_shots": 1}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.bridges > self.shots:
            raise InputError(f"bridges ({self.bridges}) are shots, so at most {self.shots}")
        if not 0.0 <= self.contrasts <= 1.0:
            raise InputError(f"contrasts is a share from 0 to 1, got {self.contrasts}")


def zero_shot_round(
    dataset: Dataset, framings: Sequence[Framing], most: int | None = None
) -> list[Query]:
    """Every example under every framing that means something without shots, no shots shown.

    Or under `most` of these framings, which then take turns.
    """
    semantic = [framing for framing in framings if framing.semantic]
    most = len(semantic) if most is None else min(most, len(semantic))
    return [
        Query(target, (), framing.name)
        for f, framing in enumerate(semantic)
        # The ids are hashes, so their order is as good as a draw.
        for i, target in enumerate(dataset.ids)
        if (f - i) % len(semantic) < most
    ]


def shot_round(
    dataset: Dataset,
    framings: Sequence[Framing],
    vectors: NDArray[np.float64],
    labels: SoftLabels,
    *,
    round: int,
    seed: int,
    settings: PlanSettings,
    targets: Sequence[int] | None = None,
    pool: Sequence[int] | None = None,
    against: Sequence[NDArray[np.int64]] = (),
    even: bool = True,
) -> list[Query]:
    """One query for each of `targets` (all by default), and the contrasts that go with them.

    A target that is tied to all other examples is not asked. The framing of a target moves on by
    one with each round, so that over the rounds each target meets all of them. Shots come from
    `pool` (all by default). `against` are labellings, (N,) each, that the shots shall say nothing
    about: among the shots of each class all their labels are equally frequent. Unless they are
    to be `even` the classes are as frequent among the shots as in the pool.
    """
    rng = np.random.default_rng([seed, STREAM, round])
    turn = np.random.default_rng([seed, STREAM + 1]).permutation(len(dataset))
    asked = np.zeros(len(dataset), dtype=bool)
    asked[np.arange(len(dataset)) if targets is None else np.asarray(targets, int)] = True
    groups = neighbour_groups(vectors, settings.group, rng)
    drawer = _Drawer(dataset, labels, rng, pool, against, even)
    queries: list[Query] = []
    for f, framing in enumerate(framings):
        mine = asked & ((turn + round) % len(framings) == f)
        blocks = _blocks(groups, mine, settings, drawer)
        _move_conflicts(blocks, drawer)
        queries += [
            Query(dataset.ids[target], shots, framing.name)
            for block in blocks
            for target, shots in block.questions(dataset, drawer)
            if shots
        ]
    return queries + _contrasts(queries, dataset, labels, settings, drawer)


class _Drawer:
    """Draws shots by confidence, evenly over the predicted classes, and knows who is tied."""

    def __init__(
        self,
        dataset: Dataset,
        labels: SoftLabels,
        rng: np.random.Generator,
        pool: Sequence[int] | None = None,
        against: Sequence[NDArray[np.int64]] = (),
        even: bool = True,
    ) -> None:
        n, k = labels.shape
        if n != len(dataset) or k != dataset.task.k:
            raise InputError(f"labels of shape {labels.shape} for {dataset!r}")
        self.rng = rng
        self.k = k
        self.hard = labels.argmax(axis=1)
        self.cell = self.hard.copy() if even else np.zeros_like(self.hard)
        for known in against:
            self.cell = self.cell * k + known
        self.usable = np.zeros(n, dtype=bool)
        self.usable[np.arange(n) if pool is None else np.asarray(pool, int)] = True
        spread = (labels.max(axis=1) - 1 / k) / (1 - 1 / k)
        # Squared, so that the confident are clearly preferred; never zero, so that at the start,
        # where nothing is known, everybody can be drawn.
        self.weight = spread**2 + 1e-6
        tied = mates(dataset.relations)
        self.tied = [
            frozenset(dataset.index[m] for m in tied.get(id, frozenset())) | {i}
            for i, id in enumerate(dataset.ids)
        ]

    def draw(self, pool: NDArray[np.int64], count: int, taken: list[int]) -> list[int]:
        """Up to `count` more shots from `pool`, none tied to one of `taken` or to each other."""
        # Gumbel top-k: the order of a weighted draw without replacement.
        pool = pool[self.usable[pool]]
        score = np.log(self.weight[pool]) + self.rng.gumbel(size=len(pool))
        ranked = pool[np.argsort(-score)].tolist()
        cells = self.rng.permutation(np.unique(self.cell))
        queues = [[i for i in ranked if self.cell[i] == c] for c in cells]
        blocked = set().union(*(self.tied[i] for i in taken)) if taken else set()
        chosen: list[int] = []
        while len(chosen) < count and any(queues):
            for queue in queues:
                while queue and queue[0] in blocked:
                    queue.pop(0)
                if queue and len(chosen) < count:
                    chosen.append(queue.pop(0))
                    blocked |= self.tied[chosen[-1]]
        return chosen


@dataclass(slots=True, eq=False)
class _Block:
    """One ordered list of shots and the targets that are asked under it, by index."""

    targets: list[int]
    shots: list[int]

    def clashes(self, target: int, drawer: _Drawer) -> bool:
        return not drawer.tied[target].isdisjoint(self.shots)

    def questions(
        self, dataset: Dataset, drawer: _Drawer
    ) -> list[tuple[int, tuple[tuple[str, int], ...]]]:
        """Each target with its shots; a target that clashes leaves out the shots it is tied to.

        One that none are left for gets a list of its own.
        """
        asked = []
        everywhere = np.arange(len(dataset), dtype=np.int64)
        for target in self.targets:
            mine = [i for i in self.shots if i not in drawer.tied[target]]
            mine = mine or drawer.draw(everywhere, len(self.shots), [target])
            asked.append((target, tuple((dataset.ids[i], int(drawer.hard[i])) for i in mine)))
        return asked


def _blocks(
    groups: Sequence[NDArray[np.int64]],
    mine: NDArray[np.bool_],
    settings: PlanSettings,
    drawer: _Drawer,
) -> list[_Block]:
    """The targets marked in `mine`, cut into blocks along the order of the groups, with shots."""
    order = np.concatenate(groups)
    place = np.concatenate([np.full(len(g), p) for p, g in enumerate(groups)])
    chosen = np.flatnonzero(mine[order])
    everywhere = np.arange(len(order), dtype=np.int64)
    blocks = []
    count = -(-len(chosen) // settings.block)
    for part in np.array_split(chosen, count) if count else []:
        near = np.concatenate(groups[place[part[0]] : place[part[-1]] + 1])
        shots = drawer.draw(near, settings.shots - settings.bridges, [])
        # Bridges are looked for among enough examples to find confident ones, not among all:
        # a draw costs what its pool is long, and a round has many blocks.
        size = min(len(everywhere), 64 * settings.shots)
        pool = drawer.rng.choice(everywhere, size=size, replace=False)
        shots += drawer.draw(pool, settings.shots - len(shots), shots)
        blocks.append(_Block(order[part].tolist(), drawer.rng.permutation(shots).tolist()))
    return blocks


def _move_conflicts(blocks: list[_Block], drawer: _Drawer) -> None:
    """Moves each target that is tied to a shot of its block to the next block where it is not."""
    moves: list[tuple[int, int, int]] = []
    for b, block in enumerate(blocks):
        for target in block.targets:
            if block.clashes(target, drawer):
                others = (blocks[(b + step) % len(blocks)] for step in range(1, len(blocks)))
                free = (o for o in others if not o.clashes(target, drawer))
                if (home := next(free, None)) is not None:
                    moves.append((b, target, blocks.index(home)))
    for b, target, to in moves:
        blocks[b].targets.remove(target)
        blocks[to].targets.append(target)


def _contrasts(
    queries: Sequence[Query],
    dataset: Dataset,
    labels: SoftLabels,
    settings: PlanSettings,
    drawer: _Drawer,
) -> list[Query]:
    """For a share of the queries' targets, a query with few shots, twice: once with one flipped."""
    made: list[Query] = []
    wanted = int(settings.contrasts * len(queries))
    sure = np.flatnonzero(labels.max(axis=1) > CONTRAST_FLOOR)
    for q in drawer.rng.permutation(len(queries))[:wanted] if len(sure) else []:
        target = dataset.index[queries[q].target]
        shots = drawer.draw(drawer.rng.permutation(sure), settings.contrast_shots, [target])
        if not shots:
            continue
        at = int(drawer.rng.integers(len(shots)))
        step = 1 + int(drawer.rng.integers(drawer.k - 1))
        shown = [(dataset.ids[i], int(drawer.hard[i])) for i in drawer.rng.permutation(shots)]
        flipped = [*shown[:at], (shown[at][0], (shown[at][1] + step) % drawer.k), *shown[at + 1 :]]
        twin = Query(queries[q].target, tuple(shown), queries[q].framing)
        made += [twin, replace(twin, shots=tuple(flipped), contrast=at)]
    return made
