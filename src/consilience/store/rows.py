"""The rows of a store as objects: a prediction, and a run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consilience.prompts.query import Query
from consilience.store.schema import query_of

TAKEN_BACK = -1
"""Stands for a class where a correction was taken back."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A query and what the model said of each label, without the prompt and the raw response.

    `query` is the one under which it was first asked; a plan may reach the same prompt by another.
    Log-probabilities in nats, `seconds` from the request to the answer.
    """

    key: str
    query: Query
    label_names: tuple[str, ...]
    logprobs: tuple[float, ...]
    exact: tuple[bool, ...]
    mass: float
    usage: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """The record of a run: what was asked of which model with which settings, and how far it is.

    `planned`, `answered` and `failed` count rows of the plan; a row that failed and was answered
    later is answered.
    """

    id: str
    dataset: str
    dataset_name: str
    model: str
    style: str
    model_settings: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    created: str
    versions: Mapping[str, str]
    rounds: int
    planned: int
    answered: int
    failed: int


def prediction_of(row: sqlite3.Row) -> Prediction:
    """The prediction in a row of the table of predictions."""
    return Prediction(
        key=row["key"],
        query=query_of(row),
        label_names=tuple(json.loads(row["label_names"])),
        logprobs=tuple(json.loads(row["logprobs"])),
        exact=tuple(json.loads(row["exact"])),
        mass=row["mass"],
        usage=json.loads(row["usage"]),
        seconds=row["seconds"],
    )
