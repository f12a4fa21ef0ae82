"""Label names that begin with the same words, as a tree of places where they part.

One next token cannot tell "Mostly true" from "Mostly false", nor the code "A B" from "A C". Asked
word by word it can: the log-probability of a name is that of its first words plus that of the rest
once they stand in the prompt, log p(Mostly) + log p(true | Mostly). Each place where names part is
one request to a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from consilience.errors import InputError
from consilience.models.label_logprobs import LabelLogprobs
from consilience.prompts.framing import Prompt


@dataclass(frozen=True, slots=True)
class Branch:
    """A place where names part.

    `said` is what stands in the prompt by then (nothing at the root), `options` are what may come
    next, and `leads` says of each option which class it is, or at which branch it arrives.
    """

    said: str
    options: tuple[str, ...]
    leads: tuple[int | Branch, ...]

    def branches(self) -> Iterator[Branch]:
        """The branch itself and all behind it, each before those behind it."""
        yield self
        for lead in self.leads:
            if isinstance(lead, Branch):
                yield from lead.branches()


@lru_cache(maxsize=64)
def label_tree(names: tuple[str, ...]) -> Branch:
    """The tree of some label names; one branch where no two of them begin with the same word.

    InputError where one name is the beginning of another.
    """
    return _branch("", [(c, name) for c, name in enumerate(names)])


def _branch(said: str, names: Sequence[tuple[int, str]]) -> Branch:
    groups: dict[str, list[tuple[int, str]]] = {}
    for c, name in names:
        groups.setdefault((name.split() or [""])[0], []).append((c, name))
    options: list[str] = []
    leads: list[int | Branch] = []
    for alike in groups.values():
        if len(alike) == 1:
            leads.append(alike[0][0])
            options.append(alike[0][1])
            continue
        words = [name.split() for _, name in alike]
        same = [len(set(column)) == 1 for column in zip(*words, strict=False)]
        common = words[0][: [*same, False].index(False)]
        spoken = " ".join(common)
        rest = [" ".join(own[len(common) :]) for own in words]
        if "" in rest:
            whole = f"{said} {spoken}".strip()
            raise InputError(
                f"the label name {whole!r} is the beginning of another, and what follows it cannot "
                "be told apart; use the framing `letters`, or `codes` for more than 26 classes"
            )
        members = [(c, left) for (c, _), left in zip(alike, rest, strict=True)]
        options.append(spoken)
        leads.append(_branch(f"{said} {spoken}".strip(), members))
    return Branch(said, tuple(options), tuple(leads))


def continued(prompt: Prompt, said: str) -> Prompt:
    """A prompt that ends in a lead, with the words `said` after it."""
    if not said:
        return prompt
    if isinstance(prompt, str):
        return f"{prompt} {said}"
    *before, last = prompt
    return [*before, {**last, "content": f"{last['content']} {said}"}]


def joined_logprobs(
    tree: Branch, branches: Mapping[str, LabelLogprobs], count: int
) -> LabelLogprobs:
    """The log-probabilities of all `count` names, from those of each branch by what it `said`.

    A name is exact where each step towards it is; a bound anywhere bounds the whole.
    """
    logprobs, exact = [0.0] * count, [True] * count
    _join(tree, branches, 0.0, True, logprobs, exact)
    return LabelLogprobs.of(logprobs, exact)


def _join(
    branch: Branch,
    branches: Mapping[str, LabelLogprobs],
    so_far: float,
    sure: bool,
    logprobs: list[float],
    exact: list[bool],
) -> None:
    found = branches[branch.said]
    steps = zip(branch.leads, found.logprobs, found.exact, strict=True)
    for lead, logprob, known in steps:
        if isinstance(lead, Branch):
            _join(lead, branches, so_far + logprob, sure and known, logprobs, exact)
        else:
            logprobs[lead], exact[lead] = so_far + logprob, sure and known
