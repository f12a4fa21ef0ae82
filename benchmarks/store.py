"""What a prediction costs in the store: bytes, writing, reading, opening; and how it was before.

    uv run python benchmarks/store.py                        # writes results/store.json
    uv run python benchmarks/store.py --predictions 50000    # fewer; --table prints the table alone
    uv run python benchmarks/store.py --gigabytes 10         # a large one alone: opening, counting

Made up are blocks of 40 questions that share 24 shots, with a response as servers give them: twenty
likeliest tokens. Before, each prediction was one row with its shots, prompt and settings in full,
planned in full, and written in one transaction; that is measured beside it on fewer. Other programs
only ever slow one down: the best of a few times counts where something is repeated, and a second
of CPU is told beside one of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from consilience.data.dataset import Dataset, Example
from consilience.models.base import Answer, Request
from consilience.models.body import parse
from consilience.prompts.framing import Framing, framings, render
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.identities import dump
from consilience.store.opening import APPLICATION_ID, MIGRATIONS
from consilience.store.prediction_keys import prediction_key
from consilience.store.rows import AnswerRows
from consilience.store.schema import TABLES, encode, query_columns

RESULTS = Path(__file__).parent / "results" / "store.json"
SHOTS, BLOCK, BATCH = 24, 40, 256
LONG = 700
"""The words of a text in a large store."""

BEFORE = 5_000
"""So many predictions are written as they were before."""

READ = ("target", "framing", "logprobs", "mass")
"""The columns of Parquet that a reader needs."""


@dataclass
class Server:
    """A model as far as a store knows one."""

    name: str = "openai:tiny"
    style: str = "text"
    settings: dict[str, Any] = field(
        default_factory=lambda: {"endpoint": "completions", "temperature": 0, "logprobs": 20}
    )


MODEL: Any = Server()


def words(draw: random.Random, count: int) -> str:
    """So many words that are made up."""
    return " ".join(
        f"{draw.choice('bdfgklmnprst')}{draw.choice('aeiou')}{draw.randrange(99)}"
        for _ in range(count)
    )


def answer(draw: random.Random, number: int) -> Answer:
    """What a server would say."""
    said = (-draw.expovariate(2), -1 - draw.expovariate(1))
    likeliest = {f" {words(draw, 1)}": -2 - draw.expovariate(0.2) for _ in range(18)}
    top = {" True": said[1], " False": said[0]} | likeliest
    told = {"tokens": [" False"], "token_logprobs": [said[0]], "top_logprobs": [top]}
    usage = {"prompt_tokens": 600 + draw.randrange(60), "completion_tokens": 1}
    choice = {"index": 0, "text": " False", "finish_reason": "length", "logprobs": told}
    raw: dict[str, Any] = {"id": f"cmpl-{draw.getrandbits(96):x}", "object": "text_completion"}
    raw |= {"created": 1_800_000_000 + number // 50, "model": "tiny", "choices": [choice]}
    raw = parse(json.dumps(raw | {"usage": usage}, separators=(",", ":")))
    return Answer(said, (True, True), 0.9 + 0.1 * draw.random(), usage, raw)


def made_up(data: Dataset, framing: Framing) -> Iterator[tuple[str, Request, Answer]]:
    """Predictions without end, block by block."""
    draw, number = random.Random(0), 0
    texts = dict(zip(data.ids, data.texts, strict=True))
    while True:
        shots = tuple((id, draw.randrange(2)) for id in draw.sample(data.ids, SHOTS))
        shown = [(texts[id], label) for id, label in shots]
        for id in draw.sample(data.ids, BLOCK):
            query = Query(id, shots, framing.name, number // len(data))
            prompt = render(framing, texts[id], shown, "text")
            request = Request(query, prompt, framing.label_names)
            yield prediction_key(MODEL, request), request, answer(draw, number)
            number += 1


def size(path: Path) -> int:
    """The bytes of a store that is closed."""
    return path.stat().st_size


def before(made: Iterator[tuple[str, Request, Answer]], path: Path) -> dict[str, float]:
    """The same as it was stored before: bytes a prediction and predictions a second."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    for statement in MIGRATIONS["m001_initial"]:
        db.execute(statement)

    def insert(table: str, values: Sequence[Any]) -> None:
        marks = ", ".join("?" * len(TABLES[table]))
        columns = ", ".join(TABLES[table])
        db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)

    rows = list(islice(made, BEFORE))
    db.execute("BEGIN")
    for position, (key, request, _) in enumerate(rows):
        place = {"run": "x" * 12, "round": 0, "position": position, "key": key}
        insert("plan", encode("plan", place | query_columns(request.query)))
    db.execute("COMMIT")
    used, began = time.process_time(), time.perf_counter()
    for _, request, said in rows:
        # The key was derived again.
        key = prediction_key(MODEL, request)
        db.execute("BEGIN IMMEDIATE")
        *others, _, raw = AnswerRows(MODEL).row(key, request, said, 0.25)
        others[9] = dump(said.logprobs)
        insert("predictions", [*others, dump(request.prompt), raw])
        db.execute("COMMIT")
    took, cpu = time.perf_counter() - began, time.process_time() - used
    db.close()
    return {"bytes": size(path) / BEFORE, "in": BEFORE / took, "in, CPU": BEFORE / cpu}


def written(made: Iterator[tuple[str, Request, Answer]], path: Path, count: int) -> dict[str, Any]:
    """Predictions planned and kept in batches: how fast the fastest tenth and all were."""
    with Store(path) as store:
        data = Dataset("lamps", [Example("a lamp")])
        run = store.start_run(data, MODEL, {}, seed=0)
        rates, whole, cpu = [], 0.0, 0.0
        for round, begun in enumerate(range(0, count, 10 * BATCH)):
            rows = list(islice(made, min(10 * BATCH, count - begun)))
            store.add_round(run, round, [(key, request.query) for key, request, _ in rows])
            used, began = time.process_time(), time.perf_counter()
            model = AnswerRows(MODEL)
            for start in range(0, len(rows), BATCH):
                store.keep(
                    ("predictions", model.row(key, request, said, 0.25))
                    for key, request, said in rows[start : start + BATCH]
                )
            took = time.perf_counter() - began
            whole, cpu = whole + took, cpu + time.process_time() - used
            rates.append(len(rows) / took)
    rates.sort()
    found = {"bytes": size(path) / count, "in": count / whole, "in, best": rates[-1]}
    return found | {"in, CPU": count / cpu}


def grown(path: Path, gigabytes: float) -> int:
    """Copies of its own predictions under new keys, until the file is as large; how many."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA cache_size = -1000000")
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(answers)")][2:]
    (there,) = db.execute("SELECT max(id) FROM answers").fetchone()
    one = size(path) / there
    while (more := min(there, int(gigabytes * 1e9 / one) - there)) > 0:
        db.execute("BEGIN")
        copied = f"SELECT id + ?, key + ?, {', '.join(columns)} FROM answers WHERE id <= ?"
        db.execute(
            "INSERT INTO keys SELECT id + ?, randomblob(32) FROM keys WHERE id <= ?", (there, more)
        )
        db.execute(f"INSERT INTO answers {copied}", (there, there, more))
        packs = "id + ?, count, labels, numbers, responses FROM packs WHERE id + count - 1 <= ?"
        db.execute(f"INSERT INTO packs SELECT {packs}", (there, more))
        db.execute("COMMIT")
        there += more
        one = size(path) / there
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    return there


def forgotten(path: Path) -> None:
    """The system no longer has the file in memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(work: Callable[[], Any]) -> float:
    """The seconds of one time."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_large(gigabytes: float) -> dict[str, Any]:
    """A large store, of long texts: opening it with none of it in memory, and then."""
    draw = random.Random(1)
    data = Dataset("made up", [Example(words(draw, LONG)) for _ in range(1_000)])
    framing = framings(data.task, ["plain"])[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.db"
        written(made_up(data, framing), path, 4_000)
        there = grown(path, gigabytes)
        found: dict[str, Any] = {"predictions": there, "file, MB": size(path) / 1e6}
        kinds = {"write": lambda: Store(path).close()}
        kinds["read"] = lambda: Store(path, readonly=True).close()
        for name, work in kinds.items():
            forgotten(path)
            found[f"seconds to open to {name}, not in memory"] = timed(work)
            found[f"seconds to open to {name}"] = best(work)
        with Store(path, readonly=True) as store:
            found["seconds to count"] = timed(store.stats)
        return found


def best(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """The least seconds of three times, by a clock."""
    taken = []
    for _ in range(3):
        began = clock()
        work()
        taken.append(clock() - began)
    return min(taken)


def measure(count: int) -> dict[str, Any]:
    """All figures, of so many predictions."""
    draw = random.Random(1)
    data = Dataset("made up", [Example(words(draw, 14)) for _ in range(max(count // 8, 200))])
    framing = framings(data.task, ["plain"])[0]
    with tempfile.TemporaryDirectory() as folder:
        old = before(made_up(data, framing), Path(folder) / "before.db")
        path = Path(folder) / "s.db"
        now = written(made_up(data, framing), path, count)
        opened = best(lambda: Store(path).close())
        only_read = best(lambda: Store(path, readonly=True).close())
        with Store(path, readonly=True) as store:
            columns = best(store.columns)
            columns_cpu = best(store.columns, clock=time.process_time)
            sql = "SELECT key FROM predictions LIMIT 20000"
            keys = [key for (key,) in store._rows(sql)]
            objects = len(keys) / best(lambda: store.predictions(keys))
            parquet = Path(folder) / "p.parquet"
            store.export_parquet(parquet)
        table = best(lambda: pq.read_table(parquet, columns=list(READ)))
        return {
            "predictions": count,
            "file, MB": size(path) / 1e6,
            "bytes": {
                "before": old["bytes"],
                "now": now["bytes"],
                "Parquet": size(parquet) / count,
            },
            "in": {"before": old["in"], "before, CPU": old["in, CPU"], "now": now["in"]}
            | {"now, best": now["in, best"], "now, CPU": now["in, CPU"]},
            "out": {
                "as objects": objects,
                "as arrays": count / columns,
                "as arrays, CPU": count / columns_cpu,
                "as arrays, from Parquet": count / table,
            },
            "seconds to open": {"to write": opened, "to read": only_read},
        }


def table(found: dict[str, Any]) -> str:
    """Markdown: a row for each figure, before and now."""
    bytes_, into, out = found["bytes"], found["in"], found["out"]
    opening = found["seconds to open"]
    rows = [
        ("bytes a prediction", f"{bytes_['before']:,.0f}", f"{bytes_['now']:,.0f}"),
        ("bytes a prediction, as Parquet", "", f"{bytes_['Parquet']:,.0f}"),
        ("predictions a second, in", f"{into['before']:,.0f}", f"{into['now']:,.0f}"),
        ("the same, by CPU", f"{into['before, CPU']:,.0f}", f"{into['now, CPU']:,.0f}"),
        ("out, as objects", "", f"{out['as objects']:,.0f}"),
        ("out, as arrays", "", f"{out['as arrays']:,.0f}"),
        ("the same, by CPU", "", f"{out['as arrays, CPU']:,.0f}"),
        ("out, as arrays, from Parquet", "", f"{out['as arrays, from Parquet']:,.0f}"),
        (
            f"milliseconds to open {found['file, MB'] / 1e3:.1f} GB, to write / to read",
            "",
            f"{1e3 * opening['to write']:.0f} / {1e3 * opening['to read']:.0f}",
        ),
    ]
    if large := found.get("large"):
        read, write = (
            f"{1e3 * large[f'seconds to open to {kind}, not in memory']:.0f}"
            for kind in ("read", "write")
        )
        rows.append(
            (
                f"milliseconds to open {large['file, MB'] / 1e3:.1f} GB, {large['predictions']:,} "
                "predictions, none of it in memory, to write / to read",
                "",
                f"{write} / {read}",
            )
        )
        rows.append(("seconds to count all of these", "", f"{large['seconds to count']:.0f}"))
    head = [f"| {found['predictions']:,} predictions | before | now |", "|---|---|---|"]
    lines = [f"| {name} | {old or '–'} | {new} |" for name, old, new in rows]
    return "\n".join([*head, *lines, "", "`uv run python benchmarks/store.py`"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--predictions", type=int, default=2_000_000)
    parser.add_argument("--gigabytes", type=float, help="measure a store of this size, alone")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go")
    given = parser.parse_args()
    if not given.table:
        known = json.loads(given.output.read_text()) if given.output.exists() else {}
        if given.gigabytes:
            found = known | {"large": measure_large(given.gigabytes)}
        else:
            found = measure(given.predictions)
            found |= {"large": known["large"]} if "large" in known else {}
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    shown = json.loads(given.output.read_text())
    print(table(shown) if "bytes" in shown else json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
