"""What a function or an object is called in a record: by its name, what it does and what it holds.

A record that two objectives share would let the run of one go on over the plan of the other.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType

import numpy as np
import torch

from consilience.store.identities import tagged_hash

_LONG = 1000
"""A text of more letters is told by its hash."""

_Within = tuple[int, ...]
"""The ids of what something is a part of: what holds itself is called by its name there."""


def called(thing: object) -> str:
    """What a function or an object is called, the same in every process of one Python version.

    With what it holds, arrays to the last bit, and, of a function or class of the user's own or
    without a name, a hash of its code and of what that names outside of itself.
    """
    return _called(thing, ())


def _called(thing: object, within: _Within) -> str:
    name = getattr(thing, "__qualname__", None)
    if id(thing) in within:
        return str(name or type(thing).__qualname__)
    within = (*within, id(thing))
    if isinstance(thing, partial):
        held = {str(i): value for i, value in enumerate(thing.args)} | thing.keywords
        return f"{_called(thing.func, within)}({_held(held, within)})"
    if isinstance(thing, MethodType):
        return f"{_called(thing.__self__, within)}.{_called(thing.__func__, within)}"
    if name is None:
        text = _value(thing, within)
        return text if len(text) <= _LONG else f"{type(thing).__qualname__} {_hashed(text)}"
    whole = f"{getattr(thing, '__module__', None)}.{name}"
    # What a decorator has made of a function is told by that function.
    inner = thing if isinstance(thing, FunctionType) else getattr(thing, "__wrapped__", thing)
    if not _users(inner, name):
        return whole
    if isinstance(inner, FunctionType):
        return f"{whole} {_hashed(_does(inner, within))}"
    return f"{whole} {_hashed(_class(inner, within))}" if isinstance(inner, type) else whole


def _users(thing: object, name: str) -> bool:
    """Whether a function, class or module is the user's own, or has no name of its own."""
    if isinstance(thing, FunctionType) and "<" in name:
        return True
    module = str(getattr(thing, "__module__", name))
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
    known = ("consilience", *sys.stdlib_module_names)
    return not installed and (module == "__main__" or module.partition(".")[0] not in known)


def _value(thing: object, within: _Within) -> str:
    """What is neither a function nor a class, by all that it holds."""
    kind = type(thing).__qualname__
    if isinstance(thing, torch.Tensor):
        flat = thing.detach().to_dense().cpu().contiguous().reshape(-1)
        return _array(thing.dtype, thing.shape, flat.view(torch.uint8).numpy().tobytes())
    if isinstance(thing, np.ndarray) and not thing.dtype.hasobject:
        return _array(thing.dtype, thing.shape, thing.tobytes())
    if isinstance(thing, np.ndarray):
        return f"{kind}({_each(thing.tolist(), within)})"
    if hasattr(thing, "to_numpy"):  # a table or a column of pandas
        named = [getattr(thing, name, None) for name in ("name", "columns", "index")]
        return f"{kind}({_each([*named, thing.to_numpy()], within)})"
    if isinstance(thing, list):
        return f"[{_each(thing, within)}]"
    if isinstance(thing, tuple):
        return f"({_each(thing, within)})"
    if isinstance(thing, set | frozenset):
        return f"{{{', '.join(sorted(_called(one, within) for one in thing))}}}"
    if isinstance(thing, Mapping):
        pairs = (f"{_called(k, within)}: {_called(v, within)}" for k, v in thing.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(thing, ModuleType):
        return f"module {thing.__name__}"
    return _object(thing, within)


def _object(thing: object, within: _Within) -> str:
    """An object by its class and what is in it, not by its repr, which may leave something out."""
    kind = type(thing)
    if is_dataclass(thing):
        held = {field.name: getattr(thing, field.name) for field in fields(thing)}
    else:
        held = _slots(thing) | getattr(thing, "__dict__", {})
    said = repr(thing)
    # The usual repr of an object is its address.
    if not held and " at 0x" not in said:
        return said
    does = f" {_hashed(_class(kind, within))}" if _users(kind, kind.__qualname__) else ""
    return f"{kind.__qualname__}({_held(held, within)}){does}"


def _slots(thing: object) -> dict[str, object]:
    """What an object keeps in `__slots__`, its own and those of its bases."""
    places = [vars(kind) for kind in type(thing).__mro__ if "__slots__" in vars(kind)]
    names = (name for of in places for name in of if isinstance(of[name], MemberDescriptorType))
    return {name: getattr(thing, name) for name in names if hasattr(thing, name)}


def _array(dtype: object, shape: Iterable[int], content: bytes) -> str:
    return f"{dtype} {tuple(shape)} {sha256(content).hexdigest()[:16]}"


def _each(things: Iterable[object], within: _Within) -> str:
    return ", ".join(_called(one, within) for one in things)


def _held(values: Mapping[str, object], within: _Within) -> str:
    return ", ".join(f"{name}={_called(value, within)}" for name, value in sorted(values.items()))


def _hashed(content: object) -> str:
    return tagged_hash(content).removeprefix("sha256:")[:16]


def _does(function: FunctionType, within: _Within) -> list[object]:
    """What a function does: its code, its defaults, what it closes over and looks up."""
    held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    held += [_content(cell) for cell in function.__closure__ or ()]
    told = [[name, _called(value, within)] for name, value in sorted(_outside(function).items())]
    does = [_code(function.__code__), [_called(one, within) for one in held]]
    return [*does, told] if told else does


def _content(cell: CellType) -> object:
    """What a variable of an enclosing function holds; that variable, where it has no value yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return CellType


def _outside(function: FunctionType) -> dict[str, object]:
    """The globals that a function looks up, and what it may of those that are the user's modules.

    Other modules are told by their names, which are in the code.
    """
    found: dict[str, object] = {}
    for code in _codes(function.__code__):
        steps = dis.get_instructions(code)
        looked_up = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        for name in looked_up & function.__globals__.keys():
            value = function.__globals__[name]
            if not isinstance(value, ModuleType):
                found[name] = value
            elif _users(value, value.__name__):
                there = vars(value)
                found |= {f"{name}.{a}": there[a] for a in code.co_names if a in there}
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code, and those of the functions that it defines."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _class(kind: type, within: _Within) -> list[object]:
    """What the objects of a class do: its functions and values, and its bases."""
    own = {name: getattr(value, "fget", value) for name, value in vars(kind).items()}
    told = {
        name: _called(getattr(value, "__func__", value), within)
        for name, value in sorted(own.items())
        if isinstance(value, FunctionType | staticmethod | classmethod) or name[:2] != "__"
    }
    return [told, [_called(base, within) for base in kind.__bases__]]


def _code(code: CodeType) -> list[object]:
    return [code.co_code.hex(), [*map(_constant, code.co_consts)], list(code.co_names)]


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return _code(value)
    # Sets are in another order in every process.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
