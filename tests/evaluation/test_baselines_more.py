"""The baselines in rounds and in steps: what they ask, what that costs, and what comes of it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example, Gold
from consilience.data.relations import (
    RELATIONS,
    Allowed,
    And,
    AtMostOne,
    Equal,
    ExactlyOne,
    Opposite,
    Or,
    Ordered,
    Relation,
    tied_examples,
)
from consilience.elicitation.settings import Settings
from consilience.errors import InputError, ServerError
from consilience.evaluation.baselines import (
    BASELINES,
    ICM,
    Baseline,
    BaselineContext,
    bootstrap,
    bootstrap_confident,
    bootstrap_relations,
    gibbs,
    gold_array,
    icm,
    n_pass,
    structure_only,
    vote,
    zero_shot,
)
from consilience.evaluation.baselines.bootstrapping import most_confident
from consilience.evaluation.baselines.exchange import FEWEST_PER_CONTEXT, Exchange
from consilience.evaluation.baselines.relation_repair import Consistency
from consilience.evidence.best_labelling import best_labelling, put_on_top
from consilience.evidence.relation_factors import factors
from consilience.models.base import Answer, Model, Request
from consilience.models.simulated import (
    WORLDS,
    SimulatedConcept,
    SimulatedModel,
    World,
    world_dataset,
)
from consilience.planning.planner import PlanSettings
from consilience.prompts.query import Query
from consilience.store.database import Store
from recorder import Recorder, failing

LAMPS = Dataset("lamps", [Example(f"The lamp number {i} is lit.") for i in range(20)])
SMALL = PlanSettings(shots=4, block=6)
EVERY = [
    pytest.param(n, marks=[pytest.mark.slow] if n.endswith("-full") else []) for n in BASELINES
]
"""Every method; those at their authors' schedules ask ten times as much."""

WITHIN = sorted(name for name in BASELINES if not name.endswith("-full"))
WHOLE = tuple(name for name in BASELINES if name.startswith("zero-shot"))
"""Without shots all are asked, whatever the budget; at most in two framings here."""

ICM_SMALL = ICM(within_budget=True, seeds=4)

FIRM = World(
    (SimulatedConcept(0.97, 3.0, 2.4), SimulatedConcept(0.03)),
    straight=0.99999,
    copying=0.01,
    wrong=0.6,
    liking=1.5,
    noise=1.5,
)
"""A learner that knows what is meant, and is not led away by a few wrong shots; but is noisy."""

Make = Callable[..., BaselineContext]


@pytest.fixture
def bench() -> Iterator[Make]:
    """Makes benches, each with a store of its own unless one is given."""
    with ExitStack() as stack:

        def make(
            model: Model,
            data: Dataset = LAMPS,
            *,
            store: Store | None = None,
            seed: int = 0,
            **given: Any,
        ) -> BaselineContext:
            usual = {"framings": ("plain", "negated"), "plan": SMALL}
            settings = Settings(**({"calls_per_example": 4.0} | usual | given))
            kept = store or stack.enter_context(Store())
            return BaselineContext(
                data, model, store=kept, settings=settings, seed=seed, concurrency=1
            )

        yield make


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> SimulatedModel:
    monkeypatch.setitem(WORLDS, "firm", FIRM)
    return SimulatedModel("firm")


def accuracy(baseline: Baseline, data: Dataset, gold: Gold) -> float:
    return float((baseline.labels.argmax(axis=1) == gold_array(data, gold)).mean())


def predictions(store: Store) -> int:
    return sum(model.predictions for model in store.stats().models)


def tied(*relations: Relation) -> Dataset:
    return Dataset("tied", LAMPS.examples, relations)


# --- what all of them owe ---------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_calls_are_the_queries_in_the_store(bench: Make, name: str) -> None:
    model = Recorder(usage={"prompt_tokens": 7})
    with Store() as store:
        made = BASELINES[name](bench(model, store=store))
        stored = predictions(store)
        assert stored == len(model.asked) == round(made.calls_per_example * 20)
        assert made.prompt_tokens_per_example == pytest.approx(7 * made.calls_per_example)
        # With everything in the store it comes out, and is counted, as if it had been asked.
        again = BASELINES[name](bench(model, store=store))
        assert predictions(store) == stored
    np.testing.assert_array_equal(again.labels, made.labels)
    assert again.calls_per_example == made.calls_per_example
    assert made.labels.shape == (20, 2)
    np.testing.assert_allclose(made.labels.sum(axis=1), 1)


@pytest.mark.parametrize("calls", [1.0, 2.3, pytest.param(5.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", WITHIN)
def test_the_budget_is_never_exceeded(bench: Make, name: str, calls: float) -> None:
    model = Recorder()
    made = BASELINES[name](bench(model, calls_per_example=calls))
    most = max(2, calls) if name in WHOLE else calls
    assert made.calls_per_example <= most
    assert len(model.asked) <= most * 20
    # Calls for a calibration come in threes, and rankings are made four times at most.
    less = (*WHOLE, "n-pass", "random-contextual", "ranked-random")
    if name not in less and "icm" not in name:
        assert made.calls_per_example == (int(calls) if name == "gibbs" else calls)


@pytest.mark.parametrize("name", ["gibbs", "n-pass", "icm"])
def test_the_seed_decides(bench: Make, name: str) -> None:
    asked = []
    for seed in (0, 0, 1):
        model = Recorder()
        made = BASELINES[name](bench(model, seed=seed, calls_per_example=2.0))
        asked.append(([r.prompt for r in model.asked], made.labels.tolist()))
    assert asked[0] == asked[1] != asked[2]


def test_the_methods_have_names_of_their_own_and_no_room_for_gold(bench: Make) -> None:
    few = Dataset("few", LAMPS.examples[:6])
    names = [method(bench(Recorder(), few)).name for method in BASELINES.values()]
    assert len(set(names)) == len(names)
    for method in BASELINES.values():
        for parameter in inspect.signature(method).parameters.values():
            assert "Gold" not in str(parameter.annotation)
            assert "gold" not in parameter.name
        with pytest.raises(TypeError):
            method(bench(Recorder(), few), gold=Gold({}))  # type: ignore[call-arg]


def test_tokens_are_not_known_where_the_model_does_not_say(bench: Make) -> None:
    assert math.isnan(vote(bench(Recorder())).prompt_tokens_per_example)
    assert structure_only(LAMPS).prompt_tokens_per_example == 0
    assert math.isnan(Baseline("mine", np.eye(2), 1.0).prompt_tokens_per_example)


@pytest.mark.parametrize("name", EVERY)
def test_silence_is_no_answer(bench: Make, name: str) -> None:
    class Silent(Recorder):
        async def ask(self, request: Request) -> Answer:
            said = await super().ask(request)
            return replace(said, exact=(False,) * len(said.exact))

    made = BASELINES[name](bench(Silent()))
    if "icm" in name:
        np.testing.assert_allclose(made.labels, 0.5, atol=1e-6)
    else:
        np.testing.assert_array_equal(made.labels, 0.5)


@pytest.mark.parametrize("name", ["gibbs", "n-pass", "icm", "bootstrap-relations"])
def test_a_call_that_fails_is_paid_for_and_invents_nothing(bench: Make, name: str) -> None:
    model = Recorder(failing(lambda call: call % 3 == 0, lambda: ServerError("busy")))
    made = BASELINES[name](bench(model))
    assert made.calls_per_example <= 4.0
    assert np.isfinite(made.labels).all()
    assert round(made.calls_per_example * 20) == len({str(r.prompt) for r in model.asked})


# --- votes and passes -------------------------------------------------------------------------


def test_a_vote_takes_the_framings_in_turn_then_repeats(bench: Make) -> None:
    model = Recorder()
    made = vote(bench(model, calls_per_example=4.5))
    put = [(r.query.framing, r.query.repeat) for r in model.asked]
    passes = [("plain", 0), ("negated", 0), ("plain", 1), ("negated", 1), ("plain", 2)]
    assert put == [p for p in passes[:4] for _ in range(20)] + passes[4:] * 10
    assert not any(r.query.shots for r in model.asked)
    assert made.calls_per_example == 4.5


def test_a_pass_shows_only_labels_that_it_has_drawn(bench: Make) -> None:
    model = Recorder()
    made = n_pass(bench(model, calls_per_example=1.0))
    # A pass is four blocks, and only the first of them is asked without shots.
    assert [bool(r.query.shots) for r in model.asked] == [False] * 5 + [True] * 15
    assert set(np.unique(made.labels)) == {0, 1}
    drawn = {LAMPS.ids[i]: int(row.argmax()) for i, row in enumerate(made.labels)}
    labelled: set[str] = set()
    for n, request in enumerate(model.asked):
        assert set(dict(request.query.shots)) <= labelled
        assert dict(request.query.shots).items() <= drawn.items()
        if n % 5 == 4:
            labelled |= {r.query.target for r in model.asked[n - 4 : n + 1]}
    made = n_pass(bench(Recorder(), calls_per_example=3.0))
    assert set(np.unique((made.labels * 3).round(9))) == {0, 1, 2, 3}


# --- bootstraps -------------------------------------------------------------------------------


def test_the_most_confident_of_each_class() -> None:
    labels = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.45, 0.55], [0.3, 0.7], [0.5, 0.5]])
    assert most_confident(labels, 0.5).tolist() == [0, 2, 4]
    assert most_confident(labels, 0.01).tolist() == [0, 4]
    assert most_confident(labels, 1.0).tolist() == list(range(6))


def test_only_the_confident_are_shown(bench: Make) -> None:
    model = Recorder()
    on = bench(model, calls_per_example=3.0)
    bootstrap_confident(on)
    start = zero_shot(bench(Recorder()), every=True).labels
    sure = {LAMPS.ids[i] for i in most_confident(start, 0.5)}
    shown = {id for r in model.asked for id, _ in r.query.shots}
    assert shown
    assert shown <= sure
    everybody = Recorder()
    bootstrap(bench(everybody, calls_per_example=3.0))
    assert not {id for r in everybody.asked for id, _ in r.query.shots} <= sure


def test_found_labels_satisfy_every_hard_relation(bench: Make) -> None:
    ids = LAMPS.ids
    relations = [
        ExactlyOne(ids[:3]),
        AtMostOne(ids[3:7]),
        Opposite(ids[7:9]),
        Equal(ids[8:10]),
        And((ids[10], ids[11], ids[12])),
        Or((ids[12], ids[13], ids[14])),
        ExactlyOne(ids[15:20], prior=True),
    ]
    data = tied(*relations)

    def kept(made: Baseline) -> list[bool]:
        hard = made.labels.argmax(axis=1)
        at = [[data.index[m] for m in r.members] for r in relations]
        return [bool(r.holds(hard[None, a])[0]) for r, a in zip(relations, at, strict=True)]

    model = Recorder()
    assert not all(kept(bootstrap(bench(model, data)))[:6])
    assert kept(bootstrap_relations(bench(model, data))) == [True] * 6 + [False]
    assert all(kept(bootstrap_relations(bench(model, data, priors=True))))


def test_shots_are_labelled_consistently(bench: Make) -> None:
    ids = LAMPS.ids
    pairs = [Opposite((ids[i], ids[i + 1])) for i in range(0, 20, 2)]
    labelled: dict[tuple[int, str], int] = {}
    model = Recorder()
    bootstrap_relations(bench(model, tied(*pairs), calls_per_example=4.0))
    for n, request in enumerate(model.asked[40:]):
        labelled |= {(n // 20, id): label for id, label in request.query.shots}
    both = [
        (labelled[round, p.members[0]], labelled[round, p.members[1]])
        for round in (0, 1)
        for p in pairs
        if (round, p.members[0]) in labelled and (round, p.members[1]) in labelled
    ]
    assert both
    assert all(a != b for a, b in both)


@pytest.mark.parametrize("strength", [1.0, 0.9])
@pytest.mark.parametrize("kind", [Equal, AtMostOne, ExactlyOne, And, Or])
def test_the_best_labelling_of_a_large_relation_is_that_of_all_its_worlds(
    kind: type[Relation], strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = LAMPS.ids[:5]
    relation = kind(ids, strength=strength)
    index = {id: i for i, id in enumerate(ids)}
    exact = factors([relation], index, 3)
    monkeypatch.setattr("consilience.evidence.relation_factors.EXACT", 4)
    large = factors([relation], index, 3)
    assert type(exact[0]) is not type(large[0])
    rng = np.random.default_rng(0)
    turned = 0
    for _ in range(60):
        labels = rng.dirichlet(np.ones(3) / 2, size=5)
        chosen = best_labelling(labels, large)
        np.testing.assert_array_equal(chosen, best_labelling(labels, exact))
        turned += int((chosen != labels.argmax(axis=1)).any())
    assert turned > 0


def test_in_too_large_a_component_what_is_settled_is_kept_where_it_can_be() -> None:
    ids = LAMPS.ids
    chain = [Equal((ids[i], ids[i + 1])) for i in range(19)]
    rng = np.random.default_rng(1)
    labels = rng.dirichlet(np.ones(2), size=20)
    chosen = best_labelling(labels, factors(chain, LAMPS.index, 2))
    assert len(set(chosen.tolist())) == 1
    assert len(set(labels.argmax(axis=1).tolist())) == 2


def test_the_chosen_class_comes_out_on_top() -> None:
    labels = np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [0.6, 0.3, 0.1]])
    made = put_on_top(labels, np.array([1, 1, 0]))
    np.testing.assert_allclose(made, [[0.2, 0.7, 0.1], [0.5, 0.5, 0.0], [0.6, 0.3, 0.1]], atol=1e-8)
    assert made.argmax(axis=1).tolist() == [1, 1, 0]
    np.testing.assert_allclose(made.sum(axis=1), 1)


# --- Gibbs sampling ---------------------------------------------------------------------------


def test_sweeps_and_samples(bench: Make) -> None:
    model = Recorder()
    made = gibbs(bench(model))
    assert made.calls_per_example == 35
    targets = [r.query.target for r in model.asked]
    assert all(sorted(targets[s : s + 20]) == sorted(LAMPS.ids) for s in range(0, 700, 20))
    # Twenty-five samples, so every share is a multiple of one in twenty-five.
    np.testing.assert_allclose(made.labels * 25, (made.labels * 25).round(), atol=1e-9)
    scaled = Recorder()
    made = gibbs(bench(scaled, calls_per_example=7.9), within_budget=True)
    assert made.calls_per_example == 7
    np.testing.assert_allclose(made.labels * 5, (made.labels * 5).round(), atol=1e-9)
    with pytest.raises(InputError, match="samples"):
        gibbs(bench(model), samples=0)


def test_a_sweep_shows_today_s_labels(bench: Make) -> None:
    # Of a model that is certain, what is drawn is what it says: "lit" of even numbers.
    class Certain(Recorder):
        async def ask(self, request: Request) -> Answer:
            said = await super().ask(request)
            true = LAMPS.ids.index(request.query.target) % 2 == 0
            name = "True" if true == (request.query.framing == "plain") else "False"
            logprobs = [0.0 if n == name else -60.0 for n in request.label_names]
            return replace(said, logprobs=tuple(logprobs))

    model = Certain()
    made = gibbs(bench(model), burn_in=1, samples=1)
    assert made.labels.argmax(axis=1).tolist() == [int(i % 2 == 0) for i in range(20)]
    right = {id: int(i % 2 == 0) for i, id in enumerate(LAMPS.ids)}
    seen: set[str] = set()
    wrong_before = 0
    for n, request in enumerate(model.asked):
        for id, label in request.query.shots:
            # Blocks of five: who was in an earlier block of the sweep shows what was drawn.
            if n >= 20 or id in seen:
                assert label == right[id]
            wrong_before += label != right[id]
        if n % 5 == 4:
            seen |= {r.query.target for r in model.asked[n - 4 : n + 1]}
    assert wrong_before > 0


# --- internal coherence maximisation ----------------------------------------------------------


def test_temperatures_by_hand() -> None:
    paper, code = ICM("sum"), ICM("mean")
    assert [paper.temperature(n, 0) for n in (1, 10, 100)] == pytest.approx(
        [10.0, 10 / (1 + 0.99 * 2.302585), 10 / (1 + 0.99 * 4.605170)]
    )
    assert [code.temperature(1, taken) for taken in (0, 9, 99)] == pytest.approx(
        [10.0, 10 / (1 + 2 * 2.302585), 10 / (1 + 2 * 4.605170)]
    )
    # The paper counts steps, the code the changes that were taken.
    assert paper.temperature(5, 0) == paper.temperature(5, 99)
    assert code.temperature(1, 5) == code.temperature(99, 5)
    assert ICM(coldest=4.0).temperature(100, 0) == 4.0


def test_coherence_by_hand() -> None:
    # Three labels with the probabilities 0.9, 0.5 and 0.2, and one relation broken.
    logp = np.log([0.9, 0.5, 0.2])
    assert ICM("sum").coherence(logp, 1) == pytest.approx(50 * math.log(0.09) - 1)
    odds = [math.log(0.90001 / 0.10001), 0.0, math.log(0.20001 / 0.80001)]
    assert ICM("mean").coherence(logp, 1) == pytest.approx(50 * sum(odds) / 3 - 1)
    assert ICM("mean", alpha=3.0).coherence(logp, 2) == pytest.approx(sum(odds) - 2)
    # One label more makes a sum smaller and need not make a mean so.
    more = np.log([0.9, 0.5, 0.2, 0.8])
    assert ICM("sum").predictability(more) < ICM("sum").predictability(logp)
    assert ICM("mean").predictability(more) > ICM("mean").predictability(logp)
    # Certainty is worth what the code lets it be worth, and silence nothing.
    assert ICM("mean").predictability(np.zeros(2)) == pytest.approx(math.log(1.00001 / 1e-5))
    assert ICM("sum").predictability(np.append(logp, np.nan)) == pytest.approx(math.log(0.09))


def test_what_is_taken() -> None:
    rule = ICM()
    assert rule.takes(0.1, 0.01, 0.999999)
    assert rule.takes(-2.0, 2.0, math.exp(-1) - 1e-6)
    assert not rule.takes(-2.0, 2.0, math.exp(-1) + 1e-6)
    assert not rule.takes(-1e9, 0.01, 0.0)
    assert rule.takes(0.0, 1.0, 0.5)


@pytest.mark.parametrize(
    "given",
    [
        {"objective": "median"},
        {"rescoring": "all"},
        {"start": "gold"},
        {"iterations": None},
        {"alpha": 0.0},
        {"seeds": 0},
        {"shots": 0},
        {"coldest": 20.0},
    ],
)
def test_settings_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ICM(**given)


CHANGES: dict[str, dict[str, Any]] = {
    "objective": {"objective": "mean"},
    "rescoring": {"rescoring": "pool"},
    "iterations": {"iterations": 1.0},
    "seeds": {"seeds": 2},
    "alpha": {"alpha": 1.0},
    "hottest": {"hottest": 1000.0},
    "coldest": {"coldest": 9.0},
    "cooling": {"cooling": 0.01},
    "favour": {"favour": 1.0},
    "repairs": {"repairs": 0},
    "shots": {"shots": 2},
    "start": {"start": "zero-shot"},
    "grow": {"grow": True},
    "within_budget": {"within_budget": False},
}


@pytest.fixture(scope="module")
def asked_by() -> dict[tuple[ICM, float], list[str]]:
    """What a search asked with some settings and calls per example, once it was made."""
    return {}


@pytest.mark.parametrize("knob", CHANGES)
def test_every_knob_of_icm_changes_what_is_asked(
    bench: Make, knob: str, asked_by: dict[tuple[ICM, float], list[str]]
) -> None:
    assert set(CHANGES) == set(ICM.__dataclass_fields__)
    ids = LAMPS.ids
    examples = [Example(e.text, str(i // 2)) for i, e in enumerate(LAMPS.examples)]
    data = Dataset("grouped", examples, [Opposite((ids[i], ids[i + 1])) for i in range(0, 20, 2)])
    calls = 1.0 if knob == "within_budget" else 8.0
    # Repairs are for the better only where a broken relation weighs something.
    base = ICM(within_budget=True, alpha=0.1 if knob == "repairs" else 50.0)
    changed = replace(base, **CHANGES[knob])
    for settings in (base, changed):
        if (settings, calls) not in asked_by:
            model = Recorder()
            icm(bench(model, data, calls_per_example=calls), settings)
            asked_by[settings, calls] = [str(r.prompt) for r in model.asked]
    assert asked_by[base, calls] != asked_by[changed, calls]


def test_a_local_step_asks_once(bench: Make) -> None:
    model = Recorder()
    made = icm(bench(model), replace(ICM_SMALL, within_budget=False))
    # Four seeds, one query at most for each of fifty steps, one for each that was never reached.
    zero = [r for r in model.asked if not r.query.shots]
    assert len(zero) < 10
    assert 30 <= len(model.asked) - len(zero) <= 4 + 50
    assert made.calls_per_example == len(model.asked) / 20


def test_pool_wide_rescoring_asks_the_pool(bench: Make) -> None:
    # All labels are shown and every first label is taken, so each proposal asks all that are
    # labelled again: with all examples at hand and no relabelling, 1 + (size of the pool) calls.
    settings = ICM(rescoring="pool", shots=20, grow=True, seeds=4, iterations=2.5)
    model = Recorder()
    icm(bench(model), settings)
    pool, asked = 4, 4
    labelled = {q.target for r in model.asked[:4] if (q := r.query)}
    assert len(labelled) == pool
    sizes = [len(r.query.shots) for r in model.asked]
    assert max(sizes) == 19
    # Until the pool is full, each new example is asked about once and the others after it.
    n = 4
    while pool < 20 and sizes[n] == pool:
        assert sizes[n + 1 : n + 1 + pool] == [pool] * pool
        n += 1 + pool
        pool += 1
        asked += pool
    assert pool > 5
    # A step is at most the example itself and all others.
    assert asked <= len(model.asked) <= 4 + 50 * 20
    local = Recorder()
    icm(bench(local), replace(settings, rescoring="local"))
    assert len(model.asked) > 4 * len(local.asked)


def test_who_is_never_reached_is_answered_zero_shot(bench: Make) -> None:
    model = Recorder()
    # Paired framings of which one was asked are read as they were answered.
    made = icm(bench(model, bias="paired"), replace(ICM_SMALL, iterations=0.25))
    late = [r.query for r in model.asked if not r.query.shots]
    assert len(late) >= 20 - 4 - 5
    start = zero_shot(bench(Recorder(), bias="paired")).labels
    for query in late:
        i = LAMPS.index[query.target]
        np.testing.assert_allclose(made.labels[i], start[i], atol=1e-9)


@pytest.mark.parametrize("calls", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("rescoring", ["local", "pool"])
def test_nobody_is_left_without_an_answer_by_the_budget(
    bench: Make, calls: float, rescoring: Any
) -> None:
    settings = replace(ICM_SMALL, rescoring=rescoring, iterations=None)
    model = Recorder()
    made = icm(bench(model, calls_per_example=calls), settings)
    assert {r.query.target for r in model.asked} == set(LAMPS.ids)
    assert not np.any(np.isclose(made.labels, 0.5, atol=1e-12))
    assert len(model.asked) <= calls * 20


def test_who_is_tied_is_not_shown_and_shots_are_labelled(bench: Make) -> None:
    ids = LAMPS.ids
    data = tied(*(ExactlyOne(ids[i : i + 4]) for i in range(0, 20, 4)))
    apart = tied_examples(data.relations)
    for settings in (ICM_SMALL, replace(ICM_SMALL, rescoring="pool")):
        model = Recorder()
        icm(bench(model, data, calls_per_example=8.0), settings)
        assert max(len(r.query.shots) for r in model.asked) == 4
        for request in model.asked:
            shown = set(dict(request.query.shots))
            assert shown.isdisjoint(apart[request.query.target] | {request.query.target})


def test_mates_of_the_labelled_come_first(bench: Make) -> None:
    examples = [Example(e.text, str(i // 10)) for i, e in enumerate(LAMPS.examples)]
    data = Dataset("two groups", examples)
    reached = []
    for favour in (1e6, 1e-6):
        model = Recorder()
        icm(bench(model, data), ICM(seeds=1, favour=favour, grow=True, iterations=0.5))
        groups = {e.id: e.group for e in examples}
        order = [groups[r.query.target] for r in model.asked if r.query.shots]
        reached.append(order[0] == groups[model.asked[0].query.target])
        if favour > 1:
            assert len(set(order[:9])) == 1
    assert reached == [True, False]


def test_repairs_keep_relations_where_that_is_for_the_better(bench: Make) -> None:
    ids = LAMPS.ids
    pairs = [Opposite((ids[i], ids[i + 1])) for i in range(0, 20, 2)]
    data = tied(*pairs)

    def broken(alpha: float) -> int:
        settings = ICM(alpha=alpha, iterations=4.0, grow=True)
        hard = icm(bench(Recorder(), data), settings).labels.argmax(axis=1)
        return sum(hard[data.index[p.members[0]]] == hard[data.index[p.members[1]]] for p in pairs)

    # Against α = 50 a broken relation weighs nothing, against α = 0.01 nothing else does.
    assert broken(0.01) == 0
    assert broken(50.0) > 0


@pytest.mark.parametrize("kind", RELATIONS.values())
@pytest.mark.parametrize("k", [2, 3])
def test_a_relation_is_broken_where_nothing_could_mend_it(kind: type[Relation], k: int) -> None:
    low, high = kind.size
    size = min(4, high or 4) if low < 4 else low
    relation = kind(LAMPS.ids[:size])
    whole = Consistency([relation], LAMPS.index, k)
    worlds = np.array(list(product(range(k), repeat=size)))
    allowed = worlds[relation.holds(worlds)]
    seen = set()
    for partial in product(range(-1, k), repeat=size):
        labels = np.full(20, -1)
        labels[:size] = partial
        known = labels[:size] >= 0
        fits = (allowed[:, known] == labels[:size][known]).all(axis=1).any()
        assert whole.broken(0, labels) == (not fits)
        seen.add(bool(fits))
        for option in whole.options(0, labels):
            changed = option != labels
            assert 1 <= changed.sum() <= 2
            assert (labels[changed] >= 0).all()
            assert not whole.broken(0, option)
    assert seen == {True, False}


def test_of_listed_worlds_any_may_be_the_one_that_mends() -> None:
    whole = Consistency([Allowed(LAMPS.ids[:4], ((0, 0, 1, 1), (1, 0, 1, 0)))], LAMPS.index, 2)
    for partial, broken in (((-1,) * 4, False), ((0, -1, -1, -1), False), ((0, -1, -1, 0), True)):
        labels = np.full(20, -1)
        labels[:4] = partial
        assert whole.broken(0, labels) == broken


def test_near_are_the_relations_of_one_component() -> None:
    ids = LAMPS.ids
    relations = [Equal(ids[0:2]), Equal(ids[4:6]), Ordered((ids[1], ids[2], ids[3]))]
    whole = Consistency(relations, LAMPS.index, 2)
    assert [whole.near(i) for i in (0, 3, 4, 9)] == [[0, 2], [0, 2], [1], []]


# --- the exchange -----------------------------------------------------------------------------


def test_a_liking_is_taken_out_once_enough_is_known(bench: Make) -> None:
    class Fond(Recorder):
        async def ask(self, request: Request) -> Answer:
            said = await super().ask(request)
            logprobs = [math.log(0.9 if n == "True" else 0.1) for n in request.label_names]
            return replace(said, logprobs=tuple(logprobs))

    on = bench(Fond())
    exchange = Exchange(on, 0)
    shot = ((LAMPS.ids[19], 1),)
    queries = [
        [Query(id, shot, f.name) for id in LAMPS.ids[:FEWEST_PER_CONTEXT]] for f in on.framings
    ]
    few = [q for rows in queries for q in rows[:4]]
    assert exchange.conditionals(few)[0, 1] == pytest.approx(math.log(0.9))
    whole = exchange.conditionals([q for rows in queries for q in rows])
    # As far as offsets that are fitted reach.
    np.testing.assert_allclose(whole, math.log(0.5), atol=1e-3)
    assert exchange.spent == 2 * FEWEST_PER_CONTEXT
    # The same again is neither asked nor counted again.
    exchange.ask(few)
    assert exchange.spent == 2 * FEWEST_PER_CONTEXT
    kept = Exchange(bench(Fond(), bias="none"), 0)
    assert kept.conditionals([q for rows in queries for q in rows])[0, 1] == pytest.approx(
        math.log(0.9)
    )


# --- on worlds with known truth ---------------------------------------------------------------


@pytest.mark.slow
def test_on_an_easy_world_all_are_as_good_as_they_should_be(firm: SimulatedModel) -> None:
    gains = {"vote": 0.03, "n-pass": 0.02, "bootstrap-confident": 0.03, "gibbs": 0.01}
    # It sees each example in one framing and averages nothing: about as good as zero-shot.
    gains |= dict.fromkeys(("icm", "icm-mean", "icm-zero-shot"), -0.05)
    reached: dict[str, list[float]] = {}
    for seed in range(2):
        data, gold = world_dataset("firm", 120, seed)
        for name in ("zero-shot", *gains):
            with Store() as store:
                settings = Settings(calls_per_example=8.0, framings=("plain", "negated"))
                on = BaselineContext(
                    data, firm, store=store, settings=settings, seed=seed, concurrency=1
                )
                reached.setdefault(name, []).append(accuracy(BASELINES[name](on), data, gold))
    mean = {name: float(np.mean(values)) for name, values in reached.items()}
    low = {name: mean[name] for name in gains if mean[name] < mean["zero-shot"] + gains[name]}
    assert low == {}


@pytest.mark.slow
def test_random_seeds_can_lead_a_search_astray_and_zero_shot_ones_do_not() -> None:
    data, gold = world_dataset("easy", 120, 0)
    found = []
    for start in ("random", "zero-shot"):
        with Store() as store:
            on = BaselineContext(
                data,
                SimulatedModel("easy"),
                store=store,
                settings=Settings(calls_per_example=6.0),
                concurrency=1,
            )
            settings = ICM(iterations=None, start=start, within_budget=True)
            found.append(accuracy(icm(on, settings), data, gold))
    assert found[0] < 0.2
    assert found[1] > 0.9


def test_with_relations_a_bootstrap_gains_where_they_hold() -> None:
    gains = []
    for seed in range(3):
        data, gold = world_dataset("grouped", 60, seed)
        made = []
        for method in (bootstrap, bootstrap_relations):
            with Store() as store:
                settings = Settings(calls_per_example=4.0, priors=True)
                on = BaselineContext(
                    data,
                    SimulatedModel("grouped"),
                    store=store,
                    settings=settings,
                    seed=seed,
                    concurrency=1,
                )
                made.append(accuracy(method(on), data, gold))
        gains.append(made[1] - made[0])
    assert np.mean(gains) > 0.02
