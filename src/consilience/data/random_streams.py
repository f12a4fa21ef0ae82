"""Where random numbers come from: a generator for each purpose, so that none shares its numbers.

Two draws that a seed decides are independent because their streams are; a draw that is added, or
left out, changes no other.
"""

from __future__ import annotations

import numpy as np

STREAMS = {
    "exemplars": 0,
    "description": 1,
    "drawn labels": 3,
    "sample of a world": 7,
    "shots": 10,
    "targets": 11,
    "starts": 20,
    "replicates": 30,
    "baselines.targets": 40,
    "baselines.random labels": 41,
    "baselines.gibbs.start": 43,
    "baselines.gibbs": 44,
    "baselines.icm": 45,
    "baselines.icm.turn": 46,
    "baselines.icm.shots": 47,
    "baselines.ranked": 48,
    "baselines.pseudo": 49,
    "folds": 50,
    "annealing": 60,
    "tried labels": 61,
    "discovery": 70,
    "discovery.rest": 71,
    "landmarks": 72,
    "neighbours": 73,
    "duels": 75,
    "permutations": 80,
    "benchmark.landmarks": 95,
}
"""The number of each purpose. One that has been used is never given to another."""


def generator(seed: int, purpose: str, *more: int) -> np.random.Generator:
    """The generator of a purpose under a seed; `more` (a round, an order) tells its uses apart."""
    return np.random.default_rng([seed, STREAMS[purpose], *more])
