"""The parameters of all that a module defines."""

from __future__ import annotations

import inspect
from types import ModuleType


def signatures(of: ModuleType) -> list[tuple[str, inspect.Parameter]]:
    """Every parameter of every function and method that a module defines."""
    found = []
    for name, thing in vars(of).items():
        if getattr(thing, "__module__", None) != of.__name__:
            continue
        functions = [thing] if inspect.isfunction(thing) else []
        if inspect.isclass(thing):
            members = (getattr(m, "__func__", m) for m in vars(thing).values())
            members = (m.fget if isinstance(m, property) else m for m in members)
            functions += [m for m in members if inspect.isfunction(m)]
        for function in functions:
            parameters = inspect.signature(function).parameters.values()
            found += [(f"{name}.{function.__name__}", p) for p in parameters]
    return found
