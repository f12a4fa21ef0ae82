"""Geometry of Truth: plain statements of fact whose negations, orders, ands and ors are exact.

Samuel Marks and Max Tegmark, "The Geometry of Truth: Emergent Linear Structure in Large Language
Model Representations of True/False Datasets", 2023, arXiv:2310.06824. Everything that relates two
statements is read from their words. The other columns of the files (the right country, the size
of a difference, the labels of the parts) tell the label and are kept out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from consilience.data.dataset import example_id
from consilience.data.readers import Rows, texts
from consilience.data.relation_columns import comparisons, opposites, per_group
from consilience.data.relations import And, AtMostOne, Equal, Or, Relation
from consilience.data.task import Task
from consilience.datasets.hub import Hub
from consilience.datasets.source import Chosen, Option, Reader, Source
from consilience.errors import InputError

_TASK = Task(
    question="Each item is a statement. Is the statement true or false?",
    classes=("False", "True"),
    statement="The statement is true",
    opposite="The statement is false",
)

_REPOSITORY = (
    "https://raw.githubusercontent.com/saprmarks/geometry-of-truth/"
    "a65a07fe38f27cbb4cc6f472b957fb3e53ef9f6d/datasets"
)

CITY = re.compile(r"The city of (?P<city>.+) is (?P<negation>not )?in (?P<country>.+)\.")
WORD = re.compile(
    r"The Spanish word '(?P<word>.+)' (?P<negation>does not mean|means) '(?P<meaning>.+)'\."
)
NUMBERS = re.compile(r"(?P<one>\S+) is (?P<how>larger|smaller) than (?P<other>\S+)\.")
BOTH = re.compile(r"It is the case both that (.+) and that (.+)\.")
EITHER = re.compile(r"It is the case either that (.+) or that (.+)\.")

NEGATIONS = Option(
    "negations", "with", "the statements with their negations, or alone", ("with", "without")
)
_LIMIT = Option(
    "limit",
    "all",
    "how many compound statements, chosen by a hash of their words, come with their parts; or all",
)


def _table(reader: Reader, stem: str, fields: Sequence[str]) -> Rows:
    """The rows of one of the publisher's files."""
    file = f"{stem}.csv"
    return reader.rows((f"geometry/{file}", file), Hub(file=f"{_REPOSITORY}/{file}"), fields)


def parsed(found: Rows, form: re.Pattern[str]) -> Iterator[tuple[int, str, re.Match[str]]]:
    """The number, the statement and the parts of each row, all of which have one form."""
    for i, statement in enumerate(texts(found, "statement")):
        if (match := form.fullmatch(statement)) is None:
            raise InputError(
                f"{found.place(i)}: the statement {statement[:60]!r} has not the form that all "
                "of this data set have; use the file as the publisher wrote it"
            )
        yield i, statement, match


def gold(found: Rows, i: int, column: str = "label") -> str:
    """A label as the publisher writes it, 0 or 1."""
    cell = found.cell(i, column)
    if cell not in ("0", "1"):
        raise InputError(
            f"{found.place(i)}: {cell!r} in column {column!r}, expected 0 or 1; "
            "use the file as the publisher wrote it"
        )
    return cell


# --- cities, and Spanish words: statements and their negations


def read_cities(reader: Reader, chosen: Chosen) -> Rows:
    """A row for each statement, with its city, its country and whether it is a negation."""
    made = []
    for stem in _stems("cities", chosen):
        found = _table(reader, stem, ("statement", "label", "correct_country"))
        for i, statement, match in parsed(found, CITY):
            made.append(
                {
                    "statement": statement,
                    **match.groupdict(),
                    "label": gold(found, i),
                    "correct_country": found[i]["correct_country"],
                    "file": f"{stem}.csv",
                }
            )
    return Rows(made)


def read_words(reader: Reader, chosen: Chosen) -> Rows:
    """A row for each statement, with its word, its meaning and whether it is a negation."""
    made = []
    for stem in _stems("sp_en_trans", chosen):
        found = _table(reader, stem, ("statement", "label"))
        for i, statement, match in parsed(found, WORD):
            row = {"statement": statement, **match.groupdict()}
            made.append({**row, "label": gold(found, i), "file": f"{stem}.csv"})
    return Rows(made)


def _stems(stem: str, chosen: Chosen) -> tuple[str, ...]:
    return (stem, f"neg_{stem}") if chosen["negations"] == "with" else (stem,)


def relate_cities(rows: Rows, ids: Sequence[str]) -> Sequence[Relation]:
    """A statement and its negation are opposite; a city is in one country at most."""
    pairs = zip(texts(rows, "city"), texts(rows, "country"), strict=True)
    return [*opposites(ids, pairs), *one_country(rows, ids)]


def one_country(rows: Rows, ids: Sequence[str]) -> list[Relation]:
    """At most one true among the plain statements of where a city is."""
    plain = [None if row["negation"] or row.get("part1") else row["city"] for row in rows]
    return per_group(AtMostOne, ids, plain, prior=False)


def relate_words(rows: Rows, ids: Sequence[str]) -> Sequence[Relation]:
    """A statement and its negation are opposite. A word may have several meanings."""
    return opposites(ids, zip(texts(rows, "word"), texts(rows, "meaning"), strict=True))


# --- larger and smaller: an order


def read_numbers(reader: Reader, chosen: Chosen) -> Rows:
    """A row for each comparison: which number it says is the larger one, and which the smaller.

    The numbers go by names that do not tell their size.
    """
    made = []
    for stem in ("larger_than", "smaller_than"):
        found = _table(reader, stem, ("statement", "label", "diff", "abs_diff"))
        for i, statement, match in parsed(found, NUMBERS):
            said = [_name(match["one"]), _name(match["other"])]
            larger, smaller = said if match["how"] == "larger" else reversed(said)
            made.append(
                {
                    "statement": statement,
                    "larger": larger,
                    "smaller": smaller,
                    "pair": " ".join(sorted(said)),
                    "label": gold(found, i),
                    "diff": found[i]["diff"],
                    "abs_diff": found[i]["abs_diff"],
                    "file": f"{stem}.csv",
                }
            )
    return Rows(made)


def _name(number: str) -> str:
    # A relation needs to know which numbers are the same, and never what they are.
    return sha256(f"number {number.casefold()}".encode()).hexdigest()[:8]


def relate_numbers(rows: Rows, ids: Sequence[str]) -> Sequence[Relation]:
    """Equal: a larger than b, b smaller than a. Opposite: b larger than a. And transitivity."""
    larger, smaller = texts(rows, "larger"), texts(rows, "smaller")
    same = per_group(Equal, ids, zip(larger, smaller, strict=True), prior=False)
    return [*same, *comparisons(ids, larger, smaller)]


# --- conjunctions and disjunctions of two statements about cities


def read_compounds(reader: Reader, chosen: Chosen, *, stem: str, form: re.Pattern[str]) -> Rows:
    """A row for each compound statement, and one for each of its two parts."""
    beside = ("label1", "label2", "correct_country1", "correct_country2")
    found = _table(reader, stem, ("statement", "label", *beside))
    kept = _kept(texts(found, "statement"), chosen["limit"])
    made: list[dict[str, Any]] = []
    for i, statement, match in parsed(found, form):
        if statement not in kept:
            continue
        parts = [f"{part[0].upper()}{part[1:]}." for part in match.groups()]
        about = [_city(found, i, part) for part in parts]
        hidden = {name: found[i][name] for name in beside}
        made.append(
            {
                "statement": statement,
                "part1": parts[0],
                "part2": parts[1],
                "city": about[0]["city"],
                "label": gold(found, i),
                **hidden,
                "file": f"{stem}.csv",
            }
        )
        for n, (part, said) in enumerate(zip(parts, about, strict=True), start=1):
            made.append(
                {
                    "statement": part,
                    "city": said["city"],
                    "negation": said["negation"],
                    "label": gold(found, i, f"label{n}"),
                    "correct_country1": hidden[f"correct_country{n}"],
                    "file": f"{stem}.csv",
                }
            )
    return Rows(made)


def _city(found: Rows, i: int, part: str) -> re.Match[str]:
    if (match := CITY.fullmatch(part)) is None:
        raise InputError(
            f"{found.place(i)}: the part {part[:60]!r} is not about a city; "
            "use the file as the publisher wrote it"
        )
    return match


def _kept(statements: Sequence[str], limit: str) -> set[str]:
    if limit == "all":
        return set(statements)
    if not limit.isdecimal() or int(limit) < 1:
        raise InputError(f"limit={limit!r} is no number of statements; give one from 1, or all")
    return set(sorted(set(statements), key=example_id)[: int(limit)])


def relate_compounds(rows: Rows, ids: Sequence[str], *, kind: type[Relation]) -> Sequence[Relation]:
    """What makes the whole true of its parts; and a city is in one country at most."""
    id_of = dict(zip(texts(rows, "statement"), ids, strict=True))
    made: list[Relation] = []
    for id, row in zip(ids, rows, strict=True):
        if row["part1"] is not None:
            # Both parts may be the same statement, which then equals the whole.
            parts = dict.fromkeys((id_of[row["part1"]], id_of[row["part2"]]))
            made.append(kind((*parts, id)))
    return [*made, *one_country(rows, ids)]


_source = partial(
    Source,
    licence="CC BY 4.0",
    origin="https://github.com/saprmarks/geometry-of-truth",
    cite="Marks and Tegmark 2023, arXiv:2310.06824",
    page="geometry",
    task=lambda chosen: _TASK,
    text="{statement}",
)

CITIES = _source(
    name="geometry-cities",
    about="cities and the countries they are in, right and wrong, with all negations",
    fields=("statement", "city", "country", "negation"),
    group="city",
    read=read_cities,
    relate=relate_cities,
    relations=("opposite", "at-most-one"),
    hidden=("correct_country", "file"),
    options=(NEGATIONS,),
    examples=2992,
    edition="c3f7eb2bad469839",
    traps="Each city is said to be in its own country and in one other, mostly well-known facts.",
)

WORDS = _source(
    name="geometry-sp-en",
    about="Spanish words and English meanings, right and wrong, with all negations",
    fields=("statement", "word", "meaning", "negation"),
    group="word",
    read=read_words,
    relate=relate_words,
    relations=("opposite",),
    hidden=("file",),
    options=(NEGATIONS,),
    examples=702,
    edition="b15cb6224b16dd36",
    traps="Wrong meanings are drawn from the other words and are often of another part of speech.",
)

NUMBER_COMPARISONS = _source(
    name="geometry-larger-than",
    about="which of two numbers between 51 and 99, written out, is larger or smaller",
    fields=("statement", "larger", "smaller", "pair"),
    group="pair",
    read=read_numbers,
    relate=relate_numbers,
    relations=("equal", "opposite", "ordered"),
    hidden=("diff", "abs_diff", "file"),
    examples=3960,
    edition="b3be1015dfeedfdf",
    traps="Every label follows from the order of 45 numbers, which a few right ones give away.",
)

_compounds = partial(
    _source,
    fields=("statement", "part1", "part2", "city", "negation"),
    group="city",
    hidden=("label1", "label2", "correct_country1", "correct_country2", "file"),
    options=(_LIMIT,),
)

CONJUNCTIONS = _compounds(
    name="geometry-conj",
    about="conjunctions of two statements about cities, with the statements they are made of",
    read=partial(read_compounds, stem="cities_cities_conj", form=BOTH),
    relate=partial(relate_compounds, kind=And),
    relations=("and", "at-most-one"),
    traps=(
        "Parts were drawn so that half of the conjunctions are true, which makes seven in ten "
        "parts true."
    ),
)

DISJUNCTIONS = _compounds(
    name="geometry-disj",
    about="disjunctions of two statements about cities, with the statements they are made of",
    read=partial(read_compounds, stem="cities_cities_disj", form=EITHER),
    relate=partial(relate_compounds, kind=Or),
    relations=("or", "at-most-one"),
    traps=(
        "Parts were drawn so that half of the disjunctions are true, which makes seven in ten "
        "parts false."
    ),
)
