"""`plan`, `ask` and `solve`: the loop of `run`, one step at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from consilience.cli import options
from consilience.cli.run import show_estimate
from consilience.cli.show import pairs, stderr, talk
from consilience.errors import InputError


@click.command()
@click.argument("data")
@options.source
@options.model
@options.settings
@options.seed
@click.option("--store", default=":memory:", help="The file of predictions.")
@click.option("--price", type=float, help="Money per million prompt tokens, to show the cost.")
@click.option("--output", help="Write the queries of the next round to this JSONL file, for `ask`.")
@options.as_json
def plan(data: str, **given: Any) -> None:
    """What a run would ask: the cost of all of it, and the queries of the next round.

    Asks nothing, save the probe of a server that the store does not know yet. The next round is
    planned from the labels that the store supports so far.
    """
    from consilience.ask import requests
    from consilience.elicitation import Session
    from consilience.store import Store

    dataset, _ = options.open_data(data, given)
    settings = options.open_settings(given)
    with Store(given["store"]) as store:
        model = options.open_model(given, store)
        show_estimate(dataset, model, settings, store, given)
        if not given["output"]:
            return
        session = Session(
            dataset,
            model,
            store,
            settings=settings,
            seed=given["seed"],
            embedder=options.open_embedder(given),
        )
        session.catch_up()
        queries = session.next_queries()
        if not queries:
            talk("nothing is left to ask: the budget is used up, or the labels have settled")
            return
        rows = requests(queries, dataset, settings.framings_for(dataset), model)
        head = {"run": session.run, "round": session.round, "store": str(given["store"])}
        lines = [
            head,
            *(
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
            ),
        ]
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n"
        Path(given["output"]).write_text(text, encoding="utf-8")
        talk(f"round {session.round}: {len(rows)} queries written to {given['output']}")


@click.command()
@click.argument("plan_file", type=click.Path(exists=True, dir_okay=False))
@options.model
@options.store_needed
@click.option("--concurrency", default=16, show_default=True, help="1: plain serial.")
@click.option("--price", type=float, help="Money per million prompt tokens, to show the cost.")
@options.dry_run
@options.as_json
def ask(plan_file: str, **given: Any) -> None:
    """Asks the queries of a file that `plan --output` wrote, and stores the answers."""
    from consilience.ask import ask as put
    from consilience.ask import requests
    from consilience.elicitation import settings_from
    from consilience.progress import ProgressBar
    from consilience.query import Query
    from consilience.store import Store

    with Store(given["store"]) as store:
        lines = [json.loads(line) for line in Path(plan_file).read_text("utf-8").splitlines()]
        if not lines or "run" not in lines[0]:
            raise InputError(
                f"{plan_file} is not a plan; write one with `consilience plan --output`"
            )
        run = store.run(lines[0]["run"])
        dataset = store.dataset(run.dataset)
        settings = settings_from(run.settings)
        queries = [
            Query(
                line["target"],
                tuple((id, label) for id, label in line["shots"]),
                line["framing"],
                line["repeat"],
                line["contrast"],
            )
            for line in lines[1:]
        ]
        model = options.open_model(given, store)
        rows = requests(queries, dataset, settings.framings_for(dataset), model)
        if [key for key, _ in rows] != [line["key"] for line in lines[1:]]:
            raise InputError(
                f"{plan_file} was planned for another model or other sampling settings than "
                f"{model.name!r} has here; plan again, or say the same options"
            )
        known = len(store.known([key for key, _ in rows]))
        if given["dry_run"]:
            pairs([("calls", len(rows) - known), ("known", known)], given["as_json"])
            return
        store.add_round(run.id, lines[0]["round"], [(key, r.query) for key, r in rows])
        bar = ProgressBar(stderr, given["price"])
        done = put(rows, model, store, concurrency=given["concurrency"], progress=bar)
        counted = [
            ("calls", done.calls),
            ("known", done.known),
            ("failed", len(done.failures)),
            ("prompt tokens", done.prompt_tokens),
        ]
        pairs(counted, given["as_json"])


@click.command()
@options.store_needed
@options.run_id
@options.output
@click.option("--starts", default=8, show_default=True, help="Starting points of the solver.")
@options.as_json
def solve(store: str, run_id: str | None, output: str | None, starts: int, as_json: bool) -> None:
    """The labels of a run from its store alone: no model, no network, the same every time."""
    from consilience.cli.results import opened, print_labels
    from consilience.solvers import LBFGS

    found = opened(store, run_id, LBFGS(starts=starts))
    talk(
        f"run {found.run.id}: {found.solution.result.value} Coherence "
        f"{found.solution.stats.coherence:.3f} nats per example."
    )
    print_labels(found, output, as_json)
