"""Vectors from the `/v1/embeddings` endpoint of an OpenAI-compatible server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack

from consilience.errors import AnswerError
from consilience.models.address import KEY
from consilience.models.server import Server, ServerOptions

_MOST = 64 * 2**20
"""Bytes of an answer that are read: 64 vectors of 16,384 numbers."""


async def fetch_embeddings(
    base_url: str,
    model: str,
    texts: Sequence[str],
    batch: int = 64,
    key: str = KEY,
    **options: Unpack[ServerOptions],
) -> list[list[float]]:
    """One vector per text, as the server gives it; ServerError or AnswerError in one line.

    Asked as floats, because base64 is not served everywhere, and ordered by the `index` that
    comes back, because servers need not keep the order.
    """
    server = Server(base_url, model, key=key, **options)
    found: list[list[float]] = []
    try:
        for at in range(0, len(texts), batch):
            part = list(texts[at : at + batch])
            body = {"model": model, "input": part, "encoding_format": "float"}
            read = partial(vectors_of, count=len(part))
            found += (await server.call("POST", "/embeddings", body, read, most=_MOST))[1]
        if len(lengths := {len(vector) for vector in found}) > 1:
            raise AnswerError(
                f"POST {server.base_url}/embeddings, model {model!r}: the embeddings have "
                f"{len(lengths)} different lengths; serve a model whose embeddings have one"
            )
    finally:
        await server.close()
    return found


def vectors_of(answer: Any, count: int) -> list[list[float]]:  # noqa: ANN401 (JSON)
    """The `count` vectors of an answer in the order of the texts; AnswerError otherwise."""
    entries = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or len(entries) != count:
        raise AnswerError(f"{count} embeddings were asked for, and did not come back")
    if not all(isinstance(entry, dict) for entry in entries):
        raise AnswerError("an embedding is not an object with an index")
    by_index = {str(entry.get("index")): entry.get("embedding") for entry in entries}
    vectors: list[list[float]] = []
    for i in range(count):
        vector = by_index.get(str(i))
        if (
            not isinstance(vector, list)
            or not vector
            or not all(isinstance(x, int | float) for x in vector)
        ):
            raise AnswerError(
                "an embedding is not a list of numbers (a causal language model gives one vector "
                "per token); serve an embedding model"
            )
        if not all(math.isfinite(x) for x in vector):
            raise AnswerError("an embedding is not finite")
        vectors.append(vector)
    return vectors
