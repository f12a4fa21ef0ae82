"""The context that a query was asked in, and an answer without its context's offset.

A target that is itself among the shots of its block is asked under the same list without it. Such
a list of one target is no context to learn an offset from, and counts as the whole list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from consilience.prompts.query import Query
from consilience.store.rows import Prediction

Context = tuple[str, tuple[tuple[str, int], ...]]
"""A framing, by name, and an ordered list of shots."""


def whole_contexts(queries: Sequence[Query]) -> list[Context]:
    """The context of each of the queries of one round, parts of a list taken for the list."""
    there = Counter((q.framing, q.shots) for q in queries)
    whole: dict[Context, Context] = {}
    for framing, shots in there:
        longer = [c for c in there if c[0] == framing and shots and set(shots) < set(c[1])]
        found = max(longer, key=lambda c: (len(c[1]), there[c]), default=(framing, shots))
        whole[framing, shots] = found
    return [whole[q.framing, q.shots] for q in queries]


def less(prediction: Prediction, offset: NDArray[np.float64]) -> Prediction:
    """The prediction with so many nats (K,) taken from its labels, normalised over them."""
    said = np.array(prediction.logprobs, dtype=np.float64)
    # Twice: what is taken may be far from the normalised values, and rounding must not exceed 0.
    calibrated = log_softmax(log_softmax(said) - offset)
    return replace(prediction, logprobs=tuple(np.minimum(calibrated, 0.0).tolist()))
