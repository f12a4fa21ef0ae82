"""`bench`: ways of finding labels, compared at the same number of calls."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options, values
from consilience.cli.config import Config
from consilience.cli.inputs import (
    check_apart,
    check_writable,
    chosen_settings,
    open_data,
    require_task,
)
from consilience.cli.opening import check_simulated, open_model, open_price
from consilience.cli.output import dump, rows, say, talk
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Gold
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.benchmark.benchmark import Case, Job
    from consilience.evaluation.benchmark.result_file import Results
    from consilience.models import Model


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What is compared, how often, and where results go."""

    names: list[str] | None
    methods: list[str] | None
    budgets: list[float]
    seeds: range
    output: str | None
    workers: int
    table: str | None
    markdown: bool
    plot: str | None
    dry_run: bool
    as_json: bool


def numbers(context: click.Context, option: click.Parameter, value: str) -> list[float]:
    """The numbers of a comma-separated option, ascending, each once."""
    found = [values.ABOVE_ZERO.convert(w, option, context) for w in value.split(",") if w.strip()]
    if not found:
        raise click.BadParameter("at least one number is expected, such as 2,4,8")
    return sorted(set(found))


@options.command()
@options.option(
    "--data",
    "names",
    metavar="NAMES",
    callback=values.words,
    help="Data sets, from `datasets list`, or files, with a comma between them: easy,noisy,pocket.",
)
@options.option(
    "--methods",
    metavar="NAMES",
    callback=values.words,
    help="What is compared, with a comma between them  [default: all but those in -full, which "
    "spend what their authors spend]",
)
@options.option(
    "--budgets",
    metavar="NUMBERS",
    default="8",
    show_default=True,
    callback=numbers,
    help="Calls per example that each method may make, with a comma between them: 2,4,8.",
)
@options.option(
    "--seeds",
    metavar="SEEDS",
    default="5",
    show_default=True,
    callback=values.seeds,
    help="How many seeds, from 0, or a range of them, as 40-59; each is a draw of the data and of "
    "everything else.",
)
@options.option(
    "--output",
    metavar="FILE",
    callback=values.home,
    help="The JSON file of results; what it has is not done again.",
)
@options.option(
    "--workers",
    type=values.COUNT,
    default=1,
    show_default=True,
    help="Processes that share out the jobs, each with a model of its own.",
)
@options.option(
    "--table",
    metavar="FILE",
    callback=values.home,
    help="Print the tables of this file of results; nothing is asked.",
)
@options.option("--markdown", is_flag=True, help="Print Markdown.")
@options.option(
    "--plot",
    metavar="FILE",
    callback=values.home,
    help="Draw accuracy against calls into this .svg, .png or .pdf file (extra `plots`).",
)
@options.configured(
    *options.MODEL, "budget", "output.store", "data", "task", "planning", seeded=False
)
@options.dry_run
@options.as_json
def bench(config: Config, **given: Any) -> None:
    """Compares ways of finding labels at the same number of calls.

    Every method is put to every data set, for each seed and budget; on one draw all share a store.
    Stop it and give the same command again: rows that --output has are not made again. Without
    --model the model is the one that belongs to the data set. Tables go to stdout.
    """
    from consilience.evaluation.benchmark.benchmark import pending
    from consilience.evaluation.benchmark.result_file import Results
    from consilience.evaluation.plots import check_plot

    said = BenchOptions(**given)
    if said.plot:
        check_plot(said.plot)
        check_writable(said.plot)
        check_apart(said.plot, config, said.output, said.table, *said.names or ())
    if said.table:
        if not Path(said.table).exists():
            raise InputError(f"there is no file {said.table}; make it with --output")
        show(Results.read(said.table), None, said)
        return
    if not said.names:
        raise InputError("no data; name data sets with --data, or a file of results with --table")
    if not said.output and not said.dry_run:
        raise InputError("no file for the results; name one with --output")
    if said.output:
        check_writable(said.output)
        check_apart(said.output, config, *said.names or ())
    results = Results.read(said.output) if said.output else Results()
    jobs, models = planned(said, config)
    ids = {id for job in jobs for id in job.wanted.values()}
    todo = pending(jobs, results.rows)
    if said.dry_run:
        show_spend(todo, models, config, said.as_json)
        return
    work(todo, models, results, len(ids), said.workers, config)
    show(results, ids, said)


def planned(said: BenchOptions, config: Config) -> tuple[list[Job], dict[str, Model]]:
    """All jobs of the options, and the model of each case; all that can be wrong is found here."""
    from consilience.evaluation.benchmark.benchmark import check_methods, plan_jobs
    from consilience.evaluation.benchmark.methods import USUAL

    methods = check_methods(said.methods or USUAL)
    settings = settings_of(config)
    jobs: list[Job] = []
    models: dict[str, Model] = {}
    for name in dict.fromkeys(said.names or ()):
        case = case_of(name, config)
        models[case.name] = opened(model_of(name, config), config, dry=said.dry_run)
        jobs += plan_jobs(
            case,
            models[case.name],
            methods,
            said.budgets,
            said.seeds,
            settings,
            concurrency=config.model.concurrency,
        )
    return jobs, models


def case_of(name: str, config: Config) -> Case:
    """The data set of that name with the model that the options give it."""
    from consilience.datasets import find_source
    from consilience.evaluation.benchmark.benchmark import Case

    model = model_of(name, config)
    kept = config.output.store or (options.STORE if model.startswith("openai:") else ":memory:")
    # A folder of publishers' files is for those that have some.
    folder = config.data.folder if find_source(name) else None
    mine = replace(config, data=replace(config.data, file=name, folder=folder))
    chosen = dict(config.data.options)
    more: dict[str, Any] = {"groups": config.data.groups} if config.data.groups else {}
    return Case(
        name=" ".join([name, *(f"{key}={value}" for key, value in sorted(chosen.items()))]),
        data=partial(drawn, mine),
        model=partial(opened, model, config),
        store=kept,
        options=more | ({"chosen": chosen} if chosen else {}),
    )


def model_of(name: str, config: Config) -> str:
    """The model that the options name, else the one that belongs to the data set."""
    from consilience.datasets import MADE
    from consilience.models.simulated import WORLDS

    if config.model.name:
        return config.model.name
    if name in WORLDS:
        return f"simulated:{name}"
    if name in MADE:
        return "local:pocket"
    raise InputError(
        f"no model belongs to {name}; say --model openai:NAME --base-url URL, "
        "local:FOLDER_OR_HUB_ID, or simulated:WORLD"
    )


def drawn(config: Config, seed: int) -> tuple[Dataset, Gold]:
    """The data set of a seed with its gold; InputError where it has none."""
    data, gold = open_data(replace(config, seed=seed))
    if gold is None:
        raise InputError(
            f"{config.data.file} has no gold, so nothing can be scored; name its column (--set "
            "data.label=COLUMN)"
        )
    require_task(config, data)
    check_simulated(config, data)
    return data, gold


def opened(model: str, config: Config, *, dry: bool = False) -> Model:
    """The model of that name, in whichever process; the store keeps what a probe found."""
    # Only a probe of a server has something to keep; jobs open the store themselves.
    store = config.output.store if model.startswith("openai:") else None
    mine = replace(
        config,
        model=replace(config.model, name=model),
        output=replace(config.output, store=store),
    )
    with open_model(mine, dry=dry) as (found, _):
        return found


def settings_of(config: Config) -> Settings:
    """The settings of every method; the budgets are those of the benchmark, and are used up."""
    return replace(chosen_settings(config), calls_per_example=8.0, settled=0.0)


def work(
    todo: list[Job],
    models: dict[str, Model],
    results: Results,
    total: int,
    workers: int,
    config: Config,
) -> None:
    """Makes the rows that are missing, each written as soon as it is there."""
    from consilience.evaluation.benchmark.benchmark import setup_of, short_hash
    from consilience.evaluation.benchmark.workers import work_off

    settings = settings_of(config)
    setups = {}
    for case in {job.case.name: job.case for job in todo}.values():
        setup = setup_of(case, models[case.name], settings)
        setups[short_hash(setup)] = setup
    missing = sum(len(job.wanted) for job in todo)
    talk(f"{missing:,} of {total:,} rows to make, in {len(todo):,} jobs, written to {results.path}")
    with closing(work_off(todo, models, workers)) as made:
        for count, row in enumerate(made, start=1):
            results.add(row, setups[row.setup])
            at = "" if row.budget is None else f", {row.budget:g} calls"
            talk(
                f"{count:,}/{missing:,} {setups[row.setup]['data']}, seed {row.seed}{at}: "
                f"{row.method}, accuracy {row.scores['accuracy']}, {row.seconds:.1f} s"
            )


def show(results: Results, ids: set[str] | None, said: BenchOptions) -> None:
    """Tables or JSON to stdout, and a picture where one is wanted."""
    from consilience.evaluation.benchmark.tables import notes, render_tables, summarise, tables
    from consilience.evaluation.plots import plot_budgets

    found = summarise(results, ids)
    if said.as_json:
        click.echo(dump([summary.to_json() for summary in found]))
    else:
        say(f"{render_tables(tables(results, ids), said.markdown)}\n\n{notes(found)}")
    if said.plot:
        talk(f"drew {plot_budgets(found, said.plot)}")


def show_spend(todo: list[Job], models: dict[str, Model], config: Config, as_json: bool) -> None:
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
    price = open_price(config.budget)
    if price is not None:
        for line in lines:
            line["money"] = price.of(line["prompt_tokens"], 0, line["calls"])
    talk(
        f"at most, of the first seed times the seeds; {basis}; what methods share, and what a "
        "store holds, is not asked again"
        if lines
        else "nothing to do: the file has all these rows"
    )
    rows(lines, as_json)
