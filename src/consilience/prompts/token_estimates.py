"""The length of a prompt in characters, and characters per token where nobody has counted."""

from __future__ import annotations

from consilience.prompts.framing import Prompt

CHARACTERS_PER_TOKEN = 4.0


def round_up(value: float) -> int:
    """The next whole number: an estimate of a cost is not rounded down."""
    return int(-(-value // 1))


def characters_in(prompt: Prompt) -> int:
    """The characters of a prompt, without what a template adds to messages."""
    if isinstance(prompt, str):
        return len(prompt)
    return sum(len(message["content"]) for message in prompt)
