"""Hard labels in which facts hold: the likeliest that they allow, and the same wherever shown."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import consilience as cs
from consilience.data.dataset import Dataset
from consilience.data.relations import (
    RELATIONS,
    Allowed,
    AtMostOne,
    Equal,
    ExactlyOne,
    Opposite,
    Relation,
)
from consilience.evaluation.baselines.base import Baseline
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.results.consistent_labels import Facts, broken, consistent_labels, with_facts
from consilience.results.result import Found
from consilience.results.training_rows import rows_to_train_on
from consilience.solvers.lbfgs import LBFGS

LETTERS = "abcdefghijklmnopqrst"
INDEX = {letter: i for i, letter in enumerate(LETTERS)}


def soft(n: int, k: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(k), size=n)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", range(15))
def test_it_is_the_best_of_all_labellings_that_facts_allow(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    facts: list[Relation] = [Allowed(("a", "b"), ((0, 0), (0, 1), (1, 1)))]
    for _ in range(3):
        kind = list(RELATIONS.values())[rng.integers(len(RELATIONS))]
        members = tuple(rng.permutation(list("abcdef"))[: kind.size[1] or 3].tolist())
        facts.append(kind(members))
    q = soft(6, k, seed)
    worlds = np.array(list(itertools.product(range(k), repeat=6)))
    score = np.log(q)[np.arange(6), worlds].sum(axis=1)
    kept = [fact.holds(worlds[:, [INDEX[m] for m in fact.members]]) for fact in facts]
    allowed = np.all(kept, axis=0)
    if not allowed.any():
        pytest.skip("nothing is allowed")
    best = worlds[allowed][score[allowed].argmax()]
    found = consistent_labels(q, facts, INDEX)
    np.testing.assert_array_equal(found, best)
    assert broken(found, facts, INDEX) == 0
    assert broken(q.argmax(axis=1), facts, INDEX) == int(
        sum(
            not fact.holds(q.argmax(axis=1)[None, [INDEX[m] for m in fact.members]])[0]
            for fact in facts
        )
    )


def test_labels_that_break_nothing_stay() -> None:
    q = soft(20, 2, 0)
    q[:2] = [[0.9, 0.1], [0.2, 0.8]]
    q[2:4] = [[0.1, 0.9], [0.2, 0.8]]
    found = consistent_labels(q, [Opposite(("a", "b")), Opposite(("c", "d"))], INDEX)
    # Of the pair that is broken the less sure one is turned, and of the other nothing.
    assert found[:4].tolist() == [0, 1, 1, 0]
    np.testing.assert_array_equal(found[4:], q.argmax(axis=1)[4:])


def test_a_component_too_large_to_be_listed_stays_and_is_counted() -> None:
    q = soft(20, 2, 1)
    chain: list[Relation] = [Equal(pair) for pair in itertools.pairwise(LETTERS[:14])]
    facts = [*chain, AtMostOne(("s", "t"))]
    q[18:] = [[0.4, 0.6], [0.1, 0.9]]
    found = consistent_labels(q, facts, INDEX)
    np.testing.assert_array_equal(found[:14], q.argmax(axis=1)[:14])
    assert found[18:].tolist() == [0, 1]
    assert broken(found, facts, INDEX) == broken(found, chain, INDEX) > 0
    # One fact among many is no such component.
    assert len(set(consistent_labels(q, [Equal(tuple(LETTERS[:14]))], INDEX)[:14])) == 1


def test_what_was_given_stays() -> None:
    q = np.full((20, 2), 0.5)
    q[:3] = [[0.0, 1.0], [0.0, 1.0], [0.4, 0.6]]
    facts = [Opposite(("a", "b")), Equal(("b", "c"))]
    assert consistent_labels(q, facts, INDEX, [0, 1])[:2].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts(0, 0, 0), ""),
        (Facts(3, 0, 0), "all 3 relations that count hold in the labels"),
        (
            Facts(3, 0, 1),
            "all 3 relations that count hold in the labels; for them 1 label is not of the "
            "likeliest class, and open",
        ),
        (Facts(1200, 14, 0), "14 of 1,200 relations that count are broken by the labels"),
    ],
)
def test_what_is_said_of_facts(facts: Facts, said: str) -> None:
    assert facts.sentence == said


@pytest.fixture(scope="module")
def found() -> Found:
    """Groups of three with one true, and of the labels of which some break that."""
    data, _ = world_dataset("grouped", 90, 1)
    facts = [ExactlyOne(r.members) for r in data.relations]
    data = Dataset("groups", data.examples, facts, task=data.task)
    return cs.elicit(data, SimulatedModel("grouped"), calls_per_example=3, solver=LBFGS(starts=1))


def test_the_facts_of_a_run_hold_in_its_labels(found: Found) -> None:
    q, table, index = found.soft_labels, found.labels, found.dataset.index
    likeliest = q.argmax(axis=1)
    assert broken(likeliest, found.dataset.relations, index) > 0
    hard = table["label"].to_numpy()
    assert broken(hard, found.dataset.relations, index) == 0
    turned = hard != likeliest
    assert found.facts == Facts(30, 0, int(turned.sum())) and turned.sum() > 0
    # Soft labels are what they were; the label's own is shown, and who is turned is open.
    np.testing.assert_array_equal(table["probability"], q[np.arange(90), hard])
    np.testing.assert_array_equal(table[["p_False", "p_True"]], q)
    assert table["open"][turned].all()
    assert table["name"].tolist() == [found.dataset.task.classes[c] for c in hard]


def test_they_are_the_same_wherever_they_go(found: Found, tmp_path: Path) -> None:
    hard = found.hard_labels.tolist()
    found.export(tmp_path / "t.jsonl")
    lines = (tmp_path / "t.jsonl").read_text("utf-8").splitlines()
    names = [json.loads(line)["label"] for line in lines]
    assert names == found.table()["label"].tolist()
    assert sorted(names) == sorted(found.dataset.task.classes[c] for c in hard)
    assert [row.label for row in rows_to_train_on(found)] == hard
    assert found.facts.sentence in repr(found)
    gold = cs.Gold(dict(zip(found.dataset.ids, hard, strict=True)))
    assert cs.evaluate(found, gold).scores["consilience"]["accuracy"].estimate == 1


def test_a_correction_turns_the_others(found: Found) -> None:
    group = found.dataset.relations[0].members
    at = [found.dataset.index[m] for m in group]
    no = next(m for m, i in zip(group, at, strict=True) if found.hard_labels[i] == 0)
    made = found.corrected({no: 1})
    assert made.hard_labels[at].sum() == 1
    assert made.hard_labels[found.dataset.index[no]] == 1


def test_every_method_is_scored_by_labels_in_which_facts_hold() -> None:
    data, gold = cs.load_dataset("pocket", claims="40")
    labels = np.random.default_rng(0).dirichlet(np.ones(2), size=len(data))
    found = cs.elicit(data, SimulatedModel("easy"), calls_per_example=2)
    rows = [Baseline("another", labels, 1.0), Baseline("mine", found.soft_labels, 1.0)]
    truth = np.array([gold.labels[id] for id in data.ids])
    scored = cs.evaluate(found, gold, rows)
    kept = with_facts(found, labels)
    assert found.facts.declared == 6 and (kept.argmax(axis=1) != labels.argmax(axis=1)).any()
    for group in set(data.groups):
        mine = [i for i, of in enumerate(data.groups) if of == group]
        assert kept.argmax(axis=1)[mine].sum() == 1 or len(mine) == 1
    right = float((kept.argmax(axis=1) == truth).mean())
    assert scored.scores["another"]["accuracy"].estimate == pytest.approx(right)
    assert scored.scores["mine"]["accuracy"] == scored.scores["consilience"]["accuracy"]
    assert with_facts(found, kept) is kept
