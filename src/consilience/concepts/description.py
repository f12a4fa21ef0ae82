"""Descriptions of what separates two classes, in the model's own words, and tests of them.

The model is shown typical examples of each class under names that mean nothing ("Group 1", "Group
2") and asked for the difference, in several orders: other examples, the names moved round, the
other group first. A good story is easily told, so each description is put to the test: with
nothing but the description the model sorts examples that it was not shown, and the share that
falls as the labels have it stands beside the words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from consilience.concepts.exemplars import Typical, typical
from consilience.data.dataset import Dataset
from consilience.data.random_streams import generator
from consilience.data.task import Task
from consilience.errors import InputError, ModelError
from consilience.models.base import Model, Request, Writer, check_writes
from consilience.models.price import Price
from consilience.prompts.datatext import defused
from consilience.prompts.framing import LETTERS, Prompt, Style, framings
from consilience.prompts.query import Query
from consilience.prompts.token_estimates import CHARACTERS_PER_TOKEN, characters_in, round_up
from consilience.store.database import Store
from consilience.store.runner import CallCounts, Progress, ask, requests, write
from consilience.store.texts import Note, Text, text_key

LEAD = "The difference is this: Group 1"
"""What a model of plain text goes on from; it is a part of the description then."""

LONGEST_TEXT = 600
"""How many characters of an example are shown."""

VARIETY = 2
"""So many times as many examples are typical of a class as one order shows."""


@dataclass(frozen=True, slots=True)
class DescribeOptions:
    """How descriptions are asked for.

    In so many `orders`, each with `shown` examples of each class, in at most `max_tokens` tokens;
    `check` examples are held back to test each description, 0 for none. `seed` decides the rest.
    """

    orders: int = 4
    shown: int = 8
    check: int = 20
    max_tokens: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.orders, self.shown, self.max_tokens) < 1 or self.check < 0:
            raise InputError(f"orders, examples shown and tokens are at least 1, got {self}")


@dataclass(frozen=True, slots=True)
class Description:
    """What one text says, and how far it holds.

    `groups` has the class that was called Group 1, that called Group 2, …; `key` is that of the
    text in the store. Of the `checked` held-back examples the share `agreement` is sorted as they
    are labelled (NaN where none was checked); `guess` is what the largest group would reach.
    """

    text: str
    groups: tuple[int, ...]
    key: str
    agreement: float = math.nan
    checked: int = 0
    guess: float = math.nan

    @property
    def sentence(self) -> str:
        """How far it holds, in words."""
        if not self.checked:
            return "not checked"
        return (
            f"reproduces {self.agreement:.0%} of the labels of {self.checked} typical examples "
            f"not shown (a guess: {self.guess:.0%})"
        )


@dataclass(frozen=True, slots=True)
class Described:
    """The descriptions of one labelling, the one that holds best first.

    `typical` are the examples they were made from and checked on; `empty` counts texts without a
    word, and `asked` what this very call asked, its failures among it.
    """

    descriptions: tuple[Description, ...]
    typical: Typical
    empty: int
    asked: CallCounts


@dataclass(frozen=True, slots=True)
class _Sheet:
    """One order: what the model is shown, under which key, and the class of each group."""

    key: str
    note: Note
    groups: tuple[int, ...]


def describe(
    dataset: Dataset,
    labels: NDArray[np.float64],
    model: Model,
    *,
    store: Store,
    how: DescribeOptions | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Described:
    """What separates the classes of soft `labels` (N, K) in a model's words, and how far it holds.

    What the store holds is not asked again. InputError if the model does not write, ModelError if
    it has written nothing.
    """
    how = how or DescribeOptions()
    writer = check_writes(model)
    chosen = _chosen(dataset, labels, how)
    sheets = _sheets(dataset, chosen, writer, how)
    notes = [(sheet.key, sheet.note) for sheet in sheets]
    asked = write(notes, writer, store, concurrency=concurrency, progress=progress)
    found, empty = _written(sheets, writer, store)
    if not found:
        why = next(iter(asked.failures.values()), "every text was empty")
        raise ModelError(f"{model.name} gave no description in {len(sheets)} calls: {why}")
    if how.check:
        rows = [_questions(dataset, description, chosen, model) for description in found]
        # Two orders may have brought the same words, and so the same questions.
        everything = list({key: request for own in rows for key, request in own}.items())
        asked += ask(everything, model, store, concurrency=concurrency, progress=progress)
        found = [
            _checked(dataset, description, own, chosen, store)
            for description, own in zip(found, rows, strict=True)
        ]
    best_first = sorted(found, key=lambda d: -d.agreement if d.checked else math.inf)
    return Described(tuple(best_first), chosen, empty, asked)


def foreseen(
    dataset: Dataset,
    labels: Sequence[NDArray[np.float64]],
    model: Model,
    *,
    store: Store,
    how: DescribeOptions | None = None,
    price: Price | None = None,
) -> Mapping[str, Any]:
    """What describing these labellings takes at most; sends nothing.

    `calls` are to be made, `known` are in the store; a `price` counts the money.
    The tests of a text that is not written yet are counted as those of one of its greatest length.
    """
    how = how or DescribeOptions()
    writer = check_writes(model)
    prompts: dict[str, Prompt] = {}
    there: set[str] = set()
    missing: set[str] = set()
    for one in labels:
        chosen = _chosen(dataset, one, how)
        for sheet in _sheets(dataset, chosen, writer, how):
            kept = store.texts([sheet.key])[0]
            (missing if kept is None else there).add(sheet.key)
            if kept is None:
                prompts[sheet.key] = sheet.note.prompt
            if how.check and (said := _foreseen_words(sheet, kept, how, writer)):
                tested = Description(said, sheet.groups, sheet.key)
                rows = _questions(dataset, tested, chosen, model)
                prompts |= {key: request.prompt for key, request in rows}
    known = store.known(prompts)
    fresh = [prompt for key, prompt in prompts.items() if key not in known]
    ratio = store.characters_per_token(model.name) or CHARACTERS_PER_TOKEN
    tokens = round_up(sum(characters_in(prompt) for prompt in fresh) / ratio)
    written = len(missing) * how.max_tokens
    return {
        "calls": len(fresh),
        "known": len(known) + len(there),
        "prompt_tokens": tokens,
        "written_tokens": written,
        "money": None
        if price is None
        else price.of(tokens, 0, written + len(fresh) - len(missing)),
    }


def _foreseen_words(sheet: _Sheet, kept: Text | None, how: DescribeOptions, writer: Writer) -> str:
    """The description that a sheet has brought, or others of the greatest length."""
    if kept is not None:
        return _said(kept.text, writer.style)
    # Other words for each sheet, because their tests will be other ones too.
    longest = int(CHARACTERS_PER_TOKEN * how.max_tokens)
    return sheet.key.ljust(longest, ".")[:longest]


def _chosen(dataset: Dataset, labels: NDArray[np.float64], how: DescribeOptions) -> Typical:
    return typical(dataset, labels, shown=VARIETY * how.shown, held=how.check, seed=how.seed)


# ---- asking for a description -------------------------------------------------------------------


def _sheets(
    dataset: Dataset, chosen: Typical, writer: Writer, how: DescribeOptions
) -> list[_Sheet]:
    """One sheet for each order: over K orders each class has each name once."""
    k = len(chosen.classes)
    made = []
    for order in range(how.orders):
        rng = generator(how.seed, "description", order)
        drawn = [rng.permutation(own)[: how.shown].tolist() for own in map(np.array, chosen.shown)]
        turn = [(g + order) % k for g in range(k)]
        listed = [
            (
                f"Group {g + 1}",
                [defused(shortened(dataset.texts[i], LONGEST_TEXT)) for i in drawn[c]],
            )
            for g, c in enumerate(turn)
        ]
        if order // k % 2:
            listed.reverse()
        note = Note(_sheet(listed, writer.style), how.max_tokens)
        groups = tuple(chosen.classes[c] for c in turn)
        made.append(_Sheet(text_key(writer, note), note, groups))
    # Where there are few examples, two orders may be the same.
    return list({sheet.key: sheet for sheet in made}.values())


def _sheet(listed: Sequence[tuple[str, Sequence[str]]], style: Style) -> Prompt:
    """The prompt that shows the groups and asks what separates them."""
    shown = "\n\n".join(
        f"{name}:\n" + "\n".join(f"- {text}" for text in texts) for name, texts in listed
    )
    text = (
        f"Items are sorted into {len(listed)} groups. Here are some of each.\n\n{shown}\n\n"
        "What is the difference between the groups? Say in one short sentence what the items of "
        "each group have in common."
    )
    if style == "text":
        return f"{text}\n\nAnswer: {LEAD}"
    return [{"role": "user", "content": text}]


def shortened(text: str, most: int) -> str:
    """A text on one line, its end cut off where it has more characters than `most`."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]} …"


def _said(text: str, style: Style) -> str:
    """What a text says on one line, its last sentence left out where that has no end."""
    line = " ".join(text.split())
    if not line:
        return ""
    whole = re.match(r".*[.!?](?=\s)", line)
    if whole and line[-1] not in ".!?\"'”)*":
        line = whole[0]
    return f"{LEAD} {line}" if style == "text" else line


def _written(
    sheets: Sequence[_Sheet], writer: Writer, store: Store
) -> tuple[list[Description], int]:
    """The descriptions that are in the store, and how many of the texts are empty."""
    texts = store.texts([sheet.key for sheet in sheets])
    said = [
        (sheet, _said(text.text, writer.style))
        for sheet, text in zip(sheets, texts, strict=True)
        if text is not None
    ]
    found = [Description(line, sheet.groups, sheet.key) for sheet, line in said if line]
    return found, len(said) - len(found)


# ---- the test of a description ------------------------------------------------------------------


def _questions(
    dataset: Dataset, description: Description, chosen: Typical, model: Model
) -> list[tuple[str, Request]]:
    """Each held-back example under the description, in framings that cancel out the label names."""
    k = len(description.groups)
    two = k == 2
    task = Task(
        f"Items are sorted into {k} groups. {description.text} Which group does each item "
        "belong to?",
        tuple(f"Group {g + 1}" for g in range(k)),
        "The item belongs to Group 2" if two else None,
        "The item belongs to Group 1" if two else None,
    )
    names = ("plain", "negated") if two else ("letters" if k <= len(LETTERS) else "codes",)
    asked = [replace(f, name=f"described {f.name}") for f in framings(task, names)]
    queries = [
        Query(dataset.ids[i], framing=framing.name)
        for own in chosen.held
        for i in own
        for framing in asked
    ]
    return list(requests(queries, dataset, asked, model))


def _checked(
    dataset: Dataset,
    description: Description,
    rows: Sequence[tuple[str, Request]],
    chosen: Typical,
    store: Store,
) -> Description:
    """The description with how far it holds; an example without a complete answer is left out."""
    answers: dict[str, list[NDArray[np.float64]]] = {}
    for (_, request), said in zip(rows, store.predictions([key for key, _ in rows]), strict=True):
        heard = answers.setdefault(request.query.target, [])
        if said is not None and any(said.exact):
            heard.append(log_softmax(said.logprobs))
    family = len({request.query.framing for _, request in rows})
    hits, of = [], []
    for c, own in zip(chosen.classes, chosen.held, strict=True):
        for i in own:
            heard = answers[dataset.ids[i]]
            if len(heard) == family:
                hits.append(description.groups[int(np.mean(heard, axis=0).argmax())] == c)
                of.append(c)
    if not hits:
        return description
    guess = max(of.count(c) for c in chosen.classes) / len(of)
    return replace(description, agreement=sum(hits) / len(hits), checked=len(hits), guess=guess)
