"""`evidence`: what the labels of a run rest on, as tables or as a graph."""

from __future__ import annotations

from pathlib import Path

import click

from consilience.cli import options, values
from consilience.cli.inputs import check_apart, check_writable
from consilience.cli.output import rows, talk
from consilience.cli.results import opened
from consilience.errors import InputError

KINDS = ("direct", "flips", "ensemble", "mutual", "logic")
"""The kinds of evidence by one word each."""


@options.command()
@options.store_read
@options.run_id
@options.option(
    "--kind",
    type=click.Choice(KINDS),
    help="Every piece of evidence of this kind  [default: a summary of all five]",
)
@options.option(
    "--graph",
    metavar="FILE",
    callback=values.home,
    help="Write rows with their texts and labels, couplings and relations to this .graphml file.",
)
@options.as_json
def evidence(
    store: options.NamedStore,
    run_id: str | None,
    kind: str | None,
    graph: str | None,
    as_json: bool,
) -> None:
    """The evidence of a run: direct, flips, ensemble, mutual, logic.

    One row per kind: how many pieces there are, how many of the examples they cover, and how far
    they agree; or, with --kind, one row per piece. Read under the labels of the run.
    """
    if graph:
        if kind:
            raise InputError("--graph has the evidence of all kinds; leave out --kind")
        if Path(graph).suffix.lower() != ".graphml":
            raise InputError(f"a graph is written as .graphml, not to {graph}")
        check_writable(graph)
        check_apart(graph, store.path)
    found = opened(store.path, run_id, task=store.task)
    if graph:
        from consilience.results.evidence_graph import evidence_graph

        made = evidence_graph(found)
        import networkx

        networkx.write_graphml(made, graph)
        talk(f"{len(made)} nodes and {made.number_of_edges()} edges written to {graph}")
        return
    table = found.evidence_table(kind) if kind else found.evidence_summary()
    rows([dict(zip(table.columns, row, strict=True)) for row in table.to_numpy()], as_json)
