"""`describe`: what separates the labels of a run, in a model's own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from consilience.cli import options
from consilience.cli.concepts import check_census, standing, within
from consilience.cli.config import Config
from consilience.cli.inputs import open_solver
from consilience.cli.opening import open_model, open_price
from consilience.cli.output import dump, pairs, progress_bar, rows, say, talk
from consilience.cli.results import concept_rows, opened
from consilience.cli.run import first_failure
from consilience.data.counted import counted
from consilience.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from consilience.concepts.description import Described, DescribeOptions
    from consilience.data.dataset import Dataset
    from consilience.models import Model
    from consilience.models.price import Price
    from consilience.results.result import Found
    from consilience.store.database import Store
    from consilience.store.progress import ProgressBar
    from consilience.store.runner import CallCounts

EXAMPLES = 5
"""How many typical examples of each class a table shows."""


@dataclass(frozen=True, slots=True)
class _Labelling:
    """What is to be described: the examples, their soft labels (N, K), and what else is known.

    `title` names it; `head` and `tail` stand around the counts in a line, `plain` in JSON.
    """

    title: str
    dataset: Dataset
    labels: NDArray[np.float64]
    head: str
    tail: str
    plain: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """How many examples it puts into each class."""
        hard = self.labels.argmax(axis=1)
        return {name: int((hard == c).sum()) for c, name in enumerate(self.dataset.task.classes)}


@options.command()
@options.configured(
    *options.MODEL,
    *("budget", "output.store", "landmarks.file"),
    *("describing", "solving", "data"),
)
@options.run_id
@options.option(
    "--optimum",
    "optima",
    metavar="N",
    multiple=True,
    help="Which labelling: 0 is the most coherent one, 1, 2, … those that `solve` found beside it, "
    "or all (repeatable)  [default: the labels chosen]",
)
@options.option(
    "--concept",
    "concepts",
    metavar="N",
    multiple=True,
    help="Instead: a concept of the census, on its sample: 1, 2, … as `concepts` numbers them, or "
    "all (repeatable).",
)
@options.dry_run
@options.as_json
def describe(
    config: Config,
    run_id: str | None,
    optima: tuple[str, ...],
    concepts: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """What separates the labels, in the model's own words.

    A model that can write is shown typical examples of each class under names that mean nothing,
    and asked for the difference. Each description is tested: how far does the model, given nothing
    else, label typical examples that were not shown as the run did? Answers go into the store, so
    that nothing is asked twice.
    """
    from consilience.concepts.description import DescribeOptions
    from consilience.models.base import check_writes

    if optima and concepts:
        raise InputError("--optimum and --concept name different labellings; leave one out")
    said = config.describing
    how = DescribeOptions(said.orders, said.typical, said.check, said.longest)
    solver = open_solver("lbfgs", config.solving.starts)
    store = config.output.store or options.STORE
    found = opened(store, run_id, solver, config=config)
    wanted = _concepts(found, concepts) or _optima(found, optima)
    price = open_price(config.budget)
    config = replace(config, output=replace(config.output, store=store))
    with open_model(config, dry=dry_run) as (model, db):
        check_writes(model)
        if model.name != found.run.model:
            talk(f"the labels are those of {found.run.model}, in the words of {model.name}")
        if dry_run:
            cost = _cost(wanted, model, db, how, price)
            named = ((key.replace("_", " "), value) for key, value in cost.items())
            pairs(cost.items() if as_json else named, as_json)
            return
        told = _described(wanted, model, db, how, config.model.concurrency, progress_bar(price))
    if as_json:
        plain = [_plain(one, made) for one, made in told]
        click.echo(dump({"run": found.run.id, "model": model.name, "labellings": plain}))
    for one, made in told:
        if not as_json:
            _show(one, made)
        _talk_of(one.title.lower(), made.asked, made.empty)


def _described(
    wanted: Sequence[_Labelling],
    model: Model,
    db: Store,
    how: DescribeOptions,
    concurrency: int,
    bar: ProgressBar,
) -> list[tuple[_Labelling, Described]]:
    """Each labelling with what the model says of it."""
    from consilience.concepts.description import describe as ask_for

    told = []
    for one in wanted:
        bar.begin(one.title.lower())
        given = one.dataset, one.labels, model
        made = ask_for(*given, store=db, how=how, concurrency=concurrency, progress=bar)
        told.append((one, made))
    return told


def _optima(found: Found, words: tuple[str, ...]) -> list[_Labelling]:
    """The optima that the words of --optimum name, in the order of their coherence."""
    chosen = found.orientation.optimum if found.orientation else 0
    count = len(found.solution.optima)
    there = (
        f"{f'0 to {count - 1}' if count > 1 else '0'}, or all; more solving.starts may find more"
    )
    made = []
    for n in _numbers("--optimum", words, range(count), there) or [chosen]:
        optimum = found.solution.optima[n]
        plain = {
            "optimum": n,
            "chosen": n == chosen,
            "coherence": optimum.coherence,
            "starts": optimum.starts,
        }
        head = f"Labelling {n}{' (chosen)' if n == chosen else ''}"
        tail = f"coherence {optimum.coherence:.3f}, found by {optimum.starts} starts"
        made.append(_Labelling(f"Labelling {n}", found.dataset, optimum.labels, head, tail, plain))
    return made


def _concepts(found: Found, words: tuple[str, ...]) -> list[_Labelling]:
    """The concepts that the words of --concept name, in the order of their rank."""
    if not words:
        return []
    check_census(found)
    count = len(found.concepts)
    there = f"{f'1 to {count}' if count > 1 else '1'}, or all"
    known = concept_rows(found)
    made = []
    for n in _numbers("--concept", words, range(1, count + 1), there):
        some, labels = within(found.dataset, found.concepts[n - 1])
        row = known[n - 1]
        plain = {"concept": n} | {k: v for k, v in row.items() if k != "number"}
        made.append(_Labelling(f"Concept {n}", some, labels, f"Concept {n}", standing(row), plain))
    return made


def _numbers(option: str, words: tuple[str, ...], known: range, there: str) -> list[int]:
    """The known numbers that the words of an option name, each once, in their order."""
    if "all" in words:
        return list(known)
    for word in words:
        if not word.isdecimal() or int(word) not in known:
            raise InputError(f"{option} {word}: this run has {there}")
    return sorted({int(word) for word in words})


def _cost(
    wanted: Sequence[_Labelling],
    model: Model,
    store: Store,
    how: DescribeOptions,
    price: Price | None,
) -> dict[str, Any]:
    """What describing them takes at most; what optima of one data set have in common counts once.

    Concepts are on samples of their own.
    """
    from consilience.concepts.description import foreseen

    first = wanted[0].dataset
    if all(one.dataset is first for one in wanted):
        labels = [one.labels for one in wanted]
        return dict(foreseen(first, labels, model, store=store, how=how, price=price))
    each = [
        foreseen(one.dataset, [one.labels], model, store=store, how=how, price=price)
        for one in wanted
    ]
    return {
        key: None if value is None else sum(cost[key] for cost in each)
        for key, value in each[0].items()
    }


def _talk_of(title: str, asked: CallCounts, empty: int) -> None:
    talk(
        f"{title}: {counted(asked.calls, 'call')} made ({asked.prompt_tokens:,} prompt tokens), "
        f"{counted(asked.known, 'answer')} found in the store"
    )
    if empty:
        talk(f"{empty} of the texts are empty: a larger describing.longest may help")
    if asked.failures:
        talk(first_failure(asked))


def _examples(one: _Labelling, made: Described) -> list[dict[str, Any]]:
    """The typical examples of each class that were shown, the surest first."""
    return [
        {
            "class": one.dataset.task.classes[c],
            "id": one.dataset.own_id(one.dataset.ids[i]),
            "probability": float(one.labels[i, c]),
            "text": one.dataset.texts[i],
        }
        for c, own in zip(made.typical.classes, made.typical.shown, strict=True)
        for i in own
    ]


def _plain(one: _Labelling, made: Described) -> dict[str, Any]:
    names = one.dataset.task.classes
    return {
        **one.plain,
        "counts": one.counts,
        "descriptions": [
            {
                "text": d.text,
                "groups": {f"Group {g + 1}": names[c] for g, c in enumerate(d.groups)},
                "agreement": d.agreement,
                "checked": d.checked,
                "guess": d.guess,
                "key": d.key,
            }
            for d in made.descriptions
        ],
        "typical": _examples(one, made),
        "calls": made.asked.calls,
        "known": made.asked.known,
        "failed": len(made.asked.failures),
        "empty": made.empty,
    }


def _show(one: _Labelling, made: Described) -> None:
    names = one.dataset.task.classes
    counted = ", ".join(f"{count:,} {name}" for name, count in one.counts.items())
    say(f"{one.head}: {counted}; {one.tail}. Best description {made.descriptions[0].sentence}.")
    table = [
        {
            **{f"Group {g + 1}": names[c] for g, c in enumerate(d.groups)},
            "agreement": f"{d.agreement:.0%} of {d.checked}" if d.checked else None,
            "description": d.text,
        }
        for d in made.descriptions
    ]
    rows(table, as_json=False)
    examples = _examples(one, made)
    few = [
        example
        for c in made.typical.classes
        for example in [e for e in examples if e["class"] == names[c]][:EXAMPLES]
    ]
    rows([{key: e[key] for key in ("class", "probability", "text")} for e in few], as_json=False)
