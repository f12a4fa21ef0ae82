"""The table form of a batch, Parquet, for engines that read rows and know no server's format.

Out go the columns prediction_id, `messages` or `prompt` (the other is null), label_names, and
label_token_ids: for each label the ids of its spellings that are one token after this prompt, null
where no tokenizer could be asked. Back come prediction_id, logprobs (nats, one for each label) and
mass, and where they are known usage and exact (False: the value is an upper bound).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from consilience.data.whole_file import whole_file
from consilience.errors import AnswerError, InputError
from consilience.models.base import Answer, Request, plain_usage

TokenIds = Sequence[Sequence[int] | None]
"""For each label the ids that stand for it; None where that is not known."""


def is_table(path: str | Path) -> bool:
    """Whether a file is a table, by its suffix."""
    return Path(path).suffix.lower() == ".parquet"


def write_questions(rows: Sequence[tuple[str, Request, TokenIds]], path: Path) -> None:
    """Writes requests, each with its key and the ids of its labels; InputError where it cannot."""
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.string()
    message = pa.struct([("role", text), ("content", text)])
    schema = pa.schema(
        [
            ("prediction_id", text),
            ("messages", pa.list_(message)),
            ("prompt", text),
            ("label_names", pa.list_(text)),
            ("label_token_ids", pa.list_(pa.list_(pa.int64()))),
        ]
    )
    made = [
        {
            "prediction_id": key,
            "messages": None if isinstance(request.prompt, str) else request.prompt,
            "prompt": request.prompt if isinstance(request.prompt, str) else None,
            "label_names": request.label_names,
            "label_token_ids": ids,
        }
        for key, request, ids in rows
    ]
    try:
        with whole_file(path) as file:
            parquet.write_table(pa.Table.from_pylist(made, schema=schema), file)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def read_answers(path: Path) -> Iterator[tuple[str, str, Answer | AnswerError]]:
    """The rows of a table of answers: where each is, its key, and the answer or what is wrong.

    InputError for a file that is no such table.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            if missing := {"prediction_id", "logprobs", "mass"} - set(file.schema_arrow.names):
                raise InputError(f"{path} is no table of answers: it lacks {min(missing)}")
            number = 0
            for batch in file.iter_batches(1_000):
                for row in batch.to_pylist():
                    number += 1
                    where = f"{path}, row {number}"
                    yield where, str(row["prediction_id"]), _answer(row, where)
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be read as Parquet: {said}") from error


def _answer(row: Mapping[str, Any], where: str) -> Answer | AnswerError:
    try:
        logprobs = tuple(float(value) for value in row["logprobs"])
        exact = row.get("exact")
        marks = tuple(map(bool, exact)) if exact is not None else (True,) * len(logprobs)
        return Answer(logprobs, marks, float(row["mass"]), plain_usage(row.get("usage") or {}))
    except (TypeError, ValueError, AttributeError) as error:
        return AnswerError(f"{where} has no log-probabilities that are numbers ({error})")
