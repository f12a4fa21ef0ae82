"""What the words of a command line become: numbers, lists and mappings, checked first of all."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import click

# As `consilience.models` has them, which loads numpy, and `--help` should not.
LOCAL = ("device", "dtype", "batch", "reuse")
"""What ``--local`` says of a model in this process; its endpoint has an option of its own."""


class Number(click.FloatRange):
    """A finite number in a range."""

    name = "number"

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


ABOVE_ZERO = Number(min=0, min_open=True)
COUNT = Whole(min=1)


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


def settings_of_data(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """The words KEY=VALUE of a repeatable option as a mapping."""
    found: dict[str, str] = {}
    for word in values:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"KEY=VALUE is expected, such as split=test, got {word!r}")
        if key in found:
            raise click.BadParameter(f"{key!r} is set twice; set it once")
        found[key] = value
    return found


def shares(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, float]:
    """The words CLASS=SHARE of a repeatable option as a mapping; a class may hold an = itself."""
    found: dict[str, float] = {}
    for word in values:
        name, equals, value = word.rpartition("=")
        if not name or not equals:
            raise click.BadParameter(f"CLASS=SHARE is expected, such as spam=0.1, got {word!r}")
        if name in found:
            raise click.BadParameter(f"the share of {name!r} is given twice; give it once")
        found[name] = ABOVE_ZERO.convert(value, option, context)
    return found


def settings_of_local(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """The words of ``--local`` as options of `consilience.models.local.open_local`."""
    found: dict[str, Any] = dict(settings_of_data(context, option, values))
    for key, value in found.items():
        if key not in LOCAL:
            raise click.BadParameter(f"{key!r} is none of {', '.join(LOCAL)}")
        if key == "batch":
            found[key] = COUNT.convert(value, option, context)
        if key == "reuse":
            found[key] = click.BOOL.convert(value, option, context)
    return found


def home(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """The path of an option with a ``~`` at its beginning written out, as a shell may not do."""
    return os.path.expanduser(value) if value else value


def headers_of(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """The headers of the environment and of a repeatable option NAME=VALUE, which wins."""
    found: dict[str, str] = {}
    said = os.environ.get("CONSILIENCE_HEADERS", "").strip()
    if said:
        try:
            kept = json.loads(said)
        except ValueError:
            kept = None
        if not isinstance(kept, dict) or not all(isinstance(v, str) for v in kept.values()):
            raise click.BadParameter(
                'CONSILIENCE_HEADERS is no JSON object of texts, such as {"x-api-key": "…"}'
            )
        found |= kept
    for word in values:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise click.BadParameter("NAME=VALUE is expected, such as x-api-key=…")
        found = {k: v for k, v in found.items() if k.lower() != name.lower()} | {name: value}
    return found


def json_object(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """The object of a JSON option."""
    if value is None:
        return None
    try:
        found = json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.BadParameter("a JSON object is expected")
    return found
