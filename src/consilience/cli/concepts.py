"""`concepts`: the labellings that the census of a run found, and how to tell them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.inputs import open_solver
from consilience.cli.output import dump, rows, say
from consilience.cli.results import concept_rows, opened, question_rows
from consilience.cli.values import COUNT
from consilience.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from consilience.concepts.concept import Concept
    from consilience.data.dataset import Dataset
    from consilience.results.result import Found


@options.command()
@options.store_read
@options.run_id
@options.option(
    "--typical",
    type=COUNT,
    default=8,
    show_default=True,
    help="Typical examples of each class shown at once.",
)
@options.as_json
def concepts(store: options.NamedStore, run_id: str | None, typical: int, as_json: bool) -> None:
    """The concepts that the model carries, as a census found them.

    The one that the labels follow first, then by what speaks for each: `support` is how much
    better than chance zero-shot answers and relations fit, in nats per example, `lead` by how much
    the first is ahead, duels counted in. Shows typical examples of each, and which examples to
    vouch for, with `run --landmarks`, where another one is meant. Asks nothing.
    """
    # The labels themselves are not shown: one start will do.
    found = opened(store.path, run_id, open_solver("lbfgs", 1), task=store.task)
    check_census(found)
    told = [
        row | {"typical": _typical(found.dataset, concept, typical)}
        for row, concept in zip(concept_rows(found), found.concepts, strict=True)
    ]
    asked = question_rows(found)
    if as_json:
        click.echo(dump({"run": found.run.id, "concepts": told, "questions": asked}))
        return
    for row in told:
        say(f"Concept {row['number']}: {row['examples']:,} examples, {standing(row)}")
        shown = [{k: e[k] for k in ("class", "probability", "text")} for e in row["typical"]]
        rows(shown, as_json=False)
    if asked:
        say("To tell them apart, vouch for these examples:")
        rows(asked, as_json=False)


def check_census(found: Found) -> None:
    """InputError where a run found no concepts."""
    if not found.concepts:
        raise InputError(
            f"run {found.run.id} had no census: it was made with planning.census=0, with too few "
            "examples or calls for one, or has not come so far"
        )


def standing(row: dict[str, Any]) -> str:
    """What speaks for a concept, in words."""
    lead = f", {row['lead']:.3f} ± {row['error']:.3f} behind the first"
    return (
        f"support {row['support']:.3f} nats per example{lead if row['number'] > 1 else ''}, "
        f"confidence {row['confidence']:.3f}"
    )


def within(dataset: Dataset, concept: Concept) -> tuple[Dataset, NDArray[np.float64]]:
    """The examples that a concept has a label for, without relations, and those labels."""
    from consilience.data.arrays import saying
    from consilience.data.dataset import Dataset

    at = saying(concept.labels).nonzero()[0]
    some = [dataset.examples[i] for i in at]
    # Examples are in the order of their ids in both.
    return Dataset(dataset.name, some, task=dataset.task), concept.labels[at]


def _typical(dataset: Dataset, concept: Concept, count: int) -> list[dict[str, Any]]:
    """So many typical examples of each class of a concept; of one class alone, its surest."""
    from consilience.concepts.exemplars import typical

    some, labels = within(dataset, concept)
    hard = labels.argmax(axis=1)
    if len(set(hard)) > 1:
        shown = typical(some, labels, shown=count, held=0).shown
    else:
        surest = (-labels.max(axis=1).round(6)).argsort(kind="stable")
        shown = (tuple(surest[:count].tolist()),)
    return [
        {
            "class": dataset.task.classes[hard[i]],
            "id": dataset.own_id(some.ids[i]),
            "probability": float(labels[i].max()),
            "text": some.texts[i],
        }
        for own in shown
        for i in own
    ]
