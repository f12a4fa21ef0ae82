"""What an elicitation found: labels with their uncertainty, and the evidence behind each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from consilience.concepts.concept import Concept, questions
from consilience.data.arrays import Integers
from consilience.data.dataset import Dataset
from consilience.data.relations import active_relations, tied_examples
from consilience.errors import InputError
from consilience.evidence.evidence import Evidence
from consilience.objective.conditioning import condition
from consilience.objective.term import Terms
from consilience.planning.planner import SoftLabels
from consilience.prompts.framing import Framing
from consilience.results.consistent_labels import Facts, facts_of, hard_labels_of
from consilience.results.diagnosis import Verdict, open_labels, verdict
from consilience.results.explanation import Explainer
from consilience.results.landmarks import Landmarks, Orientation, oriented, renamed
from consilience.results.shot_free_check import ShotFreeCheck, check_without_shots
from consilience.results.tempering import tempered
from consilience.results.uncertainty import Uncertainty, uncertainty
from consilience.solvers.fixed_point import Solver
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import Solution
from consilience.store.rows import Prediction, Run
from consilience.store.runner import CallCounts

if TYPE_CHECKING:
    from consilience.models.price import Price
    from consilience.results.calibration import Calibration
    from consilience.results.report_content import Words
    from consilience.results.report_scores import Scores


@dataclass(frozen=True)
class Found:
    """The result of a run: labels, their uncertainty, the evidence behind them, and the cost.

    `solution` has the soft labels, from answers whose log-odds were multiplied by
    `log_odds_scale` (see `mixture`). `evidence` has every prediction that counted, `predictions`
    the answers as they were given, by the keys of `evidence`. `asked` counts the calls of this run
    (0 if everything was in the store), `budget` is how many calls were allowed, `saved` how many of
    these were not planned. `settled` says whether the labels had settled, which ends a run (None
    if that was not checked). `unanswered` maps the ids of examples without an answer to the reason;
    they have no label. `concepts` are the labellings that the census found on its sample, that of
    these labels first. `orientation` and `calibration` say what landmarks changed, if there were
    any. `corrections` are the classes that the user gave to examples, by id; `place` is the file of
    the store, None for a run in memory.
    """

    dataset: Dataset
    framings: tuple[Framing, ...]
    run: Run
    evidence: Evidence
    terms: Terms
    solution: Solution
    uncertainty: Uncertainty
    saved: int
    asked: CallCounts
    log_odds_scale: float = 1.0
    concepts: tuple[Concept, ...] = ()
    unanswered: Mapping[str, str] = field(default_factory=dict)
    predictions: Mapping[str, Prediction] = field(default_factory=dict)
    orientation: Orientation | None = None
    calibration: Calibration | None = None
    solver: Solver = field(default_factory=LBFGS)
    corrections: Mapping[str, int] = field(default_factory=dict)
    place: str | None = None
    budget: int = 0
    settled: bool | None = None

    def __repr__(self) -> str:
        from consilience.results.notebook import short_text

        return short_text(self)

    def _repr_html_(self) -> str:
        from consilience.results.notebook import short_html

        return short_html(self)

    @cached_property
    def labels(self) -> pd.DataFrame:
        """One row per example: id, label, its name and probability, uncertainties, predictions.

        `label` is that of `hard_labels`, `probability` the probability of that label (see
        `probabilities`), `p_…` those of all classes. Uncertainties are in nats, of the optimum,
        before any scaling. `structural` is the share of the label's log-odds that comes from other
        examples, NaN if nothing pulls it. `predictions` counts those about the example, and `open`
        says that the label is better left open (see `diagnosis`). An example without an answer, and
        without a relation to one that has an answer, has missing values. With landmarks, `landmark`
        marks them, and their label is the one vouched for.
        """
        q = self.soft_labels
        hard = self.hard_labels
        names = self.dataset.task.classes
        counts = np.bincount(self.evidence.predictions.target.numpy(), minlength=len(q))
        columns = {
            "id": list(self.dataset.ids),
            "label": hard,
            "name": [names[c] for c in hard],
            "probability": q[np.arange(len(q)), hard],
            "epistemic": self.uncertainty.epistemic,
            "aleatoric": self.uncertainty.aleatoric,
            "structural": self.uncertainty.structural,
            "predictions": counts,
            "open": open_labels(q) | (hard != q.argmax(axis=1)),
        }
        if self.calibration is not None:
            columns["landmark"] = np.isin(np.arange(len(q)), self.calibration.landmarks.at)
        if self.corrections:
            columns["corrected"] = [id in self.corrections for id in self.dataset.ids]
        made = pd.DataFrame(columns | {f"p_{name}": q[:, c] for c, name in enumerate(names)})
        if (none := self._unlabelled(counts)).any():
            made["label"] = made["label"].astype("Int64")
            made.loc[none, ["label", "name"]] = None
            made.loc[none, ["probability", *(f"p_{name}" for name in names)]] = np.nan
            made.loc[none, "open"] = True
        return made

    def _unlabelled(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether an example has no answer, no relation and no landmark, (N,)."""
        priors = self.run.settings.get("priors", False)
        tied = tied_examples(active_relations(self.dataset.relations, priors))
        vouched = () if self.calibration is None else self.calibration.landmarks.at
        none = counts == 0
        known = [self.dataset.index[id] for id in (*tied, *self.corrections)]
        none[known + list(vouched)] = False
        return np.asarray(none)

    @cached_property
    def soft_labels(self) -> SoftLabels:
        """The reported probability of each class, (N, K).

        It is that of the solution, calibrated if there are landmarks, and no surer than the
        evidence if the verdict doubts the labels (see `tempering`).
        """
        labels = self.solution.labels
        shares = self.evidence.shares
        labels = tempered(labels, self.doubt, shares) if self.doubt < 1 else labels.copy()
        if self.evidence.held is not None:
            given = self.evidence.held.numpy()
            labels[given >= 0] = np.eye(labels.shape[1])[given[given >= 0]]
        return labels

    @cached_property
    def hard_labels(self) -> Integers:
        """The class of each example, (N,): the most probable one that the declared facts allow."""
        return hard_labels_of(self)

    @cached_property
    def facts(self) -> Facts:
        """How many declared facts the soft labels break, and how many hard labels that changed."""
        return facts_of(self)

    @property
    def doubt(self) -> float:
        """The factor on the log-odds of the solution: 1, or less where the verdict doubts them."""
        return 1.0 if self.calibration is not None else self.verdict.doubt

    @property
    def polarity(self) -> str:
        """What decides which way round the labels are: names, shares, landmarks or nothing."""
        if self.orientation is not None:
            return self.orientation.sentence
        if self._named:
            return "by the meaning of the label names"
        if self.evidence.shares is not None and len(set(self.evidence.shares)) > 1:
            return "by the shares given"
        return (
            "undetermined: no framing gives the label names a meaning, so the labels and their "
            "mirror image fit equally well"
        )

    @property
    def probabilities(self) -> str:
        """How far the probabilities can be trusted: "uncalibrated", or how they were calibrated."""
        if self.calibration is not None:
            return self.calibration.sentence
        scale = self.doubt * self.log_odds_scale
        why = ", no surer than what no found label has touched" if self.doubt < 1 else ""
        scaled = round(scale, 2) != 1
        return f"uncalibrated (log-odds × {scale:.2g}{why})" if scaled else "uncalibrated"

    @property
    def shares(self) -> str:
        """The share of each class among rows, and whether it was given, estimated or assumed."""
        told = self.evidence.shares
        means = np.average(self.solution.labels, axis=0, weights=self.dataset.repeats)
        named = zip(self.dataset.task.classes, means if told is None else told, strict=True)
        said = ", ".join(f"{name} {share:.0%}" for name, share in named)
        if told is not None:
            return f"{said} (given)"
        if len(means) > 2:
            return f"{said} (assumed: no class leads in the answers as a whole)"
        return f"{said} (estimated from the answers, from even where they cannot tell)"

    def corrected(self, corrections: object) -> Found:
        """The same run solved again with the given labels held fixed; it asks nothing.

        `corrections`: a mapping of ids to classes (None takes one back), rows, or a file with the
        column `correction` or `label`. They are kept in the store; see
        `consilience.results.corrections`.
        """
        from consilience.results.corrections import with_corrections

        return with_corrections(self, corrections)

    def calibrated(self, landmarks: object, method: str = "auto") -> Found:
        """The same run with the labelling that landmarks choose, and calibrated probabilities.

        `landmarks`: a mapping of ids to classes, a file or rows (see `Landmarks.of`). `method` is
        one of `calibration.METHODS`; "none" settles only which way round the labels are. Each
        landmark gets the label vouched for. `solution.stats` stay those of the solve.
        """
        # scikit-learn takes seconds to load, and most labels are never calibrated.
        from consilience.results.calibration import calibrate, check_enough

        if self.calibration is not None:
            raise InputError("these labels are calibrated already; calibrate those as solved")
        vouched = Landmarks.of(landmarks, self.dataset).without(self.corrections)
        check_enough(vouched, method)
        shares, fixed = self.evidence.shares, self._spoken_of()
        meant = oriented(self.solution, vouched, named=self._named, fixed=fixed, shares=shares)
        made = calibrate(meant.labels, vouched, method, seed=self.run.seed)
        solution, unsure = self._as_meant(meant)
        labels = made.labels.copy()
        labels[list(vouched.at)] = np.eye(labels.shape[1])[list(vouched.classes)]
        return replace(
            self,
            framings=tuple(
                replace(f, label_names=tuple(f.label_names[c] for c in meant.order))
                for f in self.framings
            ),
            evidence=renamed(self.evidence, meant.order),
            concepts=tuple(replace(c, labels=c.labels[:, meant.order]) for c in self.concepts),
            solution=replace(solution, labels=labels),
            uncertainty=unsure,
            orientation=meant,
            calibration=made,
        )

    @property
    def _named(self) -> bool:
        return any(framing.semantic for framing in self.framings)

    def _spoken_of(self) -> list[int]:
        """The classes of which relations that count speak: they cannot be renamed."""
        relations = active_relations(self.dataset.relations, self.run.settings["priors"])
        related = {c for r in relations for c in r.speaks_of(self.dataset.task.k)}
        return sorted(related | set(self.corrections.values()))

    def _as_meant(self, meant: Orientation) -> tuple[Solution, Uncertainty]:
        """The solution with the classes as they are meant, and the uncertainty of that optimum."""
        optima = tuple(
            replace(optimum, labels=optimum.labels[:, meant.order])
            for optimum in self.solution.optima
        )
        solution, unsure = replace(self.solution, optima=optima), self.uncertainty
        if meant.optimum:
            other = self.solution.optima[meant.optimum].labels
            relevance = condition(self.evidence, torch.from_numpy(other)[None]).relevance[0].numpy()
            solution = replace(solution, relevance=relevance)
            chosen = replace(self.solution, labels=other, relevance=relevance)
            unsure = uncertainty(self.evidence, self.terms, LBFGS(), chosen, seed=self.run.seed)
        return solution, unsure

    def explain(self, id: str) -> pd.DataFrame:
        """Every prediction, contrast and relation about an example, and what it adds to the label.

        `id` is that of a row or of an example. The column `pull` sums to the log-odds of the label
        in `solution.labels`; see `consilience.results.explanation.Explainer.rows` for the others.
        """
        example = self.dataset.find(id)
        if example is None:
            raise InputError(f"no example {id!r} in {self.dataset.name!r}; ids are in `table()`")
        return self.explainer.table(example)

    @cached_property
    def explainer(self) -> Explainer:
        """The pulls on every label, which sum to the log-odds of `solution.labels`."""
        chosen = self.orientation.optimum if self.orientation else 0
        return Explainer(
            self.dataset,
            self.evidence,
            self.terms,
            self.solution,
            priors=self.run.settings["priors"],
            solved=None if self.calibration is None else self.solution.optima[chosen].labels,
        )

    @cached_property
    def shot_free_check(self) -> ShotFreeCheck | None:
        """The labels from zero-shot answers and contrasts alone; None if there are neither."""
        return check_without_shots(self.evidence, self.solution, self.terms, seed=self.run.seed)

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the labels are to be believed, and if not, why not; see `diagnosis`."""
        vouched = bool(self.run.settings.get("landmarks")) or self.orientation is not None
        return verdict(
            self.solution.labels,
            self.concepts,
            vouched,
            self.evidence,
            self.run.seed,
        )

    def questions(self, count: int = 3) -> list[str]:
        """The ids of the rows whose labels would best tell the concepts found apart.

        The list is empty if there is only one concept. Label these rows and give them as landmarks
        to another run: what this one asked is not asked again.
        """
        data = self.dataset
        return [data.own_id(data.ids[i]) for i in questions(self.concepts, count)]

    def table(self, *, details: bool = False, decided_only: bool = False) -> pd.DataFrame:
        """The user's table with the columns `label`, `probability`, `uncertainty`, `open` added.

        See `result_table` for their meaning, what `details` adds and `decided_only` leaves out.
        """
        from consilience.data.result_table import result_table

        return result_table(self.dataset, self.labels, details, decided_only)

    def export(
        self, path: str | Path, *, details: bool = False, keep_formulas: bool = False
    ) -> None:
        """Writes `table()` to a CSV, JSONL, Parquet or XLSX file, by its suffix.

        `keep_formulas` leaves cells of CSV as they are that a spreadsheet would run as formulas.
        """
        from consilience.data.export import write_table

        write_table(self.table(details=details), path, keep_formulas=keep_formulas)

    def report(
        self,
        path: str | Path,
        *,
        scores: Scores | None = None,
        words: Words | None = None,
        price: Price | None = None,
    ) -> Path:
        """Writes one self-contained HTML page about the run, and returns its path.

        `scores` is what `evaluate` returned: methods side by side, and a calibration curve.
        `words` is what `describe` found, `descriptions` by the number of their concept, those of
        the labels under 0. With a `price` it says what the answers cost. MissingExtra without
        Jinja2.
        """
        from consilience.results.report import write_report

        return write_report(self, path, scores, words, price)

    def evidence_table(self, kind: str = "direct") -> pd.DataFrame:
        """One kind of evidence, conditioned on the labels found, one row per piece; ids of rows.

        `kind` is a word as on the command line: direct, flips, ensemble, mutual or logic.
        """
        from consilience.objective.evidence_tables import evidence_table

        table = evidence_table(self.evidence, kind, self.solution.labels)
        data = self.dataset
        return table.map(lambda cell: data.own_id(cell) if cell in data.index else cell)

    def evidence_summary(self) -> pd.DataFrame:
        """One row per kind of evidence: its amount, its agreement with the labels, its strength."""
        from consilience.objective.evidence_tables import evidence_summary

        return evidence_summary(self.evidence, self.solution.labels)

    def prediction_table(self) -> pd.DataFrame:
        """One row per prediction: what was asked, and the log-probability of each class in nats."""
        from consilience.results.prediction_table import prediction_table

        return prediction_table(self)

    def rounds(self) -> pd.DataFrame:
        """One row per round: what was asked, and how its answers agree with the labels found."""
        from consilience.results.rounds import round_table

        return round_table(self.evidence, self.solution.labels)
