"""The part of a prompt that a block of questions shares, written as JSON and hashed once.

A prompt of 24 shots is some kilobytes, of which a question's own are the last hundred.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from json import JSONEncoder
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from consilience.models.base import Request
from consilience.prompts.framing import Prompt
from consilience.prompts.shared_prefixes import common_length
from consilience.store.identities import HASHED_JSON, STORED_JSON, dump

_MOST_KNOWN = 1024
"""So many heads are remembered."""


class Halves(NamedTuple):
    """The JSON of a prompt: what others share with it, and the rest."""

    head: str
    tail: str


class PromptHead:
    """What prompts under the same shots begin with."""

    def __init__(self, part: Prompt) -> None:
        self.part = part
        self.length = len(part)
        self.compact = _opened(STORED_JSON, part)
        # The same where it is a text.
        self.canonical = self.compact if isinstance(part, str) else _opened(HASHED_JSON, part)
        self._hashed: dict[str, Any] = {}

    def begins(self, prompt: Prompt) -> bool:
        """Whether a prompt begins with it, and has more."""
        if isinstance(prompt, str):
            return isinstance(self.part, str) and prompt.startswith(self.part)
        return len(prompt) > self.length and prompt[: self.length] == self.part

    def halves(self, prompt: Prompt) -> Halves:
        """The JSON of a prompt that begins with it."""
        return Halves(self.compact, _written(STORED_JSON, prompt[self.length :])[1:])

    def hashed(self, before: str, prompt: Prompt, after: str) -> str:
        """The SHA-256 of a prompt's canonical JSON between two texts, in hexadecimal digits."""
        if (known := self._hashed.get(before)) is None:
            known = hashlib.sha256((before + self.canonical).encode("ascii"))
            self._hashed[before] = known
        whole = known.copy()
        rest = _written(HASHED_JSON, prompt[self.length :])
        whole.update(f"{rest[1:]}{after}".encode("ascii"))
        return str(whole.hexdigest())


def _written(encoder: JSONEncoder, part: Prompt) -> str:
    # What the encoder does with a text in the end.
    return encode_basestring_ascii(part) if isinstance(part, str) else encoder.encode(part)


def _opened(encoder: JSONEncoder, part: Prompt) -> str:
    """The JSON of a part of a prompt, to be gone on with."""
    text = encoder.encode(part)[:-1]
    return text + "," if part and not isinstance(part, str) else text


_KNOWN: dict[tuple[int, str], tuple[object, PromptHead]] = {}


def head_of(request: Request) -> PromptHead:
    """The head of a prompt; requests with one list of shots have one, as far as they begin alike.

    StoreError where the prompt is not plain JSON data.
    """
    shots, prompt = request.query.shots, request.prompt
    # By what it is, not by what is in it: that would be hashed each time.
    name = id(shots), request.query.framing
    held, known = _KNOWN.get(name, (None, None))
    if held is shots and known is not None and known.begins(prompt):
        return known
    dump(prompt)  # so that what is no JSON is refused in a line
    found = PromptHead(_begun(prompt, known if held is shots else None))
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[name] = shots, found
    return found


def _begun(prompt: Prompt, known: PromptHead | None) -> Prompt:
    """Where the target begins, as prompts are rendered: behind a blank line, or in a new turn.

    Where what is known of others is no beginning of this one, what both begin with.
    """
    if not isinstance(prompt, str):
        turns = [i for i, turn in enumerate(prompt) if _asks(turn)]
        return prompt[: turns[-1] if turns else 0]
    end = prompt.rfind("\n\n") + 2 if "\n\n" in prompt else 0
    if known is not None and isinstance(known.part, str):
        common = common_length(known.part, prompt)
        end = common if 2 * common > end else end
    return prompt[:end]


def _asks(turn: object) -> bool:
    return isinstance(turn, Mapping) and turn.get("role") == "user"
