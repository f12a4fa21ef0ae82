"""The labelled rows of a run as rows to train on: the prompt that was asked, and what it said."""

from __future__ import annotations

from consilience.data.training import TrainingRow
from consilience.prompts.framing import Framing, render
from consilience.results.result import Found


def rows_to_train_on(found: Found) -> list[TrainingRow]:
    """One row for each example that has a label, in the order of the user's rows.

    The prompt is the zero-shot one of the first framing that the run asked in: a model that is
    trained on it answers without shots.
    """
    data, framing = found.dataset, _first(found.framings)
    labelled = found.labels["label"].notna().to_numpy()
    ids = dict.fromkeys(data.origin.examples if data.origin else data.ids)
    made = []
    for i in (data.index[id] for id in ids):
        if not labelled[i]:
            continue
        example = data.examples[i]
        prompt, messages = render(framing, example.text), render(framing, example.text, (), "chat")
        assert isinstance(prompt, str) and isinstance(messages, list), "styles give what they say"
        made.append(
            TrainingRow(
                id=data.own_id(example.id),
                example=example.id,
                text=example.text,
                group=example.group,
                prompt=prompt,
                messages=tuple(messages),
                names=data.task.classes,
                completion=tuple(f" {name}" for name in framing.label_names),
                reply=framing.label_names,
                soft_label=tuple(found.soft_labels[i].tolist()),
                label=int(found.hard_labels[i]),
            )
        )
    return made


def _first(framings: tuple[Framing, ...]) -> Framing:
    """The first framing whose label names mean something, else the first of all."""
    return next((framing for framing in framings if framing.semantic), framings[0])
