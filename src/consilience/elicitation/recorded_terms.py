"""What a run's record says of its terms, and the terms made of that again."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from types import CodeType, FunctionType
from typing import Any

from consilience.errors import InputError
from consilience.objective.coherence import default_terms, find_term
from consilience.objective.term import Terms
from consilience.store.identities import tagged_hash


def called(thing: object) -> str:
    """What a function or an object is called, the same in every process of one Python version.

    With what a partial function or an object holds, and a hash of the code of what has no name.
    """
    if isinstance(thing, partial):
        held = {str(i): value for i, value in enumerate(thing.args)} | thing.keywords
        return f"{called(thing.func)}({_held(held)})"
    if (name := getattr(thing, "__qualname__", None)) is not None:
        whole = f"{thing.__module__}.{name}"
        if "<" not in name or not isinstance(thing, FunctionType):
            return whole
        return f"{whole} {tagged_hash(_does(thing)).removeprefix('sha256:')[:16]}"
    said = repr(thing)
    # The usual repr of an object is its address.
    return (
        f"{type(thing).__qualname__}({_held(getattr(thing, '__dict__', {}))})"
        if " at 0x" in said
        else said
    )


def terms_from(record: Mapping[str, Any]) -> Terms:
    """The terms of a record, name → (weight, what its function is called).

    InputError where one is not what goes by its name today.
    """
    made = {}
    for name, (weight, function) in record.items():
        made[name] = find_term(name).at(weight)
        if called(made[name].function) != function:
            raise InputError(f"the term {name!r} was {function}, which its name does not give")
    return made


def terms_of_run(record: Mapping[str, Any]) -> Terms:
    """The terms that a run was solved by; the default ones where its record cannot give them back.

    A warning says so then: functions of the user's own are not in a store.
    """
    try:
        return terms_from(record["terms"])
    except InputError as error:
        warnings.warn(
            f"{error}; solved by the default terms, where no `terms` are given", stacklevel=4
        )
        return default_terms()


def _held(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={called(value)}" for name, value in sorted(values.items()))


def _does(function: FunctionType) -> list[object]:
    """What a function does: its code, its defaults and what it closes over."""
    held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        inner = cell.cell_contents
        # By its code alone: a function may close over itself.
        held.append(_code(inner.__code__) if isinstance(inner, FunctionType) else inner)
    return [
        _code(function.__code__),
        [one if isinstance(one, list) else called(one) for one in held],
    ]


def _code(code: CodeType) -> list[object]:
    return [code.co_code.hex(), [*map(_constant, code.co_consts)], list(code.co_names)]


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return _code(value)
    # Sets are in another order in every process.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
