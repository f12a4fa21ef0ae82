"""How frequent the classes are and which of them the model leans to, found without a label.

A prompt shows as many shots of each class, so the answers are those of a model that takes the
classes to be equally frequent. Where one in a hundred is true, most of those that it calls true
are not. The share could be read off the answers themselves if their log-odds were what they say
(Saerens, Latinne and Decaestecker 2002, 10.1162/089976602753284446). They are not: a model that is
less sure than it has reason to be, or that leans to a class, would soon put everybody into one.

So the log-odds are taken for a mixture instead, as Han et al. 2023 (2205.10183) calibrate answers
with shots: of examples of class c they are normal about b + m(e_c − 1/K), with one variance v in
all directions. How far apart the classes lie, m/v, says what log-odds are worth; b is the leaning.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEANING = 0.05
"""The standard deviation, in nats, of what a model leans to a class once framings are paired.

The shares of the classes and a leaning are told apart by this alone where the classes overlap.
Where they lie well apart, or answers vary less than this, the answers say themselves which it is.
"""

STEPS = 100
"""At most so many steps of expectation maximisation."""

STILL = 1e-4
"""A fit is at rest when no responsibility moves by more than this in a step."""

FEWEST = 32
"""Of fewer examples nothing is told: any shares would do."""

SEEN = 2.0
"""So many examples of each class are taken to have been seen before any."""


def class_frequency_of(evidence: Tensor, known: Tensor) -> Tensor:
    """What the frequency of the classes, less the leaning, adds to evidence, (S, N, K), in nats.

    `evidence` (S, N, K): log-probabilities, on any offset per example; `known` (S, N): which
    examples have any; for the others nothing is added, nor for any where fewer than `FEWEST` have.
    It has a mean of 0 over the classes: log π_c/max(m/v, 1) − b_c, π the shares of the classes.
    Log-odds are not taken for less than they say, for where m/v is below 1 little is known.
    """
    if known.shape[1] < FEWEST:
        return torch.zeros_like(evidence)
    k = evidence.shape[-1]
    there = known.to(evidence.dtype).unsqueeze(-1)
    z = (evidence - evidence.mean(dim=-1, keepdim=True)) * there
    n = there.sum(dim=1).clamp(min=1.0)
    spread = 1 - 1 / k
    owned = torch.softmax(z, dim=-1) * there
    leaning = torch.zeros_like(z[:, 0])
    variance = torch.ones_like(n)
    added = torch.zeros_like(leaning)
    resting = torch.zeros(len(z), dtype=torch.bool, device=z.device)
    for _ in range(STEPS):
        share = (owned.sum(dim=1) + SEEN) / (n + k * SEEN)
        apart = z - leaning.unsqueeze(1) * there
        said = (owned * apart).sum(dim=(1, 2)).unsqueeze(-1)
        distance = (said / (n * spread)).clamp(min=1e-3)
        offset = (z - distance.unsqueeze(1) * (owned - there / k)).sum(dim=1)
        leaning = offset / (n + variance / LEANING**2)
        apart = z - leaning.unsqueeze(1) * there
        said = (owned * apart).sum(dim=(1, 2)).unsqueeze(-1)
        left = apart.square().sum(dim=(1, 2)).unsqueeze(-1) - 2 * distance * said
        variance = ((left + distance**2 * n * spread) / (n * (k - 1))).clamp(min=1e-4)
        worth = distance / variance
        log_owned = worth.unsqueeze(1) * apart + share.log().unsqueeze(1)
        before, owned = owned, torch.softmax(log_owned, dim=-1) * there
        # Of each labelling what it was when it came to rest, whatever the others do.
        now = share.log() / worth.clamp(min=1.0) - leaning
        added = torch.where(resting.unsqueeze(-1), added, now)
        resting |= (owned - before).abs().flatten(1).amax(dim=1) < STILL
        if bool(resting.all()):
            break
    added = (added - added.mean(dim=-1, keepdim=True)) * (n >= FEWEST)
    return added.unsqueeze(1) * there
