"""From predictions to evidence: what is taken out, what is marked, what is left out."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from consilience.data.relations import ExactlyOne, Opposite
from consilience.errors import InputError, SolveError
from consilience.evidence.collect import collect
from consilience.evidence.evidence import FLOOR, Evidence
from consilience.evidence.label_bias import BIAS_METHODS
from consilience.objective.conditioning import condition
from consilience.prompts.framing import Framing, framings
from consilience.prompts.query import Query
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from scenes import gathered, scene
from zoo import ONE, alone, dataset, evidence, flipped, pairs, prediction, random_rows, task


def normal(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def signal(n: int, k: int, seed: int = 0) -> np.ndarray:
    """What a model believes, with one example in ten in the last class: far from balanced."""
    rng = np.random.default_rng(seed)
    share = np.full(k, 0.9 / (k - 1))
    share[-1] = 0.1
    truth = rng.choice(k, size=n, p=share)
    return normal(3 * np.eye(k)[truth] + rng.normal(size=(n, k)))


def asked(data, made, believed, liking, shots=((), ()), rng=None):
    """Each example in each framing, answered from beliefs and a liking for each name."""
    rows = []
    for framing in made:
        for i, id in enumerate(data.ids):
            extra = np.array([liking[name] for name in framing.label_names])
            query = Query(id, shots[i % 2], framing.name)
            offset = 0.0 if rng is None else float(rng.normal())
            rows.append((query, prediction(query, believed[i] + extra + offset)))
    return rows


WORDING = ("plain", "negated")
FAMILIES = {
    "wording": (2, WORDING),
    "letters of two": (2, ("letters",)),
    "letters of three": (3, ("letters",)),
    "sets of four": (4, ("sets",)),
}


@pytest.mark.parametrize(("k", "names"), FAMILIES.values(), ids=FAMILIES)
def test_a_liking_for_names_is_recovered_exactly(k, names):
    data, made = dataset(20, k), framings(task(k), names)
    believed = signal(20, k)
    drawn = dict.fromkeys(made[0].label_names, 0.0)
    likes = {name: float(x) for name, x in zip(drawn, (1.7, -0.4, 0.3, 0.9), strict=False)}
    centre = np.mean(list(likes.values()))
    found = collect(data, made, [asked(data, made, believed, likes)], bias="paired")
    assert len(found.tally.bias) == 1
    for name, taken in found.tally.bias[f"{made[0].family}, zero-shot"].items():
        assert taken == pytest.approx(likes[name] - centre, abs=1e-12)
    np.testing.assert_allclose(
        found.predictions.logp.numpy(), np.tile(believed, (k, 1)), atol=1e-12
    )
    # What is added to all labels of a prediction is no liking.
    shifted = asked(data, made, believed, likes, rng=np.random.default_rng(0))
    again = collect(data, made, [shifted], bias="paired")
    np.testing.assert_allclose(
        again.predictions.logp.numpy(), found.predictions.logp.numpy(), atol=1e-12
    )


def test_the_ways_to_take_the_liking_out():
    data, made = dataset(20), framings(task(2), WORDING)
    believed, likes = signal(20, 2), {"True": 0.8, "False": -0.8}
    rows = asked(data, made, believed, likes)
    found = {way: collect(data, made, [rows], bias=way) for way in BIAS_METHODS}
    logp = {way: found[way].predictions.logp.numpy().reshape(2, 20, 2) for way in BIAS_METHODS}
    default = collect(data, made, [rows]).predictions.logp
    assert torch.equal(default, found["contexts"].predictions.logp)
    np.testing.assert_allclose(logp["paired"], [believed] * 2, atol=1e-12)
    # The plain framing calls class 1 "True", the negated one class 0.
    raw = normal(believed + np.array([[[-0.8, 0.8]], [[0.8, -0.8]]]))
    np.testing.assert_allclose(logp["none"], raw, atol=1e-12)
    assert found["none"].tally.bias == {}
    centred = normal(raw - raw.mean(axis=1, keepdims=True))
    # The offset of each framing is its own, and the mean signal is left to be told later.
    np.testing.assert_allclose(logp["contexts"], centred, atol=0.05)
    assert set(found["contexts"].tally.bias) == {"plain, zero-shot", "negated, zero-shot"}
    for bias in found["contexts"].tally.bias.values():
        assert sum(bias.values()) == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match="no way 'hope' to take out bias"):
        collect(data, made, [rows], bias="hope")


def test_the_same_example_asked_often_in_one_framing_does_not_tilt_the_balance():
    data, made = dataset(6), framings(task(2), WORDING)
    believed, likes = signal(6, 2), {"True": 0.8, "False": -0.8}
    rows = asked(data, made, believed, likes)
    found = collect(data, made, [rows + rows[:3] * 5], bias="paired")
    assert found.tally.bias["wording, zero-shot"] == pytest.approx(likes, abs=1e-12)


def test_each_family_and_each_kind_of_prompt_has_its_own_liking():
    data = dataset(8)
    made = framings(task(2), ["plain", "negated", "letters"])
    believed = signal(8, 2)
    shots = ((data.ids[1], 0),), ((data.ids[0], 1),)
    bare = {"True": 0.5, "False": -0.5, "A": -2.0, "B": 2.0}
    shown = {"True": -0.1, "False": 0.1, "A": 0.7, "B": -0.7}
    rows = asked(data, made, believed, bare) + asked(data, made, believed, shown, shots)
    found = collect(data, made, [rows], bias="paired")
    assert found.tally.bias.keys() == {
        f"{family}, {kind}"
        for family in ("wording", "letters")
        for kind in ("zero-shot", "with shots")
    }
    assert found.tally.bias["letters, zero-shot"] == pytest.approx({"A": -2.0, "B": 2.0})
    assert found.tally.bias["wording, with shots"] == pytest.approx({"True": -0.1, "False": 0.1})
    np.testing.assert_allclose(
        found.predictions.logp.numpy(), np.tile(believed, (8, 1)), atol=1e-12
    )
    assert found.predictions.zero.tolist() == [True] * 32 + [False] * 32


def test_without_its_partner_nothing_is_taken_out():
    data, made = dataset(10), framings(task(2), WORDING)
    believed, likes = signal(10, 2), {"True": 2.0, "False": 0.0}
    rows = asked(data, made, believed, likes)
    found = collect(data, made, [rows[:10]], bias="paired")
    assert found.tally.bias == {"wording, zero-shot": None}
    np.testing.assert_allclose(
        found.predictions.logp.numpy(), normal(believed + np.array([0.0, 2.0])), atol=1e-12
    )
    kept = collect(data, framings(task(2), ["plain"]), [rows[:10]], bias="paired")
    assert kept.tally.bias == {"wording, zero-shot": None}


def test_a_name_that_keeps_its_class_tells_nothing():
    data = dataset(6, 3)
    names = ("A", "B", "C")
    made = [Framing(f"f{i}", "stuck", "?", "Answer:", names) for i in range(3)]
    rows = asked(data, made, signal(6, 3), {"A": 3.0, "B": 0.0, "C": 0.0})
    found = collect(data, made, [rows], bias="paired")
    assert found.tally.bias == {"stuck, zero-shot": None}
    np.testing.assert_allclose(
        found.predictions.logp.numpy(),
        np.tile(normal(signal(6, 3) + np.array([3.0, 0, 0])), (3, 1)),
        atol=1e-12,
    )


def test_where_nobody_was_asked_in_all_framings_the_means_are_compared():
    data, made = dataset(200), framings(task(2), WORDING)
    believed, likes = signal(200, 2), {"True": 1.0, "False": -1.0}
    rows = asked(data, made, believed, likes)
    turn = np.random.default_rng(1).permutation(200) % 2
    half = [row for i, row in enumerate(rows) if i // 200 == turn[i % 200]]
    found = collect(data, made, [half], bias="paired")
    assert found.t == 200
    assert found.tally.bias["wording, zero-shot"]["True"] == pytest.approx(1.0, abs=0.25)


def test_bounded_predictions_are_marked_and_not_used_for_the_bias():
    data, made = dataset(10), framings(task(2), WORDING)
    believed, likes = signal(10, 2), {"True": 0.6, "False": -0.6}
    rows = asked(data, made, believed, likes)
    for r in (0, 13):
        query, said = rows[r]
        rows[r] = (query, replace(said, logprobs=(-40.0, -0.1), exact=(False, True)))
    found = collect(data, made, [rows], bias="paired")
    assert found.tally.bias["wording, zero-shot"] == pytest.approx(likes, abs=1e-12)
    assert found.predictions.bounded.nonzero().flatten().tolist() == [0, 13]
    wanted = np.tile(believed, (2, 1))
    wanted[0] = normal(np.array([-40.0 + 0.6, -0.1 - 0.6]))
    wanted[13] = normal(np.array([-40.0 - 0.6, -0.1 + 0.6]))
    np.testing.assert_allclose(found.predictions.logp.numpy(), wanted, atol=1e-12)


def test_silent_and_absent_predictions_are_left_out_and_counted():
    data = dataset(4)
    rows = pairs(data, [(i, [0.4, 0.6], ()) for i in range(4)])
    silent = [(q, replace(p, key="silent", exact=(False, False))) for q, p in rows[:1]]
    absent = [(q, None) for q, _ in rows[1:3]]
    found = collect(data, [ONE], [rows, silent + absent, absent], bias="none")
    assert (found.t, found.tally.absent, found.tally.silent) == (4, 4, 1)
    assert found.predictions.round.tolist() == [0, 0, 0, 0]
    for nothing in ([], [[]], [absent], [silent], [silent, absent]):
        with pytest.raises(SolveError, match="no prediction to learn from") as caught:
            collect(data, [ONE], nothing, bias="none")
        assert "\n" not in str(caught.value)


def test_the_tensors_say_who_was_asked_how():
    data = dataset(5, 3)
    made = [alone(3), replace(alone(3), name="two")]
    first = pairs(data, [(4, [0.2, 0.3, 0.5], ()), (0, [0.1, 0.1, 0.8], [(3, 2), (1, 0)])])
    second = pairs(data, [(2, [0.6, 0.2, 0.2], [(4, 1)])], framing="two")
    halved = [(q, replace(p, mass=0.4)) for q, p in second]
    found = collect(data, made, [first, halved], bias="none")
    assert (found.n, found.k, found.t) == (5, 3, 3) and found.ids == data.ids
    assert found.framings == ("one", "two")
    assert found.predictions.target.tolist() == [4, 0, 2]
    assert found.predictions.framing.tolist() == [0, 0, 1] and found.predictions.round.tolist() == [
        0,
        0,
        1,
    ]
    assert found.predictions.zero.tolist() == [True, False, False]
    assert found.shot_counts.tolist() == [0, 2, 1]
    assert found.predictions.shown.tolist() == [-1, 0, 1] and found.shots.list.tolist() == [0, 0, 1]
    assert found.shots.example.tolist() == [3, 1, 4] and found.shots.label.tolist() == [2, 0, 1]
    assert [column.tolist() for column in found.shown_shots()] == [[1, 1, 2], [3, 1, 4], [2, 0, 1]]
    assert found.tally.mean_mass == pytest.approx(0.8)
    assert found.predictions.logp.dtype == torch.float64
    np.testing.assert_allclose(found.predictions.logp.exp().numpy()[1], [0.1, 0.1, 0.8])
    told = np.log(3) + 2 * 0.1 * np.log(0.1) + 0.8 * np.log(0.8)
    assert float(found.predictions.information[1]) == pytest.approx(told)


def test_log_probabilities_are_normalised_over_the_labels():
    data = dataset(1)
    query = Query(data.ids[0], (), "one")
    found = collect(data, [ONE], [[(query, prediction(query, np.log([0.06, 0.02])))]], bias="none")
    np.testing.assert_allclose(found.predictions.logp.exp().numpy(), [[0.75, 0.25]])


@pytest.mark.parametrize("way", ["paired", "contexts"])
@pytest.mark.parametrize(("k", "names"), FAMILIES.values(), ids=FAMILIES)
def test_what_the_names_are_called_does_not_matter(k, names, way):
    data, made = dataset(7, k), framings(task(k), names)
    rows = asked(data, made, signal(7, k), dict.fromkeys("ABCD", 0.2) | {"True": 1, "False": 0})
    turn = {name: made[0].label_names[i - 1] for i, name in enumerate(made[0].label_names)}
    other = [replace(f, label_names=tuple(turn[n] for n in f.label_names)) for f in made]
    one, two = (collect(data, f, [rows], bias=way) for f in (made, other))
    np.testing.assert_allclose(
        one.predictions.logp.numpy(), two.predictions.logp.numpy(), atol=1e-12
    )
    assert len(one.tally.bias) == (1 if way == "paired" else len(made))
    for liked, turned in zip(one.tally.bias.values(), two.tally.bias.values(), strict=True):
        assert turned == pytest.approx({turn[name]: value for name, value in liked.items()})


def test_the_order_within_a_round_does_not_matter():
    rows = random_rows(np.random.default_rng(5), 12, 2)
    ties = [(Opposite, (0, 1)), (ExactlyOne, (2, 3, 4))]
    mixed = [rows[i] for i in np.random.default_rng(6).permutation(len(rows))]
    solutions = [solve(evidence(12, r, 2, ties), solver=LBFGS(starts=4)) for r in (rows, mixed)]
    np.testing.assert_allclose(solutions[0].labels, solutions[1].labels, rtol=0, atol=1e-9)


def test_design_priors_count_only_on_request():
    ties = [(ExactlyOne, (0, 1))]
    facts, priors = dataset(3, 2, ties), dataset(3, 2, ties, prior=True)
    rows = pairs(facts, [(i, [0.3, 0.7], ()) for i in range(3)])
    assert len(collect(facts, [ONE], [rows], bias="none").factors) == 1
    assert collect(priors, [ONE], [rows], bias="none").factors == ()
    switched = collect(priors, [ONE], [rows], priors=True, bias="none").factors
    assert switched[0].members.tolist() == [[0, 1]]


def test_evidence_moves_to_a_device_as_a_whole():
    rows = random_rows(np.random.default_rng(0), 4, 2)
    moved = evidence(4, rows, ties=[(Opposite, (0, 1))]).holding({0: 1}).to("meta")
    tensors = arrays_of(moved) | dict(members=moved.factors[0].members, held=moved.held)
    assert len(tensors) > 20 and {t.device.type for t in tensors.values()} == {"meta"}


# --- what counts once, and what was not recorded ---------------------------------------------


def arrays_of(one: Evidence) -> dict[str, torch.Tensor]:
    """All tensors of predictions, shots and contrasts."""
    parts = {"predictions": one.predictions, "shots": one.shots, "contrasts": one.contrasts}
    return {
        f"{part} {f.name}": getattr(arrays, f.name)
        for part, arrays in parts.items()
        for f in fields(arrays)
        if f.name != "keys"
    }


def same(one: Evidence, other: Evidence) -> None:
    """Not one bit differs; relations and counts of what is not there apart."""
    there = arrays_of(other)
    for name, values in arrays_of(one).items():
        assert torch.equal(values, there[name]), name
    assert one.predictions.keys == other.predictions.keys and one.tally.bias == other.tally.bias


def test_what_was_planned_again_counts_once_where_it_stood_first():
    data, rounds = scene(0, 2)
    again = [*rounds, rounds[1][1::2], rounds[0][5::-1], rounds[1]]
    same(gathered(data, rounds), gathered(data, again))
    assert gathered(data, again).tally.unsure == gathered(data, rounds).tally.unsure


def test_a_shot_whose_label_nobody_recorded_is_not_known_of():
    rows = [(0, [0.2, 0.8], [(1, -1), (2, 0)]), (0, [0.3, 0.7], [(1, -1)])]
    ev = evidence(3, rows)
    assert ev.predictions.zero.tolist() == [False, False] and ev.shot_counts.tolist() == [1, 0]
    assert [column.tolist() for column in ev.shown_shots()] == [[0], [2], [0]]
    # What is known to be wrong is out of date; what is not known of cannot be.
    wrong = torch.tensor([[[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    assert condition(ev, wrong).relevance.tolist() == [[0.0, 1.0]]


# --- contrasts -------------------------------------------------------------------------------


def flips_of(ev: Evidence) -> list[tuple[int, ...]]:
    """Each flip: twin, contrast, example flipped, label from, label to."""
    columns = (
        ev.contrasts.twin,
        ev.contrasts.flipped,
        ev.contrasts.example,
        ev.contrasts.before,
        ev.contrasts.after,
    )
    return list(zip(*(c.tolist() for c in columns), strict=True))


def said(data, shots, at=None, p=(0.8, 0.1, 0.1), target=0, framing="one", repeat=0):
    """A query whose shot at position `at` is flipped, and its answer."""
    shown = tuple((data.ids[j], label) for j, label in shots)
    query = Query(data.ids[target], shown, framing, repeat, contrast=at)
    return query, prediction(query, np.log(p))


def test_a_contrast_finds_its_twin_before_it_else_after():
    data = dataset(3, 3)
    far, near, late = (said(data, [(1, label), (2, 0)]) for label in (0, 1, 2))
    contrast = said(data, [(1, 2), (2, 0)], at=0)
    other = said(data, [(1, 2), (2, 1)], at=1)
    ev = collect(data, [alone(3)], [[far, near], [contrast, other]], bias="none")
    assert flips_of(ev) == [(1, 2, 1, 1, 2), (2, 3, 2, 0, 1)]
    assert ev.predictions.brief.tolist() == [False, True, True, True] and ev.tally.unsure == 0
    ev = collect(data, [alone(3)], [[contrast, near, far]], bias="none")
    assert flips_of(ev) == [(1, 0, 1, 1, 2)]
    between = said(data, [], target=1)
    ev = collect(data, [alone(3)], [[far, between, contrast, near]], bias="none")
    assert flips_of(ev) == [(0, 2, 1, 0, 2)]
    # The same labels with no contrast in it are no twin: nothing differs.
    alike = collect(data, [alone(3)], [[late, contrast]], bias="none")
    assert alike.f == 0 and alike.tally.unsure == 1


@pytest.mark.parametrize(
    "change",
    [
        {"target": 2},
        {"framing": "two"},
        {"repeat": 1},
        {"shots": [(2, 0), (1, 1)]},
        {"shots": [(1, 1), (2, 1)]},
        {"shots": [(1, 1), (2, 0), (3, 0)]},
        {"shots": [(1, 2), (2, 0)]},
        {"shots": [(1, -1), (2, 0)]},
    ],
    ids=str,
)
def test_what_is_no_twin(change):
    data, shots = dataset(4, 3), [(1, 1), (2, 0)]
    made = [alone(3), replace(alone(3), name="two")]
    contrast = said(data, [(1, 2), (2, 0)], at=0)
    twin = said(data, **({"shots": shots} | change))
    ev = collect(data, made, [[twin, contrast]], bias="none")
    assert (ev.f, ev.tally.unsure, ev.predictions.brief.tolist()) == (0, 1, [False, True])
    assert collect(data, made, [[said(data, shots), contrast]], bias="none").f == 1


def test_a_shot_beside_the_flipped_one_may_be_unrecorded():
    data = dataset(3, 3)
    rows = [said(data, [(1, 0), (2, -1)]), said(data, [(1, 1), (2, -1)], at=0)]
    assert flips_of(collect(data, [alone(3)], [rows], bias="none")) == [(0, 1, 1, 0, 1)]
    rows = [said(data, [(1, 0)]), said(data, [(1, -1)], at=0)]
    assert collect(data, [alone(3)], [rows], bias="none").f == 0


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ([0.1, 0.9], [0.1, 0.9], 0.9),
        ([0.1, 0.9], [0.9, 0.1], 0.5),
        ([0.5, 0.5], [0.05, 0.95], np.sqrt(0.95) / (np.sqrt(0.95) + np.sqrt(0.05))),
        ([0.45, 0.55], [0.36, 0.64], np.sqrt(0.352) / (np.sqrt(0.352) + np.sqrt(0.162))),
    ],
)
def test_a_contrast_counts_where_both_together_are_sure(one, other, together):
    """Whichever of the two is the twin, and so whichever label was the one of that day."""
    data = dataset(2)
    for p, turned in ((one, other), (other, one)):
        rows = flipped(data, 0, [(1, 1)], 0, 0, p, turned)
        for floor, counts in ((together - 1e-6, 1), (together + 1e-6, 0)):
            ev = collect(data, [ONE], [rows], floor=floor, bias="none")
            assert (ev.f, ev.tally.unsure, ev.floor) == (counts, 1 - counts, floor)
            # Sure or not, both have next to no shots.
            assert ev.predictions.brief.tolist() == [True, True]
    assert collect(data, [ONE], [rows], bias="none").floor == FLOOR


def test_contrasts_of_one_target_and_shot_are_one_pair():
    data = dataset(4)
    asked = [(0, 1), (2, 1), (0, 1), (1, 0), (0, 3), (2, 1)]
    rows = []
    for repeat, (target, shot) in enumerate(asked):
        rows += flipped(data, target, [(shot, 1)], 0, 0, [0.1, 0.9], [0.2, 0.8], repeat)
    pair = collect(data, [ONE], [rows], bias="none").contrasts.pair.tolist()
    assert [pair.index(p) for p in pair] == [asked.index(a) for a in asked]
    assert sorted(set(pair)) == [0, 1, 2, 3]


def test_rivals_are_all_pairs_of_one_target():
    ev = evidence(4, [(i, [0.4, 0.6], ()) for i in (2, 0, 2, 1, 2, 0)])
    assert sorted(map(sorted, ev.predictions.rivals.tolist())) == [[0, 2], [0, 4], [1, 5], [2, 4]]


# --- some of the predictions -----------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_some_of_the_predictions_are_as_if_the_others_had_not_been_asked(k):
    data, rounds = scene(1, k)
    ev, rows = gathered(data, rounds), [*rounds[0], *rounds[1]]
    for share in (0.2, 0.5, 0.9, 1.0):
        keep = torch.from_numpy(np.random.default_rng(3).random(ev.t) < share)
        keep[ev.contrasts.flipped] = keep[ev.contrasts.twin]
        kept = {query for (query, _), stays in zip(rows, keep, strict=True) if stays}
        less = gathered(data, [[row for row in r if row[0] in kept] for r in rounds])
        some = ev.only(keep)
        pairs_of = [e.contrasts.pair[:, None] == e.contrasts.pair for e in (some, less)]
        assert torch.equal(*pairs_of)
        # What a wording is worth was learned from all that was asked.
        assert torch.equal(some.predictions.weight, ev.predictions.weight[keep])
        same(
            replace(
                some,
                predictions=replace(some.predictions, weight=less.predictions.weight),
                contrasts=replace(some.contrasts, pair=less.contrasts.pair),
            ),
            less,
        )
        assert sorted(some.predictions.rivals.tolist()) == sorted(less.predictions.rivals.tolist())
    assert some.f == ev.f > 0


def test_a_flip_needs_both_of_its_two():
    data = dataset(3)
    rows = flipped(data, 0, [(1, 1)], 0, 0, [0.1, 0.9], [0.2, 0.8])
    rows += flipped(data, 2, [(1, 1)], 0, 0, [0.1, 0.9], [0.3, 0.7])
    ev = collect(data, [ONE], [rows], bias="none")
    one, two = (0, 1, 1, 1, 0), (2, 3, 1, 1, 0)
    assert flips_of(ev) == [one, two]
    moved = (1, 2, 1, 1, 0)
    for keep, left in (([0, 1, 1, 1], [moved]), ([1, 0, 0, 1], []), ([1, 1, 1, 0], [one])):
        some = ev.only(torch.tensor(keep, dtype=torch.bool))
        assert (some.t, flips_of(some)) == (sum(keep), left)
        # A twin stays what it was, a query with next to no shots.
        assert some.predictions.brief.all()
