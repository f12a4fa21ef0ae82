"""Internal coherence maximisation on a live model (Wen et al. 2025, 2506.10139, algorithm 1).

The search for the labels D that maximise U(D) = α P(D) − I(D). P, the mutual predictability, says
how well the model predicts each label given the others; I counts the relations that are broken. A
few examples begin with random labels. Then, step by step, one example is sampled (`favour` times
as often if it has no label yet and another of its group has), it is given the label that the
model finds likeliest after the labelled others, broken relations are repaired, and the new
labelling is taken if it is better, and else with probability exp(ΔU / T) while T falls.

The paper and the authors' code do not maximise the same thing; both are here, by `objective`:

- ``sum``, the paper: P = Σ_i log p(y_i | x_i, the others), nats, and T_n = max(T_min,
  T_0 / (1 + β log n)) at step n. α = 50 multiplies a sum that each new label makes smaller, so
  that one broken relation weighs no more than 0.02 nats, and a first label with p = 0.8 loses 11:
  taken to the letter, doubtful examples remain without a label when it has become cold.
- ``mean``, the code: P = the mean of log p(y_i) / (1 − p(y_i)) over the labelled examples, p
  within 1e-5 of 0 and 1, so that size does not matter but a change to one label matters less the
  more there are; and T = max(T_min, T_0 / (1 + 2 ln(1 + changes taken so far))).

The re-run by Choi et al. 2026 (2606.19264, code) therefore takes first labels without weighing
them; `grow` does the same. The random labels of the seeds are the only thing that says which way
round a concept is, or which it is, so that the search may end, coherently, in another one or its
opposite; `start` can have the seeds labelled zero-shot instead, which is not in the paper.

What else differs, and why. Examples that a relation ties to the target are left out of its shots,
as everywhere in this package, while the authors show them: with tied claims in view, a claim can be
labelled by counting ("true if fewer than half of the others are" is right in 84 % of their GSM8K
groups without a word being read). A prompt has at most `shots` labelled others, those that come
first in an order of the target's own, so that a target whose shots have not changed is not asked
again. Each target has one framing, all framings are used, and the liking for label names is taken
out. Relations are those of the data set, never made of gold (as those of the authors' TruthfulQA
run are); I counts each broken relation once, where the paper counts pairs. Soft ones do not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from consilience.data.arrays import Floats, Integers
from consilience.data.random_streams import generator
from consilience.data.relations import active_relations, tied_examples
from consilience.errors import InputError
from consilience.evaluation.baselines.base import (
    Baseline,
    BaselineContext,
    answered_queries,
)
from consilience.evaluation.baselines.exchange import Exchange
from consilience.evaluation.baselines.relation_repair import Consistency
from consilience.evaluation.baselines.shots import semantic_framings
from consilience.evidence.best_labelling import put_on_top
from consilience.prompts.query import Query

EPSILON = 1e-5
"""What the authors' code adds to a probability before it takes the logarithm."""

_STILL = 4
"""A search without a number of steps ends after so many times as many steps as queries."""


@dataclass(frozen=True, slots=True)
class ICM:
    """How internal coherence is maximised; the numbers of the paper by default.

    `iterations` is the number of steps per example (2.0 to 3.9 in the paper), None as many as the
    budget has; so many `seeds` begin with labels, as `start` says; `alpha`, `hottest`, `coldest`
    and `cooling` are α, T_0, T_min and β; `repairs` is how often in a step a broken relation is
    looked at; `shots` the most labelled others in a prompt (`settings.plan.shots` if None).

    `rescoring` is ``pool`` (every labelled example whose prompt a proposal changes is asked
    again, as in the authors' code) or ``local`` (only the example that is offered a label, as in
    benjibrcz's variant: one call per step; the answers about the others are from when they were
    last asked). In ``local`` the likeliest label is never worse than the one before it, so only
    first labels and repairs can be refused. `grow` takes first labels unweighed; `within_budget`
    ends the search when the budget of the bench is used up.
    """

    objective: Literal["sum", "mean"] = "sum"
    rescoring: Literal["local", "pool"] = "local"
    iterations: float | None = 2.5
    seeds: int = 8
    alpha: float = 50.0
    hottest: float = 10.0
    coldest: float = 0.01
    cooling: float = 0.99
    favour: float = 100.0
    repairs: int = 10
    shots: int | None = None
    start: Literal["random", "zero-shot"] = "random"
    grow: bool = False
    within_budget: bool = False

    def __post_init__(self) -> None:
        choices = {"objective": ("sum", "mean"), "rescoring": ("local", "pool")}
        for field, known in (choices | {"start": ("random", "zero-shot")}).items():
            if (given := getattr(self, field)) not in known:
                raise InputError(f"{field} is {' or '.join(known)}, got {given!r}")
        if self.iterations is None and not self.within_budget:
            raise InputError(f"without a number of iterations it must end with the budget: {self}")
        lowest = min(self.alpha, self.coldest, self.cooling, self.favour, self.iterations or 1)
        if lowest <= 0 or self.hottest < self.coldest:
            raise InputError(f"alpha, iterations, favour and temperatures must be positive: {self}")
        if min(self.seeds, 1 if self.shots is None else self.shots) < 1 or self.repairs < 0:
            raise InputError(f"seeds and shots must be at least 1: {self}")

    @property
    def name(self) -> str:
        """What a table calls it."""
        said = ["ICM"]
        said += ["mean"] * (self.objective == "mean") + ["pool"] * (self.rescoring == "pool")
        said += ["zero-shot start"] * (self.start == "zero-shot") + ["growing"] * self.grow
        said += ["full"] * (not self.within_budget)
        return ", ".join(said)

    def temperature(self, step: int, taken: int) -> float:
        """The temperature at a step, counted from 1, after so many changes were taken."""
        if self.objective == "sum":
            return max(self.coldest, self.hottest / (1 + self.cooling * math.log(step)))
        return max(self.coldest, self.hottest / (1 + 2 * math.log(1 + taken)))

    def predictability(self, logp: Floats) -> float:
        """P of the log-probabilities (N,) of the labels, NaN where there is none; 0 of none."""
        said = logp[~np.isnan(logp)]
        if self.objective == "sum" or not len(said):
            return float(said.sum())
        p = np.exp(said)
        return float((np.log(p + EPSILON) - np.log(1 - p + EPSILON)).mean())

    def coherence(self, logp: Floats, broken: int) -> float:
        """U = α P − I of the log-probabilities (N,) of the labels and the relations broken."""
        return self.alpha * self.predictability(logp) - broken

    def takes(self, gain: float, temperature: float, luck: float) -> bool:
        """Whether a change is taken that gains so much; `luck` is uniform on 0 to 1."""
        return gain > 0 or luck < math.exp(gain / temperature)


def icm(bench: BaselineContext, settings: ICM | None = None) -> Baseline:
    """The labels that the search ends with, each with the probability it was last predicted with.

    An example whose labels were all refused has the model's last answer about it; one that was
    never offered any has its zero-shot answer.
    """
    search = _Search(bench, settings or ICM())
    with search.exchange:
        search.run()
        return search.result()


class _OverBudget(Exception):
    """The next queries are more than the budget has left."""


class _Search:
    """Labels (N,) on their way, −1 where there is none, and what the model last said of each."""

    def __init__(self, bench: BaselineContext, settings: ICM) -> None:
        n = len(bench.data)
        self.bench, self.settings, self.data = bench, settings, bench.data
        self.steps = None if settings.iterations is None else round(settings.iterations * n)
        expected = n if self.steps is None else self.steps
        self.exchange = Exchange(bench, bench.budget if settings.within_budget else expected)
        self.rng = generator(bench.seed, "baselines.icm")
        # Balanced: each framing has as many targets as any other.
        turn = generator(bench.seed, "baselines.icm.turn").permutation(n)
        self.framing = turn % len(bench.framings)
        self.shots = settings.shots or bench.settings.plan.shots
        self.labels = np.full(n, -1, dtype=np.int64)
        self.raw = np.full((n, bench.data.task.k), np.nan)
        self.asked = np.zeros(n, dtype=bool)
        self.taken = 0
        self.consistency = Consistency(
            [
                r
                for r in active_relations(self.data.relations, bench.settings.priors)
                if r.strength == 1
            ],
            self.data.index,
            bench.data.task.k,
        )
        self.orders: dict[int, Integers] = {}
        _, self.group = np.unique(self.data.groups, return_inverse=True)

    def run(self) -> None:
        """All steps, or as many as the budget has."""
        n, k = self.raw.shape
        seeds = self.rng.permutation(n)[: self.settings.seeds]
        self.labels[seeds] = self.rng.integers(k, size=len(seeds))
        if self.settings.start == "zero-shot":
            said = self.exchange.ask(self.without_shots(seeds))
            heard = ~np.isnan(said).any(axis=1)
            self.labels[seeds[heard]] = said[heard].argmax(axis=1)
        try:
            self.raw = self.heard(self.labels, self.raw, np.flatnonzero(self.labels >= 0))
            step = 0
            while step != self.steps:
                step += 1
                self.step(step)
                # Labels at rest whose prompts have all been asked cost nothing, and change nothing.
                if self.steps is None and step > _STILL * max(self.exchange.spent, n):
                    break
        except _OverBudget:
            return

    def step(self, number: int) -> None:
        """Samples an example, and offers it the label that the model finds likeliest."""
        i = self.sampled()
        at = np.array([i])
        raw = self.heard(self.labels, self.raw, at)
        self.raw = raw
        if np.isnan(raw[i]).any():
            return
        now = self.labels
        label = int(self.read(raw)[i].argmax())
        offered = now.copy()
        offered[i] = label
        offered, heard = self.repaired(offered, i)
        if np.array_equal(offered, now):
            return
        if now[i] >= 0 or not self.settings.grow:
            near = self.consistency.near(i)
            gain = self.worth(offered, heard, near) - self.worth(now, self.raw, near)
            warmth = self.settings.temperature(number, self.taken)
            if not self.settings.takes(gain, warmth, self.rng.random()):
                return
        self.labels, self.raw = offered, heard
        self.taken += 1

    def sampled(self) -> int:
        """An example; without a label, but with a group that has some, `favour` times as often."""
        labelled = self.labels >= 0
        some = np.bincount(self.group, weights=labelled)[self.group] > 0
        weight = np.where(~labelled & some, self.settings.favour, 1.0)
        return int(self.rng.choice(len(weight), p=weight / weight.sum()))

    def repaired(self, labels: Integers, i: int) -> tuple[Integers, Floats]:
        """The labels after repairs (algorithm 2), and what is known of each under them.

        A broken relation is drawn, and of the labellings of its members that keep it, at most
        two changed, the best is taken if it makes the whole better.
        """
        near = self.consistency.near(i)
        heard = self.rescored(labels)
        for _ in range(self.settings.repairs):
            broken = [r for r in near if self.consistency.broken(r, labels)]
            if not broken:
                break
            relation = broken[int(self.rng.integers(len(broken)))]
            best = self.worth(labels, heard, near)
            for option in self.consistency.options(relation, labels):
                said = self.rescored(option)
                worth = self.worth(option, said, near)
                if worth > best:
                    best, labels, heard = worth, option, said
        return labels, heard

    def rescored(self, labels: Integers) -> Floats:
        """What is known of each example under these labels."""
        if self.settings.rescoring == "local":
            return self.raw
        return self.heard(labels, self.raw, np.flatnonzero(labels >= 0))

    def worth(self, labels: Integers, raw: Floats, near: list[int]) -> float:
        """U of a labelling, but for the relations that are not `near`."""
        at = np.flatnonzero(labels >= 0)
        broken = sum(self.consistency.broken(r, labels) for r in near)
        return self.settings.coherence(self.read(raw)[at, labels[at]], broken)

    def read(self, raw: Floats) -> Floats:
        return self.exchange.read(raw, self.framing)

    def heard(self, labels: Integers, raw: Floats, at: Integers) -> Floats:
        """`raw` with what the model says of the examples `at` under these labels."""
        asked = [(i, query) for i in at.tolist() if (query := self.query(labels, i)) is not None]
        new = self.exchange.unheard([query for _, query in asked])
        if self.settings.within_budget:
            # Who was never asked will be, zero-shot, and that has to be paid as well.
            waiting = int((~self.asked).sum()) - sum(not self.asked[i] for i, _ in asked)
            if self.exchange.spent + len(new) + waiting > self.bench.budget:
                raise _OverBudget
        said = self.exchange.ask([query for _, query in asked])
        raw = raw.copy()
        for (i, _), row in zip(asked, said, strict=True):
            self.asked[i] = True
            # Where nothing was said, what was said before stays.
            if not np.isnan(row).any():
                raw[i] = row
        return raw

    def query(self, labels: Integers, i: int) -> Query | None:
        """The query about an example under these labels; None if it would mean nothing."""
        order = self.order(i)
        shown = order[labels[order] >= 0][: self.shots].tolist()
        framing = self.bench.framings[self.framing[i]]
        if not shown and not framing.semantic:
            return None
        shots = tuple((self.data.ids[j], int(labels[j])) for j in shown)
        return Query(self.data.ids[i], shots, framing.name)

    def without_shots(self, at: Integers) -> list[Query]:
        """The examples zero-shot, in the first framing that means something."""
        framing = semantic_framings(self.bench)[0]
        return [Query(self.data.ids[i], (), framing.name) for i in at.tolist()]

    def order(self, i: int) -> Integers:
        """All examples that may be shown with `i`, in the order in which it would show them."""
        if i not in self.orders:
            n = len(self.data)
            order = generator(self.bench.seed, "baselines.icm.shots", i).permutation(n)
            apart = [self.data.index[m] for m in self.tied.get(self.data.ids[i], ())]
            self.orders[i] = order[~np.isin(order, [i, *apart])]
        return self.orders[i]

    @cached_property
    def tied(self) -> dict[str, frozenset[str]]:
        return tied_examples(self.data.relations)

    def result(self) -> Baseline:
        """The labels found; zero-shot ones for those that the search did not come to."""
        k = self.raw.shape[1]
        found = np.exp(self.read(self.raw))
        if any(framing.semantic for framing in self.bench.framings):
            late = np.flatnonzero(~self.asked)
            queries = self.without_shots(late)
            if self.settings.within_budget:
                room = max(0, self.bench.budget - self.exchange.spent)
                beyond = set(self.exchange.unheard(queries)[room:])
                queries = [query for query in queries if query not in beyond]
            at = [self.data.index[query.target] for query in queries]
            found[at] = np.exp(self.exchange.conditionals(queries, zero=True))
        found[np.isnan(found).any(axis=1)] = 1 / k
        chosen = np.where(self.labels >= 0, self.labels, found.argmax(axis=1))
        # Of each example the last that was said of it.
        last = {q.target: (q, p) for q, p in answered_queries(self.exchange.rounds)}
        return self.bench.scored(
            self.settings.name,
            self.exchange.rounds,
            put_on_top(found, chosen),
            [list(last.values())],
        )
