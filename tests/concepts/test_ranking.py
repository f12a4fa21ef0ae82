"""Which concept of a census is meant: ranking, runoff and duels, on predictions made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from consilience.concepts.comparison import AGAIN, AGREED, COMMON, SHOWN, SURE, Duel
from consilience.concepts.concept import DOUBT, prevailing
from consilience.concepts.discovery import DUEL, Census
from consilience.concepts.ranking import (
    deciding_round,
    others,
    rank_concepts,
    without_rejected_concepts,
)
from consilience.data.dataset import Dataset
from consilience.data.relations import Opposite
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.elicitation.state import census_of
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.models.simulated import world_dataset
from consilience.planning.planner import PlanSettings
from zoo import Row, alone, dataset, pairs

N = 48
GROUND = np.arange(N)
# Any two of these agree on half of the examples.
ONE, TWO, THREE = GROUND % 2, GROUND // 2 % 2, GROUND // 4 % 2


def says(labels: Sequence[int] | np.ndarray, sure: float, at: Sequence[int] | None = None):
    """A prediction with shots for each example (at these positions) that favours its label."""
    where = range(len(labels)) if at is None else at
    return [(int(i), favours(int(labels[i]), sure), [((i + 1) % N, 1)]) for i in where]


def favours(label: int, sure: float) -> list[float]:
    return [sure, 1 - sure] if label == 0 else [1 - sure, sure]


def gut(labels: np.ndarray, sure: float) -> list[Row]:
    return [(int(i), favours(int(c), sure), ()) for i, c in enumerate(labels)]


def evidence(rounds: Sequence[Sequence[Row]], ties=()) -> tuple[Dataset, Evidence]:
    data = dataset(N, 2, ties)
    # What is asked twice is told apart by its shots, so a round's shot is of its own.
    asked = [
        pairs(data, [(t, p, [((t + 1 + r) % N, c) for _, c in shots]) for t, p, shots in rows])
        for r, rows in enumerate(rounds)
    ]
    return data, collect(data, [alone()], asked, bias="none")


def census(concepts: int, sample: int = N) -> Census:
    """One round per concept, after a zero-shot round."""
    return Census(tuple(range(sample)), concepts, 1, 1, tuple(range(sample, N)))


def numbers(standing) -> list[int]:
    return [c.number for c in standing.concepts]


def gained(sure: float) -> float:
    """The log-odds of an answer once it is doubted."""
    right, wrong = ((1 - DOUBT) * p + DOUBT / 2 for p in (sure, 1 - sure))
    return math.log(right / wrong)


def test_the_gut_answer_ranks_the_concepts_and_asks_for_a_duel() -> None:
    _, found = evidence([gut(TWO, 0.8), says(ONE, 0.9), says(TWO, 0.9)])
    standing = rank_concepts(census(2), found, 3)
    assert numbers(standing) == [1, 0]
    assert standing.duels == (Duel(3, 1, 0),)
    assert standing.end == 4
    assert not standing.runoff
    # They differ on half of the examples.
    assert standing.concepts[1].lead == pytest.approx(gained(0.8) / 2, abs=1e-6)


@pytest.mark.parametrize("sure", [0.7, 0.8, 0.9, 0.97])
def test_a_duel_is_added_to_the_gut_answer_in_nats(sure: float) -> None:
    apart = np.flatnonzero(ONE != TWO)
    rounds = [gut(TWO, 0.8), says(ONE, 0.9), says(TWO, 0.9), says(ONE, sure, apart)]
    _, found = evidence(rounds)
    standing = rank_concepts(census(2), found, 4)
    behind = (gained(0.8) - gained(sure)) / 2
    if behind < -1e-9:
        assert numbers(standing) == [0, 1]
    elif behind > 1e-9:
        assert numbers(standing) == [1, 0]
    assert standing.concepts[1].lead == pytest.approx(abs(behind), abs=1e-6)
    assert standing.concepts[0].lead == 0


@pytest.mark.parametrize("sure", [0.7, 0.8, 0.84, 0.97])
def test_two_that_a_duel_leaves_close_meet_again_with_one_shot(sure: float) -> None:
    apart = np.flatnonzero(ONE != TWO)
    rounds = [gut(TWO, 0.8), says(ONE, 0.9), says(TWO, 0.9), says(ONE, sure, apart)]
    standing = rank_concepts(census(2), evidence(rounds)[1], 4)
    second = standing.concepts[1]
    close = second.lead <= SURE * second.error
    assert close == (sure in (0.8, 0.84)), "both cases are tried"
    assert standing.duels[1:] == ((Duel(4, 1, 0, AGAIN),) if close else ())
    assert standing.end == 4 + close
    # What each of the two duels says is added up, on half of the examples.
    rounds.append(says(TWO, 0.75, apart[:10]))
    after = rank_concepts(census(2), evidence(rounds)[1], 5)
    leads = {c.number: c.lead for c in after.concepts}
    behind = (gained(0.8) - gained(sure) + close * gained(0.75)) / 2
    assert leads[0] - leads[1] == pytest.approx(behind, abs=1e-6)
    assert after.end == 4 + close


def test_what_is_asked_in_a_second_duel() -> None:
    rounds = [
        gut(TWO, 0.8),
        says(ONE, 0.9),
        says(TWO, 0.9),
        says(ONE, 0.8, np.flatnonzero(ONE != TWO)),
    ]
    data, found = evidence(rounds)
    standing = rank_concepts(census(2), found, 4)
    made = deciding_round(
        standing, census(2), data, [alone()], found, round=4, seed=0,
        plan=PlanSettings(),
    )  # fmt: skip
    assert len(made) == N // 4
    asked = [data.index[query.target] for query in made]
    assert (ONE[asked] != TWO[asked]).all()
    for query in made:
        ((id, label),) = query.shots
        assert label == ONE[data.index[id]] == TWO[data.index[id]]
    assert {query.shots[0][1] for query in made} == {0, 1}


def test_the_winner_meets_the_next_one() -> None:
    rounds = [gut(TWO, 0.8), says(ONE, 0.9), says(TWO, 0.9), says(THREE, 0.9)]
    _, found = evidence(rounds)
    before = rank_concepts(census(3), found, 4)
    assert before.duels[0].one == 1
    rival = before.duels[0].other
    hard = {0: ONE, 1: TWO, 2: THREE}
    rounds.append(says(hard[rival], 0.97, np.flatnonzero(hard[rival] != TWO)))
    _, found = evidence(rounds)
    after = rank_concepts(census(3), found, 5)
    last = ({0, 1, 2} - {1, rival}).pop()
    assert after.duels == (before.duels[0], Duel(5, rival, last))
    # The last wins too: whoever lost to the first of them is behind by both margins.
    rounds.append(says(hard[last], 0.97, np.flatnonzero(hard[last] != hard[rival])))
    _, found = evidence(rounds)
    end = rank_concepts(census(3), found, 6)
    assert numbers(end)[0] == last
    assert end.end == 6
    leads = {c.number: c.lead for c in end.concepts}
    one = rank_concepts(census(3), evidence(rounds[:5])[1], 5)
    assert leads[1] == pytest.approx(leads[rival] + abs(next(
        c.lead for c in one.concepts if c.number == 1)), abs=1e-6)  # fmt: skip
    assert sorted(leads.values()) == [c.lead for c in end.concepts]


def test_what_is_asked_in_a_duel() -> None:
    data, found = evidence([gut(TWO, 0.8), says(ONE, 0.9), says(TWO, 0.7)])
    plan = PlanSettings(contrasts=0.5)
    standing = rank_concepts(census(2), found, 3)
    queries = deciding_round(
        standing, census(2), data, [alone()], found, round=3, seed=5, plan=plan
    )
    at = data.index
    assert {at[q.target] for q in queries} == set(np.flatnonzero(ONE != TWO).tolist())
    lists = set()
    for query in queries:
        assert query.contrast is None
        assert len(query.shots) == len({id for id, _ in query.shots}) == SHOWN
        lists.add(query.shots)
        assert all(ONE[at[id]] == TWO[at[id]] for id, _ in query.shots)
    # What is peculiar to one list of shots is not shared by all targets.
    assert len(lists) > len(queries) // 2
    shown = [label == ONE[at[id]] for q in queries for id, label in q.shots]
    assert np.mean(shown) > 0.6


@pytest.mark.parametrize("turned", [False, True])
def test_where_a_class_prevails_half_of_the_lists_of_a_duel_are_not_even(turned: bool) -> None:
    # A labelling that puts 8 of 48 into a class, all of which the other puts there, too.
    rare = np.isin(GROUND % 12, (2, 3)).astype(int)
    prevails = np.where(GROUND % 8 == 0, 1, 0)
    ones = {}
    for answers in (TWO, prevails):
        labels = [1 - x if turned else x for x in (answers, rare, TWO)]
        data, found = evidence([gut(labels[0], 0.7), *(says(x, 0.9) for x in labels[1:])])
        one_sided = answers is prevails
        assert prevailing(found) == (int(turned) if one_sided else None)
        standing = rank_concepts(census(2), found, 3)
        queries = deciding_round(
            standing, census(2), data, [alone()], found, round=3, seed=0,
            plan=PlanSettings(),
        )  # fmt: skip
        assert {data.index[q.target] for q in queries} == set(np.flatnonzero(rare != TWO))
        ones[one_sided] = np.array(
            [sum(label != turned for _, label in q.shots) for q in queries]
        )  # fmt: skip
        assert all(len(q.shots) == SHOWN for q in queries)
    assert (ones[False] == SHOWN // 2).all()
    even = ones[True] == SHOWN // 2
    assert len(even) / 2 <= even.sum() < len(even)
    # Those that both agree on are sooner of the other class.
    assert (ones[True] < SHOWN // 2).sum() > (ones[True] > SHOWN // 2).sum()


def test_no_class_prevails_where_nobody_was_asked_without_shots() -> None:
    assert prevailing(evidence([says(np.zeros(N, int), 0.9)])[1]) is None


def test_a_duel_asks_no_more_than_it_may() -> None:
    data = dataset(4 * DUEL)
    n = len(data)
    one, two = np.arange(n) % 2, np.arange(n) // 2 % 2
    rounds = [
        [(int(i), favours(int(two[i]), 0.8), ()) for i in range(n)],
        *[[(int(i), favours(int(x[i]), 0.9), [((i + r) % n, 1)]) for i in range(n)]
          for r, x in ((1, one), (2, two))],
    ]  # fmt: skip
    found = collect(data, [alone()], [pairs(data, rows) for rows in rounds])
    whole = Census(tuple(range(n)), 2, 1, 1)
    standing = rank_concepts(whole, found, 3)
    queries = deciding_round(
        standing, whole, data, [alone()], found, round=3, seed=0,
        plan=PlanSettings(),
    )  # fmt: skip
    assert len(queries) == DUEL < (one != two).sum()


def test_landmarks_choose_without_runoff_or_duel() -> None:
    _, found = evidence([gut(TWO, 0.8), says(ONE, 0.9), says(TWO, 0.9)])
    standing = rank_concepts(census(2, 40), found, 3, {1: 1, 3: 1, 6: 0})
    assert numbers(standing)[0] == 0
    assert (standing.runoff, standing.duels, standing.end) == ({}, (), 3)


def test_a_concept_found_twice_is_not_asked_about_twice() -> None:
    again = TWO.copy()
    again[:3] = 1 - again[:3]
    # Close by the gut answer, which would be a runoff between them if they were two.
    _, found = evidence([gut(TWO, 0.8), says(again, 0.9), says(TWO, 0.9)])
    standing = rank_concepts(census(2, 40), found, 3)
    assert (standing.runoff, standing.duels, standing.end) == ({}, (), 3)


def test_a_concept_found_twice_is_not_ahead_of_those_that_its_first_finding_lost_to() -> None:
    """It has labels in the sample alone, where the gut answer still preferred it."""
    inside, outside = range(32), range(32, N)
    again = TWO.copy()
    again[12:14] = 1 - again[12:14]
    ahead = np.where((GROUND >= 12) & (GROUND < 32), TWO, ONE)
    rows = gut(ahead[:32], 0.6) + [(int(i), favours(int(ONE[i]), 0.9), ()) for i in outside]
    rounds = [rows, says(ONE, 0.9, inside), says(TWO, 0.9, inside), says(again, 0.9, inside)]
    before = rank_concepts(census(3, 32), evidence(rounds)[1], 4)
    assert numbers(before) == [1, 2, 0]
    assert before.runoff == {1: 4, 0: 5}
    rounds += [says(TWO, 0.9), says(ONE, 0.9, outside)]
    after = rank_concepts(census(3, 32), evidence(rounds)[1], 6)
    assert numbers(after) == [0, 1, 2]
    lead, repeated = after.concepts[1].lead, after.concepts[2].lead
    # Two of the 32 that both have a label for are not those that the gut answer gives.
    assert repeated - lead == pytest.approx(2 / 32 * gained(0.6), abs=1e-6)


@pytest.mark.parametrize(("least", "turn"), [(AGREED, True), (COMMON, False)])
def test_who_agree_or_disagree_on_too_few_do_not_meet(least: int, turn: bool) -> None:
    """Of few that they agree on the same are shown to everybody; of few others little is told."""
    for few, duels in ((least - 1, 0), (least, 1)):
        other = 1 - TWO if turn else TWO.copy()
        other[:few] = TWO[:few] if turn else 1 - TWO[:few]
        _, found = evidence([gut(TWO, 0.8), says(other, 0.9), says(TWO, 0.9)])
        assert len(rank_concepts(census(2), found, 3).duels) == duels


def test_close_concepts_are_asked_about_outside_the_sample_first() -> None:
    half = np.where(GROUND % 3 == 0, ONE, TWO)
    where = range(32)
    found_rounds = [gut(half, 0.6), says(ONE, 0.9, where), says(TWO, 0.9, where)]
    data, found = evidence(found_rounds)
    part = census(2, 32)
    standing = rank_concepts(part, found, 3)
    first, second = numbers(standing)
    assert standing.runoff == {first: 3, second: 4}
    assert standing.duels == ()
    asked = [
        deciding_round(
            standing,
            part,
            data,
            [alone()],
            found,
            round=r,
            seed=0,
            plan=PlanSettings(),
        )
        for r in (3, 4)
    ]
    assert {q.target for q in asked[0]} == set(data.ids)
    assert {q.target for q in asked[1]} == set(data.ids[32:])
    assert all(data.index[id] < 32 for round in asked for q in round for id, _ in q.shots)
    # Once both rounds are in, both have labels everywhere; then they meet.
    hard = {0: ONE, 1: TWO}
    found_rounds += [says(hard[first], 0.9), says(hard[second], 0.9, range(32, N))]
    _, found = evidence(found_rounds)
    after = rank_concepts(part, found, 5)
    assert after.runoff == standing.runoff
    for concept in after.concepts:
        assert (concept.labels.argmax(axis=1) == hard[concept.number]).all()
    assert after.duels == (Duel(5, numbers(after)[0], numbers(after)[1]),)
    assert after.end == 6


def test_what_was_planned_or_decided_stays_so_whatever_later_evidence_says() -> None:
    """A gut answer that reads otherwise from round to round, as bias is taken out of more."""
    third = GROUND % 3 == 0
    gut_one, gut_two = np.where(third, TWO, ONE), np.where(third, ONE, TWO)
    inside, outside = range(32), range(32, N)
    part, apart = census(2, 32), np.flatnonzero(ONE != TWO)
    rounds = [gut(gut_one, 0.6), says(ONE, 0.9, inside), says(TWO, 0.9, inside)]
    before = rank_concepts(part, evidence(rounds)[1], 3)
    assert before.runoff == {0: 3, 1: 4}
    # Now the other is ahead: what was asked about the first is still its own.
    rounds = [gut(gut_two, 0.6), *rounds[1:], says(ONE, 0.9)]
    assert rank_concepts(part, evidence(rounds)[1], 4).runoff == {1: 3, 0: 4}
    before = rank_concepts(part, evidence(rounds)[1], 4, before=before)
    assert before.runoff == {0: 3, 1: 4}
    rounds.append(says(TWO, 0.9, outside))
    before = rank_concepts(part, evidence(rounds)[1], 5, before=before)
    for concept in before.concepts:
        assert (concept.labels.argmax(axis=1) == (ONE, TWO)[concept.number]).all()
    assert before.duels == (Duel(5, 1, 0),)
    # Those who met, and who won, do not change either.
    rounds = [gut(gut_one, 0.6), *rounds[1:], says(ONE, 0.97, apart)]
    before = rank_concepts(part, evidence(rounds)[1], 6, before=before)
    assert before.duels == (Duel(5, 1, 0),)
    assert numbers(before) == [0, 1]
    rounds = [gut(TWO, 0.99), *rounds[1:]]
    assert numbers(rank_concepts(part, evidence(rounds)[1], 6)) == [1, 0]
    after = rank_concepts(part, evidence(rounds)[1], 6, before=before)
    assert numbers(after) == [0, 1]
    assert [c.lead for c in after.concepts] == [c.lead for c in before.concepts]


def test_where_the_budget_is_small_a_runoff_asks_the_same_others_about_each() -> None:
    half = np.where(GROUND % 3 == 0, ONE, TWO)
    where = range(32)
    data, found = evidence([gut(half, 0.6), says(ONE, 0.9, where), says(TWO, 0.9, where)])
    part = replace(census(2, 32), wide=False)
    standing = rank_concepts(part, found, 3)
    assert len(standing.runoff) == 2
    for r in standing.runoff.values():
        queries = deciding_round(
            standing, part, data, [alone()], found, round=r, seed=0,
            plan=PlanSettings(),
        )  # fmt: skip
        assert {q.target for q in queries} == set(data.ids[32:])


@pytest.mark.parametrize("calls", [3, 4, 5, 6, 8, 16])
@pytest.mark.parametrize("n", [240, 400, 1580])
def test_who_wins_a_runoff_everybody_can_be_asked_about(calls: int, n: int) -> None:
    data, _ = world_dataset("noisy", n)
    settings = Settings(calls_per_example=calls)
    part = census_of(data, settings, 0)
    if not part.concepts:
        pytest.skip("no room for a census")
    room = settings.budget(data) - len(settings.zero_shot(data))
    runoff = len(part.others) * (part.concepts - 1) + (n if part.wide else len(part.others))
    spent = part.concepts * part.rounds * len(part.sample) + runoff
    spent += (part.concepts - 1) * min(DUEL, n)
    assert room - spent >= n
    # Or, after second duels, who was not asked about the winner in its census or the runoff.
    spent += (part.concepts - 1) * min(DUEL, n // 4)
    assert room - spent >= n - len(part.sample) - len(part.others)


def test_relations_count_beside_the_gut_answer() -> None:
    ties = [(Opposite, (i, i + 1)) for i in range(0, N, 2)]
    _, found = evidence([gut(TWO, 0.6), says(ONE, 0.9), says(TWO, 0.9)], ties)
    # ONE keeps every pair, TWO none.
    assert numbers(rank_concepts(census(2), found, 3)) == [0, 1]


def test_the_labels_rest_on_no_duel_and_on_no_other_concept() -> None:
    apart = np.flatnonzero(ONE != TWO)
    rounds = [
        gut(TWO, 0.8), says(ONE, 0.9), says(TWO, 0.9), says(ONE, 0.97, apart), says(ONE, 0.9)
    ]  # fmt: skip
    _, found = evidence(rounds)
    standing = rank_concepts(census(2), found, 5)
    assert numbers(standing)[0] == 0
    for vouched, counted in ((False, {0, 1, 4}), (True, {1, 4})):
        # The gut answers are of the other one, which somebody who vouches has ruled out.
        kept = without_rejected_concepts(census(2), standing, found, vouched=vouched)
        assert set(kept.predictions.round.tolist()) == counted
    assert [x.tolist() for x in others(standing, 0)] == [TWO.tolist()]


@pytest.mark.slow
def test_a_model_whose_gut_answer_is_the_popular_one() -> None:
    """A real network says the popular belief without shots, and the truth once it sees some."""
    pytest.importorskip("transformers", reason="local models are an extra")
    from consilience.concepts.concept import support
    from consilience.datasets import load_dataset
    from consilience.elicitation.settings import Settings
    from consilience.models import open_model
    from consilience.solvers.lbfgs import LBFGS
    from consilience.store.database import Store

    data, gold = load_dataset("pocket-popular", seed=1, claims="240")
    assert gold is not None
    truth = np.array([gold.labels[id] for id in data.ids])
    with Store() as store:
        found = elicit(
            data, open_model("local:pocket"), store=store, solver=LBFGS(starts=1),
            settings=Settings(framings=("plain", "negated")),
        )  # fmt: skip
    assert len(found.concepts) > 1
    first, second = (c.labels.argmax(axis=1) == truth for c in found.concepts[:2])
    sample = found.concepts[1].labels.max(axis=1) > 0.5 + 1e-9
    assert first[sample].mean() > max(0.8, second[sample].mean())
    # By zero-shot answers alone the other is ahead.
    gut = found.evidence.only(found.evidence.predictions.zero)
    gut_answers = [np.nanmean(support(gut, c.labels)) for c in found.concepts[:2]]
    assert gut_answers[1] > gut_answers[0]
    assert (found.solution.labels.argmax(axis=1) == truth).mean() > 0.8
