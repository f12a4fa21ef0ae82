"""What a model is to this package: something with a name that answers one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from consilience.prompts import Prompt, Style
from consilience.query import Query


@dataclass(frozen=True, slots=True)
class Request:
    """One question as the model gets it: the query, its prompt, and the string for each class."""

    query: Query
    prompt: Prompt
    label_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said of each label.

    `logprobs[c]` is the log-probability (nats) of the string that stands for class c, not
    normalised over the labels; where `exact[c]` is False the label was not in the list and the
    value is an upper bound. `mass` is the probability of all labels together (of the exact ones,
    where some are bounded); low mass says that the prompt or the label names are wrong. `usage`
    and `raw` are what the server sent, as plain JSON data.
    """

    logprobs: tuple[float, ...]
    exact: tuple[bool, ...]
    mass: float
    usage: Mapping[str, Any] = field(default_factory=dict)
    raw: Any = None


@runtime_checkable
class Model(Protocol):
    """Anything that can be asked; the three attributes are part of a prediction's identity.

    `settings` are the sampling settings (temperature, top_p, endpoint kind, …) and never the
    transport's (time-outs, retries, concurrency). Models may also have `async def close()`.
    """

    @property
    def name(self) -> str:
        """The model's name, as the user gave it."""
        ...

    @property
    def style(self) -> Style:
        """How prompts are rendered for it."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What changes its answers, as plain JSON data."""
        ...

    async def ask(self, request: Request) -> Answer:
        """The answer to one request; raises ModelError, never invents a value."""
        ...
