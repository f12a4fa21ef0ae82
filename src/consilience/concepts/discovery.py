"""The search for concepts: short bootstraps on a sample, from several starts.

A model reads a labelling into its shots, and more than one will do: truth, what people believe,
how it is said. A bootstrap ends in one of them, and nothing in it says which. So a few are run on
a sample, one after the other, each from the zero-shot answers, and the shots of each are *balanced
against* the labellings found before: among the shots of every class all labels of every earlier
concept are equally frequent, so that the shots say nothing about it and the model cannot fall back
into it. Which of those found is meant is the matter of `ranking`.

The census is a part of the run. Its rounds stand between the zero-shot round and the others, and
the rest of the budget begins from the concept that is ranked first, or that landmarks mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from consilience.concepts.concept import pooled, predictability, reliability, zero_shot_labels
from consilience.data.dataset import Dataset
from consilience.data.random_streams import generator
from consilience.evidence.evidence import Evidence
from consilience.planning.planner import PlanSettings, SoftLabels, shot_round
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query

SHAPES = ((3, 3, 128), (3, 3, 120), (3, 2, 128), (2, 2, 128), (2, 2, 96), (2, 3, 48))
"""Concepts, rounds for each, and examples; the first is taken that is not too dear.

The sample is large for the sake of the shots: twelve of a class are the best of a sixth of the
sample, or of half of a small one, among which a pretrained model loses its way (spam on Gemma 3
270M, 160 messages: AUROC .57 and .69 with a sample of 48, .72 and .82 with all)."""

LEAST = 4
"""With fewer calls than this for each example after the zero-shot round there is no census.

Asking everybody once more is worth more than a choice between concepts seen dimly; but landmarks
choose well among those, too."""

_LAST = 2
"""So many rounds, the last of a concept, are averaged for its labels."""

RUNOFF = 512
"""Outside the sample at most so many examples are asked about a concept that is not ahead."""

DUEL = 128
"""At most so many examples on which two concepts disagree are asked to decide between them."""


@dataclass(frozen=True, slots=True)
class Census:
    """The plan of a census: which examples, how many concepts, how many rounds for each.

    `begin` is the number of its first round. `others` are the examples outside the sample that are
    asked about in a runoff, or all are about the first if it is `wide`; without any there is none,
    and without `concepts` no census.
    """

    sample: tuple[int, ...]
    concepts: int
    rounds: int
    begin: int
    others: tuple[int, ...] = ()
    wide: bool = True

    @property
    def end(self) -> int:
        """The number of the first round after those of its concepts."""
        return self.begin + self.concepts * self.rounds

    def queries(
        self,
        dataset: Dataset,
        framings: Sequence[Framing],
        evidence: Evidence | None,
        *,
        round: int,
        seed: int,
        plan: PlanSettings,
    ) -> list[Query]:
        """The queries of one of its rounds; labels are drawn where there is no `evidence` yet."""
        c = (round - self.begin) // self.rounds
        if evidence is None:
            rng = generator(seed, "discovery", round)
            drawn = np.eye(dataset.task.k)[rng.integers(dataset.task.k, size=(c + 1, len(dataset)))]
            *before, labels = drawn
        else:
            before = [self.labels(evidence, e) for e in range(c)]
            labels = self.labels(evidence, c, seed)
            if (round - self.begin) % self.rounds == 0:
                labels = self._unexplained(labels, before)
        return shot_round(
            dataset,
            framings,
            labels,
            round=round,
            seed=seed,
            # Contrasts are evidence for the labels that are found at the end.
            settings=replace(plan, contrasts=0.0),
            targets=self.sample,
            pool=self.sample,
            against=[known.argmax(axis=1) for known in before],
        )

    def predictable(self, evidence: Evidence, concept: int) -> NDArray[np.float64]:
        """What the last round of a concept tells about its labels before it, (N,), see `concept`.

        NaN where it had one round alone.
        """
        predictions = evidence.predictions
        first = self.begin + concept * self.rounds
        last = predictions.round == first + self.rounds - 1
        earlier = (predictions.round >= first) & (predictions.round < first + self.rounds - 1)
        if not bool(last.any()) or not bool(earlier.any()):
            return np.full(evidence.n, np.nan)
        return predictability(evidence, pooled(evidence, earlier), last)

    def reliable(self, evidence: Evidence, concept: int) -> float:
        """How reliable the labels of a concept are that its last two rounds give it together."""
        if self.rounds == 1:
            return 1.0
        last = self.begin + (concept + 1) * self.rounds - 1
        return reliability(
            evidence, evidence.predictions.round == last - 1, evidence.predictions.round == last
        )

    def labels(self, evidence: Evidence, concept: int, seed: int = 0) -> SoftLabels:
        """The labels of a concept (N, K), as far as it was asked about: zero-shot ones at first.

        1/K outside the sample. Without zero-shot answers a concept begins with labels drawn.
        """
        predictions = evidence.predictions
        n, k = evidence.n, evidence.k
        first = self.begin + concept * self.rounds
        asked = (predictions.round >= first) & (predictions.round < first + self.rounds)
        if bool(asked.any()):
            latest = int(predictions.round[asked].max())
            used = asked & (predictions.round > latest - _LAST)
            soft = pooled(evidence, used)
        elif bool(predictions.zero.any()):
            soft = zero_shot_labels(evidence)
        else:
            rng = generator(seed, "discovery", concept)
            soft = np.eye(k)[rng.integers(k, size=n)]
        inside = np.zeros((n, 1), dtype=bool)
        inside[list(self.sample)] = True
        return np.where(inside, soft, 1 / k)

    def _unexplained(self, labels: SoftLabels, known: Sequence[SoftLabels]) -> SoftLabels:
        """What of soft labels (N, K) the `known` labellings do not explain, on the sample.

        Where the mean log-probabilities of the examples with the same known labels differ from
        those of all, the difference is taken out: of two that the known concepts call true, the
        one that the model is less sure of is sooner false in the next. How frequent the classes
        are is left as it is.
        """
        sample = list(self.sample)
        hard = np.array([soft.argmax(axis=1)[sample] for soft in known]).reshape(-1, len(sample))
        _, cell = np.unique(hard, axis=1, return_inverse=True)
        logp = np.log(np.maximum(labels[sample], 1e-12))
        total = np.zeros((cell.max() + 1, logp.shape[1]))
        np.add.at(total, cell.reshape(-1), logp)
        mean = total / np.bincount(cell.reshape(-1))[:, None]
        left = logp - mean[cell.reshape(-1)] + logp.mean(axis=0)
        made = labels.copy()
        made[sample] = np.exp(log_softmax(left, axis=1)) if known else labels[sample]
        return made


def plan_census(
    dataset: Dataset, room: int, share: float, begin: int, seed: int, vouched: Sequence[int] = ()
) -> Census:
    """The largest census that costs at most a `share` of the room; empty where none fits.

    `room` is the number of calls after the zero-shot round. Enough are left to decide between the
    concepts, to ask every example once, and half of them again; that half may go into second duels
    (see `ranking`). The sample is of whole groups, drawn by the seed, landmarks first.
    """
    n = len(dataset)
    for concepts, rounds, size in SHAPES if vouched or room >= LEAST * n else ():
        free = room - 3 * n // 2 - (concepts - 1) * min(DUEL, n)
        cost = concepts * rounds * size
        if size <= n and cost <= min(int(share * room), free):
            sample = _sample(dataset, size, seed, vouched)
            rest = np.setdiff1d(np.arange(n), sample)
            most = min(max(0, (free - cost) // (concepts - 1)), RUNOFF, len(rest))
            # All are asked about the first only if all can be asked again should it not stay that.
            wide = free - cost + n // 2 - most * (concepts - 1) >= n
            most = most if wide else min(max(0, (free - cost) // concepts), most)
            drawn = generator(seed, "discovery.rest").permutation(rest)
            return Census(
                sample, concepts, rounds, begin, tuple(sorted(drawn[:most].tolist())), wide
            )
    return Census((), 0, 1, begin)


def _sample(dataset: Dataset, size: int, seed: int, vouched: Sequence[int]) -> tuple[int, ...]:
    """At most `size` examples, by position: landmarks, then whole groups, theirs first.

    The others come in an order drawn by the seed.
    """
    members: dict[str, list[int]] = {}
    for i, group in enumerate(dataset.groups):
        members.setdefault(group, []).append(i)
    wanted = dict.fromkeys(dataset.groups[i] for i in vouched)
    names = sorted(members)
    drawn = generator(seed, "discovery").permutation(len(names))
    chosen = dict.fromkeys(vouched[:size])
    for group in [*wanted, *(names[g] for g in drawn if names[g] not in wanted)]:
        left = [i for i in members[group] if i not in chosen]
        # Part of a group that is too large is better than a sample without it.
        chosen |= dict.fromkeys(left[: size - len(chosen)])
    return tuple(sorted(chosen))
