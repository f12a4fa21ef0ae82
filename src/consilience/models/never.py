"""What a model writes for "never", −∞ or a number as low as −1e9, as what it is: a bound.

Taken for a log-probability it would outweigh all other answers together, and infinity is none.
"""

from __future__ import annotations

import math
from dataclasses import replace

from consilience.models.base import Answer
from consilience.models.label_logprobs import MISSING_BELOW, LabelLogprobs

_ROUNDING = 1e-6
"""How far the mass of an answer may be from the sum of its labels: they are 32-bit floats."""


def bounded_answer(answer: Answer) -> Answer:
    """The answer in which labels below `MISSING_BELOW` are bounded by what the others leave over.

    Of an answer whose values are no log-probabilities nothing changes.
    """
    said = answer.logprobs
    never = [value < MISSING_BELOW for value in said]
    if not any(never) or len(said) != len(answer.exact) or not all(v <= 0 for v in said):
        return answer
    exact = [sure and not low for sure, low in zip(answer.exact, never, strict=True)]
    # With every label exact the mass is that of all of them, else of some.
    whole = answer.mass if all(answer.exact) else 1.0
    rest = LabelLogprobs.of(said, exact)
    most = min(0.0, math.log(max(0.0, whole - rest.mass) + _ROUNDING))
    logprobs = tuple(most if low else v for v, low in zip(said, never, strict=True))
    return replace(answer, logprobs=logprobs, exact=tuple(exact), mass=rest.mass)
