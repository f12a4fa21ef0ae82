"""Examples without an answer: which they are, why, and what follows where all are.

A row that the model refuses has no label and is never a shot; the others go on without it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from consilience.data.dataset import Dataset
from consilience.errors import ModelError
from consilience.store.database import Store
from consilience.store.runner import CallCounts


def why_unanswered(
    store: Store, run: str, dataset: Dataset, unheard: NDArray[np.bool_]
) -> dict[str, str]:
    """Why each of the examples `unheard` (N,) has no answer, by id."""
    reasons = store.reasons(run) if unheard.any() else {}
    ids = [dataset.ids[i] for i in np.flatnonzero(unheard)]
    return {id: reasons.get(id, "it was not asked") for id in ids}


def all_refused(data: Dataset, asked: CallCounts) -> ModelError:
    """The error of a data set of which the model refused every row."""
    last = next(reversed(asked.failures.values()))
    return ModelError(f"all {len(asked.refused):,} rows of {data.name!r} were refused: {last}")
