"""A plan asked by workers of Ray: queries go out as tables, and answers come back as they are made.

Workers ask by the same client, with the same bodies and the same parser; what they bring is judged
and kept by the same runner, here, where the store is. So the predictions are those of the engine in
this process, and what is in the store is not asked again.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from consilience.errors import AnswerError, MissingExtra, ModelError, NoLogprobs, ServerError
from consilience.models import open_model
from consilience.models.base import Answer, Model, Request
from consilience.models.capabilities import Capabilities
from consilience.models.endpoints import Endpoints
from consilience.models.event_loop import run
from consilience.models.server import RetryPolicy
from consilience.prompts.framing import Style
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.prediction_keys import prediction_key
from consilience.store.runner import CallCounts, ask

if TYPE_CHECKING:
    from pyarrow import Table

PER_TASK = 64
"""So many queries are one task: what a worker that dies has to ask again at most."""

_ERRORS: dict[str, type[ModelError]] = {
    kind.__name__: kind for kind in (ServerError, AnswerError, NoLogprobs, ModelError)
}


@dataclass(frozen=True)
class ServedModel:
    """A model on servers, as its workers open it: name, servers with their capabilities, options.

    `options` are those of `open_model`; the API key is read from each worker's own environment.
    """

    name: str
    servers: Mapping[str, Capabilities]
    options: Mapping[str, Any] = field(default_factory=dict)

    def opened(self) -> Model:
        """The model; where it has several servers, each is tried once before the next."""
        options = dict(self.options)
        if len(self.servers) > 1:
            options["patience"] = replace(options.get("patience") or RetryPolicy(), attempts=1)
        models = [
            open_model(self.name, base_url=url, capabilities=found, **options)
            for url, found in self.servers.items()
        ]
        return models[0] if len(models) == 1 else Endpoints(models)


def ask_on_ray(
    planned: Sequence[tuple[str, Request]],
    served: ServedModel,
    store: Store,
    *,
    workers: int = 2,
    concurrency: int = 16,
) -> CallCounts:
    """Asks what the store does not hold yet on Ray; returns what it took, as `ask` does.

    Each of the `workers` has `concurrency` requests under way. A Ray that runs is used (RAY_ADDRESS
    or `ray.init`), else one is started here. MissingExtra without Ray.
    """
    data = _ray_data()
    known = store.known([key for key, _ in planned])
    todo = {key: request for key, request in planned if key not in known}
    total = CallCounts(known=len(planned) - len(todo))
    if not todo:
        return total
    _start_ray()
    rows = data.from_arrow(list(query_tables(todo, PER_TASK))).map_batches(
        RayWorker,
        fn_constructor_args=(served, concurrency),
        batch_size=None,
        batch_format="pyarrow",
        compute=data.ActorPoolStrategy(size=workers),
        num_cpus=0.5,
    )
    model = served.opened()
    tables: Iterable[Table] = rows.iter_batches(batch_size=None, batch_format="pyarrow")
    for table in tables:
        total += keep_answers(table, todo, model, store)
    return total


def _ray_data() -> ModuleType:
    """The module `ray.data`; MissingExtra without Ray."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return import_module("ray.data")
    except ImportError as error:
        raise MissingExtra("the engine ray", "ray") from error


def _start_ray() -> None:
    """A Ray that runs, and shows nothing of its own."""
    import ray

    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    context = _ray_data().DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False


def keep_answers(
    table: Table, asked: Mapping[str, Request], model: Model, store: Store
) -> CallCounts:
    """Puts what a worker brought into the store, judged as if it had been asked here."""
    said = [json.loads(row) for row in table["row"].to_pylist()]
    given = _Given(model, {row["prediction_id"]: row for row in said})
    return ask([(key, asked[key]) for key in given.said], given, store, concurrency=1)


class _Given:
    """A model that has been asked elsewhere: it says again what it said there."""

    def __init__(self, model: Model, said: Mapping[str, Mapping[str, Any]]) -> None:
        self.name: str = model.name
        self.style: Style = model.style
        self.settings: Mapping[str, Any] = model.settings
        self.said = said

    async def ask(self, request: Request) -> Answer:
        row = self.said[prediction_key(self, request)]
        if "error" in row:
            error = _ERRORS[row["kind"]](row["error"], body=row["body"])
            error.fatal, error.reason = row["fatal"], row["reason"]
            raise error
        logprobs, exact = tuple(row["logprobs"]), tuple(row["exact"])
        return Answer(logprobs, exact, row["mass"], row["usage"], row["raw"])


def query_tables(todo: Mapping[str, Request], size: int) -> Iterator[Table]:
    """The queries as tables of so many rows: id, prompt and label names."""
    import pyarrow as pa

    rows = [
        {"prediction_id": key, "prompt": json.dumps(r.prompt), "label_names": list(r.label_names)}
        for key, r in todo.items()
    ]
    for start in range(0, len(rows), size):
        yield pa.Table.from_pylist(rows[start : start + size])


class RayWorker:
    """A process of Ray that asks: from a table of queries it makes one of answers, as JSON."""

    def __init__(self, served: ServedModel, concurrency: int) -> None:
        self._concurrency = concurrency
        self._model = served.opened()

    def __call__(self, table: Table) -> Table:
        """The answers to a table of queries."""
        import pyarrow as pa

        rows = run(self._ask(table.to_pylist()))
        return pa.table({"row": [json.dumps(row) for row in rows]})

    async def _ask(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        free = asyncio.Semaphore(self._concurrency)

        async def one(row: Mapping[str, Any]) -> dict[str, Any]:
            async with free:
                return await self._one(row)

        try:
            return await asyncio.gather(*(one(row) for row in rows))
        finally:
            if (close := getattr(self._model, "close", None)) is not None:
                await close()

    async def _one(self, row: Mapping[str, Any]) -> dict[str, Any]:
        query = Query(row["prediction_id"])
        request = Request(query, json.loads(row["prompt"]), tuple(row["label_names"]))
        try:
            answer = await self._model.ask(request)
        except ModelError as error:
            return {
                "prediction_id": row["prediction_id"],
                "kind": next(
                    (n for n, k in _ERRORS.items() if isinstance(error, k)), "ServerError"
                ),
                "error": str(error),
                "body": error.body,
                "fatal": error.fatal,
                "reason": error.reason,
            }
        return {
            "prediction_id": row["prediction_id"],
            "logprobs": answer.logprobs,
            "exact": answer.exact,
            "mass": answer.mass,
            "usage": dict(answer.usage),
            "raw": answer.raw,
        }
