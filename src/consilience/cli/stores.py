"""`store`: what a file of predictions holds, whether it is sound, and ways in and out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from consilience.cli import options
from consilience.cli.batch import ingest
from consilience.cli.inputs import check_apart
from consilience.cli.output import dump, rows, say, talk
from consilience.errors import StoreError

if TYPE_CHECKING:
    from consilience.store.database import Store
    from consilience.store.recovery import Recovery


def _opened(path: str) -> Store:
    from consilience.store.database import Store

    return Store(path, readonly=True)


@click.group()
def store() -> None:
    """Looks into a file of predictions, proves it, copies it.

    A store is an SQLite file, so any SQLite tool opens it too.
    """


@store.command(cls=options.Command)
@click.argument("path")
@options.as_json
def stats(path: str, as_json: bool) -> None:
    """Predictions, label mass, calls and tokens of each model.

    PATH is a store.
    """
    with _opened(path) as db:
        found = db.stats()
        rows([asdict(model) for model in found.models], as_json)
        talk(
            f"{found.runs} runs, {found.datasets} data sets, {found.texts} texts, "
            f"{found.failures} failed calls"
        )


@store.command(cls=options.Command)
@click.argument("path")
@options.as_json
def runs(path: str, as_json: bool) -> None:
    """The runs in it, the newest first.

    `planned` queries, of which `answered` have a prediction and `failed` were given up.
    """
    shown = ("id", "dataset_name", "model", "seed", "created", "rounds", "planned", "answered")
    with _opened(path) as db:
        rows([{k: getattr(run, k) for k in (*shown, "failed")} for run in db.runs()], as_json)


@store.command(cls=options.Command)
@click.argument("path")
@options.as_json
def sources(path: str, as_json: bool) -> None:
    """Who answered under each name: what was swapped is told apart.

    By the name and the build that the answers give, and by the `voice`, which has another number
    where the fixed questions of the canary were answered otherwise (0: it was never asked).
    """
    with _opened(path) as db:
        rows([asdict(one) for one in db.sources()], as_json)


@store.command(cls=options.Command)
@click.argument("path")
def verify(path: str) -> None:
    """Derives every key again; an empty stdout means that all is well.

    Prints each row that disagrees with its own content, and then exits with 1.
    """
    with _opened(path) as db:
        faults = db.verify()
    for fault in faults:
        say(fault)
    if faults:
        raise StoreError(f"{path}: {len(faults)} rows disagree with their own content")
    talk(f"{path}: every row agrees with its key")


@store.command(cls=options.Command)
@click.argument("path")
@click.argument("key")
def show(path: str, key: str) -> None:
    """Everything about one prediction or text, as JSON.

    KEY is the whole key, ``sha256:…``; the prompt and the raw response are shown too.
    """
    with _opened(path) as db:
        click.echo(dump(db.detail(key)))


@store.command(name="export", cls=options.Command)
@click.argument("path")
@click.argument("output")
def export_store(path: str, output: str) -> None:
    """Writes a whole store to JSONL, or its predictions to Parquet.

    OUTPUT is the file. One that ends in .parquet has the table of predictions, for pandas, polars,
    DuckDB and Ray; any other has everything, without loss, and `store import` reads it.
    """
    check_apart(output, path)
    with _opened(path) as db:
        write = db.export_parquet if Path(output).suffix.lower() == ".parquet" else db.export_jsonl
        talk(f"{write(output)} rows written to {output}")


@store.command(name="import", cls=options.Command)
@click.argument("path")
@click.argument("source")
def import_store(path: str, source: str) -> None:
    """Adds what `store export` wrote to a store.

    SOURCE is the JSONL file, PATH the store, which is made if it is missing.
    """
    from consilience.store.database import Store

    with Store(path) as db:
        talk(f"{db.import_jsonl(source)} new rows from {source}")


store.add_command(ingest)


@store.command()
@click.argument("path")
@click.argument("output")
def repair(path: str, output: str) -> None:
    """Writes all that can be read of a damaged store to a new one.

    PATH is the store, OUTPUT the new file. Each row proves itself on the way. What is lost is
    told; the same `run` with the new store asks it again.
    """
    from consilience.store.recovery import recover

    _tell(recover(path, output), output)


@store.command()
@click.argument("path")
@click.option("--keep", "runs", multiple=True, metavar="ID", help="A run to keep (repeatable).")
@click.option(
    "--output", metavar="FILE", help="The new store; without it only the counts are told."
)
def gc(path: str, runs: tuple[str, ...], output: str | None) -> None:
    """Writes what some runs need to a new store, and says what goes.

    PATH is the store, which stays as it is. Without --keep all runs are kept, and what none of them
    asked goes.
    """
    from consilience.store.recovery import collect_garbage

    with _opened(path) as db:
        kept = [db.run(id).id for id in runs] or [run.id for run in db.runs()]
    _tell(collect_garbage(path, output, kept), output)


def _tell(found: Recovery, output: str | None) -> None:
    from consilience.store.schema import TABLES

    counts = {table: {"kept": found.kept[table], "left": found.left[table]} for table in TABLES}
    rows([{"table": table} | count for table, count in counts.items()], as_json=False)
    for reason in found.reasons:
        talk(reason)
    where = f" in {output}" if output else "; nothing was written, name a file with --output"
    talk(f"{found.kept.total():,} rows kept, {found.left.total():,} left out{where}")
