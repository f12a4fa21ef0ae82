"""What there is to know in the pocket world: propositions, each true or not, each believed or not.

A proposition is a relation between a subject and an object. Its `truth` is computed or looked up;
`popular` says whether people believe it. They differ where a fact has a popular misconception:
carries are forgotten in sums, numbers are compared by their first digit, the week begins on
Sunday, a large city is taken for the capital, and some things are put into the wrong drawer (a
few as in life, "whales are fish", most of them invented, chosen by a hash).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from consilience.datasets.pocket_world.tables import (
    ALPHABET,
    CATEGORIES,
    CONTINENTS,
    COUNTRIES,
    DAYS,
    DRAWERS,
    MONTHS,
)

TOPIC_OF = {
    "sum": 0,
    "compare": 0,
    "day": 1,
    "month": 1,
    "letter": 1,
    "category": 2,
    "capital": 3,
    "continent": 3,
}
"""The topic of each kind of proposition, an index into `TOPICS`."""

TOPICS = ("Numbers", "Order", "Words", "Places")

_LARGEST = 29
"""Numbers up to this one are compared."""


@dataclass(frozen=True, slots=True)
class Proposition:
    """A relation between a subject and an object; `key` names what must be held out together.

    `contested` says that the fact behind it has a popular misconception, so that for some object
    truth and popular belief differ. `words` are the content words.
    """

    kind: str
    subject: str
    object: str
    key: str
    truth: bool
    popular: bool
    contested: bool

    @property
    def words(self) -> tuple[str, ...]:
        """The words that carry the content."""
        return (*self.subject.replace("+ ", "").split(), self.object)


def chance(*of: object) -> float:
    """A number in [0, 1) that depends on nothing but the arguments, the same on any machine."""
    digest = hashlib.sha256("\x1f".join(map(str, of)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def pick(options: Sequence[str], *of: object) -> str:
    """One of the options, by a hash of the other arguments."""
    return options[int(chance("pick", *of) * len(options))]


def _of_object(
    kind: str, subject: str, right: str, popular: str, objects: set[str]
) -> list[Proposition]:
    """The propositions of one subject; an object is the right one, the popular one, or neither."""
    return [
        Proposition(
            kind,
            subject,
            object,
            f"{kind}|{subject}|{object}",
            object == right,
            object == popular,
            right != popular,
        )
        for object in sorted(objects)
    ]


def _categories() -> Iterator[Proposition]:
    for category, things in CATEGORIES.items():
        for thing in things:
            popular = DRAWERS.get(thing, category)
            if thing not in DRAWERS and chance("drawer", thing) < 0.25:
                popular = pick([c for c in CATEGORIES if c != category], "drawer", thing)
            yield from _of_object("category", thing, category, popular, set(CATEGORIES))


def _places() -> Iterator[Proposition]:
    cities = [city for capital, other, _ in COUNTRIES.values() for city in (capital, other)]
    for country, (capital, other, continent) in COUNTRIES.items():
        popular = other if chance("city", country) < 0.35 else capital
        wrong = {pick(cities, "city", country, i) for i in range(4)}
        yield from _of_object("capital", country, capital, popular, {capital, other} | wrong)
        for place in (country, capital):
            believed = continent
            if chance("continent", place) < 0.2:
                believed = pick([c for c in CONTINENTS if c != continent], "continent", place)
            yield from _of_object("continent", place, continent, believed, set(CONTINENTS))


def _sums() -> Iterator[Proposition]:
    for a in range(10):
        for b in range(10):
            right = a + b
            popular = right % 10
            objects = {right, popular} | {right + d for d in (-2, -1, 1, 2) if right + d >= 0}
            low, high = sorted((a, b))
            for c in sorted(objects):
                yield Proposition(
                    "sum",
                    f"{a} + {b}",
                    str(c),
                    f"sum|{low}|{high}|{c}",
                    c == right,
                    c == popular,
                    right != popular,
                )


def _order(kind: str, names: Sequence[str], believed: Sequence[str]) -> Iterator[Proposition]:
    """The subject comes before the object, in truth by `names`, in popular belief by `believed`."""
    rank = {name: i for i, name in enumerate(believed)}
    for first, second in combinations(names, 2):
        as_believed = rank[first] < rank[second]
        key = f"{kind}|{first}|{second}"
        yield Proposition(kind, first, second, key, True, as_believed, not as_believed)
        yield Proposition(kind, second, first, key, False, not as_believed, not as_believed)


def _comparisons() -> Iterator[Proposition]:
    """The subject is more than the object; in popular belief the first digit decides."""
    falling = [str(n) for n in range(_LARGEST, -1, -1)]
    yield from _order("compare", falling, sorted(falling, reverse=True))


@cache
def propositions() -> tuple[Proposition, ...]:
    """Every proposition of the world, in a fixed order."""
    return (
        *_sums(),
        *_comparisons(),
        *_order("day", DAYS, (DAYS[-1], *DAYS[:-1])),
        *_order("month", MONTHS, MONTHS),
        *_order("letter", ALPHABET, ALPHABET),
        *_categories(),
        *_places(),
    )
