"""Relations made ready for the objective: all worlds of a few tied examples, and which may be.

Examples that relations tie together, directly or through others, form a component. A component of
at most `EXACT` members is one factor, in which all its relations hold together, exactly. In a
larger one each relation is a factor of its own: its members' labels are then taken as
independent between relations, which overstates what several relations say together. A single
relation among more than `EXACT` members has a closed form in their probabilities.

A soft relation holds with the probability `strength` s and else says nothing: it gives a world in
which it is broken the weight 1 − s instead of 0. Soft relations join hard ones in a component,
the strongest first, as long as the worlds stay few (`JOINED`); the others stay factors of their
own, so that hard relations are never taken less exactly for the sake of soft ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from consilience.data.relations import And, AtMostOne, Equal, ExactlyOne, Or, Relation
from consilience.errors import InputError

EXACT = 12
"""A component of at most so many examples is enumerated as a whole."""

MAX_WORLDS = 2**16
"""The most worlds that one factor may have."""

JOINED = 2**8
"""A soft relation joins components only if they have at most so many labellings together.

It rules none of them out, so all are listed: 8 examples of two classes.
"""


@dataclass(frozen=True, eq=False)
class Factor:
    """Components of one shape, evaluated together.

    `members` (G, m): the examples of G components of m members; `worlds` (W, m): the labellings
    that their hard relations allow; `log_weights` (G, W): what their soft ones weigh each with,
    log probability in nats, None where there are none.
    """

    members: Tensor
    worlds: Tensor
    log_weights: Tensor | None = None
    _made: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)
    _inside: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False
    )

    def to(self, device: str | torch.device) -> Factor:
        """The same factor on another device."""
        weights = None if self.log_weights is None else self.log_weights.to(device)
        return Factor(self.members.to(device), self.worlds.to(device), weights)

    def scaled(self, by: float) -> Factor:
        """The same factor with the logarithms of its weights multiplied by a positive number."""
        return (
            self if self.log_weights is None else replace(self, log_weights=by * self.log_weights)
        )

    def _places(self, k: int) -> Tensor:
        """Where each world's label of each member is in labels (N, K) made flat, (m, W, G)."""
        if k not in self._made:
            place = self.members.T.unsqueeze(1) * k + self.worlds.T.unsqueeze(2)
            self._made[k] = place.int() if int(place.max()) < 2**31 else place
        return self._made[k]

    def weighed(self, scores: Tensor) -> Tensor:
        """Scores of the worlds (…, G, W), in nats, with what the soft relations say added."""
        return scores if self.log_weights is None else scores + self.log_weights

    def log_holds(self, logq: Tensor) -> Tensor:
        """Log probability that the relations hold under independent labels, in nats.

        `logq` (N, K) → (G,): the semantic loss with its sign turned (Xu et al. 2018, 1711.11157,
        equation 1).
        """
        # Each world's label of each member, (m, W, G), summed over the members; by one index into a
        # flat array, many times as fast, there and back, as rows of labels and a gather.
        place = self._places(logq.shape[-1])
        local = logq.flatten().index_select(0, place.flatten()).view(place.shape)
        return torch.logsumexp(self.weighed(local.sum(dim=0).T).T, dim=0)

    def climb(self, logq: Tensor, gradient: Tensor, weight: float) -> Tensor:
        """The sum of `log_holds` over the components, (S,), for log labels (S, N, K), all finite.

        Its gradient, weighted, is added to `gradient` (S, N, K) in place: how probable each label
        of a member is where the relations hold.
        """
        place, inside = self._labels_of(*logq.shape[1:])
        flat = logq.transpose(1, 2).flatten(1)
        place = place.expand(len(flat), -1)
        scores = inside @ flat.gather(1, place).view(len(flat), inside.shape[1], -1)
        if self.log_weights is not None:
            scores += self.log_weights.T
        top = scores.amax(dim=1, keepdim=True)
        total = scores.sub_(top).exp_().sum(dim=1, keepdim=True)
        pull = inside.T @ scores.mul_(weight / total)
        added = torch.zeros_like(flat).scatter_add_(1, place, pull.flatten(1))
        gradient += added.view(len(flat), -1, logq.shape[1]).transpose(1, 2)
        return total.log_().add_(top).sum(dim=(1, 2))

    def _labels_of(self, n: int, k: int) -> tuple[Tensor, Tensor]:
        """Where each label of each member is in labels (K, N) made flat, and who has it, (W, m K).

        The places are those of all components' first label of the first member, then the second.
        """
        if (n, k) not in self._inside:
            label = torch.arange(k, device=self.members.device).view(1, -1, 1)
            place = (label * n + self.members.T.unsqueeze(1)).flatten()
            inside = torch.nn.functional.one_hot(self.worlds, k).flatten(1).to(torch.float64)
            self._inside[n, k] = place, inside
        return self._inside[n, k]


@dataclass(frozen=True, slots=True)
class Large:
    """Relations of one kind among many members, each evaluated by its closed form.

    `members` (G, m); `kind` says which relation, `label` the class that it speaks of; `log_rest`
    (G,): log(1 − strength) of soft relations, None of hard ones.
    """

    members: Tensor
    kind: type[Relation]
    label: int
    log_rest: Tensor | None = None

    def to(self, device: str | torch.device) -> Large:
        """The same relations on another device."""
        rest = None if self.log_rest is None else self.log_rest.to(device)
        return replace(self, members=self.members.to(device), log_rest=rest)

    def scaled(self, by: float) -> Large:
        """The same with the log weight of being broken multiplied by a positive number."""
        return self if self.log_rest is None else replace(self, log_rest=by * self.log_rest)

    def log_holds(self, logq: Tensor) -> Tensor:
        """Log probability that each relation holds under independent labels, (N, K) → (G,).

        That of a soft one is 1 − s + s P(holds).
        """
        held = self._held(logq)
        if self.log_rest is None:
            return held
        strength = torch.log(-torch.expm1(self.log_rest))
        return torch.logaddexp(self.log_rest, strength + held)

    def _held(self, logq: Tensor) -> Tensor:
        local = logq[self.members]
        if self.kind is Equal:
            return torch.logsumexp(local.sum(dim=1), dim=-1)
        yes = local[..., self.label]
        others = [c for c in range(local.shape[-1]) if c != self.label]
        no = torch.logsumexp(local[..., others], dim=-1)
        if self.kind in (AtMostOne, ExactlyOne):
            none = no.sum(dim=1)
            # The product of all the others, without dividing by what may be 0.
            start = torch.zeros_like(no[:, :1])
            before = torch.cat([start, no[:, :-1].cumsum(dim=1)], dim=1)
            after = torch.cat([no[:, 1:].flip(1).cumsum(dim=1).flip(1), start], dim=1)
            one = torch.logsumexp(before + yes + after, dim=-1)
            return one if self.kind is ExactlyOne else torch.logaddexp(none, one)
        if self.kind is And:
            return _definition(yes, no)
        return _definition(no, yes)


CLOSED_FORMS = (Equal, AtMostOne, ExactlyOne, And, Or)
"""The relations that `Large` can evaluate."""


def _definition(yes: Tensor, no: Tensor) -> Tensor:
    """Log probability that the last is so exactly when all the others are, from logs (G, m)."""
    before = yes[:, :-1].cumsum(dim=1)
    # Some other is not so: summed over which is the first, for 1 − Π q loses all digits near 1.
    first = no[:, :-1] + torch.cat([torch.zeros_like(yes[:, :1]), before[:, :-1]], dim=1)
    some_not = torch.logsumexp(first, dim=1)
    return torch.logaddexp(before[:, -1] + yes[:, -1], some_not + no[:, -1])


def factors(
    relations: Sequence[Relation], index: Mapping[str, int], k: int
) -> tuple[Factor | Large, ...]:
    """The factors of relations over examples numbered by `index`, batched by their shape."""
    by_shape: dict[tuple[bytes, bool], _Alike] = {}
    large: dict[tuple[type[Relation], int, int, bool], list[tuple[list[int], float]]] = {}
    for members, group in _components(relations, k):
        exact = _enumerable(len(members), k)
        for ids, tied in [(members, group)] if exact else [(list(r.members), [r]) for r in group]:
            at = [index[id] for id in ids]
            one = tied[0]
            soft = any(r.strength < 1 for r in tied)
            if not _enumerable(len(ids), k) and isinstance(one, CLOSED_FORMS):
                alike = large.setdefault((type(one), one.label, len(at), soft), [])
                alike.append((at, _log_rest(one)))
                continue
            worlds, log_weights = _worlds(ids, tied, k)
            shape = repr(worlds.shape).encode() + worlds.tobytes(), soft
            same = by_shape.setdefault(shape, _Alike(worlds))
            same.members.append(at)
            same.log_weights.append(log_weights)
    enumerated = [
        Factor(
            torch.tensor(same.members),
            torch.from_numpy(same.worlds),
            torch.from_numpy(np.stack(same.log_weights)) if soft else None,
        )
        for (_, soft), same in by_shape.items()
    ]
    counted = [
        Large(
            torch.tensor([at for at, _ in rows]),
            kind,
            label,
            torch.tensor([rest for _, rest in rows], dtype=torch.float64) if soft else None,
        )
        for (kind, label, _, soft), rows in large.items()
    ]
    return (*enumerated, *counted)


@dataclass(slots=True)
class _Alike:
    """Components with the same worlds: the members of each, and what it weighs the worlds with."""

    worlds: NDArray[np.int64]
    members: list[list[int]] = field(default_factory=list)
    log_weights: list[NDArray[np.float64]] = field(default_factory=list)


def _enumerable(members: int, k: int) -> bool:
    """Whether the labellings of so many examples are few enough to be listed."""
    return members <= EXACT and k**members <= MAX_WORLDS


def _log_rest(relation: Relation) -> float:
    """The log weight of a world in which the relation is broken."""
    return math.log1p(-relation.strength) if relation.strength < 1 else -math.inf


def _components(relations: Sequence[Relation], k: int) -> list[tuple[list[str], list[Relation]]]:
    """Connected components: their members in the order of first mention, and their relations.

    A soft relation that would join too much is a component of its own.
    """
    root: dict[str, str] = {}
    size: dict[str, int] = {}

    def find(id: str) -> str:
        while root.setdefault(id, id) != id:
            root[id] = root[root[id]]
            id = root[id]
        return id

    apart: set[int] = set()
    for r in sorted(range(len(relations)), key=lambda r: -relations[r].strength):
        first, *others = dict.fromkeys(map(find, relations[r].members))
        together = sum(size.get(one, 1) for one in (first, *others))
        few = k**together <= JOINED if others else _enumerable(together, k)
        if relations[r].strength < 1 and not few:
            apart.add(r)
            continue
        root.update(dict.fromkeys(others, first))
        size[first] = together
    grouped: dict[str | int, tuple[dict[str, None], list[Relation]]] = {}
    for r, relation in enumerate(relations):
        key = r if r in apart else find(relation.members[0])
        members, tied = grouped.setdefault(key, ({}, []))
        members.update(dict.fromkeys(relation.members))
        tied.append(relation)
    return [(list(members), tied) for members, tied in grouped.values()]


def _worlds(
    ids: Sequence[str], relations: Sequence[Relation], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The labellings of `ids` that hard relations allow (worlds, members), and their log weights.

    The weight is the product, over the soft relations that the labelling breaks, of 1 − strength.
    """
    if k ** len(ids) > MAX_WORLDS:
        raise InputError(
            f"relation {relations[0].name!r} among {len(ids)} examples of {k} classes has more "
            f"than {MAX_WORLDS} worlds; declare it among fewer"
        )
    worlds = np.array(list(product(range(k), repeat=len(ids))), dtype=np.int64)
    log_weights = np.zeros(len(worlds))
    column = {id: c for c, id in enumerate(ids)}
    for relation in relations:
        holds = relation.holds(worlds[:, [column[m] for m in relation.members]])
        log_weights = log_weights + np.where(holds, 0.0, _log_rest(relation))
    possible = log_weights > -math.inf
    if not possible.any():
        names = ", ".join(sorted({r.name for r in relations if r.strength == 1}))
        raise InputError(f"no labels of the examples {list(ids)} satisfy all of: {names}")
    return worlds[possible], log_weights[possible]
