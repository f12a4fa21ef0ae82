"""How many tokens a server's model reads at most, where the server tells.

In the entry of the list of models (vLLM, SGLang, LiteLLM, OpenRouter, Groq, Together, Mistral, LM
Studio each have a name for it), and of a llama-server in its properties, for one of its slots.
"""

from __future__ import annotations

from collections.abc import Mapping

from consilience.errors import AnswerError, ServerError
from consilience.models.server import Connection

NAMES = (
    *("max_model_len", "loaded_context_length", "context_length", "context_window"),
    *("max_context_length", "max_input_tokens"),
)
"""What the number is called in the entry of a model, the one that is served before others."""


def context_listed(answer: object, model: str) -> int | None:
    """The number in a model's entry of a list of models, None where it is not there."""
    data = answer.get("data") if isinstance(answer, Mapping) else answer
    for entry in data if isinstance(data, list) else ():
        if isinstance(entry, Mapping) and entry.get("id") == model:
            return next((n for name in NAMES if (n := _count(entry.get(name)))), None)
    return None


async def context_of_slot(server: Connection) -> int | None:
    """The number that a llama-server has in its properties; None where they are not shown."""
    try:
        _, found = await server.call("GET", "/props", None, _read_properties, root=True)
    except (ServerError, AnswerError):  # an old one, or one that may not be asked
        return None
    return found


def _read_properties(answer: object) -> int | None:
    settings = answer.get("default_generation_settings") if isinstance(answer, Mapping) else None
    return _count(settings.get("n_ctx")) if isinstance(settings, Mapping) else None


def _count(value: object) -> int | None:
    """A number of tokens, None for what is none."""
    return value if type(value) is int and value > 0 else None
