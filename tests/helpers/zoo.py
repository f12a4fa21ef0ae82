"""Small data sets and evidence made by hand, whose right answers are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import Relation
from consilience.data.task import Task
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.store.rows import Prediction

ONE = Framing("one", "alone", "Judge.", "Answer:", ("False", "True"))
"""A framing without a partner: nothing is taken out, so the evidence is what was put in."""

Tie = tuple[type[Relation], tuple[int, ...]]
Row = tuple[int, Sequence[float], Sequence[tuple[int, int]]]


def task(k: int) -> Task:
    """The default task, or one of K classes."""
    names = tuple(f"class {c}" for c in range(k))
    return Task() if k == 2 else Task("Which class is it?", names, None, None)


def dataset(n: int, k: int = 2, ties: Sequence[Tie] = (), *, prior: bool = False) -> Dataset:
    """N examples; `ties` names the members of relations by their positions in the data set."""
    bare = Dataset("zoo", [Example(f"claim number {i}") for i in range(n)], task=task(k))
    relations = [kind(tuple(bare.ids[i] for i in at), prior=prior) for kind, at in ties]
    return Dataset("zoo", bare.examples, relations, task=task(k))


def alone(k: int = 2) -> Framing:
    """A framing without a partner, for K classes."""
    return ONE if k == 2 else Framing("one", "alone", "Judge.", "Answer:", task(k).classes)


def prediction(
    query: Query, logprobs: Sequence[float], exact: Sequence[bool] | None = None
) -> Prediction:
    """What the model is taken to have said."""
    return Prediction(
        key=f"{query}",
        query=query,
        label_names=("",) * len(logprobs),
        logprobs=tuple(float(x) for x in logprobs),
        exact=tuple(exact) if exact is not None else (True,) * len(logprobs),
        mass=1.0,
        usage={},
        seconds=0.0,
    )


def pairs(data: Dataset, rows: Sequence[Row], framing: str = "one"):
    """Queries with their predictions from (target, probabilities, shots), all by position."""
    made = []
    asked = Counter()
    for target, probabilities, shots in rows:
        shown = tuple((data.ids[j], label) for j, label in shots)
        query = Query(data.ids[target], shown, framing, repeat=asked[target, shown])
        asked[target, shown] += 1
        made.append((query, prediction(query, np.log(probabilities))))
    return made


def evidence(n: int, rows: Sequence[Row], k: int = 2, ties: Sequence[Tie] = ()) -> Evidence:
    """Evidence whose log-probabilities are exactly those of the rows."""
    data = dataset(n, k, ties)
    return collect(data, [alone(k)], [pairs(data, rows)], bias="none")


def random_rows(
    rng: np.random.Generator, n: int, k: int, zero: int = 1, shown: int = 2, shots: int = 3
) -> list[Row]:
    """For each example `zero` zero-shot predictions and `shown` with shots, all drawn at random."""
    rows: list[Row] = []
    for i in range(n):
        rows += [(i, rng.dirichlet(np.ones(k)), ()) for _ in range(zero)]
        others = [j for j in range(n) if j != i]
        for _ in range(shown):
            drawn = rng.choice(others, size=min(shots, len(others)), replace=False)
            labels = rng.integers(k, size=len(drawn))
            row_shots = list(zip(drawn.tolist(), labels.tolist(), strict=True))
            rows.append((i, rng.dirichlet(np.ones(k)), row_shots))
    return rows


def flipped(data, target, shots, at, to, said, turned, repeat=0):
    """A twin and its contrast, in which the shot at position `at` is shown as `to`."""
    shown = tuple((data.ids[j], label) for j, label in shots)
    other = (*shown[:at], (shown[at][0], to), *shown[at + 1 :])
    twin = Query(data.ids[target], shown, "one", repeat)
    contrast = Query(data.ids[target], other, "one", repeat, contrast=at)
    return [(q, prediction(q, np.log(p))) for q, p in ((twin, said), (contrast, turned))]


def bounded(row):
    """The same prediction with its last label only bounded."""
    query, said = row
    return query, replace(said, exact=(*(True,) * (len(said.exact) - 1), False))


def renamed(query, said, names):
    """The same answer where the example with the id i has the id names[i]."""
    shots = tuple((names[id], label) for id, label in query.shots)
    query = replace(query, target=names[query.target], shots=shots)
    return query, replace(said, key=f"{query}", query=query)


def turned(query, said, turn):
    """The same answer where class c is called turn[c]."""
    query = replace(query, shots=tuple((id, turn[label]) for id, label in query.shots))
    back = [turn.index(c) for c in range(len(turn))]
    logprobs, exact = (tuple(x[c] for c in back) for x in (said.logprobs, said.exact))
    return query, replace(said, key=f"{query}", query=query, logprobs=logprobs, exact=exact)
