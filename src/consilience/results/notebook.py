"""What a notebook shows of a result: a few lines of text, or a small table, whatever the size."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from consilience.results.advice import headline

if TYPE_CHECKING:
    from consilience.results.result import Found

SHOWN_ROWS = 8
"""So many of the most doubtful rows stand in the HTML of a result."""

SHOWN_TEXT = 160
"""How many characters of a text do."""

_STYLE = (
    "border-collapse:collapse;margin-top:.5em;text-align:left",
    "padding:.2em .8em .2em 0;vertical-align:top;text-align:left",
)


def short_text(found: Found) -> str:
    """The result in a few lines: what was labelled, what came out, what it rests on."""
    table = found.labels
    counts = table["name"].value_counts()
    classes = found.dataset.task.classes
    split = ", ".join(f"{_cut(name, 40)} {int(counts.get(name, 0)):,}" for name in classes[:6])
    more = f", and {len(classes) - 6} more classes" if len(classes) > 6 else ""
    decided = int((~table["open"].astype(bool)).sum())
    facts = f"  relations {said}\n" if (said := found.facts.sentence) else ""
    return (
        f"Found: {len(table):,} examples of {_cut(found.dataset.name, 60)!r} labelled by "
        f"{_cut(found.run.model, 60)}\n"
        f"  labels    {split}{more}; {decided:,} decided, {len(table) - decided:,} open\n"
        f"  evidence  {found.evidence.t:,} predictions, {found.run.rounds} rounds, "
        f"run {found.run.id}\n"
        f"  verdict   {found.verdict}\n"
        f"{facts}"
        "  next      .table()  .explain(id)  .report(path)  .export(path)"
    )


def short_html(found: Found) -> str:
    """The result as a piece of HTML, below 50 kB for any number of examples."""
    table = found.labels
    doubtful = table.sort_values("probability", kind="stable", na_position="first")
    head, cell = _STYLE
    columns = ["id", "name", "probability"]
    rows = []
    for id, name, probability in doubtful.head(SHOWN_ROWS)[columns].to_numpy():
        text = found.dataset.texts[found.dataset.index[id]]
        none = probability != probability
        label, sure = ("no label", "–") if none else (_cut(name, 60), f"{probability:.3f}")
        cells = (found.dataset.own_id(id), _cut(text, SHOWN_TEXT), label, sure)
        rows.append(
            "<tr>" + "".join(f'<td style="{cell}" dir="auto">{escape(c)}</td>' for c in cells)
        )
    names = "".join(
        f'<th style="{cell}">{name}</th>' for name in ("id", "text", "label", "probability")
    )
    lines = escape(short_text(found))
    return (
        f"<div><strong>{escape(headline(found))}</strong>"
        f'<pre style="white-space:pre-wrap;margin:.5em 0">{lines}</pre>'
        f"<div>The {len(rows)} most doubtful of {len(table):,}:</div>"
        f'<table style="{head}"><tr>{names}</tr>{"".join(rows)}</table></div>'
    )


def _cut(text: str, most: int) -> str:
    """A text on one line, its end cut off where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
