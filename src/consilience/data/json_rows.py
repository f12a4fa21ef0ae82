"""Rows of JSON files: a list of objects, one object on each line, or a list inside one object.

The fields of an object in a row are columns beside it, called by the way to them: `ticket.body`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from consilience.data.columns import refuse_twins
from consilience.data.files import File, encoding, lines
from consilience.errors import InputError

CURE = "a file with one object on each line is called .jsonl"


def named(record: object, place: str) -> dict[str, Any]:
    """A row with names of columns that are text; InputError where it is none or loses a cell."""
    if not isinstance(record, Mapping):
        raise InputError(
            f"{place} is a {type(record).__name__}, expected an object with named columns, "
            'such as {"text": "…"}'
        )
    made = {str(name): value for name, value in record.items()}
    if len(made) < len(record):
        refuse_twins(record, place)
    return made


def line_rows(file: File, at: list[int]) -> Iterator[dict[str, Any]]:
    """The rows of a file of JSON lines; the line of each is put into `at`."""
    # JSON allows other line separators, such as U+2028, inside its strings.
    for line, text in enumerate(lines(file, encoding(file)), start=1):
        if text.strip():
            place = f"{file.name}, row {len(at) + 1}"
            record = _parsed(text.rstrip(), place, line, "each line holds one object")
            at.append(line)
            yield named(_flat(record, place), f"{place} (line {line})")


def list_rows(file: File) -> Iterator[dict[str, Any]]:
    """The rows of a file that is one list of objects, or one object with one such list in it."""
    parsed = _parsed("".join(lines(file, encoding(file))), file.name, 1, CURE)
    if isinstance(parsed, Mapping):
        parsed = _unwrapped(parsed, file.name)
    if not isinstance(parsed, list):
        raise InputError(
            f"{file.name} holds one {type(parsed).__name__}, expected a list of objects; {CURE}"
        )
    for i, item in enumerate(parsed, start=1):
        yield named(_flat(item, f"{file.name}, row {i}"), f"{file.name}, row {i}")


def _flat(record: object, place: str) -> object:
    """A record with the fields of its objects as columns of their own, after what it holds."""
    if not isinstance(record, Mapping) or not any(isinstance(v, Mapping) for v in record.values()):
        return record
    fields: list[tuple[str, Any]] = []
    for name, value in record.items():
        if isinstance(inner := _flat(value, place), Mapping):
            fields += [(f"{name}.{field}", within) for field, within in inner.items()]
    return _object(place, [*record.items(), *fields])


def _unwrapped(parsed: Mapping[str, Any], name: str) -> Sequence[object]:
    """The only list of objects in an object; InputError where there is none, or one of several."""
    tables = {
        key: value
        for key, value in parsed.items()
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value)
    }
    if len(tables) == 1:
        return next(iter(tables.values()))
    if tables:
        raise InputError(
            f"{name} holds one object with several lists of objects ({', '.join(tables)}); save "
            "the one to label in a file of its own"
        )
    if parsed and all(isinstance(value, list | Mapping) for value in parsed.values()):
        raise InputError(
            f"{name} holds columns ({', '.join(list(parsed)[:5])}), expected rows: a list with an "
            'object for each; with pandas, to_json(path, orient="records")'
        )
    raise InputError(
        f"{name} holds one object, expected a list of objects; if it is the only row, save it "
        "as .jsonl"
    )


def _parsed(text: str, place: str, line: int, cure: str) -> object:
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=partial(_object, place))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{place} (line {line + error.lineno - 1}) is not JSON: {error.msg} at character "
            f"{error.colno}; {cure}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} (line {line}) cannot be used: {error}; correct it") from None


def _object(place: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):  # one of the values would be lost
        refuse_twins((name for name, _ in pairs), place)
    return made
