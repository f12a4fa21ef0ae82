"""`rerun`: a run repeated from its record, and what came out otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.config import Config, built
from consilience.cli.inputs import check_store, same_file
from consilience.cli.opening import check_model, open_model, open_price
from consilience.cli.output import cell, dump, pairs, progress_bar, talk
from consilience.cli.values import home
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.elicitation.rerun import Rerun
    from consilience.store.database import Store
    from consilience.store.rows import Run

SHOWN = 5
"""So many rows with another label are named in the talk; JSON has them all."""

LONGEST = 200
"""Characters of a version or setting that are shown."""


@options.command()
@click.argument("run_id", metavar="RUN")
@options.configured(*options.MODEL, "budget", "output.store")
@options.option(
    "--into",
    metavar="FILE",
    callback=home,
    help="The store for the new answers  [default: the name of the store with -rerun]",
)
@options.as_json
def rerun(run_id: str, config: Config, into: str | None, as_json: bool) -> None:
    """Repeats a run from its record, and says what differs.

    RUN is the id of a run in the store, or its beginning. Data set, question, settings, seed and
    model are those of the record; all questions are asked again, into another store, and versions,
    answers and labels compared. A model on a server is asked where it was, unless --base-url says
    otherwise. Interrupt it and run it again: nothing is asked twice.
    """
    kept = Path(config.output.store or options.STORE)
    check_store(kept)
    target = Path(into) if into else kept.with_name(f"{kept.stem}-rerun{kept.suffix}")
    if same_file(target, kept):
        raise InputError("the new answers need a store of their own; name another one in --into")

    from consilience.elicitation.rerun import rerun as repeated
    from consilience.store.database import Store

    with Store(kept, readonly=True) as store:
        run = store.run(run_id)
        said = as_recorded(store, run, config)
        said = replace(said, output=replace(said.output, store=str(target)))
        check_model(said)
        with open_model(said) as (model, new):
            talk(
                f"run {run.id} of {run.created[:10]}: {run.dataset_name}, {run.model}, "
                f"{run.planned:,} questions, asked again into {target}"
            )
            bar = progress_bar(open_price(said.budget))
            at_once = said.model.concurrency
            found = repeated(store, run, model, new, concurrency=at_once, progress=bar)
    for note in found.again.asked.notes:
        talk(note)
    _show(found, as_json)


def as_recorded(store: Store, run: Run, config: Config) -> Config:
    """The configuration of the command that made a run, with what is said here on top."""
    recorded = store.command(run.id) or {}
    model = dict(recorded.get("model", _known_model(store, run)))
    said = {"model": model, "budget": {}}
    usual = asdict(Config())
    for table in said:
        now: Mapping[str, Any] = asdict(getattr(config, table))
        said[table] |= {key: value for key, value in now.items() if value != usual[table][key]}
    return built(run.seed, None, said)


def _known_model(store: Store, run: Run) -> dict[str, Any]:
    """What the record of a run says of its model, where no command made it."""
    if run.model.startswith(("simulated:", "local:")):
        return {"name": run.model}
    url = store.probed_at(run.model)
    return {"name": f"openai:{run.model}"} | ({"base_url": url} if url else {})


def command_record(config: Config) -> dict[str, Any]:
    """What is kept of a command: all that was said and is not usual, without what is secret."""
    from consilience.models.address import Address

    usual, said = asdict(Config()), asdict(config)
    found = {
        table: {key: value for key, value in said[table].items() if value != usual[table][key]}
        for table in usual
        if isinstance(said[table], dict)
    }
    found["model"].pop("headers", None)
    url = config.model.base_url
    if url is not None and str(config.model.name).startswith("openai:"):
        found["model"]["base_url"] = Address.of(url).shown
    return {table: values for table, values in found.items() if values}


def _show(found: Rerun, as_json: bool) -> None:
    """What differs, as a table or as JSON."""
    counts = {
        "questions then": found.questions,
        "answered both times": found.of_both,
        "other answers": found.other_answers,
        "furthest apart, nats": found.furthest,
        "rows": len(found.before.dataset),
        "other labels": len(found.labels),
        "probability moved at most": found.moved,
    }
    if as_json:
        report = {key.replace(" ", "_").replace(",", ""): value for key, value in counts.items()}
        click.echo(
            dump(
                {
                    "run": found.before.run.id,
                    "rerun": found.again.run.id,
                    "same": found.same,
                    **report,
                    "labels": list(found.labels),
                    "versions": found.versions,
                    "settings": found.settings,
                }
            )
        )
        return
    pairs(counts.items(), as_json)
    for what, others in (("version", found.versions), ("setting", found.settings)):
        for name, (then, now) in others.items():
            talk(f"{what} {name}: {cell(then)[:LONGEST]} then, {cell(now)[:LONGEST]} now")
    for id in found.labels[:SHOWN]:
        talk(f"another label: {id}")
    talk("every answer and label is the same" if found.same else "the two runs differ")
