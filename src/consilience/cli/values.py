"""What the words of a command line and the values of a task file become, checked first of all.

A kind converts the text of an option and checks the value of a task file, which has a type of its
own already: `takes` are the types that it may have.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    Kind = click.ParamType[Any]
else:  # older versions of click have one that is not generic
    Kind = click.ParamType

# As `consilience.models` has them, which loads numpy, and `--help` should not.
LOCAL = ("device", "dtype", "batch", "reuse", "engine", "vllm")
"""What may be said of how a model in this process runs."""


class Number(click.FloatRange):
    """A finite number in a range."""

    name = "number"
    takes: tuple[type, ...] = (int, float)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; infinity and NaN are refused."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


class Whole(click.IntRange):
    """A whole number in a range."""

    name = "integer"
    takes: tuple[type, ...] = (int,)


class Flag(click.types.BoolParamType):
    """Yes or no."""

    takes: tuple[type, ...] = (bool,)


class Text(Kind):
    """A text; one that begins with @ names the file that holds it, where `from_file`."""

    name = "text"
    takes: tuple[type, ...] = (str,)

    def __init__(self, *, from_file: bool = False) -> None:
        self.from_file = from_file

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, read from its file where it names one."""
        text = str(value)
        if not self.from_file or not text.startswith("@"):
            return text
        path = Path(text[1:]).expanduser()
        try:
            return path.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            self.fail(f"{path} cannot be read: {why}", param, ctx)


class FilePath(Text):
    """A path; a ``~`` at its beginning is written out, as a shell may not do."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path."""
        return os.path.expanduser(str(value))


class OneOf(click.Choice[str]):
    """One of a few words."""

    takes: tuple[type, ...] = (str,)


class Names(Kind):
    """Several names: a list, or a text, with a comma between them where it is `split`."""

    name = "names"
    takes: tuple[type, ...] = (list,)

    def __init__(self, *, split: bool = True) -> None:
        self.split = split

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names, at least one."""
        if isinstance(value, str):
            value = value.split(",") if self.split else [value]
        found = list(value)
        if not all(isinstance(name, str) for name in found):
            self.fail(f"{value!r} is no list of texts", param, ctx)
        names = tuple(name.strip() for name in found if name.strip())
        if not names:
            self.fail("at least one name is expected", param, ctx)
        return names


class Table(Kind):
    """A table of values of one kind, any value without a kind; `known` are the keys it may have."""

    name = "JSON"
    takes: tuple[type, ...] = (dict,)

    def __init__(self, kind: Kind | None = None, known: tuple[str, ...] = ()) -> None:
        self.kind, self.known = kind, known

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        """The table, from a mapping or a text in JSON."""
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError as error:
                self.fail(f"not JSON: {error}", param, ctx)
        if not isinstance(value, dict):
            self.fail("a JSON object is expected", param, ctx)
        return {key: self.item(key, one) for key, one in value.items()}

    def item(self, key: str, value: Any) -> Any:
        """One value of the table."""
        if self.known and key not in self.known:
            raise click.BadParameter(f"{key!r} is none of {', '.join(self.known)}")
        if self.kind is None:
            return value
        if not isinstance(value, str):
            return typed(self.kind, value)
        return self.kind.convert(value, None, None)


class LocalTable(Table):
    """How a model in this process runs: each key has a kind of its own."""

    def __init__(self) -> None:
        super().__init__(known=LOCAL)

    def item(self, key: str, value: Any) -> Any:
        """One value of the table."""
        kind = {"batch": COUNT, "reuse": Flag(), "vllm": Table()}.get(key, Text())
        super().item(key, value)
        return kind.convert(value, None, None) if isinstance(value, str) else typed(kind, value)


class Classes(Table):
    """The names of classes, class 0 first, each with a description or with nothing.

    A table of name to description, or names as a list or with a comma between them, as in a line
    of CSV: a name that has a comma itself stands in double quotes.
    """

    takes: tuple[type, ...] = (dict, list)

    def __init__(self) -> None:
        super().__init__(Text())

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        """The table of name to description."""
        if isinstance(value, dict):
            return super().convert(value, param, ctx)
        if isinstance(value, str):
            value = next(csv.reader(io.StringIO(value, newline=""), skipinitialspace=True), [])
        names = Names().convert(value, param, ctx)
        if len(set(names)) < len(names):
            self.fail(f"a class is named twice: {', '.join(names)}", param, ctx)
        return dict.fromkeys(names, "")


class Prices(Kind):
    """Money per million tokens: of the prompt, of what a cache served of it, of the answer."""

    name = "price"
    takes: tuple[type, ...] = (int, float, list)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """One to three numbers."""
        found = value.split(",") if isinstance(value, str) else value
        found = found if isinstance(found, list | tuple) else [found]
        if not 1 <= len(found) <= 3:
            self.fail("INPUT, or INPUT,CACHED or INPUT,CACHED,OUTPUT is expected", param, ctx)
        kind = Number(min=0)
        return tuple(kind.convert(one, param, ctx) for one in found)


ABOVE_ZERO = Number(min=0, min_open=True)
COUNT = Whole(min=1)


def typed(kind: Kind, value: object) -> Any:
    """A value of a task file as its kind has it; click.BadParameter where it has another type."""
    takes: tuple[type, ...] = kind.takes  # type: ignore[attr-defined]
    if type(value) not in takes:
        wanted = " or ".join(_CALLED[one] for one in takes if one is not int or float not in takes)
        raise click.BadParameter(f"{wanted} is expected, got {_shown(value)}")
    return kind.convert(value, None, None)


_CALLED: dict[type, str] = {
    str: "a text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)[:60]


def words(context: click.Context, option: click.Parameter, value: str | None) -> list[str] | None:
    """The words of a comma-separated option."""
    return [word.strip() for word in value.split(",") if word.strip()] if value else None


def seeds(context: click.Context | None, option: click.Parameter | None, value: str) -> range:
    """The seeds of an option: so many from 0, as 5, or those of a range, as 40-59."""
    first, dash, last = value.partition("-")
    try:
        found = range(int(first), int(last) + 1) if dash else range(int(first))
    except ValueError:
        found = range(0)
    if not found:
        message = f"{value} is neither a number of seeds, as 5, nor a range, as 40-59."
        raise click.BadParameter(message, context, option)
    return found


def home(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """The path of an option with a ``~`` at its beginning written out, as a shell may not do."""
    return os.path.expanduser(value) if value else value


def with_headers_of_environment(said: dict[str, str]) -> dict[str, str]:
    """The headers of CONSILIENCE_HEADERS, a JSON object, and those that were said, which win."""
    found: dict[str, str] = {}
    kept = os.environ.get("CONSILIENCE_HEADERS", "").strip()
    if kept:
        try:
            found = json.loads(kept)
        except ValueError:
            found = {"": ""}
        if not isinstance(found, dict) or not all(
            k and isinstance(v, str) for k, v in found.items()
        ):
            raise click.BadParameter(
                'CONSILIENCE_HEADERS is no JSON object of texts, such as {"x-api-key": "…"}'
            )
    lower = {name.lower() for name in said}
    return {k: v for k, v in found.items() if k.lower() not in lower} | said
