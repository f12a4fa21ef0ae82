"""A pseudo language model whose next-token distribution is a hash of the prompt, and a fate.

`PseudoModel` gives the tests of HTTP clients a truth to compare with; `Faults` decides which
question goes wrong, and how.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

NAMES = ("True", "true", "False", "false", "A", "B", "C", "D", "Yes", "No")
LABELS = [space + name for name in NAMES for space in (" ", "") if len(space + name) > 1]
OTHERS = (
    *("untrue", " untrue", " the", " a", " is", " of", " it", " and", " not", " maybe", " Mostly"),
    *("Label", " right", " wrong", " claim", " water", " stone", " bird", " north"),
    *(" seven", " days", " week", " Paris", " snow", " fire", " warm", " capital", " France"),
)
TURNS = ("<|user|>", "<|assistant|>", "<|end|>")
TWIN, NEVER = b" True", b" never"  # a second token that decodes to " True"; one of probability 0
VOCABULARY = [
    *(bytes([i]) for i in range(256)),
    *(word.encode() for word in (*LABELS, *OTHERS, *TURNS)),
    *(TWIN, NEVER),
]
IDS = {word: i for i, word in reversed(list(enumerate(VOCABULARY)))}
PIECES = re.compile(
    b"|".join(re.escape(w) for w in sorted(VOCABULARY, key=len, reverse=True)), re.DOTALL
)


def tokenize(text: str) -> list[int]:
    """The ids of a text, the longest pieces first."""
    return [IDS[piece] for piece in PIECES.findall(text.encode())]


def number_of(*parts: object) -> int:
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True)
class PseudoModel:
    """A next-token distribution per prompt; in a `world` it knows the answer to each target."""

    world: bool = False

    @lru_cache(maxsize=4096)  # noqa: B019 - a few models, each alive as long as its server
    def logprobs(self, text: str) -> list[float]:
        """The log-probability of each token of the vocabulary."""
        draw = random.Random(number_of("model", text))
        logits = [draw.gauss(-2.0, 2.0) for _ in range(256)]
        logits += [draw.gauss(1.0, 2.5) for _ in LABELS]
        logits += [draw.gauss(0.0, 2.0) for _ in (*OTHERS, *TURNS)]
        logits += [-8.0, -math.inf]
        if self.world:
            for name, boost in self._believes(text).items():
                for spelled in (" " + name, name):
                    logits[IDS[spelled.encode()]] += boost
        most = max(logits)
        total = most + math.log(math.fsum(math.exp(v - most) for v in logits))
        return [v - total for v in logits]

    def _believes(self, text: str) -> dict[str, float]:
        """The answer that is right by a hash of the target, under the prompt's framing."""
        turns = re.split(r"<\|\w+\|>", text)
        asked = next(turn for turn in reversed(turns) if turn.strip() and len(turn) > 30)
        lead = text.rsplit("\n", 1)[-1]
        target = asked.rsplit("\n\n", 1)[-1].split("\n")[0]
        truth = number_of("truth", target) % 2 == 1
        listed = dict(re.findall(r"^([A-D])\. (\w+)", text, re.MULTILINE))
        if listed:
            by_class = {name: letter for letter, name in listed.items()}
            return {by_class.get(str(truth), "A" if truth else "B"): 5.0}
        return {str(truth ^ ("wrong" in lead)): 5.0}


def variants(name: str) -> list[int]:
    """The ids of the tokens that mean a name: with or without a space, words in any case."""
    cases = (name, name.lower(), name.upper()) if len(name) > 1 else (name,)
    forms = {(space + case).encode() for space in (" ", "") for case in cases}
    return [i for i, word in enumerate(VOCABULARY) if word in forms]


@dataclass(frozen=True)
class Faults:
    """What goes wrong: by the number of a question, or for a share of the questions by a hash.

    A fault is an HTTP status ("503"), "429:0.2" (with Retry-After), "hang", "cut", "malformed",
    "nan", "empty", "200-error".
    """

    script: Mapping[int, str] = field(default_factory=dict)
    rate: float = 0.0
    kinds: tuple[str, ...] = ("429:0.01", "500", "503", "cut", "malformed", "nan", "empty")
    always: str | None = None

    def of(self, number: int, text: str, nth: int) -> str | None:
        """The fault of a question; one that is asked again is spared after its third time."""
        drawn = number_of("fault", text, nth)
        if drawn % 10_000 < self.rate * 10_000 and nth <= 3:
            return self.kinds[drawn // 10_000 % len(self.kinds)]
        return self.script.get(number, self.always)
