"""The rounds of a run as a table: what was asked in each, and how its answers fit the labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from consilience.data.arrays import Floats
from consilience.evidence.evidence import Evidence


def round_table(evidence: Evidence, labels: Floats) -> pd.DataFrame:
    """One row per round whose answers count, under soft `labels` (N, K).

    `asked`: zero-shot, or with shots (found); `answers`: how many count, about so many `examples`;
    `shots`: the mean number shown; `agreement`: the share of its answers, offsets off, whose best
    class is that of the label; `log_odds`: the mean of those of the label against the best other
    class, in nats; `bounded`: the share of answers with a label that is only bounded.
    """
    predictions = evidence.predictions
    every, hard = np.arange(evidence.t), labels.argmax(axis=1)[predictions.target.numpy()]
    logp = predictions.logp.numpy().copy()
    own = logp[every, hard]
    logp[every, hard] = -np.inf
    odds = own - logp.max(axis=1)
    asked = np.where(predictions.zero.numpy(), "zero-shot", "found")
    answers = pd.DataFrame(
        {
            "round": predictions.round.numpy(),
            "asked": asked,
            "target": predictions.target.numpy(),
            "shots": evidence.shot_counts.numpy(),
            "agrees": np.where(odds == 0, 0.5, odds > 0),
            "log_odds": odds,
            "bounded": predictions.bounded.numpy(),
        }
    )
    return answers.groupby("round", as_index=False).agg(
        asked=("asked", "first"),
        answers=("target", "size"),
        examples=("target", "nunique"),
        shots=("shots", "mean"),
        agreement=("agrees", "mean"),
        log_odds=("log_odds", "mean"),
        bounded=("bounded", "mean"),
    )
