"""Which run of a store a command is about, where nobody names one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consilience.cli.inputs import is_table, task_of
from consilience.errors import InputError

if TYPE_CHECKING:
    from consilience.cli.config import Config
    from consilience.store.database import Store
    from consilience.store.rows import Run


def meant_run(store: Store, config: Config | None) -> Run:
    """The newest run; of a task file of a table, the newest that asks what the file asks.

    InputError where no run does: labels of another question would pass for those of this one.
    """
    newest = store.run()
    task = task_of(config.task) if config and config.source and is_table(config) else None
    if config is None or task is None:
        return newest
    asks = {}
    for run in store.runs():
        if run.dataset not in asks:
            asks[run.dataset] = store.dataset(run.dataset).task
        if asks[run.dataset] == task:
            return run
    asked = asks[newest.dataset]
    raise InputError(
        f"no run of {store.path} asks what {config.source} says; the newest, {newest.id}, asks "
        f"{asked.question!r} with the classes {', '.join(asked.classes)}: run the task file first, "
        "or name a run with --run"
    )
