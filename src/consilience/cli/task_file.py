"""The task file: what is labelled, what is asked, by whom, for how much, in TOML.

Every value is checked; an error is one line that names file, table and key, and for a name that is
none the nearest that is. Paths in it are seen from the folder that it is in.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from consilience.cli.config import SETTINGS, TABLES, Values
from consilience.cli.tables import PATH, SENTENCE
from consilience.cli.values import Names, Number, Table, typed
from consilience.errors import InputError

SUFFIX = ".toml"
"""What a task file is told by."""


def read_task_file(path: str) -> tuple[dict[str, dict[str, Any]], int | None]:
    """The checked values of a task file by table and key, and its seed."""
    said = _parsed(path)
    seed = said.pop("seed", None)
    if seed is not None and (type(seed) is not int or seed < 0):
        raise InputError(f"{path}, seed: a whole number from 0 is expected, got {seed!r}")
    found: dict[str, dict[str, Any]] = {}
    for table, values in said.items():
        if table not in TABLES:
            raise InputError(f"{path}: there is no table [{table}]{_nearest(table, TABLES)}")
        if not isinstance(values, dict):
            raise InputError(f"{path}: [{table}] is a table, got {values!r}")
        found[table] = {}
        for key, value in values.items():
            one = SETTINGS.get(f"{table}.{key}")
            if one is None:
                own = [s.key for s in SETTINGS.values() if s.table == table]
                raise InputError(f"{path}, [{table}]: there is no key {key!r}{_nearest(key, own)}")
            try:
                if one.kind is SENTENCE and isinstance(value, str) and value.startswith("@"):
                    value = "@" + _from(path, value[1:])
                made = typed(one.kind, value)
            except click.BadParameter as error:
                raise InputError(f"{path}, [{table}] {key}: {error.message}") from None
            found[table][key] = _from(path, made) if one.kind is PATH else made
    return found, seed


def _parsed(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it so") from None
    except OSError as error:
        why = error.strerror or error
        raise InputError(
            f"{path} cannot be read: {why}; `consilience init FILE` writes a task file"
        ) from None


def _from(task_file: str, path: str) -> str:
    """A path in a task file as it is seen from here; a name that is no file stays as it is."""
    if path == "-" or Path(path).is_absolute():
        return path
    # A named data set is no file, and a file to be written need not be there.
    here = Path(task_file).parent / path
    named = not Path(path).suffix and not here.exists()
    return path if named or path.startswith("hub:") else str(here)


def read_set(words: Sequence[str], allowed: Collection[str]) -> Values:
    """The values of `--set KEY=VALUE`, by table and key; click.BadParameter where one is wrong.

    A key is that of a task file, planning.block; one without a point is an option of a named data
    set. A key within a table within a table has two points: model.headers.x-api-key; before a
    number it may have an equals sign. `allowed` are tables, and keys of others.
    """
    found: dict[str, dict[str, Any]] = {}
    known = [name for name, one in SETTINGS.items() if {name, one.table} & {*allowed}]
    for word in words:
        name, equals, text = word.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"KEY=VALUE is expected, such as split=test, got {word!r}")
        if "." not in name:
            if meant := [full for full in known if full.partition(".")[2] == name]:
                raise click.BadParameter(f"{name!r} is the key of a table: say {meant[0]}=…")
            name = f"data.options.{name}"
        table, key, *inner = name.split(".", 2)
        full = f"{table}.{key}"
        if full not in known:
            near = _nearest(full, known)
            raise click.BadParameter(f"there is no setting {full!r} for this command{near}")
        kind = SETTINGS[full].kind
        if inner and isinstance(kind, Table) and isinstance(kind.kind, Number):
            name, _, text = word.rpartition("=")
            inner = name.split(".", 2)[2:]
        appended = isinstance(kind, Names) and not kind.split
        values = found.setdefault(table, {})
        try:
            if not inner:
                value = kind.convert(text, None, None)
                values[key] = (*values.get(key, ()), *value) if appended else value
            elif isinstance(kind, Table):
                values.setdefault(key, {})[inner[0]] = kind.item(inner[0], text)
            else:
                raise click.BadParameter(f"it has no key {inner[0]!r}; set {full}=…")
        except click.BadParameter as error:
            raise click.BadParameter(f"{name}: {error.message}") from None
    return found


def line_of(path: str, table: str, key: str = "") -> int:
    """The line of a task file, from 1, on which a key of a table stands, or the table itself."""
    within = False
    lines = Path(path).read_text("utf-8").splitlines()
    at = len(lines)
    for number, line in enumerate(lines, start=1):
        bare = line.strip()
        if bare.startswith("["):
            within = bare.startswith(f"[{table}]")
            if within:
                at = number
        elif within and key and bare.lstrip("# ").partition("=")[0].strip() == key:
            return number
    return at


def _nearest(word: str, known: Iterable[str]) -> str:
    """The known name that is nearest to a word, as the end of an error."""
    every = list(known)
    near = difflib.get_close_matches(word, every, n=1, cutoff=0.5)
    if not near:
        near = [name for name in every if name.rpartition(".")[2] == word.rpartition(".")[2]]
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are: {', '.join(every)}" if len(every) < 20 else ""
