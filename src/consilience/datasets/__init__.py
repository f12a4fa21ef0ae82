"""The data sets there are, and `load_dataset`, which finds one by name or reads a file.

A data set is one small file here (rows in, examples and relations out; gold apart) and one entry
in `REGISTRY`. The worlds of the simulated model are data sets too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from consilience.datasets import truthfulqa
from consilience.datasets.table import load_table
from consilience.errors import InputError
from consilience.examples import Dataset, Gold, Task
from consilience.records import SUFFIXES

DATA_DIR = "CONSILIENCE_DATA_DIR"
"""The environment variable that names the folder of the publishers' files."""


@dataclass(frozen=True, slots=True)
class Source:
    """A public data set: what it is, whose it is, and the function that loads it.

    `load` takes the folder of the publishers' files, or None for the hub.
    """

    about: str
    licence: str
    origin: str
    examples: int
    k: int
    relations: tuple[str, ...]
    load: Callable[[Path | None], tuple[Dataset, Gold]]


REGISTRY: dict[str, Source] = {
    "truthfulqa": Source(
        about="790 questions that invite a misconception, one true and one false claim each",
        licence="Apache-2.0",
        origin="https://github.com/sylinrl/TruthfulQA",
        examples=1580,
        k=2,
        relations=("exactly-one (prior)",),
        load=truthfulqa.load,
    ),
}
"""The public data sets by name."""


def load_dataset(
    name_or_path: str | Path,
    *,
    groups: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    text: str | None = None,
    group: str | None = None,
    label: str | None = None,
    relations: Mapping[str, bool] | Sequence[str] = (),
    task: Task | None = None,
) -> tuple[Dataset, Gold | None]:
    """A data set and, apart from it, its gold: a registered name, a world, or a file.

    `groups` keeps that many groups, chosen by `seed`. `data_dir`, else the environment's
    CONSILIENCE_DATA_DIR, is the folder of the publishers' files; without either the hub is read.
    `text`, `group`, `label`, `relations` and `task` describe a file's rows, as in
    `Dataset.from_records`, and are for files only.
    """
    rows = {"text": text, "group": group, "label": label, "relations": relations, "task": task}
    gold: Gold | None
    if isinstance(name_or_path, str) and name_or_path in REGISTRY:
        _refuse(name_or_path, rows)
        folder = data_dir or os.environ.get(DATA_DIR)
        data, gold = REGISTRY[name_or_path].load(Path(folder) if folder else None)
    elif _is_file(name_or_path):
        _refuse(name_or_path, {"data_dir": data_dir})
        data, gold = load_table(
            name_or_path, text=text, group=group, label=label, relations=relations, task=task
        )
    else:
        # Imported here: the simulated model stands to the right of the data sets.
        from consilience.models.simulated import WORLDS, world_dataset

        if name_or_path not in WORLDS:
            raise InputError(
                f"there is no data set {str(name_or_path)!r}; the names are: "
                f"{', '.join([*REGISTRY, *WORLDS])}; a file must exist and end in one of "
                f"{', '.join(SUFFIXES)}"
            )
        _refuse(name_or_path, rows | {"data_dir": data_dir})
        data, gold = world_dataset(str(name_or_path), seed=seed)
    if groups is None:
        return data, gold
    data = data.sample(groups, seed)
    if gold is not None:
        gold = Gold({id: gold.labels[id] for id in data.ids if id in gold.labels})
    return data, gold


def _is_file(name_or_path: str | Path) -> bool:
    return isinstance(name_or_path, Path) or Path(name_or_path).suffix.lower() in SUFFIXES


def _refuse(name: str | Path, options: Mapping[str, object]) -> None:
    given = [option for option, value in options.items() if value]
    if given:
        raise InputError(
            f"the data set {str(name)!r} takes no {' and no '.join(given)}; leave it out"
        )


def describe() -> list[dict[str, object]]:
    """One row for each data set there is: name, examples, K, relations, licence, one sentence."""
    from consilience.models.simulated import WORLDS, world_dataset

    rows: list[dict[str, object]] = [
        {
            "name": name,
            "examples": source.examples,
            "K": source.k,
            "relations": ", ".join(source.relations),
            "licence": source.licence,
            "about": f"{source.about} ({source.origin})",
        }
        for name, source in REGISTRY.items()
    ]
    for name, world in WORLDS.items():
        data, _ = world_dataset(name)
        kinds = {f"{r.name} (prior)" if r.prior else r.name for r in data.relations}
        rows.append(
            {
                "name": name,
                "examples": len(data),
                "K": data.task.k,
                "relations": ", ".join(sorted(kinds)),
                "licence": "made here",
                "about": f"simulated: {world.about}",
            }
        )
    return rows
