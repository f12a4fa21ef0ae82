"""The baselines: within their budget, without what they may not have, and where they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example, Gold
from consilience.data.relations import AtMostOne, Equal, ExactlyOne, Opposite
from consilience.data.task import Task
from consilience.elicitation.session import Session
from consilience.elicitation.settings import Settings
from consilience.errors import InputError, ServerError
from consilience.evaluation.baselines import (
    Baseline,
    BaselineContext,
    agreement_only,
    bootstrap,
    gold_array,
    golden_shots,
    majority,
    random_shots,
    structure_only,
    zero_shot,
)
from consilience.models.base import Model
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from consilience.store.database import Store
from recorder import Recorder, failing

LAMPS = Dataset("lamps", [Example(f"The lamp number {i} is lit.") for i in range(20)])
TRUTH = Gold({id: i % 2 for i, id in enumerate(LAMPS.ids)})
SMALL = PlanSettings(shots=4, block=6)


Make = Callable[..., BaselineContext]


@pytest.fixture
def bench() -> Iterator[Make]:
    """Makes benches, each with a store of its own unless one is given."""
    with ExitStack() as stack:

        def make(model: Model, *, store: Store | None = None, **given: Any) -> BaselineContext:
            usual = {"framings": ("plain", "negated"), "plan": SMALL}
            settings = Settings(**({"calls_per_example": 4.0} | usual | given))
            kept = store or stack.enter_context(Store())
            return BaselineContext(LAMPS, model, store=kept, settings=settings, concurrency=1)

        yield make


def accuracy(baseline: Baseline, data: Dataset, gold: Gold) -> float:
    return float((baseline.labels.argmax(axis=1) == gold_array(data, gold)).mean())


ASKING: dict[str, Callable[[BaselineContext], Baseline]] = {
    "zero-shot": zero_shot,
    "every framing": lambda b: zero_shot(b, every=True),
    "random": random_shots,
    "golden": lambda b: golden_shots(b, TRUTH),
    "bootstrap": bootstrap,
}


@pytest.mark.parametrize("contrasts", [0.0, 0.5])
@pytest.mark.parametrize("calls", [2.0, 3.3, 5.0])
@pytest.mark.parametrize("name", ASKING)
def test_no_baseline_asks_more_than_the_budget(
    bench: Make, name: str, calls: float, contrasts: float
) -> None:
    model = Recorder()
    plan = replace(SMALL, contrasts=contrasts)
    made = ASKING[name](bench(model, calls_per_example=calls, plan=plan))
    asked = {"zero-shot": 1.0, "every framing": 2.0}.get(name, int(calls * 20) / 20)
    assert made.calls_per_example == asked
    assert len(model.asked) <= int(calls * 20)
    assert made.labels.shape == (20, 2)
    np.testing.assert_allclose(made.labels.sum(axis=1), 1)
    assert len(model.asked) == len({str(r.prompt) for r in model.asked})


def test_the_same_queries_are_paid_for_once(bench: Make) -> None:
    model = Recorder()
    with Store() as store:
        zero_shot(bench(model, store=store), every=True)
        bootstrap(bench(model, store=store))
        before = len(model.asked)
        again = bootstrap(bench(model, store=store))
        assert (before, len(model.asked)) == (80, 80)
        assert again.calls_per_example == 4.0


def test_zero_shot_shows_nothing_and_shots_are_never_the_target(bench: Make) -> None:
    model = Recorder()
    zero_shot(bench(model))
    assert {(r.query.shots, r.query.framing) for r in model.asked} == {((), "plain")}
    random_shots(bench(model))
    later = [r.query for r in model.asked[20:]]
    # Four shots, less the target itself where it is among those of its block.
    assert {len(q.shots) for q in later} == {3, 4}
    assert all(q.target not in dict(q.shots) for q in later)
    with pytest.raises(InputError, match="no framing means anything"):
        zero_shot(bench(model, framings=("sets",)))


def test_random_labels_are_random_and_golden_ones_gold(bench: Make) -> None:
    model = Recorder()
    random_shots(bench(model, calls_per_example=6))
    shown = np.array([label for r in model.asked for _, label in r.query.shots])
    right = np.array([TRUTH.labels[id] for r in model.asked for id, _ in r.query.shots])
    assert 0.3 < (shown == right).mean() < 0.7
    model = Recorder()
    golden_shots(bench(model, calls_per_example=6), TRUTH)
    assert all(TRUTH.labels[id] == label for r in model.asked for id, label in r.query.shots)
    assert {len(r.query.shots) for r in model.asked} == {3, 4}


def test_an_example_without_gold_is_never_a_golden_shot(bench: Make) -> None:
    model = Recorder()
    some = Gold(dict(list(TRUTH.labels.items())[:3]) | {"elsewhere": 1})
    golden_shots(bench(model, calls_per_example=4), some)
    shown = [shot for r in model.asked for shot in r.query.shots]
    assert shown
    assert set(shown) <= set(some.labels.items())


@pytest.mark.parametrize("gold", [Gold({}), Gold({"elsewhere": 1}), Gold({LAMPS.ids[0]: 2})])
def test_gold_that_does_not_fit_is_refused_before_anything_is_asked(
    bench: Make, gold: Gold
) -> None:
    model = Recorder()
    with pytest.raises(InputError, match="gold has"):
        golden_shots(bench(model), gold)
    with pytest.raises(InputError, match="gold has"):
        majority(LAMPS, gold)
    assert model.asked == []


def test_a_bootstrap_keeps_the_label_of_whom_it_did_not_reach(bench: Make) -> None:
    # 2.5 calls per example: zero-shot twice, then one round for half of the examples.
    model = Recorder()
    made = bootstrap(bench(model, calls_per_example=2.5))
    start = zero_shot(bench(Recorder(), calls_per_example=2.5), every=True)
    reached = {LAMPS.index[r.query.target] for r in model.asked if r.query.shots}
    assert len(reached) == 10
    for i in range(20):
        same = np.array_equal(made.labels[i], start.labels[i])
        assert same == (i not in reached)


def test_a_bootstrap_keeps_the_label_of_whom_the_model_did_not_answer(bench: Make) -> None:
    model = Recorder(failing(lambda call: call in (41, 42), lambda: ServerError("busy")))
    made = bootstrap(bench(model, calls_per_example=3))
    start = zero_shot(bench(Recorder(), calls_per_example=3), every=True)
    for request in model.asked[40:42]:
        i = LAMPS.index[request.query.target]
        np.testing.assert_array_equal(made.labels[i], start.labels[i])


def test_what_the_relations_alone_say() -> None:
    ids = LAMPS.ids
    relations = [
        ExactlyOne(ids[:3], prior=True),
        AtMostOne(ids[3:5]),
        Opposite(ids[5:7]),
        Equal(ids[7:9]),
        ExactlyOne((ids[9], ids[10])),
        Equal((ids[10], ids[11])),
    ]
    data = Dataset("tied", LAMPS.examples, relations)
    made = structure_only(data)
    expected = np.full(20, 0.5)
    expected[:3] = 1 / 3
    expected[3:5] = 1 / 3
    np.testing.assert_allclose(made.labels[:, 1], expected)
    np.testing.assert_allclose(made.labels.sum(axis=1), 1)
    assert made.calls_per_example == 0


def test_the_majority_is_that_of_the_gold_there_is() -> None:
    some = Gold(dict.fromkeys(LAMPS.ids[:3], 1) | {LAMPS.ids[4]: 0, "elsewhere": 0})
    made = majority(LAMPS, some)
    np.testing.assert_allclose(made.labels, np.tile([0.25, 0.75], (20, 1)))
    assert made.calls_per_example == 0


@pytest.mark.slow
def test_on_a_noisy_world_golden_shots_win_and_random_ones_lose() -> None:
    reached = []
    for seed in range(3):
        data, gold = world_dataset("noisy", 80, seed)
        with Store() as store:
            # With offsets taken off shots with random labels do hardly any harm.
            settings = Settings(calls_per_example=5.0, framings=("plain", "negated"), bias="paired")
            on = BaselineContext(
                data, SimulatedModel("noisy"), store=store, settings=settings, seed=seed,
                concurrency=1,
            )  # fmt: skip
            made = (golden_shots(on, gold), bootstrap(on), zero_shot(on), random_shots(on))
            reached.append([accuracy(m, data, gold) for m in made])
    golden, own, none, random = np.mean(reached, axis=0)
    assert golden > own > random
    assert own > none
    assert golden > 0.8


@pytest.mark.slow
def test_at_equal_calls_it_is_not_below_the_bootstrap() -> None:
    differences = []
    for world in ("noisy", "grouped"):
        model = SimulatedModel(world)
        for seed in range(4):
            data, gold = world_dataset(world, 120, seed)
            settings = Settings(calls_per_example=6.0, settled=0.0)
            with Store() as store:
                session = Session(data, model, store, settings=settings, seed=seed)
                while queries := session.next_queries():
                    session.ask(queries, concurrency=1)
                    session.learn()
                on = BaselineContext(
                    data, model, store=store, settings=settings, seed=seed, concurrency=1
                )
                other = bootstrap(on)
                assert session.state.planned == other.calls_per_example * len(data) == 720
                # One start in place of eight, and no uncertainties: the labels in less time.
                evidence = session.state.evidence
                ours = Baseline("ours", solve(evidence, solver=LBFGS(starts=1)).labels, 6.0)
            differences.append(accuracy(ours, data, gold) - accuracy(other, data, gold))
    assert np.mean(differences) >= -0.02


def test_agreement_is_true_of_what_is_said_twice() -> None:
    examples = [Example(f"answer {i}", "g") for i in range(4)]
    ids = [example.id for example in examples]
    same, rivals = Equal(tuple(sorted(ids[:2]))), AtMostOne(tuple(sorted(ids[1:])))
    made = agreement_only(Dataset("answers", examples, [same, rivals]))
    assert made is not None and made.calls_per_example == 0
    data = Dataset("answers", examples, [same, rivals])
    agreed = {id for id, row in zip(data.ids, made.labels, strict=True) if row[1] == 1}
    assert agreed == set(ids[:2])
    # Paraphrases without rivals are true together or false together: neither is the likelier.
    assert agreement_only(Dataset("answers", examples, [same])) is None
    assert agreement_only(Dataset("answers", examples, [rivals])) is None
    task = Task("Which?", ("a", "b", "c"), None, None)
    assert agreement_only(Dataset("answers", examples, [same, rivals], task=task)) is None
