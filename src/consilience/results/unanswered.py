"""Examples without an answer: which they are, why, and what follows where all are.

A row that the model refuses has no label and is never a shot; the others go on without it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from consilience.data.dataset import Dataset
from consilience.errors import ModelError
from consilience.evidence.evidence import Evidence
from consilience.store.database import Store
from consilience.store.runner import CallCounts


def without_answer(evidence: Evidence) -> NDArray[np.bool_]:
    """The examples that no prediction speaks of, (N,)."""
    counts = np.bincount(evidence.target.numpy(), minlength=evidence.n)
    return np.asarray(counts == 0)


def why_unanswered(store: Store, run: str, evidence: Evidence, dataset: Dataset) -> dict[str, str]:
    """Why each example without an answer has none, by id."""
    unheard = np.flatnonzero(without_answer(evidence))
    reasons = store.reasons(run) if len(unheard) else {}
    ids = [dataset.ids[i] for i in unheard]
    return {id: reasons.get(id, "it was not asked") for id in ids}


def all_refused(data: Dataset, asked: CallCounts) -> ModelError:
    """The error of a data set of which the model refused every row."""
    last = next(reversed(asked.failures.values()))
    return ModelError(f"all {len(asked.refused):,} rows of {data.name!r} were refused: {last}")
