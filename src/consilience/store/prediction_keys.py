"""The identities of predictions, known before they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from consilience.models.base import Model, Request
from consilience.store.identities import canonical_text, dump
from consilience.store.prompt_heads import head_of
from consilience.store.schema import list_text


def prediction_key(model: Model, request: Request) -> str:
    """The identity of a prediction, ``sha256:…``, before it is asked.

    StoreError if the model's settings are not plain JSON data.
    """
    return next(prediction_keys(model, [request]))


def prediction_keys(model: Model, requests: Iterable[Request]) -> Iterator[str]:
    """The identities of predictions, in their order; what they share is hashed once."""
    name = dump(model.name)
    repeats = cache(dump)
    settings = canonical_text(model.settings)
    for request in requests:
        before = f'{{"label_names":{list_text(tuple(request.label_names))},"model":{name},"prompt":'
        after = f',"repeat":{repeats(request.query.repeat)},"settings":{settings}}}'
        yield "sha256:" + head_of(request).hashed(before, request.prompt, after)
