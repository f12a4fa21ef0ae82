"""The list of models of a server, which many keys may not read."""

from __future__ import annotations

from collections.abc import Mapping

from consilience.errors import AnswerError, InputError, ServerError
from consilience.models.server import RetryPolicy, Server

LONGEST_NAME = 200
"""Characters of a model's name that are shown."""


async def only_model(
    base_url: str,
    *,
    patience: RetryPolicy | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """The one model that a server lists; InputError with the list where there are others."""
    waiting = patience or RetryPolicy(attempts=3, total=180)
    server = Server(base_url, "?", patience=waiting, headers=headers)
    try:
        _, names = await server.call("GET", "/models", None, read_models)
    except (ServerError, AnswerError) as error:
        raise InputError(
            f"the list of models cannot be read; name the model with --model ({error})"
        ) from error
    finally:
        await server.close()
    if len(names) != 1:
        listed = ", ".join(name[:LONGEST_NAME] for name in names[:20]) or "none"
        raise InputError(f"{server.base_url} lists these models: {listed}; say which with --model")
    return names[0]


def read_models(answer: object) -> list[str]:
    """The names in a list of models, wrapped in an object or not."""
    data = answer.get("data") if isinstance(answer, Mapping) else answer
    if not isinstance(data, list):
        raise AnswerError("no list of models")
    ids = (entry.get("id") for entry in data if isinstance(entry, Mapping))
    return [id for id in ids if isinstance(id, str)]
