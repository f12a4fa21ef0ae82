"""Whether two lists of log-probabilities tell of the same distribution of a next token."""

from __future__ import annotations

from collections.abc import Sequence

from consilience.models.label_logprobs import Token

TOLERANCE = 0.05
"""How far two values of one token may stand apart and count as the same, in nats."""


def largest_difference(once: Sequence[Token], again: Sequence[Token]) -> float | None:
    """The largest change of a value between two lists, in nats; None if they share no token."""
    before, after = _told_apart(once), _told_apart(again)
    return max(
        (abs(before[key] - after[key]) for key in before.keys() & after.keys()), default=None
    )


def _told_apart(tokens: Sequence[Token]) -> dict[object, float]:
    """The values of the tokens that the list can tell from others."""
    keys = [t.id if t.id is not None else t.data or t.text for t in tokens]
    return {
        key: t.logprob
        for key, t in zip(keys, tokens, strict=True)
        # Half characters and special tokens, which some servers write as nothing, share a text.
        if keys.count(key) == 1
        and not t.sampled
        and (key != t.text or (t.text.strip() and "\ufffd" not in t.text))
    }
