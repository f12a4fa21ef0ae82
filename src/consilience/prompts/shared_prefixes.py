"""How many tokens of a run's prompts a server's prefix cache can serve, whatever its tokenizer.

The unit is the character. The cache is an ideal one: it holds every prompt that was asked before,
whole, and serves any beginning of it; a real one forgets, and serves whole blocks of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from consilience.prompts.framing import Prompt

_TURN, _SAID = "\x1e", "\x1f"
"""Stand before the role and before the content of a message, as a chat template's own marks do."""


def flat(prompt: Prompt) -> str:
    """A prompt as one text; a message becomes its role and its content, each behind a mark."""
    if isinstance(prompt, str):
        return prompt
    return "".join(f"{_TURN}{m['role']}{_SAID}{m['content']}" for m in prompt)


def shared(prompts: Sequence[Prompt]) -> NDArray[np.int64]:
    """How many characters of each prompt, in the order asked, a prefix cache can serve.

    That is the longest beginning that it has in common with an earlier one. Of the earlier
    prompts the nearest on either side in alphabetical order have the most in common with a
    prompt. Prompts are therefore sorted once, and taken out of that order again from the last
    asked to the first, so that who is left beside one was asked before it.
    """
    texts = [flat(prompt) for prompt in prompts]
    n = len(texts)
    order = sorted(range(n), key=texts.__getitem__)
    left, right = [-1] * n, [-1] * n
    # What a prompt has in common with the one to its left.
    common = [0] * n
    for a, b in pairwise(order):
        right[a], left[b] = b, a
        common[b] = common_length(texts[a], texts[b])
    found = np.zeros(n, dtype=np.int64)
    for i in reversed(range(n)):
        before, after = left[i], right[i]
        behind = common[after] if after >= 0 else 0
        found[i] = max(common[i], behind)
        if before >= 0:
            right[before] = after
        if after >= 0:
            left[after] = before
            common[after] = min(common[i], behind)
    return found


def fresh(prompts: Sequence[Prompt]) -> float:
    """The characters per prompt that a prefix cache cannot serve; NaN without prompts."""
    if not prompts:
        return float("nan")
    lengths = np.array([len(flat(prompt)) for prompt in prompts])
    return float((lengths - shared(prompts)).mean())


def common_length(a: str, b: str) -> int:
    """How many characters two texts begin with alike, by halving."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
