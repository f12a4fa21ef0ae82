"""`evaluate`: a run beside gold, which nothing else of it has seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from consilience.cli import options
from consilience.cli.config import Config
from consilience.cli.inputs import open_data
from consilience.cli.output import dump, say
from consilience.cli.results import opened
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.evaluation.evaluation import Evaluation
    from consilience.results.result import Found


def scored_by(found: Found, data: str | None, config: Config) -> Evaluation:
    """A run scored by the gold of `data`, which is what it labelled; InputError without any."""
    from consilience.datasets import find_source
    from consilience.evaluation.evaluation import evaluate as score
    from consilience.models.simulated import WORLDS

    name = data or config.data.file or found.dataset.name
    named = find_source(name) is not None or name in WORLDS
    if not (data or config.data.file or named):
        raise InputError(
            f"run {found.run.id} labelled the file {name!r}; name it, with the --text that it was "
            "labelled with and its column of gold in --label"
        )
    # All of the data, of which the run may have labelled a sample.
    whole = replace(config.data, file=name, groups=None)
    config = replace(config, data=whole, seed=found.run.seed)
    _, gold = open_data(config, None if named else found.dataset.task)
    if gold is None:
        raise InputError(f"{name} has no gold; name its column with --label")
    return score(found, gold)


@options.command()
@click.argument("data", required=False, metavar="[TASK|DATA]")
@options.configured(*options.TASK, "output.store", "landmarks.file", also=options.SHARES)
@options.run_id
@options.as_json
def evaluate(data: str | None, config: Config, run_id: str | None, as_json: bool) -> None:
    """Scores a run against gold, beside what asks nothing more.

    DATA is what the run labelled, with the same options: a file, with the column of its gold in
    --label; a data set that has a name need not be said, nor what a task file (TASK) says. Gold is
    matched by the text alone, and nothing of it reaches the labels. Landmarks are not scored.
    """
    found = opened(config.output.store or options.STORE, run_id, config=config)
    evaluation = scored_by(found, data, config)
    if as_json:
        click.echo(dump(evaluation.table.to_dict(orient="records")))
    else:
        say(str(evaluation))
