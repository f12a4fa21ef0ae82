"""`evaluate`, `explain` and `export`: what a store says, without asking anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.show import dump, rows, talk
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.found import Found
    from consilience.solvers import Solver


def opened(store: str, run_id: str | None, solver: Solver | None = None) -> Found:
    """A run of a store, solved."""
    from pathlib import Path

    from consilience.elicitation import found_in, settings_from
    from consilience.store import Store

    if not Path(store).exists():
        raise InputError(f"there is no store {store}; `consilience run --store {store}` makes one")
    with Store(store, readonly=True) as db:
        run = db.run(run_id)
        return found_in(
            db,
            run.id,
            db.dataset(run.dataset),
            settings_from(run.settings),
            solver=solver,
            seed=run.seed,
        )


def print_labels(found: Found, output: str | None, as_json: bool) -> None:
    """The labels to a file, or to stdout as CSV or JSON."""
    if output:
        found.export(output)
        talk(f"{len(found.labels)} labels written to {output}")
    elif as_json:
        click.echo(dump(found.labels.to_dict(orient="records")))
    else:
        click.echo(found.labels.to_csv(index=False), nl=False)


@click.command()
@click.argument("data", required=False)
@options.source
@options.store_needed
@options.run_id
@options.seed
@options.as_json
def evaluate(data: str | None, store: str, run_id: str | None, **given: Any) -> None:
    """Scores a run against the gold of DATA (by default the data set that the run names).

    Gold is matched by the text's id; nothing of it reaches the labels.
    """
    from consilience.evaluation import evaluate as score

    found = opened(store, run_id)
    given["seed"] = given["seed"] or found.run.seed
    given["groups"] = None
    _, gold = options.open_data(data or found.dataset.name, given)
    if gold is None:
        raise InputError(f"{data or found.dataset.name} has no gold; name its column with --label")
    evaluation = score(found, gold)
    if given["as_json"]:
        click.echo(dump(evaluation.table.to_dict(orient="records")))
    else:
        click.echo(str(evaluation))


@click.command()
@click.argument("example")
@options.store_needed
@options.run_id
@options.as_json
def explain(example: str, store: str, run_id: str | None, as_json: bool) -> None:
    """Every prediction and relation behind the label of EXAMPLE (an id, or a prefix of one)."""
    found = opened(store, run_id)
    ids = [id for id in found.dataset.ids if id.startswith(example)]
    if len(ids) != 1:
        raise InputError(f"{len(ids)} examples have an id that begins with {example!r}")
    i = found.dataset.index[ids[0]]
    row = found.labels.iloc[i]
    talk(f"{found.dataset.texts[i]}\n→ {row['name']}, probability {row['probability']:.3f}")
    pulls = found.explain(ids[0])
    rows([dict(zip(pulls.columns, row, strict=True)) for row in pulls.to_numpy()], as_json)


@click.command()
@click.argument("output")
@options.store_needed
@options.run_id
def export(output: str, store: str, run_id: str | None) -> None:
    """Writes the labels of a run, with texts and groups, to a CSV, JSONL or Parquet file."""
    print_labels(opened(store, run_id), output, as_json=False)
