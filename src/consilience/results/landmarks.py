"""Landmarks: a few examples whose label the user vouches for, and which labelling they mean.

They are used after the labels were found, and touch no evidence: they say which of the labellings
found is meant and, where the label names say nothing, which class is which. How far its
probabilities can be trusted is told by them in `calibration`.

A landmark is no gold: it is given before anything is scored, and what is scored leaves it out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import log
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp

from consilience.data.arrays import Floats
from consilience.data.class_labels import label_reader
from consilience.data.dataset import Dataset, example_id
from consilience.data.frames import free_name
from consilience.data.guard import unguarded
from consilience.data.readers import Rows, columns_used, read_rows, rows, texts
from consilience.errors import InputError
from consilience.evidence.evidence import Evidence
from consilience.solvers.solution import Solution

_ODDS = 20.0
"""How much better than the most coherent labelling another must fit the landmarks to replace it."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Examples whose class the user vouches for: ids, positions in the data set, classes, (L,)."""

    ids: tuple[str, ...]
    at: tuple[int, ...]
    classes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, ids: Collection[str]) -> Landmarks:
        """Those that are none of `ids`: of what was corrected the solved label is no guess.

        InputError where none is left.
        """
        kept = [i for i, id in enumerate(self.ids) if id not in ids]
        if not kept:
            raise InputError(
                "every landmark is a correction too, so that none can say how good the labels are; "
                "draw landmarks at random (`consilience landmarks`)"
            )
        return Landmarks(
            tuple(self.ids[i] for i in kept),
            tuple(self.at[i] for i in kept),
            tuple(self.classes[i] for i in kept),
        )

    @classmethod
    def of(cls, source: object, dataset: Dataset, text: str | None = None) -> Landmarks:
        """The landmarks in a mapping of ids to classes, in rows, or in a file of them.

        A class is its name or its number, as gold is read. Rows have a column `label` and say
        which example by the column of the data set's ids, or one called `id`, else by its text:
        `text` is a column or a template, by default that of the data set. A row without a label
        is no landmark.
        """
        if isinstance(source, Landmarks):
            if [dataset.index.get(id) for id in source.ids] != list(source.at):
                raise InputError(
                    "these landmarks belong to another data set; make them from this one"
                )
            return source
        vouched = vouched_labels(source, dataset, text)
        if not vouched:
            raise InputError(
                "there is no landmark: no row has a label; give the labels that you vouch for"
            )
        return cls._at(vouched, dataset)

    @classmethod
    def recorded(cls, kept: Mapping[str, int], dataset: Dataset) -> Landmarks | None:
        """Those that a run's record has, by the ids of examples and the numbers of classes.

        None where it has none.
        """
        return cls._at({dataset.index[id]: c for id, c in kept.items()}, dataset) if kept else None

    @classmethod
    def _at(cls, vouched: Mapping[int, int], dataset: Dataset) -> Landmarks:
        """The landmarks at these positions, of these classes."""
        order = sorted(vouched)
        classes = tuple(vouched[at] for at in order)
        return cls(tuple(dataset.ids[at] for at in order), tuple(order), classes)


def vouched_labels(
    source: object,
    dataset: Dataset,
    text: str | None = None,
    *,
    added: str = "",
    more: Mapping[str, int] = MappingProxyType({}),
) -> dict[int, int]:
    """The classes that a mapping, rows or a file gives to examples, by position; see `Landmarks`.

    The label is in the `label_column`, or, where a table was given out with a column called
    `added`, in that one. `more` are words that stand for a number beside the names of the classes.
    """
    what = added or "landmark"
    read = label_reader(dataset.task.classes)
    vouched: dict[int, int] = {}
    for id, label, place in _said(source, text, dataset, added):
        example, number = dataset.find(id), more.get(label.strip(), read(label))
        if example is None:
            raise InputError(
                f"{place}: no such example in {dataset.name!r}; its ids and texts stand in the "
                f"table of labels; correct the {what} or leave it out"
            )
        if number is None:
            raise InputError(
                f"{place}: {label[:60]!r} is none of the classes "
                f"{', '.join(dataset.task.classes)}; correct the label"
            )
        at = dataset.index[example]
        if vouched.setdefault(at, number) != number:
            words = {n: w for w, n in more.items()} | dict(enumerate(dataset.task.classes))
            raise InputError(
                f"{place}: the same example was called {words[vouched[at]]!r} before, and is now "
                f"called {words[number]!r}; correct one of them"
            )
    return vouched


def label_column(data: Dataset) -> str:
    """The column of labels beside the rows of a data set: `label`, where that is not their own.

    `consilience_label` where their ids or texts are in a column `label`.
    """
    origin = data.origin
    own = origin is not None and ("label" in (origin.id, origin.text) or "{label}" in origin.text)
    return free_name("label", ["label"] if own else [])


def _said(
    source: object, text: str | None, data: Dataset, added: str
) -> Iterator[tuple[str, str, str]]:
    """Each id with the label it is given, as text, and where that stands."""
    given, column = isinstance(source, Mapping), label_column(data)
    if isinstance(source, Mapping):
        source = [{"id": id, column: label} for id, label in source.items()]
    table = read_rows(source) if isinstance(source, str | Path) else rows(source)
    # The user's table may have had columns of that name: what was added last is the longest.
    called = [c for c in table.columns if added and re.fullmatch(f"(consilience_)*{added}", c)]
    if called or column not in table.columns:
        column = max(called, key=len, default=added or column)
    table.require(column)
    ids = "id" if given else _id_column(table, data)
    # A table of labels has the columns of the text, and what was made by hand perhaps the text.
    told = [t for t in (text, data.origin and data.origin.text, "text") if t]
    fits = next((t for t in told if _fits(table, t)), None)
    words = _texts(table, fits or told[0], strict=ids is None) if fits or ids is None else []
    for i in range(len(table)):
        label = table.cell(i, column)
        if label is not None:
            named = words[i] if ids is None else (table.cell(i, ids) or "")
            place = f"{table.place(i)}, {added or 'landmark'} {named[:60]!r}"
            shown = _example(words[i], data) if words else ""
            if ids is None:
                named = shown
            elif shown in data.index and (by := data.find(named)) != shown:
                other = "another row" if by else "no row (a spreadsheet makes 7 of 007)"
                raise InputError(
                    f"{place}: by its {ids} it is {other}, by its text {data.own_id(shown)}; "
                    f"leave out the column {ids!r}, or correct it"
                )
            yield named, label, place


def _id_column(table: Rows, data: Dataset) -> str | None:
    """The column that says which row of the data set each is, None where there is none."""
    own = data.origin.id_name if data.origin else "id"
    if data.origin is not None and data.origin.id is None:
        # Where the user's table has such a column, that of the row numbers is called otherwise.
        while (longer := free_name(own, [own])) in table.columns:
            own = longer
    return next((name for name in (own, "id") if name in table.columns), None)


def _texts(table: Rows, text: str, *, strict: bool) -> list[str]:
    """The texts of rows; none where they cannot be told and nobody needs them (not `strict`)."""
    try:
        return texts(table, text)
    except InputError:
        if strict:
            raise
        return []


def _example(words: str, data: Dataset) -> str:
    """The id of the example of a text, also where a spreadsheet was kept from running it."""
    known = example_id(words) in data.index
    return example_id(words if known else unguarded(words))


def _fits(table: Rows, text: str) -> bool:
    """Whether a table has the columns of a template."""
    try:
        return bool(columns_used(table, text))
    except InputError:
        return False


@dataclass(frozen=True, slots=True)
class Orientation:
    """The labelling that the landmarks mean, among those found, and which class is which.

    `labels` (N, K) are those of optimum number `optimum`, where class c is what the solution
    called `order[c]`; `sentence` says it all.
    """

    labels: Floats
    optimum: int
    order: tuple[int, ...]
    sentence: str


def oriented(
    solution: Solution,
    landmarks: Landmarks,
    *,
    named: bool,
    fixed: Sequence[int] = (),
    shares: Sequence[float] | None = None,
) -> Orientation:
    """The optimum of a solution, and the renaming of its classes, that the landmarks speak for.

    `named`: the label names say which class is which, so none is renamed; else every renaming is
    tried (`renamings`) that leaves the classes `fixed`, of which relations speak, as they are, and
    the `shares` (K) that were given.

    Coherence says what the model believes most, landmarks which of its beliefs is meant, so their
    nats are not set off against each other. Another optimum than the most coherent one is taken
    only where the landmarks are ODDS · (number of others) times as probable under it: if the most
    coherent one is meant after all, that happens in at most one case of ODDS, however many others
    there are (Markov's inequality). Between renamings of one optimum, which are equally coherent,
    the most probable is taken; ties go to the more coherent, and to the names as they are.
    """
    k = solution.labels.shape[1]
    ways = [tuple(range(k))] if named else renamings(k, fixed, shares)
    at, classes = np.array(landmarks.at), np.array(landmarks.classes, dtype=np.int64)
    optima = [optimum.labels[at] for optimum in solution.optima]
    fit = np.array([[_log_likelihood(q[:, way], classes) for way in ways] for q in optima])
    # An optimum is judged by the mean over its renamings: by their best the luckiest would win.
    each = logsumexp(fit, axis=1) - log(len(ways))
    best = int(each.argmax())
    clear = best > 0 and each[best] - each[0] >= log(_ODDS * (len(each) - 1))
    optimum = best if clear else 0
    order = ways[int(fit[optimum].argmax())]
    labels = solution.optima[optimum].labels[:, order]
    agree = int((labels[at].argmax(axis=1) == classes).sum())
    said = [_direction(fit[optimum], len(landmarks), named, shares is not None and not fixed)]
    if optimum:
        said.append(
            f"they fit optimum {optimum + 1} of {len(each)} better than the most coherent one "
            f"(odds {_odds(each[optimum] - each[0])})"
        )
    said.append(f"{agree} of {len(landmarks)} landmarks agree")
    if agree * k <= len(landmarks):
        said.append("no more than by chance, so the labels may be of something else")
    return Orientation(labels, optimum, order, "; ".join(said))


def renamings(
    k: int, fixed: Sequence[int] = (), shares: Sequence[float] | None = None
) -> list[tuple[int, ...]]:
    """The ways to rename K classes, the names as they are first; `fixed` classes keep theirs.

    So do classes of other `shares` (K), where these are given.

    All K! up to four classes. Above that the K cyclic shifts, which are all that the neutral sets
    of a prompt differ in: with more ways than landmarks one of them always fits.
    """
    shifts = [tuple((c + r) % k for c in range(k)) for r in range(k)]
    ways = list(permutations(range(k))) if k <= 4 else shifts
    kept = [way for way in ways if all(way[c] == c for c in fixed)]
    return [
        way for way in kept if shares is None or all(shares[way[c]] == shares[c] for c in range(k))
    ]


def _log_likelihood(q: Floats, classes: NDArray[np.int64]) -> float:
    """The log-probability of the classes of landmarks under their soft labels `q` (L, K), in nats.

    log of the mean of ∫₀¹ Π_l [(1 − ε) p_l + ε/K] dε over p soft and p hard: about an unknown
    share ε of the examples the labels say nothing, and how sure they are may mean nothing either.
    So labels that are too sure do not fall with their first mistake, nor do timid ones say nothing.
    """
    at, k = np.arange(len(classes)), q.shape[1]
    best = q == q.max(axis=1, keepdims=True)
    share = (np.arange(100) + 0.5)[:, None] / 100
    products = [
        np.log((1 - share) * p + share / k).sum(axis=1)
        for p in (q[at, classes], best[at, classes] / best.sum(axis=1))
    ]
    return float(logsumexp(products) - log(2 * len(share)))


def _direction(fit: Floats, count: int, named: bool, told: bool) -> str:
    """What says which class is which: names, relations, shares that were `told`, or landmarks."""
    if named:
        return "by the meaning of the label names"
    if len(fit) == 1:
        return "by the shares given" if told else "by the relations, which speak of classes"
    first, second = np.sort(fit)[::-1][:2]
    why = f"by {count} landmark{'s' * (count > 1)} (odds {_odds(first - second)} against the next)"
    return why if first - second >= log(_ODDS) else f"weakly, {why}"


def _odds(nats: float) -> str:
    return f"{np.exp(nats):,.0f} to 1" if nats < log(1e6) else "over a million to 1"


def renamed(evidence: Evidence, order: Sequence[int]) -> Evidence:
    """The same evidence, in which class c is what was called `order[c]`."""
    contrasts = evidence.contrasts
    if tuple(order) == tuple(range(evidence.k)):
        return evidence
    now, held = torch.tensor(np.argsort(order)), evidence.held
    return replace(
        evidence,
        predictions=replace(evidence.predictions, logp=evidence.predictions.logp[:, list(order)]),
        shots=replace(evidence.shots, label=now[evidence.shots.label]),
        contrasts=replace(
            contrasts,
            before=now[contrasts.before],
            after=now[contrasts.after],
        ),
        held=None if held is None else torch.where(held < 0, held, now[held.clamp(min=0)]),
    )
