"""Made-up rows in the form of tiny-mfv: three sets, each in two persons, with human ratings."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

SOURCES = ("moral-foundations", "moral-foundations-wrong")
HIDDEN = ("zyx", "Foundation:")

COLUMNS = ("Care", "Fairness", "Loyalty", "Authority", "Sanctity", "Liberty", "SocialNorms")
NAMES = (*COLUMNS[:-1], "Social Norms")

# What is done in the third and in the second person, and what raters called it; sorted by that.
ACTS = [
    ("scolding a lamp that is deaf", "scold a lamp that is deaf", 0),
    ("pinching the sleeping moon", "pinch the sleeping moon", 0),
    ("selling the same fog twice", "sell the same fog twice", 1),
    ("praising the other tide", "praise the other tide", 2),
    ("interrupting « the » bell", "interrupt « the » bell", 3),
    ("licking {a} river", "lick {a} river", 4),
    ("forcing an echo to answer", "force an echo to answer", 5),
    ("wearing two left stairs", "wear two left stairs", 6),
    ("eating soup with a gate", "eat soup with a gate", 6),
    # As many raters for one as for another.
    ("tuning a hill", "tune a hill", None),
]


def ratings(top: int | None, turn: int) -> list[float]:
    shares = [0.0] * len(COLUMNS)
    for k, share in ((0, 50.0), (1, 50.0)) if top is None else ((top, 83.0), (top + 1, 17.0)):
        shares[(k + turn) % len(COLUMNS)] = share
    return shares


def rows(name: str, person: str, *, swap: bool = False) -> list[dict[str, Any]]:
    made = []
    for n, (other, own, top) in enumerate(ACTS):
        text = f"You see someone {other}." if person == "other_violate" else f"You {own}."
        text = {"classic": text, "scifi": f"{text} In orbit.", "ai-actor": f"{text} As a bot."}[
            name
        ]
        if name == "ai-actor" and person == "self_violate" and n % 2:
            text += ("\n" if n % 4 == 1 else " ") + f"Foundation: {NAMES[top or 0]} (zyx)"
        # A turn of all seven keeps the shares and changes what each of them is for.
        turn = 1 if swap else 0
        key = f"scifi {n}" if name == "scifi" else f"{n}"
        coarse = NAMES[((top or 0) + turn) % len(NAMES)]
        row: dict[str, Any] = {
            "id": hashlib.sha256(key.encode()).hexdigest()[:16],
            "foundation": f"{coarse} (zyx)",
            "foundation_coarse": coarse,
            "wrong": 0.2 if coarse == "Social Norms" else 3.1,
            "text": text,
        }
        row |= {f"ai_{column}": 14.3 for column in COLUMNS} | {"ai_wrongness": 2.0 + n / 10}
        shares = zip(COLUMNS, ratings(top, turn), strict=True)
        made.append(row | {f"human_{column}": share for column, share in shares})
    return made


def write(folder: Path, *, swap: bool = False, shuffle: int | None = None) -> None:
    """All six files; `swap` moves the ratings of each vignette one foundation on."""
    ours = folder / "tiny_mfv"
    ours.mkdir(parents=True, exist_ok=True)
    for name in ("classic", "scifi", "ai-actor"):
        for person in ("other_violate", "self_violate"):
            made = rows(name, person, swap=swap)
            if shuffle is not None:
                random.Random(shuffle).shuffle(made)
            text = "".join(json.dumps(row) + "\n" for row in made)
            (ours / f"vignettes_{name}_{person}.jsonl").write_text(text, encoding="utf-8")
