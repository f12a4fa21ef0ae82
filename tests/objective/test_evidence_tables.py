"""The tables of evidence against answers by hand; what moves them, and what must not."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch

from consilience.data.dataset import Dataset, Example
from consilience.data.relations import AtMostOne, Equal, ExactlyOne, Opposite, Or
from consilience.errors import InputError
from consilience.evidence.collect import collect
from consilience.evidence.relation_factors import EXACT
from consilience.objective.conditioning import ConditionedEvidence, State, condition
from consilience.objective.evidence_tables import (
    EVIDENCE_KINDS,
    evidence_summary,
    evidence_table,
    mean_labels,
)
from consilience.objective.pair_terms import downstream_consistency
from zoo import (
    ONE,
    alone,
    bounded,
    dataset,
    evidence,
    flipped,
    pairs,
    prediction,
    random_rows,
    renamed,
    turned,
)

COLUMNS = {
    "direct confidence": {
        "id": "str",
        "prediction": "str",
        "framing": "str",
        "round": "int64",
        "shots": "int64",
        "label": "int64",
        "probability": "float64",
        "log_odds": "float64",
        "bounded": "bool",
        "trusted": "bool",
    },
    "flip sensitivity": {
        "id": "str",
        "shot": "str",
        "contrasts": "int64",
        "effect": "float64",
        "shrunk": "float64",
        "bounded": "bool",
    },
    "ensemble variance": {
        "id": "str",
        "predictions": "int64",
        "score_spread": "float64",
        "within_framings": "float64",
        "between_framings": "float64",
        "label_disagreement": "float64",
        "bounded": "bool",
    },
    "mutual predictability": {
        "id": "str",
        "forward": "float64",
        "forward_count": "int64",
        "reverse": "float64",
        "reverse_count": "int64",
        "relevance": "float64",
        "bounded": "bool",
    },
    "logical consistency": {"ids": "object", "size": "int64", "graded": "float64", "holds": "bool"},
}


def mirrored(data, target, flips):
    """To each twin and contrast another target that answers the other way round.

    With these the mean effect in the direction of the label shown is zero, and nothing is taken
    out of the flips.
    """
    made = []
    for repeat, (twin, contrast) in enumerate(zip(flips[::2], flips[1::2], strict=True)):
        for query, answer in ((twin[0], contrast[1]), (contrast[0], twin[1])):
            query = replace(query, target=data.ids[target], repeat=repeat)
            made.append((query, prediction(query, answer.logprobs)))
    return made


def certain(labels, k=2):
    """Soft labels that are sure of these."""
    return np.eye(k)[list(labels)]


def everything(seed, k, n=8):
    """A data set with relations and rows of every sort: framings, contrasts, bounds."""
    rng = np.random.default_rng(seed)
    data = dataset(n, k, [(Opposite, (0, 1)), (Equal, (1, 2)), (ExactlyOne, (5, 3, 4))])
    rows = [r for r in random_rows(rng, n, k, zero=2, shown=2) if r[0] != 6]
    first = pairs(data, rows[::2]) + pairs(data, rows[1::2], "two")
    flips = []
    asked = [(0, 1, 1), (0, 1, 0), (0, 2, 1), (3, 4, 0), (7, 0, 1)]
    for repeat, (target, shot, label) in enumerate(asked):
        said = 0.1 / (k - 1) + (0.9 - 0.1 / (k - 1)) * np.eye(k)[rng.integers(k)]
        shots = [(shot, label), (5, 0)]
        to = (label + 1 + int(rng.integers(k - 1))) % k
        flips += flipped(data, target, shots, 0, to, said, rng.dirichlet(np.ones(k)), repeat)
    first[3], flips[4] = bounded(first[3]), bounded(flips[4])
    return data, [first, flips]


def gathered(data, rounds):
    one = alone(data.task.k)
    return collect(data, [one, replace(one, name="two")], rounds, bias="none")


def drawn(seed, n, k):
    return np.random.default_rng(seed).dirichlet(np.ones(k), size=n)


def row(table, **wanted):
    """The only row with these values."""
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


# --- direct confidence -----------------------------------------------------------------------


def test_direct_confidence_by_hand():
    data = dataset(3)
    rows = pairs(data, [(2, [0.2, 0.8], ()), (0, [0.55, 0.45], [(1, 1), (2, 0)])])
    ev = collect(data, [ONE], [rows, [bounded(pairs(data, [(1, [0.7, 0.3], ())])[0])]], bias="none")
    table = evidence_table(ev)
    assert table["id"].tolist() == [data.ids[2], data.ids[0], data.ids[1]]
    assert tuple(table["prediction"]) == ev.predictions.keys
    assert table["framing"].tolist() == ["one"] * 3
    assert table["round"].tolist() == [0, 0, 1] and table["shots"].tolist() == [0, 2, 0]
    assert table["label"].tolist() == [1, 0, 0]
    assert table["probability"].tolist() == pytest.approx([0.8, 0.55, 0.7])
    odds = [math.log(4), math.log(0.55 / 0.45), math.log(0.7 / 0.3)]
    assert table["log_odds"].tolist() == pytest.approx(odds)
    assert table["bounded"].tolist() == [False, False, True]
    assert table["trusted"].tolist() == [True, False, True]
    stricter = evidence_table(replace(ev, floor=0.75))
    assert stricter["trusted"].tolist() == [True, False, False]


def test_direct_log_odds_are_against_all_other_labels_together():
    table = evidence_table(evidence(1, [(0, [0.2, 0.5, 0.3], ())], 3), "direct confidence")
    assert table["label"].tolist() == [1]
    assert table["log_odds"].tolist() == pytest.approx([0.0])
    sure = evidence_table(evidence(1, [(0, [1e-200, 1.0], ())]))
    assert sure["log_odds"].tolist() == pytest.approx([200 * math.log(10)])


# --- flip sensitivity ------------------------------------------------------------------------


def test_flip_sensitivity_by_hand():
    data = dataset(5)
    shots = [(1, 1), (2, 0)]
    flips = [
        *flipped(data, 0, shots, 0, 0, [0.2, 0.8], [0.4, 0.6]),
        *flipped(data, 0, shots, 0, 0, [0.1, 0.9], [0.4, 0.6], repeat=1),
        *flipped(data, 0, shots, 1, 1, [0.2, 0.8], [0.1, 0.9]),
    ]
    flips[1] = bounded(flips[1])
    # Each is sure, but of different labels, so that both together are sure of none.
    unsure = flipped(data, 3, shots, 0, 0, [0.2, 0.8], [0.7, 0.3])
    ev = collect(data, [ONE], [flips + mirrored(data, 4, flips) + unsure], bias="none")
    table = evidence_table(ev, "flip sensitivity", certain([1, 1, 0, 1, 1]))
    assert table["id"].tolist() == [data.ids[i] for i in (0, 0, 4, 4)] and ev.tally.unsure == 1
    table = table[table["id"] == data.ids[0]]
    first, second = row(table, shot=data.ids[1]), row(table, shot=data.ids[2])
    effect = (math.log(4) + math.log(9)) / 2 - math.log(1.5)
    assert (first["contrasts"], second["contrasts"]) == (2, 1)
    assert first["effect"] == pytest.approx(effect)
    assert first["shrunk"] == pytest.approx(effect * 2 / 3)
    assert second["effect"] == pytest.approx(math.log(4) - math.log(9))
    assert second["shrunk"] == pytest.approx(second["effect"] / 2)
    assert (first["bounded"], second["bounded"]) == (True, False)


def test_an_effect_is_above_zero_where_both_labels_speak_for_each_other():
    data = dataset(3)
    flips = flipped(data, 0, [(1, 1)], 0, 0, [0.2, 0.8], [0.5, 0.5])
    ev = collect(data, [ONE], [flips + mirrored(data, 2, flips)], bias="none")
    for target, shot, sign in [(1, 1, 1), (1, 0, -1), (0, 1, -1), (0, 0, 1)]:
        table = evidence_table(ev, "flip sensitivity", certain([target, shot, target]))
        assert table["id"].tolist() == [data.ids[0], data.ids[2]]
        assert table["effect"].tolist() == pytest.approx([sign * math.log(4), -sign * math.log(4)])
    undecided = evidence_table(ev, "flip sensitivity", np.array([[0, 1], [0.5, 0.5], [0, 1]]))
    assert undecided["effect"].tolist() == pytest.approx([math.log(4), -math.log(4)])


def test_contrasts_in_opposite_directions_do_not_cancel():
    data = dataset(3)
    flips = [
        *flipped(data, 0, [(1, 1)], 0, 0, [0.2, 0.8], [0.4, 0.6]),
        *flipped(data, 0, [(1, 0)], 0, 1, [0.4, 0.6], [0.1, 0.9], repeat=1),
    ]
    ev = collect(data, [ONE], [flips + mirrored(data, 2, flips)], bias="none")
    found = row(evidence_table(ev, "flip sensitivity", certain([1, 1, 1])), id=data.ids[0])
    assert found["contrasts"] == 2
    assert found["effect"] == pytest.approx((math.log(4) + math.log(9)) / 2 - math.log(1.5))


@pytest.mark.parametrize("label", [0, 1, 2])
def test_flips_of_three_classes(label):
    data = dataset(3, 3)
    said, turned = [0.1, 0.8, 0.1], [0.3, 0.5, 0.2]
    flips = flipped(data, 0, [(1, 2)], 0, 0, said, turned)
    ev = collect(data, [alone(3)], [flips + mirrored(data, 2, flips)], bias="none")
    # The shot was shown as 2, which is more probable than 0.
    labels = np.array([0.8 * np.eye(3)[label] + 0.2 / 3, [0.3, 0.2, 0.5], [0.1, 0.8, 0.1]])

    def odds(p):
        others = [math.log(x) for c, x in enumerate(p) if c != label]
        return math.log(p[label]) - sum(others) / 2

    found = row(evidence_table(ev, "flip sensitivity", labels), id=data.ids[0])
    assert found["effect"] == pytest.approx(odds(said) - odds(turned))


def test_what_all_contrasts_do_alike_is_no_effect():
    """The label shown gains log 6 in one and log 2 in the other: (log 12)/2 is for being shown."""
    data = dataset(4)
    flips = [
        *flipped(data, 0, [(1, 1)], 0, 0, [0.1, 0.9], [0.4, 0.6]),
        *flipped(data, 2, [(3, 0)], 0, 1, [0.8, 0.2], [2 / 3, 1 / 3]),
    ]
    table = evidence_table(
        collect(data, [ONE], [flips], bias="none"), "flip sensitivity", certain([1, 1, 0, 0])
    )
    assert table["id"].tolist() == [data.ids[0], data.ids[2]]
    assert table["effect"].tolist() == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    assert table["shrunk"].tolist() == pytest.approx([math.log(3) / 4, -math.log(3) / 4])
    for lone in (flips[:2], flips[2:]):
        table = evidence_table(
            collect(data, [ONE], [lone], bias="none"), "flip sensitivity", certain([1, 1, 0, 0])
        )
        assert table["effect"].tolist() == pytest.approx([0], abs=1e-12)


def test_what_all_contrasts_of_three_classes_do_alike_is_no_effect():
    data = dataset(4, 3)
    flips = [
        *flipped(data, 0, [(1, 1)], 0, 0, [0.1, 0.8, 0.1], [0.2, 0.6, 0.2]),
        *flipped(data, 2, [(3, 2)], 0, 1, [0.1, 0.1, 0.8], [0.3, 0.1, 0.6]),
    ]
    ev = collect(data, [alone(3)], [flips], bias="none")
    # How far the label shown gains on the one it is flipped to, half of it for each of the two;
    # in log-odds against the mean of two others that is 3/2 as much.
    alike = (math.log(8 / 3) + math.log(4 / 3)) / 2 * 3 / 4
    other = math.log(4 / math.sqrt(3)) - alike
    gain = math.log(8 / 3)
    # From the label 2, shown in neither, nothing is taken.
    for label, effect in enumerate([-gain / 2 + alike, gain - alike, -gain / 2]):
        table = evidence_table(ev, "flip sensitivity", certain([label, 1, 2, 2], 3))
        assert table["effect"].tolist() == pytest.approx([effect, other])


# --- ensemble variance -----------------------------------------------------------------------


def test_ensemble_variance_by_hand():
    data = dataset(4)
    odds = {"one": [0.5, 1.5], "two": [-2.0]}
    rows = [
        made
        for name, values in odds.items()
        for made in pairs(
            data, [(0, [1 / (1 + math.exp(x)), 1 / (1 + math.exp(-x))], ()) for x in values], name
        )
    ]
    rows += pairs(data, [(1, [0.4, 0.6], ()), (1, [0.2, 0.8], ()), (3, [0.5, 0.5], ())])
    rows += pairs(data, [(2, [0.5, 0.5], ())]) + pairs(data, [(2, [0.3, 0.7], ())], "two")
    rows[-1] = bounded(rows[-1])
    table = evidence_table(gathered(data, [rows]), "ensemble variance")
    assert table["id"].tolist() == list(data.ids[:3])
    assert table["predictions"].tolist() == [3, 2, 2]
    assert table["bounded"].tolist() == [False, False, True]
    spread = [
        np.std([0.5, 1.5, -2.0], ddof=1),
        np.std([math.log(1.5), math.log(4)], ddof=1),
        np.std([0, math.log(7 / 3)], ddof=1),
    ]
    assert table["score_spread"].tolist() == pytest.approx(spread)
    within = [math.sqrt(0.5 / 2), spread[1], math.nan]
    between = [math.sqrt((2 * 1.0**2 + 2.0**2) / 2), math.nan, spread[2]]
    assert table["within_framings"].tolist() == pytest.approx(within, nan_ok=True)
    assert table["between_framings"].tolist() == pytest.approx(between, nan_ok=True)
    gini = [1 - 4 / 9 - 1 / 9, 0.0, 1 - 1 / 16 - 9 / 16]
    assert table["label_disagreement"].tolist() == pytest.approx(gini)


def test_the_spread_of_three_classes_is_that_of_their_pairs():
    said = np.random.default_rng(0).dirichlet(np.ones(3), size=5)
    ev = evidence(1, [(0, p, ()) for p in said], 3)
    logs = np.log(said)
    variances = [np.var(logs[:, a] - logs[:, b], ddof=1) for a, b in combinations(range(3), 2)]
    found = evidence_table(ev, "ensemble variance")["score_spread"]
    assert found.tolist() == pytest.approx([math.sqrt(np.mean(variances))])


@pytest.mark.parametrize("k", [2, 3])
def test_the_parts_of_the_spread_sum_to_it(k):
    table = evidence_table(gathered(*everything(3, k)), "ensemble variance")
    assert table[["within_framings", "between_framings"]].notna().all(axis=1).any()
    parts = table["within_framings"].fillna(0) ** 2 + table["between_framings"].fillna(0) ** 2
    np.testing.assert_allclose(parts, table["score_spread"] ** 2, rtol=1e-12)


# --- mutual predictability -------------------------------------------------------------------


def test_mutual_predictability_by_hand():
    said = [
        (0, [0.4, 0.6], ()),
        (0, [0.1, 0.9], [(1, 1)]),
        (0, [0.4, 0.6], [(2, 1)]),
        (3, [0.2, 0.8], [(1, 1)]),
        (4, [0.2, 0.8], [(2, 0)]),
    ]
    ev = evidence(6, said)
    labels = np.array([[0.2, 0.8], [0.1, 0.9], [0.3, 0.7], [0, 1], [0.5, 0.5], [0, 1]])
    table = evidence_table(ev, "mutual predictability", labels)
    assert table["id"].tolist() == list(ev.ids[:5])
    assert table["forward_count"].tolist() == [2, 0, 0, 1, 1]
    fits = [0.2 * math.log(p) + 0.8 * math.log(r) for p, r in ([0.1, 0.9], [0.4, 0.6])]
    _, a, b, c, none = condition(ev, torch.from_numpy(labels).unsqueeze(0)).relevance[0].tolist()
    assert a == c > b > none == 0
    mean = (a * fits[0] + b * fits[1]) / (a + b)
    forward = [mean, math.nan, math.nan, math.log(0.8), math.nan]
    assert table["forward"].tolist() == pytest.approx(forward, nan_ok=True)
    relevance = [(a + b) / 2, math.nan, math.nan, c, 0.0]
    assert table["relevance"].tolist() == pytest.approx(relevance, nan_ok=True)
    # The target 3 was asked once, so there is no other prompt to compare with.
    assert table["reverse_count"].tolist() == [0, 1, 1, 0, 0]
    lead = (fits[0] - fits[1]) / 2
    reverse = [math.nan, lead, -lead, math.nan, math.nan]
    assert table["reverse"].tolist() == pytest.approx(reverse, nan_ok=True)
    assert not table["bounded"].any()


def test_an_example_shown_with_another_label_or_to_an_unsure_target_is_not_known_of():
    ev = evidence(4, [(0, [0.1, 0.9], [(1, 1)]), (0, [0.4, 0.6], [(2, 1)])])

    def known(labels):
        return set(evidence_table(ev, "mutual predictability", labels)["id"])

    assert known(certain([1, 1, 0, 1])) == {ev.ids[0], ev.ids[1]}
    assert known(np.array([[0.45, 0.55], [0, 1], [0, 1], [0, 1]])) == {ev.ids[0]}


@pytest.mark.parametrize("k", [2, 3])
def test_the_reverse_direction_agrees_with_the_term(k):
    rng = np.random.default_rng(k)
    ev = evidence(9, random_rows(rng, 9, k, shown=3), k)
    labels = certain(rng.integers(k, size=9), k)
    soft = torch.from_numpy(labels)
    read_under = condition(ev, soft.unsqueeze(0))
    conditioned = ConditionedEvidence(
        *(getattr(read_under, f.name)[0] for f in fields(ConditionedEvidence))
    )
    term = float(downstream_consistency(State(ev, conditioned, soft.log())))
    table = evidence_table(ev, "mutual predictability", labels)
    n = table["reverse_count"]
    assert n.max() > 1
    assert float((table["reverse"] * n / (n + 1)).sum() / 9) == pytest.approx(term)


def test_bounds_reach_both_directions():
    data = dataset(4)
    rows = pairs(data, [(0, [0.1, 0.9], [(1, 1)]), (0, [0.4, 0.6], [(2, 1)]), (3, [0.5, 0.5], ())])
    ev = collect(data, [ONE], [[rows[0], bounded(rows[1]), bounded(rows[2])]], bias="none")
    table = evidence_table(ev, "mutual predictability", certain([1, 1, 0, 1]))
    # What showed 1 is exact, but is compared with what is not.
    assert table["id"].tolist() == list(data.ids[:2]) and table["bounded"].all()
    assert not evidence_table(evidence(3, [(0, [0.1, 0.9], [(1, 1)])]), EVIDENCE_KINDS[3])[
        "bounded"
    ].any()


# --- logical consistency ---------------------------------------------------------------------


def test_logical_consistency_by_hand():
    ties = [(Opposite, (0, 1)), (ExactlyOne, (4, 2, 3)), (Opposite, (5, 6))]
    ev = evidence(8, [(0, [0.5, 0.5], ())], ties=ties)
    q = [0.7, 0.6, 0.9, 0.2, 0.1, 0.5, 0.5, 0.5]
    table = evidence_table(ev, "logical consistency", np.array([[1 - p, p] for p in q]))
    pair = row(table, ids=(ev.ids[0], ev.ids[1]))
    assert pair["size"] == 2 and not pair["holds"]
    assert pair["graded"] == pytest.approx(-math.log(0.7 * 0.4 + 0.3 * 0.6))
    three = row(table, ids=(ev.ids[4], ev.ids[2], ev.ids[3]))
    assert three["size"] == 3 and three["holds"]
    one = 0.9 * 0.8 * 0.9 + 0.1 * 0.2 * 0.9 + 0.1 * 0.8 * 0.1
    assert three["graded"] == pytest.approx(-math.log(one))
    # Of equally probable labels the first counts, so the undecided are both of class 0.
    tie = row(table, ids=(ev.ids[5], ev.ids[6]))
    assert not tie["holds"] and tie["graded"] == pytest.approx(math.log(2))


@pytest.mark.parametrize("kind", [AtMostOne, ExactlyOne, Equal, Or])
@pytest.mark.parametrize("n", [4, EXACT + 3])
def test_hard_labels_hold_or_cost_without_bound(kind, n):
    ev = evidence(n, [(0, [0.5, 0.5], ())], ties=[(kind, tuple(range(n)))])
    relation = kind(ev.ids)
    rng = np.random.default_rng(n)
    tried = [np.zeros(n, int), np.ones(n, int), *np.eye(n, dtype=int)[:2]]
    tried += list(rng.integers(2, size=(5, n)))
    seen = set()
    for hard in tried:
        wanted = bool(relation.holds(hard[None])[0])
        table = evidence_table(ev, "logical consistency", certain(hard))
        assert table["holds"].tolist() == [wanted]
        assert table["graded"].tolist() == pytest.approx([0.0 if wanted else math.inf])
        seen.add(wanted)
    assert seen == {True, False}


def test_certain_labels_beside_soft_ones_in_a_large_relation():
    n = EXACT + 3
    ev = evidence(n, [(0, [0.5, 0.5], ())], ties=[(AtMostOne, tuple(range(n)))])
    labels = certain([1] + [0] * (n - 1))
    labels[1] = [0.75, 0.25]
    table = evidence_table(ev, "logical consistency", labels)
    assert table["graded"].tolist() == pytest.approx([-math.log(0.75)])
    assert table["holds"].tolist() == [True]


# --- labels, and what must not matter --------------------------------------------------------


def test_labels_where_none_are_given():
    ev = evidence(3, [(0, [0.2, 0.8], ()), (0, [0.5, 0.5], [(1, 1)]), (1, [0.7, 0.3], ())])
    expected = [[1 / 3, 2 / 3], [0.7, 0.3], [0.5, 0.5]]
    np.testing.assert_allclose(mean_labels(ev), expected, rtol=1e-12)
    ev = gathered(*everything(0, 3))
    for kind in EVIDENCE_KINDS:
        pd.testing.assert_frame_equal(
            evidence_table(ev, kind), evidence_table(ev, kind, mean_labels(ev))
        )
    pd.testing.assert_frame_equal(evidence_summary(ev), evidence_summary(ev, mean_labels(ev)))


@pytest.mark.parametrize("k", [2, 3])
def test_labels_change_what_is_read_under_them_and_nothing_else(k):
    ev = gathered(*everything(1, k))
    one, other = drawn(0, 8, k), drawn(1, 8, k)
    same = {
        kind: evidence_table(ev, kind, one).equals(evidence_table(ev, kind, other))
        for kind in EVIDENCE_KINDS
    }
    assert same == dict(zip(EVIDENCE_KINDS, (True, False, True, False, False), strict=True))


def comparable(table):
    """A table whose rows are in an order of their own."""
    table = table.drop(columns="prediction", errors="ignore")
    return table.sort_values(list(table.columns), ignore_index=True)


@pytest.mark.parametrize("k", [2, 3])
def test_the_order_of_examples_and_of_predictions_does_not_matter(k):
    data, rounds = everything(2, k)
    # Other texts have other ids, and examples stand in the order of their ids.
    examples = [Example(f"statement {i}") for i in range(8)]
    names = {id: example.id for id, example in zip(data.ids, examples, strict=True)}
    back = {new: old for old, new in names.items()}
    ties = [replace(r, members=tuple(names[m] for m in r.members)) for r in data.relations]
    other_data = Dataset("zoo", examples, ties, task=data.task)
    one = gathered(data, rounds)
    other = gathered(other_data, [[renamed(q, p, names) for q, p in r[::-1]] for r in rounds])
    labels = drawn(2, 8, k)
    mixed = labels[[data.index[back[id]] for id in other_data.ids]]
    assert not np.array_equal(mixed, labels)
    for kind in EVIDENCE_KINDS:
        found, again = evidence_table(one, kind, labels), evidence_table(other, kind, mixed)
        if "ids" in found:
            # Members come in the order of the relations, which are sorted by their ids.
            found["ids"] = found["ids"].map(sorted).map(tuple)
            again["ids"] = again["ids"].map(lambda ids: tuple(sorted(back[id] for id in ids)))
        else:
            again = again.replace(back)
        assert len(found) > 1
        pd.testing.assert_frame_equal(comparable(found), comparable(again), rtol=1e-9)
    pd.testing.assert_frame_equal(
        evidence_summary(one, labels), evidence_summary(other, mixed), rtol=1e-9
    )


@pytest.mark.parametrize("turn", [(1, 0), (2, 0, 1)])
def test_what_the_classes_are_called_does_not_matter(turn):
    k = len(turn)
    data, rounds = everything(4, k)
    relations = [replace(r, label=turn[r.label]) for r in data.relations]
    other_data = Dataset("zoo", data.examples, relations, task=data.task)
    one = gathered(data, rounds)
    other = gathered(other_data, [[turned(q, p, turn) for q, p in r] for r in rounds])
    labels = drawn(3, 8, k)
    swapped = labels[:, [turn.index(c) for c in range(k)]]
    for kind in EVIDENCE_KINDS:
        found, again = evidence_table(one, kind, labels), evidence_table(other, kind, swapped)
        if "label" in found:
            found["label"] = found["label"].map(dict(enumerate(turn)))
        pd.testing.assert_frame_equal(comparable(found), comparable(again), rtol=1e-12)
    pd.testing.assert_frame_equal(
        evidence_summary(one, labels), evidence_summary(other, swapped), rtol=1e-12
    )


# --- nothing there ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVIDENCE_KINDS)
def test_the_columns_are_the_same_with_pieces_and_without(kind):
    full = evidence_table(gathered(*everything(5, 2)), kind)
    empty = evidence_table(evidence(2, [(0, [0.2, 0.8], ())]), kind)
    assert len(full) > 1 and len(empty) == (kind == "direct confidence")
    for table in (full, empty):
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == COLUMNS[kind]
        assert list(table.index) == list(range(len(table)))


def test_an_unknown_kind_is_told_which_there_are():
    ev = evidence(1, [(0, [0.2, 0.8], ())])
    with pytest.raises(InputError) as caught:
        evidence_table(ev, "hearsay")
    assert "\n" not in str(caught.value) and "'hearsay'" in str(caught.value)
    assert all(kind in str(caught.value) for kind in EVIDENCE_KINDS)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([0, 1], r"of shape \(2,\).*2 examples.*2 classes"),
        ([[0.5, 0.5]], r"of shape \(1, 2\)"),
        ([[0.5, 0.5], [2.0, -1.0]], "are probabilities"),
        ([[0.5, 0.5], [0.5, 0.6]], "are probabilities"),
        ([[0.5, 0.5], [math.nan, 0.5]], "are probabilities"),
    ],
)
def test_labels_that_are_none_are_refused(labels, match):
    ev = evidence(2, [(0, [0.2, 0.8], ())])
    for call in (
        lambda: evidence_table(ev, labels=np.array(labels)),
        lambda: evidence_summary(ev, np.array(labels)),
    ):
        with pytest.raises(InputError, match=match):
            call()


# --- summary ---------------------------------------------------------------------------------


def test_the_summary_by_hand():
    data = dataset(5, ties=[(Opposite, (0, 1)), (Equal, (2, 3))])
    rows = [
        *flipped(data, 0, [(1, 0), (2, 1)], 0, 1, [0.2, 0.8], [0.4, 0.6]),
        *flipped(data, 0, [(1, 0), (2, 1)], 1, 0, [0.2, 0.8], [0.1, 0.9]),
        *flipped(data, 3, [(0, 1)], 0, 0, [0.8, 0.2], [0.96, 0.04]),
    ]
    # What the label shown gains: log(1.5/4), log(4/9) and log(24/4), together nothing.
    rows += pairs(
        data,
        [
            (1, [0.8, 0.2], ()),
            (1, [0.3, 0.7], ()),
            (2, [0.55, 0.45], ()),
            (2, [0.3, 0.7], ()),
        ],
    )
    rows[1] = bounded(rows[1])
    ev = collect(data, [ONE], [rows], bias="none")
    labels = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.5, 0.5]])
    found = evidence_summary(ev, labels).set_index("kind")
    assert tuple(found.index) == EVIDENCE_KINDS
    # The twin of both contrasts is one prediction.
    assert found["pieces"].tolist() == [9, 3, 4, 4, 2]
    assert found["coverage"].tolist() == pytest.approx([0.8, 0.4, 0.8, 0.8, 0.8])
    assert found["overlap"].tolist() == pytest.approx([0.8, 0.2, 0, 0, 0])
    # Of the two labels of example 2 one is not trusted.
    assert found["conflict"].tolist() == pytest.approx([1 / 4, 1 / 2, 1 / 2, 1 / 4, 0])
    bound = [1 / 9, 1 / 3, 1 / 4, 3 / 4, math.nan]
    assert found["bounded"].tolist() == pytest.approx(bound, nan_ok=True)
    for kind, strength in {
        "direct confidence": evidence_table(ev, EVIDENCE_KINDS[0])["log_odds"],
        "flip sensitivity": [math.log(4 / 1.5) / 2, math.log(9 / 4) / 2, math.log(6) / 2],
        "ensemble variance": evidence_table(ev, EVIDENCE_KINDS[2])["score_spread"],
        "mutual predictability": evidence_table(ev, EVIDENCE_KINDS[3], labels)["forward"].dropna()
        + math.log(2),
        "logical consistency": [-math.log(0.1 * 0.2 + 0.9 * 0.8), -math.log(0.12 + 0.42)],
    }.items():
        assert found.loc[kind, "mean_strength"] == pytest.approx(np.mean(strength))


def test_a_broken_relation_is_a_conflict_of_its_members():
    ev = evidence(5, [(0, [0.5, 0.5], ())], ties=[(Opposite, (0, 1)), (Equal, (2, 3))])
    for hard, conflict in [((1, 0, 1, 1, 0), 0.0), ((1, 1, 1, 1, 0), 0.5), ((0, 0, 0, 1, 0), 1.0)]:
        soft = 0.8 * certain(hard) + 0.1
        assert row(evidence_summary(ev, soft), kind=EVIDENCE_KINDS[4])["conflict"] == conflict


@pytest.mark.parametrize("k", [2, 3])
def test_ignorance_is_no_conflict(k):
    n = 30
    ev = evidence(n, [(i, np.full(k, 1 / k), [((i + 1) % n, k - 1)]) for i in range(n)], k)
    # Soft labels of all sorts, so that some sums fall short of log(1/K) by rounding.
    labels = 0.5 * drawn(0, n, k) + 0.5 * certain([k - 1] * n, k)
    assert (evidence_table(ev, EVIDENCE_KINDS[3], labels)["forward"] < -math.log(k)).any()
    known = row(evidence_summary(ev, labels), kind="mutual predictability")
    assert known["conflict"] == 0 and known["mean_strength"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("k", "said", "conflict"), [(3, 0.4, 0), (3, 0.3, 1), (2, 0.4, 1)])
def test_worse_than_ignorance_is_a_conflict(k, said, conflict):
    p = np.append(np.full(k - 1, (1 - said) / (k - 1)), said)
    ev = evidence(2, [(0, p, [(1, k - 1)])], k)
    known = row(evidence_summary(ev, certain([k - 1] * 2, k)), kind="mutual predictability")
    assert known["conflict"] == conflict


@pytest.mark.parametrize(("one", "other", "conflict"), [(1, 1, 0), (0, 0, 0), (1, 0, 1), (0, 1, 1)])
def test_flips_disagree_where_their_signs_do(one, other, conflict):
    data = dataset(4)
    flips = [
        *flipped(data, 0, [(1, 1)], 0, 0, [0.2, 0.8], [0.5, 0.5]),
        *flipped(data, 0, [(2, 1)], 0, 0, [0.2, 0.8], [0.4, 0.6]),
    ]
    ev = collect(data, [ONE], [flips + mirrored(data, 3, flips)], bias="none")
    known = row(evidence_summary(ev, certain([1, one, other, 1])), kind="flip sensitivity")
    assert known["coverage"] == 0.5 and known["conflict"] == conflict


def test_where_there_is_nothing_a_share_is_not_a_number():
    found = evidence_summary(evidence(2, [(0, [0.2, 0.8], ())])).set_index("kind")
    assert found["pieces"].tolist() == [1, 0, 0, 0, 0]
    assert found["coverage"].tolist() == [0.5, 0, 0, 0, 0]
    none = found.loc[list(EVIDENCE_KINDS[1:]), ["conflict", "bounded", "mean_strength"]]
    assert none.isna().all(axis=None)
