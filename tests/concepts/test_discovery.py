"""The census: that it finds what a model carries, tells it apart, and costs what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from consilience.concepts.concept import Concept, distinct, questions, reliability, same
from consilience.concepts.discovery import LEAST, Census, plan_census
from consilience.data.dataset import Dataset, Example
from consilience.data.relations import Opposite
from consilience.elicitation.session import Session, elicit, solve_run
from consilience.elicitation.settings import Settings
from consilience.elicitation.state import census_of
from consilience.errors import InputError
from consilience.models.simulated import WORLDS, SimulatedModel, true_label, world_dataset
from consilience.objective.coherence import default_terms
from consilience.planning.planner import PlanSettings, shot_round
from consilience.prompts.framing import framings
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store
from zoo import evidence

SETTINGS = Settings(calls_per_example=8.0, settled=0.0)
PAIRED = replace(SETTINGS, framings=("plain", "negated"), bias="paired")
"""How rare classes show in the answers: names change places, and there is no other offset."""
EXAMPLES = 160


def settings_of(world: str) -> Settings:
    return PAIRED if world.startswith("imbalanced") else SETTINGS


def truths(world: str, data: Dataset) -> np.ndarray:
    """Every concept that a simulated learner carries, (C, N); the first is the truth."""
    known = WORLDS[world]
    return np.array(
        [[true_label(known, c, id) for id in data.ids] for c in range(len(known.concepts))]
    )


def agreement(concept: Concept, labels: np.ndarray) -> float:
    known = concept.labels.max(axis=1) > 1 / concept.labels.shape[1] + 1e-9
    return float((concept.labels.argmax(axis=1) == labels)[known].mean())


@cache
def run(world: str, seed: int, examples: int = EXAMPLES) -> tuple[Dataset, Found, Store]:
    data, _ = world_dataset(world, examples, seed)
    store = Store()
    found = elicit(
        data, SimulatedModel(world), settings=settings_of(world), store=store, seed=seed,
        concurrency=1, solver=LBFGS(starts=2),
    )  # fmt: skip
    return data, found, store


# --- what is found -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("world", ["noisy", "imbalanced", "distractor"])
def test_the_truth_is_among_the_concepts_found(world: str, seed: int) -> None:
    data, found, _ = run(world, seed, 400)
    truth = truths(world, data)[0]
    assert len(found.concepts) > 1
    assert max(agreement(concept, truth) for concept in found.concepts) > 0.75


@pytest.mark.parametrize("world", [pytest.param("noisy", marks=pytest.mark.slow), "distractor"])
def test_each_concept_found_is_another_one_that_the_model_carries(world: str) -> None:
    data, found, _ = run(world, 0, 400)
    carried = truths(world, data)
    nearest = []
    for concept in found.concepts:
        near = [agreement(concept, labels) for labels in carried]
        assert max(near) > 0.7
        nearest.append(int(np.argmax(near)))
    assert len(set(nearest)) == len(nearest) >= 2


def test_what_a_model_holds_most_salient_is_chosen() -> None:
    # Of three concepts with priors of 0.2, 0.5 and 0.2 it is the second, which is not the truth.
    data, found, _ = run("distractor", 0, 400)
    carried = truths("distractor", data)
    assert agreement(found.concepts[0], carried[1]) > 0.7
    hard = found.solution.labels.argmax(axis=1)
    assert (hard == carried[1]).mean() > 0.75 > (hard == carried[0]).mean()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_three_landmarks_choose_the_truth_where_another_concept_is_more_salient(seed: int) -> None:
    data, found, store = run("distractor", seed, 400)
    truth = truths("distractor", data)[0]
    asked = found.questions(3)
    assert len(set(asked)) == 3
    landmark_classes = Landmarks.of({id: int(truth[data.index[id]]) for id in asked}, data)
    again = elicit(
        data, SimulatedModel("distractor"), settings=SETTINGS, store=store, seed=seed,
        concurrency=1, solver=LBFGS(starts=2), landmarks=landmark_classes,
    )  # fmt: skip
    assert (again.solution.labels.argmax(axis=1) == truth).mean() > 0.75
    # Zero-shot answers are not asked again.
    assert again.asked.known >= 2 * len(data)
    assert again.run.id != found.run.id


@pytest.mark.slow
def test_a_census_lifts_a_world_in_which_few_are_true() -> None:
    """By itself: that few are true also shows in the answers, which is not the matter here."""
    terms = {name: term for name, term in default_terms().items() if name != "class frequency"}
    accuracy: dict[float, list[float]] = {0.6: [], 0.0: []}
    for seed in (100, 101, 102):
        data, gold = world_dataset("imbalanced", 400, seed)
        truth = np.array([gold.labels[id] for id in data.ids])
        for share, reached in accuracy.items():
            made = elicit(
                data, SimulatedModel("imbalanced"), settings=replace(PAIRED, census=share),
                seed=seed, concurrency=1, solver=LBFGS(starts=2), terms=terms,
            )  # fmt: skip
            reached.append(float((made.solution.labels.argmax(axis=1) == truth).mean()))
    assert np.mean(accuracy[0.6]) > np.mean(accuracy[0.0]) + 0.05


@pytest.mark.slow
def test_a_labelling_with_a_rare_class_is_offered_at_times_and_not_preferred() -> None:
    ended, offered = [], []
    for seed in range(4):
        data, found, _ = run("imbalanced-distractor", seed, 400)
        rare, salient, _ = truths("imbalanced-distractor", data)
        ended.append((found.solution.labels.argmax(axis=1) == salient).mean() > 0.75)
        offered.append(max(agreement(concept, rare) for concept in found.concepts) > 0.75)
    assert sum(offered) >= 2
    # That learner follows labels that were drawn, and may lose its way by them.
    assert sum(ended) >= 3


# --- shots that say nothing about a labelling --------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_shots_are_balanced_against_known_labellings(k: int) -> None:
    rng = np.random.default_rng(k)
    data, _ = world_dataset("k4" if k > 2 else "noisy", 200)
    if k == 3:
        data = Dataset("three", data.examples, task=replace(data.task, classes=("a", "b", "c")))
    labels = rng.dirichlet(np.ones(k), size=200)
    known = [rng.integers(k, size=200) for _ in range(2)]
    cells = k**3
    settings = PlanSettings(shots=2 * cells, block=50)
    queries = shot_round(
        data, framings(data.task), labels,
        round=1, seed=0, settings=settings, against=known,
    )  # fmt: skip
    free = shot_round(
        data, framings(data.task), labels,
        round=1, seed=0, settings=settings,
    )  # fmt: skip
    for some, balanced in ((queries, True), (free, False)):
        lists = {q.shots for q in some if len(q.shots) == 2 * cells}
        assert lists
        counts = [
            Counter(
                (label, *(int(other[data.index[id]]) for other in known)) for id, label in shots
            )
            for shots in lists
        ]
        even = [len(count) == cells and set(count.values()) == {2} for count in counts]
        assert all(even) if balanced else not any(even)


def test_shots_come_from_the_pool_alone() -> None:
    data, _ = world_dataset("noisy", 120)
    pool = list(range(0, 120, 3))
    labels = np.random.default_rng(0).dirichlet((1, 1), size=120)
    queries = shot_round(
        data, framings(data.task), labels,
        round=1, seed=0, settings=PlanSettings(), pool=pool,
    )  # fmt: skip
    shown = {data.index[id] for q in queries for id, _ in q.shots}
    assert shown and shown <= set(pool)
    assert len({q.target for q in queries}) == 120


# --- the plan of a census ----------------------------------------------------------------------


def test_its_sample_is_of_whole_groups_and_has_the_landmarks() -> None:
    made = [Example(f"Text {g} {m}", group=f"group {g}") for g in range(60) for m in range(4)]
    data = Dataset("groups", made)
    landmark_classes = [3, 77]
    census = plan_census(data, 12 * len(data), 0.3, 1, 0, landmark_classes)
    assert census.concepts == 3
    inside = Counter(data.groups[i] for i in census.sample)
    # The last group may not fit.
    assert sum(count != 4 for count in inside.values()) <= 1 < len(inside)
    assert set(landmark_classes) <= set(census.sample)
    assert list(census.sample) == sorted(set(census.sample))
    assert plan_census(data, 12 * len(data), 0.3, 1, 0, landmark_classes) == census
    assert plan_census(data, 12 * len(data), 0.3, 1, 1, landmark_classes).sample != census.sample
    assert not set(census.others) & set(census.sample)


@pytest.mark.parametrize("examples", [20, 47, 48, 100, 400, 3000])
@pytest.mark.parametrize("calls", [1.0, 2.0, 4.0, 8.0, 32.0])
def test_it_leaves_enough_to_ask_everybody(examples: int, calls: float) -> None:
    data = Dataset("many", [Example(f"Text number {i}") for i in range(examples)])
    settings = Settings(calls_per_example=calls)
    census = census_of(data, settings, 0)
    room = settings.budget(data) - len(settings.zero_shot(data))
    spent = census.concepts * census.rounds * len(census.sample)
    assert spent <= 0.6 * room
    if census.concepts:
        assert len(census.sample) >= 48
        assert room - spent - (census.concepts - 1) * len(census.others) >= 1.5 * examples
    else:
        # Six rounds of 48 are too dear, or the calls too few for a choice to be worth any.
        few = (
            room < LEAST * examples
            or min(0.6 * room, room - 1.5 * examples - min(128, examples)) < 288
        )
        assert examples < 48 or few
    assert census_of(data, replace(settings, census=0.0), 0).concepts == 0


@pytest.mark.slow
@pytest.mark.parametrize(("calls", "contrasts"), [(6.0, 0.0), (8.0, 0.0), (8.0, 1.0)])
def test_it_is_a_part_of_the_budget(calls: float, contrasts: float) -> None:
    data, _ = world_dataset("noisy", 400)
    plan = PlanSettings(contrasts=contrasts)
    settings = replace(SETTINGS, calls_per_example=calls, plan=plan)
    model = SimulatedModel("noisy")
    with Store() as store:
        found = elicit(data, model, settings=settings, store=store, solver=LBFGS(starts=1))
        assert len(found.concepts) > 1
        planned = sum(map(len, store.rounds(found.run.id)))
        # With contrasts the last call or two may not make a pair.
        assert calls * 400 - 3 <= found.run.planned == planned <= calls * 400
        # And everybody is asked about the concept that was chosen.
        spoken = found.evidence.predictions.target[~found.evidence.predictions.zero]
        assert set(spoken.tolist()) == set(range(400))


def test_a_share_that_is_none_is_refused() -> None:
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="census is a share"):
            Settings(census=share)


# --- ranking -----------------------------------------------------------------------------------


def test_the_labels_rest_on_nothing_that_was_asked_about_another_concept() -> None:
    data, found, store = run("distractor", 0, 400)
    census = census_of(data, SETTINGS, 0)
    chosen = found.concepts[0].number
    rounds = set(found.evidence.predictions.round.tolist())
    for number in range(census.concepts):
        first = census.begin + number * census.rounds
        own = set(range(first, first + census.rounds))
        assert (own <= rounds) if number == chosen else not (own & rounds)
    assert 0 in rounds
    # All of it is kept in the store.
    assert len(store.rounds(found.run.id)) > len(rounds)


@pytest.mark.slow
def test_relations_speak_for_a_concept_that_keeps_them() -> None:
    data, found, store = run("noisy", 0)
    census = census_of(data, SETTINGS, 0)
    sample = list(census.sample)
    last = found.concepts[-1].labels.argmax(axis=1)
    # Facts that the last concept keeps, and the others break half of.
    pairs = []
    left = list(sample)
    while left:
        one = left.pop()
        other = next((i for i in left if last[i] != last[one]), None)
        if other is not None:
            left.remove(other)
            pairs.append(Opposite((data.ids[one], data.ids[other])))
    assert len(pairs) > 15
    bound = Dataset(data.name, data.examples, pairs, task=data.task)
    again = solve_run(store, found.run.id, bound, SETTINGS, solver=LBFGS(starts=1))
    first = again.concepts[0].labels.argmax(axis=1)
    assert (first == last)[sample].mean() > 0.9


def concept(labels: np.ndarray, number: int = 0) -> Concept:
    return Concept(number, labels, 0.0, 0.0, 0.0, 0.0)


def soft(hard: list[int], k: int = 2, sure: float = 0.9) -> np.ndarray:
    """Soft labels; −1 stands for none."""
    made = np.full((len(hard), k), (1 - sure) / (k - 1))
    made[np.arange(len(hard)), hard] = sure
    made[np.array(hard) < 0] = 1 / k
    return made


def test_a_concept_found_twice_or_turned_round_counts_once() -> None:
    one = soft([0, 1] * 6)
    nearly = soft([0, 1] * 5 + [0, 0])
    turned = one[:, ::-1]
    other = soft([0, 0, 1, 1] * 3)
    partly = soft([0, 1] * 2 + [-1] * 8)
    kept = distinct([concept(x, n) for n, x in enumerate((one, nearly, turned, other, partly))])
    assert [c.number for c in kept] == [0, 3]
    three = soft([0, 1, 2, 0, 1, 2], 3)
    renamed = three[:, [2, 0, 1]]
    assert len(distinct([concept(three), concept(renamed)])) == 1


def noisy(known: np.ndarray, seed: int, wide: float = 0.42) -> np.ndarray:
    """Soft labels whose log-odds are what is known, of variance 1, and noise."""
    odds = known + np.random.default_rng(seed).normal(scale=wide, size=len(known))
    return np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=1)


def test_two_noisy_findings_of_one_labelling_are_one_concept_and_of_two_are_two() -> None:
    rng = np.random.default_rng(3)
    truth, myth = rng.normal(size=(2, 400))
    # 1 / (1 + 0.42²) of the variance is signal.
    found = [replace(concept(noisy(truth, s)), reliability=0.85) for s in range(2)]
    hard = [c.labels.argmax(axis=1) for c in found]
    assert (hard[0] == hard[1]).mean() < 0.88
    assert same(*found)
    other = replace(concept(noisy(myth, 9)), reliability=0.85)
    assert not same(found[0], other)
    near = replace(concept(noisy(0.7 * truth + 0.71 * myth, 5)), reliability=0.85)
    assert not same(found[0], near)
    # Labels without noise that agree as little are two; of unreliable ones nobody can tell.
    assert not same(*(replace(c, reliability=1.0) for c in found))
    assert not same(*(replace(c, reliability=0.6) for c in found))
    assert len(distinct([*found, other])) == 2


def test_reliability_is_that_of_both_rounds_together() -> None:
    truth = np.random.default_rng(1).normal(size=400)
    rounds = [
        [(i, tuple(p), ((1 - i if i < 2 else 0, 0),)) for i, p in enumerate(noisy(truth, s, 1.0))]
        for s in (11, 12)
    ]
    made = evidence(400, [row for rows in rounds for row in rows])
    first = torch.arange(made.t) < 400
    # One round: half of it is signal; both: two thirds.
    assert reliability(made, first, ~first) == pytest.approx(2 / 3, abs=0.07)
    assert reliability(made, first, first & ~first) == 1.0


def test_the_questions_tell_every_pair_of_concepts_apart() -> None:
    a = soft([0, 0, 0, 0, 0, 0, 0, 0])
    b = soft([0, 0, 0, 0, 1, 1, 1, -1])
    c = soft([0, 0, 1, 1, 0, 0, 1, 1])
    asked = questions([concept(a), concept(b), concept(c)], 3)
    assert len(asked) == len(set(asked)) == 3
    hard = np.stack([x.argmax(axis=1) for x in (a, b, c)])[:, asked]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert (hard[one] != hard[two]).sum() >= 1
    # Nobody is asked about what a concept has no label for.
    assert 7 not in questions([concept(a), concept(b), concept(c)], 8)
    assert questions([concept(a)], 3) == []


# --- the store ---------------------------------------------------------------------------------


def stopped(session: Session, rounds: int) -> Iterator[Any]:
    for _ in range(rounds):
        session.ask(session.next_queries(), concurrency=1)
        session.learn()
        yield session.round


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 3, 7, 8, 10])
def test_a_run_that_stopped_in_its_census_ends_as_if_it_had_not(rounds: int) -> None:
    data, whole, other = run("noisy", 0)
    model = SimulatedModel("noisy")
    with Store() as store:
        session = Session(data, model, store, settings=SETTINGS, solver=LBFGS(starts=2))
        assert list(stopped(session, rounds))[-1] == rounds
        again = elicit(
            data, model, settings=SETTINGS, store=store, concurrency=1, solver=LBFGS(starts=2)
        )
        assert again.asked.known >= sum(map(len, store.rounds(again.run.id)[:rounds]))
        assert again.labels.equals(whole.labels)
        assert store.rounds(again.run.id) == other.rounds(whole.run.id)


def test_the_same_store_gives_the_same_concepts() -> None:
    data, found, store = run("noisy", 0)
    again = solve_run(store, found.run.id, data, SETTINGS, solver=LBFGS(starts=2))
    assert again.solution.labels.tobytes() == found.solution.labels.tobytes()
    assert len(again.concepts) == len(found.concepts)
    for one, two in zip(again.concepts, found.concepts, strict=True):
        assert one.labels.tobytes() == two.labels.tobytes()
        assert (one.support, one.lead, one.error) == (two.support, two.lead, two.error)


def test_the_first_leads_itself_by_nothing_and_the_others_by_what_they_lack() -> None:
    _, found, _ = run("distractor", 0, 400)
    first, *others = found.concepts
    assert first.lead == 0
    for other in others:
        assert other.lead >= 0 or first.support < other.support
        assert other.error > 0


def test_an_empty_census_has_no_rounds() -> None:
    census = Census((), 0, 1, 1)
    assert census.end == census.begin == 1


@pytest.mark.parametrize("grouped", [False, True])
def test_landmarks_are_in_the_sample_whatever_their_group(grouped):
    texts = [Example(f"A claim number {i}.", "all" if grouped else None) for i in range(400)]
    data = Dataset("x", texts)
    vouched = list(range(390, 400))
    census = plan_census(data, 2400, 0.6, 1, 0, vouched)
    assert set(vouched) <= set(census.sample)
    assert (
        len(census.sample)
        == len(set(census.sample))
        == len(plan_census(data, 2400, 0.6, 1, 0).sample)
    )
