"""The pocket world: short claims whose truth a very small language model can know.

How such a model is trained is in the folder `training` of the repository.
"""

from __future__ import annotations

from consilience.datasets.pocket_world.world import (
    Claim,
    balanced_topics,
    claims,
    imbalanced,
    popular_claims,
    unanswerable,
)

__all__ = [
    "Claim",
    "balanced_topics",
    "claims",
    "imbalanced",
    "popular_claims",
    "unanswerable",
]
