"""What a model is to this package: something with a name that answers one request, or writes."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, get_args, runtime_checkable

from consilience.errors import InputError, check_kind
from consilience.prompts.framing import Prompt, Style
from consilience.prompts.query import Query

MOST_COUNTED = 10**15
"""A count of tokens that is larger is none."""


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


def plain_usage(usage: Mapping[Any, Any]) -> dict[str, Any]:
    """The finite numbers of a usage, and those of the mappings in it; nothing else can be added."""
    found: dict[str, Any] = {}
    for key, value in usage.items():
        if type(value) in (int, float):
            if math.isfinite(value):
                found[str(key)] = value
        elif isinstance(value, Mapping):
            found[str(key)] = plain_usage(value)
    return found


def count_in(usage: Mapping[str, Any], name: str) -> int:
    """A count of a usage as a whole number; 0 where it is none, whatever stands there."""
    value = usage.get(name, 0)
    return int(value) if type(value) in (int, float) and 0 <= value <= MOST_COUNTED else 0


@runtime_checkable
class Model(Protocol):
    """Anything that can be asked; the three attributes are part of a prediction's identity.

    `settings` are the sampling settings (temperature, top_p, endpoint kind, …) and never the
    transport's (time-outs, retries, concurrency). Models may also have `async def close()`;
    `async def slots()`, the number of prompts that a server keeps, each in a slot (see `slots`), or
    None; and `swappable`, True where another model may be put behind the name and nobody says so.
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


def check_model(model: object) -> None:
    """InputError for what is no model: a text, a class, or an object that lacks a part of one."""
    if isinstance(model, str | type) or not hasattr(model, "ask"):
        check_kind(model, (), "a model is what open_model('openai:NAME') gives, or has its methods")
    lacking = [name for name in ("name", "style", "settings") if not hasattr(model, name)]
    if lacking:
        kind = type(model).__name__
        raise InputError(f"a model has a name, a style and settings; {kind} has no {lacking[0]}")
    assert isinstance(model, Model)
    check_kind(model.name, str, "the name of a model is a text")
    if model.style not in get_args(Style):
        raise InputError(
            f"the style of {model.name} is one of {', '.join(get_args(Style))}; got {model.style!r}"
        )
    check_kind(model.settings, Mapping, f"the settings of {model.name} are a dictionary")


async def answer_of(model: Model, request: Request) -> Answer:
    """The answer of a model to one request; InputError where `ask` is not `async` or gives none."""
    said: object = model.ask(request)
    if not isinstance(said, Awaitable):
        check_kind(said, (), f"`ask` of {model.name} is to be written with `async def`")
    answer: object = await cast(Awaitable[object], said)
    check_kind(answer, Answer, f"`ask` of {model.name} is to return an Answer")
    return cast(Answer, answer)


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after a prompt, as it came; it may be empty.

    `usage` and `raw` are what the server sent, as plain JSON data.
    """

    text: str
    usage: Mapping[str, Any] = field(default_factory=dict)
    raw: Any = None


@runtime_checkable
class Writer(Protocol):
    """A model that can also write, always what it holds most likely, word for word.

    `writing` stands in a text's identity where `Model.settings` stands in a prediction's.
    """

    @property
    def name(self) -> str:
        """The model's name, as the user gave it."""
        ...

    @property
    def style(self) -> Style:
        """How prompts are rendered for it: text, else messages."""
        ...

    @property
    def writing(self) -> Mapping[str, Any]:
        """What changes its texts, besides their greatest length, as plain JSON data."""
        ...

    async def write(self, prompt: Prompt, max_tokens: int) -> Completion:
        """What it writes next, up to a blank line or so many tokens; raises ModelError."""
        ...


def check_writes(model: Model) -> Writer:
    """The model, where it can write; InputError where it cannot."""
    if isinstance(model, Writer):
        return model
    raise InputError(
        f"{model.name} does not write text; use a model on a server (openai:NAME) or in this "
        "process (local:FOLDER_OR_HUB_ID)"
    )
