"""What a report says above its table, as plain data: numbers as the library has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from consilience.concepts.concept import Concept
from consilience.concepts.description import Description
from consilience.concepts.exemplars import typical
from consilience.data.arrays import Floats, saying
from consilience.data.dataset import Dataset
from consilience.models.price import Price, tokens_in
from consilience.results.advice import code_parts, command, headline, next_steps, row_count
from consilience.results.diagnosis import Kind
from consilience.results.report_rows import prompt_of
from consilience.results.report_scores import Bounded, Scores
from consilience.results.result import Found

EXEMPLARS = 4
"""So many typical examples of each class of a concept are shown."""

EDGES = tuple(b / 20 for b in range(21))
"""The ends of the bars in which probabilities are counted."""

SHOWN_MEASURES = {
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "ece": "calibration error",
    "pgr": "PGR",
}
"""The measures that a report shows, by what it calls them."""

STAGES = {
    "zero-shot": "zero-shot: no shots",
    "found": "shots with the labels found so far",
}
"""What is asked in a round, in words."""


KINDS_SAID = {
    "direct confidence": "what each answer says by itself",
    "flip sensitivity": "how far an answer moves when the label of one shot is turned round",
    "ensemble variance": "how far the answers about one example differ",
    "mutual predictability": "how well the labels of others foretell an answer",
    "logical consistency": "how far labels keep to the relations between examples",
}
"""What the kinds of evidence are."""

MEASURES_SAID = {
    "pieces": "how many there are",
    "coverage": "the share of examples that at least one piece speaks of",
    "overlap": "the share that at least two speak of",
    "conflict": "the share of those spoken of whose pieces disagree",
    "bounded": "the share of pieces that rest on an answer of which only a bound is known",
    "mean_strength": "the mean over the pieces, in nats",
}
"""What is said of them."""

Words = Mapping[int, Sequence[Description]]
"""Descriptions by the number of a concept, the best first; of the labels themselves under 0."""


def report_content(
    found: Found,
    scores: Scores | None = None,
    words: Words | None = None,
    price: Price | None = None,
) -> dict[str, Any]:
    """Everything that the page of a run says above its table."""
    words = words or {}
    return {
        "verdict": _verdict(found),
        "give_back": command(found, "review --corrections corrections.csv"),
        "asked": _asked(found),
        "cost": _cost(found, price),
        "sure": histogram(found),
        "scores": None if scores is None else _methods(found, scores),
        "rounds": _rounds(found),
        "evidence": _evidence(found),
        "offsets": context_offsets(found),
        "bias": _bias(found),
        "words": _spoken(words.get(0, ())),
        "concepts": [
            _concept(found, c, rank) | {"words": _spoken(words.get(rank, ()))}
            for rank, c in enumerate(found.concepts, start=1)
        ],
    }


_TONES = {Kind.COHERENT: "good", Kind.SEVERAL: "unsure", Kind.UNSURE: "unsure"}


def _verdict(found: Found) -> dict[str, Any]:
    table, q = found.labels, found.soft_labels
    names = table["name"].value_counts()
    opened = table["open"].astype(bool)
    return {
        "tone": _TONES.get(found.verdict.kind, "bad"),
        "kind": found.verdict.kind.value,
        "headline": headline(found),
        "steps": list(map(code_parts, next_steps(found))),
        "reasons": [*found.verdict.reasons, *filter(None, [found.facts.sentence])],
        "n": len(table),
        "decided": int((~opened).sum()),
        "open": int(opened.sum()),
        "mean": float(q.max(axis=1).mean()),
        "counts": [(name, int(names.get(name, 0))) for name in found.dataset.task.classes],
        "unlabelled": int(table["name"].isna().sum()),
        "rows": _in_rows(found),
        "probabilities": found.probabilities,
        "polarity": found.polarity,
        "shares": found.shares,
    }


def _in_rows(found: Found) -> dict[str, Any] | None:
    """What the verdict counts, in rows of the table; None where each has a text of its own."""
    table, names = found.labels, found.dataset.task.classes
    n = sum(found.dataset.repeats)
    if n == len(table):
        return None
    opened = row_count(found, table["open"].to_numpy(bool))
    return {
        "n": n,
        "decided": n - opened,
        "open": opened,
        "counts": [row_count(found, (table["name"] == name).to_numpy(bool)) for name in names],
        "unlabelled": row_count(found, table["name"].isna().to_numpy()),
    }


def _asked(found: Found) -> dict[str, Any]:
    task, data = found.dataset.task, found.dataset
    keys = found.evidence.predictions.keys
    said = next((found.predictions[k] for k in reversed(keys) if k in found.predictions), None)
    prompt = None if said is None else prompt_of(found, said.key)
    return {
        "question": task.question,
        "classes": list(task.classes),
        "statement": task.statement,
        "note": data.note,
        "name": data.name,
        "prompt": prompt,
        "framings": [
            {"name": f.name, "instruction": f.instruction, "answers": list(f.label_names)}
            for f in found.framings
        ],
    }


def _cost(found: Found, price: Price | None) -> dict[str, Any]:
    run, evidence = found.run, found.evidence
    counts = [tokens_in(p.usage) for p in found.predictions.values()]
    prompt, cached, output = (sum(count[kind] for count in counts) for kind in range(3))
    return {
        "run": run.id,
        "model": run.model,
        "style": run.style,
        "created": run.created[:16].replace("T", " "),
        "seed": run.seed,
        "rounds": run.rounds,
        "planned": run.planned,
        "answered": run.answered,
        "failed": run.failed,
        "per_example": run.planned / len(found.dataset),
        "prompt_tokens": prompt,
        "cached_tokens": cached,
        "completion_tokens": output,
        "money": None if price is None else price.called(price.of(prompt, cached, output)),
        "price": None if price is None else price.sentence,
        "seconds": float(np.mean([p.seconds for p in found.predictions.values()] or [0.0])),
        "ended": _ended(found),
        "unasked": _unasked(found),
        "solver": found.solution.result.value,
        "coherence": found.solution.stats.coherence,
        "optima": len(found.solution.optima),
        "mass": evidence.tally.mean_mass,
        "absent": evidence.tally.absent,
        "versions": dict(run.versions),
    }


def _unasked(found: Found) -> int:
    """How many of the calls that were planned were never put to the model."""
    return found.run.planned - found.run.answered - found.run.failed


def _ended(found: Found) -> str:
    """How a run ended, or how far it is."""
    asked = found.run.planned - _unasked(found)
    left = found.budget - asked
    # A remainder too small for another round is not a saving.
    if not _unasked(found) and left < len(found.dataset):
        return "It ended with its budget."
    if not _unasked(found) and found.settled:
        return f"It ended before its budget: the labels had settled, and {left:,} calls were saved."
    more = " so far; the same `run` goes on" if found.settled is not None or _unasked(found) else ""
    return f"{asked:,} of {found.budget:,} calls were asked{more}."


def histogram(found: Found) -> dict[str, Any]:
    """How many labels of each class are how probable: counts by class between `EDGES`."""
    table = found.labels.dropna(subset=["name"])
    first = math.floor(len(EDGES[:-1]) / found.dataset.task.k)
    edges = EDGES[first:]
    counts = [
        np.histogram(table["probability"][table["label"] == c].astype(float), edges)[0].tolist()
        for c in range(found.dataset.task.k)
    ]
    return {"edges": list(edges), "counts": counts}


def _methods(found: Found, scores: Scores) -> dict[str, Any]:
    shown = [m for m in SHOWN_MEASURES if m in next(iter(scores.scores.values()))]
    rows = [
        {
            "method": method,
            "own": method.startswith("consilience"),
            "calls": scores.calls[method],
            "values": {m: _bounds(values[m]) for m in shown},
        }
        for method, values in scores.scores.items()
    ]
    return {
        "measures": {m: SHOWN_MEASURES[m] for m in shown},
        "rows": rows,
        "scored": scores.scored,
        "note": scores.note,
        "curve": [(b.confidence, b.accuracy, b.lower, b.upper, b.examples) for b in scores.curve],
    }


def _bounds(value: Bounded) -> tuple[float, float, float] | None:
    if math.isnan(value.estimate):
        return None
    low, high = (value.estimate if math.isnan(v) else v for v in (value.lower, value.upper))
    return value.estimate, low, high


def _rounds(found: Found) -> list[dict[str, Any]]:
    rows = found.rounds().to_dict(orient="records")
    return [{str(k): v for k, v in row.items()} | {"stage": STAGES[row["asked"]]} for row in rows]


def _evidence(found: Found) -> dict[str, Any]:
    summary = found.evidence_summary()
    check = found.shot_free_check if found.evidence.f else None
    e = found.evidence
    return {
        "columns": {name: MEASURES_SAID.get(name) for name in summary.columns},
        "kinds": KINDS_SAID,
        "rows": summary.to_dict(orient="records"),
        "counted": e.t,
        "absent": e.tally.absent,
        "silent": e.tally.silent,
        "bounded": float(e.predictions.bounded.double().mean()),
        "mass": e.tally.mean_mass,
        "scale": found.log_odds_scale,
        "check": None if check is None else {"agreement": check.agreement, "flips": e.f},
    }


def context_offsets(found: Found) -> list[dict[str, Any]]:
    """What each list of shots added to all answers given under it, in nats, by wording.

    `values`: the log-odds of class 1 (of two), or of the class that was moved most, against the
    mean of the others, that were taken off the answers under each list; `std` their standard
    deviation. Without shots there is one value for each wording.
    """
    e, k = found.evidence, found.evidence.k
    order = list(found.orientation.order) if found.orientation else list(range(k))
    asked = e.predictions
    there = [t for t, key in enumerate(asked.keys) if key in found.predictions]
    if not there:
        return []
    raw = np.array([found.predictions[asked.keys[t]].logprobs for t in there])[:, order]
    logp = asked.logp.numpy()[there]
    taken = (raw - raw.mean(axis=1, keepdims=True)) - (logp - logp.mean(axis=1, keepdims=True))
    made: dict[tuple[str, str], dict[int, Floats]] = {}
    for row, t in zip(taken, there, strict=True):
        kind = "zero-shot" if asked.zero[t] else "labels found"
        key = (e.framings[int(asked.framing[t])], kind)
        made.setdefault(key, {})[int(asked.context[t])] = row
    found_offsets = []
    for (framing, kind), lists in made.items():
        values = np.stack(list(lists.values()))
        c = 1 if k == 2 else int(np.abs(values).mean(axis=0).argmax())
        odds = values[:, c] * k / (k - 1)
        found_offsets.append(
            {
                "framing": framing,
                "kind": kind,
                "class": found.dataset.task.classes[c],
                "values": odds.tolist(),
                "mean": float(odds.mean()),
                "std": float(odds.std(ddof=1)) if len(odds) > 1 else None,
            }
        )
    return found_offsets


def _bias(found: Found) -> list[tuple[str, Mapping[str, float] | None]]:
    return list(found.evidence.tally.bias.items())


def _spoken(said: Sequence[Description]) -> list[dict[str, Any]]:
    """Descriptions with the class that each group is, and how far they hold."""
    return [{"text": d.text, "groups": list(d.groups), "holds": d.sentence} for d in said]


def _concept(found: Found, concept: Concept, rank: int) -> dict[str, Any]:
    """A concept with its surest examples of each class, those unlike each other."""
    data, there = found.dataset, np.flatnonzero(saying(concept.labels))
    labels = concept.labels[there]
    some = Dataset(data.name, [data.examples[i] for i in there], task=data.task)
    hard = labels.argmax(axis=1)
    if len(set(hard.tolist())) > 1:
        chosen = typical(some, labels, shown=EXEMPLARS, held=0)
        shown = dict(zip(chosen.classes, chosen.shown, strict=True))
    else:
        surest = np.argsort(-np.round(labels.max(axis=1), 6), kind="stable")
        shown = {int(hard[0]): tuple(surest[:EXEMPLARS].tolist())}
    return {
        "rank": rank,
        "examples": len(there),
        "support": concept.support,
        "lead": concept.lead,
        "error": concept.error,
        "confidence": concept.confidence,
        "classes": [
            {
                "number": c,
                "name": data.task.classes[c],
                "count": int((hard == c).sum()),
                "typical": [
                    (data.own_id(some.ids[i]), float(labels[i].max()), some.texts[i]) for i in own
                ],
            }
            for c, own in shown.items()
        ],
    }
