"""Who gave the answers in a store: by the name that a server gives a model, its build, its voice.

The voice is the number of the way in which the canary was answered last before a prediction; 0
where it never was.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from consilience.models.served import served_by
from consilience.store.contents import number_of
from consilience.store.rows import OF_PREDICTION, Prediction, prediction_of
from consilience.store.schema import response_text
from consilience.store.voices import CANARY, FIXED_QUESTIONS, Voices


@dataclass(slots=True)
class AnswerSource:
    """One of those that answered under a name, and how much it answered, canaries left out.

    `served` and `build` are what its answers say of themselves, None where they say nothing;
    `first` and `last` are when the first and last of its predictions were stored.
    """

    model: str
    served: str | None
    build: str | None
    voice: int
    predictions: int
    first: str
    last: str


_READ = f"{OF_PREDICTION}, created, model, settings, raw, raw_like, rowid"


def sources(db: sqlite3.Connection) -> list[AnswerSource]:
    """Everybody who answered, in the order of their first predictions."""
    found: dict[tuple[str, str | None, str | None, int], AnswerSource] = {}
    heard: dict[tuple[str, str], Voices] = {}
    checks: dict[tuple[str, str, int], dict[str, Prediction]] = {}
    for row in db.execute(f"SELECT {_READ} FROM predictions ORDER BY rowid"):
        asked = (row["model"], row["settings"])
        if row["framing"] == CANARY:
            said = checks.setdefault((*asked, row["repeat"]), {})
            said[row["target"]] = prediction_of(row)
            if len(said) == len(FIXED_QUESTIONS):
                heard.setdefault(asked, Voices()).hear(said)
            continue
        now = heard[asked].now if asked in heard else None
        voice = 0 if now is None else now + 1
        served, build = served_by(json.loads(response_text(row, db)))
        one = found.setdefault(
            (row["model"], served, build, voice),
            AnswerSource(row["model"], served, build, voice, 0, row["created"], row["created"]),
        )
        one.predictions += 1
        one.last = row["created"]
    return list(found.values())


def latest_answers(db: sqlite3.Connection, model: str, count: int) -> list[Any]:
    """The raw responses of a model's last predictions, the newest first."""
    rows = db.execute(
        "SELECT answers.id AS rowid, raw, content AS raw_like FROM answers "
        "LEFT JOIN contents ON contents.id = raw_like WHERE model = ? "
        "ORDER BY answers.id DESC LIMIT ?",
        (number_of(db, model), count),
    ).fetchall()
    return [json.loads(response_text(row, db)) for row in rows]
