"""Claims of the pocket world, with everything that can be asked about them.

A claim says who holds it and how firmly, then a proposition or its negation, then ends in a full
stop or an exclamation mark: "Anna thinks whales are not fish." Truth is one of its attributes.
Of a fifth of the propositions training labels one wording only, and the claims here are in the
other, or, for a few, it labels none. Each kind of proposition also has a wording that training
labels for none. All functions are deterministic in their seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from consilience.datasets.pocket_world.facts import (
    TOPIC_OF,
    TOPICS,
    Proposition,
    chance,
    propositions,
)
from consilience.errors import InputError

CLAIM_KINDS = tuple(TOPIC_OF)

SPEAKERS = (("Anna", "Clara"), ("Ben", "David"))
"""Who says it; the index is the attribute `source`."""

VERBS = ("thinks", "says")
"""How firmly; the index is the attribute `firm`."""

ENDS = ("!", ".")
"""How it ends; the index is the attribute `calm`."""

_WORDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "sum": (
        ("{x} is {y}", "{x} is not {y}"),
        ("{x} equals {y}", "{x} does not equal {y}"),
        ("{x} makes {y}", "{x} does not make {y}"),
    ),
    "compare": (
        ("{x} is more than {y}", "{x} is not more than {y}"),
        ("{y} is less than {x}", "{y} is not less than {x}"),
        ("{x} exceeds {y}", "{x} does not exceed {y}"),
    ),
    "day": (
        ("{x} is before {y}", "{x} is not before {y}"),
        ("{y} is after {x}", "{y} is not after {x}"),
        ("{x} precedes {y}", "{x} does not precede {y}"),
    ),
    "category": (
        ("{x} are {y}", "{x} are not {y}"),
        ("{y} include {x}", "{y} do not include {x}"),
        ("{x} count as {y}", "{x} do not count as {y}"),
    ),
    "capital": (
        ("{y} is the capital of {x}", "{y} is not the capital of {x}"),
        ("{x} has the capital {y}", "{x} does not have the capital {y}"),
        ("{x} is ruled from {y}", "{x} is not ruled from {y}"),
    ),
    "continent": (
        ("{x} is in {y}", "{x} is not in {y}"),
        ("{y} contains {x}", "{y} does not contain {x}"),
        ("{x} lies in {y}", "{x} does not lie in {y}"),
    ),
}
_WORDINGS["month"] = _WORDINGS["letter"] = _WORDINGS["day"]
"""For each kind, wordings and their negations; the last one is never labelled in training."""

MOST_MISSES = 2000
"""How often in a row a claim may be drawn that is there already, before the world is used up."""

NEW_WORDING = 2
"""The index of the wording that is never labelled in training."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and its attributes, each 0 or 1 except `topic`, which is an index into `TOPICS`.

    `truth` and `popular` belief are those of the whole sentence, negation included. `group` names
    what a claim shares with its contradiction. `held_out` says that training never labels the
    proposition in this wording, `new_wording` that it does not label any proposition in it.
    """

    text: str
    kind: str
    group: str
    topic: int
    truth: int
    popular: int
    source: int
    firm: int
    affirmed: int
    calm: int
    contested: bool
    held_out: bool
    new_wording: bool


def labelled_wordings(proposition: Proposition) -> tuple[int, ...]:
    """The wordings in which training shows labels for a proposition: both, one, or none."""
    lot = chance("held out", proposition.key)
    if lot >= 0.2:
        return (0, 1)
    return () if lot < 0.03 else (int(chance("wording", proposition.key) < 0.5),)


def withheld_wordings(proposition: Proposition) -> tuple[int, ...]:
    """The usual wordings in which training shows no label for a proposition."""
    return tuple({0, 1} - set(labelled_wordings(proposition)))


def sentence(proposition: Proposition, wording: int, affirmed: bool = True) -> str:
    """A proposition, or its negation, in words."""
    form = _WORDINGS[proposition.kind][wording][0 if affirmed else 1]
    return form.format(x=proposition.subject, y=proposition.object)


def make_claim(
    proposition: Proposition, rng: random.Random, *, affirmed: bool = True, wording: int = 0
) -> Claim:
    """A claim of a proposition; speaker, firmness and ending are drawn."""
    source, firm, calm = rng.getrandbits(1), rng.getrandbits(1), rng.getrandbits(1)
    said = sentence(proposition, wording, affirmed)
    return Claim(
        text=f"{rng.choice(SPEAKERS[source])} {VERBS[firm]} {said}{ENDS[calm]}",
        kind=proposition.kind,
        group=f"{proposition.kind}|{proposition.subject}|{proposition.object}",
        topic=TOPIC_OF[proposition.kind],
        truth=int(proposition.truth == affirmed),
        popular=int(proposition.popular == affirmed),
        source=source,
        firm=firm,
        affirmed=int(affirmed),
        calm=calm,
        contested=proposition.contested,
        held_out=wording not in labelled_wordings(proposition),
        new_wording=wording == NEW_WORDING,
    )


@cache
def _shelves() -> dict[tuple[str, bool, bool, bool], tuple[Proposition, ...]]:
    """Propositions by kind, truth, popular belief, and whether a wording is held out, or labelled.

    A proposition that is labelled in one wording stands on both shelves.
    """
    shelves: dict[tuple[str, bool, bool, bool], list[Proposition]] = {}
    for p in propositions():
        if withheld_wordings(p):
            shelves.setdefault((p.kind, p.truth, p.popular, True), []).append(p)
        if labelled_wordings(p):
            shelves.setdefault((p.kind, p.truth, p.popular, False), []).append(p)
    return {key: tuple(of) for key, of in shelves.items()}


def draw_proposition(
    rng: random.Random,
    truth: bool,
    popular: bool,
    *,
    unseen: bool = False,
    kinds: Sequence[str] = CLAIM_KINDS,
) -> Proposition:
    """A proposition of these values, a kind first; `unseen` asks for a wording held out."""
    shelves = _shelves()
    usable = [kind for kind in kinds if (kind, truth, popular, unseen) in shelves]
    return rng.choice(shelves[rng.choice(usable), truth, popular, unseen])


def claims(
    seed: int,
    count: int = 400,
    *,
    share_true: float = 0.5,
    share_misbelieved: float = 0.05,
    pairs: float = 0.25,
    new_wordings: float = 0.0,
    unseen: bool = True,
    kinds: Sequence[str] = CLAIM_KINDS,
) -> list[Claim]:
    """Different claims that training never labels, with `share_true` of them true.

    In `share_misbelieved` of the true ones and of the false ones popular belief is wrong. A share
    `pairs` of the propositions comes with its negation, so that exactly one of the two claims is
    true; otherwise a proposition comes once. `new_wordings` is the share in a wording that training
    labels for no proposition; `unseen=False` gives claims that training does label.
    """
    rng = random.Random(f"claims {seed}")
    found: dict[str, Claim] = {}
    wanted = _quotas(count, share_true, share_misbelieved)
    taken: set[str] = set()
    misses = 0
    while any(wanted.values()):
        truth, wrong = rng.choices(list(wanted), list(wanted.values()))[0]
        affirmed = rng.random() < 0.7
        fact = truth == affirmed
        askable = [k for k in kinds if not wrong or k not in ("month", "letter")]
        about = draw_proposition(rng, fact, fact != wrong, unseen=unseen, kinds=askable)
        both = rng.random() < pairs and wanted[not truth, wrong] > 0
        made = []
        for side in (affirmed, not affirmed) if both else (affirmed,):
            wording = _wording(rng, about, unseen, new_wordings)
            made.append(make_claim(about, rng, affirmed=side, wording=wording))
        # A proposition comes once, so that a group holds a claim or a claim and its contradiction.
        if made[0].group in taken:
            if (misses := misses + 1) > MOST_MISSES:
                raise InputError(
                    f"the pocket world has no {count} different claims like that; ask for fewer"
                )
            continue
        misses = 0
        taken.add(made[0].group)
        for claim in made:
            found[claim.text] = claim
            wanted[bool(claim.truth), wrong] -= 1
    return list(found.values())


def _quotas(
    count: int, share_true: float, share_misbelieved: float
) -> dict[tuple[bool, bool], int]:
    """How many claims are wanted of each truth, and of each whether popular belief is wrong."""
    quotas: dict[tuple[bool, bool], int] = {}
    for truth, of in (
        (False, count - round(count * share_true)),
        (True, round(count * share_true)),
    ):
        quotas[truth, True] = round(of * share_misbelieved)
        quotas[truth, False] = of - quotas[truth, True]
    return quotas


def _wording(rng: random.Random, proposition: Proposition, unseen: bool, new: float) -> int:
    if rng.random() < new:
        return NEW_WORDING
    usable = withheld_wordings(proposition) if unseen else labelled_wordings(proposition)
    return rng.choice(usable)


def imbalanced(seed: int, share_true: float, count: int = 400) -> list[Claim]:
    """Claims of which `share_true` are true."""
    return claims(seed, count, share_true=share_true, pairs=0.0)


def popular_claims(seed: int, count: int = 240) -> list[Claim]:
    """Claims half of which people get wrong: truth and popular belief agree by chance only."""
    return claims(seed, count, share_misbelieved=0.5, pairs=0.5)


def balanced_topics(seed: int, count: int = 240) -> list[Claim]:
    """Claims with each of the four topics equally often: a task with K = 4."""
    per = count // len(TOPICS)
    of = [[k for k in CLAIM_KINDS if TOPIC_OF[k] == t] for t in range(len(TOPICS))]
    return [
        c for kinds in of for c in claims(seed, per, share_misbelieved=0.0, pairs=0.0, kinds=kinds)
    ]


def unanswerable(seed: int, count: int = 400) -> list[Claim]:
    """Claims about invented things; their `truth` is a coin, so no labelling can be right."""
    rng = random.Random(f"unanswerable {seed}")
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    found: dict[str, Claim] = {}
    while len(found) < count:
        word = "".join(rng.choices(syllables, k=rng.choice((2, 3))))
        known = rng.choice([p for p in propositions() if p.kind in ("category", "continent")])
        coin = rng.random() < 0.5
        invented = Proposition(known.kind, word, known.object, word, coin, coin, False)
        claim = make_claim(invented, rng, affirmed=rng.random() < 0.7, wording=rng.getrandbits(1))
        found[claim.text] = claim
    return list(found.values())


def vocabulary() -> Iterable[str]:
    """Every sentence of the world, affirmed and negated, in every wording."""
    for proposition in propositions():
        for wording in range(NEW_WORDING + 1):
            for affirmed in (True, False):
                yield sentence(proposition, wording, affirmed)
