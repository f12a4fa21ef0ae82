"""The labels of a run as the rows that its store keeps of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from consilience.store.database import Store
from consilience.store.schema import storable

if TYPE_CHECKING:
    from consilience.results.result import Found


def keep_labels(found: Found, store: Store) -> None:
    """Keeps them in the store of the run, where it has a file; those kept before stay."""
    if store.place is not None:
        store.save_labels(found.run.id, _rows(found))


def _rows(found: Found) -> list[dict[str, Any]]:
    frame = found.labels
    columns = ("id", "label", "name", "probability", "epistemic", "aleatoric", "open")
    texts = map(storable, found.dataset.texts)
    rows = zip(texts, *(frame[c].astype(object) for c in columns), strict=True)
    return [
        {
            "example": id,
            "text": text,
            "label": None if pd.isna(label) else int(label),
            "class": None if pd.isna(label) else storable(name),
            "probability": _number(probability),
            "epistemic": _number(epistemic),
            "aleatoric": _number(aleatoric),
            "open": int(is_open),
        }
        for text, id, label, name, probability, epistemic, aleatoric, is_open in rows
    ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
