"""The rivals of the field: calibrations, the ranking, and labels that a model gives its own shots.

On worlds of a few lines whose truth is known, each with the fault that a rival is there to mend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example, Gold, example_id
from consilience.data.task import Task
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.evaluation.baselines import (
    BASELINES,
    READOUTS,
    Baseline,
    BaselineContext,
    batch_random_shots,
    batch_zero_shot,
    bootstrap,
    bootstrap_confident,
    contextual_random_shots,
    contextual_zero_shot,
    gibbs,
    iterative_pseudo,
    majority,
    ranked_bootstrap,
    structure_only,
    unsupervised_icl,
    zero_shot,
    zero_shot_in,
)
from consilience.evaluation.baselines.batch import FEWEST_IN_BATCH, batch_calibrated
from consilience.evaluation.baselines.contexts import less, whole_contexts
from consilience.evaluation.baselines.contextual import CONTENT_FREE
from consilience.evaluation.baselines.pseudo import surest
from consilience.evaluation.baselines.ranked import extremes
from consilience.models.base import Answer, Model, Request
from consilience.planning.planner import PlanSettings
from consilience.prompts.framing import Style
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.rows import Prediction
from recorder import Recorder

N = 40
LAMPS = Dataset("lamps", [Example(f"The lamp number {i} is lit.") for i in range(N)])
TRUTH = Gold({example_id(f"The lamp number {i} is lit."): i % 2 for i in range(N)})
PLAN = PlanSettings(shots=8, block=20)
EMPTY = {example_id(text) for text in CONTENT_FREE}
Make = Callable[..., BaselineContext]


@dataclass
class Leaning:
    """A model with a signal of ±`knows` nats, more or less, and an offset of each of its prompts.

    `offset` is that of every prompt, and `scatter` how much each list of shots adds to it.
    `content` says what an input without content gets beside the offset; with shots of fewer than
    two classes the model repeats what it is shown.
    """

    knows: float = 1.0
    offset: float = 6.0
    scatter: float = 0.0
    content: float = 0.0
    few: float = 1.0
    name: str = "leaning"
    style: Style = "text"
    settings: dict[str, Any] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)

    async def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        query = request.query
        logit = self.signal(query) * (1.0 if query.shots else self.few) + self.offset
        if query.shots:
            list_of = np.random.default_rng([len(query.shots), *(int(c) for _, c in query.shots)])
            logit += self.scatter * float(list_of.normal())
        shown = {label for _, label in query.shots}
        if len(shown) == 1:
            logit = 20.0 if shown == {1} else -20.0
        said = (-math.log1p(math.exp(logit)), -math.log1p(math.exp(-logit)))
        return Answer(said, (True, True), 1.0)

    def signal(self, query: Query) -> float:
        if query.target in EMPTY:
            return self.content
        strength = 0.5 + int(query.target[:4], 16) / 16**4
        return self.knows * strength * (1 if TRUTH.labels[query.target] else -1)


@pytest.fixture
def bench() -> Iterator[Make]:
    """Makes benches of forty lamps in one framing, each with a store of its own."""
    with ExitStack() as stack:

        def make(model: Model, data: Dataset = LAMPS, **given: Any) -> BaselineContext:
            plain = {"calls_per_example": 4.0, "plan": PLAN, "framings": ("plain",), "bias": "none"}
            settings = Settings(**(plain | given))
            store = stack.enter_context(Store())
            return BaselineContext(data, model, store=store, settings=settings, concurrency=1)

        yield make


def right(made: Baseline | np.ndarray) -> float:
    """The accuracy of a baseline, or of labels."""
    labels = made.labels if isinstance(made, Baseline) else made
    truth = [TRUTH.labels[id] for id in LAMPS.ids]
    return float((labels.argmax(axis=1) == truth).mean())


# ---- what all are read in ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n.endswith("-full") else []) for n in BASELINES],
)
def test_the_answers_behind_every_method_are_read_in_both_ways(bench: Make, name: str) -> None:
    made = BASELINES[name](bench(Recorder(), framings=None, bias="paired"))
    assert set(made.readouts) == set(READOUTS)
    for labels in made.readouts.values():
        assert labels.shape == (N, 2)
        np.testing.assert_allclose(labels.sum(axis=1), 1)


def test_against_zero_shows_the_offset_and_the_other_readout_does_not(bench: Make) -> None:
    made = zero_shot(bench(Leaning()))
    assert right(made.readouts["against 0"]) == 0.5
    assert right(made.readouts["offsets off"]) == 1.0
    # What asks nothing has nothing to be read.
    assert majority(LAMPS, TRUTH).readouts == structure_only(LAMPS).readouts == {}


def test_a_family_of_framings_is_asked_alone(bench: Make) -> None:
    model = Recorder()
    calls = {f: zero_shot_in(bench(model), f).calls_per_example for f in ("plain", "letters")}
    assert calls == {"plain": 1.0, "letters": 2.0}
    assert {r.query.framing for r in model.asked} == {"plain", "letters-0", "letters-1"}
    unstated = Dataset("x", LAMPS.examples, task=Task("Is it?", ("no", "yes"), None, None))
    with pytest.raises(InputError, match="opposite"):
        zero_shot_in(bench(model, unstated, framings=("names",)), "negated")


# ---- which answers count -------------------------------------------------------------------------


@dataclass
class Turning(Leaning):
    """Wrong, and six times as sure, until each example was asked about `turn` times."""

    turn: int = 0

    def signal(self, query: Query) -> float:
        said = super().signal(query)
        return said if len(self.asked) > self.turn * N else -6 * said


@pytest.mark.parametrize(
    ("method", "calls", "turn"),
    [
        # Five rounds with shots, of which the last three count.
        (bootstrap, 6.0, 3),
        (bootstrap_confident, 6.0, 3),
        # One call for the start, and twice two that are not of the last round.
        (partial(unsupervised_icl, shots=4, repeats=2, rounds=3), 7.0, 5),
        (partial(gibbs, burn_in=2, samples=2), 4.0, 2),
        # Four rounds with shots, of which the last two count; of seven, where long, four.
        (ranked_bootstrap, 5.0, 3),
        (partial(ranked_bootstrap, long=True), 8.0, 4),
    ],
)
def test_answers_that_a_method_leaves_behind_count_for_nothing(
    bench: Make, method: Callable[[BaselineContext], Baseline], calls: float, turn: int
) -> None:
    on = bench(Turning(knows=3.0, offset=0.0, turn=turn), calls_per_example=calls, bias="contexts")
    made = method(on)
    assert made.calls_per_example == calls
    for labels in made.readouts.values():
        assert right(labels) == 1.0
    # Those that are drawn are right most of the time.
    assert right(made) > 0.7
    # One call more that is wrong is felt, so there were no fewer that count.
    late = method(bench(Turning(knows=3.0, offset=0.0, turn=turn + 1), calls_per_example=calls))
    assert right(late.readouts["against 0"]) < 0.5


# ---- contexts ------------------------------------------------------------------------------------


def test_a_list_without_the_target_itself_is_the_whole_list() -> None:
    whole = (("a", 0), ("b", 1), ("c", 0))
    queries = [
        *(Query(t, whole, "plain") for t in "xyz"),
        Query("a", whole[1:], "plain"),
        Query("x", whole[1:], "negated"),
        Query("q", (("d", 1), ("b", 1)), "plain"),
        Query("x", (), "plain"),
    ]
    found = whole_contexts(queries)
    assert found[:4] == [("plain", whole)] * 4
    # Another framing, another list and no list at all are contexts of their own.
    assert found[4:] == [(q.framing, q.shots) for q in queries[4:]]


def test_what_is_taken_off_by_hand() -> None:
    said = Prediction("k", Query("x"), ("a", "b"), (-2.0, -1.0), (True, True), 1.0, {}, 0.0)
    made = less(said, np.log([0.2, 0.8]))
    odds = (-1.0 + 2.0) - (math.log(0.8) - math.log(0.2))
    assert made.logprobs[1] - made.logprobs[0] == pytest.approx(odds)
    assert sum(np.exp(made.logprobs)) == pytest.approx(1)
    assert (made.key, said.logprobs) == ("k", (-2.0, -1.0))


# ---- calibrations --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [contextual_zero_shot, contextual_random_shots])
def test_contextual_calibration_mends_an_offset_that_nothing_shares(
    bench: Make, method: Callable[[BaselineContext], Baseline]
) -> None:
    shared = Leaning(scatter=2.0)
    made = method(bench(shared))
    assert right(made.readouts["offsets off"]) == 1.0
    asked = len(shared.asked)
    assert asked == round(made.calls_per_example * N) <= 4 * N
    assert sum(r.query.target in EMPTY for r in shared.asked) % 3 == 0
    unanswered = np.ptp(made.labels, axis=1) == 0
    assert right(made) >= 1 - unanswered.mean()
    # Where an input without content leans another way than the others, it does harm instead.
    other = method(bench(Leaning(scatter=2.0, content=-8.0)))
    assert right(other) == pytest.approx(0.5, abs=0.05)


def test_inputs_without_content_are_asked_under_the_very_same_shots(bench: Make) -> None:
    model = Leaning()
    contextual_random_shots(bench(model, calls_per_example=3.0))
    empty = [r for r in model.asked if r.query.target in EMPTY]
    full = {(r.query.framing, r.query.shots) for r in model.asked if r not in empty}
    assert {(r.query.framing, r.query.shots) for r in empty} <= full
    for request in empty:
        lead = str(request.prompt).rpartition("\n")[2]
        assert any(str(request.prompt).endswith(f"{text}\n{lead}") for text in CONTENT_FREE)


@pytest.mark.parametrize("method", [batch_zero_shot, batch_random_shots])
def test_batch_calibration_mends_an_offset_and_asks_no_more(
    bench: Make, method: Callable[[BaselineContext], Baseline]
) -> None:
    model = Leaning(scatter=2.0, content=-8.0)
    made = method(bench(model))
    assert right(made) >= 0.95
    assert right(made.readouts["against 0"]) >= 0.95
    assert not any(r.query.target in EMPTY for r in model.asked)
    assert len(model.asked) == round(made.calls_per_example * N)


def test_a_batch_of_a_few_is_calibrated_by_the_framing() -> None:
    def row(target: str, shots: tuple[tuple[str, int], ...], p: float):
        query = Query(target, shots, "plain")
        logs = (math.log(1 - p), math.log(p))
        return query, Prediction(target, query, ("a", "b"), logs, (True, True), 1.0, {}, 0.0)

    many = [row(f"m{i}", (("s", 1),), 0.8) for i in range(FEWEST_IN_BATCH)]
    made = batch_calibrated([*many, row("one", (("t", 0),), 0.9)])
    # All alike say nothing; the one that is asked alone is measured by the mean of all.
    assert made[0][1] and made[0][1].logprobs == pytest.approx([math.log(0.5)] * 2)
    mean = (0.8 * FEWEST_IN_BATCH + 0.9) / (FEWEST_IN_BATCH + 1)
    odds = math.log(0.9 / 0.1) - math.log(mean / (1 - mean))
    assert made[-1][1] is not None
    assert made[-1][1].logprobs[1] - made[-1][1].logprobs[0] == pytest.approx(odds)


# ---- the ranking ---------------------------------------------------------------------------------


def test_the_extremes_are_of_each_class_whatever_is_likelier() -> None:
    labels = np.array([[0.1, 0.9], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7], [0.35, 0.65], [0.5, 0.5]])
    heard = np.array([True] * 5 + [False])
    hard, pool = extremes(labels, heard)
    # Of five heard one for each class; nobody is likelier to be of class 0, and 1 ranks so.
    assert pool == [0, 1]
    assert hard.argmax(axis=1)[pool].tolist() == [1, 0]
    three = np.random.default_rng(0).dirichlet(np.ones(3), size=30)
    hard, pool = extremes(three, np.ones(30, dtype=bool))
    counts = np.bincount(hard.argmax(axis=1)[pool], minlength=3)
    assert counts.min() >= 3 and len(pool) <= 15


def test_the_ranked_bootstrap_works_where_all_answers_are_of_one_class(bench: Make) -> None:
    model = Leaning(few=0.3)
    made = ranked_bootstrap(bench(model, calls_per_example=8.0))
    assert right(zero_shot(bench(Leaning(few=0.3)))) == 0.5
    assert right(made) == 1.0
    # One zero-shot call and four rounds, whatever the budget has beyond; all of it where long.
    assert made.calls_per_example == 5.0
    long = ranked_bootstrap(bench(Leaning(few=0.3), calls_per_example=8.0), long=True)
    assert (right(long), long.calls_per_example) == (1.0, 8.0)
    shown = [dict(r.query.shots) for r in model.asked if r.query.shots]
    assert all(set(s.values()) == {0, 1} for s in shown)
    labels = [TRUTH.labels[id] == label for s in shown for id, label in s.items()]
    assert np.mean(labels) > 0.95
    drawn = ranked_bootstrap(bench(Leaning(), calls_per_example=4.0), start="random")
    assert drawn.calls_per_example == 4.0


# ---- labels of its own ---------------------------------------------------------------------------


def test_unsupervised_inference_asks_forty_times_and_once(bench: Make) -> None:
    model = Leaning(offset=0.0)
    made = unsupervised_icl(bench(model, calls_per_example=2.0))
    assert made.calls_per_example == 41.0
    assert right(made) == 1.0
    sizes = {len(r.query.shots) for r in model.asked if r.query.shots}
    assert sizes <= {15, 16}


def test_annotations_come_in_chunks_and_stay(bench: Make) -> None:
    model = Leaning(offset=0.0, few=0.2)
    made = iterative_pseudo(bench(model, calls_per_example=3.0))
    assert made.calls_per_example == 3.0
    assert right(made) == 1.0
    first, later = model.asked[:N], model.asked[N:]
    assert len({r.query.target for r in first}) == N
    assert [bool(r.query.shots) for r in first] == [False] * 5 + [True] * 35
    known: set[str] = set()
    for at, request in enumerate(first):
        assert {id for id, _ in request.query.shots} <= known
        if at % 5 == 4:
            known = {r.query.target for r in first[: at + 1]}
    # Afterwards one label for each, and only of the surer half.
    shown = {shot for r in later for shot in r.query.shots}
    assert len({id for id, _ in shown}) == len(shown) <= N // 2


def test_the_surest_are_so_whatever_their_class() -> None:
    labels = np.array([[0.9, 0.1], [0.2, 0.8], [0.95, 0.05], [0.7, 0.3], [0.5, 0.5]])
    assert surest(labels, np.array([True] * 4 + [False])) == [0, 2]
    assert surest(labels, np.zeros(5, dtype=bool)) == []
