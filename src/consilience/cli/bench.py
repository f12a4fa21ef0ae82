"""`bench`: ways of finding labels, compared at the same number of calls."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options, values
from consilience.cli.inputs import (
    Options,
    check_writable,
    chosen_settings,
    open_data,
    open_model,
    require_task,
)
from consilience.cli.output import dump, rows, talk
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Gold
    from consilience.evaluation.benchmark.benchmark import Case, Job
    from consilience.evaluation.benchmark.result_file import Results
    from consilience.models import Model


def numbers(context: click.Context, option: click.Parameter, value: str) -> list[float]:
    """The numbers of a comma-separated option, ascending, each once."""
    found = [values.ABOVE_ZERO.convert(w, option, context) for w in value.split(",") if w.strip()]
    if not found:
        raise click.BadParameter("at least one number is expected, such as 2,4,8")
    return sorted(set(found))


@click.command()
@click.option(
    "--data",
    "names",
    metavar="NAMES",
    callback=values.words,
    help="Data sets, from `datasets list`, or files, with a comma between them: easy,noisy,pocket.",
)
@click.option(
    "--methods",
    metavar="NAMES",
    callback=values.words,
    help="What is compared, with a comma between them  [default: all but those in -full, which "
    "spend what their authors spend]",
)
@click.option(
    "--budgets",
    metavar="NUMBERS",
    default="8",
    show_default=True,
    callback=numbers,
    help="Calls per example that each method may make, with a comma between them: 2,4,8.",
)
@click.option(
    "--seeds",
    metavar="SEEDS",
    default="5",
    show_default=True,
    callback=values.seeds,
    help="How many seeds, from 0, or a range of them, as 40-59; each is a draw of the data and of "
    "everything else.",
)
@click.option(
    "--output",
    metavar="FILE",
    callback=values.home,
    help="The JSON file of results; what it has is not done again.",
)
@click.option(
    "--workers",
    type=values.COUNT,
    default=1,
    show_default=True,
    help="Processes that share out the jobs, each with a model of its own.",
)
@click.option(
    "--table",
    metavar="FILE",
    callback=values.home,
    help="Print the tables of this file of results; nothing is asked.",
)
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@click.option(
    "--plot",
    metavar="FILE",
    callback=values.home,
    help="Draw accuracy against calls into this .svg, .png or .pdf file (extra `plots`).",
)
@options.described
@options.groups
@options.model
@options.planning
@options.census
@options.store
@options.concurrency
@options.price
@options.dry_run
@options.as_json
def bench(**given: Any) -> None:
    """Compares ways of finding labels at the same number of calls.

    Every method is put to every data set, for each seed and budget; on one draw all share a store.
    Stop it and give the same command again: rows that --output has are not made again. Without
    --model the model is the one that belongs to the data set. Tables go to stdout.
    """
    from consilience.evaluation.benchmark.benchmark import pending
    from consilience.evaluation.benchmark.result_file import Results
    from consilience.evaluation.plots import check_plot

    if given["plot"]:
        check_plot(given["plot"])
        check_writable(given["plot"])
    if given["table"]:
        if not Path(given["table"]).exists():
            raise InputError(f"there is no file {given['table']}; make it with --output")
        show(Results.read(given["table"]), None, given)
        return
    if not given["names"]:
        raise InputError("no data; name data sets with --data, or a file of results with --table")
    if not given["output"] and not given["dry_run"]:
        raise InputError("no file for the results; name one with --output")
    if given["output"]:
        check_writable(given["output"])
    results = Results.read(given["output"]) if given["output"] else Results()
    jobs, models = planned(given)
    ids = {id for job in jobs for id in job.wanted.values()}
    todo = pending(jobs, results.rows)
    if given["dry_run"]:
        show_spend(todo, models, given)
        return
    work(todo, models, results, len(ids), given)
    show(results, ids, given)


def planned(given: Options) -> tuple[list[Job], dict[str, Model]]:
    """All jobs of the options, and the model of each case; all that can be wrong is found here."""
    from consilience.evaluation.benchmark.benchmark import USUAL, check_methods, plan_jobs

    methods = check_methods(given["methods"] or USUAL)
    settings = chosen_settings({**given, "calls_per_example": 8.0, "settled": 0.0})
    jobs: list[Job] = []
    models: dict[str, Model] = {}
    for name in dict.fromkeys(given["names"]):
        case = case_of(name, given)
        models[case.name] = opened(model_of(name, given), given, dry=given["dry_run"])
        jobs += plan_jobs(
            case,
            models[case.name],
            methods,
            given["budgets"],
            given["seeds"],
            settings,
            concurrency=given["concurrency"],
        )
    return jobs, models


def case_of(name: str, given: Options) -> Case:
    """The data set of that name with the model that the options give it."""
    from consilience.datasets import find_source
    from consilience.evaluation.benchmark.benchmark import Case

    model = model_of(name, given)
    kept = given["store"] or (options.STORE if model.startswith("openai:") else ":memory:")
    # A folder of publishers' files is for those that have some.
    mine = {**given, "data_dir": given["data_dir"] if find_source(name) else None}
    chosen = {key: mine[key] for key in ("groups", "chosen") if mine[key]}
    return Case(
        name=" ".join(
            [name, *(f"{key}={value}" for key, value in sorted(given["chosen"].items()))]
        ),
        data=partial(drawn, name, mine),
        model=partial(opened, model, given),
        store=kept,
        options=chosen,
    )


def model_of(name: str, given: Options) -> str:
    """The model that the options name, else the one that belongs to the data set."""
    from consilience.datasets import MADE
    from consilience.models.simulated import WORLDS

    if given["model_name"]:
        return str(given["model_name"])
    if name in WORLDS:
        return f"simulated:{name}"
    if name in MADE:
        return "local:pocket"
    raise InputError(
        f"no model belongs to {name}; say --model openai:NAME --base-url URL, "
        "local:FOLDER_OR_HUB_ID, or simulated:WORLD"
    )


def drawn(name: str, given: Options, seed: int) -> tuple[Dataset, Gold]:
    """The data set of a seed with its gold; InputError where it has none."""
    data, gold = open_data(name, {**given, "seed": seed})
    if gold is None:
        raise InputError(f"{name} has no gold, so nothing can be scored; name its column (--label)")
    require_task(given, data)
    return data, gold


def opened(model: str, given: Options, *, dry: bool = False) -> Model:
    """The model of that name, in whichever process; the store keeps what a probe found."""
    # Only a probe of a server has something to keep; jobs open the store themselves.
    store = given["store"] if model.startswith("openai:") else None
    with open_model({**given, "model_name": model, "store": store}, dry=dry) as (found, _):
        return found


def work(
    todo: list[Job], models: dict[str, Model], results: Results, total: int, given: Options
) -> None:
    """Makes the rows that are missing, each written as soon as it is there."""
    from consilience.evaluation.benchmark.benchmark import setup_of, short_hash
    from consilience.evaluation.benchmark.workers import work_off

    settings = chosen_settings({**given, "calls_per_example": 8.0, "settled": 0.0})
    setups = {}
    for case in {job.case.name: job.case for job in todo}.values():
        setup = setup_of(case, models[case.name], settings)
        setups[short_hash(setup)] = setup
    missing = sum(len(job.wanted) for job in todo)
    talk(f"{missing:,} of {total:,} rows to make, in {len(todo):,} jobs, written to {results.path}")
    with closing(work_off(todo, models, given["workers"])) as made:
        for count, row in enumerate(made, start=1):
            results.add(row, setups[row.setup])
            at = "" if row.budget is None else f", {row.budget:g} calls"
            talk(
                f"{count:,}/{missing:,} {setups[row.setup]['data']}, seed {row.seed}{at}: "
                f"{row.method}, accuracy {row.scores['accuracy']}, {row.seconds:.1f} s"
            )


def show(results: Results, ids: set[str] | None, given: Options) -> None:
    """Tables or JSON to stdout, and a picture where one is wanted."""
    from consilience.evaluation.benchmark.tables import notes, render_tables, summarise, tables
    from consilience.evaluation.plots import plot_budgets

    found = summarise(results, ids)
    if given["as_json"]:
        click.echo(dump([summary.to_json() for summary in found]))
    else:
        click.echo(f"{render_tables(tables(results, ids), given['markdown'])}\n\n{notes(found)}")
    if given["plot"]:
        talk(f"drew {plot_budgets(found, given['plot'])}")


def show_spend(todo: list[Job], models: dict[str, Model], given: Options) -> None:
    """What the rows that are missing would take, for each case and budget and in all."""
    from consilience.evaluation.benchmark.benchmark import spend

    alike = Counter((job.case.name, job.budget, job.order) for job in todo)
    first = {(job.case.name, job.budget, job.order): job for job in reversed(todo)}
    lines: list[dict[str, Any]] = []
    basis = ""
    for key, count in alike.items():
        model = models[first[key].case.name]
        cost = spend(first[key], model)
        basis = cost.basis
        lines.append(
            {
                "data": key[0],
                "model": model.name,
                "budget": key[1],
                "jobs": count,
                "rows": count * cost.rows,
                "calls": count * cost.calls,
                "prompt_tokens": count * cost.prompt_tokens,
            }
        )
    total = (
        {name: sum(line[name] for line in lines) for name in list(lines[0])[3:]} if lines else {}
    )
    if lines:
        lines.append({"data": "all", "model": "", "budget": None, **total})
    for line in lines if given["price"] is not None else []:
        line["money"] = line["prompt_tokens"] * given["price"] / 1e6
    talk(
        f"at most, of the first seed times the seeds; {basis}; what methods share, and what a "
        "store holds, is not asked again"
        if lines
        else "nothing to do: the file has all these rows"
    )
    rows(lines, given["as_json"])
