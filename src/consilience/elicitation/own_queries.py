"""Queries that may come from anybody, checked before they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from consilience.data.dataset import Dataset
from consilience.errors import InputError, check_kind
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query


def check_queries(queries: Sequence[Query], dataset: Dataset, framings: Sequence[Framing]) -> None:
    """Nothing, or the InputError that a query fits neither the data set nor the framings.

    Queries of a block share their list of shots, which is looked at once.
    """
    names = [framing.name for framing in framings]
    shown: dict[int, frozenset[str]] = {}
    for query in queries:
        check_kind(query, Query, "what is asked is a Query")
        if query.framing not in names:
            raise InputError(f"no framing {query.framing!r}; this run has: {', '.join(names)}")
        if query.target not in dataset.index:
            raise InputError(f"a query is about {query.target!r}, which is no id of an example")
        ids = shown.get(id(query.shots))
        if ids is None:
            ids = shown[id(query.shots)] = _checked_shots(query, dataset)
        if query.target in ids:
            raise InputError(f"a query shows its own target {query.target} as a shot; take it out")
        if query.contrast is not None and not 0 <= query.contrast < len(query.shots):
            raise InputError(
                f"the contrast of a query is the place of a shot, from 0; got {query.contrast} of "
                f"{len(query.shots)} shots"
            )


def _checked_shots(query: Query, dataset: Dataset) -> frozenset[str]:
    """The ids of the shots of a query; InputError where one is no example or has no class."""
    for id, label in query.shots:
        if id not in dataset.index:
            raise InputError(f"a query shows {id!r} as a shot, which is no id of an example")
        if not isinstance(label, Integral) or not 0 <= label < dataset.task.k:
            raise InputError(
                f"a query shows {id} as of class {label!r}; the task has the classes 0 … "
                f"{dataset.task.k - 1}"
            )
    return frozenset(id for id, _ in query.shots)
