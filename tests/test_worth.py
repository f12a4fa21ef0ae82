"""What log-odds are worth: known mixtures, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from consilience.coherence import default_terms
from consilience.datasets import load_dataset
from consilience.elicitation import elicit
from consilience.evaluation import evaluate
from consilience.frequency import FEWEST
from consilience.models import open_model
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.worth import BELIEVED, weighed, worth

Floats = NDArray[np.float64]


def mixture(n: int, k: int, distance: float, spread: float, seed: int = 0) -> Floats:
    """Labels whose centred log-probabilities are normal about distance · (e_c − 1/K)."""
    rng = np.random.default_rng(seed)
    z = distance * np.eye(k)[rng.integers(k, size=n)]
    return np.asarray(softmax(z + spread * rng.normal(size=(n, k)), axis=1))


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize(("distance", "spread"), [(2.0, 0.5), (3.0, 1.0), (0.8, 0.2), (6.0, 1.5)])
def test_it_is_the_distance_of_the_clusters_over_their_variance(
    k: int, distance: float, spread: float
) -> None:
    found = worth(mixture(20_000, k, distance, spread))
    assert found == pytest.approx(distance / spread**2, rel=0.05)


def test_labels_with_the_worth_that_they_say_are_calibrated_and_stay() -> None:
    """With m = v log-odds are those of the mixture's own posterior."""
    labels = mixture(20_000, 2, 2.25, 1.5)
    assert worth(labels) == pytest.approx(1.0, rel=0.05)
    same, factor = weighed(labels, default_terms())
    assert factor == 1.0
    assert np.array_equal(same, labels)


@pytest.mark.parametrize("spread", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("k", [2, 4])
def test_one_cluster_alone_is_worth_nothing(spread: float, k: int) -> None:
    labels = mixture(400, k, 0.0, spread)
    assert weighed(labels, default_terms())[1] == 1.0


def test_log_odds_are_raised_by_the_part_of_it_that_is_believed() -> None:
    labels = mixture(2_000, 3, 3.0, 0.5)
    scaled, factor = weighed(labels, default_terms())
    assert factor == pytest.approx(BELIEVED * worth(labels))
    assert 3.5 < factor < 4.5
    apart = np.log(scaled[:, 1]) - np.log(scaled[:, 0])
    assert apart == pytest.approx(factor * (np.log(labels[:, 1]) - np.log(labels[:, 0])), rel=1e-6)
    assert scaled.sum(axis=1) == pytest.approx(1.0)


def test_neither_order_nor_names_matter() -> None:
    labels = mixture(500, 3, 3.0, 0.5)
    order = np.random.default_rng(1).permutation(500)
    assert worth(labels[order][:, [2, 0, 1]]) == pytest.approx(worth(labels), rel=1e-9)


def test_what_the_entropy_was_weighed_by_is_not_taken_back() -> None:
    """Twice its weight halves the log-odds of the optimum, and of the labels that come out."""
    labels, terms = mixture(500, 2, 3.0, 0.5), default_terms()
    halved = np.asarray(softmax(np.log(labels) / 2, axis=1))
    doubled = terms | {"entropy": (2.0, terms["entropy"][1])}
    one, two = weighed(labels, terms), weighed(halved, doubled)
    assert one[1] == pytest.approx(two[1], rel=1e-6) and one[1] > 1
    odds = [np.log(q[:, 1]) - np.log(q[:, 0]) for q in (one[0], two[0])]
    assert odds[1] == pytest.approx(odds[0] / 2, rel=1e-6)


def test_without_entropy_or_with_few_examples_nothing_is_scaled() -> None:
    labels, terms = mixture(500, 2, 3.0, 0.5), default_terms()
    assert weighed(labels, terms)[1] > 1
    assert weighed(labels, {n: t for n, t in terms.items() if n != "entropy"})[1] == 1.0
    assert weighed(labels, terms | {"entropy": (-1.0, terms["entropy"][1])})[1] == 1.0
    assert weighed(labels[: FEWEST - 1], terms)[1] == 1.0


@pytest.mark.parametrize("hard", [True, False])
def test_labels_that_are_certain_stay_so(hard: bool) -> None:
    labels = np.eye(2)[np.arange(100) % 2]
    if not hard:
        labels = np.where(labels > 0, 1 - 1e-15, 1e-15)
    scaled, _ = weighed(labels, default_terms())
    assert np.isfinite(scaled).all()
    assert np.array_equal(scaled.argmax(axis=1), labels.argmax(axis=1))
    assert scaled.max(axis=1).min() > 1 - 1e-9


def test_a_network_that_is_right_more_often_than_it_says_is_better_calibrated() -> None:
    data, gold = load_dataset("pocket-popular", claims="120")
    found = elicit(data, open_model("local:pocket"), calls_per_example=6.0)
    assert found.factor > 1.5
    assert found.probabilities == f"uncalibrated (log-odds × {found.factor:.2g})"
    as_solved = found.solution.optima[0].labels
    truth = np.array([gold.labels[id] for id in data.ids])  # type: ignore[union-attr]
    right = found.solution.labels.argmax(axis=1) == truth
    assert np.array_equal(as_solved.argmax(axis=1), found.solution.labels.argmax(axis=1))
    off = [abs(q.max(axis=1).mean() - right.mean()) for q in (as_solved, found.solution.labels)]
    assert off[1] < off[0] / 2
    assert f"log-odds × {found.factor:.2g}" in str(evaluate(found, gold))


def test_a_learner_whose_log_odds_are_what_they_say_is_left_alone() -> None:
    data, _ = world_dataset("noisy", 120)
    found = elicit(data, SimulatedModel("noisy"), calls_per_example=6.0, concurrency=1)
    assert found.factor == 1.0
    assert found.probabilities == "uncalibrated"
    assert np.array_equal(found.solution.labels, found.solution.optima[0].labels)
