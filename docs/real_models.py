"""The tables of the pages that are made from what `benchmarks/real.py` measured on real models.

Not called `real`, as the benchmark is: both are found by that name alone.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from figures import RESULTS, ROOT, program

READOUT = "offsets off"
"""How the answers behind every row are read, where a page shows one way only."""

CHOSEN = "gemma", 8.0
"""The model and the budget of the README's table and picture."""

ROWS = {
    "zero-shot, best of these": "zero-shot, best framing (chosen with true labels)",
    "random-shots": "shots with random labels",
    "bootstrap-confident": "bootstrap, confident shots",
    "consilience": "**consilience**",
    "golden": "shots with true labels (ceiling)",
}
"""The methods of the README's table, and what they are."""

SETS = {
    "sst2": "SST-2, sentiment",
    "subj": "Subj, opinion or plot",
    "sms": "SMS, spam",
    "agnews": "AG News, 4 topics",
    "mr": "MR, sentiment",
    "cities": "cities, true or false",
    "sp_en": "words, right or wrong",
    "larger_than": "numbers, right or wrong",
    "common_claim": "common claims",
    "counterfact": "facts, true or false",
    "offensive": "offensive tweets",
    "trec": "TREC, 6 kinds of question",
}
"""The data sets in words; one without goes by its name."""

PICTURE_OF_SETS = ROOT / "docs" / "real.svg"


@cache
def measured(name: str = "real") -> tuple[Any, Any]:
    """What makes the tables, and the rows by model, set, method and budget, if there are any."""
    from consilience.evaluation.benchmark.result_file import Results

    tables, kept = program("real_tables"), RESULTS / f"{name}.json"
    found = json.loads(kept.read_text("utf-8")) if kept.exists() else {"rows": []}
    return tables, tables.cells(Results.from_json(found))


def real_summary() -> str:
    """What each method comes to over all sets, a table for each model, and the verdicts."""
    tables, made = measured()
    if not made:
        return "Nothing is measured yet.\n"
    shown = [tables.summary(figures, title) for title, figures in tables.parts(made)]
    return "\n\n".join([*shown, tables.verdicts(made)]) + "\n"


def real_scores(readout: str = READOUT) -> str:
    """Accuracy / AUROC of each method on each set in one readout, a table for each model."""
    tables, made = measured()
    if not made:
        return "Nothing is measured yet.\n"
    parts = tables.parts(made)
    return "\n\n".join(tables.scores(figures, title, readout) for title, figures in parts) + "\n"


def chosen_figures() -> Any:  # noqa: ANN401
    """The rows of the model and the budget that the README shows."""
    tables, made = measured()
    return tables.Figures(made, *CHOSEN)


def named(figures: Any, name: str) -> str:  # noqa: ANN401
    """A data set in words, with the share of its most frequent class."""
    share = figures.mean(name, "majority", "accuracy", "its own")
    return f"{SETS.get(name, name)} ({share:.0%})"


def real_rows() -> str:
    """Five methods on the sets that the model knows (see `qualifies`), as each gives its labels."""
    tables, figures = measured()[0], chosen_figures()
    known = [n for n in [*SETS, *figures.sets] if n in figures.sets and figures.qualifies(n)]
    sets = list(dict.fromkeys(known))
    heads = [named(figures, name) for name in sets]
    lines = [f"| accuracy / AUROC | calls | {' | '.join(heads)} |", "|---" * (len(sets) + 2) + "|"]
    for method, words in ROWS.items():
        cells = []
        for name in sets:
            both = [figures.mean(name, method, m, "its own") for m in ("accuracy", "auroc")]
            there = figures.values(name, method, "accuracy", "its own")
            cells.append(" / ".join(f"{value:.2f}" for value in both) if there else "–")
        most = max(figures.calls(name) for name in tables.ALONE)
        lines.append(f"| {words} | {figures.calls(method) or f'≤ {most}'} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def real_failures() -> str:
    """The runs of all models that are not above a guess, with their accuracy and their verdict."""
    tables, made = measured()
    lines = [
        "| model | data set | draw | accuracy | most frequent class | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for model in sorted({of for of, *_ in made}):
        figures = tables.Figures(made, model, CHOSEN[1])
        for name in figures.sets:
            share = figures.mean(name, "majority", "accuracy", "its own")
            for draw, row in figures.all_rows.get((name, "consilience"), {}).items():
                accuracy = row.scores["accuracy"]
                if accuracy.lower <= share:
                    cells = [model, SETS.get(name, name), f"{draw}", f"{accuracy.estimate:.2f}"]
                    lines.append(f"| {' | '.join(cells)} | {share:.2f} | {row.verdict} |")
    return "\n".join(lines) + "\n"


def real_anew() -> str:
    """The runs that were begun anew on another processor, beside those on record."""
    lines = [
        "| data set | accuracy / AUROC | begun anew | verdict | begun anew |",
        "|---|---|---|---|---|",
    ]
    model, budget = CHOSEN
    (_, made), (_, again) = measured(), measured("anew")
    for name, words in SETS.items():
        rows = [of.get((model, name, "consilience", budget), {}).get(0) for of in (made, again)]
        if None in rows:
            continue
        scores = [
            " / ".join(f"{row.scores[score].estimate:.2f}" for score in ("accuracy", "auroc"))
            for row in rows
        ]
        lines.append(f"| {' | '.join([words, *scores, *(row.verdict for row in rows)])} |")
    return "\n".join(lines) + "\n"


def real_picture(path: Path = PICTURE_OF_SETS) -> str:
    """Draws the accuracy on every set that was measured, and shows the picture."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figures = chosen_figures()
    marks = {
        "majority": ("most frequent class", "|", "0.55"),
        "zero-shot, best of these": ("zero-shot, best framing", "o", "#9aa5b1"),
        "golden": ("shots with true labels", "D", "#e0a030"),
        "consilience": ("consilience", "o", "#00796b"),
    }
    gain = {
        name: figures.mean(name, "consilience", "accuracy", "its own")
        - figures.mean(name, "majority", "accuracy", "its own")
        for name in figures.sets
    }
    order = sorted(gain, key=lambda name: gain[name])
    with mpl.rc_context({"svg.hashsalt": "consilience", "svg.fonttype": "none", "font.size": 10}):
        drawing = Figure(figsize=(7, 0.32 * len(order) + 1.1), layout="constrained")
        axes = drawing.subplots()
        for method, (words, mark, colour) in marks.items():
            values = [figures.mean(name, method, "accuracy", "its own") for name in order]
            size = 90 if mark == "|" else 45
            axes.scatter(
                values, range(len(order)), s=size, c=colour, marker=mark, label=words, zorder=3
            )
        axes.set_yticks(range(len(order)), [SETS.get(name, name) for name in order])
        axes.set_xlim(0.2, 1.0)
        axes.set_xlabel("accuracy")
        axes.grid(axis="both", color="0.9", zorder=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        drawing.legend(loc="outside upper center", ncols=len(marks), frameon=False, fontsize=9)
        drawing.patch.set_facecolor("white")
        drawing.savefig(path, metadata={"Date": None})
    return f"![accuracy on each data set, {CHOSEN[0]}, {CHOSEN[1]:g} calls]({path.name})\n"
