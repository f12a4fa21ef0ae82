"""What an elicitation found: labels with their uncertainty, and the evidence behind each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from consilience.ask import Asked
from consilience.coherence import Terms
from consilience.errors import InputError
from consilience.evidence import Evidence
from consilience.examples import Dataset
from consilience.prompts import Framing
from consilience.reading import ZERO_SHOT_WEIGHT
from consilience.solvers import Solution
from consilience.store import Run
from consilience.uncertainty import Uncertainty


@dataclass(frozen=True)
class Found:
    """Labels, how sure they are, what they rest on and what they cost.

    `solution` has the soft labels and the other optima, `evidence` every prediction that counted,
    `asked` what this very call asked (nothing, where everything was in the store), `saved` how
    many calls of the budget were not planned.
    """

    dataset: Dataset
    framings: tuple[Framing, ...]
    run: Run
    evidence: Evidence
    terms: Terms
    solution: Solution
    uncertainty: Uncertainty
    saved: int
    asked: Asked

    @cached_property
    def labels(self) -> pd.DataFrame:
        """One row per example: id, label, its name and probability, uncertainties, predictions.

        `probability` is that of the label given, uncalibrated; `p_…` those of all classes;
        uncertainties are in nats; `predictions` counts those that spoke of the example.
        """
        q = self.solution.labels
        hard = q.argmax(axis=1)
        names = self.dataset.task.classes
        counts = np.bincount(self.evidence.target.numpy(), minlength=len(q))
        columns = {
            "id": list(self.dataset.ids),
            "label": hard,
            "name": [names[c] for c in hard],
            "probability": q.max(axis=1),
            "epistemic": self.uncertainty.epistemic,
            "aleatoric": self.uncertainty.aleatoric,
            "predictions": counts,
        }
        return pd.DataFrame(columns | {f"p_{name}": q[:, c] for c, name in enumerate(names)})

    @property
    def polarity(self) -> str:
        """What says which way round the labels are: the label names, or nothing."""
        if any(framing.semantic for framing in self.framings):
            return "by the meaning of the label names"
        return (
            "undetermined: no framing gives the label names a meaning, so the labels and their "
            "mirror image fit equally well"
        )

    def explain(self, id: str) -> pd.DataFrame:
        """Every prediction and relation that speaks of an example, and how hard each pulls.

        `pull` is the log-odds (nats) for the label found against the best other class, times
        the prediction's share in the example's pool and its relevance.
        """
        if id not in self.dataset.index:
            raise InputError(f"no example {id!r} in {self.dataset.name!r}; ids are in `labels`")
        i = self.dataset.index[id]
        e, q = self.evidence, self.solution.labels
        label = int(q[i].argmax())
        rows = []
        mine = np.flatnonzero(e.target.numpy() == i)
        zero = e.zero.numpy()[mine]
        counts = np.where(zero, ZERO_SHOT_WEIGHT / max(zero.sum(), 1), 1.0)
        for t, share in zip(mine, counts / counts.sum(), strict=True):
            logp = e.logp[t].numpy()
            odds = float(logp[label] - np.delete(logp, label).max())
            relevance = float(self.solution.relevance[t])
            rows.append(
                {
                    "kind": "zero-shot" if bool(e.zero[t]) else "with shots",
                    "what": e.framings[int(e.framing[t])],
                    "round": int(e.round[t]),
                    "log_odds": odds,
                    "relevance": relevance,
                    "pull": odds * relevance * float(share),
                    "bounded": bool(e.bounded[t]),
                }
            )
        for relation in self.dataset.relations:
            if id in relation.members:
                others = [m for m in relation.members if m != id]
                said = ", ".join(f"{m}={int(q[self.dataset.index[m]].argmax())}" for m in others)
                kind = "design prior" if relation.prior else "logical fact"
                if relation.prior and not self.run.settings["priors"]:
                    kind += ", not counted"
                rows.append({"kind": kind, "what": f"{relation.name}: {said}"})
        return pd.DataFrame(rows)

    def table(self) -> pd.DataFrame:
        """The labels with the text and group of each example: what is written to a file."""
        texts = pd.DataFrame({"text": self.dataset.texts, "group": self.dataset.groups})
        return pd.concat([self.labels, texts], axis=1)

    def export(self, path: str | Path) -> None:
        """Writes the labels to a CSV, JSONL or Parquet file, by its suffix."""
        from consilience.export import write_table

        write_table(self.table(), path)
