"""Evidence: what was answered about a data set, and its relations, as the objective reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from consilience.evidence.agreement import list_weights
from consilience.evidence.arrays import ContrastArrays, PredictionArrays, ShotArrays
from consilience.evidence.context_offsets import Contexts
from consilience.evidence.implied_classes import implied_classes
from consilience.evidence.label_bias import Bias
from consilience.evidence.mixture import LEANING
from consilience.evidence.relation_factors import Factor, Large
from consilience.evidence.separation import shot_free_weights

FLOOR = 0.6
"""Below this probability of its best label a prediction is not trusted with anything further."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was found and left out when evidence was collected; no label depends on it.

    - `bias`: nats taken from each label name, by family and shots; None where not known.
    - `absent`: predictions planned but not there; `silent`: there, but every label bounded.
    - `unsure`: contrasts left out because with their twin they are less sure than the floor, or
      have none.
    - `mean_mass`: the mean probability that the label names had together.
    """

    bias: Bias
    absent: int
    silent: int
    unsure: int
    mean_mass: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """All predictions about N examples of K classes, and what is known of the examples.

    - `predictions`, `shots`, `contrasts`: what was asked and answered.
    - `framings`: the names of the framings; `factors`: the relations, made ready for the logical
      term; `tally`: what was left out.
    - `floor`: only contrasts whose two answers together are surer than this are here.
    - `shared`: how the errors of two answers in one wording about one example are correlated.
    - `leaning`: the standard deviation, in nats, of what the answers as a whole lean to a class.
    - `scale`: what a nat of the answers' log-odds is worth, where it is held fixed; else it is read
      off the answers (see `mixture`).
    - `shares` (K): how frequent the classes are, where that is known; else it is read off the
      answers of two classes, and those of more are taken to be equal (see `mixture`).
    - `held` (N): the class that the user says an example has, −1 where nothing was said; None where
      nothing was said of any.
    """

    ids: tuple[str, ...]
    k: int
    framings: tuple[str, ...]
    predictions: PredictionArrays
    shots: ShotArrays
    contrasts: ContrastArrays
    factors: tuple[Factor | Large, ...]
    tally: Tally = field(repr=False)
    floor: float = FLOOR
    shared: float = 0.0
    leaning: float = LEANING
    scale: float | None = None
    shares: tuple[float, ...] | None = None
    held: Tensor | None = None

    def __repr__(self) -> str:
        return (
            f"Evidence({self.t:,} predictions of {self.n:,} examples, K={self.k}, "
            f"{self.f:,} contrasts, framings {', '.join(self.framings)}; {self.tally.absent:,} "
            f"absent, {self.tally.silent:,} silent)"
        )

    @property
    def n(self) -> int:
        """The number of examples."""
        return len(self.ids)

    @property
    def t(self) -> int:
        """The number of predictions that count."""
        return len(self.predictions)

    @property
    def f(self) -> int:
        """The number of contrasts that count."""
        return len(self.contrasts)

    @property
    def shot_counts(self) -> Tensor:
        """How many shots each prediction showed with labels on record, (T,)."""
        return self.shots.counts(self.predictions.shown)

    def shown_shots(self) -> tuple[Tensor, Tensor, Tensor]:
        """Prediction, example and label of each shot on record, as often as it was shown."""
        return self.shots.of_predictions(self.predictions.shown)

    def only(self, keep: Tensor) -> Evidence:
        """The evidence of some of the predictions, by a mask (T,); a flip needs both of its two."""
        predictions = self.predictions.only(keep)
        shots, shown = self.shots.used(predictions.shown)
        return replace(
            self,
            predictions=replace(predictions, shown=shown),
            shots=shots,
            contrasts=self.contrasts.only(keep),
        )

    def holding(self, classes: Mapping[int, int]) -> Evidence:
        """The same evidence, in which the user says which class some examples have.

        What hard relations then leave to others is held too.
        """
        if not classes:
            return replace(self, held=None)
        held = torch.full((self.n,), -1, dtype=torch.int64)
        for at, label in implied_classes(self.factors, classes, self.k).items():
            held[at] = label
        return replace(self, held=held)

    def weighed(self, *, models: bool = False) -> Evidence:
        """The same with each list of shots weighed by how far it agrees with the others.

        For evidence about one labelling, of one model or of several `models`: see `agreement`.
        Answers without shots of one model count for more where they are sharper: see `separation`.
        """
        asked = self.predictions
        z = asked.logp - asked.logp.mean(dim=1, keepdim=True)
        contexts = Contexts(asked.context.numpy(), asked.kind.numpy(), ())
        given = z.numpy(), asked.target.numpy(), contexts, asked.weight.numpy()
        made = list_weights(*given, models=models)
        if not models:  # one may know without shots what another learns from them
            kinds = asked.zero.numpy(), (~asked.zero & ~asked.brief).numpy()
            made = shot_free_weights(z.numpy(), asked.target.numpy(), made, *kinds)
        return replace(self, predictions=replace(asked, weight=torch.from_numpy(made)))

    def to(self, device: str | torch.device) -> Evidence:
        """The same evidence on another device."""
        return replace(
            self,
            predictions=self.predictions.to(device),
            shots=self.shots.to(device),
            contrasts=self.contrasts.to(device),
            factors=tuple(factor.to(device) for factor in self.factors),
            held=None if self.held is None else self.held.to(device),
        )
