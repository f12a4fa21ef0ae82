"""The weights of the terms, chosen by how well labels predict predictions they have not seen.

Labels are found from some of the predictions and asked what the others say. No gold is needed,
and a weight cannot be chosen because it makes the objective itself easy: the objective is not
what is compared. Learning the weights on the objective is here too (`learned(on="objective")`),
because it is often proposed, and it cheats: all weight goes to the term that costs least.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from consilience.data.random_streams import STREAMS, generator
from consilience.errors import InputError
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import default_terms, evaluate_terms
from consilience.objective.conditioning import condition
from consilience.objective.pools import per_target
from consilience.objective.term import Terms
from consilience.solvers.fixed_point import Problem, Solver, chosen
from consilience.solvers.lbfgs import LBFGS

FIGURES = ("score", "behind", "behind_error")
"""The columns that stand beside the weights in a comparison."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How well labels predict predictions that they were found without, in nats per prediction.

    `score` is the mean over examples, `error` its standard error, `by_example` (N,) the mean over
    each example's predictions by their shares, NaN where it has none.
    """

    score: float
    error: float
    by_example: NDArray[np.float64]


def held_out(
    evidence: Evidence,
    terms: Terms | None = None,
    solver: Solver | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> HeldOut:
    """The held-out predictability of the labels that an objective finds.

    (1/N) Σ_t s_t Σ_k p_t(k) log(r_t q_i(k) + (1 − r_t)/K) over the predictions t, each held out
    once, where q are the labels found from the other folds, r_t the relevance of t under them, p_t
    what was answered and s_t the share of t in the pool of its target, as when nothing is held
    out: what the labels say where a prediction is to the point, and ignorance elsewhere. A proper
    score, at most 0; ignorance scores −log K. Predictions of one target whose prompts differ at
    most in the labels shown, as a contrast and its twin do, are held out together.

    Two things are not held out: the bias of the label names, and which labels the prompts showed,
    for a run chose these by all its earlier answers.
    """
    predictions = evidence.predictions
    terms = _some(terms)
    solver = LBFGS() if solver is None else solver
    fold = _folds(evidence, folds, seed)
    # One resampling per fold, all solved in one batch: a prediction held out has no weight.
    kept = (fold.unsqueeze(0) != torch.arange(folds, device=fold.device).unsqueeze(1)).double()
    settled = solver.settle(Problem(evidence, terms, kept), _start(evidence, kept))
    t = torch.arange(evidence.t, device=fold.device)
    r = settled.relevance[fold, t].unsqueeze(-1)
    q = settled.logq.exp()[fold, predictions.target]
    said = (r * q + (1 - r) / evidence.k).clamp(min=1e-300).log()
    score = condition(evidence, settled.logq[:1].exp()).share * (predictions.logp.exp() * said).sum(
        dim=-1
    )
    asked = torch.bincount(predictions.target, minlength=evidence.n) > 0
    total = torch.where(asked, per_target(evidence, score)[0], torch.nan)
    by_example = total.cpu().numpy()
    return HeldOut(*_mean(by_example), by_example)


def compared(
    evidence: Evidence,
    objectives: Iterable[Terms],
    solver: Solver | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per objective, in the order given: its score and how far it is behind the best.

    `behind_error` is the standard error of `behind`, paired over examples and folds: an objective
    within two errors is as good. Examples that share shots or relations are not independent, so
    the error is rather too small.
    """
    scored = [held_out(evidence, terms, solver, folds=folds, seed=seed) for terms in objectives]
    if not scored:
        raise InputError("a comparison needs at least one objective")
    best = max(scored, key=lambda one: one.score).by_example
    rows = [(one.score, *_mean(best - one.by_example)) for one in scored]
    return pd.DataFrame(rows, columns=list(FIGURES))


def sweep(
    evidence: Evidence,
    grid: Mapping[str, Sequence[float]],
    terms: Terms | None = None,
    solver: Solver | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Every combination of the weights in `grid`, best first, with the columns of `compared`.

    Whatever else a weight does, it makes labels surer; that of the entropy makes them less sure.
    To tell what a term says from how sure it makes labels, sweep it together with the entropy.
    """
    terms = _some(terms)
    if not all(len(values) for values in grid.values()):
        raise InputError(f"a weight to sweep needs at least one value, got {dict(grid)}")
    if shared := grid.keys() & set(FIGURES):
        raise InputError(f"a column of the table is called {min(shared)!r}; rename the term")
    tried = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    objectives = [weighted(terms, weights) for weights in tried]
    figures = compared(evidence, objectives, solver, folds=folds, seed=seed)
    table = pd.concat([pd.DataFrame(tried, index=figures.index), figures], axis=1)
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def without_each(
    evidence: Evidence,
    terms: Terms | None = None,
    solver: Solver | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """The objective as it is, and without each of its terms in turn; columns as of `compared`.

    `without` is empty in the first row. A term that says nothing of this evidence, as couplings do
    where there are no contrasts, changes nothing. Without a term labels are less sure too, see
    `sweep`.
    """
    terms = _some(terms)
    left = [name for name, term in terms.items() if term.weight]
    objectives = [terms, *(weighted(terms, {name: 0.0}) for name in left)]
    figures = compared(evidence, objectives, solver, folds=folds, seed=seed)
    figures.insert(0, "without", ["", *left])
    return figures


def weighted(terms: Terms, weights: Mapping[str, float]) -> Terms:
    """The same terms with some of the weights replaced."""
    for name, weight in weights.items():
        if name not in terms:
            raise InputError(f"no term {name!r} in the objective; it has: {', '.join(terms)}")
        if not math.isfinite(weight):
            raise InputError(f"a weight is a finite number, got {weight} for {name!r}")
    return {name: term.at(weights.get(name, term.weight)) for name, term in terms.items()}


def learned(
    evidence: Evidence,
    terms: Terms | None = None,
    solver: Solver | None = None,
    *,
    on: str = "held-out",
    folds: int = 5,
    seed: int = 0,
    evaluations: int = 60,
) -> Terms:
    """The terms with weights learned `on` "held-out" predictability, or on the "objective" itself.

    Held out: Nelder and Mead's simplex over the logarithms of the weights, at most `evaluations`
    times `held_out`. Only the ratios of weights matter, so the first stays. On the objective:
    labels and weights climb it in turn, `evaluations` times, the sum of the weights held. A
    weighted sum is largest with all weight on its largest term, whatever the labels; so this is
    offered only to be seen. Terms of weight 0 or less, and terms that say nothing of this
    evidence, keep their weight.
    """
    terms = _some(terms)
    solver = LBFGS() if solver is None else solver
    if on not in ("held-out", "objective"):
        raise InputError(f"weights are learned on 'held-out' or 'objective', not on {on!r}")
    if evaluations < 1:
        raise InputError(f"learning needs at least one evaluation, got {evaluations}")
    names = _that_matter(evidence, terms)
    if len(names) < 2:
        return terms
    if on == "objective":
        return _greedy(evidence, terms, solver, names, evaluations)
    free = names[1:]

    def made(logs: NDArray[np.float64]) -> Terms:
        return weighted(terms, dict(zip(free, np.exp(logs).tolist(), strict=True)))

    def cost(logs: NDArray[np.float64]) -> float:
        return -held_out(evidence, made(logs), solver, folds=folds, seed=seed).score

    start = np.log([terms[name].weight for name in free])
    # The first simplex doubles each weight in turn.
    simplex = np.vstack([start, start + np.log(2) * np.eye(len(free))])
    options = {"maxfev": evaluations, "xatol": 0.05, "fatol": 1e-5, "initial_simplex": simplex}
    return made(minimize(cost, start, method="Nelder-Mead", options=options).x)


def _folds(evidence: Evidence, folds: int, seed: int) -> Tensor:
    """The fold of each prediction (T,), spread evenly within each example.

    What is asked of one target in one framing with the same shots, whatever labels they showed,
    stays together: contrasts with their twins, and repeats.
    """
    predictions = evidence.predictions
    if folds < 2:
        raise InputError(f"predictions are held out in at least 2 folds, got {folds}")
    shown: list[list[int]] = [[] for _ in range(evidence.t)]
    of, examples, _ = evidence.shown_shots()
    for t, example in zip(of.tolist(), examples.tolist(), strict=True):
        shown[t].append(example)
    columns = (
        predictions.target.tolist(),
        predictions.framing.tolist(),
        predictions.zero.tolist(),
        shown,
    )
    prompts: dict[tuple[int, int, object], int] = {}
    of_prompt = [
        # Where nobody recorded the shots they may be any: such a prediction is like no other.
        prompts.setdefault((i, f, tuple(at) if at or zero else f"only {t}"), len(prompts))
        for t, (i, f, zero, at) in enumerate(zip(*columns, strict=True))
    ]
    rng = generator(seed, "folds")
    target = np.array([i for i, _, _ in prompts], dtype=np.int64)
    order = np.lexsort((rng.random(len(target)), target))
    place = np.arange(len(target)) - np.searchsorted(target[order], target[order])
    first = rng.integers(folds, size=evidence.n)
    fold = np.empty(len(target), dtype=np.int64)
    fold[order] = (first[target[order]] + place) % folds
    return torch.from_numpy(fold[of_prompt]).to(predictions.target.device)


def _start(evidence: Evidence, kept: Tensor) -> Tensor:
    """θ (S, N, K): what the zero-shot answers say that were kept; without any at all, every answer.

    Where nobody has a label no prediction is relevant, and a solve would end as it began.
    """
    predictions = evidence.predictions
    counted = kept * predictions.zero if bool(predictions.zero.any()) else kept
    total = per_target(evidence, counted.unsqueeze(-1) * predictions.logp)
    return total / per_target(evidence, counted).clamp(min=1.0).unsqueeze(-1)


def _mean(values: NDArray[np.float64]) -> tuple[float, float]:
    """The mean over the examples that have a value, and its standard error."""
    known = values[~np.isnan(values)]
    error = known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else np.nan
    return float(known.mean()), float(error)


def _some(terms: Terms | None) -> Terms:
    """The terms given, or the default ones; InputError where there are none."""
    terms = default_terms() if terms is None else terms
    if not terms:
        raise InputError("an objective needs at least one term; default_terms() has some")
    return terms


def _that_matter(evidence: Evidence, terms: Terms) -> list[str]:
    """The terms of weight above 0 that tell two labellings drawn at random apart."""
    rng = np.random.default_rng(STREAMS["folds"])
    drawn = torch.from_numpy(rng.normal(size=(2, evidence.n, evidence.k)))
    logq = torch.log_softmax(drawn, dim=-1).to(evidence.predictions.logp.device)
    both = torch.zeros(2, dtype=torch.int64, device=logq.device)
    values = evaluate_terms(evidence, terms, chosen(condition(evidence, logq.exp()), both), logq)
    return [
        name
        for name, term in terms.items()
        if term.weight > 0 and abs(float(values[name][0] - values[name][1])) > 1e-12
    ]


def _greedy(
    evidence: Evidence, terms: Terms, solver: Solver, names: list[str], rounds: int
) -> Terms:
    """Labels and weights climb the objective in turn; the weights by exponentiated gradient."""
    total = sum(terms[name].weight for name in names)
    share = np.array([terms[name].weight for name in names]) / total
    logq = _start(evidence, torch.ones_like(evidence.predictions.logp[:, 0]).unsqueeze(0))
    for _ in range(rounds):
        now = weighted(terms, dict(zip(names, (total * share).tolist(), strict=True)))
        settled = solver.settle(Problem(evidence, now), logq)
        logq = settled.logq[:1]
        value = np.array([float(settled.terms[name][0]) for name in names])
        share = share * np.exp(value - value.max())
        share /= share.sum()
    return weighted(terms, dict(zip(names, (total * share).tolist(), strict=True)))
