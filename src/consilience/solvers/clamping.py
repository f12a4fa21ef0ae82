"""Labels that the user has corrected: held fixed while the others are looked for.

Everything that reads labels sees those of a corrected example as they were given, and no slope
leads into them. They move others by what they mean: what relations leave to others is held as
well, who is known to be of a class tells where the classes lie (`mixture`), contrasts that showed
them are read with the right label, and a prediction whose shots carried a wrong one counts
for less.
"""

from __future__ import annotations

import torch
from torch import Tensor

from consilience.evidence.evidence import Evidence

HARD = -30.0
"""The lowest log-probability, in nats, from which a class is still found to be the better one.

Below it the slope is lost in rounding, so that a label once hard would stay whatever is read.
"""


def clamped(evidence: Evidence, logq: Tensor, low: float = HARD) -> Tensor:
    """Log labels (…, N, K) in which those that the user gave are as given; `low` is never, nats."""
    if evidence.held is None:
        return logq
    k = logq.shape[-1]
    given = torch.nn.functional.one_hot(evidence.held.clamp(min=0), k).to(logq.dtype)
    return torch.where((evidence.held >= 0).unsqueeze(1), (1 - given) * low, logq)
