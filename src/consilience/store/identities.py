"""What identifies a row of a store: hashes of its content, written as canonical JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from consilience.errors import StoreError

# `json.dumps` makes a new one for each value.
_STRICT = json.JSONEncoder(allow_nan=False)
_COMPACT = json.JSONEncoder(separators=(",", ":"))
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def dump(value: object) -> str:
    """A value as compact JSON text in ASCII; StoreError if it is not plain JSON data."""
    try:
        return _COMPACT.encode(value)
    except (TypeError, ValueError) as error:
        raise StoreError(f"only plain JSON data can be stored: {error}") from error


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are hashed and stored: plain JSON data, 0.0 and 0 the same, no NaN."""
    try:
        text = _STRICT.encode(dict(settings))
    except (TypeError, ValueError) as error:
        raise StoreError(f"settings must be plain JSON data: {error}") from error
    return dict(_read(text))


@lru_cache(maxsize=64)
def _read(text: str) -> dict[str, Any]:
    """Settings from their JSON; cached, because a model has the same for each prediction."""
    return dict(json.loads(text, parse_float=_number))


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def tagged_hash(content: object) -> str:
    """``sha256:`` and the hexadecimal digest of `content` as canonical JSON."""
    return "sha256:" + hashlib.sha256(_CANONICAL.encode(content).encode("ascii")).hexdigest()


def identity(row: Mapping[str, Any]) -> str:
    """The key of a prediction, from the five columns that decide the answer."""
    names = ("model", "prompt", "label_names", "repeat")
    return tagged_hash({n: row[n] for n in names} | {"settings": plain(row["settings"])})


def text_identity(row: Mapping[str, Any]) -> str:
    """The key of a text, from the three columns that decide it."""
    names = ("model", "prompt")
    return tagged_hash({n: row[n] for n in names} | {"settings": plain(row["settings"])})


def run_identity(row: Mapping[str, Any]) -> str:
    """The id of a run: 12 hexadecimal digits, from what decides its first plan."""
    names = ("dataset", "model", "style", "seed")
    both = {n: plain(row[n]) for n in ("model_settings", "settings")}
    return tagged_hash({n: row[n] for n in names} | both)[7:19]
