"""What identifies a row of a store: hashes of its content, written as canonical JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

from consilience.errors import StoreError


def _plain_number(value: object) -> int | float:
    """A number of another library, such as numpy's, as Python's."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"a {type(value).__name__} is no plain JSON data")


# `json.dumps` makes a new one for each value.
_STRICT = json.JSONEncoder(allow_nan=False, default=_plain_number)
STORED_JSON = json.JSONEncoder(separators=(",", ":"))
"""How values are stored."""

HASHED_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
"""How values are hashed."""


def dump(value: object) -> str:
    """A value as compact JSON text in ASCII; StoreError if it is not plain JSON data."""
    try:
        return STORED_JSON.encode(value)
    except (TypeError, ValueError) as error:
        raise StoreError(f"only plain JSON data can be stored: {error}") from error


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are hashed and stored: plain JSON data, 0.0 and 0 the same, no NaN."""
    return dict(_plain(_strict(settings)))


def plain_text(settings: Mapping[str, Any]) -> str:
    """Settings as they are stored, as compact JSON text."""
    return _texts(_strict(settings))[0]


def canonical_text(settings: Mapping[str, Any]) -> str:
    """Settings as they are hashed, as canonical JSON text."""
    return _texts(_strict(settings))[1]


def _strict(settings: Mapping[str, Any]) -> str:
    try:
        return _STRICT.encode(dict(settings))
    except (TypeError, ValueError) as error:
        raise StoreError(f"settings must be plain JSON data: {error}") from error


# Cached, because a model has the same settings for each prediction.
@lru_cache(maxsize=64)
def _plain(strict: str) -> dict[str, Any]:
    """Settings from their JSON."""
    return dict(json.loads(strict, parse_float=_number))


@lru_cache(maxsize=64)
def _texts(strict: str) -> tuple[str, str]:
    """Settings as compact and as canonical JSON, from their JSON."""
    return STORED_JSON.encode(_plain(strict)), HASHED_JSON.encode(_plain(strict))


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def tagged_hash(content: object) -> str:
    """``sha256:`` and the hexadecimal digest of `content` as canonical JSON."""
    return _digest(HASHED_JSON.encode(content))


def _digest(canonical: str) -> str:
    return "sha256:" + hashlib.sha256(canonical.encode("ascii")).hexdigest()


def identity(row: Mapping[str, Any]) -> str:
    """The key of a prediction, from the five columns that decide the answer."""
    return _with_settings(row, "label_names", "model", "prompt", "repeat")


def text_identity(row: Mapping[str, Any]) -> str:
    """The key of a text, from the three columns that decide it."""
    return _with_settings(row, "model", "prompt")


def _with_settings(row: Mapping[str, Any], *names: str) -> str:
    """The hash of columns and of the settings, whose name comes last among those of the columns."""
    first = HASHED_JSON.encode({name: row[name] for name in names})
    settings = canonical_text(row["settings"])
    return _digest(f'{first[:-1]},"settings":{settings}}}')


def run_identity(row: Mapping[str, Any]) -> str:
    """The id of a run: 12 hexadecimal digits, from what decides its first plan."""
    names = ("dataset", "model", "style", "seed")
    both = {n: plain(row[n]) for n in ("model_settings", "settings")}
    return tagged_hash({n: row[n] for n in names} | both)[7:19]
