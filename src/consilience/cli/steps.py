"""`plan` and `ask`: the loop of `run`, one step at a time; `solve` gives the labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from consilience.cli import options, values
from consilience.cli.batch import show_batch
from consilience.cli.config import Config
from consilience.cli.inputs import (
    check_apart,
    check_writable,
    open_data,
    open_settings,
    require_task,
)
from consilience.cli.opening import (
    check_model,
    check_simulated,
    open_model,
    open_price,
    served_model,
)
from consilience.cli.output import pairs, progress_bar, talk
from consilience.cli.results import open_landmarks
from consilience.cli.run import first_failure, labelling
from consilience.cli.spending import foreseen_cost, show_estimate
from consilience.data.counted import counted
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset
    from consilience.elicitation.session import Session
    from consilience.elicitation.settings import Settings
    from consilience.models import Model
    from consilience.prompts.query import Query
    from consilience.store.planned_requests import PlannedRequests
    from consilience.store.runner import CallCounts


@options.command()
@click.argument("data", required=False, metavar="TASK|DATA")
@options.configured(
    *options.TASK,
    *options.MODEL,
    "budget.calls_per_example",
    *("output.store", "landmarks.file", "planning"),
    seeded=True,
)
@options.option(
    "--output",
    metavar="FILE",
    callback=values.home,
    help="Write the queries of the next round to this JSONL file, for `ask`.",
)
@options.option(
    "--batch",
    metavar="FILE",
    callback=values.home,
    help="Write what the next round still lacks to this file in OpenAI's Batch format, for its API "
    "or vLLM's run-batch (or as a .parquet table); `store ingest` takes the answers in.",
)
@options.as_json
def plan(
    data: str | None, config: Config, output: str | None, batch: str | None, as_json: bool
) -> None:
    """What a run would cost, and the queries that it asks next.

    With the options of `run`. Prints calls, tokens and, with a price, money; nothing is sent.
    With --output also writes the next round, planned from the labels that the store supports so
    far (which first probes a server that the store does not know); `ask` puts it to the model,
    and so on round by round, with the same labels in the end as one `run`. --batch does the same
    for answers that come as files.
    """
    config = labelling(config, data)
    _check_target(config, output, batch)
    check_model(config)
    dataset, _ = open_data(config)
    require_task(config, dataset)
    check_simulated(config, dataset)

    # Only now what takes seconds to load: a file that is refused is refused at once.
    from consilience.elicitation.session import Session

    settings = open_settings(config, dataset)
    # However few: here they only choose the concept.
    landmarks = open_landmarks(config, dataset, enough=False)
    with open_model(config, dry=not (output or batch)) as (model, store):
        settings = settings.suited(model, dataset.task)
        cost = foreseen_cost(dataset, model, settings, store, config, landmarks)
        if not batch:
            show_estimate(dataset, cost, as_json)
        if not (output or batch):
            return
        session = Session(
            dataset,
            model,
            store,
            settings=settings,
            seed=config.seed,
            landmarks=landmarks,
        )
        if batch:
            show_batch(session, config, batch, cost, as_json)
        elif output:
            _write(session, output)


def _check_target(config: Config, output: str | None, batch: str | None) -> None:
    """InputError where a plan could not be written to its file, or not be asked afterwards."""
    if output and batch:
        raise InputError("a plan is written for `ask` or as a batch; leave out --output or --batch")
    if output or batch:
        check_writable(str(output or batch))
        check_apart(output or batch, config)
        if output and not config.output.store and str(config.model.name).startswith("simulated:"):
            raise InputError("a plan for `ask` needs a --store, where `ask` finds the run again")


def _write(session: Session, output: str) -> None:
    """Writes the queries of the next round for `ask`."""
    from consilience.data.whole_file import whole_file
    from consilience.store.runner import requests

    session.catch_up()
    queries = session.next_queries()
    if not queries:
        talk("nothing is left to ask: the budget is used up, or the labels have settled")
        return
    head = {"run": session.run, "round": session.round, "store": str(session.store.path)}
    rows = requests(queries, session.data, session.framings, session.model)
    lines = [
        {
            "key": key,
            "target": r.query.target,
            "shots": r.query.shots,
            "framing": r.query.framing,
            "repeat": r.query.repeat,
            "contrast": r.query.contrast,
            "prompt": r.prompt,
        }
        for key, r in rows
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (head, *lines))
    try:
        with whole_file(Path(output)) as file:
            file.write(text.encode())
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror or error}") from error
    talk(f"round {session.round}: {counted(len(rows), 'query')} written to {output}")


class _Plan(NamedTuple):
    """A file that `plan --output` wrote."""

    run: str
    round: int
    store: str
    keys: list[str]
    queries: list[Query]


def _read(path: str) -> _Plan:
    from consilience.prompts.query import Query

    try:
        # Not splitlines(): a prompt may hold other breaks, such as U+2028, as they are.
        head, *lines = map(json.loads, Path(path).read_text("utf-8").rstrip("\n").split("\n"))
        queries = [
            Query(
                line["target"],
                tuple((id, label) for id, label in line["shots"]),
                line["framing"],
                line["repeat"],
                line["contrast"],
            )
            for line in lines
        ]
        keys = [line["key"] for line in lines]
        return _Plan(head["run"], head["round"], head["store"], keys, queries)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not a plan, or was changed; write one with `consilience plan --output`"
        ) from error


@options.command()
@click.argument("plan_file", type=click.Path(exists=True, dir_okay=False))
@options.configured("model.name", "budget", "output.store")
@options.option(
    "--base-url",
    "urls",
    metavar="URL",
    multiple=True,
    section="Model",
    help="The server's address, ending in /v1; several for --engine ray (repeatable).",
)
@options.option(
    "--engine",
    type=click.Choice(["here", "ray"]),
    default="here",
    show_default=True,
    help="Ask from this process, or from workers of Ray (the extra `ray`).",
)
@options.option(
    "--workers",
    type=values.COUNT,
    default=1,
    show_default=True,
    help="Workers of Ray, each with model.concurrency requests under way.",
)
@options.dry_run
@options.as_json
def ask(
    plan_file: str,
    config: Config,
    urls: tuple[str, ...],
    engine: str,
    workers: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Asks the queries of a plan and stores the answers.

    PLAN_FILE is what `plan --output` wrote; give the options of the model again. Prints what it
    took. Interrupt it and run it again: what the store holds is not asked twice.
    """
    if len(urls) > 1 and engine != "ray":
        raise InputError("several servers are for --engine ray; name one, or add it")
    if urls:
        config = replace(config, model=replace(config.model, base_url=urls[0]))
    from consilience.elicitation.settings import settings_from
    from consilience.store.canary import canary_for
    from consilience.store.runner import ask as put

    planned = _read(plan_file)
    kept = config.output.store or planned.store
    if not Path(kept).exists():
        raise InputError(f"there is no store {kept}; the run of {plan_file} was in it")
    config = replace(config, output=replace(config.output, store=kept))
    with open_model(config, dry=dry_run) as (model, store):
        run = store.run(planned.run)
        dataset = store.dataset(run.dataset)
        settings = settings_from(run.settings)
        rows = _planned_rows(plan_file, planned, dataset, settings, model)
        known = len(store.known(planned.keys))
        if dry_run:
            pairs([("calls", len(rows) - known), ("known", known)], as_json)
            return
        store.add_round(run.id, planned.round, [(key, r.query) for key, r in rows])
        at_once = config.model.concurrency
        if engine == "ray":
            from consilience.store.ray_engine import ask_on_ray

            served = served_model(config, urls, model)
            done = ask_on_ray(rows, served, store, workers=workers, concurrency=at_once)
        else:
            bar = progress_bar(open_price(config.budget))
            bar.begin(f"run {run.id}", planned.round)
            canary = canary_for(model, store, settings.budget(dataset))
            done = put(rows, model, store, concurrency=at_once, progress=bar, canary=canary)
        _tell(done, as_json)


def _planned_rows(
    plan_file: str, planned: _Plan, dataset: Dataset, settings: Settings, model: Model
) -> PlannedRequests:
    """The requests of a plan; InputError where it is not that of this run and this model."""
    from consilience.store.runner import requests

    try:
        rows = requests(planned.queries, dataset, settings.framings_for(dataset), model)
    except (LookupError, TypeError) as error:
        raise InputError(f"{plan_file} was changed since it was planned; plan again") from error
    if rows.all_keys != planned.keys:
        raise InputError(
            f"{plan_file} was planned for another model or other sampling settings than "
            f"{model.name!r} has here; plan again, or say the same options"
        )
    return rows


def _tell(done: CallCounts, as_json: bool) -> None:
    """What asking took, and what went otherwise than it should."""
    counted = [
        ("calls", done.calls),
        ("known", done.known),
        ("failed", len(done.failures)),
        ("prompt tokens", done.prompt_tokens),
    ]
    pairs(counted, as_json)
    if done.failures:
        talk(first_failure(done))
    for note in done.notes:
        talk(note)
    if done.ended:
        talk(f"ended early: {done.ended}")
