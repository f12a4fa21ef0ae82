"""Nearest neighbours: all of them in a small set, nearly all in a large one."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import AtMostOne, Equal
from consilience.planning import neighbours
from consilience.planning.neighbours import ALL_COMPARED, near_pairs
from consilience.planning.ties import Reach, Ties

NOTHING = Ties([], {})


def clustered(count: int, seed: int = 0) -> np.ndarray:
    """Unit vectors in families of three that lie close together."""
    rng = np.random.default_rng(seed)
    heads = np.repeat(rng.normal(size=(-(-count // 3), 16)), 3, axis=0)[:count]
    made = heads + 0.3 * rng.normal(size=(count, 16))
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def brute(vectors: np.ndarray, count: int) -> set[tuple[int, int]]:
    near = np.round(vectors @ vectors.T, 9)
    np.fill_diagonal(near, -np.inf)
    best = np.argsort(-near, axis=1, kind="stable")[:, :count]
    return {(min(i, j), max(i, j)) for i, row in enumerate(best.tolist()) for j in row}


@pytest.mark.parametrize("count", [1, 2, 7])
def test_in_a_small_set_all_are_found(count: int) -> None:
    vectors = clustered(60)
    assert set(near_pairs(vectors, range(60), count, NOTHING)) == brute(vectors, count)


def test_in_a_large_set_nearly_all_are_found_and_twice_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "ALL_COMPARED", 256)
    monkeypatch.setattr(neighbours, "LEAF", 128)
    size = 1000
    vectors = clustered(size)
    found = set(near_pairs(vectors, range(size), 2, NOTHING))
    wanted = brute(vectors, 2)
    assert len(found & wanted) > 0.95 * len(wanted)
    # What is found instead is near too, and nobody has more mates than were asked for.
    assert len(found) <= 2 * size
    assert found == set(near_pairs(vectors, range(size), 2, NOTHING))


@pytest.mark.parametrize(("size", "coarse"), [(401, 2**14), (3001, 2**14), (3001, 1000)])
def test_leaves_hold_every_row_once_and_are_as_large_as_each_other(
    size: int, coarse: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of rows: the work in a leaf is its square."""
    monkeypatch.setattr(neighbours, "COARSE", coarse)
    leaves = list(neighbours._leaves(clustered(size), np.random.default_rng(0)))
    assert np.array_equal(np.sort(np.concatenate(leaves)), np.arange(size))
    sizes = [len(leaf) for leaf in leaves]
    assert len(leaves) == -(-size // neighbours.LEAF)
    assert max(sizes) - min(sizes) <= 1 + len(leaves).bit_length()
    assert max(sizes) <= neighbours.LEAF
    assert all((np.diff(leaf) > 0).all() for leaf in leaves)


def test_only_members_are_compared_and_places_are_those_of_the_data_set() -> None:
    vectors = clustered(90)
    members = list(range(1, 90, 2))
    found = set(near_pairs(vectors, members, 1, NOTHING))
    assert found == {(members[i], members[j]) for i, j in brute(vectors[members], 1)}


@pytest.mark.parametrize("large", [False, True])
def test_who_is_tied_is_no_pair(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(neighbours, "ALL_COMPARED", 10)
        monkeypatch.setattr(neighbours, "LEAF", 16)
    data = Dataset("d", [Example(f"statement {i}") for i in range(40)])
    pairs = [Equal(data.ids[i : i + 2]) for i in range(0, 20, 2)]
    ties = Ties([*pairs, AtMostOne(data.ids[20:])], data.index)
    vectors = clustered(40)
    found = set(near_pairs(vectors, range(40), 3, ties))
    assert found
    for one, other in found:
        assert other not in Reach(ties, [one])
    # Among those that are all tied nobody has a mate.
    assert not set(near_pairs(vectors, range(20, 40), 3, ties))


def test_vectors_without_direction_have_neighbours_too() -> None:
    size = ALL_COMPARED + 2
    found = set(near_pairs(np.zeros((size, 4)), range(size), 1, NOTHING))
    assert {i for pair in found for i in pair} == set(range(size))


def test_reach_is_who_is_there_and_who_is_tied_to_them() -> None:
    data = Dataset("d", [Example(f"statement {i}") for i in range(6)])
    ties = Ties([Equal(data.ids[:2]), AtMostOne(data.ids[1:4])], data.index)
    reach = Reach(ties, [0, 5])
    assert [i for i in range(6) if i in reach] == [0, 1, 5]
    reach.add(1)
    assert [i for i in range(6) if i in reach] == [0, 1, 2, 3, 5]
