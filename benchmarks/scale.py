"""What a run takes beside the model, by the number of rows: seconds and memory of each stage.

    uv run python benchmarks/scale.py                   # 1,000 to 100,000 rows, results/scale.json
    uv run python benchmarks/scale.py --rows 1000000    # a size more; what was measured stays
    uv run python benchmarks/scale.py --stages plan --again    # one stage anew
    uv run python benchmarks/scale.py --table           # prints the tables of the documentation

Each stage is a process of its own on one thread, which prepares what it needs before it is
measured: a CSV of rows of some twenty words (`load`), their vectors (`embed`), the nearest
neighbours where all rows are one group (`neighbours`), all rounds of a run of 8 calls a row
(`plan`), the same with every prompt written, as before any money is spent (`estimate`), the answers
made into evidence (`read`) and the labels (`solve`). Nothing is asked: answers are drawn around
labels that are known. A stage that needs more memory than --memory is recorded as such.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "scale.json"
FOLDER = Path(__file__).parents[1] / "build" / "scale"
ROWS = (1_000, 10_000, 100_000)
CALLS = 8.0
MEMORY = 14
"""GiB that a stage may take."""

Made = tuple[Callable[[], Any], Callable[[Any], None]]
"""What is measured, and what is done with what comes out of it."""


def write_table(path: Path, rows: int) -> None:
    """A CSV of so many rows: words as frequent as words are, four rows to a thread."""
    rng = np.random.default_rng(rows)
    words = np.array([_word(i) for i in range(30_000)])
    lengths = rng.integers(8, 33, size=rows)
    drawn = np.minimum(rng.zipf(1.2, size=int(lengths.sum())), len(words)) - 1
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("ticket", "message", "thread"))
        at = 0
        for i, length in enumerate(lengths.tolist()):
            text = " ".join(words[drawn[at : at + length]])
            out.writerow((f"T-{i}", f"{text} {i}.", f"thread {i // 4}"))
            at += length


def _word(number: int) -> str:
    """A pronounceable word of that number."""
    syllables = []
    number += 60
    while number:
        number, part = divmod(number, 60)
        syllables.append("bdfgklmnprst"[part % 12] + "aeiou"[part // 12])
    return "".join(syllables)


def dataset(rows: int) -> Any:  # noqa: ANN401
    """The data set of the CSV."""
    import consilience as cs

    task = cs.Task(question="Is the message a complaint?")
    table = FOLDER / f"{rows}.csv"
    return cs.load_dataset(table, text="message", id="ticket", group="thread", task=task)[0]


def load(rows: int) -> Made:
    """The table read, and its fingerprint."""

    def run() -> None:
        assert dataset(rows).fingerprint

    return run, lambda made: None


def embed(rows: int) -> Made:
    """Vectors of the texts."""
    from consilience.planning.embeddings import TfidfSvd

    data = dataset(rows)
    TfidfSvd().embed(["so that", "all is", "loaded before"])
    return lambda: TfidfSvd().embed(data.texts), lambda made: np.save(_vectors(rows), made)


def _vectors(rows: int) -> Path:
    return FOLDER / f"{rows}.npy"


def neighbours(rows: int) -> Made:
    """The pairs that would be proposed where all rows are one group."""
    from consilience.data.dataset import Dataset, Example
    from consilience.elicitation.proposals import candidates

    given = dataset(rows)
    data = Dataset("one group", [Example(text, "all") for text in given.texts])
    vectors = np.load(_vectors(rows))
    return lambda: candidates(data, vectors), lambda made: None


def rounds(data: Any, settings: Any) -> Any:  # noqa: ANN401
    """The rounds of a run in which nothing is ever answered, one after the other."""
    from consilience.elicitation.stages import stage_of
    from consilience.elicitation.state import RunState

    state = RunState(data, settings, 0)
    budget = settings.budget(data)
    while state.planned < budget and (queries := stage_of(state)(state)):
        yield queries
        state.planned += len(queries)
        state.round += 1


def plan(rows: int) -> Made:
    """Every query of a run."""
    from consilience.elicitation.settings import Settings

    data, settings = dataset(rows), Settings(calls_per_example=CALLS)

    def run() -> int:
        return sum(len(queries) for queries in rounds(data, settings))

    return run, lambda made: None


def estimate(rows: int) -> Made:
    """What a run will take: every query planned and every prompt written."""
    import consilience as cs
    from consilience.elicitation import cost
    from consilience.elicitation.settings import Settings
    from consilience.store.database import Store

    data, settings = dataset(rows), Settings(calls_per_example=CALLS)
    model = cs.open_model("simulated:noisy")
    return lambda: cost.estimate(data, model, settings, Store()), lambda made: None


def read(rows: int) -> Made:
    """Answers made into evidence; they are drawn around labels that are known."""
    from consilience.elicitation.settings import Settings
    from consilience.elicitation.state import RunState
    from consilience.store.rows import Prediction

    # Without a search for concepts, which is the same few hundred calls at every size.
    data, settings = dataset(rows), Settings(calls_per_example=CALLS, census=0.0)
    rng = np.random.default_rng(1)
    truth = rng.integers(2, size=rows) * 2.0 - 1
    asked: list[list[Any]] = []
    names, exact, usage = ("False", "True"), (True, True), {"prompt_tokens": 400}
    for r, queries in enumerate(rounds(data, settings)):
        target = np.array([data.index[q.target] for q in queries])
        odds = truth[target] + rng.normal(size=len(queries))
        said = np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], axis=1).tolist()
        asked.append(
            [
                (q, Prediction(f"{r}:{i}", q, names, tuple(two), exact, 1.0, usage, 0.0))
                for i, (q, two) in enumerate(zip(queries, said, strict=True))
            ]
        )

    state = RunState(data, settings)
    # Nothing is made of them before it is asked for.
    for answers in asked:
        state.add(answers)

    def run() -> Any:  # noqa: ANN401
        return state.evidence

    return run, lambda made: None


def solve(rows: int) -> Made:
    """The labels, from all starts."""
    import consilience as cs

    evidence = read(rows)[0]()
    return lambda: cs.solve(evidence), lambda made: None


STAGES: dict[str, Callable[[int], Made]] = {
    stage.__name__: stage for stage in (load, embed, neighbours, plan, estimate, read, solve)
}


def memory() -> float:
    """What this process holds, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(stage: str, rows: int, most: float) -> dict[str, float]:
    """Seconds and memory of a stage, in this process; `before` is what it needs to begin."""
    import torch

    import consilience.elicitation.session  # noqa: F401 (loaded before anything is measured)

    torch.set_num_threads(1)
    limit = int(most * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    run, keep = STAGES[stage](rows)
    gc.collect()
    before = memory()
    began, used = time.perf_counter(), time.process_time()
    # The high-water mark of the process so far is that of the preparation.
    Path("/proc/self/clear_refs").write_text("5")
    made = run()
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    peak = max(before, _high_water())
    keep(made)
    return {
        "seconds": round(seconds, 3),
        "cpu": round(cpu, 3),
        "before": round(before, 1),
        "peak": round(peak, 1),
    }


def _high_water() -> float:
    """The most that this process held since the mark was reset, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return float(line.split()[1]) / 1e3
    raise SystemExit("this system does not say how much memory a process held: VmHWM is missing")


def work(rows: Sequence[int], stages: Sequence[str], again: bool, most: float) -> None:
    """Measures what is not there yet, the small sizes first; what is there stays."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for size in rows:
        if not (table := FOLDER / f"{size}.csv").exists():
            write_table(table, size)
        for stage in stages:
            kept = found.setdefault(stage, {})
            if str(size) in kept and not again:
                continue
            words = [sys.executable, __file__, "--stage", stage, "--rows", str(size)]
            done = subprocess.run(
                [*words, "--memory", str(most)], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                kept[str(size)] = json.loads(done.stdout)
            else:
                lines = done.stderr.strip().splitlines()
                kept[str(size)] = {"failed": lines[-1][:200] if lines else "killed"}
            print(stage, size, kept[str(size)], flush=True)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def exponent(kept: dict[str, dict[str, float]], name: str = "cpu") -> float | None:
    """How a figure grows with the rows: the slope of its logarithm, from 10,000 rows on."""
    sizes = [size for size, row in kept.items() if name in row and int(size) >= 10_000]
    if len(sizes) < 2:
        return None
    x, y = np.log([[float(size), kept[size][name]] for size in sizes]).T
    return float(np.polyfit(x, y, 1)[0])


def table(found: dict[str, Any]) -> str:
    """Seconds of CPU and memory above what was there, by stage and rows."""
    sizes = sorted({int(size) for kept in found.values() for size in kept})
    lines = [
        "| stage | " + " | ".join(f"{size:,} rows" for size in sizes) + " | exponent |",
        "|" + "---|" * (len(sizes) + 2),
    ]
    for stage in STAGES:
        kept = found.get(stage, {})
        cells = [_cell(kept.get(str(size), {})) for size in sizes]
        grown = exponent(kept)
        cells.append("–" if grown is None else f"{grown:.2f}")
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    if "cpu" in row:
        return f"{row['cpu']:,.1f} s, {row['peak'] - row['before']:,.0f} MB"
    return "more than its memory" if "Memory" in row.get("failed", "") else "–"


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parser.add_argument("--memory", type=float, default=MEMORY)
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    given = parser.parse_args()
    if given.stage:
        print(json.dumps(measure(given.stage, given.rows[0], given.memory)))
        return
    if not given.table:
        work(given.rows, given.stages, given.again, given.memory)
    print(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
