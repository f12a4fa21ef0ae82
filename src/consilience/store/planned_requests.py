"""The requests of a round, their prompts written as they are needed.

The prompts of a round of a million rows are some gigabytes; their keys and queries are not.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeVar, overload

from consilience.data.dataset import Dataset
from consilience.models.base import Model, Request
from consilience.prompts.framing import Framing, Prompt, render_shots, render_target
from consilience.prompts.query import Query
from consilience.store.database import prediction_key

_R = TypeVar("_R")


class PlannedRequests(Sequence[tuple[str, Request]]):
    """Each query with its prompt, under its key in the store.

    LookupError for a query about nobody in the data set, or in a framing that is not there.
    """

    def __init__(
        self, queries: Sequence[Query], dataset: Dataset, framings: Sequence[Framing], model: Model
    ) -> None:
        self.queries = queries
        self._dataset, self._model = dataset, model
        self._framings = {framing.name: framing for framing in framings}
        self._last: tuple[str, tuple[tuple[str, int], ...], Prompt] | None = None

    def __len__(self) -> int:
        return len(self.queries)

    @overload
    def __getitem__(self, at: int) -> tuple[str, Request]: ...
    @overload
    def __getitem__(self, at: slice) -> list[tuple[str, Request]]: ...
    def __getitem__(self, at: int | slice) -> tuple[str, Request] | list[tuple[str, Request]]:
        if isinstance(at, slice):
            return [self[i] for i in range(len(self))[at]]
        return self.all_keys[at], self._request(self.queries[at])

    def __iter__(self) -> Iterator[tuple[str, Request]]:
        yield from zip(self.all_keys, self.written(), strict=True)

    @cached_property
    def all_keys(self) -> list[str]:
        """The key of each, in their order; not `keys`, which would make a mapping of this."""
        return [prediction_key(self._model, request) for request in self.written()]

    def written(self) -> Iterator[Request]:
        """Each request, without its key."""
        return map(self._request, self.queries)

    def _request(self, query: Query) -> Request:
        framing = self._framings[query.framing]
        data, style = self._dataset, self._model.style
        # The queries of a block stand together and have their shots in common.
        last = self._last
        if last is None or last[0] != framing.name or last[1] is not query.shots:
            shots = [(data.texts[data.index[id]], label) for id, label in query.shots]
            last = framing.name, query.shots, render_shots(framing, shots, style)
            self._last = last
        target = data.texts[data.index[query.target]]
        prompt = render_target(framing, last[2], target, style)
        return Request(query, prompt, framing.label_names)


class _Waiting(Mapping[str, _R]):
    """Some of the requests, by key, in their order."""

    def __init__(self, planned: Sequence[tuple[str, _R]], places: Mapping[str, int]) -> None:
        self._planned, self._places = planned, places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, key: str) -> _R:
        return self._planned[self._places[key]][1]


def keys_of(planned: Sequence[tuple[str, object]]) -> Sequence[str]:
    """The key of each request, without writing its prompt where that is still to be done."""
    return planned.all_keys if isinstance(planned, PlannedRequests) else [key for key, _ in planned]


def unasked(planned: Sequence[tuple[str, _R]], known: Container[str]) -> Mapping[str, _R]:
    """The requests whose keys are not known, each once."""
    places = {key: i for i, key in enumerate(keys_of(planned)) if key not in known}
    return _Waiting(planned, places)
