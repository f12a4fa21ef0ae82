"""How much of a data set's gold can be predicted without a model, and what else may leak it.

Each row is one way to guess: the class balance, a rule of structure, a shortcut of structure or
surface, the order of the file before ids were hashed, a field that the method never sees. Rules
are those that stand beside every result; for everything else a small decision tree is fitted to
the one feature on four fifths of the groups and scored on the rest, five times over, so that a row
says what the feature knows and not what a rule was tuned to. Only here is a file's other content
looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GroupKFold
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from consilience.data.dataset import Dataset
from consilience.data.readers import Rows, as_text
from consilience.datasets.source import Loaded
from consilience.errors import ConsilienceError
from consilience.evaluation.baselines import agreement_only, gold_array, majority, structure_only
from consilience.evaluation.metrics import Interval, score
from consilience.evaluation.shortcuts import SHORTCUTS, Feature, ranked

MAJORITY = "majority"

_FOLDS = 5
LEAVES = 8
"""Leaves of a tree: enough for a threshold or two, too few to learn a data set by heart."""

_MANY = 50
"""A field with more different values than this is no category; its length is looked at."""

LARGEST = 20_000
"""Of a larger data set, so many examples (whole groups) are looked at."""


@dataclass(frozen=True)
class Audit:
    """What a data set's gold can be guessed from: a row per way, the facts, what to beat.

    `scores[way]` is an accuracy with its interval over groups; `kept_out` are the ways that a
    labelling cannot take, because ids hide the order and an allow-list the fields. `notes` says
    what was found that is no accuracy (balance, duplicates, groups), `verdict` what to beat.
    """

    name: str
    scores: dict[str, Interval]
    kept_out: frozenset[str]
    notes: tuple[str, ...]
    verdict: str

    @property
    def rows(self) -> list[dict[str, object]]:
        """One row per way, the best first: accuracy, its interval, and whether it is kept out."""
        ways = sorted(self.scores, key=lambda way: -self.scores[way].estimate)
        return [
            {
                "guessed from": way,
                "accuracy": self.scores[way].estimate,
                "lower": self.scores[way].lower,
                "upper": self.scores[way].upper,
                "kept out": way in self.kept_out,
            }
            for way in ways
        ]


def audit(loaded: Loaded, seed: int = 0) -> Audit:
    """The audit of a data set with its rows, as `load_with_rows` gives it.

    The other splits of a public data set are looked through for copies, where they are at hand.
    """
    data, gold = loaded.data, loaded.gold
    notes = [_counts(data), _repeats(loaded), *_copies(loaded)]
    if gold is None:
        notes.append("No gold: nothing can be said of what leaks it.")
        return _empty(data, notes, "Name the gold column to see what leaks it.")
    if len(data) > LARGEST:
        data = data.sample(max(1, int(len(set(data.groups)) * LARGEST / len(data))), seed)
        notes.append(f"Accuracies are those of a sample of {len(data)} examples, whole groups.")
    truth = gold_array(data, gold)
    notes.insert(1, _balance(data, truth))
    scored = np.flatnonzero(truth >= 0)
    groups = np.asarray(data.groups)
    if len(set(groups[scored].tolist())) < _FOLDS:
        notes.append(f"Fewer than {_FOLDS} groups with gold: too few to guess from.")
        return _empty(data, notes, "Too few groups with gold to say what leaks it.")
    seen = {way: made for way, make in SHORTCUTS.items() if (made := make(data)) is not None}
    unseen = _kept_out(loaded, data)
    # Rules that need no fitting, as they stand beside every result, and then what can be fitted.
    rules = [majority(data, gold), structure_only(data), agreement_only(data)]
    guesses = {rule.name: rule.labels for rule in rules if rule is not None}
    eye = np.eye(data.task.k)
    guesses |= {way: eye[_guess(feature, data, truth)] for way, feature in (seen | unseen).items()}
    guesses["words of the text"] = eye[_guess_by_words(data, truth)]
    scores = {
        way: score(guess, truth, data.groups, only=["accuracy"], seed=seed)["accuracy"]
        for way, guess in guesses.items()
    }
    kept_out = frozenset(unseen)
    return Audit(data.name, scores, kept_out, tuple(notes), _verdict(scores, kept_out))


def _empty(data: Dataset, notes: Sequence[str], verdict: str) -> Audit:
    return Audit(data.name, {}, frozenset(), tuple(notes), verdict)


def _kept_out(loaded: Loaded, data: Dataset) -> dict[str, Feature]:
    """What the file says and the method never sees: its order, and its other columns."""
    found: dict[str, Feature] = {}
    first = {id: i for i, id in reversed(list(enumerate(loaded.ids)))}
    place = [first[id] for id in data.ids]
    found["place in the file"] = np.array(place, dtype=float)[:, None]
    if len(set(data.groups)) < len(data):
        found["place in its group, in the file"] = ranked(data, place)[:, None]
    for column in loaded.rows.columns:
        if column not in loaded.used and column != loaded.label:
            encoded = _encoded(loaded.rows, column, place)
            if encoded is not None:
                found[f"field {column}"] = encoded
    return found


def _encoded(rows: Rows, column: str, place: list[int]) -> Feature | None:
    """A field as numbers: is it there, of what type, how long; its value if it is one of a few."""
    cells = [rows[i].get(column) for i in place]
    words = []
    for cell in cells:
        try:
            words.append(as_text(cell) or "")
        except TypeError:
            words.append(repr(cell))
    types, kinds = np.unique([type(cell).__name__ for cell in cells], return_inverse=True)
    parts = [np.array([bool(w) for w in words], dtype=float)[:, None]]
    parts.append(np.array([len(w) for w in words], dtype=float)[:, None])
    parts.append(np.eye(len(types))[kinds])
    names, codes = np.unique(words, return_inverse=True)
    numbers = pd.to_numeric(pd.Series(words), errors="coerce").to_numpy(dtype=float)
    if len(names) <= _MANY:
        parts.append(np.eye(len(names))[codes])
    if np.isfinite(numbers).mean() > 0.5:
        parts.append(np.nan_to_num(numbers, nan=-1.0, posinf=-1.0, neginf=-1.0)[:, None])
    encoded = np.hstack(parts)
    return encoded if (encoded != encoded[0]).any() else None


def _guess(feature: Feature, data: Dataset, truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each example as a tree guesses it that was fitted to the other groups."""
    tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES, min_samples_leaf=5, random_state=0)
    return _crossed(tree, feature, data, truth)


def _guess_by_words(data: Dataset, truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same by a linear classifier of the words and pairs of words in the text."""
    # Which words there are is no secret of the held-out groups: they are counted once.
    counter = CountVectorizer(
        ngram_range=(1, 2), min_df=2, max_features=20_000, binary=True, token_pattern=r"\b\w+\b"
    )
    try:
        words = counter.fit_transform(data.texts)
    except ValueError:  # no word stands in two texts
        return _guess(np.zeros((len(data), 1)), data, truth)
    return _crossed(LinearSVC(C=0.02, random_state=0), words, data, truth)


def _crossed(
    model: ClassifierMixin, x: NDArray[Any], data: Dataset, truth: NDArray[np.int64]
) -> NDArray[np.int64]:
    groups = np.asarray(data.groups)
    scored = np.flatnonzero(truth >= 0)
    guess = np.zeros(len(data), dtype=np.int64)
    folds = GroupKFold(_FOLDS, shuffle=True, random_state=0)
    for fitted, held in folds.split(scored, groups=groups[scored]):
        seen, rest = scored[fitted], scored[held]
        classes = np.unique(truth[seen])
        if len(classes) == 1:
            guess[rest] = classes[0]
            continue
        guess[rest] = model.fit(x[seen], truth[seen]).predict(x[rest])
    return guess


def _counts(data: Dataset) -> str:
    sizes = Counter(Counter(data.groups).values())
    shown = ", ".join(f"{n} of {size}" for size, n in sorted(sizes.items())[:8])
    more = ", …" if len(sizes) > 8 else ""
    kinds = Counter(f"{r.name} ({'prior' if r.prior else 'fact'})" for r in data.relations)
    relations = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none"
    return f"{len(data)} examples; groups: {shown}{more}; relations: {relations}."


def _balance(data: Dataset, truth: NDArray[np.int64]) -> str:
    has = truth[truth >= 0]
    shares = np.bincount(has, minlength=data.task.k) / len(has)
    each = ", ".join(f"{n} {s:.1%}" for n, s in zip(data.task.classes, shares, strict=True))
    return f"Gold for {len(has)} of {len(data)} examples: {each}."


def _plain(text: str) -> str:
    """A text without what two copies of it may differ in: case, white space, punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _repeats(loaded: Loaded) -> str:
    exact = len(loaded.ids) - len(set(loaded.ids))
    near = len(loaded.data) - len({_plain(text) for text in loaded.data.texts})
    return (
        f"{exact} of {len(loaded.ids)} rows repeat an earlier text; {near} more differ from "
        "another in case, white space or punctuation only."
    )


def _copies(loaded: Loaded) -> list[str]:
    """How many texts stand in the other splits too, of those that are at hand."""
    plain = [_plain(text) for text in loaded.data.texts]
    notes = []
    for split, load in loaded.others.items():
        try:
            texts = {_plain(text) for text in load().texts}
        except ConsilienceError:
            notes.append(f"The split {split} is not at hand and was not looked through.")
            continue
        share = float(np.mean([text in texts for text in plain]))
        notes.append(f"{share:.1%} of the texts stand in the split {split} too.")
    return notes


def _verdict(scores: Mapping[str, Interval], kept_out: frozenset[str]) -> str:
    base = scores[MAJORITY]
    open_ways = {way: score for way, score in scores.items() if way not in kept_out}
    best = max(open_ways, key=lambda way: open_ways[way].estimate)
    top = open_ways[best]
    if best == MAJORITY or top.lower <= base.estimate:
        words = (
            f"A result must beat {base.estimate:.1%}, the most frequent class; nothing else that "
            "a method could see is known to tell more."
        )
    else:
        words = (
            f"A result must beat {top.estimate:.1%}: without any model, {best!r} tells as much "
            f"(the most frequent class: {base.estimate:.1%})."
        )
    leaks = [way for way in sorted(kept_out) if scores[way].lower > top.estimate]
    if leaks:
        words += f" Kept out, because it would tell more: {', '.join(leaks)}."
    return words
