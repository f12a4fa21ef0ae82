"""What other packages add by entry points: models, data sets and terms of the objective.

A package declares, say in its pyproject.toml::

    [project.entry-points."consilience.models"]
    mine = "my_package:open_mine"          # open_model("mine:REST") calls open_mine("REST")

    [project.entry-points."consilience.datasets"]
    my-claims = "my_package:MY_CLAIMS"     # a `datasets.source.Source` of that name

    [project.entry-points."consilience.terms"]
    mine = "my_package:my_term"            # a term: a function of a `State`

Nothing is imported before its name is used.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import lru_cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Literal

from consilience.errors import InputError

Extended = Literal["models", "datasets", "terms"]


def plugin_names(kind: Extended, own: Collection[str] = ()) -> tuple[str, ...]:
    """The names that other packages add; InputError where two, or one and the `own`, are alike."""
    names = [point.name for point in _declared(kind, *sys.path)]
    if twice := sorted({name for name in names if names.count(name) > 1 or name in own}):
        raise InputError(f"two packages bring {twice[0]!r} among the {kind}; uninstall one of them")
    return tuple(sorted(names))


def load_plugin(kind: Extended, name: str) -> Any:  # noqa: ANN401 (whatever the other package has)
    """What another package has under that name, None where none has."""
    for point in _declared(kind, *sys.path).select(name=name):
        try:
            return point.load()
        except MemoryError:
            raise
        # Code that is not ours runs here, and may fail in any way.
        except Exception as error:
            raise InputError(
                f"{name!r} of {point.value} could not be imported: {type(error).__name__}: "
                f"{str(error).partition(chr(10))[0]}; reinstall the package that it belongs to"
            ) from error
    return None


# To look through all that is installed takes 20 ms, and a command asks a dozen times.
@lru_cache(maxsize=8)
def _declared(kind: Extended, *path: str) -> EntryPoints:
    """What is declared by the packages on a path."""
    return entry_points(group=f"consilience.{kind}")
