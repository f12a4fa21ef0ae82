"""The options that commands share, so that each is called, checked and explained once.

An option that is a setting of a task file is made from it; what few people turn has no option and
is reached by `--set`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from consilience.cli.config import SETTINGS, Config, built
from consilience.cli.logs import check_log_apart, log_file
from consilience.cli.publishers import check_outside
from consilience.cli.tables import PATH
from consilience.cli.task_file import SUFFIX, read_set, read_task_file
from consilience.cli.values import Classes, Kind, Table, Whole, home

F = TypeVar("F", bound=Callable[..., Any])

STORE = "consilience.db"
"""Where answers that were paid for are kept if no other file is named."""

SECTIONS = ("Data and task", "Model", "Spend", "Labels", "Options")
"""What the options of a command are grouped under, in the order of its help."""

_SECTION_OF = {
    "data": "Data and task",
    "task": "Data and task",
    "model": "Model",
    "budget": "Spend",
    "landmarks": "Labels",
    "output": "Labels",
}


class Option(click.Option):
    """An option that stands under a heading in the help, and has a variable in the environment."""

    def __init__(self, *args: Any, section: str = "Options", **options: Any) -> None:
        super().__init__(*args, **options)
        self.section = section

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """What the environment says: `run --base-url` is CONSILIENCE_RUN_BASE_URL."""
        found = super().resolve_envvar_value(ctx)
        if found is None and ctx.auto_envvar_prefix:
            word = self.opts[0].lstrip("-").replace("-", "_").upper()
            found = os.environ.get(f"{ctx.auto_envvar_prefix}_{word}") or None
        return found


class Command(click.Command):
    """A command whose help groups its options, and which takes a task file as a word of its own.

    A word that ends in .toml stands for `--task`, or for `--store` where a command only reads.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The words, with the option that a task file stands for before it."""
        known = {name: p for p in self.params if isinstance(p, click.Option) for name in p.opts}
        stands_for = next((name for name in ("--task", "--store") if name in known), None)
        for i, word in enumerate(args):
            before = known.get(args[i - 1]) if i else None
            of_an_option = before is not None and not before.is_flag
            if word.endswith(SUFFIX) and word[:1] != "-" and stands_for:
                if of_an_option and args[i - 1] == "--store":
                    args = [*args[: i - 1], stands_for, *args[i:]]
                elif not of_an_option:
                    args = [*args[:i], stands_for, *args[i:]]
                else:
                    continue
                break
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their headings."""
        found: dict[str, list[tuple[str, str]]] = {name: [] for name in SECTIONS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                found[getattr(param, "section", "Options")].append(record)
        for section, records in found.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records)


command = functools.partial(click.command, cls=Command)
"""Makes a command as every command here is made."""


def option(*names: str, section: str = "Options", **more: Any) -> Callable[[F], F]:
    """An option under a heading."""
    return click.option(*names, cls=Option, section=section, **more)


def _of_setting(name: str) -> Callable[[F], F]:
    """The option of a setting; None where it was not said."""
    one = SETTINGS[name]
    section = _SECTION_OF[one.table]
    kind = None if isinstance(one.kind, Table | Classes) else one.kind
    return option(
        one.option,
        _destination(name),
        type=kind if kind is not None else str,
        callback=None if kind is not None else _converted(one.kind),
        metavar=one.metavar,
        help=one.help,
        section=section,
    )


def _destination(name: str) -> str:
    return name.replace(".", "__")


def _converted(kind: Kind) -> Callable[[click.Context, click.Parameter, Any], Any]:
    return lambda context, param, value: (
        None if value is None else kind.convert(value, param, context)
    )


seed = option(
    "--seed", type=Whole(min=0), default=0, show_default=True, help="Decides every random choice."
)
_seed_or_file = option(
    "--seed", type=Whole(min=0), help="Decides every random choice  [default: 0]"
)
_task = option("--task", metavar="FILE", hidden=True, help="A task file.", callback=home)


def _said(shown: Sequence[str], given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the options of settings say, by table; they are taken from what was `given`."""
    said: dict[str, dict[str, Any]] = {}
    for name in shown:
        if (value := given.pop(_destination(name))) is not None:
            table, _, key = name.partition(".")
            said.setdefault(table, {})[key] = value
    return said


def configured(
    *names: str, seeded: bool = False, also: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], Any]:
    """Gives a command `config`, made of a task file, of `--set` and of the options `names`.

    A name is a setting, or a table, all of whose settings the command reads; of the tables of the
    settings in `also` it reads no others, and these have no option of their own.
    """
    tables = [name.partition(".")[0] for name in names]
    tables = list(dict.fromkeys([*tables, *(("relations",) if "data" in tables else ())]))
    shown = [name for name in names if "." in name]

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def command(**given: Any) -> Any:
            of_options = _said(shown, given)
            task, seed = given.pop("task"), given.pop("seed", None) if seeded else None
            from_file, own = read_task_file(task) if task else ({}, None)
            seed = seed if seed is not None else own or 0
            config = built(seed, task, from_file, given.pop("chosen"), of_options)
            said = config.output
            words = [word for word in given.values() if isinstance(word, str)]
            files = [config.source, config.data.file, config.landmarks.file, said.table]
            check_log_apart([*words, *files, said.store or STORE])
            check_outside(log_file(), config)
            return function(config=config, **given)

        chosen = option(
            "--set",
            "chosen",
            metavar="KEY=VALUE",
            multiple=True,
            callback=lambda context, param, words: read_set(words, [*tables, *also]),
            help="Any setting of a task file, such as planning.shots=8, or an option of a named "
            "data set, such as split=test (repeatable). All are listed in docs/cli.md.",
        )
        every = [_of_setting(name) for name in shown]
        every += [*([_seed_or_file] if seeded else []), chosen, _task]
        made: Any = command
        for each in reversed(every):
            made = each(made)
        return made

    return decorate


class NamedStore(NamedTuple):
    """A file of predictions to read, and the task file that stands for it, if one does."""

    path: str
    task: Config | None = None


def _store_of(context: click.Context, param: click.Parameter, value: str) -> NamedStore:
    """The file of predictions that an option names, or that of the task file that it names."""
    path = str(PATH.convert(value, param, context))
    if not path.endswith(SUFFIX):
        return NamedStore(path)
    task = built(0, path, read_task_file(path)[0])
    return NamedStore(task.output.store or STORE, task)


as_json = option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
store_read = option(
    "--store",
    metavar="FILE",
    callback=_store_of,
    default=STORE,
    show_default=True,
    help="File of predictions to read; the task file of a run (.toml) stands for its own.",
)
run_id = option(
    "--run",
    "run_id",
    metavar="ID",
    help="Id of a run in the store, or its beginning; several, A,B, are solved together  "
    "[default: the newest; of a task file the newest that asks what it says]",
)
details = option(
    "--details",
    is_flag=True,
    section="Labels",
    help="Also write what the uncertainty is made of and the probability of each class.",
)
dry_run = option(
    "--dry-run",
    is_flag=True,
    section="Spend",
    help="Print a prompt and what it would cost; nothing is sent or stored.",
)
TASK = ("data.text", "data.id", "data.label", "task.question", "task.classes")
"""The options that say what a file holds and what is asked."""

SHARES = ("planning.shares",)
"""What a run can be told when it is solved again: how frequent a class is."""

MODEL = ("model.name", "model.base_url")
"""The options that say who answers."""
