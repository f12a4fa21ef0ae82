"""The predictions of a run as a table: what was asked, and what the model said of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from consilience.results.result import Found


def prediction_table(found: Found) -> pd.DataFrame:
    """One row per prediction, in the order asked, as it was answered; ids are those of rows.

    `key` is that of the store, `shots` a list of (id, class), `contrast` the place of the shot that
    was flipped. `logp_…` has the log-probability of each class in nats; `exact` says that none of
    them is only bounded, `mass` is the probability of all label names together, `seconds` the time
    to the answer.
    """
    data = found.dataset
    order = found.orientation.order if found.orientation else range(data.task.k)
    own = dict(zip(data.ids, map(data.own_id, data.ids), strict=True))
    said = list(found.predictions.values())
    asked = [p.query for p in said]
    # Landmarks may have renamed the classes since.
    meant = {was: now for now, was in enumerate(order)}
    return pd.DataFrame(
        {
            "key": [p.key for p in said],
            "target": [own[q.target] for q in asked],
            "framing": [q.framing for q in asked],
            "repeat": [q.repeat for q in asked],
            "contrast": pd.array([q.contrast for q in asked], dtype="Int64"),
            "shots": [[(own[id], data.task.classes[meant[c]]) for id, c in q.shots] for q in asked],
            **{
                f"logp_{name}": [p.logprobs[c] for p in said]
                for name, c in zip(data.task.classes, order, strict=True)
            },
            "exact": [all(p.exact) for p in said],
            "mass": [p.mass for p in said],
            "seconds": [p.seconds for p in said],
        }
    )
