"""The tables of what `benchmarks/heldout.py` measured on sets that nothing was decided on.

Not called `heldout`, as the benchmark is: both are found by that name alone.
"""

from __future__ import annotations

from typing import Any

from real_models import READOUT, ROWS, measured

SETS = {
    "words": "words, positive or negative",
    "names": "first names, female or male",
    "amazon": "sentences about products, sentiment",
    "tweets": "tweets, sentiment",
    "editorials": "sentences of editorials, sentiment",
    "mail": "subjects of e-mails, spam",
    "languages": "texts, 5 languages",
    "continents": "cities, 4 continents",
    "capitals": "claims about capitals, true or false",
}
"""The sets in words."""


def held_out() -> str:
    """A line for each model and set: five methods as each gives its labels, and the verdict."""
    tables, made = measured("heldout")
    if not made:
        return "Nothing is measured yet.\n"
    methods = [words.partition(" (")[0] for words in ROWS.values()]
    head = ["model", "set", "most frequent class", *methods, "verdict"]
    lines = [head, ["---"] * len(head)]
    for title, figures in tables.parts(made):
        for name in (name for name in SETS if name in figures.sets):
            share = figures.mean(name, "majority", "accuracy", "its own")
            cells = [title.partition(",")[0], SETS[name], f"{share:.0%}"]
            cells += [both(figures, name, method) for method in ROWS]
            rows = figures.rows.get((name, "consilience"), {}).values()
            lines.append([*cells, ", ".join(row.verdict or "–" for row in rows)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def held_out_means() -> str:
    """The mean over all sets of each of the methods, a table for each model."""
    tables, made = measured("heldout")
    if not made:
        return "Nothing is measured yet.\n"
    methods = {method: words.partition(" (")[0] for method, words in ROWS.items()}
    ways = (tables.OWN, tables.READOUTS[2])
    parts = tables.parts(made)
    shown = [f"{title}, {tables.means(figures, methods, ways)}" for title, figures in parts]
    return "\n\n".join(shown) + "\n"


def held_out_scores(readout: str = READOUT) -> str:
    """Accuracy / AUROC of each method on each set in one readout, a table for each model."""
    tables, made = measured("heldout")
    if not made:
        return "Nothing is measured yet.\n"
    parts = tables.parts(made)
    return "\n\n".join(tables.scores(figures, title, readout) for title, figures in parts) + "\n"


def both(figures: Any, name: str, method: str) -> str:  # noqa: ANN401
    """Accuracy / AUROC of a method on a set, a dash where it was not measured."""
    if not figures.values(name, method, "accuracy", "its own"):
        return "–"
    scores = (figures.mean(name, method, m, "its own") for m in ("accuracy", "auroc"))
    return " / ".join(f"{value:.2f}" for value in scores)


def held_out_summary() -> str:
    """What each method comes to over the sets of a model, a table for each."""
    tables, made = measured("heldout")
    if not made:
        return "Nothing is measured yet.\n"
    shown = [tables.summary(figures, title) for title, figures in tables.parts(made)]
    return "\n\n".join(shown) + "\n"
