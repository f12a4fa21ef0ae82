"""`store`: what a file of predictions holds, whether it is sound, and ways in and out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from consilience.cli import options
from consilience.cli.show import dump, rows, talk
from consilience.errors import StoreError

if TYPE_CHECKING:
    from consilience.store import Store


def _opened(path: str) -> Store:
    from consilience.store import Store

    return Store(path, readonly=True)


@click.group()
def store() -> None:
    """Looks into a file of predictions; it is SQLite, so any SQLite tool opens it too."""


@store.command()
@click.argument("path")
@options.as_json
def stats(path: str, as_json: bool) -> None:
    """Predictions, exact shares, label mass, calls and tokens of each model."""
    with _opened(path) as db:
        found = db.stats()
        rows([asdict(model) for model in found.models], as_json)
        talk(f"{found.runs} runs, {found.datasets} data sets, {found.failures} failed calls")


@store.command()
@click.argument("path")
@options.as_json
def runs(path: str, as_json: bool) -> None:
    """The runs in it, newest first."""
    shown = ("id", "dataset_name", "model", "seed", "created", "rounds", "planned", "answered")
    with _opened(path) as db:
        rows([{k: getattr(run, k) for k in (*shown, "failed")} for run in db.runs()], as_json)


@store.command()
@click.argument("path")
def verify(path: str) -> None:
    """Derives every key again from what is stored; silence means that all is well."""
    with _opened(path) as db:
        faults = db.verify()
    for fault in faults:
        click.echo(fault)
    if faults:
        raise StoreError(f"{path}: {len(faults)} rows disagree with their own content")
    talk(f"{path}: every row agrees with its key")


@store.command()
@click.argument("path")
@click.argument("key")
def show(path: str, key: str) -> None:
    """Everything about one prediction, with its prompt and the raw response, as JSON."""
    with _opened(path) as db:
        click.echo(dump(db.detail(key)))


@store.command(name="export")
@click.argument("path")
@click.argument("output")
def export_store(path: str, output: str) -> None:
    """Writes the whole store to a JSONL file, without loss."""
    with _opened(path) as db:
        talk(f"{db.export_jsonl(output)} rows written to {output}")


@store.command(name="import")
@click.argument("path")
@click.argument("source")
def import_store(path: str, source: str) -> None:
    """Reads a JSONL file that `store export` wrote into the store PATH."""
    from consilience.store import Store

    with Store(path) as db:
        talk(f"{db.import_jsonl(source)} new rows from {source}")
