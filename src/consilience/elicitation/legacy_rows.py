"""The rows of a log that another program kept: two shapes, in three kinds of file.

- *scores*: ``{uid, score, context: [{uid, label}], variations}``, the log-odds of label 1 in nats;
- *probabilities*: ``{context_indices, target_index, llm_pred: [p_yes, p_no]}``, label 1 is yes.

What is not as it should be is an InputError that names the row; nothing is guessed. Only the keys
named here are read (docs/legacy.md lists them), so gold that stands in a row reaches nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from consilience.data.readers import as_text
from consilience.errors import InputError

_PLAIN = "legacy"
"""The framing of an answer whose log names no wording."""

Labels = Mapping[Any, object] | Sequence[object]
"""The labels that stood in the prompts, by uid or by index: 0, 1, true, false, null."""

Said = tuple[float | None, ...]
"""An answer as it stands in the log: (score,) or (p_yes, p_no); None where nothing stands."""


class LogRow(NamedTuple):
    """One row: the target, its shots in order, and an answer for each framing.

    A shot is (uid, label), −1 for a label that is not recorded; `texts` are the texts that the row
    has, as (uid, column, text).
    """

    target: str
    shots: tuple[tuple[str, int], ...]
    answers: tuple[tuple[str, Said], ...]
    texts: tuple[tuple[str, str, str], ...]


class Given(NamedTuple):
    """The labels that were given beside a log; `size` is how many, where they are a list."""

    labels: dict[str, int]
    size: int | None


def read_log_rows(path: Path, labels: str | Path | Labels | None = None) -> list[LogRow]:
    """The rows of a file: a list of them, one on each line, or a list of them on each line.

    `labels`, or a JSON file of them, fill in where the log has none.
    """
    records = _records(path)
    given = _given(labels)
    shape = _shape(*records[0])
    for place, record in records:
        if _shape(place, record) != shape:
            raise InputError(
                f"{place} has another shape than the first row ({shape}); split the file in two"
            )
    read = _scored if shape == "scores" else _weighed
    rows = [read(place, record, given) for place, record in records]
    uids = {uid for row in rows for uid in (row.target, *(shot for shot, _ in row.shots))}
    if given.labels and uids.isdisjoint(given.labels):
        raise InputError(f"no uid of {path} is among the labels; give them by the uids of the log")
    return rows


# ---- a file becomes records ------------------------------------------------------------------


def _records(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Each row of a file, after where it stands as an error says it."""
    text = _text(path)
    try:
        values = [("", json.loads(text))]
    except (ValueError, RecursionError):
        # Not splitlines(): JSON allows other line separators, such as U+2028, inside its strings.
        values = [
            (f" (line {n})", _parsed(line, f"{path}, line {n}"))
            for n, line in enumerate(text.split("\n"), start=1)
            if line.strip()
        ]
    found: list[tuple[str, Mapping[str, Any]]] = []
    for line, value in values:
        for record in _flat(value):
            place = f"{path}, row {len(found) + 1}{line}"
            if not isinstance(record, Mapping):
                raise InputError(f"{place} is {_shown(record)}, expected an object with named keys")
            found.append((place, record))
    if not found:
        raise InputError(f"{path} has no rows; check how it was written")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it as UTF-8") from None


def _parsed(text: str, place: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", error)
        raise InputError(
            f"{place} is not JSON: {reason}; expected one list in the whole file, or an object or "
            "a list on each line"
        ) from None
    return found


def _flat(value: object) -> Iterator[object]:
    """The rows of a value: itself, those of a list, or a row written as a list of its values."""
    match value:
        case [list() as context, int() as target, list() as said]:
            yield {"context_indices": context, "target_index": target, "llm_pred": said}
        case list():
            for item in value:
                yield from _flat(item)
        case _:
            yield value


def _shape(place: str, record: Mapping[str, Any]) -> str:
    scores = "uid" in record or "target_uid" in record
    if scores == ("target_index" in record):
        raise InputError(
            f"{place} has the keys {', '.join(record) or '(none)'}; expected uid, score and "
            "context, or context_indices, target_index and llm_pred"
        )
    return "scores" if scores else "probabilities"


def _given(labels: str | Path | Labels | None) -> Given:
    place = "the labels"
    said: object = labels
    if isinstance(labels, str | Path):
        place, said = str(labels), _parsed(_text(Path(labels)), str(labels))
    if labels is None:
        return Given({}, None)
    if isinstance(said, Mapping):
        return Given({_uid(k, place): _label(v, place) for k, v in said.items()}, None)
    if isinstance(said, str) or not isinstance(said, Sequence):
        raise InputError(f"{place}: {_shown(said)}, expected a list by index or an object by uid")
    return Given({str(i): _label(v, place) for i, v in enumerate(said)}, len(said))


# ---- a record of either shape becomes a row --------------------------------------------------


def _scored(place: str, record: Mapping[str, Any], given: Given) -> LogRow:
    """A row of the shape with scores."""
    context = record.get("context")
    if not isinstance(context, list) or not all(isinstance(shot, Mapping) for shot in context):
        raise InputError(
            f"{place}: `context` is {_shown(context)}, expected a list of objects with uid and "
            "label, [] where nothing was shown"
        )
    target = _uid(record.get("target_uid", record.get("uid")), place)
    shown = [_uid(shot.get("uid"), place) for shot in context]
    labels = [_label(shot.get("label"), place) for shot in context]
    items = [(target, record), *zip(shown, context, strict=True)]
    return LogRow(
        target,
        _shots(shown, labels, given),
        tuple(_answers(place, record)),
        tuple(text for uid, item in items for text in _texts(uid, item)),
    )


def _answers(place: str, record: Mapping[str, Any]) -> Iterator[tuple[str, Said]]:
    """The score of a row, or that of each of its variations, after the name of the framing."""
    name = "raw_logprob_diff" if "raw_logprob_diff" in record else "score"
    score = _number(record.get(name), place, name)
    given = record.get("variations")
    if not given or (type(given) is int and given > 0):  # how many the score is the mean of
        yield _PLAIN, (score,)
    elif isinstance(given, Mapping) and all(isinstance(on, bool) for on in given.values()):
        # How this one query was put, such as {"reversed": false, "reordered": true}.
        flags = ", ".join(sorted(flag for flag, on in given.items() if on))
        yield f"{_PLAIN}: {flags}" if flags else _PLAIN, (score,)
    else:
        found = list(_variations(place, given))
        _check_mean(place, score, [value for _, value in found])
        for called, value in found:
            yield f"{_PLAIN}: {called}", (value,)


def _variations(place: str, given: object) -> Iterator[tuple[str, float | None]]:
    """Name and score of each variation, from numbers or from objects with a `score`."""
    cure = "expected for each a number or an object with its `score`; or take the key out"
    if not isinstance(given, Mapping | list):
        raise InputError(f"{place}: `variations` is {_shown(given)}, {cure}")
    named = given.items() if isinstance(given, Mapping) else enumerate(given, start=1)
    for key, value in named:
        called = key if isinstance(key, str) else f"variation {key}"
        if isinstance(value, Mapping) and "score" in value:
            called, value = str(value.get("name") or called), value["score"]
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise InputError(f"{place}: `variations` has {_shown(value)}, {cure}")
        yield called, _number(value, place, called)


def _check_mean(place: str, score: float | None, found: Sequence[float | None]) -> None:
    """Nothing, or the InputError for a score that is not the mean of its variations."""
    finite = [value for value in (score, *found) if value is not None and math.isfinite(value)]
    if score is None or len(finite) <= len(found):
        return
    mean = math.fsum(finite[1:]) / len(found)
    if abs(mean - score) > 0.02 * max(1.0, abs(score)):
        raise InputError(
            f"{place}: the score {score:g} is not the mean {mean:g} of its variations, each of "
            "which is to be the log-odds of label 1; turn their signs, or take one of the keys out"
        )


def _weighed(place: str, record: Mapping[str, Any], given: Given) -> LogRow:
    """A row of the shape with probabilities."""
    context = record.get("context_indices")
    if not isinstance(context, list):
        raise InputError(
            f"{place}: `context_indices` is {_shown(context)}, expected a list of indices, [] "
            "where nothing was shown"
        )
    target, *shown = (_index(i, place, given.size) for i in (record["target_index"], *context))
    labels = record.get("context_labels")
    if labels is None:
        labels = [None] * len(shown)
    if not isinstance(labels, list) or len(labels) != len(shown):
        raise InputError(
            f"{place}: `context_labels` is {_shown(labels)}, expected {len(shown)} labels, one for "
            "each of `context_indices`"
        )
    return LogRow(
        target,
        _shots(shown, [_label(label, place) for label in labels], given),
        ((_PLAIN, _chances(place, record.get("llm_pred"))),),
        tuple(_texts(target, record)),
    )


def _chances(place: str, said: object) -> Said:
    """(p_yes, p_no)."""
    pair = [None, None] if said is None else said
    if not isinstance(pair, list) or len(pair) != 2:
        raise InputError(f"{place}: `llm_pred` is {_shown(said)}, expected [p_yes, p_no]")
    chances = tuple(_number(p, place, "llm_pred") for p in pair)
    finite = [p for p in chances if p is not None and math.isfinite(p)]
    if any(p < 0 for p in finite) or math.fsum(finite) > 1.001:
        raise InputError(
            f"{place}: `llm_pred` is {_shown(said)}, expected the probabilities of yes and of no, "
            "neither below 0 and no more than 1 together; convert them first"
        )
    return chances


# ---- the cells of a record -------------------------------------------------------------------


def _shots(
    shown: Sequence[str], labels: Sequence[int], given: Given
) -> tuple[tuple[str, int], ...]:
    """Uids with the labels that the log has, else those that were given beside it."""
    return tuple(
        (uid, given.labels.get(uid, -1) if label < 0 else label)
        for uid, label in zip(shown, labels, strict=True)
    )


def _texts(uid: str, item: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for column in ("text", "prompt"):
        if isinstance(text := item.get(column), str) and text.strip():
            yield uid, column, text


def _uid(value: object, place: str) -> str:
    try:
        uid = as_text(value)
    except TypeError:
        uid = None
    if uid is None or isinstance(value, bool):
        raise InputError(f"{place}: the uid {_shown(value)} is neither text nor a number")
    return uid


def _index(value: object, place: str, size: int | None) -> str:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{place}: the index {_shown(value)} is not a whole number from 0")
    if size is not None and value >= size:
        raise InputError(f"{place}: the index {value} is out of range, there are {size} labels")
    return str(value)


def _label(value: object, place: str) -> int:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return -1
    if isinstance(value, int | float) and value in (0, 1):
        return int(value)
    raise InputError(
        f"{place}: the label {_shown(value)} is none of 0, 1, true, false and null (not recorded)"
    )


def _number(value: object, place: str, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{place}: `{name}` is {_shown(value)}, expected a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: object) -> str:
    """A value as an error quotes it: JSON, cut short."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
