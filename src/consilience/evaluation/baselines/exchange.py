"""The exchange of a method that asks in many small steps: what it has asked, and what was said.

A method that decides after each answer cannot wait until all answers are there to take the liking
for label names out of them. It is estimated from those so far, and anew whenever there are a
tenth more.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from consilience.data.arrays import Floats, few_log_softmax
from consilience.errors import ModelError
from consilience.evaluation.baselines.base import BaselineContext, Rounds
from consilience.evidence.context_offsets import ContextNumbers
from consilience.evidence.label_bias import unbiased
from consilience.models.base import Answer, Completion
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.store.rows import Prediction
from consilience.store.runner import Progress, Silent

FEWEST_PER_CONTEXT = 16
"""A liking is taken out once so many examples were asked in each framing of the family.

From fewer, what the examples are could be taken for a liking.
"""


class Exchange:
    """Queries with their predictions, each query asked once; a block shows its progress as one.

    `total` is the number of queries that are expected.
    """

    def __init__(self, bench: BaselineContext, total: int) -> None:
        self.bench = bench
        self.total = total
        self.heard: dict[Query, Prediction | None] = {}
        self.framing = {framing.name: f for f, framing in enumerate(bench.framings)}
        self.k = bench.data.task.k
        self.watch = bench.progress or Silent()
        # Nats to take from each class, zero-shot and with shots, in each framing.
        self.liking = np.zeros((2, len(self.framing), self.k))
        self._learnt_from = 0

    def __enter__(self) -> Self:
        self.watch.start(self.total, 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.watch.stop()

    @property
    def spent(self) -> int:
        """The number of queries so far."""
        return len(self.heard)

    @property
    def rounds(self) -> Rounds:
        """All queries and predictions, as one round."""
        return [list(self.heard.items())]

    def unheard(self, queries: Sequence[Query]) -> list[Query]:
        """Those that were not asked yet, each once."""
        return [query for query in dict.fromkeys(queries) if query not in self.heard]

    def ask(self, queries: Sequence[Query]) -> Floats:
        """The log-probabilities (Q, K) of each query as answered, NaN where nothing was said."""
        if new := self.unheard(queries):
            self.heard |= dict(self.bench.asked(new, _Part(self.watch)))
            self._learn()
        return np.array([self._raw(self.heard[q]) for q in queries]).reshape(-1, self.k)

    def read(self, raw: Floats, framing: NDArray[np.int64], *, zero: bool = False) -> Floats:
        """The log-probabilities without the liking for label names, as far as it is known today."""
        return few_log_softmax(raw - self.liking[0 if zero else 1, framing])

    def conditionals(self, queries: Sequence[Query], *, zero: bool = False) -> Floats:
        """Asks, and reads what was answered; `zero` says that no query shows a shot."""
        framing = np.array([self.framing[q.framing] for q in queries], dtype=np.int64)
        return self.read(self.ask(queries), framing, zero=zero)

    def _raw(self, prediction: Prediction | None) -> Floats:
        if prediction is None or not any(prediction.exact):
            return np.full(self.k, np.nan)
        return few_log_softmax(np.array(prediction.logprobs, dtype=np.float64))

    def _learn(self) -> None:
        if len(self.heard) < 1.1 * self._learnt_from:
            return
        self._learnt_from = len(self.heard)
        rows = [(q, p) for q, p in self.heard.items() if p is not None and any(p.exact)]
        if not rows:
            return
        zero = np.array([not q.shots for q, _ in rows], dtype=bool)
        framing = np.array([self.framing[q.framing] for q, _ in rows], dtype=np.int64)
        target = np.array([self.bench.data.index[q.target] for q, _ in rows], dtype=np.int64)
        contexts = ContextNumbers()
        contexts.add([q for q, _ in rows])
        _, bias = unbiased(
            np.array([self._raw(p) for _, p in rows]),
            framing,
            target,
            zero,
            np.array([not all(p.exact) for _, p in rows], dtype=bool),
            self.bench.framings,
            self.bench.settings.bias,
            contexts.all,
        )
        for s, (shown, chosen) in enumerate((("zero-shot", zero), ("with shots", ~zero))):
            asked = [target[chosen & (framing == f)] for f in range(len(self.framing))]
            examples = {made.name: len(set(asked[f])) for made, f in self._framings()}
            for made, f in self._framings():
                family = [o.name for o, _ in self._framings() if o.family == made.family]
                # By family, by framing, or apart for few shots, as the way to take it out has it.
                called = (f"{made.family}, {shown}", *_parts(made.name, shown))
                names = next((bias[name] for name in called if bias.get(name)), None)
                if (
                    names is not None
                    and min(examples[name] for name in family) >= FEWEST_PER_CONTEXT
                ):
                    self.liking[s, f] = [names[name] for name in made.label_names]

    def _framings(self) -> list[tuple[Framing, int]]:
        return [(framing, f) for f, framing in enumerate(self.bench.framings)]


def _parts(name: str, shown: str) -> tuple[str, str]:
    return f"{name}, {shown}", f"{name}, {shown}, few"


class _Part:
    """A part of a longer asking: its answers are shown, its beginning and end are not."""

    def __init__(self, whole: Progress) -> None:
        self.whole = whole

    def start(self, total: int, known: int) -> None:
        """Shows nothing."""

    def answered(self, answer: Answer | Completion) -> None:
        """Shows it as one of the whole."""
        self.whole.answered(answer)

    def failed(self, error: ModelError) -> None:
        """Shows it as one of the whole."""
        self.whole.failed(error)

    def stop(self) -> None:
        """Shows nothing."""
