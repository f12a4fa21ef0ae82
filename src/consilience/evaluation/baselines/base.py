"""The bench: what all baselines share, and the row of numbers that each of them comes to."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from consilience.data.arrays import saying
from consilience.data.dataset import Dataset
from consilience.data.random_streams import generator
from consilience.elicitation.settings import Settings
from consilience.evidence.collect import collect
from consilience.models.base import Model
from consilience.planning.planner import SoftLabels, shot_round
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.rows import Prediction
from consilience.store.runner import Progress, ask, requests

READOUTS: Mapping[str, str] = {"against 0": "none", "offsets off": "contexts"}
"""The two ways in which the answers behind every row are read, each a way of `BIAS_METHODS`.

A comparison of methods that are each read in a way of their own is one of ways to read."""

OFFSETS = READOUTS["offsets off"]

QueryAnswers = list[tuple[Query, Prediction | None]]
Rounds = list[QueryAnswers]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The soft labels (N, K) that a baseline found, and what it asked for them, per example.

    `calls_per_example` counts each distinct query once, whether its answer was in the store or
    not; `prompt_tokens_per_example` what the answers to them were charged, NaN where the model
    does not say. `readouts` are the labels (N, K) that the answers behind it give in each of the
    ways of `READOUTS`, none for a method without answers; `verdict` is what it says of itself.
    """

    name: str
    labels: NDArray[np.float64]
    calls_per_example: float
    prompt_tokens_per_example: float = math.nan
    readouts: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    verdict: str = ""


class BaselineContext:
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
        self.budget = settings.budget(data)

    def with_settings(self, **changed: Any) -> BaselineContext:  # noqa: ANN401 (the fields of `Settings`)
        """The same bench with some settings changed; the store stays shared."""
        other = copy.copy(self)
        other.settings = replace(self.settings, **changed)
        other.framings = other.settings.framings_for(self.data)
        other.budget = other.settings.budget(self.data)
        return other

    def asked(
        self, queries: Sequence[Query], watch: Progress | None = None
    ) -> list[tuple[Query, Prediction | None]]:
        """The queries with their predictions, asked where the store has none."""
        rows = requests(queries, self.data, self.framings, self.model)
        seen = watch or self.progress
        ask(rows, self.model, self.store, concurrency=self.concurrency, progress=seen)
        found = self.store.predictions(rows.all_keys)
        return list(zip(queries, found, strict=True))

    def shots(
        self,
        labels: SoftLabels,
        round: int,
        spent: int,
        pool: Sequence[int] | None = None,
        targets: Sequence[int] | None = None,
    ) -> list[Query]:
        """One round in which every example is asked, or all `targets`, as far as the budget goes.

        Without contrasts, which are evidence for the method alone. Shots are drawn from `pool`,
        all by default, and never from those whose labels say nothing.
        """
        order = generator(self.seed, "baselines.targets", round).permutation(len(self.data))
        if targets is not None:
            order = np.asarray(targets, dtype=np.int64)
        room = min(self.budget - spent, len(order))
        return shot_round(
            self.data,
            self.framings,
            labels,
            round=round,
            seed=self.seed,
            settings=replace(self.settings.plan, contrasts=0.0),
            targets=order[:room].tolist(),
            pool=pool,
        )

    def pooled(self, rounds: Rounds, bias: str | None = None) -> NDArray[np.float64]:
        """The normalised mean log-probabilities of each example's predictions, as labels.

        Uniform where there is no prediction. `bias` is how what prompts add is taken out, by
        default that of the settings.
        """
        if not answered_queries(rounds):
            return np.full((len(self.data), self.data.task.k), 1 / self.data.task.k)
        way = self.settings.bias if bias is None else bias
        evidence = collect(self.data, self.framings, rounds, bias=way)
        predictions = evidence.predictions
        total = torch.zeros(evidence.n, evidence.k, dtype=torch.float64)
        total = total.index_add(0, predictions.target, predictions.logp)
        count = torch.bincount(predictions.target, minlength=evidence.n).clamp(min=1)
        return torch.softmax(total / count.unsqueeze(1), dim=1).numpy()

    def heard(self, rounds: Rounds) -> NDArray[np.bool_]:
        """Which examples (N,) the model said anything about."""
        at = [self.data.index[q.target] for q, _ in answered_queries(rounds)]
        return np.isin(np.arange(len(self.data)), at)

    def renewed(
        self, labels: NDArray[np.float64], rounds: Rounds, bias: str | None = None
    ) -> NDArray[np.float64]:
        """`labels`, but those that `rounds` say anything of as these say."""
        return np.where(self.heard(rounds)[:, None], self.pooled(rounds, bias), labels)

    def readouts(self, used: Rounds) -> dict[str, NDArray[np.float64]]:
        """The labels that the answers in `used` give in each of the ways of `READOUTS`."""
        if not answered_queries(used):
            return {}
        return {name: self.pooled(used, way) for name, way in READOUTS.items()}

    def finished(
        self, name: str, rounds: Rounds, used: Rounds, bias: str | None = None
    ) -> Baseline:
        """A baseline whose labels are pooled from `used`, and which asked `rounds`."""
        return self.scored(name, rounds, self.pooled(used, bias), used)

    def scored(
        self, name: str, rounds: Rounds, labels: NDArray[np.float64], used: Rounds
    ) -> Baseline:
        """A baseline with these labels, which rest on `used`, and which asked `rounds`."""
        distinct = {query: prediction for queries in rounds for query, prediction in queries}
        n = len(self.data)
        tokens = prompt_tokens(list(distinct.values())) / n
        return Baseline(name, labels, len(distinct) / n, tokens, self.readouts(used))


def hard_labels(labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Soft labels (N, K) made certain; 1/K, of which no shot is made, where they say nothing."""
    k = labels.shape[1]
    return np.asarray(np.where(saying(labels)[:, None], np.eye(k)[labels.argmax(axis=1)], 1 / k))


def answered_queries(rounds: Rounds) -> list[tuple[Query, Prediction]]:
    """The queries of all rounds that were answered, with at least one label exact."""
    return [(q, p) for queries in rounds for q, p in queries if p is not None and any(p.exact)]


def prompt_tokens(predictions: Sequence[Prediction | None]) -> float:
    """The prompt tokens of all predictions there are; NaN if that of some is not known."""
    charged = [p.usage.get("prompt_tokens") for p in predictions if p is not None]
    return math.nan if None in charged else float(sum(int(count or 0) for count in charged))
