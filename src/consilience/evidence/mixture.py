"""How frequent the classes are, which one the answers lean to, and what their log-odds are worth.

Once the offsets of prompts are off, answers rank the examples; where the line between the classes
lies and how sure the log-odds are is in their distribution alone. Centred log-probabilities z of
examples of class c are taken to be normal about b + m(e_c − 1/K), with one variance v in all
directions (Han et al. 2023, 2205.10183). With separation d = m/√v, shares π and κ = m/v the
posterior of class c is softmax(κ(z − b) + log π)_c: κ is what a nat of log-odds is worth.

How far apart the classes lie is what such a fit knows least: one broad cluster and two close ones
look alike, and the best fit calls itself sure of either. So a fit is made for each separation of a
grid, none among them, and what follows is averaged by how probable each makes the answers. Answers
that show no two clusters are left unsure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from consilience.data.arrays import Floats
from consilience.evidence.known_classes import looked_at, moved, other_classes

SEPARATIONS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
"""The separations d of neighbouring classes that are thought possible, in standard deviations."""

BELIEVED, BELIEVED_OF_MANY = 0.65, 0.4
"""The share of κ that log-odds are taken to be worth, with two classes and with more.

The mixture takes all errors for those of a normal tail. On worlds with known truth the factor under
which the truth is most probable is 0.55 to 0.7 of κ, on answers of pretrained models 0.65; clusters
of one width in all directions fit more than two classes worse (`docs/development/log.md`)."""

LEAST_SCALE, MOST_SCALE = 0.25, 8.0
"""No nat is taken to be worth less or more than this."""

LEANING = 1.5
"""The standard deviation of b, in nats: what all prompts together lean to a class."""

PAIRED = 0.05
"""The same where names change places between framings, if models have no other leaning."""

BALANCED = 0.1
"""The assumption that classes are equally frequent weighs as so many examples for each one there
is. It decides where the answers cannot tell; clusters well apart are found all the same."""

APART = 3.0
"""More than two classes that lie closer, in standard deviations, are taken to be equally frequent.

Clusters of one common width are too crude a picture of them: on AG News (Gemma 3 270M) the best
separation is 2.5 and a class of 23 % gets a share of 2; on TREC it is 2.0, and 2 % get a third."""

FEWEST_EXAMPLES = 32
"""Of fewer examples nothing is told: any shares and any scale would do."""

LOOKED = 2048
"""At most so many examples are fitted; their order is that of hashes, as good as a draw."""

_STEPS = 60
"""Steps of expectation maximisation, at most."""

_AT_REST = 1e-12
"""A fit is at rest when nothing of it moves by more than this in a step."""

_LOOKED_AT = 4
"""After so many steps, again and again, those fits that are at rest are left there."""

FAR_BEHIND, _WEIGHED_AFTER = 50.0, 8
"""A fit that after so many steps makes the answers less probable by so many nats than one of a
wider separation is left there. It does not make that up, and the closer the classes, the slower it
is; a wider one may find a rare class late (`docs/development/log.md`)."""

_CACHED = 2**16
"""So many numbers are worked on at once."""

TRUSTED = 0.7
"""The standard deviation, in log, of what a nat is taken to be worth before the answers are seen: a
model that was trained on log-probabilities says about what it means. It decides where the answers
cannot tell."""

_TINY = 1e-6
"""Answers that vary by less (nats²) say nothing."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """What a mixture says of S sets of answers: `scale` (S,), `frequency` (S, K), `clusters` (S,).

    `scale`: nats that a nat of log-odds is worth; 1 where nothing is told. `frequency`, in nats of
    the answers: log π_c / κ − b_c, mean 0 over the classes. `clusters`: the probability that there
    are any, from 0 to 1; `apart` (S,): that they lie at least `APART` from each other.
    """

    scale: Tensor
    frequency: Tensor
    clusters: Tensor
    apart: Tensor


def fit_mixture(
    evidence: Tensor,
    known: Tensor,
    leaning: float = LEANING,
    shares: Sequence[float] | None = None,
    held: Tensor | None = None,
) -> Mixture:
    """The mixture of log-probabilities (S, N, K), on any offset per example, where `known` (S, N).

    `leaning` is the standard deviation of what the answers lean to a class, in nats. `held` (N) is
    the class of an example, −1 where it is not known; with two classes it moves where they lie as
    far as that puts more of those examples right (`known_classes`). Where the `shares` (K) of the
    classes are given, `frequency` is what makes the mean probabilities those; more than two classes
    are taken to be equally frequent as far as they may lie closer than `APART`. Nothing is told of
    fewer than `FEWEST_EXAMPLES` examples, or where the answers do not vary.
    """
    k = evidence.shape[-1]
    z = _centred(evidence[:, :LOOKED])
    there = known[:, :LOOKED].to(z.dtype).unsqueeze(-1)
    n = there.sum(dim=(1, 2))
    centre = (z * there).sum(dim=1) / n.clamp(min=1).unsqueeze(-1)
    z = (z - centre.unsqueeze(1)) * there
    variance = z.square().sum(dim=(1, 2)) / (n.clamp(min=1) * (k - 1))
    told = (n >= FEWEST_EXAMPLES) & (variance > _TINY)
    if not bool(told.any()):
        none = torch.zeros_like(n)
        return Mixture(torch.ones_like(variance), torch.zeros_like(centre), none, none)
    unit = variance.clamp(min=_TINY).sqrt()
    even = -centre / unit.unsqueeze(-1)
    whole = (z / unit.view(-1, 1, 1), there, even, unit)
    fit = _fits(whole, leaning)
    scale = fit.scale.clamp(LEAST_SCALE, MOST_SCALE)
    added = fit.frequency * unit.unsqueeze(-1)
    if held is not None and shares is None and k == 2:
        # Who is known may be known for being an error: that says where the classes lie, and
        # nothing of what an answer is worth.
        at = looked_at(held, LOOKED)
        seen = known[:, at].to(z.dtype).unsqueeze(-1)
        also = (_centred(evidence[:, at]) - centre.unsqueeze(1)) * seen
        placed = _fits((also / unit.view(-1, 1, 1), seen, even, unit), leaning, held[at]).frequency
        added = moved(added, placed * unit.unsqueeze(-1), also, scale, held[at], seen)
    frequency = added - centre
    frequency = frequency - frequency.mean(dim=-1, keepdim=True)
    if shares is not None or k > 2:
        asked = torch.tensor(shares or (1 / k,) * k, dtype=z.dtype, device=z.device)
        made = _of_shares(asked, z + centre.unsqueeze(1), there, scale)
        own = 0.0 if shares is not None else fit.apart.unsqueeze(-1)
        frequency = own * frequency + (1 - own) * made
    # Where nothing is told: scale 1, and no more.
    frequency = frequency.where(told.unsqueeze(-1), 0.0)
    clusters, apart = (part.where(told, 0.0) for part in (fit.clusters, fit.apart))
    return Mixture(scale.where(told, 1.0), frequency, clusters, apart)


def _centred(evidence: Tensor) -> Tensor:
    """Log-probabilities less their mean over the classes."""
    return evidence - evidence.mean(dim=-1, keepdim=True)


def _fits(whole: Sequence[Tensor], leaning: float, held: Tensor | None = None) -> Mixture:
    """The mixtures of S sets, as many at once as stay in a processor's cache; see `_fitted`."""
    each = max(1, _CACHED // max(1, whole[0].shape[1:].numel() * len(SEPARATIONS)))
    pieces = zip(*(torch.split(part, each) for part in whole), strict=True)
    fits = [_fitted(*piece, leaning=leaning, held=held) for piece in pieces]
    columns = zip(*((f.scale, f.frequency, f.clusters, f.apart) for f in fits), strict=True)
    return Mixture(*map(torch.cat, columns))


def _of_shares(shares: Tensor, z: Tensor, there: Tensor, scale: Tensor) -> Tensor:
    """What is added to log-probabilities (S, N, K) for the mean labels to have the shares (K)."""
    many, nats = there.sum(dim=(1, 2)).clamp(min=1).unsqueeze(-1), scale.view(-1, 1, 1)
    added = torch.zeros(z.shape[0], z.shape[-1], dtype=z.dtype, device=z.device)
    for _ in range(_STEPS):
        labels = torch.softmax(nats * (z + added.unsqueeze(1)), dim=-1) * there
        missing = shares.log() - (labels.sum(dim=1) / many).clamp(min=_TINY).log()
        added = added + missing / scale.unsqueeze(-1)
    return added - added.mean(dim=-1, keepdim=True)


def _fitted(
    z: Tensor,
    there: Tensor,
    even: Tensor,
    unit: Tensor,
    *,
    leaning: float,
    held: Tensor | None = None,
) -> Mixture:
    """The mixture of answers (S, N, K) of mean 0 and variance 1, averaged over the separations.

    `even` (S, K): where answers are that say nothing; `unit` (S,): how many nats 1 is.
    """
    # Classes first: sums over them are many times as fast along the first dimension as the last.
    z, there, even = z.movedim(-1, 0).unsqueeze(2).contiguous(), there[..., 0], even.T
    k, n = len(z), there.sum(dim=1, keepdim=True)
    there, even = there.unsqueeze(1), even.unsqueeze(2)
    d = torch.tensor(SEPARATIONS, dtype=z.dtype, device=z.device).view(1, -1)
    drawn = _Drawn(z, there, even, n, d, leaning / unit.view(-1, 1), BALANCED / k * n)
    other = other_classes(held, k, z)
    share, b, rate = _two_classes(drawn, other) if k == 2 else _any_classes(drawn, other)
    loglik = _log_likelihood(drawn, other, share, b, rate)
    kappa = d * rate
    added = share.log() / kappa.clamp(min=0.5) - b
    believed = BELIEVED if k == 2 else BELIEVED_OF_MANY
    worth = (believed * kappa / unit.view(-1, 1)).clamp(LEAST_SCALE, MOST_SCALE)
    weight = torch.softmax(loglik - (worth.log() / TRUSTED).square() / 2, dim=1)
    scale = (weight * worth).sum(dim=1)
    # Each separation counts by what it makes of the labels: by its scale.
    sure = weight * worth / scale.unsqueeze(-1)
    apart = weight[:, SEPARATIONS.index(APART) :].sum(dim=1)
    return Mixture(scale, (sure * added).sum(dim=-1).T, 1 - weight[:, 0], apart)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What a mixture is fitted to: `z` (K, S, 1, N), 0 where nobody is `there` (S, 1, N).

    `even` (K, S, 1): where answers are that say nothing; `n` (S, 1): how many there are; `d`
    (1, D): the separations; `prior` (S, 1): the standard deviation of b; `seen` (S, 1): as so many
    examples of each class the assumption weighs that classes are equally frequent.
    """

    z: Tensor
    there: Tensor
    even: Tensor
    n: Tensor
    d: Tensor
    prior: Tensor
    seen: Tensor

    def rate(self, square: Tensor, along: Tensor) -> Tensor:
        """The best 1/√v at a given separation, (S, D): the root of a quadratic."""
        free = self.n * (len(self.z) - 1)
        root = (along.square() + 4 * square * free).sqrt()
        return (along + root) / (2 * square.clamp(min=_TINY))


def _log_likelihood(drawn: _Drawn, other: Tensor, share: Tensor, b: Tensor, rate: Tensor) -> Tensor:
    """How probable each fit is, by the answers and what is thought beforehand, in nats, (S, D).

    But for what is the same for all fits.
    """
    z, n, d, k = drawn.z, drawn.n, drawn.d, len(drawn.z)
    kappa = d * rate
    constant = (share.log() - kappa * b).unsqueeze(-1) + other
    joint = torch.addcmul(constant, kappa.unsqueeze(-1), z)
    held = reduce(torch.logaddexp, joint.unbind())
    # Σ (z − b)² over all that are there, multiplied out.
    square = (z.square().sum(dim=-1) - 2 * b * z.sum(dim=-1) + n * b.square()).sum(dim=0)
    return (
        n * (k - 1) * rate.log()
        - rate.square() * square / 2
        - n * (1 - 1 / k) * d.square() / 2
        + (held * drawn.there).sum(dim=-1)
        - ((b - drawn.even) / drawn.prior).square().sum(dim=0) / 2
        + drawn.seen * share.log().sum(dim=0)
    )


def _any_classes(drawn: _Drawn, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shares and b (K, S, D) and 1/√v (S, D) after all steps of expectation maximisation."""
    z, there, d, n, k = drawn.z, drawn.there, drawn.d, drawn.n, len(drawn.z)
    even = drawn.even
    owned = torch.softmax(d.unsqueeze(-1) * (z - even.unsqueeze(-1)) + other, dim=0) * there
    share = b = torch.zeros_like(owned[..., 0])
    rate = torch.ones_like(b[0])
    for _ in range(_STEPS):
        share = (owned.sum(dim=-1) + drawn.seen) / (n + k * drawn.seen)
        pulled = (z - (d / rate).unsqueeze(-1) * (owned - there / k)).sum(dim=-1)
        tight = 1 / (rate * drawn.prior).square()
        b = (pulled + tight * even) / (n + tight)
        apart = (z - b.unsqueeze(-1)) * there
        square = apart.square().sum(dim=-1).sum(dim=0)
        rate = drawn.rate(square, d * (owned * apart).sum(dim=-1).sum(dim=0))
        joint = (d * rate).unsqueeze(-1) * apart + share.log().unsqueeze(-1) + other
        owned = torch.softmax(joint, dim=0) * there
    return share, b, rate


def _two_classes(drawn: _Drawn, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same of two classes, a tenth of the work, see `_Halves`."""
    halves = _Halves.of(drawn, other)
    d = drawn.d.cpu().numpy()
    found = np.zeros((3, len(halves.n), d.shape[1]))
    asked, behind = np.arange(d.shape[1]), np.zeros(d.shape[1], dtype=np.bool_)
    at: _Fit = (np.full_like(found[0], 0.5), halves.even + 0 * found[0], np.ones_like(found[0]))
    room = halves.room(d)
    # A set that nobody is known of divides by zero, and is left out later.
    with np.errstate(divide="ignore", invalid="ignore"):
        for step in range(1, _STEPS + 1):
            before, at = at, halves.step(at, room)
            if step % _LOOKED_AT:
                continue
            found[..., asked] = at
            if step == _WEIGHED_AFTER:
                lead = _log_likelihood(drawn, other, *_both(found, drawn)).cpu().numpy()
                wider = np.maximum.accumulate(lead[:, ::-1], axis=1)[:, ::-1]
                behind[:] = (lead < wider - FAR_BEHIND).all(axis=0)
            moving = (np.abs(np.subtract(at, before)) > _AT_REST).any(axis=(0, 1)) & ~behind[asked]
            if not moving.any():
                break
            if not moving.all():
                asked, d = asked[moving], d[:, moving]
                first, b, rate = (part[:, moving] for part in at)
                at, room = (first, b, rate), halves.room(d)
    return _both(found, drawn)


def _both(found: Floats, drawn: _Drawn) -> tuple[Tensor, Tensor, Tensor]:
    """Shares and b (K, S, D) of both classes and 1/√v (S, D) from those of the first."""
    first, b, rate = torch.from_numpy(found.copy()).to(drawn.z.device)
    return torch.stack([first, 1 - first]), torch.stack([b, -b]), rate


_Fit = tuple[Floats, Floats, Floats]
"""The share and b of the first of two classes, and 1/√v, each (S, D)."""

_Room = tuple[Tensor, Tensor, Tensor, tuple[Floats, ...], tuple[Floats, ...]]
"""The line of log-odds of each fit (S, D, 3), all p (S, D, N), two sums (S, D, 2); slope and offset
of the lines and each of the sums, (S, D); and what is the same in all steps, (S, D)."""


@dataclass(frozen=True, slots=True)
class _Halves:
    """S sets of answers of two classes, where what is of one class is the negative of the other.

    All sums follow from two, over the examples, of how far each is of the first class, p: Σ p and
    Σ p z. They are made on the host: beside them there are only a few numbers for each fit.
    `across` (S, 3, N) is z, 1 and what is added where a class is known; `counted` (S, N, 2) is 1
    where an example is there, and z; `total` and `squares` are Σ z and Σ z², and these and the
    others, as in `_Drawn`, (S, 1).
    """

    across: Tensor
    counted: Tensor
    total: Floats
    squares: Floats
    even: Floats
    n: Floats
    prior: Floats
    seen: Floats

    @classmethod
    def of(cls, drawn: _Drawn, other: Tensor) -> _Halves:
        """Those of what a mixture is fitted to."""
        z, there = drawn.z[0, :, 0].cpu(), drawn.there[:, 0].cpu()
        turned = (other[0] - other[1])[0].cpu().expand_as(z)
        return cls(
            torch.stack([z, torch.ones_like(z), turned], dim=1),
            torch.stack([there, z], dim=1).movedim(1, 2),
            *(part.sum(dim=1, keepdim=True).numpy() for part in (z, z.square())),
            *(part.cpu().numpy() for part in (drawn.even[0], drawn.n, drawn.prior, drawn.seen)),
        )

    def room(self, d: Floats) -> _Room:
        """Room for the steps of the fits of separations `d` (1, D)."""
        shape = len(self.across), d.shape[1]
        line = torch.ones(*shape, 3, dtype=torch.float64)
        p, sums = line.new_empty(*shape, self.across.shape[-1]), line.new_empty(*shape, 2)
        n, seen, total = self.n, self.seen, self.total
        same = [d, 2 * d, n, n / 2, 8 * n, seen, n + 2 * seen, total, 2 * total]
        same += [self.squares, self.even, self.prior]
        parts = (*line.unbind(-1)[:2], *sums.unbind(-1))
        # To stretch a small array takes NumPy longer than to calculate with it.
        stretched = np.stack([np.broadcast_to(part, shape) for part in same])
        return line, p, sums, tuple(x.numpy() for x in parts), tuple(stretched)

    def step(self, at: _Fit, room: _Room) -> _Fit:
        """A step of expectation maximisation."""
        (first, b, rate), (line, p, sums, (slope, offset, mine, along), same) = at, room
        d, d2, n, half, n8, seen, all_seen, total, total2, squares, even, prior = same
        np.multiply(d2, rate, out=slope)
        np.subtract(np.log(first / (1 - first)), slope * b, out=offset)
        torch.bmm(line, self.across, out=p).sigmoid_()
        torch.bmm(p, self.counted, out=sums)
        first = (mine + seen) / all_seen
        scaled = rate * prior
        tight = 1 / (scaled * scaled)
        b = (total - d / rate * (mine - half) + tight * even) / (n + tight)
        moved = n * b
        square = squares - b * (total2 - moved)
        pull = d * (2 * (along - b * mine) + moved - total)
        # The best 1/√v at a given separation: the root of a quadratic.
        root = np.sqrt(pull * pull + n8 * square)
        return first, b, (pull + root) / (4 * np.maximum(square, _TINY / 2))
