"""The simulated learner: fixed answers, a known truth, and the habits it is said to have."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import norm

from consilience.data.dataset import Dataset, Example, example_id
from consilience.errors import InputError
from consilience.models import open_model, simulated
from consilience.models.base import Model, Request
from consilience.models.simulated import WORLDS, SimulatedModel, true_label, world_dataset
from consilience.prompts.framing import framings, render
from consilience.prompts.query import Query
from zoo import dataset

QUIET = {"noise": 0.0, "liking": 0.0}


def requests(data: Dataset, names=None, shots=(), ids=None) -> list[Request]:
    """One request for each framing and example, `shots` as (id, label) before each."""
    text = dict(zip(data.ids, data.texts, strict=True))
    made = []
    for framing in framings(data.task, names):
        for id in ids or data.ids:
            shown = tuple((s, label) for s, label in shots if s != id)
            prompt = render(framing, text[id], [(text[s], label) for s, label in shown])
            query = Query(id, shown, framing.name)
            made.append(Request(query, prompt, framing.label_names))
    return made


def answers(model: Model, asked: list[Request]) -> np.ndarray:
    async def serve() -> list[tuple[float, ...]]:
        return [(await model.ask(request)).logprobs for request in asked]

    return np.array(asyncio.run(serve()))


@pytest.fixture
def quiet(monkeypatch):
    """Makes the world `quiet`, a changed copy of another, and returns its model."""

    def make(name: str = "noisy", **changes) -> SimulatedModel:
        monkeypatch.setitem(WORLDS, "quiet", replace(WORLDS[name], **changes))
        return SimulatedModel("quiet")

    return make


@pytest.mark.parametrize("world", WORLDS)
def test_the_same_query_has_the_same_answer(world):
    data, _ = world_dataset(world, 12)
    asked = requests(data) + requests(data, shots=[(data.ids[0], 0), (data.ids[1], 1)])
    once = answers(SimulatedModel(world), asked)
    again = answers(open_model(f"simulated:{world}"), asked[::-1])[::-1]
    np.testing.assert_array_equal(once, again)
    assert len(np.unique(once, axis=0)) == len(asked)


def test_an_answer_is_exact_and_has_its_mass():
    data = dataset(1)
    (request, _) = requests(data)
    model = SimulatedModel("noisy")
    answer = asyncio.run(model.ask(request))
    assert answer.exact == (True, True)
    assert sum(np.exp(answer.logprobs)) == pytest.approx(answer.mass) and answer.mass < 1
    assert isinstance(model, Model) and model.name == "simulated:noisy"
    assert model.settings["world"]["noise"] == WORLDS["noisy"].noise


def test_a_repeat_is_another_draw_of_the_noise_alone(quiet):
    data = dataset(4)
    asked = requests(data)
    again = [replace(r, query=replace(r.query, repeat=1)) for r in asked]
    noisy, still = SimulatedModel("noisy"), quiet(noise=0.0)
    assert (answers(noisy, asked) != answers(noisy, again)).all()
    np.testing.assert_array_equal(answers(still, asked), answers(still, again))


def test_the_truth_is_a_hash_of_the_id():
    data, gold = world_dataset("noisy", 30)
    other = Dataset("other", [Example(data.texts[i]) for i in (7, 3, 20)])
    for id in other.ids:
        assert gold.labels[id] == true_label(WORLDS["noisy"], 0, id)
        assert gold.labels[id] == true_label(WORLDS["easy"], 0, id)
    labels = [true_label(WORLDS["noisy"], 0, example_id(str(i))) for i in range(2000)]
    assert np.mean(labels) == pytest.approx(0.5, abs=0.05)


def test_a_data_set_is_fixed_by_its_seed():
    one, two, other = (world_dataset("grouped", 30, seed) for seed in (1, 1, 2))
    assert one[0].fingerprint == two[0].fingerprint and one[1] == two[1]
    assert set(one[0].ids).isdisjoint(other[0].ids)
    for world in WORLDS:
        data, gold = world_dataset(world, 31)
        assert len(data) == len(gold) == 31 // WORLDS[world].group * WORLDS[world].group
        assert gold.labels.keys() == set(data.ids)


def accuracy(model: Model, data: Dataset, gold, shots=()) -> float:
    truth = np.array([gold.labels[id] for id in data.ids])
    # Names that change places, so that the liking for one says nothing.
    names = ["plain", "negated"] if data.task.k == 2 else ["letters"]
    f = len(framings(data.task, names))
    said = answers(model, requests(data, names, shots)).reshape(f, len(data), -1).mean(axis=0)
    return float((said.argmax(axis=1) == truth).mean())


def test_golden_shots_beat_zero_shot():
    data, gold = world_dataset("noisy", 250)
    model = SimulatedModel("noisy")
    bare = accuracy(model, data, gold)
    shots = [(id, gold.labels[id]) for id in data.ids[:12]]
    assert accuracy(model, data, gold, shots) > bare + 0.08
    wrong = [(id, 1 - label) for id, label in shots]
    assert accuracy(model, data, gold, wrong) < bare


def test_the_worlds_are_as_hard_as_they_say():
    bare = {}
    for world in ("easy", "noisy", "distractor", "no-answer"):
        data, gold = world_dataset(world, 250)
        bare[world] = accuracy(SimulatedModel(world), data, gold)
    assert bare["easy"] > bare["noisy"] + 0.05 > bare["distractor"] + 0.05
    assert abs(bare["no-answer"] - 0.5) < 0.1


@pytest.mark.parametrize("world", ["easy", "noisy", "grouped", "no-answer"])
def test_it_knows_the_truth_as_far_as_its_margin_says(world):
    data, gold = world_dataset(world, 1500)
    right = np.mean([SimulatedModel(world).knows(id) == gold.labels[id] for id in data.ids])
    truth = WORLDS[world].concepts[0]
    expected = norm.cdf(truth.margin / truth.spread)
    assert abs(right - expected) < 4 * np.sqrt(expected * (1 - expected) / len(data))


def test_with_golden_shots_and_no_habits_it_says_what_it_knows(quiet):
    model = quiet(recency=0.0)
    data, gold = world_dataset("quiet", 150)
    shots = [(id, gold.labels[id]) for id in data.ids[:60]]
    asked = requests(data, names=("plain",), shots=shots, ids=data.ids[60:])
    said = answers(model, asked).argmax(axis=1)
    assert np.mean(said == [model.knows(id) for id in data.ids[60:]]) > 0.9


def test_a_model_that_knows_nothing_learns_nothing_from_shots():
    data, gold = world_dataset("no-answer", 250)
    shots = [(id, gold.labels[id]) for id in data.ids[:12]]
    assert abs(accuracy(SimulatedModel("no-answer"), data, gold, shots) - 0.5) < 0.1


def test_one_in_ten_is_true_in_the_imbalanced_world():
    _, gold = world_dataset("imbalanced", 1500)
    assert np.mean(list(gold.labels.values())) == pytest.approx(0.1, abs=0.025)


def test_a_group_has_exactly_one_true_member():
    data, gold = world_dataset("grouped", 90)
    assert len(data.relations) == 30 and all(r.prior for r in data.relations)
    places = []
    for relation in data.relations:
        labels = [gold.labels[m] for m in relation.members]
        assert sum(labels) == 1 and len(labels) == 3
        places.append(labels.index(1))
    assert set(places) == {0, 1, 2}


def test_a_group_never_has_the_same_text_twice(monkeypatch):
    # So few wordings that without care a group would draw one twice.
    monkeypatch.setattr(simulated, "_NOUNS", ["valve", "door"])
    monkeypatch.setattr(simulated, "_TRAITS", ["amber", "narrow"])
    monkeypatch.setattr(simulated, "_STATES", ["open", "new", "sealed"])
    data, _ = world_dataset("grouped", 60, seed=3)
    assert len(data) == 60


def test_four_classes():
    data, gold = world_dataset("k4", 200)
    assert data.task.k == 4 and set(gold.labels.values()) == {0, 1, 2, 3}
    model = SimulatedModel("k4")
    shots = [(id, gold.labels[id]) for id in data.ids[:16]]
    bare, shown = accuracy(model, data, gold), accuracy(model, data, gold, shots)
    assert 0.3 < bare < shown - 0.05


def test_the_liking_for_names_cancels_between_paired_framings(quiet):
    data = dataset(30)
    for names in (["plain", "negated"], ["letters"]):
        for shots in ((), [(data.ids[0], 1), (data.ids[1], 0)]):
            asked = requests(data, names, shots)
            liked = np.diff(answers(quiet(noise=0.0, liking=2.0), asked)).reshape(2, 30)
            free = np.diff(answers(quiet(**QUIET), asked)).reshape(2, 30)
            np.testing.assert_allclose(liked.mean(axis=0), free.mean(axis=0), atol=1e-12)
            np.testing.assert_allclose(free[0], free[1], atol=1e-12)
            half = (liked[0] - liked[1]) / 2
            assert np.ptp(half) < 1e-12 and abs(half[0]) > 0.3


def test_neutral_sets_have_no_polarity_before_a_shot(quiet):
    data = dataset(20)
    still = quiet(**QUIET)
    bare = np.diff(answers(still, requests(data, ["sets"])))
    np.testing.assert_allclose(bare, 0, atol=1e-12)
    shots = [(data.ids[i], true_label(still.world, 0, data.ids[i])) for i in range(8)]
    turned = [(id, 1 - label) for id, label in shots]
    one, two = (np.diff(answers(still, requests(data, ["sets"], s)[:20])) for s in (shots, turned))
    assert np.corrcoef(one[8:, 0], two[8:, 0])[0, 1] < -0.9
    assert np.abs(np.diff(answers(still, requests(data, ["plain"])))).max() > 0.5


@pytest.mark.parametrize("turn", range(4))
def test_shots_say_which_way_round_the_sets_are_meant(turn, quiet):
    data, gold = world_dataset("k4", 120)
    still = quiet("k4", **QUIET)
    shots = [(id, (gold.labels[id] + turn) % 4) for id in data.ids[:20]]
    said = answers(still, requests(data, ["sets"], shots, data.ids[20:]))[:100].argmax(axis=1)
    meant = [(gold.labels[id] + turn) % 4 for id in data.ids[20:]]
    assert (said == meant).mean() > 0.5


def test_the_label_shown_last_is_liked(quiet):
    data = dataset(20)
    orders = [[(data.ids[0], 0), (data.ids[1], 1)], [(data.ids[1], 1), (data.ids[0], 0)]]
    still = quiet(recency=1.5, copying=1e-12, **QUIET)
    last = [np.diff(answers(still, requests(data, ["plain"], order)))[2:] for order in orders]
    np.testing.assert_allclose(last[0] - last[1], 3.0, atol=1e-6)


KNOBS = {
    "concepts": WORLDS["distractor"].concepts,
    "positives": 0.1,
    "straight": 0.6,
    "copying": 0.5,
    "liking": 2.0,
    "recency": 1.0,
    "noise": 0.1,
    "wrong": 0.4,
}


def test_every_knob_has_a_test():
    elsewhere = {"k", "group", "about", "pretrained"}
    assert {f.name for f in fields(WORLDS["noisy"])} == KNOBS.keys() | elsewhere


@pytest.mark.parametrize("name", KNOBS)
def test_every_knob_of_a_world_changes_the_answers(name, quiet):
    data = dataset(12)
    asked = requests(data, shots=[(data.ids[0], 0), (data.ids[1], 1)])
    base = answers(SimulatedModel("noisy"), asked)
    assert np.abs(answers(quiet(**{name: KNOBS[name]}), asked) - base).max() > 1e-3


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda: SimulatedModel("nowhere"), "the worlds are"),
        (lambda: world_dataset("nowhere"), "the worlds are"),
        (lambda: world_dataset("grouped", 2), "at least 3"),
        (lambda: answers(SimulatedModel("k4"), requests(dataset(1))), "4 classes"),
        (lambda: answers(SimulatedModel("noisy"), requests(dataset(1, 3))), "2 classes"),
    ],
)
def test_a_wrong_option_is_one_line(wrong, word):
    with pytest.raises(InputError, match=word) as caught:
        wrong()
    assert "\n" not in str(caught.value)
