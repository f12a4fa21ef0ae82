"""Pictures of one result, by matplotlib (the extra `plots`): each takes an Axes and returns it.

axes = plot_labels(found)                  # a new figure
plot_pulls(found, "T-10122", axes)         # or into one's own
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from consilience.errors import InputError, MissingExtra
from consilience.results.report_content import STAGES, histogram
from consilience.results.report_scores import Scores
from consilience.results.result import Found

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLASSES = ("#2f6fd6", "#c8541a", "#2c8a5b", "#8a4fc0", "#b8336a", "#6d7a12", "#0f8590", "#7a5a3c")
"""The colours of classes, as in a report."""

_INK = "#34495e"

_WIDEST = 60
"""How many characters of a name stand at an axis."""


def plot_labels(found: Found, axes: Axes | None = None) -> Axes:
    """How probable the labels are: a stacked bar for each range, a colour for each class."""
    axes = _axes(axes)
    counts = histogram(found)
    edges, below = counts["edges"], [0] * (len(counts["edges"]) - 1)
    widths = [after - before for before, after in pairwise(edges)]
    named = zip(found.dataset.task.classes, counts["counts"], strict=True)
    for c, (name, bars) in enumerate(named):
        axes.bar(
            edges[:-1], bars, widths, below, align="edge", label=_cut(name),
            color=_CLASSES[c % len(_CLASSES)], edgecolor="white",
        )  # fmt: skip
        below = [low + bar for low, bar in zip(below, bars, strict=True)]
    axes.set_xlabel("probability of the label")
    axes.set_ylabel("examples")
    axes.legend(frameon=False)
    return _bare(axes)


def plot_calibration(scores: Scores, axes: Axes | None = None) -> Axes:
    """The share of labels that is right, by their probability, with 95 % intervals.

    `scores` is what `evaluate` returns; InputError where nothing was scored.
    """
    if not scores.curve:
        raise InputError("no example was scored, so there is no curve; evaluate with gold")
    axes = _axes(axes)
    curve = scores.curve
    axes.plot([0, 1], [0, 1], ":", color=_INK, linewidth=1)
    axes.errorbar(
        [b.confidence for b in curve],
        [b.accuracy for b in curve],
        yerr=[
            [max(b.accuracy - b.lower, 0.0) for b in curve],
            [max(b.upper - b.accuracy, 0.0) for b in curve],
        ],
        fmt="o-",
        color=_CLASSES[0],
        capsize=3,
    )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("probability of the label")
    axes.set_ylabel("share that is right")
    return _bare(axes)


def plot_rounds(found: Found, axes: Axes | None = None) -> Axes:
    """How far the answers of each round agree with the labels found."""
    axes = _axes(axes)
    table = found.rounds()
    for place, (asked, stage) in enumerate(STAGES.items()):
        mine = table[table["asked"] == asked]
        if len(mine):
            axes.bar(mine["round"], mine["agreement"], color=_CLASSES[place], label=stage)
    axes.axhline(1 / found.dataset.task.k, color=_INK, linestyle=":", linewidth=1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("round (dotted: chance)")
    axes.set_ylabel("agreement with the labels")
    axes.legend(frameon=False, fontsize="small")
    return _bare(axes)


def plot_pulls(found: Found, id: str, axes: Axes | None = None) -> Axes:
    """The pulls on one label as a waterfall that ends in its log-odds; `id` as in `explain`."""
    axes = _axes(axes)
    pulls = found.explain(id).dropna(subset=["pull"])
    last = pulls["kind"] == "rest"
    pulls = pulls.assign(last=last, size=-pulls["pull"].abs()).sort_values(["last", "size"])
    ends = pulls["pull"].cumsum()
    colours = [_CLASSES[0] if pull >= 0 else _CLASSES[1] for pull in pulls["pull"]]
    rows = range(len(pulls), 0, -1)
    axes.barh(list(rows), pulls["pull"], left=ends - pulls["pull"], color=colours)
    axes.barh([0], [ends.iloc[-1]], color=_INK)
    parts = zip(pulls["kind"], pulls["what"], strict=True)
    names = [_cut(f"{kind}, {what}") for kind, what in parts]
    axes.set_yticks([*rows, 0], [*names, "log-odds of the label"], fontsize="small")
    axes.axvline(0, color=_INK, linewidth=1)
    axes.set_xlabel("nats")
    return _bare(axes)


def _axes(axes: Axes | None) -> Axes:
    """The Axes to draw into, a new one where none is given; MissingExtra without matplotlib."""
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot
    except ImportError:
        raise MissingExtra("a picture of a result", "plots") from None
    return pyplot.subplots(layout="constrained")[1]


def _bare(axes: Axes) -> Axes:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def _cut(text: str) -> str:
    line = " ".join(text.split()).replace("$", r"\$")
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
