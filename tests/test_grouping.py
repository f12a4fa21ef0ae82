"""Groups: a partition into full leaves, drawn by the generator alone, of things that are near."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from consilience.errors import InputError
from consilience.grouping import neighbour_groups


def vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4))


def grouped(points: np.ndarray, size: int, seed: int = 0) -> list[list[int]]:
    return [g.tolist() for g in neighbour_groups(points, size, np.random.default_rng(seed))]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 11, 50, 97])
@pytest.mark.parametrize("size", [1, 2, 5, 10, 200])
def test_every_row_once_in_groups_that_are_full_but_for_the_last(n, size):
    for points in (vectors(n), np.zeros((n, 3))):
        groups = grouped(points, size)
        assert sorted(itertools.chain.from_iterable(groups)) == list(range(n))
        assert [len(g) for g in groups[:-1]] == [size] * (-(-n // size) - 1)
        assert 1 <= len(groups[-1]) <= size


def test_the_generator_decides():
    points = vectors(60)
    assert grouped(points, 7, seed=3) == grouped(points, 7, seed=3)
    together = [{frozenset(g) for g in grouped(points, 7, seed)} for seed in range(6)]
    assert all(one != two for one, two in itertools.combinations(together, 2))


def test_identical_vectors_are_parted_at_random():
    same = np.ones((40, 3))
    assert grouped(same, 5, seed=0) != grouped(same, 5, seed=1)
    assert grouped(same, 5, seed=0)[0] != list(range(5))


def test_neighbours_are_nearer_than_chance():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(8), 10)
    points = 10 * rng.normal(size=(8, 6))[cluster] + rng.normal(size=(80, 6))
    shuffled = rng.permutation(80)
    points, cluster = points[shuffled], cluster[shuffled]

    def near(groups: list[list[int]]) -> float:
        pairs = [p for g in groups for p in itertools.combinations(g, 2)]
        return float(np.mean([cluster[i] == cluster[j] for i, j in pairs]))

    trees = [near(grouped(points, 5, seed)) for seed in range(10)]
    chance = [near(np.array_split(np.random.default_rng(s).permutation(80), 16)) for s in range(10)]
    assert np.mean(trees) > 0.6 > 0.2 > np.mean(chance)


def test_neighbouring_groups_are_nearer_than_distant_ones():
    line = np.random.default_rng(1).permutation(np.arange(64.0)).reshape(-1, 1)
    centres = [float(line[g].mean()) for g in grouped(line, 4)]
    steps = np.abs(np.diff(centres))
    assert steps.mean() < 8  # 16 groups at random on a line of 64 are some 21 apart


@pytest.mark.parametrize("size", [0, -3])
def test_a_group_needs_an_example(size):
    with pytest.raises(InputError, match="at least one example"):
        grouped(vectors(5), size)
