"""The user's table with a label for every row: what is shown, written out and reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consilience.data.frames import free_name, own_rows

if TYPE_CHECKING:
    import pandas as pd

    from consilience.data.dataset import Dataset


def result_table(
    data: Dataset, labels: pd.DataFrame, details: bool = False, decided_only: bool = False
) -> pd.DataFrame:
    """The rows as the user has them, then `label`, `probability`, `uncertainty` and `open`.

    `labels` are those of `Found.labels`, one for each example; each row of an example gets them.
    `label` is the name of a class, `uncertainty` the entropy of the label in nats, from 0 to the
    logarithm of the number of classes. `details` adds what the uncertainty is made of, the number
    of predictions, the probability of each class and the example's own id; `decided_only` leaves
    out rows whose label is open. Where the user has a column of such a name, the new one is called
    `consilience_label` and so on.
    """
    import pandas as pd

    frame, at = own_rows(data)
    of_row = labels.iloc[list(at)].set_axis(frame.index, axis=0)
    added = pd.DataFrame(
        {
            "label": of_row["name"],
            "probability": of_row["probability"],
            "uncertainty": of_row["epistemic"] + of_row["aleatoric"],
            "open": of_row["open"],
        }
    )
    if details:
        kept = [c for c in labels.columns if c not in ("id", "label", "name", *added.columns)]
        added = pd.concat([added, of_row[kept]], axis=1)
        added["example"] = of_row["id"]
    taken = list(frame.columns)
    renamed = added.rename(columns=lambda name: free_name(name, taken))
    table = pd.concat([frame, renamed], axis=1)
    return table[~added["open"].to_numpy()] if decided_only else table
