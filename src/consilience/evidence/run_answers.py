"""The answers of a run as columns: each round is taken in once, however often evidence is made."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from consilience.data.arrays import Floats, Integers
from consilience.data.dataset import Dataset
from consilience.errors import SolveError
from consilience.evidence.arrays import ShotArrays
from consilience.evidence.context_offsets import ContextNumbers
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.store.rows import Prediction

_Shots = tuple[tuple[str, int], ...]


class AnswerColumns(NamedTuple):
    """T answers that count, one entry each.

    `logprobs` (T, K) as they came, in nats; the positions of `target` and `framing`; in which
    `round`; which list of shots on record was `shown`, −1 for none; `zero` without shots; `bounded`
    where some label is only bounded; `contrast` where it was asked as one; the `mass` of all labels
    together.
    """

    logprobs: Floats
    target: Integers
    framing: Integers
    round: Integers
    shown: Integers
    zero: NDArray[np.bool_]
    bounded: NDArray[np.bool_]
    contrast: NDArray[np.bool_]
    mass: Floats


class RunAnswers:
    """The answers of a run that say something, in the order in which they were asked for.

    An answer counts once, however often the plan came upon it, and one in which every label is
    only bounded says nothing. A shot whose label is negative was shown with a label that nobody
    recorded. `absent` are the predictions planned but not there, `silent` those that say nothing.
    """

    def __init__(self, dataset: Dataset, framings: Sequence[Framing]) -> None:
        self.dataset, self.framings = dataset, framings
        self.queries: list[Query] = []
        self.keys: list[str] = []
        self.absent = self.silent = 0
        self.contexts = ContextNumbers()
        self._position = {framing.name: f for f, framing in enumerate(framings)}
        self._rounds = self._planned = 0
        self._seen: set[str] = set()
        self._columns: list[AnswerColumns] = []
        self._lists: dict[_Shots, int] = {}
        self._on_record: dict[_Shots, int] = {(): -1}
        # Three numbers each, one after the other: as tuples they take ten times the memory.
        self._shots = array("q")

    def add(self, answers: Sequence[tuple[Query, Prediction | None]]) -> None:
        """Takes in the next round; a prediction that is absent is None."""
        self._planned += len(answers)
        new: list[tuple[Query, Prediction]] = []
        for q, p in answers:
            if p is None:
                self.absent += 1
            elif p.key not in self._seen:
                self._seen.add(p.key)
                if any(p.exact):
                    new.append((q, p))
                else:
                    self.silent += 1
        if new:
            self._append(new)
        self._rounds += 1

    def _append(self, new: list[tuple[Query, Prediction]]) -> None:
        queries, predictions = [q for q, _ in new], [p for _, p in new]
        self.queries += queries
        self.keys += [p.key for p in predictions]
        self.contexts.add(queries)
        index = self.dataset.index
        self._columns.append(
            AnswerColumns(
                np.array([p.logprobs for p in predictions], dtype=np.float64),
                np.array([index[q.target] for q in queries], dtype=np.int64),
                np.array([self._position[q.framing] for q in queries], dtype=np.int64),
                np.full(len(new), self._rounds, dtype=np.int64),
                np.array(self._shown(queries), dtype=np.int64),
                np.array([not q.shots for q in queries], dtype=bool),
                np.array([not all(p.exact) for p in predictions], dtype=bool),
                np.array([q.contrast is not None for q in queries], dtype=bool),
                np.array([p.mass for p in predictions], dtype=np.float64),
            )
        )

    def _shown(self, queries: list[Query]) -> list[int]:
        """The number of the list that each shows; new lists are put on record."""
        found: list[int] = []
        last: _Shots | None = None
        for q in queries:
            if q.shots is not last:  # a block shows one list, whose hash takes long
                last = q.shots
                if last not in self._lists:
                    self._lists[last] = self._recorded(last)
                at = self._lists[last]
            found.append(at)
        return found

    def _recorded(self, shots: _Shots) -> int:
        known = tuple(shot for shot in shots if shot[1] >= 0)
        if known not in self._on_record:
            at = self._on_record[known] = len(self._on_record) - 1
            for id, c in known:
                self._shots.extend((at, self.dataset.index[id], c))
        return self._on_record[known]

    @property
    def columns(self) -> AnswerColumns:
        """All answers so far; SolveError where none counts."""
        if not self._columns:
            raise SolveError(
                f"no prediction to learn from: {self._planned} planned, {self.absent} absent, "
                f"{self.silent} with every label only bounded; the store has the reason of each "
                "failure"
            )
        if len(self._columns) > 1:
            joined = zip(*self._columns, strict=True)
            self._columns = [AnswerColumns(*map(np.concatenate, joined))]
        return self._columns[0]

    @property
    def shots(self) -> ShotArrays:
        """The lists of shots that were shown with labels on record."""
        table = np.array(self._shots, dtype=np.int64).reshape(-1, 3)
        return ShotArrays(*(torch.from_numpy(column.copy()) for column in table.T))
