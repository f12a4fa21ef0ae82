"""`plan` and `ask`: the loop of `run`, one step at a time; `solve` gives the labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from consilience.cli import options, values
from consilience.cli.inputs import (
    check_model,
    check_writable,
    open_data,
    open_model,
    open_settings,
    require_task,
)
from consilience.cli.output import pairs, progress_bar, talk
from consilience.cli.results import open_landmarks
from consilience.cli.run import first_failure, show_estimate
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.prompts.query import Query


@click.command()
@click.argument("data")
@options.described
@options.groups
@options.seed
@options.model
@options.settings
@options.store
@options.landmarks_file
@options.price
@click.option(
    "--output",
    metavar="FILE",
    callback=values.home,
    help="Write the queries of the next round to this JSONL file, for `ask`.",
)
@options.as_json
def plan(data: str, **given: Any) -> None:
    """What a run would cost, and the queries that it asks next.

    With the options of `run`. Prints calls, tokens and, with a price, money; nothing is sent.
    With --output also writes the next round, planned from the labels that the store supports so
    far (which first probes a server that the store does not know); `ask` puts it to the model,
    and so on round by round, with the same labels in the end as one `run`.
    """
    output = given["output"]
    if output:
        check_writable(output)
        if not given["store"] and str(given["model_name"]).startswith("simulated:"):
            raise InputError("a plan for `ask` needs a --store, where `ask` finds the run again")
    check_model(given)
    dataset, _ = open_data(data, given)
    require_task(given, dataset)

    # Only now what takes seconds to load: a file that is refused is refused at once.
    from consilience.elicitation.session import Session
    from consilience.store.runner import requests

    settings = open_settings(given, dataset)
    # However few: here they only choose the concept.
    path, text = given["landmarks"], given["text"]
    landmarks = open_landmarks(path, "none", dataset, text) if path else None
    with open_model(given, dry=not output) as (model, store):
        show_estimate(dataset, model, settings, store, given)
        if not output:
            return
        session = Session(
            dataset,
            model,
            store,
            settings=settings,
            seed=given["seed"],
            landmarks=landmarks,
        )
        session.catch_up()
        queries = session.next_queries()
        if not queries:
            talk("nothing is left to ask: the budget is used up, or the labels have settled")
            return
        head = {"run": session.run, "round": session.round, "store": str(store.path)}
        rows = requests(queries, dataset, settings.framings_for(dataset), model)
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
        Path(output).write_text(text, encoding="utf-8")
        talk(f"round {session.round}: {len(rows)} queries written to {output}")


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
        head, *lines = map(json.loads, Path(path).read_text("utf-8").splitlines())
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
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a plan, or was changed; write one with `consilience plan --output`"
        ) from error


@click.command()
@click.argument("plan_file", type=click.Path(exists=True, dir_okay=False))
@options.model
@click.option(
    "--store",
    metavar="FILE",
    callback=values.home,
    help="File of predictions that the run is in  [default: the plan's own]",
)
@options.budget
@options.concurrency
@options.price
@options.dry_run
@options.as_json
def ask(plan_file: str, **given: Any) -> None:
    """Asks the queries of a plan and stores the answers.

    PLAN_FILE is what `plan --output` wrote; give the options of the model again. Prints what it
    took. Interrupt it and run it again: what the store holds is not asked twice.
    """
    from consilience.elicitation.settings import settings_from
    from consilience.store.runner import ask as put
    from consilience.store.runner import requests

    planned = _read(plan_file)
    given["store"] = given["store"] or planned.store
    if not Path(given["store"]).exists():
        raise InputError(f"there is no store {given['store']}; the run of {plan_file} was in it")
    with open_model(given, dry=given["dry_run"]) as (model, store):
        run = store.run(planned.run)
        dataset = store.dataset(run.dataset)
        settings = settings_from(run.settings)
        try:
            rows = requests(planned.queries, dataset, settings.framings_for(dataset), model)
        except (LookupError, TypeError) as error:
            raise InputError(f"{plan_file} was changed since it was planned; plan again") from error
        if [key for key, _ in rows] != planned.keys:
            raise InputError(
                f"{plan_file} was planned for another model or other sampling settings than "
                f"{model.name!r} has here; plan again, or say the same options"
            )
        known = len(store.known(planned.keys))
        if given["dry_run"]:
            pairs([("calls", len(rows) - known), ("known", known)], given["as_json"])
            return
        store.add_round(run.id, planned.round, [(key, r.query) for key, r in rows])
        bar = progress_bar(given["price"])
        bar.begin(f"run {run.id}", planned.round)
        done = put(rows, model, store, concurrency=given["concurrency"], progress=bar)
        counted = [
            ("calls", done.calls),
            ("known", done.known),
            ("failed", len(done.failures)),
            ("prompt tokens", done.prompt_tokens),
        ]
        pairs(counted, given["as_json"])
        if done.failures:
            talk(first_failure(done))
        if done.ended:
            talk(f"ended early: {done.ended}")
