"""The requests of a round, their prompts written as they are needed.

The prompts of a round of a million rows are some gigabytes; their keys and queries are not.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from itertools import takewhile
from typing import TypeVar, overload

from consilience.data.dataset import Dataset
from consilience.models.base import Model, Request
from consilience.prompts.framing import Framing, Prompt, render_shots, render_target
from consilience.prompts.query import Query
from consilience.prompts.shared_prefixes import flat
from consilience.store.prediction_keys import prediction_keys

_R = TypeVar("_R")

Shots = tuple[tuple[str, int], ...]


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
        self._last: tuple[str, Shots, Prompt] | None = None

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
        return list(prediction_keys(self._model, self.written()))

    def written(self) -> Iterator[Request]:
        """Each request, without its key."""
        return map(self._request, self.queries)

    def by_prefix(self) -> PlannedRequests:
        """The same requests, each after the one that it shares most of its prompt with.

        A cache that holds the last prompt alone then serves as much of them as one that holds all.
        """
        blocks: dict[tuple[str, Shots], list[int]] = {}
        for i, query in enumerate(self.queries):
            blocks.setdefault((query.framing, query.shots), []).append(i)
        data = self._dataset

        def shared(block: list[int]) -> str:
            return flat(self._shared(self.queries[block[0]]))

        def target(i: int) -> str:
            return data.texts[data.index[self.queries[i].target]]

        order = [
            i for block in sorted(blocks.values(), key=shared) for i in sorted(block, key=target)
        ]
        made = copy(self)
        made.queries = [self.queries[i] for i in order]
        made.__dict__["all_keys"] = [self.all_keys[i] for i in order]
        return made

    def _request(self, query: Query) -> Request:
        framing, data = self._framings[query.framing], self._dataset
        target = data.texts[data.index[query.target]]
        prompt = render_target(framing, self._shared(query), target, self._model.style)
        return Request(query, prompt, framing.label_names)

    def _shared(self, query: Query) -> Prompt:
        """What a prompt has in common with all others under the same shots."""
        framing, data = self._framings[query.framing], self._dataset
        # The queries of a block stand together.
        last = self._last
        if last is None or last[0] != framing.name or last[1] is not query.shots:
            shots = [(data.texts[data.index[id]], label) for id, label in query.shots]
            last = framing.name, query.shots, render_shots(framing, shots, self._model.style)
            self._last = last
        return last[2]


class Unasked(Mapping[str, _R]):
    """Some of the requests, by key, in their order."""

    def __init__(self, planned: Sequence[tuple[str, _R]], places: Mapping[str, int]) -> None:
        self._planned, self._places = planned, places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, key: str) -> _R:
        return self._planned[self._places[key]][1]

    def families(self) -> list[list[str]]:
        """The keys in their order, those that follow each other and begin alike together."""
        families: list[list[str]] = []
        before: Query | None = None
        for key, at in self._places.items():
            query = self._query(at)
            if before is None or query is None or not _begin_alike(before, query):
                families.append([])
            families[-1].append(key)
            before = query
        return families

    def _query(self, at: int) -> Query | None:
        """What is asked at a place; None where it is no question about a row."""
        if isinstance(self._planned, PlannedRequests):
            return self._planned.queries[at]
        request = self._planned[at][1]
        return request.query if isinstance(request, Request) else None


def _begin_alike(a: Query, b: Query) -> bool:
    """Whether at least half of the longer list of shots stands at the beginning of both."""
    if a.framing != b.framing or not a.shots or not b.shots:
        return False
    if a.shots is b.shots:
        return True
    most = max(len(a.shots), len(b.shots))
    common = takewhile(lambda pair: pair[0] == pair[1], zip(a.shots, b.shots, strict=False))
    return 2 * sum(1 for _ in common) >= most


def keys_of(planned: Sequence[tuple[str, object]]) -> Sequence[str]:
    """The key of each request, without writing its prompt where that is still to be done."""
    return planned.all_keys if isinstance(planned, PlannedRequests) else [key for key, _ in planned]


def unasked(planned: Sequence[tuple[str, _R]], known: Container[str]) -> Unasked[_R]:
    """The requests whose keys are not known, each once."""
    places = {key: i for i, key in enumerate(keys_of(planned)) if key not in known}
    return Unasked(planned, places)
