"""The verdict: what it tells apart, and which labels it leaves open."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.concepts import Concept
from consilience.duels import SURE
from consilience.elicitation import elicit
from consilience.lbfgs import LBFGS
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.verdict import ODDS, TOLD, Kind, open_labels, verdict

SURELY = np.array([[0.95, 0.05], [0.02, 0.98], [0.9, 0.1], [0.4, 0.6]])


def concept(number: int, lead: float, error: float) -> Concept:
    return Concept(number, SURELY, 0.1, lead, error, 0.9)


FIRST = concept(0, 0.0, 0.0)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("world", ["no-answer", "noisy"])
def test_a_model_that_knows_nothing_is_told_from_one_that_does(world: str, seed: int) -> None:
    data, _ = world_dataset(world, 160, seed)
    found = elicit(data, SimulatedModel(world), seed=seed, concurrency=1, solver=LBFGS(starts=2))
    assert (found.verdict.kind is Kind.CHANCE) == (world == "no-answer")
    assert (found.verdict.told < TOLD) == (world == "no-answer")
    assert found.verdict.decided == pytest.approx(1 - found.labels["open"].mean())


def test_one_concept_is_coherent() -> None:
    for concepts in ([], [FIRST]):
        said = verdict(SURELY, concepts)
        assert said.kind is Kind.COHERENT
        assert len(said.reasons) == 1
    assert str(said).startswith("coherent: the labels tell ")
    assert "75% are decided" in str(said)


def test_two_concepts_are_coherent_only_where_one_leads_by_more_than_its_error() -> None:
    near = verdict(SURELY, [FIRST, concept(1, SURE * 0.1 - 0.01, 0.1)])
    far = verdict(SURELY, [FIRST, concept(1, SURE * 0.1 + 0.01, 0.1)])
    assert (near.kind, far.kind) == (Kind.SEVERAL, Kind.COHERENT)
    assert "by only 0.240 ± 0.100 nats per example" in near.reasons[1]
    assert "by 0.260 ± 0.100 nats per example" in far.reasons[1]


def test_labels_that_say_nothing_are_chance_however_many_concepts_there_are() -> None:
    weak = np.array([[0.6, 0.4], [0.4, 0.6]])
    for concepts in ([], [FIRST], [FIRST, concept(1, 0.0, 0.1)]):
        assert verdict(weak, concepts).kind is Kind.CHANCE
    # What the docstring of TOLD says.
    assert verdict(weak, []).told == pytest.approx(0.03, abs=0.002)
    assert verdict(np.array([[0.7, 0.3], [0.3, 0.7]]), []).kind is Kind.COHERENT


def test_what_labels_tell_is_a_share_of_what_they_could() -> None:
    assert verdict(np.eye(2)[[0, 1, 1]], []).told == pytest.approx(1)
    assert verdict(np.full((3, 4), 0.25), []).told == pytest.approx(0)
    half = verdict(np.array([[1.0, 0.0], [0.5, 0.5]]), [])
    assert (half.told, half.decided) == pytest.approx((0.5, 0.5))
    # Two of four classes ruled out are half of what there is to tell, and leave the label open.
    two = verdict(np.array([[0.5, 0.5, 0.0, 0.0]]), [])
    assert (two.told, two.decided) == pytest.approx((0.5, 0.0))


def test_a_label_is_open_below_odds_of_three() -> None:
    assert ODDS == 3
    labels = [[0.76, 0.24], [0.74, 0.26], [0.25, 0.75], [1.0, 0.0]]
    assert open_labels(np.array(labels)).tolist() == [False, True, False, False]
    # Against the next one, not against all others together.
    many = [[0.61, 0.2, 0.19], [0.59, 0.2, 0.21], [0.2, 0.59, 0.21], [1 / 3, 1 / 3, 1 / 3]]
    assert open_labels(np.array(many)).tolist() == [False, True, True, True]
