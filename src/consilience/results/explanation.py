"""What pulls the label of one example: its predictions, the contrasts it is in, its relations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from consilience.data.dataset import Dataset
from consilience.evidence.evidence import Evidence
from consilience.objective.conditioning import condition
from consilience.objective.pair_terms import flip_effect
from consilience.solvers.solution import Solution

_Rows = list[dict[str, Any]]


def explain(
    dataset: Dataset, evidence: Evidence, solution: Solution, id: str, *, priors: bool
) -> pd.DataFrame:
    """One row per prediction, contrast and relation that speaks of the example `id`.

    `log_odds` are those of the label found against the best other class, nats, `pull` what is
    left of them after relevance, the share of the pool that they have and the scale of all
    log-odds; the pull of a contrast
    is what it adds to the log-odds through the couplings. `prediction` is the key in the store.
    Weights of the terms are left out of all of them. `priors`: design priors counted.
    """
    i = dataset.index[id]
    q = solution.labels
    label = int(q[i].argmax())
    other = int(np.where(np.arange(evidence.k) == label, -1.0, q[i]).argmax())
    reading = condition(evidence, torch.from_numpy(q)[None])
    share = reading.share[0].numpy() * float(reading.scale[0])
    rows = _predictions(evidence, solution, share, i, label)
    rows += _couplings(dataset, evidence, q, reading.flip_weight[0].numpy(), i, label, other)
    rows += _relations(dataset, q, id, priors)
    return pd.DataFrame(rows)


def _predictions(
    e: Evidence, solution: Solution, share: np.ndarray[Any, Any], i: int, label: int
) -> _Rows:
    rows = []
    for t in np.flatnonzero(e.target.numpy() == i):
        logp = e.logp[t].numpy()
        odds = float(logp[label] - np.delete(logp, label).max())
        relevance = float(solution.relevance[t])
        kind = "contrast" if bool(e.brief[t]) else "with shots"
        rows.append(
            {
                "kind": "zero-shot" if bool(e.zero[t]) else kind,
                "what": e.framings[int(e.framing[t])],
                "round": int(e.round[t]),
                "log_odds": odds,
                "relevance": relevance,
                "pull": odds * relevance * float(share[t]),
                "bounded": bool(e.bounded[t]),
                "prediction": e.keys[t],
            }
        )
    return rows


def _couplings(
    data: Dataset,
    e: Evidence,
    q: np.ndarray[Any, Any],
    weight: np.ndarray[Any, Any],
    i: int,
    label: int,
    other: int,
) -> _Rows:
    """Each contrast in which the example is the target or the shot: its gradient in the labels."""
    effect = flip_effect(e).numpy() / 2
    target, shot = e.target[e.flip_twin].numpy(), e.flip_example.numpy()
    rows = []
    for f in np.flatnonzero((target == i) | (shot == i)):
        shown, turned = int(e.flip_from[f]), int(e.flip_to[f])
        if target[f] == i:
            sure = q[shot[f], shown] - q[shot[f], turned]
            odds = (effect[f, label] - effect[f, other]) * sure
            what = f"answers when {data.own_id(e.ids[shot[f]])} is flipped"
        else:
            said = float(q[target[f]] @ effect[f])
            odds = said * ((label == shown) - (label == turned) - (other == shown))
            odds += said * (other == turned)
            what = f"flipped, before {data.own_id(e.ids[target[f]])}"
        twin = int(e.flip_twin[f])
        rows.append(
            {
                "kind": "coupling",
                "what": what,
                "round": int(e.round[twin]),
                "log_odds": float(odds),
                "pull": float(odds * weight[f]),
                "bounded": bool(e.bounded[twin] | e.bounded[e.flip_contrast[f]]),
                "prediction": e.keys[twin],
            }
        )
    return rows


def _relations(dataset: Dataset, q: np.ndarray[Any, Any], id: str, priors: bool) -> _Rows:
    rows = []
    for relation in dataset.relations:
        if id in relation.members:
            others = [m for m in relation.members if m != id]
            said = ", ".join(
                f"{dataset.own_id(m)}={int(q[dataset.index[m]].argmax())}" for m in others
            )
            kind = "design prior" if relation.prior else "logical fact"
            if relation.strength < 1:
                soft = f"soft relation ({relation.strength:.2g})"
                kind = f"{soft}, {kind}" if relation.prior else soft
            if relation.prior and not priors:
                kind += ", not counted"
            rows.append({"kind": kind, "what": f"{relation.name}: {said}"})
    return rows
