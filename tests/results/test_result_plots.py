"""Pictures of a result: each draws the library's numbers into the Axes that it is given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest

from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError, MissingExtra
from consilience.evaluation.calibration_curve import calibration_curve
from consilience.evaluation.evaluation import Evaluation, evaluate
from consilience.evaluation.metrics import ece
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.results.plots import plot_calibration, plot_labels, plot_pulls, plot_rounds
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS

SETTINGS = Settings(calls_per_example=4.0, plan=PlanSettings(shots=4), settled=0.0)


@pytest.fixture(scope="module")
def made() -> tuple[Found, Evaluation]:
    data, gold = world_dataset("easy", 60)
    found = elicit(data, SimulatedModel("easy"), settings=SETTINGS, solver=LBFGS(starts=1))
    return found, evaluate(found, gold)


@pytest.fixture
def axes() -> Iterator[Any]:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot.subplots()[1]
    pyplot.close("all")


def test_every_label_is_in_a_bar(made: tuple[Found, Evaluation], axes: Any) -> None:
    found, _ = made
    assert plot_labels(found, axes) is axes
    heights = [sum(bar.get_height() for bar in bars) for bars in axes.containers]
    assert heights == [int((found.labels["label"] == c).sum()) for c in range(2)]


def test_the_curve_is_that_of_the_expected_calibration_error(
    made: tuple[Found, Evaluation], axes: Any
) -> None:
    found, scores = made
    assert plot_calibration(scores, axes) is axes
    line = axes.lines[1]
    points = list(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert points == [(b.confidence, b.accuracy) for b in scores.curve]
    gaps = sum(b.examples * abs(b.confidence - b.accuracy) for b in scores.curve)
    expected = ece(found.soft_labels, scores.known, np.ones((1, len(scores.known))))[0]
    assert gaps / scores.scored == pytest.approx(expected, abs=1e-12)
    assert scores.scores["consilience"]["ece"].estimate == pytest.approx(expected, abs=1e-12)
    assert all(b.lower <= b.accuracy <= b.upper for b in scores.curve)
    with pytest.raises(InputError, match="no example was scored"):
        plot_calibration(replace(scores, curve=()), axes)


def test_labels_without_a_reference_are_in_no_bin() -> None:
    q = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    curve = calibration_curve(q, np.array([0, -1, 0, -1]))
    assert [(b.confidence, b.accuracy, b.examples) for b in curve] == [(0.7, 0.0, 1), (0.9, 1.0, 1)]
    assert calibration_curve(q, np.full(4, -1)) == ()


def test_a_bar_for_each_round(made: tuple[Found, Evaluation], axes: Any) -> None:
    found, _ = made
    assert plot_rounds(found, axes) is axes
    heights = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in axes.patches}
    rounds = found.rounds()
    np.testing.assert_allclose([heights[r] for r in rounds["round"]], rounds["agreement"])


def test_the_waterfall_ends_in_the_log_odds(made: tuple[Found, Evaluation], axes: Any) -> None:
    found, _ = made
    id = found.dataset.ids[3]
    assert plot_pulls(found, id, axes) is axes
    *pulls, total = axes.patches
    assert total.get_width() == pytest.approx(found.explainer.log_odds[3])
    assert sum(bar.get_width() for bar in pulls) == pytest.approx(total.get_width())
    # Each begins where the one before it ends.
    ends = np.cumsum([bar.get_width() for bar in pulls])
    np.testing.assert_allclose([bar.get_x() for bar in pulls][1:], ends[:-1], atol=1e-12)


def test_a_figure_is_made_where_none_is_given(
    made: tuple[Found, Evaluation], axes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = plot_labels(made[0])
    assert new is not axes
    assert new.figure is not axes.figure
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match="needs the extra `plots`"):
        plot_labels(made[0])
