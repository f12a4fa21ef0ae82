"""`datasets`: what there is to label, and what the model will see of it."""

from __future__ import annotations

from typing import Any

import click

from consilience.cli import options, values
from consilience.cli.config import Config
from consilience.cli.inputs import open_data, open_loaded
from consilience.cli.output import dump, rows, say, talk
from consilience.cli.run import labelling


@click.group()
def datasets() -> None:
    """What there is to label, and what a model sees of it."""


@datasets.command(name="list", cls=options.Command)
@options.as_json
def list_datasets(as_json: bool) -> None:
    """The data sets that have a name; a file of your own needs none."""
    from consilience.datasets import describe_datasets

    rows(describe_datasets(), as_json)


@datasets.command(cls=options.Command)
@click.argument("data", required=False, metavar="TASK|DATA")
@options.configured(*options.TASK, seeded=True)
@options.option(
    "--examples", type=values.COUNT, default=5, show_default=True, help="How many to show."
)
@options.as_json
def show(data: str | None, config: Config, examples: int, as_json: bool) -> None:
    """The first examples of DATA as a model will see them.

    Zero-shot, in each framing, and never with their gold. DATA is a name from `datasets list` or
    a file, TASK a task file (.toml); other framings: --set task.framings=plain,letters.
    """
    from consilience.prompts.framing import framings as framings_of
    from consilience.prompts.framing import render

    dataset, _ = open_data(labelling(config, data))
    made = framings_of(dataset.task, config.task.framings)
    talk(repr(dataset) + (f": {dataset.note}" if dataset.note else ""))
    if dataset.origin is not None and not dataset.origin.stated:
        talk("shown with the task about claims; to label it, `run` needs --question and --classes")
    shown: list[dict[str, Any]] = [
        {
            "id": dataset.own_id(e.id),
            "framing": f.name,
            "labels": list(f.label_names),
            "prompt": render(f, e.text),
        }
        for e in dataset.examples[:examples]
        for f in made
    ]
    if as_json:
        click.echo(dump(shown))
        return
    for row in shown:
        say(f"── {row['id']}, {row['framing']}, classes: {', '.join(row['labels'])}")
        say(f"{row['prompt']}\n")


@datasets.command(cls=options.Command)
@click.argument("data", required=False, metavar="TASK|DATA")
@options.configured(*options.TASK, seeded=True)
@options.as_json
def audit(data: str | None, config: Config, as_json: bool) -> None:
    """What gives the gold of DATA away without any model.

    And so what a result must beat. Structure, the surface of the texts, the order of the file,
    the columns that the method never sees, copies. DATA is a name from `datasets list`, or a file
    with a --label. Nothing is asked.
    """
    from consilience.evaluation.audit import audit as audit_of

    found = audit_of(open_loaded(labelling(config, data)), config.seed)
    if as_json:
        told = {"name": found.name, "notes": found.notes, "verdict": found.verdict}
        click.echo(dump({**told, "ways": found.rows}))
        return
    for note in found.notes:
        talk(note)
    rows(found.rows, False)
    talk(found.verdict)
