"""`plan --batch` and `store ingest`: a run whose answers come as files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.config import Config
from consilience.cli.opening import open_model
from consilience.cli.output import dump, pairs, talk
from consilience.cli.rerun import as_recorded, command_record
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset
    from consilience.elicitation.session import Session
    from consilience.models import Request
    from consilience.models.batch import BatchedModel
    from consilience.prompts.framing import Framing
    from consilience.prompts.query import Query
    from consilience.store.database import Store
    from consilience.store.rows import Run

    _Opened = tuple[BatchedModel, Dataset, tuple[Framing, ...]]


def show_batch(
    session: Session, config: Config, path: str, cost: Mapping[str, Any], as_json: bool
) -> None:
    """Writes what the next round of a run still lacks, and says what that is."""
    from consilience.models.batch import BatchedModel
    from consilience.store.batch_files import write_batch
    from consilience.store.runner import requests

    kept = session.store.command(session.run) or {}
    model = BatchedModel(session.model, kept.get("tokenized"))
    session.catch_up(or_failed=True)
    queries = session.next_queries()
    files: list[Path] = []
    pending = 0
    if queries:
        rows = requests(queries, session.data, session.framings, session.model)
        session.store.add_round(
            session.run, session.round, [(key, request.query) for key, request in rows]
        )
        files, pending = write_batch(rows, model, session.store, path)
        record = command_record(config)
        tokenized = {"tokenized": model.tokenized} if model.tokenized else {}
        session.store.save_command(session.run, record | tokenized)
    shown = {"run": session.run, "round": session.round, "pending": pending}
    if as_json:
        click.echo(dump({**cost, **shown, "files": list(map(str, files))}))
    else:
        pairs([*shown.items(), ("files", ", ".join(map(str, files)))], as_json)
    if not queries:
        talk("nothing is left to ask: the budget is used up, or the labels have settled")
    elif model.model.capabilities.api == "completions":
        talk("vLLM's run-batch takes chat alone; for it say --set model.api=chat")


@click.command(cls=options.Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@options.store_read
@click.option(
    "--give-up",
    is_flag=True,
    help="Keep what failed as a failure, so that its round goes on without it.",
)
@options.as_json
def ingest(files: tuple[str, ...], store: options.NamedStore, give_up: bool, as_json: bool) -> None:
    """Takes answers to `plan --batch` into the store.

    FILE... are the output and error files of batches, in any order, whole or in part; nothing is
    taken in twice. A line that cannot be used is counted and ends nothing. What a model refuses for
    a row (a filter, its length) stays without an answer; all else that brought none is in the next
    batch again, unless --give-up says otherwise.
    """
    from consilience.store.batch_files import ingest as take_in
    from consilience.store.batch_files import pending_keys
    from consilience.store.database import Store

    with Store(store.path, readonly=True) as db:  # so that none is made
        if not db.runs():
            raise InputError(f"{store.path} has no run whose answers these could be")
    with Store(store.path) as db, ExitStack() as stack:
        runs = _Runs(db, store.path, stack)
        found = take_in(files, runs.find, db, give_up=give_up)
        pending = len(pending_keys(db, runs.last_keys()))
    kinds = ("stored", "known", "partly", "refused", "failed", "unknown", "unreadable")
    counts = {"lines": found.lines, **{kind: getattr(found, kind) for kind in kinds}}
    pairs([*counts.items(), ("pending", pending)], as_json)
    for kind, why in found.why.items():
        talk(f"{kind}, for example: {why}")
    for note in found.notes:
        talk(note)


class _Runs:
    """The runs of a store that ask about keys, each opened as the command that made it said."""

    def __init__(self, db: Store, path: str, stack: ExitStack) -> None:
        self._db, self._path, self._stack = db, path, stack
        self._plans: dict[str, tuple[Run, dict[str, Query]]] = {
            run.id: (run, {key: query for rows in db.rounds(run.id) for key, query in rows})
            for run in db.runs()
            if run.answered < run.planned
        }
        self._opened: dict[str, _Opened] = {}

    def find(self, keys: Collection[str]) -> dict[str, tuple[BatchedModel, Request]]:
        """The requests of those keys that a run asks, each with its model."""
        from consilience.store.runner import requests

        found: dict[str, tuple[BatchedModel, Request]] = {}
        for run, plan in self._plans.values():
            queries = [plan[key] for key in keys if key in plan and key not in found]
            if queries and (opened := self._open(run)) is not None:
                model, data, framings = opened
                made = requests(queries, data, framings, model.model)
                found |= {key: (model, request) for key, request in made if key in plan}
        return found

    def last_keys(self) -> list[str]:
        """What the last rounds of the runs ask whose answers were here."""
        return [key for id in self._opened for key, _ in self._db.rounds(id)[-1]]

    def _open(self, run: Run) -> _Opened | None:
        """What a run asks with; None where its model is on no server."""
        from consilience.elicitation.settings import settings_from
        from consilience.models.batch import BatchedModel

        if run.id not in self._opened:
            said = as_recorded(self._db, run, Config())
            if not str(said.model.name).startswith("openai:") or not said.model.base_url:
                return None
            said = replace(said, output=replace(said.output, store=self._path))
            model, _ = self._stack.enter_context(open_model(said))
            kept = self._db.command(run.id) or {}
            data = self._db.dataset(run.dataset)
            framings = settings_from(run.settings).framings_for(data)
            self._opened[run.id] = BatchedModel(model, kept.get("tokenized")), data, framings
        return self._opened[run.id]
