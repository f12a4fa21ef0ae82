"""Data sets of the pocket world, made up anew for each seed: claims that a tiny model can know.

Training of such a model never labels them in these wordings. Every claim has several attributes
that a labelling could follow; gold is its truth, or its topic. A claim and its negation are not
both true and not both false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial

from consilience.data.readers import Rows
from consilience.data.relation_columns import exactly_one
from consilience.data.relations import Relation
from consilience.data.task import Task
from consilience.datasets.pocket_world import world
from consilience.datasets.pocket_world.facts import TOPICS
from consilience.datasets.pocket_world.world import Claim
from consilience.datasets.source import LABEL, Chosen, Option, Reader, Source
from consilience.errors import InputError

TRUTH = Task()
TOPIC = Task("What is the claim about?", TOPICS, None, None)

_HIDDEN = (
    *("kind", "topic", "truth", "popular", "source", "firm", "affirmed", "calm"),
    *("contested", "held_out", "new_wording"),
)

CLAIMS = Option("claims", "400", "how many claims")
TRUE = Option("true", "0.1", "which share of the claims is true, from 0.01 to 0.99")


def salient(seed: int, count: int) -> list[Claim]:
    """Claims in which speaker, firmness and ending go together, so that they stand out as one."""
    # One claim in four is marked; several draws, and of each proposition the first marked claim.
    found: dict[str, Claim] = {}
    draw = 0
    while len(found) < count:
        for claim in world.claims(1000 * seed + draw, count, pairs=0.0):
            if claim.source == claim.firm == claim.calm:
                found.setdefault(claim.group, claim)
        draw += 1
    return list(found.values())[:count]


def _read(
    make: Callable[[int, int], Sequence[Claim]], gold: str, reader: Reader, chosen: Chosen
) -> Rows:
    """A row for each claim, with all its attributes."""
    return _rows(make(reader.seed, _count(chosen)), gold)


def read_imbalanced(reader: Reader, chosen: Chosen) -> Rows:
    """The same, with the share of true claims that was asked for."""
    said = chosen["true"]
    try:
        share = float(said)
    except ValueError:
        share = -1.0
    if not 0.01 <= share <= 0.99:
        raise InputError(f"true is a share from 0.01 to 0.99, got {said!r}")
    return _rows(world.imbalanced(reader.seed, share, _count(chosen)), "truth")


def _count(chosen: Chosen) -> int:
    said = chosen["claims"]
    if not said.isdecimal() or not 8 <= int(said) <= 800:
        raise InputError(f"claims is a number from 8 to 800, got {said!r}")
    return int(said)


def _rows(claims: Sequence[Claim], gold: str) -> Rows:
    return Rows(asdict(claim) | {LABEL: getattr(claim, gold)} for claim in claims)


def _relate(rows: Rows, ids: Sequence[str]) -> Sequence[Relation]:
    """Of a claim and its negation one is true, whatever the world is like."""
    return exactly_one(ids, [row["group"] for row in rows], prior=False)


def _source(
    name: str,
    about: str,
    make: Callable[[Reader, Chosen], Rows],
    *,
    task: Task = TRUTH,
    pairs: bool = False,
    options: tuple[Option, ...] = (CLAIMS,),
    traps: str = "",
) -> Source:
    return Source(
        name=name,
        about=about,
        licence="made here",
        origin="consilience.datasets.pocket_world",
        cite="this package",
        page="pocket",
        task=lambda chosen: task,
        text="{text}",
        fields=("text", "group"),
        group="group",
        read=make,
        relate=_relate if pairs else None,
        relations=("exactly-one",) if pairs else (),
        hidden=_HIDDEN,
        options=options,
        examples=int(options[0].default),
        traps=traps,
    )


POCKET_SOURCES: tuple[Source, ...] = (
    _source(
        "pocket",
        "short claims, half of them true",
        partial(_read, world.claims, "truth"),
        pairs=True,
    ),
    _source(
        "pocket-popular",
        "claims half of which people get wrong: popular belief stands out more than the truth",
        partial(_read, world.popular_claims, "truth"),
        options=(replace(CLAIMS, default="240"),),
        traps="Truth and popular belief agree by chance only.",
    ),
    _source(
        "pocket-imbalanced",
        "claims few of which are true, or nearly all",
        read_imbalanced,
        options=(CLAIMS, TRUE),
    ),
    _source(
        "pocket-salient",
        "claims in which speaker, firmness and ending go together and stand out",
        partial(_read, salient, "truth"),
        traps="Speaker, firmness and ending are one feature, as frequent as the truth.",
    ),
    _source(
        "pocket-no-answer",
        "claims about things that do not exist: success is staying unsure",
        partial(_read, world.unanswerable, "truth"),
        traps="Gold is a coin.",
    ),
    _source(
        "pocket-topics",
        "claims about four topics",
        partial(_read, world.balanced_topics, "topic"),
        task=TOPIC,
        options=(replace(CLAIMS, default="240"),),
    ),
)
"""The data sets of the pocket world."""
