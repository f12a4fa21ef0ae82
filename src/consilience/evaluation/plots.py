"""Pictures of results, by matplotlib (the extra `plots`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.errors import InputError, MissingExtra
from consilience.evaluation.benchmark.methods import CEILING, FIXED
from consilience.evaluation.benchmark.tables import Summary
from consilience.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUFFIXES = (".svg", ".png", ".pdf")


def check_plot(path: str | Path) -> Path:
    """The path, if a picture can be made of it; InputError or MissingExtra where not."""
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path} is no picture; its name has to end in {', '.join(_SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra(f"drawing {path}", "plots") from None
    return path


def plot_methods(evaluation: Evaluation, path: str | Path) -> Path:
    """A dot with its 95 % interval for each method, in the order of the table.

    Methods that ask nothing are drawn hollow. The file's suffix says what is written.
    """
    path = check_plot(path)
    from matplotlib.figure import Figure

    methods = list(evaluation.scores)[::-1]
    figure = Figure(figsize=(7, 0.5 + 0.38 * len(methods)), layout="constrained")
    axes = figure.subplots()
    for row, method in enumerate(methods):
        found = evaluation.scores[method]["accuracy"]
        if math.isnan(found.estimate):
            continue
        spread = [[found.estimate - found.lower], [found.upper - found.estimate]]
        error = None if math.isnan(found.lower) else spread
        own = method.startswith("consilience")
        colour = "#c0392b" if own else "#34495e"
        axes.errorbar(
            [found.estimate],
            [row],
            xerr=error,
            fmt="o",
            color=colour,
            markerfacecolor=colour if evaluation.calls[method] else "white",
            capsize=3,
        )
    names = [f"{method} ({evaluation.calls[method]:g})" for method in methods]
    axes.set_yticks(range(len(methods)), names)
    axes.set_xlabel("accuracy, 95 % interval over groups (in brackets: calls per example)")
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    return path


def plot_budgets(found: Sequence[Summary], path: str | Path) -> Path:
    """A panel for each case of a benchmark: one measure against the calls per example made.

    A line for each method over its budgets, with 95 % intervals; a dotted line across for each
    method that asks nothing; a dot for each that no budget changes.
    """
    path = check_plot(path)
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    cases = list(dict.fromkeys(s.setup for s in found))
    methods = list(dict.fromkeys(s.method for s in found))
    # Red is for the method itself.
    palette = [colormaps["tab20"](i) for i in range(20) if i not in (6, 7)]
    colours: dict[str, Any] = {m: palette[i % 18] for i, m in enumerate(methods)}
    colours |= {"consilience": "#c0392b", CEILING: "#34495e"}
    across = min(3, len(cases))
    down = math.ceil(len(cases) / across)
    figure = Figure(figsize=(4.2 * across + 2, 3.4 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey=True).flatten()
    for axes, case in zip(panels, cases, strict=False):
        mine = [s for s in found if s.setup == case]
        asked = mine[0].model.removesuffix(f":{mine[0].data}")
        axes.set_title(f"{mine[0].data} ({asked})", fontsize="medium")
        for method in methods:
            _draw_method(axes, [s for s in mine if s.method == method], colours[method])
        budgets = sorted({s.budget for s in mine if s.budget is not None}) or [1.0]
        axes.set_xscale("log", base=2)
        axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
        axes.grid(alpha=0.3)
    # An interval over few seeds may end above 1.
    panels[0].set_ylim(max(0.0, panels[0].get_ylim()[0]), min(1.01, panels[0].get_ylim()[1]))
    for axes in panels[len(cases) :]:
        axes.set_visible(False)
    _legend_of_all(figure, panels[: len(cases)])
    figure.supxlabel("calls per example")
    figure.supylabel("accuracy")
    figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    return path


def _draw_method(axes: Any, own: Sequence[Summary], colour: Any) -> None:  # noqa: ANN401 (matplotlib)
    """The measure of one method over its budgets, in a panel; nothing where it has none."""
    points = [(s.values["calls_per_example"].mean, s.values["accuracy"]) for s in own]
    points = [(x, y) for x, y in points if not math.isnan(y.mean)]
    if not points:
        return
    method = own[0].method
    if not points[0][0]:
        style = {"linestyle": ":", "linewidth": 1}
        axes.axhline(points[0][1].mean, color=colour, label=method, **style)
        return
    if method in FIXED:
        points = points[:1]
    low = [0 if math.isnan(y.lower) else y.mean - y.lower for _, y in points]
    high = [0 if math.isnan(y.upper) else y.upper - y.mean for _, y in points]
    axes.errorbar(
        [x for x, _ in points],
        [y.mean for _, y in points],
        yerr=[low, high],
        fmt="o-",
        markersize=3,
        linewidth=2.5 if method == "consilience" else 1,
        elinewidth=1.5 if method == "consilience" else 0.5,
        zorder=3 if method == "consilience" else 2,
        color=colour,
        label=method,
    )


def _legend_of_all(figure: Figure, panels: Iterable[Any]) -> None:
    """A legend of what any panel shows, for a panel may lack a method."""
    named: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(
        handles=list(named.values()),
        labels=list(named),
        loc="outside right center",
        fontsize="small",
    )
