"""The loop: its budget, its rest, its resumption, and that every knob of it does something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import Equal, ExactlyOne
from consilience.elicitation.session import Session, elicit, gather, solve_run
from consilience.elicitation.settings import Settings, record, settings_from
from consilience.elicitation.stages import stage_of
from consilience.elicitation.state import RunState
from consilience.errors import InputError, ServerError, StoreError
from consilience.evaluation.baselines import gold_array
from consilience.models.base import Model
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.objective.coherence import TERMS, default_terms, entropy
from consilience.objective.conditioning import State
from consilience.objective.term import Term
from consilience.planning.planner import PlanSettings
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.store.database import Store
from recorder import Recorder, failing

LAMPS = Dataset("lamps", [Example(f"The lamp number {i} is lit.") for i in range(16)])
ONCE = LBFGS(starts=1)
SMALL = PlanSettings(shots=4, block=6)


def small(**given: Any) -> Settings:
    return Settings(**({"calls_per_example": 4.0, "plan": SMALL, "settled": 0.0} | given))


def whole(session: Session, concurrency: int = 1) -> Session:
    """A session asked to its end, without the last solve."""
    while queries := session.next_queries():
        session.ask(queries, concurrency=concurrency)
        session.learn()
    return session


@pytest.fixture
def store():
    with Store() as opened:
        yield opened


# --- budget ----------------------------------------------------------------------------------


@pytest.mark.parametrize("contrasts", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("calls", [2.0, 2.5, 3.0, 8.0])
def test_the_budget_is_used_and_never_exceeded(
    store: Store, calls: float, contrasts: float
) -> None:
    model = SimulatedModel("noisy")
    settings = small(calls_per_example=calls, plan=replace(SMALL, contrasts=contrasts))
    session = whole(Session(LAMPS, model, store, settings=settings))
    budget = int(calls * len(LAMPS))
    planned = sum(len(rows) for rows in store.rounds(session.run))
    assert planned == session.state.planned <= budget
    # With contrasts the last call or two may not make a pair.
    assert planned == budget or (contrasts and budget - planned < 8)
    made = [q.contrast is not None for rows in store.rounds(session.run) for _, q in rows]
    assert any(made) == (contrasts > 0)


@pytest.mark.parametrize("calls", [0.5, 0.9])
def test_a_budget_below_the_first_round_is_refused_before_anything_is_asked(calls: float) -> None:
    model = Recorder()
    with pytest.raises(InputError, match=rf"{calls:g} calls .* 16 of the zero-shot round"):
        elicit(LAMPS, model, calls_per_example=calls)
    assert model.asked == []


@pytest.mark.parametrize("calls", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_number_of_calls_is_refused(calls: float) -> None:
    with pytest.raises(InputError, match="calls per example"):
        Settings(calls_per_example=calls)


@pytest.mark.parametrize("settled", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(settled: float) -> None:
    with pytest.raises(InputError, match="settled"):
        Settings(settled=settled)


def test_the_last_partial_round_goes_to_the_least_sure(store: Store) -> None:
    settings = small(calls_per_example=3.25)
    session = Session(LAMPS, SimulatedModel("noisy"), store, settings=settings)
    while len(store.rounds(session.run)) < 3:
        session.ask(session.next_queries())
        session.learn()
    last = session.next_queries()
    assert session.labels is not None
    unsure = np.argsort(session.labels.max(axis=1))[:4]
    assert {q.target for q in last} == {LAMPS.ids[i] for i in unsure}
    assert len(last) == 4


# --- rest ------------------------------------------------------------------------------------


def test_it_stops_when_the_labels_have_settled_and_says_what_that_saved() -> None:
    data, _ = world_dataset("easy", 30)
    model = SimulatedModel("easy")
    with Store() as store:
        settings = Settings(calls_per_example=12.0, plan=SMALL, settled=0.05)
        found = elicit(data, model, settings=settings, store=store, solver=ONCE)
        assert found.run.planned + found.saved == 12 * 30
        assert found.saved > 0
        assert found.asked.calls == found.run.planned
        full = elicit(
            data, model, settings=replace(settings, settled=0.0), store=store, solver=ONCE
        )
        assert (full.run.planned, full.saved) == (12 * 30, 0)
        rounds, longer = store.rounds(found.run.id), store.rounds(full.run.id)
    # It is the same run up to where it stopped.
    assert longer[: len(rounds)] == rounds


@pytest.mark.slow
def test_it_stops_though_undecided_labels_still_flip() -> None:
    data, _ = world_dataset("no-answer", 100)
    settings = Settings(calls_per_example=32.0, plan=SMALL, census=0.0, settled=0.02)
    after: list[np.ndarray] = []
    with Store() as store:
        model = SimulatedModel("no-answer")
        session = Session(data, model, store, settings=settings, solver=ONCE)
        while queries := session.next_queries():
            session.ask(queries)
            session.learn()
            assert session.labels is not None
            after.append(session.labels)
        assert session.state.planned < 32 * len(data)
    pairs = list(pairwise(after))
    moved = [float(np.abs(b - a).sum(axis=1).mean() / 2) for a, b in pairs]
    flipped = [float((b.argmax(axis=1) != a.argmax(axis=1)).mean()) for a, b in pairs]
    quiet = [share < settings.settled for share in moved]
    # At the first two quiet rounds running, and no later.
    assert quiet[-2:] == [True, True]
    assert not any(one and two for one, two in pairwise(quiet[:-1]))
    assert min(flipped[-2:]) > settings.settled


# --- resumption ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[pd.DataFrame, list[str]]:
    model = Recorder()
    found = elicit(LAMPS, model, settings=small(), solver=ONCE, concurrency=1)
    return found.labels, [str(r.prompt) for r in model.asked]


@pytest.mark.parametrize("concurrency", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize(
    "after",
    [pytest.param(1, marks=pytest.mark.slow), 33, pytest.param(50, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt, lambda: ServerError("none", fatal=True)],
    ids=["interrupt", "fatal"],
)
def test_interrupted_and_continued_nothing_is_asked_twice_and_the_labels_are_the_same(
    uninterrupted: tuple[pd.DataFrame, list[str]],
    store: Store,
    error: Callable[[], BaseException],
    after: int,
    concurrency: int,
) -> None:
    labels, prompts = uninterrupted
    given = {"settings": small(), "store": store, "solver": ONCE, "concurrency": concurrency}
    first = Recorder(failing(lambda call: call == after, error))
    with pytest.raises(type(error())):
        elicit(LAMPS, first, **given)
    planned = {key for rows in store.rounds(store.run().id) for key, _ in rows}
    kept = [str(store.detail(key)["prompt"]) for key in store.known(planned)]
    assert after - 1 <= len(kept) < after + concurrency
    second = Recorder()
    found = elicit(LAMPS, second, **given)
    pd.testing.assert_frame_equal(found.labels, labels, check_exact=True)
    assert sorted(kept + [str(r.prompt) for r in second.asked]) == sorted(prompts)
    assert len(store.runs()) == 1
    third = Recorder()
    assert elicit(LAMPS, third, **given).labels.equals(labels)
    assert third.asked == []


def test_a_query_that_failed_and_is_answered_later_does_not_stand_in_the_way(store: Store) -> None:
    # Round 1 was planned without the answer; later the same run is continued, and gets it.
    first = Recorder(failing(lambda call: call in (3, 4, 5), lambda: ServerError("busy")))
    given = {"settings": small(), "store": store, "solver": ONCE, "concurrency": 1}
    before = elicit(LAMPS, first, **given)
    assert (before.evidence.tally.absent, len(before.asked.failures)) == (3, 3)
    planned = store.rounds(before.run.id)
    second = Recorder()
    after = elicit(LAMPS, second, **given)
    assert (after.evidence.tally.absent, len(second.asked)) == (0, 3)
    assert store.rounds(before.run.id) == planned
    assert not after.labels.equals(before.labels)


def test_a_plan_that_has_changed_is_not_continued(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"settings": small(), "store": store, "solver": ONCE, "concurrency": 1}
    model = Recorder(failing(lambda call: call == 20, lambda: ServerError("none", fatal=True)))
    with pytest.raises(ServerError):
        elicit(LAMPS, model, **given)

    def reworded(*words: Any) -> str:
        return "As it happens: " + str(words[2])

    monkeypatch.setattr("consilience.store.planned_requests.render_target", reworded)
    later = Recorder()
    with pytest.raises(StoreError, match="another plan"):
        elicit(LAMPS, later, **given)
    assert later.asked == []


def test_what_decides_the_labels_decides_which_run_it_is(store: Store) -> None:
    def damped(state: State, share: float) -> Any:
        return share * entropy(state)

    terms = default_terms()
    base: dict[str, Any] = {"settings": small(calls_per_example=2.0), "solver": ONCE}
    heavier = terms | {"entropy": TERMS["entropy"].at(2.0)}
    mine = terms | {"mine": Term(partial(damped, share=0.5), 0.1)}
    variants: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"terms": heavier},
        {"terms": mine},
        {"solver": LBFGS(starts=2)},
        {"model": SimulatedModel("easy")},
        {"settings": small(calls_per_example=2.5)},
    ]
    ids = [run_id(store, **(base | variant)) for variant in variants]
    assert len(set(ids)) == len(ids)
    # Said again, and said otherwise, it is the same run.
    again = [run_id(store, **(base | variant)) for variant in variants]
    assert again == ids
    assert run_id(store, **base, terms=default_terms()) == ids[0]


def run_id(store: Store, model: Model | None = None, **given: Any) -> str:
    """The id of the run that these arguments are."""
    settings, terms = given["settings"], given.get("terms") or default_terms()
    kept = record(settings, terms, given["solver"])
    chosen = model or SimulatedModel("noisy")
    return store.start_run(LAMPS, chosen, kept, given.get("seed", 0))


def test_settings_are_read_back_as_they_were_written(store: Store) -> None:
    settings = Settings(
        calls_per_example=2.5,
        framings=("plain", "sets"),
        anchor="whether a lamp is lit",
        plan=PlanSettings(5, 7, 0.25, 2),
        priors=True,
        settled=0.01,
    )
    session = Session(LAMPS, SimulatedModel("noisy"), store, settings=settings)
    assert settings_from(store.run(session.run).settings) == settings
    written = record(Settings(), default_terms(), ONCE)
    assert settings_from(written) == Settings()


# --- from the store alone --------------------------------------------------------------------


def test_the_store_alone_gives_the_labels_again_and_the_session_too(store: Store) -> None:
    settings = small()
    session = whole(Session(LAMPS, SimulatedModel("noisy"), store, settings=settings, solver=ONCE))
    found = elicit(LAMPS, Recorder(name="nobody"), settings=settings, solver=ONCE)
    found = elicit(LAMPS, SimulatedModel("noisy"), settings=settings, store=store, solver=ONCE)
    assert found.asked.calls == 0
    alone = solve_run(store, session.run, LAMPS, settings, solver=ONCE)
    assert alone.labels.equals(found.labels)
    replayed = Session(LAMPS, Recorder(), store, settings=settings, solver=ONCE)
    assert replayed.run != session.run
    replayed = Session(LAMPS, SimulatedModel("noisy"), store, settings=settings, solver=ONCE)
    replayed.catch_up()
    assert (replayed.round, replayed.state.planned) == (session.round, session.state.planned)
    assert replayed.state.quiet == session.state.quiet
    np.testing.assert_array_equal(replayed.labels, session.labels)
    assert replayed.next_queries() == []


def test_catching_up_ends_where_the_store_does(store: Store) -> None:
    model = Recorder(failing(lambda call: call == 20, lambda: ServerError("none", fatal=True)))
    settings = small()
    with pytest.raises(ServerError):
        elicit(LAMPS, model, settings=settings, store=store, solver=ONCE, concurrency=1)
    session = Session(LAMPS, Recorder(), store, settings=settings, solver=ONCE)
    session.catch_up()
    assert (session.round, session.state.planned) == (1, 16)
    planned = [query for _, query in store.rounds(session.run)[1]]
    assert session.next_queries() == planned


# --- every knob does something ---------------------------------------------------------------


@pytest.fixture(scope="module")
def knobs():
    """A grouped world, its store, and the plan and labels of the settings to compare with."""
    data, _ = world_dataset("grouped", 30)
    model = SimulatedModel("grouped")
    with Store() as store:

        def outcome(settings: Settings, seed: int = 0) -> Any:
            session = whole(
                Session(data, model, store, settings=settings, seed=seed, solver=ONCE), 4
            )
            plan = [query for rows in store.rounds(session.run) for _, query in rows]
            return plan, session.labels

        yield outcome, outcome(small(framings=("plain", "sets")))


@pytest.mark.parametrize(
    "change",
    [
        {"calls_per_example": 3.5},
        {"framings": ("plain", "letters")},
        {"plan": replace(SMALL, shots=5)},
        {"plan": replace(SMALL, block=3)},
        {"plan": replace(SMALL, contrasts=0.2)},
        {"settled": 0.9},
    ],
    ids=str,
)
def test_a_knob_changes_what_is_asked(knobs: Any, change: dict[str, Any]) -> None:
    outcome, (plan, _) = knobs
    assert outcome(small(**({"framings": ("plain", "sets")} | change)))[0] != plan


@pytest.mark.parametrize(("first", "each"), [(0.2, 1), (0.5, 2), (1.0, 2)])
def test_a_share_of_the_budget_is_asked_zero_shot(store: Store, first: float, each: int) -> None:
    session = Session(LAMPS, Recorder(), store, settings=small(first=first), solver=ONCE)
    queries = session.next_queries()
    assert len(queries) == each * len(LAMPS)
    assert not any(q.shots for q in queries)
    with pytest.raises(InputError, match="first is a share"):
        small(first=0.0)


def test_the_seed_changes_what_is_asked(knobs: Any) -> None:
    outcome, (plan, _) = knobs
    assert outcome(small(framings=("plain", "sets")), seed=1)[0] != plan


def test_an_anchor_and_the_priors_change_the_labels(knobs: Any) -> None:
    outcome, (_, labels) = knobs
    for change in ({"anchor": "whether the valve is open"}, {"priors": True}):
        other = outcome(small(framings=("plain", "sets"), **change))[1]
        assert not np.array_equal(other, labels)


def test_terms_and_solver_are_used(store: Store) -> None:
    data, _ = world_dataset("noisy", 24)
    model = SimulatedModel("noisy")

    given: dict[str, Any] = {"settings": small(calls_per_example=3.0)}
    plain = whole(Session(data, model, store, **given, solver=ONCE))
    terms = default_terms() | {"entropy": TERMS["entropy"].at(3.0)}
    softer = whole(Session(data, model, store, **given, solver=ONCE, terms=terms))
    assert softer.labels is not None
    assert plain.labels is not None
    assert softer.labels.max(axis=1).mean() < plain.labels.max(axis=1).mean() - 0.05
    found = elicit(data, model, **given, store=store, solver=LBFGS(starts=3))
    assert sum(optimum.starts for optimum in found.solution.optima) == 3


# --- worlds ----------------------------------------------------------------------------------


def test_four_classes_are_told_apart() -> None:
    data, gold = world_dataset("k4", 60)
    found = elicit(data, SimulatedModel("k4"), calls_per_example=6, solver=ONCE)
    assert found.solution.labels.shape == (60, 4)
    right = found.solution.labels.argmax(axis=1) == gold_array(data, gold)
    assert right.mean() > 0.6
    assert list(found.labels.columns[-4:]) == ["p_Amber", "p_Blue", "p_Coral", "p_Dun"]
    assert found.polarity == "by the meaning of the label names"


def test_in_neutral_sets_alone_the_orientation_is_said_to_be_undetermined() -> None:
    data, _ = world_dataset("easy", 40)
    settings = Settings(calls_per_example=4.0, framings=("sets",), settled=0.0)
    model = Recorder(usage={})
    found = elicit(data, SimulatedModel("easy"), settings=settings, solver=ONCE)
    assert found.polarity.startswith("undetermined")
    assert (found.run.planned, found.run.rounds) == (160, 4)
    assert not bool(found.evidence.predictions.zero.any())
    few = elicit(data, model, settings=replace(settings, calls_per_example=0.5), solver=ONCE)
    assert len(model.asked) == 20
    assert len(few.labels) == 40
    # Who was not asked has no label.
    unasked = few.labels[few.labels["predictions"] == 0]
    assert len(unasked) == 20
    assert unasked[["label", "name", "probability"]].isna().all(axis=None)
    assert unasked["open"].all()


@pytest.mark.slow
def test_in_neutral_sets_alone_the_first_labels_are_not_forgotten(store: Store) -> None:
    # How often a class is found says nothing where the first labels are drawn.
    terms = {name: term for name, term in default_terms().items() if name != "class frequency"}
    reached = []
    for seed in (1, 2, 3):
        data, gold = world_dataset("easy", 60, seed)
        settings = Settings(calls_per_example=6.0, framings=("sets",), settled=0.0)
        model = SimulatedModel("easy")
        given = {"settings": settings, "seed": seed, "terms": terms, "solver": ONCE}
        session = whole(Session(data, model, store, **given))
        for rows in store.rounds(session.run):
            shown = [label for _, query in rows for _, label in query.shots]
            assert 0.4 < np.mean(shown) < 0.6
        found = solve_run(store, session.run, data, settings, terms, ONCE)
        right = (found.solution.labels.argmax(axis=1) == gold_array(data, gold)).mean()
        reached.append(max(right, 1 - right))
    assert np.mean(reached) > 0.6 and max(reached) > 0.9


def test_design_priors_hold_in_the_labels_and_raise_accuracy_where_they_are_true() -> None:
    gains = []
    for seed in range(3):
        data, gold = world_dataset("grouped", 60, seed)
        truth = gold_array(data, gold)
        settings = Settings(calls_per_example=3.0)
        with Store() as store:
            model = SimulatedModel("grouped")
            run = whole(Session(data, model, store, settings=settings, solver=ONCE)).run
            rights, violated = [], []
            for priors in (False, True):
                chosen = replace(settings, priors=priors)
                labels = solve(gather(store, run, data, chosen), solver=ONCE).labels
                hard = labels.argmax(axis=1)
                rights.append((hard == truth).mean())
                groups = [[data.index[m] for m in r.members] for r in data.relations]
                violated.append(sum(hard[members].sum() != 1 for members in groups))
            assert violated[1] < 0.7 * violated[0]
        gains.append(rights[1] - rights[0])
    assert np.mean(gains) > 0.02


@pytest.mark.parametrize(
    "texts",
    [
        ["One."],
        ["One.", "Two."],
        ["the same", "The same"],
        [f"This is the very same text {c}" for c in "abcdef"],
        ["!", "?", "...", "—", "¿", "。"],
        ["\u200b", "\u200b\u200b", "   x"],
        ["猫が眠る", "犬が走る", "鳥が飛ぶ"],
        ["A text " * 2000, "short"],
    ],
    ids=["one", "two", "case", "one character", "marks", "invisible", "no spaces", "long"],
)
def test_the_smallest_and_oddest_data_sets_are_labelled(texts: list[str]) -> None:
    data = Dataset("odd", [Example(text) for text in texts])
    model = Recorder()
    found = elicit(data, model, calls_per_example=4, solver=ONCE)
    assert len(found.labels) == len(texts)
    assert found.labels["probability"].between(0.5, 1).all()
    prompts = [str(request.prompt) for request in model.asked]
    assert len(prompts) == len(set(prompts))
    for text in texts:
        assert any(text in prompt for prompt in prompts)


def test_a_model_of_ones_own_needs_a_name_a_style_settings_and_ask() -> None:
    model = Recorder(style="chat", settings={"temperature": 0})
    assert isinstance(model, Model)
    found = elicit(LAMPS, model, calls_per_example=3, solver=ONCE)
    assert (found.run.model, found.run.style) == ("yours", "chat")
    assert found.run.model_settings == {"temperature": 0}
    assert all(isinstance(request.prompt, list) for request in model.asked)
    assert len(model.asked) == found.asked.calls == 48


def test_one_at_a_time_and_many_give_the_same_bits() -> None:
    outcomes = []
    for concurrency in (1, 7):
        model = Recorder(pause=0.005)
        found = elicit(LAMPS, model, settings=small(), solver=ONCE, concurrency=concurrency)
        outcomes.append((found.labels, sorted(str(r.prompt) for r in model.asked)))
    (one, sent), (many, sent_too) = outcomes
    assert one.equals(many)
    assert sent == sent_too


def test_a_round_without_labels_yet_is_planned_within_its_budget() -> None:
    settings = small(framings=("sets",))
    settings = replace(settings, calls_per_example=10 / 16)
    states = [RunState(LAMPS, settings, seed) for seed in (0, 0, 1)]
    made = [stage_of(state)(state) for state in states]
    assert made[0] == made[1] != made[2]
    assert [len(queries) for queries in made] == [10, 10, 10]
    assert all(query.framing.startswith("sets") for query in made[0])


def test_relations_that_no_labels_satisfy_are_found_before_anything_is_asked() -> None:
    ids = [example.id for example in LAMPS.examples[:3]]
    clash = [ExactlyOne(tuple(ids)), Equal(tuple(ids))]
    data = Dataset("clash", LAMPS.examples, clash)
    model = Recorder()
    with pytest.raises(InputError, match="satisfy all of: equal, exactly-one"):
        elicit(data, model, settings=small())
    assert model.asked == []
    # Design priors that do not count cannot clash.
    prior = [Equal(tuple(ids)), ExactlyOne(tuple(ids), prior=True)]
    elicit(Dataset("no clash", LAMPS.examples, prior), model, settings=small(), solver=ONCE)
    assert model.asked


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imbalanced", "imbalanced-90"])
def test_of_a_rare_class_are_only_those_that_the_model_is_sure_of(name: str) -> None:
    """More labels are right than if all classes were taken to be as frequent."""
    fewer = {name: term for name, term in default_terms().items() if name != "class frequency"}
    settings = Settings(framings=("plain", "negated"), bias="paired", settled=0.0)
    reached = []
    for seed in (0, 1):
        data, gold = world_dataset(name, 400, seed)
        truth = gold_array(data, gold)
        with Store() as store:
            model = SimulatedModel(name)
            found = elicit(data, model, settings=settings, store=store, seed=seed, solver=ONCE)
            even = solve_run(store, found.run.id, data, settings, fewer, ONCE)
        right = [(f.solution.labels.argmax(axis=1) == truth).mean() for f in (found, even)]
        reached.append(right)
    mine, even = np.mean(reached, axis=0)
    assert mine > even + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("seed", [47, 54])
def test_answers_about_one_concept_are_never_read_as_of_another(seed: int, store: Store) -> None:
    """Two concepts are level here, and change places once more is known of the bias."""
    data, gold = world_dataset("k4", 400, seed)
    found = elicit(data, SimulatedModel("k4"), seed=seed, store=store, concurrency=1)
    truth = gold_array(data, gold)
    assert np.mean(found.solution.labels.argmax(axis=1) == truth) > 0.6
    # The last round carries labels of the concept that the store says was chosen.
    shots = [shot for _, query in store.rounds(found.run.id)[-1] for shot in query.shots]
    chosen = found.concepts[0].labels.argmax(axis=1)
    assert np.mean([chosen[data.index[id]] == label for id, label in shots]) > 0.6


@pytest.mark.parametrize(("calls", "asked"), [(1, 1), (7, 1), (8, 2), (16, 2)])
def test_a_quarter_of_the_calls_is_asked_without_shots_but_each_wording_once(
    calls: int, asked: int
) -> None:
    data, _ = world_dataset("easy", 60)
    assert Settings(calls_per_example=calls).zero_shot_calls(data) == asked * len(data)


@pytest.mark.parametrize(
    "shares",
    [{"nobody": 0.5}, {"True": 0.4, "False": 0.4}, {"True": 1.0}, {"True": 0.0}],
)
def test_shares_that_cannot_be_are_refused_before_anything_is_asked(shares, store: Store) -> None:
    data, _ = world_dataset("easy", 40)
    model = SimulatedModel("easy")
    with pytest.raises(InputError, match="share"):
        elicit(data, model, settings=Settings(shares=shares), store=store)
    assert not store.runs()


def test_shares_that_are_given_are_recorded_said_and_held() -> None:
    data, _ = world_dataset("pretrained-rare", 120)
    model = SimulatedModel("pretrained-rare")
    name = data.task.classes[1]
    settings = Settings(calls_per_example=4, shares={name: 0.1})
    found = elicit(data, model, settings=settings, solver=ONCE)
    assert f"{name} 10%" in found.shares and "given" in found.shares
    assert found.solution.labels[:, 1].mean() == pytest.approx(0.1, abs=0.08)
    assert settings_from(found.run.settings).shares == {name: 0.1}
    brief = Settings(calls_per_example=2)
    assert "estimated" in elicit(data, model, settings=brief, solver=ONCE).shares


# --- framings and queries of one's own


MOOD = Framing("mood", "own", "Is the lamp on?", "On:", ("no", "yes"))


def test_a_run_in_a_framing_of_ones_own_is_read_back(tmp_path: Path) -> None:
    settings = replace(small(), framings=(MOOD, "letters"))
    with Store(tmp_path / "s.db") as store:
        found = elicit(LAMPS, Recorder(), settings=settings, store=store, solver=ONCE)
        run = store.run(found.run.id)
        again = settings_from(run.settings)
        assert again == settings and again.framings_for(LAMPS) == found.framings
        assert store.verify() == []
        solved = solve_run(store, run.id, store.dataset(run.dataset), again, solver=ONCE)
    np.testing.assert_allclose(solved.solution.labels, found.solution.labels, atol=1e-6)
    assert {"mood", "letters-0"} <= set(found.evidence.framings)
    # Another wording is another run.
    other = record(replace(settings, framings=(replace(MOOD, lead="So:"),)), {}, ONCE)
    assert other["framings"] != record(settings, {}, ONCE)["framings"]


def test_a_framing_that_does_not_fit_is_found_before_anything_is_asked() -> None:
    model = Recorder()
    settings = replace(small(), framings=(replace(MOOD, label_names=("on",)),))
    with pytest.raises(InputError, match="it needs 2 that differ"):
        elicit(LAMPS, model, settings=settings)
    assert model.asked == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"framing": "mood"}, "no framing 'mood'; this run has: plain"),
        ({"target": "nobody"}, "a query is about 'nobody', which is no id of an example"),
        ({"shots": ((LAMPS.ids[0], 1),)}, "a query shows its own target .* as a shot"),
        ({"shots": (("nobody", 1),)}, "a query shows 'nobody' as a shot"),
        ({"shots": ((LAMPS.ids[1], 2),)}, "as of class 2; the task has the classes 0 … 1"),
        ({"shots": ((LAMPS.ids[1], -1),)}, "as of class -1; the task has"),
        ({"shots": ((LAMPS.ids[1], "1"),)}, "as of class '1'; the task has"),
        ({"shots": ((LAMPS.ids[1], 1),), "contrast": 1}, "place of a shot, from 0; got 1 of 1"),
    ],
)
def test_queries_of_ones_own_that_do_not_fit(change: dict[str, Any], said: str) -> None:
    model = Recorder()
    with Store() as store:
        session = Session(LAMPS, model, store, settings=small(framings=("plain",)))
        good = Query(LAMPS.ids[0])
        with pytest.raises(InputError, match=said):
            session.ask([good, replace(good, **change)])
        assert model.asked == [] and store.rounds(session.run) == []
        assert session.ask([good, replace(good, shots=((LAMPS.ids[1], 1),))]).calls == 2
