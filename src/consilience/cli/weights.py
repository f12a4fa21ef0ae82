"""`weights`: which weights of the terms predict best what labels were found without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options, values
from consilience.cli.inputs import check_store
from consilience.cli.meant_run import meant_run
from consilience.cli.output import rows, talk
from consilience.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from consilience.evidence.evidence import Evidence
    from consilience.objective.term import Terms


def grid(
    context: click.Context, option: click.Parameter, value: tuple[str, ...]
) -> dict[str, list[float]]:
    """The weights to try, by term, from words such as ``entropy=0.5,1,2``."""
    found: dict[str, list[float]] = {}
    for word in value:
        name, equals, numbers = word.partition("=")
        name = name.strip()
        if not (equals and name):
            raise click.BadParameter(f"{word!r} is not NAME=WEIGHT,WEIGHT,…")
        if name in found:
            raise click.BadParameter(f"{name!r} stands twice; give all its weights at once")
        weight = values.Number()
        found[name] = [weight.convert(x.strip(), option, context) for x in numbers.split(",")]
    return found


@options.command()
@options.store_read
@options.run_id
@options.option(
    "--sweep",
    metavar="TERM=W,W,…",
    multiple=True,
    callback=grid,
    help='Weights of a term to try: "entropy=0.5,1,2" (repeatable: every combination).',
)
@options.option(
    "--learn",
    type=click.Choice(["held-out", "objective"]),
    help="Learn all weights: on held-out predictions, or on the objective, to see it cheat.",
)
@options.option(
    "--folds",
    type=values.Whole(min=2),
    default=5,
    show_default=True,
    help="How many parts the predictions are split into; each is held out once.",
)
@options.seed
@options.as_json
def weights(
    store: options.NamedStore,
    run_id: str | None,
    sweep: dict[str, list[float]],
    learn: str | None,
    folds: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compares weights of the terms by held-out predictability.

    Labels are found from some of a run's predictions and asked what the others say, in nats per
    prediction, at most 0. Without --sweep or --learn: the default weights, and each term left out
    in turn. `behind` is the distance to the best row with its standard error; within two errors a
    row is as good. Any weight also decides how sure labels are: sweep it together with entropy.
    No gold, no network. The best weights predict the model best, which is not to be right.
    """
    import math

    from consilience.solvers import term_weights

    if sweep and learn:
        raise InputError("--sweep tries weights and --learn finds them; say one of the two")
    terms = _terms(sweep)
    evidence = _evidence(store, run_id)
    talk(
        f"{evidence.t:,} predictions of {evidence.n:,} examples, held out in {folds} folds; "
        f"knowing nothing scores {-math.log(evidence.k):.4f}"
    )
    chosen: dict[str, Any] = {"folds": folds, "seed": seed}
    if sweep:
        table = term_weights.sweep(evidence, sweep, terms, **chosen)
    elif learn:
        table = _learned(evidence, terms, learn, **chosen)
    else:
        table = term_weights.without_each(evidence, terms, **chosen)
    found = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    if not as_json:
        for row in found:
            row["score"] = f"{row['score']:.4f}"
            row["behind"] = f"{row['behind']:.4f} ± {row.pop('behind_error'):.4f}"
    rows(found, as_json)


def _terms(grid: dict[str, list[float]]) -> Terms:
    """The default terms, and those to be swept that are off by default."""
    from consilience.objective.coherence import default_terms, find_term

    return {name: find_term(name).at(0.0) for name in grid} | default_terms()


def _evidence(store: options.NamedStore, run_id: str | None) -> Evidence:
    """The evidence of a run, from its store."""
    from consilience.elicitation.session import gather
    from consilience.elicitation.settings import settings_from
    from consilience.store.database import Store

    check_store(store.path)
    with Store(store.path, readonly=True) as db:
        run = db.run(run_id) if run_id else meant_run(db, store.task)
        return gather(db, run.id, db.dataset(run.dataset), settings_from(run.settings))


def _learned(evidence: Evidence, terms: Terms, on: str, **chosen: Any) -> pd.DataFrame:
    """The weights before and after learning, and how well their labels predict."""
    import pandas as pd

    from consilience.solvers.term_weights import compared, learned

    objectives = {"default": terms, f"learned on {on}": learned(evidence, terms, on=on, **chosen)}
    table = compared(evidence, objectives.values(), **chosen)
    made = [{name: term.weight for name, term in each.items()} for each in objectives.values()]
    table = pd.concat([pd.DataFrame(made), table], axis=1)
    table.insert(0, "weights", list(objectives))
    return table
