"""The five kinds of evidence as tables, one row per piece, and a summary with one row per kind.

Notation as in `conditioning`: q_i(k) is the soft label of example i, ℓ_t(k) the log-probabilities
of prediction t. Everything is in nats, and a number that the evidence cannot give is NaN. Where no
labels are given, they are those of the predictions alone, see `mean_labels`. A label that has to
be hard is the most probable one, of equally probable ones the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray
from scipy.special import logsumexp, softmax

from consilience.data.arrays import Floats
from consilience.errors import InputError
from consilience.evidence.evidence import Evidence
from consilience.objective.conditioning import condition
from consilience.objective.pair_terms import flip_effect
from consilience.objective.pools import per_target

IMPOSSIBLE = -1e6
"""Stands for log 0, whose differences are undefined; sums of logs of probabilities stay above."""

_ROUNDING = 1e-9
"""A difference of so few nats is none."""


def evidence_table(
    evidence: Evidence, kind: str = "direct confidence", labels: Floats | None = None
) -> pd.DataFrame:
    """The pieces of one kind of evidence, read under soft `labels` (N, K).

    `kind` is one of `EVIDENCE_KINDS`, or one of the words for them in `KIND_WORDS`.
    """
    kind = KIND_WORDS.get(kind, kind)
    if kind not in _KINDS:
        raise InputError(f"no kind of evidence {kind!r}; there are: {', '.join(EVIDENCE_KINDS)}")
    evidence = evidence.to("cpu")
    return _KINDS[kind].table(evidence, _checked(evidence, labels))


def evidence_summary(evidence: Evidence, labels: Floats | None = None) -> pd.DataFrame:
    """One row per kind: how much there is of it, how far it agrees with itself, how strong it is.

    `pieces`: rows of the table; `coverage` and `overlap`: the shares of all examples that at
    least one piece, and at least two, speak of (after Snorkel's `LFAnalysis`). A prediction and a
    flip speak of their target, a relation of its members; the other kinds have one piece per
    example, so no overlap. `bounded`: the share of pieces that rest on a bounded prediction.
    `conflict`: the share of the covered examples whose evidence disagrees. `mean_strength`: the
    mean over the pieces, in nats. What these two mean is the kind's own:

    - direct confidence: trusted predictions have different labels; their log-odds.
    - flip sensitivity: some shots speak for the target's label and some against; |shrunk|.
    - ensemble variance: predictions have different labels, trusted or not; score spread.
    - mutual predictability: forward is below log(1/K), worse than ignorance; forward − log(1/K).
    - logical consistency: the hard labels break a relation; graded.
    """
    evidence = evidence.to("cpu")
    labels = _checked(evidence, labels)
    rows = [_summarised(evidence, name, kind, labels) for name, kind in _KINDS.items()]
    return pd.DataFrame(rows)


def mean_labels(evidence: Evidence) -> Floats:
    """Labels from the predictions alone, softmax of their mean ℓ, 1/K where there is none; (N, K).

    All predictions count alike, whatever their shots and bounds.
    """
    counts = np.bincount(evidence.predictions.target.numpy(), minlength=evidence.n)
    total = per_target(evidence, evidence.predictions.logp.unsqueeze(0))[0].numpy()
    return np.asarray(softmax(total / np.maximum(counts, 1)[:, None], axis=1))


def direct_confidence(evidence: Evidence, labels: Floats) -> pd.DataFrame:
    """What each prediction says of its target; one row per prediction, the same for all labels.

    `shots`: how many were shown with a label on record; `label`: the best one, by its
    `probability`, and `log_odds` against all the others together; `bounded`: some label was only
    bounded; `trusted`: more probable than the floor.
    """
    predictions = evidence.predictions
    logp = predictions.logp.numpy()
    best, top = logp.argmax(axis=1), logp.max(axis=1)
    others = np.where(np.arange(evidence.k) == best[:, None], -np.inf, logp)
    return pd.DataFrame(
        {
            "id": _named(evidence.ids, predictions.target.numpy()),
            "prediction": pd.array(list(predictions.keys), dtype="str"),
            "framing": _named(evidence.framings, predictions.framing.numpy()),
            "round": predictions.round.numpy(),
            "shots": evidence.shot_counts.numpy(),
            "label": best,
            "probability": np.exp(top),
            "log_odds": top - logsumexp(others, axis=1),
            "bounded": predictions.bounded.numpy(),
            "trusted": np.exp(top) > evidence.floor,
        }
    )


def flip_sensitivity(evidence: Evidence, labels: Floats) -> pd.DataFrame:
    """What the label of a shot does to the target; one row per pair of target and flipped shot.

    `effect`: how much the log-odds of the target's label rise when the shot goes from the less to
    the more probable of its two labels (where these are equal, from the contrast's to the
    twin's), so that above zero the labels of both speak for each other; the mean over the pair's
    n `contrasts`. Log-odds are against the geometric mean of the others, K/(K − 1) d(y), d of
    `flip_effect`. `shrunk`: effect × n/(n + 1). `bounded`: some prediction of the pair is.
    """
    contrasts = evidence.contrasts
    predictions = evidence.predictions
    twin, contrast = contrasts.twin.numpy(), contrasts.flipped.numpy()
    target, shot = predictions.target.numpy()[twin], contrasts.example.numpy()
    rise = flip_effect(evidence).numpy()[np.arange(evidence.f), labels.argmax(axis=1)[target]]
    # Two contrasts that flip one shot in opposite directions must not cancel.
    kept = labels[shot, contrasts.before.numpy()]
    turned = labels[shot, contrasts.after.numpy()]
    flips = pd.DataFrame(
        {
            "target": target,
            "shot": shot,
            "effect": np.where(kept >= turned, rise, -rise) * evidence.k / (evidence.k - 1),
            "bounded": (predictions.bounded[twin] | predictions.bounded[contrast]).numpy(),
        }
    )
    pairs = flips.groupby(["target", "shot"], as_index=False).agg(
        contrasts=("effect", "size"), effect=("effect", "mean"), bounded=("bounded", "any")
    )
    return pd.DataFrame(
        {
            "id": _named(evidence.ids, pairs["target"].to_numpy()),
            "shot": _named(evidence.ids, pairs["shot"].to_numpy()),
            "contrasts": pairs["contrasts"],
            "effect": pairs["effect"],
            "shrunk": pairs["effect"] * pairs["contrasts"] / (pairs["contrasts"] + 1),
            "bounded": pairs["bounded"],
        }
    )


def ensemble_variance(evidence: Evidence, labels: Floats) -> pd.DataFrame:
    """How far the n ≥ 2 predictions of an example lie apart; one row each, the same for all labels.

    `score_spread`: the standard deviation of the log-odds of two classes; of more, the root of
    the mean of their variances over the pairs of classes, which is 2/(K − 1) Σ_k Var(c(k)) with
    c = ℓ − mean_k ℓ and Var = Σ_t (c_t − mean)²/(n − 1). The squares of `within_framings`, about
    the mean of each framing, and of `between_framings`, of these means, sum to its square; within
    is NaN where no framing was asked twice, between where there is only one. What lies between
    holds the noise of each framing's mean too. `label_disagreement`: 1 − Σ_k share(k)² over the
    best labels (Gini), ties split.
    """
    predictions = evidence.predictions
    logp = predictions.logp.numpy()
    by_target = predictions.target.numpy()
    by_framing = [by_target, predictions.framing.numpy()]
    scale = math.sqrt(2 / (evidence.k - 1))
    scores = pd.DataFrame(scale * (logp - logp.mean(axis=1, keepdims=True)))
    mean = scores.groupby(by_target).transform("mean")
    alike = scores.groupby(by_framing).transform("mean")
    spread = pd.DataFrame(
        {
            "total": (scores - mean).pow(2).sum(axis=1),
            "within": (scores - alike).pow(2).sum(axis=1),
            "between": (alike - mean).pow(2).sum(axis=1),
            "framing": by_framing[1],
            "bounded": predictions.bounded.numpy(),
        }
    ).groupby(by_target)
    per = spread[["total", "within", "between"]].sum()
    n, framings = spread.size(), spread["framing"].nunique()
    best = logp == logp.max(axis=1, keepdims=True)
    shares = pd.DataFrame(best / best.sum(axis=1, keepdims=True)).groupby(by_target).mean()
    root = per.div((n - 1).clip(lower=1), axis=0).pow(0.5)
    found = pd.DataFrame(
        {
            "id": _named(evidence.ids, per.index.to_numpy()),
            "predictions": n,
            "score_spread": root["total"],
            "within_framings": root["within"].where(n > framings),
            "between_framings": root["between"].where(framings > 1),
            "label_disagreement": 1 - shares.pow(2).sum(axis=1),
            "bounded": spread["bounded"].any(),
        }
    )
    return found[found["predictions"] >= 2].reset_index(drop=True)


def _mutual_predictability(evidence: Evidence, labels: Floats) -> pd.DataFrame:
    """How well labels predict each other, both ways; one row per example that either is known of.

    `forward`: the mean of f_t = Σ_k q(k) ℓ_t(k) over the `forward_count` predictions of the
    example that have shots, weighed by their relevance (see `conditioning.condition`), of which
    `relevance` is the mean. `reverse`: how much better than other prompts those do that showed
    the example with its label, the mean of f_t less the mean of f over all predictions with shots
    of t's target. Only the `reverse_count` predictions count whose target has two or more of them
    and is surer than the floor. `bounded`: some prediction in either mean is.
    """
    e, n = evidence, evidence.n
    predictions = e.predictions
    target, asked = predictions.target.numpy(), ~predictions.zero.numpy()
    relevance = condition(e, torch.from_numpy(labels).unsqueeze(0)).relevance[0].numpy() * asked
    fit = (labels[target] * predictions.logp.numpy()).sum(axis=1)
    count = np.bincount(target[asked], minlength=n)
    weight = np.bincount(target, relevance, n)
    forward = _ratio(np.bincount(target, relevance * fit, n), weight)
    advantage = fit - _ratio(np.bincount(target, asked * fit, n), count)[target]
    rests = np.bincount(target, asked & predictions.bounded.numpy(), n) > 0

    by, shot, label = (column.numpy() for column in e.shown_shots())
    comparable = (count > 1) & (labels.max(axis=1) > e.floor)
    shown = (labels.argmax(axis=1)[shot] == label) & comparable[target[by]]
    shot, by = shot[shown], by[shown]
    found = pd.DataFrame(
        {
            "id": pd.array(list(e.ids), dtype="str"),
            "forward": forward,
            "forward_count": count,
            "reverse": _ratio(np.bincount(shot, advantage[by], n), np.bincount(shot, minlength=n)),
            "reverse_count": np.bincount(shot, minlength=n),
            "relevance": _ratio(weight, count),
            "bounded": rests | (np.bincount(shot, rests[target[by]], n) > 0),
        }
    )
    return found[found["forward_count"] + found["reverse_count"] > 0].reset_index(drop=True)


def _logical_consistency(evidence: Evidence, labels: Floats) -> pd.DataFrame:
    """How well the labels fit the relations; one row per component, or relation of a large one.

    `ids`, `size`: the examples tied together; `graded`: −log probability that the relations hold
    under the soft labels, taken as independent, infinite where it is 0; `holds`: whether they do
    under the hard ones, the soft relations among them.
    """
    ids = np.array(evidence.ids, dtype=object)
    soft = torch.from_numpy(labels).log().clamp(min=IMPOSSIBLE)
    sure = np.where(np.arange(evidence.k) == labels.argmax(axis=1)[:, None], 0, IMPOSSIBLE)
    hard = torch.from_numpy(sure)
    tied: list[tuple[str, ...]] = []
    graded: list[float] = []
    holds: list[bool] = []
    for factor in evidence.factors:
        held = factor.log_holds(soft)
        lost = torch.where(held > IMPOSSIBLE / 2, -held, math.inf).clamp(min=0)
        tied += [tuple(row) for row in ids[factor.members.numpy()].tolist()]
        graded += lost.tolist()
        holds += (factor.log_holds(hard) > -_ROUNDING).tolist()
    return pd.DataFrame(
        {
            "ids": pd.Series(tied, dtype=object),
            "size": np.array([len(row) for row in tied], dtype=np.int64),
            "graded": np.array(graded, dtype=np.float64),
            "holds": np.array(holds, dtype=np.bool_),
        }
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind becomes a table, and what disagreement and strength are in that table.

    `conflict` takes the pieces, each with the `id` of an example that it speaks of, and K, and
    says for each of these ids whether its pieces disagree; `strength` gives nats per piece.
    """

    table: Callable[[Evidence, Floats], pd.DataFrame]
    conflict: Callable[[pd.DataFrame, int], pd.Series[bool]]
    strength: Callable[[pd.DataFrame, int], pd.Series[float]]


def _labels_differ(pieces: pd.DataFrame, k: int) -> pd.Series[bool]:
    """Whether the trusted predictions of an example have different best labels."""
    return pieces["label"].where(pieces["trusted"]).groupby(pieces["id"]).nunique() > 1


def _signs_differ(pieces: pd.DataFrame, k: int) -> pd.Series[bool]:
    """Whether some flips of an example's shots speak for its label and others against it."""
    shrunk = pieces.groupby("id")["shrunk"]
    return (shrunk.min() < -_ROUNDING) & (shrunk.max() > _ROUNDING)


_KINDS: Mapping[str, _Kind] = {
    "direct confidence": _Kind(
        direct_confidence, _labels_differ, lambda pieces, k: pieces["log_odds"]
    ),
    "flip sensitivity": _Kind(
        flip_sensitivity, _signs_differ, lambda pieces, k: pieces["shrunk"].abs()
    ),
    "ensemble variance": _Kind(
        ensemble_variance,
        lambda pieces, k: pieces["label_disagreement"] > 0,
        lambda pieces, k: pieces["score_spread"],
    ),
    "mutual predictability": _Kind(
        _mutual_predictability,
        lambda pieces, k: pieces["forward"] < -math.log(k) - _ROUNDING,
        lambda pieces, k: pieces["forward"] + math.log(k),
    ),
    "logical consistency": _Kind(
        _logical_consistency,
        lambda pieces, k: ~pieces.groupby("id")["holds"].all(),
        lambda pieces, k: pieces["graded"],
    ),
}

KIND_WORDS = dict(zip(("direct", "flips", "ensemble", "mutual", "logic"), _KINDS, strict=True))
"""The kinds of evidence by one word each."""

EVIDENCE_KINDS = tuple(_KINDS)
"""The kinds of evidence, by the names that `evidence_table` takes."""


def _summarised(evidence: Evidence, name: str, kind: _Kind, labels: Floats) -> dict[str, Any]:
    """The row of `evidence_summary` for one kind."""
    pieces = kind.table(evidence, labels)
    spoken = pieces if "id" in pieces else pieces.explode("ids").rename(columns={"ids": "id"})
    each = spoken.groupby("id").size()
    covered = len(each)
    return {
        "kind": name,
        "pieces": len(pieces),
        "coverage": covered / evidence.n,
        "overlap": int((each > 1).sum()) / evidence.n,
        "conflict": int(kind.conflict(spoken, evidence.k).sum()) / covered if covered else math.nan,
        "bounded": pieces["bounded"].mean() if "bounded" in pieces else math.nan,
        "mean_strength": kind.strength(pieces, evidence.k).mean(),
    }


def _checked(evidence: Evidence, labels: Floats | None) -> Floats:
    """Soft labels as an array (N, K); those of the predictions alone where none are given."""
    if labels is None:
        return mean_labels(evidence)
    made = np.array(labels, dtype=np.float64)
    if made.shape != (evidence.n, evidence.k):
        raise InputError(
            f"labels of shape {made.shape}, where one row for each of {evidence.n} examples and "
            f"one column for each of {evidence.k} classes is needed"
        )
    if not ((made >= 0).all() and np.allclose(made.sum(axis=1), 1, rtol=0, atol=1e-6)):
        raise InputError("labels are probabilities: from 0 to 1, each row summing to 1")
    return made


def _named(names: Sequence[str], at: NDArray[Any]) -> ExtensionArray:
    """The names at these positions; strings also where there are none."""
    return pd.array(list(names), dtype="str").take(at)


def _ratio(total: NDArray[Any], count: NDArray[Any]) -> Floats:
    """Total over count, NaN where nothing was counted."""
    empty = np.full(len(count), math.nan)
    return np.asarray(np.divide(total, count, out=empty, where=count > 0))
