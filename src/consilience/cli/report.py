"""`report`: a run as one HTML page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from consilience.cli import options
from consilience.cli.config import Config
from consilience.cli.evaluate import scored_by
from consilience.cli.inputs import check_apart, check_store
from consilience.cli.opening import open_price
from consilience.cli.output import talk
from consilience.cli.results import opened
from consilience.cli.values import home
from consilience.data.counted import counted
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.concepts.description import Description
    from consilience.models.price import Price
    from consilience.results.result import Found


@options.command()
@click.argument("data", required=False, metavar="[TASK|DATA]")
@options.configured(*options.TASK, "budget", "output.store", "landmarks.file", also=options.SHARES)
@options.run_id
@options.option(
    "--output",
    metavar="FILE.html",
    callback=home,
    help="Where the page is written  [default: beside the store, with its name and .html]",
)
@options.option(
    "--words",
    "told",
    metavar="FILE",
    callback=home,
    help="What `describe --json` printed about this run: the model's own words for its concepts.",
)
def report(
    data: str | None, config: Config, run_id: str | None, output: str | None, told: str | None
) -> None:
    """A run as one HTML page, every row with its reasons.

    The page needs nothing beside it and asks nothing of any server: verdict, prompt, cost, rounds,
    evidence, concepts, and a table to search whose rows open. With the column of its gold in
    --label, and DATA, the file that the run labelled, it also has methods side by side and a
    calibration curve. Where a price is known, by budget.price or from the run, it has the money
    spent. Asks nothing.
    """
    from consilience.results.report import check_report

    store = config.output.store or options.STORE
    if output is None:
        check_store(store)
    path = check_report(output or Path(store).with_suffix(".html"))
    check_apart(str(path), config, data, told)
    found = opened(store, run_id, config=config)
    check_apart(str(path), found.dataset)
    words = None if told is None else read_words(told, found)
    scores = scored_by(found, data, config) if data or config.data.label else None
    price = open_price(config.budget) or price_of_run(store, found)
    if found.settled is None and found.saved >= len(found.dataset):
        found = replace(found, settled=run_has_settled(store, found))
    found.report(path, scores=scores, words=words, price=price)
    size = path.stat().st_size / 1e6
    talk(
        f"run {found.run.id}: {counted(len(found.dataset), 'example')} on a page of "
        f"{size:.1f} MB, {path}"
    )


def run_has_settled(store: str, found: Found) -> bool:
    """Whether the run ended because its labels had settled."""
    from consilience.elicitation.session import has_settled
    from consilience.store.database import Store

    with Store(store, readonly=True) as db:
        return has_settled(db, found.run.id)


def price_of_run(store: str, found: Found) -> Price | None:
    """The price that the command said which made a run; None where it said none."""
    from consilience.cli.tables import BudgetOptions
    from consilience.store.database import Store

    with Store(store, readonly=True) as db:
        said = (db.command(found.run.id) or {}).get("budget", {})
    kept = {key: said[key] for key in ("price", "currency") if key in said}
    return open_price(BudgetOptions(**kept))


def read_words(path: str, found: Found) -> dict[int, list[Description]]:
    """What `describe --json` printed about a run, by the number of a concept, 0 for its labels."""
    from consilience.concepts.description import Description

    classes = list(found.dataset.task.classes)
    try:
        said = json.loads(Path(path).read_text("utf-8-sig"))
        made = {
            labelling.get("concept", 0): [
                Description(
                    d["text"],
                    tuple(classes.index(name) for name in d["groups"].values()),
                    d["key"],
                    math.nan if d["agreement"] is None else d["agreement"],
                    d["checked"],
                    math.nan if d["guess"] is None else d["guess"],
                )
                for d in labelling["descriptions"]
            ]
            for labelling in said["labellings"]
            if labelling.get("chosen", True)
        }
        of = said["run"]
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror}") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise InputError(
            f"{path} is not what `consilience describe --json` prints about this run ({e!r}); "
            "write it anew"
        ) from e
    if of != found.run.id:
        raise InputError(f"{path} is about run {of}, and this is {found.run.id}; describe this one")
    return made
