"""What pulls the label of one example, in parts that sum to the log-odds of the label.

At an optimum of the objective the log-odds of a label are what the terms pull with, divided by the
temperature λ (the weights of entropy and of prior fidelity, see `Problem.temperature`): each term
by its weight times N ∂J/∂q_i, of the label less the best other class. Two terms are sums over
predictions and over contrasts and are told apart so; every other one is a part by itself. What the
solver's last step left, what the user's correction holds a label at, and what landmarks changed
afterwards, are parts of their own, so that nothing is missing from the sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from consilience.data.arrays import Floats
from consilience.data.dataset import Dataset
from consilience.data.relations import active_relations
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import TERMS
from consilience.objective.pair_terms import flip_effect
from consilience.objective.term import Role, Term, Terms, weight_of
from consilience.solvers.factor_graph import fields
from consilience.solvers.fixed_point import Problem
from consilience.solvers.solution import Solution

PullRow = dict[str, Any]
"""One part of the log-odds of a label: the columns that `Explainer.rows` names."""

TERM_GLOSSES = {
    "direct consistency": "direct consistency: the average answer over framings and orders",
    "prior fidelity": "prior fidelity: the answers that no found label has touched",
    "class frequency": "class frequency: how frequent the classes are, and the model's leaning",
}
"""What a term pulls by, for those that are on by default."""

_TINY = 1e-300


class Explainer:
    """The pulls on every label of a solution, computed once.

    `solved` (N, K) are the labels as they were solved where `solution.labels` were calibrated
    since. `priors`: design priors counted. `log_odds` (N,), in nats: those of each label against
    the best `other` class.
    """

    def __init__(
        self,
        dataset: Dataset,
        evidence: Evidence,
        terms: Terms,
        solution: Solution,
        *,
        priors: bool,
        solved: Floats | None = None,
    ) -> None:
        self._data, self._evidence, self._solution = dataset, evidence, solution
        q = solution.labels
        self._given, self._solved = solved is not None, q if solved is None else solved
        every = np.arange(len(q))
        self.label = q.argmax(axis=1)
        masked = q.copy()
        masked[every, self.label] = -1.0
        self.other = masked.argmax(axis=1)
        self.log_odds = self._between(np.log(np.maximum(q, _TINY)))
        self._at_optimum = self._between(np.log(np.maximum(self._solved, _TINY)))

        self._relations = [r for r in dataset.relations if r.members]
        self._counted = set(active_relations(dataset.relations, priors))
        self._take_apart(evidence, terms)
        target = evidence.predictions.target[evidence.contrasts.twin].numpy()
        shot = evidence.contrasts.example.numpy()
        self._asked = _places(evidence.predictions.target.numpy(), len(q))
        self._flips = [
            np.unique(np.concatenate(both))
            for both in zip(_places(target, len(q)), _places(shot, len(q)), strict=True)
        ]

    def _take_apart(self, evidence: Evidence, terms: Terms) -> None:
        """What predictions, contrasts and each other term pull with, at the labels as solved."""
        logq = torch.from_numpy(self._solved)[None].clamp(min=_TINY).log()
        problem = Problem(evidence, terms)
        conditioned, heat = problem.condition(logq), problem.temperature
        self._share = conditioned.share[0].numpy() * float(conditioned.scale[0])
        self._relevance = conditioned.relevance[0].numpy()
        self._answers = weight_of(terms, Role.LOG_POOL) / heat
        self._coupled = conditioned.flip_weight[0].numpy() * weight_of(terms, Role.COUPLINGS) / heat
        self._effect = flip_effect(evidence).numpy() / 2

        def pull(name: str, term: Term) -> Floats:
            """What one term adds to the log-odds of every label, (N,)."""
            one = {name: term}
            if term.role is Role.PRIOR:
                one["its entropy"] = TERMS["entropy"].at(-term.weight)
            made = fields(Problem(evidence, one).objective(conditioned), logq)[0].numpy()
            return self._between(made) / heat

        apart = {Role.LOG_POOL, Role.COUPLINGS, Role.ENTROPY, Role.LOGIC}
        self._terms = {
            name: pull(name, term)
            for name, term in terms.items()
            if term.weight and term.role not in apart
        }
        tied = weight_of(terms, Role.LOGIC) if evidence.factors else 0.0
        self._tied = pull("relations", TERMS["logical consistency"].at(tied)) if tied else None

    def table(self, id: str) -> pd.DataFrame:
        """`rows` as a table; a column that a row does not have is missing there."""
        return pd.DataFrame(self.rows(id))

    def rows(self, id: str) -> list[PullRow]:
        """One row per part of the log-odds of the label of the example `id`.

        `kind` and `what` say what pulls, `pull` how much it adds to the log-odds, nats; the pulls
        sum to them. Predictions also have their `round`, their own `log_odds` (of the label
        against the best other class), their `relevance`, whether some label was only `bounded`,
        and their key in the store, `prediction`. Of several relations that tie an example only
        all together have a pull.
        """
        i = self._data.index[id]
        rows = self._predictions(i) + self._couplings(i) + self._of_relations(id, i)
        for name, pulls in self._terms.items():
            rows.append(
                {"kind": "term", "what": TERM_GLOSSES.get(name, name), "pull": float(pulls[i])}
            )
        pulled = sum(row.get("pull", 0.0) for row in rows)
        left = float(self._at_optimum[i]) - pulled
        held = self._evidence.held is not None and int(self._evidence.held[i]) >= 0
        what = "your correction, which holds" if held else "what the solver's last step left"
        rows.append({"kind": "rest", "what": what, "pull": left})
        if self._given:
            moved = float(self.log_odds[i] - self._at_optimum[i])
            rows.append({"kind": "rest", "what": "landmarks and calibration", "pull": moved})
        return rows

    def _between(self, values: Floats) -> Floats:
        """Values (N, K) of each label less those of the best other class, (N,)."""
        every = np.arange(len(values))
        return np.asarray(values[every, self.label] - values[every, self.other])

    def _predictions(self, i: int) -> list[PullRow]:
        e, rows = self._evidence, []
        predictions = e.predictions
        for t in self._asked[i]:
            logp = predictions.logp[t].numpy()
            odds = float(logp[self.label[i]] - logp[self.other[i]])
            weight = self._answers * float(self._share[t] * self._relevance[t])
            kind = "contrast" if bool(predictions.brief[t]) else "with shots"
            rows.append(
                {
                    "kind": "zero-shot" if bool(predictions.zero[t]) else kind,
                    "what": e.framings[int(predictions.framing[t])],
                    "round": int(predictions.round[t]),
                    "log_odds": odds,
                    "relevance": float(self._solution.relevance[t]),
                    "pull": odds * weight,
                    "bounded": bool(predictions.bounded[t]),
                    "prediction": predictions.keys[t],
                }
            )
        return rows

    def _couplings(self, i: int) -> list[PullRow]:
        """Each contrast in which the example is the target or the shot: its gradient in q_i."""
        e, q, rows = self._evidence, self._solved, []
        contrasts = e.contrasts
        predictions = e.predictions
        label, other = int(self.label[i]), int(self.other[i])
        for f in self._flips[i]:
            twin, shot = int(contrasts.twin[f]), int(contrasts.example[f])
            target = int(predictions.target[twin])
            shown, turned = int(contrasts.before[f]), int(contrasts.after[f])
            if target == i:
                sure = q[shot, shown] - q[shot, turned]
                odds = (self._effect[f, label] - self._effect[f, other]) * sure
                what = f"answers when {self._data.own_id(e.ids[shot])} is flipped"
            else:
                said = float(q[target] @ self._effect[f])
                odds = said * ((label == shown) - (label == turned) - (other == shown))
                odds += said * (other == turned)
                what = f"flipped, before {self._data.own_id(e.ids[target])}"
            rows.append(
                {
                    "kind": "coupling",
                    "what": what,
                    "round": int(predictions.round[twin]),
                    "log_odds": float(odds),
                    "pull": float(odds * self._coupled[f]),
                    "bounded": bool(
                        predictions.bounded[twin] | predictions.bounded[contrasts.flipped[f]]
                    ),
                    "prediction": predictions.keys[twin],
                }
            )
        return rows

    def _of_relations(self, id: str, i: int) -> list[PullRow]:
        data, rows, counted = self._data, [], 0
        for relation in self._relations:
            if id not in relation.members:
                continue
            others = [m for m in relation.members if m != id]
            said = ", ".join(f"{data.own_id(m)}={self.label[data.index[m]]}" for m in others)
            kind = "design prior" if relation.prior else "logical fact"
            if relation.strength < 1:
                soft = f"soft relation ({relation.strength:.2g})"
                kind = f"{soft}, {kind}" if relation.prior else soft
            counts = relation in self._counted
            if not counts:
                kind += ", not counted"
            counted += counts
            rows.append({"kind": kind, "what": f"{relation.name}: {said}", "counts": counts})
        pull = None if self._tied is None or not counted else float(self._tied[i])
        if pull is not None and counted == 1:
            next(row for row in rows if row["counts"])["pull"] = pull
        elif pull is not None:
            what = f"the {counted} relations together"
            rows.append({"kind": "relations", "what": what, "pull": pull})
        return [{name: row[name] for name in row if name != "counts"} for row in rows]


def _places(numbers: np.ndarray[Any, Any], count: int) -> list[np.ndarray[Any, Any]]:
    """Where each of the numbers 0 … count − 1 stands, in order."""
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=count))
    return np.split(order, ends[:-1])
