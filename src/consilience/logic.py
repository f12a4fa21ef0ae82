"""Relations made ready for the objective: all worlds of a few tied examples, and which may be.

Examples that relations tie together, directly or through others, form a component. A component of
at most `EXACT` members is one factor, in which all its relations hold together, exactly. In a
larger one each relation is a factor of its own: its members' labels are then taken as
independent between relations, which overstates what several relations say together. A single
relation among more than `EXACT` members has a closed form in their probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from consilience.errors import InputError
from consilience.relations import And, AtMostOne, Equal, ExactlyOne, Or, Relation

EXACT = 12
"""A component of at most so many examples is enumerated as a whole."""

MAX_WORLDS = 2**16
"""The most worlds that one factor may have."""


@dataclass(frozen=True, slots=True)
class Factor:
    """Components of one shape, evaluated together.

    `members` (G, m): the examples of G components of m members; `worlds` (W, m): the labellings
    that their relations allow.
    """

    members: Tensor
    worlds: Tensor

    def to(self, device: str | torch.device) -> Factor:
        """The same factor on another device."""
        return replace(self, members=self.members.to(device), worlds=self.worlds.to(device))

    def log_holds(self, logq: Tensor) -> Tensor:
        """Log probability that the relations hold under independent labels, in nats.

        `logq` (N, K) → (G,): the semantic loss with its sign turned (Xu et al. 2018, 1711.11157,
        equation 1).
        """
        # (G, m, K) read at each world's labels → (G, m, W), summed over the members.
        local = logq[self.members]
        index = self.worlds.T.expand(len(self.members), -1, -1)
        return torch.logsumexp(local.gather(2, index).sum(dim=1), dim=-1)


@dataclass(frozen=True, slots=True)
class Large:
    """Relations of one kind among many members, each evaluated by its closed form.

    `members` (G, m); `kind` says which relation, `label` the class that it speaks of.
    """

    members: Tensor
    kind: type[Relation]
    label: int

    def to(self, device: str | torch.device) -> Large:
        """The same relations on another device."""
        return replace(self, members=self.members.to(device))

    def log_holds(self, logq: Tensor) -> Tensor:
        """Log probability that each relation holds under independent labels, (N, K) → (G,)."""
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
    by_shape: dict[bytes, tuple[list[list[int]], np.ndarray[tuple[int, int], np.dtype[np.int64]]]]
    by_shape = {}
    large: dict[tuple[type[Relation], int, int], list[list[int]]] = {}
    for members, group in _components(relations):
        exact = _enumerable(len(members), k)
        for ids, tied in [(members, group)] if exact else [(list(r.members), [r]) for r in group]:
            at = [index[id] for id in ids]
            one = tied[0]
            if not _enumerable(len(ids), k) and isinstance(one, CLOSED_FORMS):
                large.setdefault((type(one), one.label, len(at)), []).append(at)
                continue
            worlds = _worlds(ids, tied, k)
            shape = repr(worlds.shape).encode() + worlds.tobytes()
            by_shape.setdefault(shape, ([], worlds))[0].append(at)
    enumerated = [
        Factor(torch.tensor(members), torch.from_numpy(worlds))
        for members, worlds in by_shape.values()
    ]
    counted = [
        Large(torch.tensor(members), kind, label) for (kind, label, _), members in large.items()
    ]
    return (*enumerated, *counted)


def _enumerable(members: int, k: int) -> bool:
    """Whether the labellings of so many examples are few enough to be listed."""
    return members <= EXACT and k**members <= MAX_WORLDS


def _components(relations: Sequence[Relation]) -> list[tuple[list[str], list[Relation]]]:
    """Connected components: their members in the order of first mention, and their relations."""
    root: dict[str, str] = {}

    def find(id: str) -> str:
        while root.setdefault(id, id) != id:
            root[id] = root[root[id]]
            id = root[id]
        return id

    for relation in relations:
        for member in relation.members[1:]:
            root[find(member)] = find(relation.members[0])
    grouped: dict[str, tuple[dict[str, None], list[Relation]]] = {}
    for relation in relations:
        members, tied = grouped.setdefault(find(relation.members[0]), ({}, []))
        members.update(dict.fromkeys(relation.members))
        tied.append(relation)
    return [(list(members), tied) for members, tied in grouped.values()]


def _worlds(
    ids: Sequence[str], relations: Sequence[Relation], k: int
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The labellings of `ids` that every relation allows, shape (worlds, members)."""
    if k ** len(ids) > MAX_WORLDS:
        raise InputError(
            f"relation {relations[0].name!r} among {len(ids)} examples of {k} classes has more "
            f"than {MAX_WORLDS} worlds; declare it among fewer"
        )
    worlds = np.array(list(product(range(k), repeat=len(ids))), dtype=np.int64)
    column = {id: c for c, id in enumerate(ids)}
    for relation in relations:
        worlds = worlds[relation.holds(worlds[:, [column[m] for m in relation.members]])]
    if not len(worlds):
        names = ", ".join(sorted({r.name for r in relations}))
        raise InputError(f"no labels of the examples {list(ids)} satisfy all of: {names}")
    return worlds
