"""Rounds of queries: which target is asked under which shots, seeded and counted beforehand.

Round 0 asks every example zero-shot in every framing that means something without shots. Each
later round asks each target once, in blocks: one ordered list of shots, and the targets asked
under it, which share the whole prompt up to the target. Blocks are drawn at random. The shots of
each class are drawn from the top of the ranking for it by today's labels, the same number for
each. An example that a relation ties to a target is never among its shots: with tied
examples in view, a target could be answered by counting.

Nothing here can receive gold. `labels` are soft labels from the solver, or of a baseline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from consilience.data.arrays import saying
from consilience.data.dataset import Dataset
from consilience.data.random_streams import generator
from consilience.errors import InputError
from consilience.planning.ties import Reach, Ties
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query

SoftLabels = NDArray[np.float64]
"""A probability for each class of each example, shape (examples, classes)."""

Shot = tuple[int, int]
"""An example, by position, and the class that it is shown with."""

ENOUGH = 1.5
"""So many times as many as are shown may be shots of a class that is nobody's likeliest."""

ENOUGH_TO_DRAW_FROM = 4096
"""Where one target needs a draw of its own, it is from at most so many examples.

A draw costs what its pool is long, and with all examples in it a round would cost their square."""

BLOCKS_TRIED = 100
"""A target that has to leave its block is tried in so many others."""

CONTRAST_FLOOR = 0.6
"""The shots of a contrast are examples whose likeliest label was more probable than this."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How queries are planned; part of a run's identity.

    A prompt shows `shots` examples; about `block` targets share a list of shots (a few more if
    some had to leave another block). `contrasts` is the number of contrasts per ordinary query.
    Each is two calls that show `contrast_shots` shots: after many shots a model has made up its
    mind, and flipping one more changes nothing.
    """

    shots: int = 24
    block: int = 40
    contrasts: float = 0.0
    contrast_shots: int = 1

    def __post_init__(self) -> None:
        for name in ("shots", "block", "contrast_shots"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.contrasts <= 1.0:
            raise InputError(f"contrasts is a share from 0 to 1, got {self.contrasts}")


def zero_shot_calls(dataset: Dataset, framings: Sequence[Framing], most: int | None = None) -> int:
    """The number of queries that `zero_shot_round` would make."""
    semantic = sum(framing.semantic for framing in framings)
    return len(dataset) * (semantic if most is None else min(most, semantic))


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
    rng = generator(seed, "shots", round)
    turn = generator(seed, "targets").permutation(len(dataset))
    asked = np.zeros(len(dataset), dtype=bool)
    asked[np.arange(len(dataset)) if targets is None else np.asarray(targets, int)] = True
    drawer = _Drawer(dataset, labels, rng, pool, against, even)
    queries: list[Query] = []
    for f, framing in enumerate(framings):
        mine = asked & ((turn + round) % len(framings) == f)
        blocks = _blocks(mine, settings, drawer)
        _move_conflicts(blocks)
        queries += [
            Query(dataset.ids[target], shots, framing.name)
            for block in blocks
            for target, shots in block.questions(dataset, drawer, min(2, settings.shots))
        ]
    return queries + _contrasts(queries, dataset, labels, settings, drawer)


class _Drawer:
    """Draws shots from the top of the ranking for each class, and knows who is tied.

    A shot of class c is one of the examples for which c is likeliest compared with the other
    classes, whether it is the likeliest of its own or not: answers may all be of one class and
    rank the examples all the same. Who has no answer (1/K for all) is never a shot, and nobody is
    shown with a class that its labels rule out (probability 0).
    """

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
        self.rng, self.k, self.even = rng, k, even
        self.hard = labels.argmax(axis=1)
        self.margin = margins(labels)
        self.allowed = (labels > 0) & saying(labels)[:, None]
        self.cell = np.zeros(n, dtype=np.int64)
        for known in against:
            self.cell = self.cell * k + known
        self.usable = np.zeros(n, dtype=bool)
        self.usable[np.arange(n) if pool is None else np.asarray(pool, int)] = True
        self.usable &= self.allowed.any(axis=1)
        self.ties = Ties(dataset.relations, dataset.index)

    def anybody(self) -> NDArray[np.int64]:
        """All examples, or as many as are enough to draw from, in random order."""
        if len(self.usable) <= ENOUGH_TO_DRAW_FROM:
            return np.arange(len(self.usable), dtype=np.int64)
        return self.some(np.flatnonzero(self.usable))

    def some(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Examples in random order, at most as many as are enough to draw from."""
        if len(examples) <= ENOUGH_TO_DRAW_FROM:
            return self.rng.permutation(examples)
        return self.rng.choice(examples, ENOUGH_TO_DRAW_FROM, replace=False)

    def draw(self, pool: NDArray[np.int64], count: int, taken: Sequence[int] = ()) -> list[Shot]:
        """Up to `count` shots from `pool`, none tied to one of `taken` or to each other.

        The same number for each class (within each cell of the labellings that the shots shall
        say nothing about), or, where they are not to be even, as they come.
        """
        pool = pool[self.usable[pool]]
        cells = [(a, c) for a in np.unique(self.cell[pool]) for c in range(self.k)]
        queues = [
            self._queue(pool[self.cell[pool] == cells[at][0]], cells[at][1], count / len(cells))
            for at in self.rng.permutation(len(cells))
        ]
        if not self.even:
            own = [shot for queue in queues for shot in queue if shot[1] == self.hard[shot[0]]]
            queues = [(own[at] for at in self.rng.permutation(len(own)))]
        blocked = Reach(self.ties, taken)
        chosen: list[Shot] = []
        while queues:
            waiting, queues = queues, []
            for queue in waiting:
                if len(chosen) == count:
                    return chosen
                if (shot := next((s for s in queue if s[0] not in blocked), None)) is not None:
                    chosen.append(shot)
                    blocked.add(shot[0])
                    queues.append(queue)
        return chosen

    def _queue(self, members: NDArray[np.int64], c: int, wanted: float) -> Iterator[Shot]:
        """Those who may be shots of class c, in an order drawn by rank (Gumbel top-k)."""
        members = self.rng.permutation(members[self.allowed[members, c]])
        ranked = members[np.argsort(-self.margin[members, c], kind="stable")]
        own = self.hard[ranked] == c
        least = max(ENOUGH * wanted, len(ranked) / (4 * self.k))
        ranked = ranked[own | (np.arange(len(ranked)) < least)]
        scale = max(wanted, len(ranked) / 4)
        score = self.rng.gumbel(size=len(ranked)) - np.arange(len(ranked)) / scale
        return ((int(i), c) for i in ranked[np.argsort(-score)])


def margins(labels: SoftLabels) -> NDArray[np.float64]:
    """How much likelier each class is than all others together, (N, K), in nats."""
    logq = np.log(np.maximum(labels, 1e-300))
    others = np.log(np.maximum(1 - labels, 1e-300))
    return np.asarray(logq - others)


class _Block:
    """One ordered list of shots and the targets that are asked under it, by index."""

    def __init__(self, targets: list[int], shots: Sequence[Shot], drawer: _Drawer) -> None:
        self.targets = targets
        self.shots = shots
        self.taken = Reach(drawer.ties, (i for i, _ in shots))

    def questions(
        self, dataset: Dataset, drawer: _Drawer, least: int
    ) -> Iterator[tuple[int, tuple[tuple[str, int], ...]]]:
        """Each target with its shots; a target that clashes leaves out the shots it is tied to.

        One that would see fewer than two classes gets a list of its own, and is left out where
        that shows fewer than `least` of them.
        """
        # One list for all, so that a plan takes the memory of its blocks.
        shared, all_classes = _shown(dataset, self.shots), _classes(self.shots)
        for target in self.targets:
            shown, classes = shared, all_classes
            if target in self.taken:
                tied = Reach(drawer.ties, [target])
                mine = [shot for shot in self.shots if shot[0] not in tied]
                shown, classes = _shown(dataset, mine), _classes(mine)
            if classes < min(2, len(self.shots)):
                mine = drawer.draw(drawer.anybody(), len(self.shots), [target])
                shown, classes = _shown(dataset, mine), _classes(mine)
            if classes >= least:
                yield target, shown


def _shown(dataset: Dataset, shots: Sequence[Shot]) -> tuple[tuple[str, int], ...]:
    return tuple((dataset.ids[i], label) for i, label in shots)


def _classes(shots: Sequence[Shot]) -> int:
    return len({label for _, label in shots})


def _blocks(mine: NDArray[np.bool_], settings: PlanSettings, drawer: _Drawer) -> list[_Block]:
    """The targets marked in `mine` in blocks drawn at random, each with its list of shots.

    At random, so that the mean answer of a block is that of the whole but for chance.
    """
    order = drawer.rng.permutation(np.flatnonzero(mine))
    # The best are looked for among enough examples, not among all: a draw costs what its pool is
    # long, and a round has many blocks.
    usable = np.flatnonzero(drawer.usable)
    size = min(len(usable), 64 * settings.shots)
    blocks = []
    count = -(-len(order) // settings.block)
    for part in np.array_split(order, count) if count else []:
        pool = drawer.rng.choice(usable, size=size, replace=False)
        shots = drawer.draw(pool, settings.shots)
        drawn = drawer.rng.permutation(len(shots))
        blocks.append(_Block(part.tolist(), [shots[at] for at in drawn], drawer))
    return blocks


def _move_conflicts(blocks: list[_Block]) -> None:
    """Moves each target that is tied to a shot of its block to the next block where it is not."""
    moves: list[tuple[int, int, int]] = []
    tried = min(len(blocks), BLOCKS_TRIED + 1)
    for b, block in enumerate(blocks):
        for target in block.targets:
            if target in block.taken:
                others = ((b + step) % len(blocks) for step in range(1, tried))
                free = (o for o in others if target not in blocks[o].taken)
                if (home := next(free, None)) is not None:
                    moves.append((b, target, home))
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
        shots = drawer.draw(drawer.some(sure), settings.contrast_shots, [target])
        if not shots:
            continue
        at = int(drawer.rng.integers(len(shots)))
        step = 1 + int(drawer.rng.integers(drawer.k - 1))
        order = drawer.rng.permutation(len(shots))
        shown = [(dataset.ids[shots[o][0]], shots[o][1]) for o in order]
        flipped = [*shown[:at], (shown[at][0], (shown[at][1] + step) % drawer.k), *shown[at + 1 :]]
        twin = Query(queries[q].target, tuple(shown), queries[q].framing)
        made += [twin, replace(twin, shots=tuple(flipped), contrast=at)]
    return made
