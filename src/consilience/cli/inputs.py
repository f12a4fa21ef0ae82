"""What a configuration names, opened: data, settings, a solver, files to write.

All that can be wrong is found here, before a store is made and before anything is sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.cli.options import STORE
from consilience.cli.output import talk
from consilience.cli.publishers import check_outside
from consilience.cli.task_file import line_of
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.cli.config import Config
    from consilience.cli.tables import TaskOptions
    from consilience.data.dataset import Dataset, Gold
    from consilience.data.task import Task
    from consilience.datasets.source import Loaded
    from consilience.elicitation.settings import Settings
    from consilience.objective.term import Terms
    from consilience.solvers.fixed_point import Solver


def open_data(config: Config, task: Task | None = None) -> tuple[Dataset, Gold | None]:
    """The data set and its gold (or None) that a configuration describes.

    `task` is that of a file for which none is stated.
    """
    from consilience.datasets import load_dataset

    check_filled_in(config)
    name = name_of(config)
    data, gold = load_dataset(name, groups=config.data.groups, **_described(config, task))
    if gold is not None and len(gold) < len(data):
        talk(f"gold for {len(gold):,} of {len(data):,} examples: the others are not scored")
    return data, gold


def open_loaded(config: Config) -> Loaded:
    """The data set with the rows of its file, which only an audit may look at."""
    from consilience.datasets import load_with_rows

    return load_with_rows(name_of(config), **_described(config))


def name_of(config: Config) -> str:
    """What is to be labelled, as it was named; InputError where nothing was."""
    if not config.data.file:
        raise InputError(
            "no data; name a task file, a data set from `datasets list`, or a file"
            if config.source is None
            else f"{config.source}: `file` of [data] is missing: name what is to be labelled"
        )
    return config.data.file


def _described(config: Config, task: Task | None = None) -> dict[str, Any]:
    """What a configuration says of a data set, as `load_dataset` takes it."""
    facts, priors = config.relations.facts, config.relations.priors
    if both := set(facts) & set(priors):
        raise InputError(f"facts and priors of [relations] both say {min(both)!r}; leave one out")
    data = config.data
    said = {
        "seed": config.seed,
        "data_dir": data.folder,
        "text": data.text,
        "id": data.id,
        "group": data.group,
        "label": data.label,
        "relations": {r: True for r in priors} | {r: False for r in facts},
        "task": task_of(config.task) or task,
    }
    for key in data.options:
        if key in said or key == "groups":
            raise InputError(f"--set {key}=… is no option of a data set; see --help for its own")
    return {**said, **data.options}


def task_of(said: TaskOptions) -> Task | None:
    """What is asked, None where nothing is said of it."""
    from consilience.data.task import Task

    words: dict[str, Any] = {
        key: value
        for key in ("question", "statement", "opposite", "instruction", "classes")
        if (value := getattr(said, key))
    }
    return Task(**words) if words else None


def check_filled_in(config: Config) -> None:
    """InputError where the task file of a table leaves open what is asked: the line to fill in."""
    path, task = config.source, config.task
    if path is None or not is_table(config):
        return
    if not task.question:
        line = line_of(path, "task", "question")
        raise InputError(
            f'{path}, line {line}: fill in `question = "SENTENCE"`: what is asked about each row'
        )
    if len(task.classes) < 2:
        line = line_of(path, "task.classes")
        raise InputError(
            f"{path}, line {line}: fill in [task.classes], class 0 first, two classes or more: "
            '"NAME" = "what belongs there"'
        )


def is_table(config: Config) -> bool:
    """Whether a table of rows is labelled, of which somebody has to say what is asked."""
    from consilience.data.files import STDIN
    from consilience.data.readers import SUFFIXES

    name = config.data.file or ""
    return name == STDIN or name.startswith("hub:") or Path(name).suffix.lower() in SUFFIXES


def require_task(config: Config, data: Dataset) -> None:
    """InputError where a file is to be labelled and nobody says what is asked of it."""
    if data.origin is None:
        return
    options = {"question": '--question "SENTENCE"', "classes": "--classes NAME,NAME"}
    if missing := [said for key, said in options.items() if not getattr(config.task, key)]:
        raise InputError(
            f"nobody said what is asked about the rows of {data.name!r}: add "
            f"{' and '.join(missing)} (class 0 first)"
        )


def open_settings(config: Config, dataset: Dataset) -> Settings:
    """The settings of a run, which fit the data set."""
    settings = chosen_settings(config)
    settings.budget(dataset)
    return settings


def chosen_settings(config: Config) -> Settings:
    """The settings that a configuration describes, whatever the data set."""
    from consilience.elicitation.settings import Settings
    from consilience.planning.planner import PlanSettings

    said = {f.name: getattr(config.planning, f.name) for f in fields(config.planning)}
    said |= {
        "calls_per_example": config.budget.calls_per_example,
        "framings": config.task.framings,
        "priors": config.relations.count_priors,
    }
    said = {key: value for key, value in said.items() if value is not None}
    of_plan = {f.name for f in fields(PlanSettings)}
    plan = PlanSettings(**{key: said.pop(key) for key in of_plan & said.keys()})
    return Settings(plan=plan, **said)


def open_solver(name: str, starts: int | None) -> Solver:
    """The solver of that name, with so many starts."""
    from consilience.solvers.adam import Adam
    from consilience.solvers.annealing import Annealing
    from consilience.solvers.belief_propagation import BeliefPropagation
    from consilience.solvers.exhaustive import Exhaustive
    from consilience.solvers.lbfgs import LBFGS

    if name == "exhaustive":
        if starts is not None:
            raise InputError("the solver exhaustive tries every labelling; leave out its starts")
        return Exhaustive()
    kinds = {"lbfgs": LBFGS, "adam": Adam, "bp": BeliefPropagation, "annealing": Annealing}
    made: Solver = kinds[name]() if starts is None else kinds[name](starts=starts)
    return made


def open_terms(record: Mapping[str, Any], weights: Mapping[str, float]) -> Terms:
    """The terms of a run's record, with other weights for some of them."""
    from consilience.elicitation.recorded_terms import terms_of_run
    from consilience.objective.coherence import TERMS

    terms = {**terms_of_run(record)}
    for name, weight in weights.items():
        if name not in TERMS:
            raise InputError(f"there is no term {name!r}; the terms are: {', '.join(TERMS)}")
        terms[name] = TERMS[name].at(weight)
    return terms


def check_device(name: str) -> None:
    """InputError where PyTorch cannot put anything on a device."""
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise InputError(f"the device {name} cannot be used here: {said}; use cpu") from error


def check_writable(path: str) -> None:
    """InputError if no file can be written there."""
    if Path(path).is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    try:
        with tempfile.TemporaryFile(dir=Path(path).parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def check_store(path: str | Path) -> None:
    """InputError if there is no store to read."""
    if not Path(path).exists():
        raise InputError(f"there is no store {path}; name one with --store, or make it with `run`")
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder, and no store; name a file in it with --store")


def check_apart(path: str | None, *inputs: Config | Dataset | str | None) -> None:
    """InputError if `path`, which is to be written, is a file that the command reads.

    A configuration stands for its task file, table, landmarks, store and the folder of the
    publishers' files, a data set for its table.
    """
    from consilience.cli.config import Config

    for one in inputs:
        if isinstance(one, Config):
            check_outside(path, one)
    for what, read in (pair for one in inputs for pair in _read_from(one)):
        if path and read and same_file(path, read):
            raise InputError(f"{path} is {what}, and would be replaced; name another file to write")


def _read_from(one: Config | Dataset | str | None) -> list[tuple[str, str | None]]:
    """What files are read of an input, each with what it is."""
    from consilience.cli.config import Config

    if isinstance(one, Config):
        table = one.data.file if Path(one.data.file or "").is_file() else None
        return [
            ("the store", one.output.store or STORE),
            ("the task file", one.source),
            ("the table itself", table),
            ("the file of landmarks", one.landmarks.file),
        ]
    if one is None or isinstance(one, str):
        return [("read here", one)]
    return [("the table itself", one.origin.source if one.origin else None)]


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths are of one file, which need not be there yet."""
    one, other = Path(one), Path(other)
    there = one.exists() and other.exists()
    return one.samefile(other) if there else one.resolve() == other.resolve()


def check_table(path: str | None) -> None:
    """InputError if `path` is given and the labels cannot be written there."""
    if path:
        from consilience.data.export import table_path

        table_path(path)
        check_writable(path)
