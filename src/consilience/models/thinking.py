"""Models that think before they answer: how it shows, and how servers switch it off.

The first token of such a model opens its thoughts, and how probable a label is instead of that
says nothing of the question.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from consilience.errors import ModelError
from consilience.models.label_logprobs import Token, read_labels

OPENING = re.compile(r"^\s*[<\[◁｜|].{0,12}(think|thought|reason|channel|analysis)", re.IGNORECASE)
"""A token that opens thoughts: <think>, [THINK], <|channel|>, <seed:think>, ◁think▷, <thought>."""

LIKELY = 0.5
"""A model thinks that is likelier to open its thoughts than to say anything else."""

ANSWERS = 0.1
"""With so much probability on the labels a model answers, thoughts switched off."""

SWITCHES: tuple[Mapping[str, Any], ...] = (
    {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    {"reasoning_effort": "none"},
    {"reasoning": {"enabled": False}},
    {"think": False},
    {"thinking": {"type": "disabled"}},
)
"""Fields that switch thinking off: vLLM, SGLang and llama-server by the chat template; OpenAI and
Ollama; OpenRouter; Ollama; DeepSeek, GLM and Kimi."""


def label_mass(tokens: Sequence[Token], names: Sequence[str]) -> float:
    """The probability of all labels together that a next-token list shows."""
    return read_labels(tokens, names).mass


def thinking(response: Mapping[str, Any], tokens: Sequence[Token]) -> str | None:
    """What opens the thoughts of a model that thinks first; None of one that answers."""
    choice = response["choices"][0]
    message = choice.get("message")
    if isinstance(message, Mapping) and not message.get("content"):
        for name in ("reasoning_content", "reasoning"):
            if isinstance(message.get(name), str) and message[name].strip():
                return f"its field {name}"
    opens = [t for t in tokens if OPENING.match(t.text)]
    if math.fsum(math.exp(t.logprob) for t in opens) < LIKELY:
        return None
    return repr(max(opens, key=lambda t: t.logprob).text)


def still_thinking(what: str, opening: str, mass: float, names: Sequence[str]) -> ModelError:
    """The error for a model whose thinking nothing switched off."""
    tried = ", ".join(json.dumps(switch) for switch in SWITCHES)
    return ModelError(
        f"{what}: the model thinks before it answers: it begins with {opening}, and of its "
        f"probability {mass:.2g} falls on the labels {', '.join(map(repr, names))}, so that no "
        f"label can be read; thinking could not be switched off with {tried}: serve the model "
        "without it, try --set model.api=completions, or take a model that answers at once",
        fatal=True,
    )
