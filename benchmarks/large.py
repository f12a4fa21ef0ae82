"""Labels found from ten million predictions: how long it takes, and in how much memory.

    uv run python benchmarks/large.py                    # measures, writes results/large.json
    uv run python benchmarks/large.py --labels 1000000   # one size; the others stay
    uv run python benchmarks/large.py --table            # prints the table of the documentation

Each row is a process of its own: ten predictions a label, of which nine showed ten shots, either
lists that blocks of 40 targets share, as a run makes them, or each prediction its own (see
`made_evidence`). Times are those of the processor, of all threads together, and wall time beside
them, and are given in times that it takes to add up every array of the evidence once. Memory is
what the process held at its most during the solve, as the system counts it (ru_maxrss), less what
it held before, above and beside the arrays: 1.0 is the arrays alone.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "large.json"
LABELS = (10_000, 100_000, 1_000_000)
CALLS, SHOTS = 10, 10
LISTS = {"shared": 40, "own": 1}
"""How many targets share a list of shots."""


def measure(labels: int, lists: str, threads: int) -> dict[str, Any]:
    """One row, in this process."""
    import torch
    from made_evidence import make_evidence, tensors

    from consilience.objective.coherence import default_terms
    from consilience.solvers.fixed_point import Problem, slope
    from consilience.solvers.solution import solve
    from consilience.solvers.starts import draw

    torch.set_num_threads(threads)
    evidence, truth = make_evidence(
        labels, tied=False, calls=CALLS, shots=SHOTS, block=LISTS[lists]
    )
    small, _ = make_evidence(100, tied=False)
    solve(small)  # what is loaded once is not counted
    gc.collect()
    # What was freed is given back, or the solve would use it again and seem to need less.
    ctypes.CDLL(None).malloc_trim(0)
    size = sum(array.numel() * array.element_size() for array in tensors(evidence))
    before = _resident()
    # The high-water mark of the process so far is that of making the evidence.
    Path("/proc/self/clear_refs").write_text("5")
    solved = _timed(lambda: solve(evidence), 1)
    peak = _high_water()
    found = solve(evidence) if labels <= LABELS[0] else solved["value"]
    problem = Problem(evidence, default_terms())
    theta = draw(evidence, 1, 0, None)
    conditioned = problem.condition(torch.log_softmax(theta, dim=-1))
    objective = problem.objective(conditioned)
    tasks: dict[str, Callable[[], Any]] = {
        "read": lambda: [array.sum() for array in tensors(evidence)],
        "objective": lambda: slope(objective, theta),
        "conditioning": lambda: problem.condition(theta),
    }
    row = {name: _timed(task, 5) for name, task in tasks.items()} | {"solve": solved}
    return {
        "labels": labels,
        "lists": lists,
        "threads": threads,
        "predictions": evidence.t,
        "shots": len(evidence.shots),
        "bytes": size,
        "memory": (peak - before + size) / size,
        "peak": peak,
        "conditionings": found.stats.conditionings,
        "accuracy": float((found.labels.argmax(axis=1) == truth).mean()),
        "cpu": {name: timed["cpu"] for name, timed in row.items()},
        "wall": {name: timed["wall"] for name, timed in row.items()},
    }


def _timed(task: Callable[[], Any], times: int) -> dict[str, Any]:
    """The least of several times, and what came out of the last."""
    cpu, wall = [], []
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        value = task()
        cpu.append(time.process_time() - used)
        wall.append(time.perf_counter() - began)
    return {"cpu": min(cpu), "wall": min(wall), "value": value}


def _resident() -> int:
    """The bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _high_water() -> int:
    """The most bytes that it held since the mark was set back."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each size, kind of lists and number of threads."""
    head = (
        "labels",
        "predictions",
        "shots",
        "threads",
        "arrays",
        "adding them up once",
        "objective and gradient",
        "conditioning once",
        "conditionings",
        "solve, processor",
        "wall",
        "memory",
    )
    lines = [f"| {' | '.join(head)} |", "| --: " * len(head) + "|"]
    for row in sorted(rows, key=lambda r: (r["labels"], r["shots"], r["threads"])):
        cpu = row["cpu"]
        cells = (
            f"{row['labels']:,}",
            f"{row['predictions']:,}",
            f"{row['shots']:,}, {row['lists']}",
            f"{row['threads']}",
            f"{row['bytes'] / 1e6:,.0f} MB",
            f"{1e3 * cpu['read']:.1f} ms",
            f"{cpu['objective'] / cpu['read']:.1f} ×",
            f"{cpu['conditioning'] / cpu['read']:.0f} ×",
            f"{row['conditionings']}",
            f"{cpu['solve']:.1f} s",
            f"{row['wall']['solve']:.1f} s",
            f"{row['memory']:.2f} × arrays",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures each row in a process of its own, and keeps it at once; or prints the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--labels", type=int, nargs="+", default=list(LABELS))
    parser.add_argument("--lists", choices=list(LISTS), nargs="+", default=list(LISTS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.labels[0], given.lists[0], given.threads[0])))
        return
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    wanted = [(n, kind, t) for n in given.labels for kind in given.lists for t in given.threads]
    for n, kind, threads in [] if given.table else wanted:
        words = ["--labels", str(n), "--lists", kind, "--threads", str(threads), "--one"]
        done = subprocess.run(
            [sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True
        )
        row = json.loads(done.stdout)
        kept = [r for r in kept if (r["labels"], r["lists"], r["threads"]) != (n, kind, threads)]
        kept.append(row)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        print(json.dumps(row), flush=True)
    print(table(kept))


if __name__ == "__main__":
    main()
