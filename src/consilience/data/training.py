"""Labels as files to train on, one JSON object a line, as TRL and OpenAI's fine-tuning take them.

- `sft`: `prompt` and `completion` (TRL: prompt-completion), with the probability of the label and
  of each class beside them.
- `dpo`: `prompt`, `chosen` and `rejected` (TRL: preference), the label and the likeliest other
  class, with the probability of the label beside them.
- `reward`: `chosen` and `rejected` texts with a `margin` in nats of log-odds (TRL's reward
  trainer). Within a group of two classes texts are compared, which is likelier of class 1; where
  rows are in no group the prompt with its label is compared with the prompt and another label.
- `chat`: `messages` alone, as OpenAI's fine-tuning takes nothing else; TRL takes it too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from consilience.data.whole_file import whole_file
from consilience.errors import InputError

_LEAST = 1e-6
"""No probability counts as smaller in a margin."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A row to train on: its text and group, its prompt both ways, its label soft (K) and hard.

    `id` is the row's own, `example` that of its example. `messages` are the prompt as a chat;
    `completion` has what stands for each class after the plain `prompt`, with the blank before it,
    `reply` the same as a reply in the chat.
    """

    id: str
    example: str
    text: str
    group: str | None
    prompt: str
    messages: tuple[dict[str, str], ...]
    names: tuple[str, ...]
    completion: tuple[str, ...]
    reply: tuple[str, ...]
    soft_label: tuple[float, ...]
    label: int

    @property
    def probability(self) -> float:
        """That of the label."""
        return self.soft_label[self.label]

    @property
    def other(self) -> int:
        """The likeliest of the other classes."""
        others = (c for c in range(len(self.soft_label)) if c != self.label)
        return max(others, key=self.soft_label.__getitem__)


def training_records(
    rows: Sequence[TrainingRow], form: str, min_probability: float = 0.0
) -> list[dict[str, Any]]:
    """What is written for rows whose label is at least so probable.

    A pair of texts counts where both are. InputError for an unknown format, or where nothing is
    left.
    """
    if form not in TRAINING_FORMATS:
        known = ", ".join(TRAINING_FORMATS)
        raise InputError(f"no format {form!r} to train on; the formats are: {known}")
    sure = [row for row in rows if row.probability >= min_probability]
    made = list(TRAINING_FORMATS[form](sure))
    if not made:
        raise InputError(
            f"nothing to train on: of {len(rows)} labelled rows {len(sure)} have a probability of "
            f"{min_probability:g} or more; lower it, or correct rows (`consilience review`)"
        )
    return made


def write_training(records: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Write records to a file of JSON lines; an older file is replaced at the end."""
    try:
        with whole_file(Path(path)) as file:
            for record in records:
                line = json.dumps(record, ensure_ascii=False, allow_nan=False)
                file.write(line.encode("utf-8", "backslashreplace") + b"\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def _sft(rows: Sequence[TrainingRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            "id": row.id,
            "prompt": row.prompt,
            "completion": row.completion[row.label],
            "label": row.names[row.label],
            "probability": row.probability,
            "soft_label": list(row.soft_label),
        }


def _dpo(rows: Sequence[TrainingRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            "id": row.id,
            "prompt": row.prompt,
            "chosen": row.completion[row.label],
            "rejected": row.completion[row.other],
            "probability": row.probability,
        }


def _reward(rows: Sequence[TrainingRow]) -> Iterator[dict[str, Any]]:
    groups: dict[str, list[TrainingRow]] = {}
    for row in rows:
        if row.group is not None and len(row.soft_label) == 2:
            groups.setdefault(row.group, []).append(row)
    if any(len(members) > 1 for members in groups.values()):
        for members in groups.values():
            for one, two in combinations(members, 2):
                better, worse = (one, two) if one.label > two.label else (two, one)
                if better.label != worse.label:
                    margin = _log_odds(better.soft_label[1]) - _log_odds(worse.soft_label[1])
                    yield _compared(better.text, worse.text, margin)
        return
    for row in rows:
        margin = _log(row.probability) - _log(row.soft_label[row.other])
        chosen, rejected = (row.prompt + row.completion[c] for c in (row.label, row.other))
        yield _compared(chosen, rejected, margin)


def _compared(chosen: str, rejected: str, margin: float) -> dict[str, Any]:
    # A label that a fact has turned is the less likely one: it leads by nothing.
    return {"chosen": chosen, "rejected": rejected, "margin": max(margin, 0.0)}


def _chat(rows: Sequence[TrainingRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        reply = {"role": "assistant", "content": row.reply[row.label]}
        yield {"messages": [*row.messages, reply]}


def _log(p: float) -> float:
    return math.log(max(p, _LEAST))


def _log_odds(p: float) -> float:
    return _log(p) - _log(1 - p)


TRAINING_FORMATS = {"sft": _sft, "dpo": _dpo, "reward": _reward, "chat": _chat}
"""What `training_records` can write, by name."""
