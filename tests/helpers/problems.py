"""A zoo of small problems, each enumerable, whose best labelling is found by trying all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from consilience.data.relations import And, AtMostOne, Equal, ExactlyOne, Opposite, Or, Ordered
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.prompts.query import Query
from zoo import ONE, Row, Tie, alone, dataset, pairs, prediction, random_rows

Link = tuple[int, int, float]
"""A target, a shot, and the nats by which its log-odds rise where the shot's label rises."""

BASE = 3.0
"""How sure, in log-odds, a target is whose shot is flipped: an unsure one would not count."""

PROBLEMS: dict[str, Callable[[], Evidence]] = {}
"""Each problem by its name."""


def problem(make: Callable[[], Evidence]) -> Callable[[], Evidence]:
    """Enters a problem under the name of its function."""
    PROBLEMS[make.__name__.replace("_", " ")] = make
    return make


def softmax(x: np.ndarray) -> np.ndarray:
    """Probabilities from logits."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def odds(nats: float) -> list[float]:
    """The probabilities of two labels of which the second leads by so many nats."""
    return softmax(np.array([0.0, nats])).tolist()


def leaning(nats: Sequence[float], times: int = 1) -> list[Row]:
    """Zero-shot predictions for each example, of these log-odds."""
    return [(i, odds(x), ()) for i, x in enumerate(nats)] * times


def sure_of(label: int, nats: float, k: int) -> np.ndarray:
    """The probabilities of K labels of which one leads all others by so many nats."""
    return softmax(nats * np.eye(k)[label])


def made(
    n: int, rows: Sequence[Row], links: Sequence[Link] = (), k: int = 2, ties: Sequence[Tie] = ()
) -> Evidence:
    """Evidence from rows, and from a contrast for each link, pair of labels and base.

    The bases are spread over the labels, so that contrasts say nothing about the target alone.
    """
    data = dataset(n, k, ties)
    asked = pairs(data, rows)
    for number, (i, j, nats) in enumerate(links):
        for a, b in combinations(reversed(range(k)), 2):
            for base in range(k):
                repeat = 1000 + number * k + base
                pull = nats / 4 * (np.eye(k)[a] - np.eye(k)[b])
                for shown, sign, at in ((a, 1, None), (b, -1, 0)):
                    shots = ((data.ids[j], shown),)
                    query = Query(data.ids[i], shots, "one", repeat, at)
                    logits = BASE * np.eye(k)[base] + sign * pull
                    asked.append((query, prediction(query, np.log(softmax(logits)))))
    return collect(data, [alone(k)], [asked], bias="none")


def chain(n: int, nats: float = 2.0) -> list[Link]:
    """Each example with the next."""
    return [(i, i + 1, nats) for i in range(n - 1)]


def ring(n: int, nats: float = 2.0) -> list[Link]:
    """A chain whose ends meet."""
    return [*chain(n, nats), (n - 1, 0, nats)]


def grid(rows: int, columns: int, nats: float = 2.0) -> list[Link]:
    """A square lattice, example r · columns + c at row r and column c."""
    at = [(r, c) for r in range(rows) for c in range(columns)]
    near = [(p, q) for p, q in combinations(at, 2) if abs(p[0] - q[0]) + abs(p[1] - q[1]) == 1]
    return [(p[0] * columns + p[1], q[0] * columns + q[1], nats) for p, q in near]


def balanced(n: int, links: Sequence[Link]) -> list[Link]:
    """Links whose mean is 0, by two more examples, n and n + 1, that take the rest.

    What contrasts have in common counts as the model's repeating the label it has just seen.
    """
    rest = -sum(nats for _, _, nats in links)
    count = max(1, int(np.ceil(abs(rest) / 2)))
    return [*links, *[(n, n + 1, rest / count)] * count]


# Couplings.


PROBLEMS["ferromagnet on a chain"] = lambda: made(
    8, leaning([1.5, 0, 0, 0, 0, 0, 2.0, 0]), balanced(6, chain(6, 4.0))
)
PROBLEMS["ferromagnet against a field"] = lambda: made(
    8, leaning([-2.0, 1, 1, 1, 1, 1, 2.0, 0]), balanced(6, chain(6, 4.0))
)
PROBLEMS["ferromagnet on a grid"] = lambda: made(
    11, leaning([1.5, *[0] * 8, -2.0, 0]), balanced(9, grid(3, 3, 4.0))
)


@problem
def ferromagnet_of_all_with_all():
    links = [(i, j, 1.0) for i, j in combinations(range(6), 2)]
    return made(8, leaning([-2.0, 1, -1, 1.5, 0, 0, 2.0, 0]), balanced(6, links))


@problem
def ferromagnet_in_two_domains():
    weak = [(*link[:2], 0.4 if link[0] == 2 else 4.0) for link in chain(6)]
    return made(8, leaning([2.5, 0, 0, 0, 0, -2.0, 2.0, 0]), balanced(6, weak))


@problem
def two_camps():
    links = [(i, j, 1.8 if i // 3 == j // 3 else -1.2) for i, j in combinations(range(6), 2)]
    return made(8, leaning([2.0, *[0] * 5, 2.0, 1.0]), balanced(6, links))


PROBLEMS["antiferromagnet on a chain"] = lambda: made(
    8, leaning([1.5, 0, 0, 0, 0, 0, 2.0, 0]), balanced(6, chain(6, -4.0))
)
PROBLEMS["antiferromagnet on an even ring"] = lambda: made(
    10, leaning([2.0, *[0] * 7, 2.0, 0]), balanced(8, ring(8, -4.0))
)
PROBLEMS["antiferromagnet on a grid"] = lambda: made(
    11, leaning([0, 1.5, *[0] * 7, -2.0, 0]), balanced(9, grid(3, 3, -4.0))
)
PROBLEMS["frustrated triangle"] = lambda: made(
    5, leaning([0.7, 0.5, 0.3, 0.5, 0], 9), balanced(3, ring(3, -2.0))
)


@problem
def frustrated_ring():
    links = [*chain(5), (4, 0, -1.6)]
    return made(7, leaning([0.9, 0.3, -0.2, 0.3, 0.7, 0.5, 0], 9), balanced(5, links))


@problem
def frustrated_grid():
    links = grid(3, 3)
    links[3] = (*links[3][:2], -2.0)
    links[8] = (*links[8][:2], -2.0)
    fields = [0.4, -0.2, 0.3, 0.1, -0.5, 0.2, -0.3, 0.1, 0.2, -0.5, 0]
    return made(11, leaning(fields, 9), balanced(9, links))


def _glass(seed: int, n: int, links: Sequence[tuple[int, int]], field: float):
    rng = np.random.default_rng(seed)
    nats = np.clip(2 * rng.normal(size=len(links)), -4, 4)
    nats -= nats.mean()
    fields = leaning(rng.normal(scale=field, size=n), 4)
    return made(n, fields, [(i, j, float(g)) for (i, j), g in zip(links, nats, strict=True)])


PROBLEMS["spin glass of all with all"] = lambda: _glass(0, 9, list(combinations(range(9), 2)), 0.5)
PROBLEMS["spin glass in a weak field"] = lambda: _glass(1, 9, list(combinations(range(9), 2)), 0.1)


@problem
def spin_glass_on_a_sparse_graph():
    rng = np.random.default_rng(2)
    links = list(combinations(range(11), 2))
    return _glass(2, 11, [links[e] for e in rng.permutation(len(links))[:17]], 0.3)


PROBLEMS["spin glass on a grid"] = lambda: _glass(3, 12, [link[:2] for link in grid(3, 4)], 0.3)


@problem
def potts_ferromagnet_of_three_classes():
    rows = [(0, sure_of(2, 1.0, 3), ()), (3, sure_of(1, 0.6, 3), ()), (5, sure_of(0, 0.5, 3), ())]
    links = [(0, 1, 1.8), (1, 2, 1.8), (2, 3, 1.8), (4, 5, -1.8), (4, 5, -1.8), (4, 5, -1.8)]
    return made(6, rows, links, 3)


@problem
def couplings_across_relations():
    ties = [(Opposite, (0, 1)), (Opposite, (2, 3)), (Opposite, (4, 5))]
    links = [(0, 2, 2.0), (2, 4, 2.0), (1, 4, -1.0), (6, 7, -1.5), (6, 7, -1.5)]
    return made(8, leaning([0.3, 0, 0, 0.2, -0.1, 0, 0.2, 0]), links, ties=ties)


# Relations.


for size in range(2, 7):
    PROBLEMS[f"exactly one of {size}"] = lambda n=size: made(
        n,
        leaning(np.random.default_rng(n).normal(scale=1.5, size=n)),
        ties=[(ExactlyOne, tuple(range(n)))],
    )
PROBLEMS["exactly one where all seem true"] = lambda: made(
    4, leaning([3.0, 2.8, 2.9, 2.5]), ties=[(ExactlyOne, (0, 1, 2, 3))]
)
PROBLEMS["exactly one where none seems true"] = lambda: made(
    4, leaning([-3.0, -2.8, -2.9, -2.5]), ties=[(ExactlyOne, (0, 1, 2, 3))]
)
PROBLEMS["at most one where three seem true"] = lambda: made(
    5, leaning([1.0, 1.2, -1.0, 0.8, -2.0]), ties=[(AtMostOne, tuple(range(5)))]
)
PROBLEMS["at most one where none seems true"] = lambda: made(
    5, leaning([-1.0, -1.2, -1.0, -0.8, -2.0]), ties=[(AtMostOne, tuple(range(5)))]
)
PROBLEMS["equal in a chain"] = lambda: made(
    8,
    leaning([2.0, -1, 0.5, -0.7, 0.1, -0.9, -0.4, 0.9]),
    ties=[(Equal, (i, i + 1)) for i in range(7)],
)
PROBLEMS["opposite in a chain"] = lambda: made(
    7,
    leaning([1.0, 1.1, 0.9, 1.2, 0.8, 1.3, 0.7]),
    ties=[(Opposite, (i, i + 1)) for i in range(6)],
)


@problem
def equal_and_opposite_in_a_ring():
    kinds = [Opposite, Equal, Opposite, Equal, Opposite, Opposite]
    ties = [(kind, (i, (i + 1) % 6)) for i, kind in enumerate(kinds)]
    return made(6, leaning([0.3, -0.2, 0.4, 0.1, -0.6, 0.2]), ties=ties)


PROBLEMS["conjunction"] = lambda: made(
    4, leaning([1.0, 0.4, 0.9, -1.5]), ties=[(And, (0, 1, 2, 3))]
)
PROBLEMS["disjunction"] = lambda: made(
    4, leaning([-0.5, -0.4, -0.9, 0.8]), ties=[(Or, (0, 1, 2, 3))]
)


@problem
def conjunction_of_disjunctions():
    ties = [(Or, (0, 1, 2)), (Or, (3, 4, 5)), (And, (2, 5, 6))]
    return made(7, leaning([-0.8, -0.5, 0.2, -0.3, -1.0, 0.1, 1.7]), ties=ties)


PROBLEMS["ordered triple"] = lambda: made(3, leaning([0.8, 0.7, -1.2]), ties=[(Ordered, (0, 1, 2))])


@problem
def ordered_tournament():
    """All comparisons of four things: every triple of them is transitive."""
    at = {pair: p for p, pair in enumerate(combinations(range(4), 2))}
    triples = combinations(range(4), 3)
    ties = [(Ordered, (at[a, b], at[b, c], at[a, c])) for a, b, c in triples]
    return made(6, leaning([0.8, -0.9, -0.5, 0.7, 0.6, 0.9]), ties=ties)


@problem
def overlapping_relations():
    ties = [(ExactlyOne, (0, 1, 2)), (AtMostOne, (2, 3, 4)), (Equal, (4, 5)), (Or, (5, 6, 7))]
    return made(8, leaning([0.5, 0.3, 0.9, 1.0, 0.6, 0.4, -0.7, -0.9]), ties=ties)


@problem
def relations_against_very_sure_answers():
    rows = [(i, [1e-9, 1 - 1e-9], ()) for i in range(3)]
    return made(4, [*rows, (3, odds(-0.5), ())], ties=[(AtMostOne, (0, 1)), (Equal, (2, 3))])


PROBLEMS["three classes drawn at random"] = lambda: made(
    6, random_rows(np.random.default_rng(16), 6, 3, zero=2, shown=2), k=3
)


@problem
def three_classes_tied():
    ties = [(Opposite, (0, 1)), (Equal, (1, 2)), (AtMostOne, (3, 4, 5))]
    return made(6, random_rows(np.random.default_rng(14), 6, 3, zero=2), k=3, ties=ties)


PROBLEMS["four classes"] = lambda: made(
    5, random_rows(np.random.default_rng(11), 5, 4, zero=2, shown=2), k=4
)


@problem
def four_classes_all_different():
    ties = [(Opposite, pair) for pair in combinations(range(4), 2)]
    rows = [(i, sure_of(c, 0.8 + i / 5, 4), ()) for i, c in enumerate([1, 1, 1, 3])]
    return made(5, [*rows, (4, sure_of(0, 1.0, 4), ())], k=4, ties=ties)


def learner(seed: int, n: int, k: int = 2, turned: float = 0.2, ties: Sequence[Tie] = ()):
    """A model that goes along with its shots, whose labels are those of a truth, or turned."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(k, size=n)
    for kind, at in ties:
        truth[list(at)] = truth[at[0]] if kind is Equal else np.eye(len(at), dtype=int)[0]
    rows: list[Row] = []
    for i in range(n):
        rows.append((i, softmax(0.5 * np.eye(k)[truth[i]] + 0.5 * rng.normal(size=k)), ()))
        for _ in range(3):
            turn = int(rng.integers(1, k)) if rng.random() < turned else 0
            shown = rng.choice([j for j in range(n) if j != i], size=3, replace=False)
            shots = [(int(j), int(truth[j] + turn) % k) for j in shown]
            said = 2.5 * np.eye(k)[(truth[i] + turn) % k] + 0.7 * rng.normal(size=k)
            rows.append((i, softmax(said), shots))
    return made(n, rows, k=k, ties=ties)


PROBLEMS["learner of two classes"] = lambda: learner(0, 10)
PROBLEMS["learner of three classes"] = lambda: learner(1, 7, 3)
PROBLEMS["learner that is often turned"] = lambda: learner(2, 10, turned=0.5)
PROBLEMS["learner with relations"] = lambda: learner(
    3, 10, ties=[(ExactlyOne, (0, 1, 2)), (Equal, (4, 5)), (Equal, (7, 8, 9))]
)
PROBLEMS["learner of twelve"] = lambda: learner(4, 12)


@problem
def two_ways():
    """A labelling and its opposite are both coherent; a single answer tells them apart."""
    rows: list[Row] = []
    for i in range(6):
        for turn in (0, 1):
            shots = [(j, (j + turn) % 2) for j in range(6) if j != i]
            rows.append((i, odds(6.9 if (i + turn) % 2 else -6.9), shots))
    return made(6, [*rows, (0, [0.6, 0.4], ())])


PROBLEMS["shots drawn at random"] = lambda: made(
    9, random_rows(np.random.default_rng(7), 9, 2, shown=4)
)


@problem
def framings_that_disagree():
    data, other = dataset(6), replace(ONE, name="two", family="other")
    asked = pairs(data, leaning([2.0 + i / 4 for i in range(6)]))
    asked += pairs(data, leaning([-1.8 - i / 4 - (i == 3) for i in range(6)]), framing="two")
    return collect(data, [ONE, other], [asked], bias="none")


@problem
def zero_shot_against_shots():
    shots = [(1, 1), (2, 0), (3, 1)]
    rows = [(0, odds(3.0), ()), *[(0, odds(-2.0), shots)] * 3]
    return made(4, [*rows, (1, odds(2.0), ()), (2, odds(-2.0), ()), (3, odds(1.0), ())])


@problem
def bounded_answers():
    data = dataset(5, 2, [(ExactlyOne, (0, 1, 2))])
    asked = pairs(data, leaning([0.6, 0.9, -0.3, 0.4, 0.8]))
    for i, bound in ((0, 0.02), (2, 0.3), (3, 0.001), (4, 0.4)):
        query = Query(data.ids[i], (), "one", repeat=5)
        asked.append((query, prediction(query, np.log([0.5, bound]), exact=(True, False))))
    return collect(data, [alone()], [asked], bias="none")


PROBLEMS["some without predictions"] = lambda: made(
    6, leaning([1.0, -0.4, 0.6]), ties=[(Equal, (1, 3)), (Opposite, (0, 4))]
)
PROBLEMS["a relation without predictions"] = lambda: made(
    6, leaning([1.0, -0.4, 0.6]), ties=[(ExactlyOne, (3, 4, 5))]
)
PROBLEMS["isolated examples"] = lambda: made(10, leaning(np.linspace(-2, 2, 10)))
PROBLEMS["nothing but ties"] = lambda: made(
    6, leaning([0.0] * 6), ties=[(Equal, (0, 1, 2)), (Opposite, (3, 4))]
)


@problem
def imbalance():
    rng = np.random.default_rng(8)
    rows = leaning([*(-0.2 - rng.random(9)), 1.5])
    everyone = [(j, int(j == 9)) for j in range(10)]
    for i in range(10):
        shots = [shot for shot in everyone if shot[0] != i]
        rows.append((i, odds(2.0 if i == 9 else -1.0), shots))
    return made(10, rows)


PROBLEMS["one example"] = lambda: made(1, leaning([-0.8]))


@problem
def very_sure_answers():
    rows = [(i, [1e-9, 1 - 1e-9] if i % 2 else [1 - 1e-9, 1e-9], ()) for i in range(6)]
    shots = [(1, 1), (2, 0)]
    return made(6, [*rows, *[(0, [1e-9, 1 - 1e-9], shots)] * 3])
