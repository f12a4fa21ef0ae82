"""`demo`: a run with the pocket model, or on a simulated world, beside all baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options, values
from consilience.cli.inputs import check_writable
from consilience.cli.output import dump, progress_bar, say, talk
from consilience.cli.results import result
from consilience.cli.run import Asking, asked_baselines

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Gold
    from consilience.evaluation.evaluation import Evaluation
    from consilience.models import Model

CONCURRENCY = 64


@options.command()
@options.option(
    "--world",
    metavar="WORLD",
    default="pocket",
    show_default=True,
    help="A data set of the pocket model or a simulated world, see `datasets list`.",
)
@options.option(
    "--examples", type=values.COUNT, default=200, show_default=True, help="How many to make up."
)
@options.option(
    "--calls-per-example",
    type=values.ABOVE_ZERO,
    default=8.0,
    show_default=True,
    help="The budget of each method.",
)
@options.option(
    "--plot",
    metavar="FILE",
    callback=values.home,
    help="Draw the accuracies into this .svg, .png or .pdf file (extra `plots`).",
)
@options.seed
@options.as_json
def demo(
    world: str,
    examples: int,
    calls_per_example: float,
    plot: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Labels claims that a tiny language model knows, all methods.

    No key, no network, nothing is kept: the model comes with the package and runs in this
    process, and the truth of its world is known. Takes about a minute.
    """
    from consilience.evaluation.plots import check_plot, plot_methods

    if plot:
        check_plot(plot)
        check_writable(plot)
    evaluation = _compared(*_opened(world, examples, seed), calls_per_example, seed)
    if as_json:
        click.echo(dump(evaluation.table.to_dict(orient="records")))
    else:
        say(str(evaluation))
    if plot:
        talk(f"drew {plot_methods(evaluation, plot)}")


def _compared(
    dataset: Dataset, gold: Gold, model: Model, calls_per_example: float, seed: int
) -> Evaluation:
    """The labels of a run beside those of all other methods, scored."""
    from consilience.elicitation.session import elicit
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.evaluation import evaluate
    from consilience.store.database import Store

    # The budget is used up, so that all methods have asked the same.
    settings = Settings(calls_per_example=calls_per_example, settled=0.0)
    talk(
        f"{dataset!r}: {dataset.note}\n"
        f"asking {model.name}, {settings.budget(dataset):,} calls for each method, no gold in sight"
    )
    bar = progress_bar()
    with Store() as store:
        bar.begin("consilience", most=settings.budget(dataset))
        how: dict[str, Any] = {"seed": seed, "concurrency": CONCURRENCY, "progress": bar}
        found = elicit(dataset, model, settings=settings, store=store, **how)
        talk(result(found))
        asking = Asking(model, store, settings, seed, CONCURRENCY, bar)
        rows = asked_baselines(dataset, gold, asking)
    return evaluate(found, gold, rows)


def _opened(world: str, examples: int, seed: int) -> tuple[Dataset, Gold, Model]:
    """The data set, its truth, and the model that lives in that world."""
    from consilience.datasets import MADE, load_dataset
    from consilience.models import open_model
    from consilience.models.simulated import world_dataset

    if world in MADE:
        data, truth = load_dataset(world, seed=seed, claims=str(examples))
        assert truth is not None
        return data, truth, open_model("local:pocket")
    return *world_dataset(world, examples, seed), open_model(f"simulated:{world}")
