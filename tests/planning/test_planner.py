"""Plans: who is asked, under which shots; properties that hold for every data set and seed."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.relation_checks import contradiction
from consilience.data.relations import RELATIONS, Equal, tied_examples
from consilience.errors import InputError
from consilience.planning import planner
from consilience.planning.planner import (
    CONTRAST_FLOOR,
    PlanSettings,
    shot_round,
    zero_shot_calls,
    zero_shot_round,
)
from consilience.prompts.framing import framings
from consilience.prompts.query import Query
from zoo import dataset, task

SMALL = PlanSettings(shots=4, block=10)


def believed(data: Dataset, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(data.task.k), size=len(data))


def plan(data, labels=None, *, round=1, seed=0, settings=SMALL, names=None, **given):
    return shot_round(
        data,
        framings(data.task, names),
        believed(data) if labels is None else labels,
        round=round,
        seed=seed,
        settings=settings,
        **given,
    )


def random_case(seed: int) -> tuple[Dataset, PlanSettings]:
    """A data set of 1 to 40 examples with relations of any kind, and settings that are hard."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 2, 3, 4, 5, 12, 25, 40]))
    k = int(rng.integers(2, 4))
    ties = []
    for _ in range(int(rng.integers(0, n // 2 + 2)) if n > 1 else 0):
        kind = list(RELATIONS.values())[rng.integers(len(RELATIONS))]
        low, high = kind.size
        size = int(rng.integers(low, min(high or 5, 5) + 1))
        if size <= n:
            tie = kind, tuple(rng.choice(n, size=size, replace=False).tolist())
            every = [of(tuple(map(str, members))) for of, members in [*ties, tie]]
            ties += [tie] if contradiction(every, k) is None else []
    shots, block = int(rng.integers(1, 9)), int(rng.integers(1, 15))
    return dataset(n, k, ties), PlanSettings(shots=shots, block=block)


def check_round(data: Dataset, queries: list[Query], labels: np.ndarray, most: int) -> None:
    """What is true of the ordinary queries of every round."""
    tied = tied_examples(data.relations)
    # Who is tied to all others can be shown nothing, and is not asked; nor is who would see a
    # single class, which is nobody where all are free.
    able = [id for id in data.ids if len(tied.get(id, ())) < len(data) - 1]
    asked = sorted(q.target for q in queries)
    assert len(asked) == len(set(asked)) and set(asked) <= set(able)
    if most == 1 or (len(data) >= 12 and not tied):
        assert asked == able
    assert all(len({c for _, c in q.shots}) >= min(2, most) for q in queries)
    for query in queries:
        shown = [id for id, _ in query.shots]
        assert len(shown) == len(set(shown)) <= most
        assert query.target not in shown
        assert tied.get(query.target, frozenset()).isdisjoint(shown)
        for one, two in itertools.combinations(shown, 2):
            assert two not in tied.get(one, frozenset())
        assert all(labels[data.index[id], label] > 0 for id, label in query.shots)
        assert query.contrast is None and query.repeat == 0


@pytest.mark.parametrize("block", range(8))
def test_every_target_once_and_never_a_shot_that_is_tied_to_it(block):
    shown = 0
    for seed in range(25 * block, 25 * block + 25):
        data, settings = random_case(seed)
        labels = believed(data, seed)
        for round in (1, 2):
            queries = plan(data, labels, round=round, seed=seed, settings=settings)
            check_round(data, queries, labels, settings.shots)
            shown += sum(len(q.shots) for q in queries)
    assert shown > 500


def test_lists_are_full_and_shared_by_a_block():
    data = dataset(400)
    queries = plan(data, believed(data), settings=PlanSettings(shots=12, block=20))
    lists = Counter((q.framing, q.shots) for q in queries)
    assert {len(q.shots) for q in queries} == {12}
    assert len(lists) == 400 // 20
    # Those who are shots of their own block, at most as many as there are shots, move on.
    assert 20 - 12 <= min(lists.values()) <= max(lists.values()) <= 20 + 12


def test_a_target_among_the_shots_of_the_only_block_leaves_itself_out():
    data = dataset(8)
    queries = plan(data, names=["plain"], settings=replace(SMALL, block=40))
    full = {q.shots for q in queries if len(q.shots) == 4}
    assert len(full) == 1
    (shots,) = full
    for query in queries:
        assert query.shots == tuple(s for s in shots if s[0] != query.target)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_shots_are_balanced_over_the_predicted_classes(share):
    data = dataset(240)
    p = np.where(np.random.default_rng(0).permutation(240) < 240 * share, 0.9, 0.1)
    labels = np.stack([1 - p, p], axis=1)
    for seed in range(3):
        queries = plan(data, labels, seed=seed, settings=PlanSettings(shots=12))
        # A target that is a shot in every block of its framing leaves itself out.
        full = [q for q in queries if len(q.shots) == 12]
        assert len(full) > 0.95 * len(queries)
        assert all(Counter(c for _, c in q.shots) == {0: 6, 1: 6} for q in full)


def test_shots_are_balanced_over_three_classes():
    data = dataset(180, 3)
    labels = np.eye(3)[np.arange(180) % 3]
    for query in plan(data, labels, settings=replace(SMALL, shots=6, block=20)):
        assert Counter(c for _, c in query.shots) == {0: 2, 1: 2, 2: 2}


@pytest.mark.parametrize("k", [2, 3])
def test_the_framing_moves_on_so_that_each_target_meets_all(k):
    data = dataset(20, k)
    names = [f.name for f in framings(task(k))]
    met = {id: [] for id in data.ids}
    for round in range(1, 2 * len(names) + 1):
        queries = plan(data, round=round)
        for query in queries:
            met[query.target].append(query.framing)
        share = Counter(q.framing for q in queries)
        assert max(share.values()) - min(share.values()) <= 1
    for asked in met.values():
        assert asked[: len(names)] == asked[len(names) :]
        turn = [names.index(name) for name in asked]
        assert {(b - a) % len(names) for a, b in itertools.pairwise(turn)} == {1}
        assert set(asked) == set(names)


def test_the_confident_are_drawn_more_often():
    data = dataset(60)
    sure = np.arange(60) % 2 == 0
    p = np.where(sure, 0.95, 0.6) * 1.0
    flip = np.arange(60) % 4 < 2
    labels = np.where(flip[:, None], np.stack([p, 1 - p], 1), np.stack([1 - p, p], 1))
    drawn = Counter(
        sure[data.index[id]]
        for seed in range(10)
        for q in plan(data, labels, seed=seed)
        for id, _ in q.shots
    )
    assert drawn[np.True_] > 4 * drawn[np.False_] > 0


def shown_in(queries: list[Query]) -> set[tuple[str, int]]:
    """All shots of the queries."""
    return {shot for query in queries for shot in query.shots}


def test_where_nothing_is_known_nothing_is_shown_and_nobody_is_asked():
    data = dataset(30)
    assert plan(data, np.full((30, 2), 0.5), settings=replace(SMALL, contrasts=1.0)) == []


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_answers_that_are_all_of_one_class_still_show_all_classes_evenly(seed, k):
    data = dataset(120, k)
    rng = np.random.default_rng(seed)
    labels = rng.dirichlet(np.ones(k), size=120)
    labels = np.concatenate(
        [labels[:, :-1] / 4, 1 - labels[:, :-1].sum(axis=1, keepdims=True) / 4], 1
    )
    assert (labels.argmax(axis=1) == k - 1).all()
    settings = PlanSettings(shots=6 * k, block=20)
    queries = plan(data, labels, seed=seed, settings=settings)
    assert len(queries) == 120
    full = [q for q in queries if len(q.shots) == 6 * k]
    assert len(full) > 100
    assert all(Counter(c for _, c in q.shots) == dict.fromkeys(range(k), 6) for q in full)
    # Those of a class that nobody's label is rank high for it.
    for c in range(k - 1):
        place = np.argsort(np.argsort(-labels[:, c]))
        places = [place[data.index[id]] for id, label in shown_in(queries) if label == c]
        assert max(places) < 120 / 3


def test_whoever_has_no_answer_is_never_shown():
    data = dataset(60)
    labels = believed(data)
    silent = np.arange(60) % 3 == 0
    labels[silent] = 0.5
    for seed in range(5):
        queries = plan(data, labels, seed=seed, settings=replace(SMALL, contrasts=0.3))
        assert {q.target for q in queries} == set(data.ids)
        assert not any(silent[data.index[id]] for id, _ in shown_in(queries))


def test_nobody_is_shown_with_a_class_that_is_ruled_out():
    data = dataset(60, 3)
    labels = believed(data)
    # Almost all have never been of class 2.
    labels[4:, 2] = 0
    labels /= labels.sum(axis=1, keepdims=True)
    for seed in range(5):
        queries = plan(data, labels, seed=seed, settings=replace(SMALL, shots=9))
        assert all(labels[data.index[id], c] > 0 for id, c in shown_in(queries))
        assert {data.index[id] for id, c in shown_in(queries) if c == 2} <= set(range(4))


def test_the_extremes_of_the_ranking_are_preferred():
    data = dataset(200)
    p = np.linspace(0.02, 0.98, 200)
    labels = np.stack([1 - p, p], axis=1)
    settings = PlanSettings(shots=8, block=10)
    places = {0: [], 1: []}
    for seed in range(5):
        for query in plan(data, labels, seed=seed, settings=settings):
            for id, c in query.shots:
                places[c].append(data.index[id] if c == 0 else 199 - data.index[id])
    for found in places.values():
        # All the places of a class are 0 to 99; evenly drawn their mean would be 50.
        assert np.mean(found) < 30
        assert np.mean(np.array(found) >= 100) == 0
        assert len(set(found)) > 50


def test_shots_come_from_the_pool_alone_however_small_a_part_it_is():
    data = dataset(600)
    labels, pool = believed(data), list(range(5, 600, 60))
    settings = replace(SMALL, shots=4)
    for query in plan(data, labels, settings=settings, pool=pool, targets=range(0, 600, 7)):
        assert {data.index[id] for id, _ in query.shots} <= set(pool)
        assert len(query.shots) == 4


def test_shots_say_nothing_about_the_labellings_they_are_drawn_against():
    data = dataset(200)
    labels = believed(data)
    other = (np.random.default_rng(1).random(200) < labels[:, 1]).astype(int)
    for query in plan(data, labels, settings=replace(SMALL, shots=8), against=[other]):
        if len(query.shots) == 8:
            pairs = Counter((c, int(other[data.index[id]])) for id, c in query.shots)
            assert set(pairs.values()) == {2} and len(pairs) == 4


def test_shots_that_are_not_even_are_as_frequent_as_the_labels():
    data = dataset(300)
    p = np.where(np.arange(300) % 5 == 0, 0.9, 0.1)
    labels = np.stack([1 - p, p], axis=1)
    queries = plan(data, labels, settings=PlanSettings(shots=20, block=3), even=False)
    shown = [shot for q in queries for shot in q.shots]
    assert all(label == labels[data.index[id]].argmax() for id, label in shown)
    assert np.mean([label for _, label in shown]) == pytest.approx(0.2, abs=0.05)


def test_who_would_see_one_class_alone_is_not_asked():
    data = dataset(40)
    labels = np.eye(2)[np.zeros(40, dtype=int)]
    assert plan(data, labels) == []
    # One shot is of one class, whichever.
    assert len(plan(data, labels, settings=replace(SMALL, shots=1))) == 40
    # A single example of the other class: all but itself can be asked.
    labels[7] = [0, 1]
    assert {q.target for q in plan(data, labels)} == set(data.ids) - {data.ids[7]}


@pytest.mark.parametrize("shots", [1, 2])
def test_a_single_example_is_never_asked_with_shots(shots):
    data = dataset(1)
    assert plan(data, settings=replace(SMALL, shots=shots)) == []


def test_the_targets_of_a_block_are_drawn_at_random():
    data = dataset(200)
    queries = plan(data, names=["plain"], settings=replace(SMALL, block=20))
    blocks: dict[object, list[int]] = {}
    for query in queries:
        blocks.setdefault(query.shots, []).append(data.index[query.target])
    means = [float(np.mean(at)) for at in blocks.values() if len(at) > 10]
    assert len(means) == 10
    # By chance 13 apart from 99.5; cut along any order of the examples they would be 57.
    assert np.std(means) < 30


def test_same_seed_same_plan():
    data = dataset(40)
    settings = replace(SMALL, contrasts=0.5)
    assert plan(data, settings=settings) == plan(data, settings=settings)
    plans = [tuple(plan(data, seed=s, round=r)) for s in range(3) for r in range(1, 4)]
    assert len(set(plans)) == 9


def test_the_order_of_a_file_is_irrelevant():
    data = dataset(30)
    mixed = [Example(data.texts[i]) for i in np.random.default_rng(0).permutation(30)]
    again = Dataset("again", mixed)
    assert plan(again, believed(data)) == plan(data, believed(data))
    assert zero_shot_round(again, framings(task(2))) == zero_shot_round(data, framings(task(2)))


def test_targets_says_who_is_asked():
    data = dataset(30)
    chosen = [3, 29, 0, 17]
    labels = np.eye(2)[np.arange(30) % 2]
    queries = plan(data, labels, targets=chosen, settings=replace(SMALL, contrasts=1.0))
    ordinary = queries[:4]
    assert sorted(q.target for q in ordinary) == sorted(data.ids[i] for i in chosen)
    assert {q.target for q in queries} == {data.ids[i] for i in chosen}
    # Who else is asked changes neither the framing of a target nor who may be a shot.
    framing = {q.target: q.framing for q in plan(data)}
    assert all(framing[q.target] == q.framing for q in ordinary)
    assert {id for q in ordinary for id, _ in q.shots} - {data.ids[i] for i in chosen}
    assert plan(data, targets=range(30)) == plan(data)
    assert plan(data, targets=[]) == []


@pytest.mark.parametrize("shown", [1, 3])
@pytest.mark.parametrize("k", [2, 3])
def test_a_contrast_is_its_twin_with_one_sure_label_flipped(k, shown):
    data = dataset(40, k)
    top = np.where(np.arange(40) % 4 < 2, 0.9, 0.55)[:, None]
    labels = np.where(np.eye(k)[np.arange(40) % k] == 1, top, (1 - top) / (k - 1))
    sure = labels.max(axis=1)
    assert (sure > CONTRAST_FLOOR).sum() == 20
    settings = replace(SMALL, contrasts=1.0, contrast_shots=shown)
    queries = plan(data, labels, settings=settings)
    ordinary, asked = queries[:40], queries[40:]
    assert [q.contrast is None for q in ordinary] == [True] * 40 and len(asked) == 80
    flips = set()
    for twin, query in zip(asked[::2], asked[1::2], strict=True):
        assert twin.contrast is None and query.contrast is not None
        assert (twin.target, twin.framing, twin.repeat) == (
            query.target,
            query.framing,
            query.repeat,
        )
        assert [id for id, _ in query.shots] == [id for id, _ in twin.shots]
        assert len(set(dict(query.shots)) - {query.target}) == shown
        differ = [p for p, (a, b) in enumerate(zip(query.shots, twin.shots, strict=True)) if a != b]
        assert differ == [query.contrast]
        for id, label in twin.shots:
            assert sure[data.index[id]] > CONTRAST_FLOOR
            assert label == labels[data.index[id]].argmax()
        id, label = query.shots[query.contrast]
        assert 0 <= label < k
        flips.add((twin.shots[query.contrast][1], label))
    assert flips == set(itertools.permutations(range(k), 2))


def test_contrasts_show_a_shot_of_each_class_and_nobody_tied_to_the_target():
    data = dataset(12, ties=[(Equal, (2 * i, 2 * i + 1)) for i in range(6)])
    labels = np.eye(2)[np.arange(12) // 2 % 2]
    settings = replace(SMALL, contrasts=1.0, contrast_shots=2)
    twins = plan(data, labels, settings=settings)[12::2]
    assert twins
    for query in twins:
        tied = {data.ids[data.index[query.target] ^ 1], query.target}
        assert {label for _, label in query.shots} == {0, 1}
        assert tied.isdisjoint(id for id, _ in query.shots)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_contrasts_is_respected(share):
    data = dataset(30)
    queries = plan(data, np.eye(2)[np.arange(30) % 2], settings=replace(SMALL, contrasts=share))
    assert sum(q.contrast is not None for q in queries) == int(30 * share)
    assert queries[:30] == plan(data, np.eye(2)[np.arange(30) % 2])
    asked = [q.target for q in queries[30::2]]
    assert len(asked) == len(set(asked)) == int(30 * share)


def test_no_contrast_where_nothing_is_sure():
    data = dataset(20)
    unsure = np.array([[CONTRAST_FLOOR, 1 - CONTRAST_FLOOR]] * 20)
    assert len(plan(data, unsure, settings=replace(SMALL, contrasts=1.0))) == 20


KNOBS = {"shots": 6, "block": 5, "contrasts": 0.5, "contrast_shots": 3}


def test_every_knob_has_a_test():
    assert KNOBS.keys() == {f.name for f in fields(PlanSettings)}


@pytest.mark.parametrize(("name", "value"), KNOBS.items())
def test_every_knob_changes_the_plan(name, value):
    data = dataset(40)
    before = replace(SMALL, contrasts=0.2)
    assert plan(data, settings=replace(before, **{name: value})) != plan(data, settings=before)


@pytest.mark.parametrize("block", [7, 20, 100])
def test_the_number_of_blocks(block):
    data = dataset(60)
    queries = plan(data, names=["plain"], settings=replace(SMALL, block=block))
    lists = {q.shots for q in queries if len(q.shots) == 4}
    assert len(lists) == -(-60 // block)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_where_the_budget_is_short_the_framings_take_turns(most: int):
    data = dataset(40)
    made = framings(task(4))
    semantic = [framing.name for framing in made if framing.semantic]
    assert len(semantic) == 4
    queries = zero_shot_round(data, made, most)
    assert all(q.shots == () for q in queries)
    for of, each in ((lambda q: q.target, most), (lambda q: q.framing, 10 * most)):
        counts = Counter(map(of, queries))
        assert set(counts.values()) == {each}
    assert len({(q.target, q.framing) for q in queries}) == 40 * most
    assert zero_shot_round(data, made, 9) == zero_shot_round(data, made)


def test_the_zero_shot_round_asks_all_in_what_means_something():
    data = dataset(7)
    made = framings(task(2), ["plain", "negated", "sets"])
    queries = zero_shot_round(data, made)
    assert [(q.framing, q.target) for q in queries] == [
        (name, id) for name in ("plain", "negated") for id in data.ids
    ]
    assert all(q == Query(q.target, (), q.framing) for q in queries)
    assert zero_shot_round(data, framings(task(2), ["sets"])) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"shots": 0},
        {"block": 0},
        {"contrast_shots": 0},
        {"contrasts": -0.1},
        {"contrasts": 1.1},
        {"contrasts": float("nan")},
    ],
    ids=str,
)
def test_a_wrong_setting_is_one_line(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))) as caught:
        PlanSettings(**wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(9, 2), (10, 3)])
def test_labels_must_fit_the_data(shape):
    with pytest.raises(InputError, match="labels of shape"):
        plan(dataset(10), np.full(shape, 0.5))


def test_a_draw_of_its_own_is_from_some_where_there_are_many(monkeypatch):
    """Who is in one relation with half of all sees shots of the others, drawn from a few."""
    ties = [("at-most-one", tuple(range(0, 120, 2)))]
    data = dataset(120, 2, [(RELATIONS[name], members) for name, members in ties])
    labels = believed(data)
    whole = plan(data, labels, settings=PlanSettings(shots=3, block=30))
    monkeypatch.setattr(planner, "ENOUGH_TO_DRAW_FROM", 40)
    few = plan(data, labels, settings=PlanSettings(shots=3, block=30, contrasts=0.2))
    for queries in (whole, few):
        check_round(data, [q for q in queries if len(q.shots) > 1], labels, 3)
    assert {q.target for q in whole} == {q.target for q in few}


def test_a_plan_holds_each_list_of_shots_once():
    data = dataset(400)
    queries = plan(data, settings=PlanSettings(shots=12, block=20))
    lists = {q.shots for q in queries if len(q.shots) == 12}
    assert len({id(q.shots) for q in queries if len(q.shots) == 12}) == len(lists)


def test_zero_shot_calls_are_those_of_the_round():
    for k in (2, 3):
        data = dataset(7, k)
        for names in (None, ["letters", "sets"]):
            for most in (None, 1, 2, 9):
                asked = framings(data.task, names)
                assert zero_shot_calls(data, asked, most) == len(zero_shot_round(data, asked, most))
