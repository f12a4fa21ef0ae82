"""The data sets there are, and `load_dataset`, which finds one by name or reads a file.

A public data set is a few declarations (`Source`) in one small file here, and one entry in
`SOURCES`. The worlds of the simulated model are data sets too, and so is any file or hub id.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from consilience.data.dataset import Dataset, Gold, example_id
from consilience.data.files import STDIN
from consilience.data.plugins import load_plugin, plugin_names
from consilience.data.readers import SUFFIXES, Rows
from consilience.data.task import Task
from consilience.datasets import (
    alpaca,
    challenges,
    daily_dilemmas,
    ethics,
    ethics_pairs,
    geometry,
    gsm8k,
    machiavelli,
    pocket,
    truthfulqa,
    vignettes,
)
from consilience.datasets.source import Loaded, Reader, Source, load
from consilience.datasets.table import HUB_PREFIX, TableColumns, load_table
from consilience.errors import InputError, check_kind

DATA_DIR = "CONSILIENCE_DATA_DIR"
"""The environment variable that names the folder of the publishers' files."""

SOURCES: tuple[Source, ...] = (
    truthfulqa.BINARY,
    truthfulqa.CHOICE_ONE,
    truthfulqa.CHOICE_MANY,
    truthfulqa.AUDITED,
    gsm8k.SOLUTIONS,
    challenges.PAIRS,
    challenges.PRICE_COMPARISONS,
    challenges.CTRL_Z,
    challenges.POLITICAL,
    geometry.CITIES,
    geometry.WORDS,
    geometry.NUMBER_COMPARISONS,
    geometry.CONJUNCTIONS,
    geometry.DISJUNCTIONS,
    alpaca.RESPONSE_COMPARISONS,
    machiavelli.CHOICES,
    daily_dilemmas.DILEMMAS,
    ethics.COMMONSENSE,
    ethics.DEONTOLOGY,
    ethics.JUSTICE,
    ethics_pairs.UTILITARIANISM,
    ethics.VIRTUE,
    vignettes.FOUNDATION,
    vignettes.WRONG,
)

REGISTRY: dict[str, Source] = {source.name: source for source in SOURCES}
"""The public data sets by name."""

MADE: dict[str, Source] = {source.name: source for source in pocket.POCKET_SOURCES}
"""The data sets of the pocket world by name, made up anew for each seed."""


def find_source(name: str) -> Source | None:
    """The public data set of that name, of this package or another (see `plugins`)."""
    if name in REGISTRY or name not in plugin_names("datasets", REGISTRY):
        return REGISTRY.get(name)
    found = load_plugin("datasets", name)
    if not isinstance(found, Source):
        raise InputError(f"the data set {name!r} is a {type(found).__name__}, expected a Source")
    return found


def load_dataset(
    name_or_path: str | Path,
    *,
    groups: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    text: str | None = None,
    id: str | None = None,
    group: str | None = None,
    label: str | None = None,
    relations: Mapping[str, bool] | Sequence[str] = (),
    task: Task | None = None,
    **options: str,
) -> tuple[Dataset, Gold | None]:
    """A data set and, apart from it, its gold: a registered name, a world, a file or a hub id.

    `groups` keeps that many groups, chosen by `seed`. `data_dir`, else the environment's
    CONSILIENCE_DATA_DIR, is the folder of the publishers' files; without either the hub is read.
    `text`, `id`, `group`, `label`, `relations` and `task` describe the rows of a file ("-" is
    standard input) or of a hub id ("hub:owner/name"), as in `Dataset.from_records`. `options` are
    those of the data set: `value="Truthfulness"`, `split="test_hard"`; `consilience datasets list`
    names them.
    """
    said = TableColumns(text, id, group, label, relations, task)
    loaded = _load(name_or_path, said, options, seed=seed, folder=data_dir, whole=False)
    data, gold = loaded.data, loaded.gold
    if groups is None:
        return data, gold
    data = data.sample(groups, seed)
    if gold is not None:
        gold = Gold({id: gold.labels[id] for id in data.ids if id in gold.labels})
    return data, gold


def load_with_rows(
    name_or_path: str | Path,
    *,
    seed: int = 0,
    data_dir: str | Path | None = None,
    text: str | None = None,
    id: str | None = None,
    group: str | None = None,
    label: str | None = None,
    relations: Mapping[str, bool] | Sequence[str] = (),
    task: Task | None = None,
    whole: bool = True,
    **options: str,
) -> Loaded:
    """A data set with the rows that it was made from, which only an audit may look at.

    Without `whole` the rows of a file hold only the columns that are named.
    """
    said = TableColumns(text, id, group, label, relations, task)
    return _load(name_or_path, said, options, seed=seed, folder=data_dir, whole=whole)


def _load(
    name_or_path: str | Path,
    said: TableColumns,
    options: Mapping[str, str],
    *,
    seed: int,
    folder: str | Path | None,
    whole: bool,
) -> Loaded:
    """A data set by its name, or from a table of which it is said what its columns are."""
    check_kind(name_or_path, (str, Path), "a data set is named by a text or a path")
    name = str(name_or_path)
    if isinstance(name_or_path, str) and (source := find_source(name)) is not None:
        _refuse(name, said.given())
        place = folder or os.environ.get(DATA_DIR)
        return load(source, Reader(Path(place) if place else None), options)
    if isinstance(name_or_path, str) and name in MADE:
        _refuse(name, {**said.given(), "data_dir": folder})
        return load(MADE[name], Reader(None, seed), options)
    if _is_file(name_or_path) or name.startswith(HUB_PREFIX):
        _refuse(name, {"data_dir": folder})
        return load_table(name_or_path, said, options, whole=whole)
    _refuse_unknown(name)
    _refuse(name, {**said.given(), "data_dir": folder, **options})
    # Imported here: the simulated model stands to the right of the data sets.
    from consilience.models.simulated import world_dataset

    data, gold = world_dataset(name, seed=seed)
    rows = Rows({"text": text, "label": gold.labels[example_id(text)]} for text in data.texts)
    return Loaded(data, gold, rows, data.ids, frozenset({"text"}), "label")


def _refuse_unknown(name: str) -> None:
    """InputError where there is no world of this name, which lists all names that there are."""
    from consilience.models.simulated import WORLDS

    if name not in WORLDS:
        names = ", ".join([*REGISTRY, *plugin_names("datasets", REGISTRY), *MADE, *WORLDS])
        raise InputError(
            f"there is no data set {name!r}; the names are: {names}; a file must exist and end in "
            f"one of {', '.join(SUFFIXES)}; {HUB_PREFIX}OWNER/NAME is one of the Hugging Face hub"
        )


def _is_file(name_or_path: str | Path) -> bool:
    if isinstance(name_or_path, Path) or name_or_path == STDIN:
        return True
    return Path(name_or_path).suffix.lower() in SUFFIXES


def _refuse(name: str, options: Mapping[str, object]) -> None:
    given = [option for option, value in options.items() if value]
    if given:
        raise InputError(f"the data set {name!r} takes no {' and no '.join(given)}; leave it out")


def _of_others() -> dict[str, Source]:
    found = {name: find_source(name) for name in plugin_names("datasets", REGISTRY)}
    return {name: source for name, source in found.items() if source is not None}


def describe_datasets() -> list[dict[str, object]]:
    """One row for each data set there is: name, examples, K, relations, options, licence, about."""
    from consilience.models.simulated import EXAMPLES, WORLDS, world_dataset

    rows: list[dict[str, object]] = [
        {
            "name": name,
            "examples": source.examples,
            "K": source.task(source.chosen({})).k,
            "relations": ", ".join(source.relations),
            "options": ", ".join(f"{o.name}={o.default}" for o in source.options),
            "licence": source.licence,
            "about": f"{source.about} ({source.origin})",
        }
        for name, source in (REGISTRY | _of_others() | MADE).items()
    ]
    for name, world in WORLDS.items():
        # One group of it has all its relations.
        data, _ = world_dataset(name, world.group)
        kinds = {f"{r.name} (prior)" if r.prior else r.name for r in data.relations}
        rows.append(
            {
                "name": name,
                "examples": EXAMPLES // world.group * world.group,
                "K": data.task.k,
                "relations": ", ".join(sorted(kinds)),
                "options": "",
                "licence": "made here",
                "about": f"simulated: {world.about}",
            }
        )
    return rows
