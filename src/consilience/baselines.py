"""Other ways to find labels with the same model, store and number of calls, to be measured by.

Each baseline that asks the model gets the same framings, the same removal of label-name bias and
the same block layout as the method itself, so that a difference is one of method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from consilience.ask import Progress, ask, requests
from consilience.elicitation import Settings
from consilience.embed import TfidfSvd
from consilience.errors import InputError
from consilience.evidence import collect
from consilience.examples import Dataset, Gold
from consilience.logic import factors
from consilience.models.base import Model
from consilience.plan import SoftLabels, shot_round, zero_shot_round
from consilience.query import Query
from consilience.store import Prediction, Store

Rounds = list[list[tuple[Query, Prediction | None]]]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The soft labels (N, K) that a baseline found, and the calls per example that it planned."""

    name: str
    labels: NDArray[np.float64]
    calls_per_example: float


class Bench:
    """What all baselines share: data, model, store, settings, seed."""

    def __init__(
        self,
        data: Dataset,
        model: Model,
        *,
        store: Store,
        settings: Settings,
        seed: int = 0,
        concurrency: int = 16,
        progress: Progress | None = None,
    ) -> None:
        self.data = data
        self.model = model
        self.store = store
        self.settings = settings
        self.seed = seed
        self.concurrency = concurrency
        self.progress = progress
        self.framings = settings.framings_for(data)
        self.vectors = TfidfSvd().embed(data.texts)
        self.budget = settings.budget(data)

    def asked(self, queries: list[Query]) -> list[tuple[Query, Prediction | None]]:
        """The queries with their predictions, asked where the store has none."""
        rows = requests(queries, self.data, self.framings, self.model)
        ask(rows, self.model, self.store, concurrency=self.concurrency, progress=self.progress)
        found = self.store.predictions([key for key, _ in rows])
        return list(zip(queries, found, strict=True))

    def shots(self, labels: SoftLabels, round: int, spent: int) -> list[Query]:
        """One round in which every example is asked, as far as the budget goes."""
        room = min(self.budget - spent, len(self.data))
        order = np.random.default_rng([self.seed, round, 4]).permutation(len(self.data))
        return shot_round(
            self.data,
            self.framings,
            self.vectors,
            labels,
            round=round,
            seed=self.seed,
            settings=self.settings.plan,
            targets=order[:room].tolist(),
        )

    def pooled(self, rounds: Rounds) -> NDArray[np.float64]:
        """The normalised mean log-probabilities of each example's predictions, as labels."""
        evidence = collect(self.data, self.framings, rounds)
        total = torch.zeros(evidence.n, evidence.k, dtype=torch.float64)
        total = total.index_add(0, evidence.target, evidence.logp)
        count = torch.bincount(evidence.target, minlength=evidence.n).clamp(min=1)
        return torch.softmax(total / count.unsqueeze(1), dim=1).numpy()

    def finished(self, name: str, rounds: Rounds, used: Rounds) -> Baseline:
        """A baseline whose labels are pooled from `used`, and which asked `rounds`."""
        calls = sum(len(queries) for queries in rounds) / len(self.data)
        return Baseline(name, self.pooled(used), calls)


def zero_shot(bench: Bench, *, every: bool = False) -> Baseline:
    """No shots: the first framing that means something, or `every` one, bias removed."""
    semantic = [framing for framing in bench.framings if framing.semantic]
    if not semantic:
        raise InputError("no framing means anything zero-shot; add plain, negated or letters")
    rounds = [bench.asked(zero_shot_round(bench.data, semantic if every else semantic[:1]))]
    name = "zero-shot, all framings" if every else "zero-shot"
    return bench.finished(name, rounds, rounds)


def _with_shots(bench: Bench, name: str, labels: Callable[[int], SoftLabels]) -> Baseline:
    """As many rounds as the budget has, shots labelled by `labels(round)`; all rounds count."""
    rounds: Rounds = []
    spent = 0
    while spent < bench.budget:
        round = len(rounds) + 1
        rounds.append(bench.asked(bench.shots(labels(round), round, spent)))
        spent += len(rounds[-1])
    return bench.finished(name, rounds, rounds)


def random_shots(bench: Bench) -> Baseline:
    """Shots with random labels (Min et al. 2022, 2202.12837), the whole budget on such rounds."""
    n, k = len(bench.data), bench.data.task.k

    def labels(round: int) -> SoftLabels:
        return np.eye(k)[np.random.default_rng([bench.seed, round, 5]).integers(k, size=n)]

    return _with_shots(bench, "random-label shots", labels)


def golden_shots(bench: Bench, gold: Gold) -> Baseline:
    """Shots with gold labels, drawn from the same examples: the ceiling, with as many calls."""
    n, k = len(bench.data), bench.data.task.k
    labels = np.full((n, k), 1 / k)
    for id, label in gold.labels.items():
        if id in bench.data.index:
            labels[bench.data.index[id]] = np.eye(k)[label]
    return _with_shots(bench, "golden shots (ceiling)", lambda round: labels)


def bootstrap(bench: Bench) -> Baseline:
    """Shots labelled by the model's own last answers, round after round, from zero-shot ones.

    Shrivastava et al. 2026 ("Eliciting base models with simple unsupervised techniques"), shots
    drawn at random and balanced over the predicted classes. The later half of the rounds is
    averaged, which does better than the last one alone.
    """
    rounds: Rounds = [bench.asked(zero_shot_round(bench.data, bench.framings))]
    labels = bench.pooled(rounds)
    k = bench.data.task.k
    spent = len(rounds[0])
    while spent < bench.budget:
        hard = np.eye(k)[labels.argmax(axis=1)]
        rounds.append(bench.asked(bench.shots(hard, len(rounds), spent)))
        spent += len(rounds[-1])
        # An example that the last round did not reach keeps the label it had.
        reached = {bench.data.index[q.target] for q, p in rounds[-1] if p is not None}
        latest = bench.pooled(rounds[-1:]) if reached else labels
        rows = sorted(reached)
        labels[rows] = latest[rows]
    later = rounds[1 + (len(rounds) - 1) // 2 :] or rounds
    result = bench.finished("bootstrap", rounds, later)
    unreached = ~np.isin(
        np.arange(len(bench.data)), [bench.data.index[q.target] for r in later for q, _ in r]
    )
    result.labels[unreached] = labels[unreached]
    return result


def structure_only(data: Dataset) -> Baseline:
    """What the relations alone say, design priors included: no model, no text.

    The marginals of the uniform distribution over the labellings that each component allows.
    """
    n, k = len(data), data.task.k
    labels = np.full((n, k), 1 / k)
    for factor in factors(data.relations, data.index, k):
        worlds = factor.worlds.numpy()
        marginal = np.stack([(worlds == c).mean(axis=0) for c in range(k)], axis=1)
        labels[factor.members.numpy()] = marginal
    return Baseline("structure only", labels, 0.0)


def majority(data: Dataset, gold: Gold) -> Baseline:
    """The most frequent gold label for everybody: what knowing the class balance is worth."""
    scored = [label for id, label in gold.labels.items() if id in data.index]
    share = np.bincount(scored, minlength=data.task.k) / max(len(scored), 1)
    return Baseline("majority", np.tile(share, (len(data), 1)), 0.0)
