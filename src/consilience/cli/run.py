"""`run`, the whole way from data to labels, and `demo`, the same on a simulated world."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.show import dump, pairs, stderr, talk

if TYPE_CHECKING:
    from consilience.baselines import Baseline
    from consilience.elicitation import Settings
    from consilience.examples import Dataset, Gold
    from consilience.found import Found
    from consilience.models import Model
    from consilience.progress import ProgressBar
    from consilience.store import Store


@click.command()
@click.argument("data")
@options.source
@options.model
@options.settings
@options.spending
@options.seed
@options.output
@click.option("--baselines", is_flag=True, help="Also ask the baselines, each with as many calls.")
@options.as_json
def run(data: str, **given: Any) -> None:
    """Labels DATA (a name from `datasets list`, or a file) with a model, in one go.

    Interrupt it and run the same command again: with a --store, nothing is asked twice.
    """
    from consilience.elicitation import elicit
    from consilience.evaluation import evaluate
    from consilience.progress import ProgressBar
    from consilience.store import Store

    dataset, gold = options.open_data(data, given)
    settings = options.open_settings(given)
    settings.budget(dataset)
    if given["output"]:
        from consilience.export import table_path

        table_path(given["output"])
    with Store(given["store"]) as store:
        model = options.open_model(given, store)
        if given["dry_run"]:
            show_estimate(dataset, model, settings, store, given)
            return
        began = time.perf_counter()
        bar = ProgressBar(stderr, given["price"])
        found = elicit(
            dataset,
            model,
            settings=settings,
            store=store,
            seed=given["seed"],
            concurrency=given["concurrency"],
            embedder=options.open_embedder(given),
            progress=bar,
        )
        talk(summary(found, time.perf_counter() - began))
        if given["output"]:
            found.export(given["output"])
            talk(f"labels written to {given['output']}")
        evaluation = None
        if gold is not None:
            rows = asked_baselines(dataset, gold, model, store, settings, given, bar)
            evaluation = evaluate(found, gold, rows)
    if given["as_json"]:
        report = {
            "run": found.run.id,
            "result": found.solution.result.value,
            "labels": found.labels.to_dict(orient="records"),
            "evaluation": None if evaluation is None else evaluation.table.to_dict("records"),
        }
        click.echo(dump(report))
    elif evaluation is not None:
        click.echo(str(evaluation))
    elif not given["output"]:
        click.echo(found.table().to_csv(index=False), nl=False)


@click.command()
@click.option("--world", default="noisy", show_default=True, help="A simulated world.")
@click.option("--examples", default=300, show_default=True)
@click.option("--calls-per-example", default=8.0, show_default=True)
@options.seed
@options.as_json
def demo(world: str, examples: int, calls_per_example: float, seed: int, as_json: bool) -> None:
    """Labels a simulated world, with all baselines at the same number of calls. No key needed."""
    from consilience.elicitation import Settings, elicit
    from consilience.evaluation import evaluate
    from consilience.models.simulated import SimulatedModel, world_dataset
    from consilience.progress import ProgressBar
    from consilience.store import Store

    dataset, gold = world_dataset(world, examples, seed)
    model = SimulatedModel(world)
    # The budget is used up, so that all methods have asked the same.
    settings = Settings(calls_per_example=calls_per_example, settled=0.0)
    talk(f"{dataset!r}: {dataset.note}")
    bar = ProgressBar(stderr)
    with Store() as store:
        found = elicit(dataset, model, settings=settings, store=store, seed=seed, progress=bar)
        given = {"baselines": True, "seed": seed, "concurrency": 16}
        rows = asked_baselines(dataset, gold, model, store, settings, given, bar)
    evaluation = evaluate(found, gold, rows)
    if as_json:
        click.echo(dump(evaluation.table.to_dict(orient="records")))
    else:
        click.echo(str(evaluation))


def asked_baselines(
    data: Dataset,
    gold: Gold,
    model: Model,
    store: Store,
    settings: Settings,
    given: options.Options,
    bar: ProgressBar,
) -> list[Baseline]:
    """The baselines that ask the model, each through the same store, if they are wanted."""
    if not given["baselines"]:
        return []
    from consilience import baselines

    bench = baselines.Bench(
        data,
        model,
        store=store,
        settings=settings,
        seed=given["seed"],
        concurrency=given["concurrency"],
        progress=bar,
    )
    return [
        baselines.zero_shot(bench),
        baselines.random_shots(bench),
        baselines.bootstrap(bench),
        baselines.golden_shots(bench, gold),
    ]


def show_estimate(
    data: Dataset, model: Model, settings: Settings, store: Store, given: options.Options
) -> None:
    """What the run would take, as a table or as JSON."""
    from consilience.cost import estimate

    cost = estimate(
        data, model, settings, store, seed=given["seed"], price=given["price"]
    ).to_json()
    named = [("examples", len(data)), *((k.replace("_", " "), v) for k, v in cost.items())]
    pairs(cost.items() if given["as_json"] else named, given["as_json"])


def summary(found: Found, seconds: float) -> str:
    """What a run came to, in a few lines."""
    run, asked, evidence = found.run, found.asked, found.evidence
    bounded = float(evidence.bounded.double().mean())
    lines = [
        f"run {run.id}: {len(found.dataset)} examples, {run.rounds} rounds, "
        f"{asked.calls} calls made and {asked.known} found in the store, {seconds:.0f} s",
        f"predictions: {evidence.t} count, {evidence.absent} absent, {evidence.silent} without any "
        f"label, {bounded:.1%} with a label that is only bounded; "
        f"mean label mass {evidence.mean_mass:.2g}",
        f"{found.solution.result.value} Coherence {found.solution.stats.coherence:.3f} nats "
        f"per example; distinct optima: {len(found.solution.optima)}.",
        f"Orientation: {found.polarity}.",
    ]
    if found.saved:
        lines.append(f"Stopped early: the labels had settled, {found.saved} calls were saved.")
    if evidence.mean_mass < 0.5:
        lines.append(
            "Little probability falls on the label names: the model is not answering the "
            "question. Try other framings, or the chat endpoint."
        )
    if asked.failures:
        reason = next(iter(asked.failures.values()))
        lines.append(f"{len(asked.failures)} queries failed, the first: {reason}")
    return "\n".join(lines)
