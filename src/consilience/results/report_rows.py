"""The rows of a report as plain data: texts once, lists of shots once, and every pull.

A page of 2,000 rows has 16,000 prompts of 24 shots each. So a prompt is kept as what stands before
its shots, after each and after its target, and as numbers of texts; put together again it is the
prompt that was asked, byte for byte (see `PromptPieces`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from consilience.data.dataset import Dataset
from consilience.prompts.datatext import as_data
from consilience.prompts.framing import Framing, Prompt, Style, render
from consilience.results.corrections import OF_RUN, run_named, take_back
from consilience.results.report_scores import Scores
from consilience.results.result import Found

MOST_SHOWN = 5_000
"""A report has so many rows at most, the most doubtful first."""

ROOM = 4_500_000
"""Rows and texts together take so many bytes; where they would take more, long texts are cut."""

TEXT_ROOM = 500_000
"""So many bytes are left for texts, however many pulls there are."""

_TARGET, _SHOT = "\ue000", "\ue001"
"""Stand for a text where a prompt is taken to pieces; no wording has them."""


@dataclass(frozen=True, slots=True)
class PromptPieces:
    """What stands around texts in the prompts of one framing.

    A prompt is `head`, then for each shot its text and `after` of its class, then the text of the
    target and `tail`.
    """

    head: str
    after: tuple[str, ...]
    tail: str

    @classmethod
    def of(cls, framing: Framing, style: Style) -> PromptPieces:
        """The pieces of a framing's prompts in a style, messages as `prompt_text` has them."""
        head, tail = prompt_text(render(framing, _TARGET, (), style)).split(_TARGET)
        after = []
        for label in range(len(framing.label_names)):
            whole = prompt_text(render(framing, _TARGET, [(_SHOT, label)], style))
            after.append(whole.partition(_SHOT)[2].partition(_TARGET)[0])
        return cls(head, tuple(after), tail)


def prompt_text(prompt: Prompt) -> str:
    """A prompt as one text: messages one after the other, each below its role in brackets."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in prompt)


def prompt_of(found: Found, key: str) -> str:
    """The prompt of one prediction, as one text; KeyError where nobody knows it."""
    said, data = found.predictions[key], found.dataset
    at = found.evidence.predictions.keys.index(key)
    name = found.evidence.framings[int(found.evidence.predictions.framing[at])]
    framing = next(framing for framing in found.framings if framing.name == name)
    # With its names as they were asked, whatever landmarks have renamed since.
    asked = replace(framing, label_names=said.label_names)
    shots = [(data.texts[data.index[id]], label) for id, label in said.query.shots]
    target = data.texts[data.index[said.query.target]]
    return prompt_text(render(asked, target, shots, cast(Style, found.run.style)))


def report_rows(found: Found, scores: Scores | None = None) -> dict[str, Any]:
    """What the table of a report shows, the most doubtful rows first, as JSON-like data."""
    data, table = found.dataset, found.labels
    doubt = table["probability"].astype(float).fillna(-1.0).to_numpy()
    order = np.lexsort((doubt, ~table["open"].astype(bool).to_numpy()))[:MOST_SHOWN]
    made, own = _Page(found), _own_ids(data)
    columns = {name: table[name].to_numpy() for name in table.columns}
    nameless = table["name"].isna().to_numpy()
    rows = []
    for i in order.tolist():
        row = made.row(i, columns, none=bool(nameless[i]))
        if data.repeats[i] > 1:
            row["ids"] = own[data.ids[i]]
        if data.examples[i].group is not None:
            row["group"] = data.examples[i].group
        if found.calibration is not None and columns["landmark"][i]:
            row["landmark"] = True
        if data.ids[i] in found.corrections:
            row["corrected"] = True
        if scores is not None and scores.known[i] >= 0:
            row["gold"] = int(scores.known[i])
        if data.ids[i] in found.unanswered:
            row["why"] = found.unanswered[data.ids[i]]
        rows.append(row)
    return {
        "classes": list(data.task.classes),
        "run": run_named(found),
        "run_column": OF_RUN,
        "take_back": take_back(data),
        "rows": rows,
        "total": len(table),
        "of_rows": sum(data.repeats),
        "tempered": found.doubt < 1,
        **made.shared(max(ROOM - len(json.dumps(rows)), TEXT_ROOM)),
    }


def _own_ids(data: Dataset) -> dict[str, list[str]]:
    """The ids of the rows of each example, in the order of the table."""
    found: dict[str, list[str]] = {id: [] for id in data.ids}
    for id, own in () if data.origin is None else data.origin.of.items():
        found[own].append(id)
    return found


class _Page:
    """What the rows of a page share: texts, lists of shots, wordings, names of parts."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._framings = {framing.name: framing for framing in found.framings}
        self._texts: dict[int, int] = {}
        self._lists: dict[tuple[int, ...], int] = {}
        self._pieces: dict[tuple[str, tuple[str, ...]], int] = {}
        self._leads: list[tuple[PromptPieces, str, str]] = []
        self._words: dict[str, int] = {}
        evidence = found.evidence
        self._at = {key: t for t, key in enumerate(evidence.predictions.keys)}
        self._framing = [evidence.framings[f] for f in evidence.predictions.framing.tolist()]
        order = found.orientation.order if found.orientation else range(evidence.k)
        self._order = list(order)

    def text(self, i: int) -> int:
        """The number of the text of example i on the page."""
        return self._texts.setdefault(i, len(self._texts))

    def row(self, i: int, columns: Mapping[str, Any], *, none: bool) -> dict[str, Any]:
        """What every row has; its label is null where there is `none`."""
        found, explainer = self._found, self._found.explainer
        return {
            "id": found.dataset.own_id(found.dataset.ids[i]),
            "text": self.text(i),
            "label": None if none else int(columns["label"][i]),
            "p": None if none else [_short(v) for v in found.soft_labels[i].tolist()],
            "open": bool(columns["open"][i]),
            "n": int(columns["predictions"][i]),
            "u": [_short(float(columns[c][i])) for c in ("epistemic", "aleatoric", "structural")],
            "pulls": self.pulls(i),
            "odds": [
                int(explainer.label[i]),
                int(explainer.other[i]),
                _short(float(explainer.log_odds[i])),
            ],
        }

    def word(self, text: str) -> int:
        """The number of a name that many parts have."""
        return self._words.setdefault(text, len(self._words))

    def pulls(self, i: int) -> list[list[Any]]:
        """The parts of a label's log-odds, the strongest first, the rest last.

        Each is [kind, what, pull] and, of a prediction, [log-odds, as answered, relevance, round,
        bounded, wording, shots] too; a pull that nobody knows is None.
        """
        made = []
        for part in self._found.explainer.rows(self._found.dataset.ids[i]):
            pull = _short(part["pull"]) if "pull" in part else None
            row: list[Any] = [self.word(part["kind"]), self.word(part["what"]), pull]
            if "relevance" in part:
                key = part["prediction"]
                row += [
                    _short(part["log_odds"]),
                    self._answered(i, key),
                    _short(part["relevance"]),
                    part["round"],
                    int(part["bounded"]),
                    *self._prompt(key),
                ]
            made.append(row)
        rest = self.word("rest")
        return sorted(made, key=lambda row: (row[0] == rest, -abs(row[2] or 0.0)))

    def shared(self, room: int) -> dict[str, Any]:
        """What was numbered: texts, in so many bytes, words, wordings, lists of shots."""
        data = self._found.dataset
        texts = [data.texts[i] for i in self._texts]
        quoted: dict[str, dict[str, str]] = {}
        for number, (_, lead, _name) in enumerate(self._leads):
            shown = {str(t): as_data(text, lead) for t, text in enumerate(texts)}
            changed = {t: text for t, text in shown.items() if text != texts[int(t)]}
            if changed:
                quoted[str(number)] = changed
        every = [*texts, *(text for changed in quoted.values() for text in changed.values())]
        limit = _limit([_weight(text) for text in every], room)
        return {
            "texts": [_cut(text, limit) for text in texts],
            "cut": limit,
            "quoted": {
                number: {t: _cut(text, limit) for t, text in changed.items()}
                for number, changed in quoted.items()
            },
            "words": list(self._words),
            "wordings": [
                {"name": name, "head": p.head, "after": list(p.after), "tail": p.tail}
                for p, _, name in self._leads
            ],
            "lists": [list(shots) for shots in self._lists],
        }

    def _answered(self, i: int, key: str) -> float | None:
        """The log-odds of the label as they were answered, before anything was taken off."""
        said = self._found.predictions.get(key)
        if said is None:
            return None
        explainer = self._found.explainer
        label, other = (self._order[c[i]] for c in (explainer.label, explainer.other))
        return _short(said.logprobs[label] - said.logprobs[other])

    def _prompt(self, key: str) -> list[int | None]:
        """The numbers of a prediction's wording and list of shots; None where nobody knows it."""
        said = self._found.predictions.get(key)
        if said is None:
            return [None, None]
        framing = self._framings[self._framing[self._at[key]]]
        named = (framing.name, said.label_names)
        if named not in self._pieces:
            self._pieces[named] = len(self._leads)
            asked = replace(framing, label_names=said.label_names)
            pieces = PromptPieces.of(asked, cast(Style, self._found.run.style))
            self._leads.append((pieces, framing.lead, framing.name))
        index = self._found.dataset.index
        shots = tuple(
            number for id, label in said.query.shots for number in (self.text(index[id]), label)
        )
        return [self._pieces[named], self._lists.setdefault(shots, len(self._lists))]


def _weight(text: str) -> int:
    """How many bytes a text takes in the page, in which marks of HTML are escaped."""
    whole = len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return whole + 5 * sum(map(text.count, "<>&"))


def _limit(weights: list[int], room: int) -> int | None:
    """To how many bytes texts are cut, so that all have room together; None for no cut."""
    if sum(weights) <= room:
        return None
    left, ordered = room, sorted(weights)
    for place, weight in enumerate(ordered):
        share = left // (len(ordered) - place)
        if weight > share:
            return share
        left -= weight
    return None


def _cut(text: str, limit: int | None) -> str:
    if limit is None or (weight := _weight(text)) <= limit:
        return text
    kept = len(text) * limit // weight
    return f"{text[:kept]} … (cut here; {len(text) - kept:,} more characters)"


def _short(value: float) -> float | None:
    """A number with as many digits as a page shows; None where it is not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
