"""What a whole run takes beside the model: CPU per prediction, of a simulated model on one thread.

    uv run python benchmarks/beside.py                  # 2,000 and 20,000 rows, results/beside.json
    uv run python benchmarks/beside.py --rows 200000    # a size more; what was measured stays
    uv run python benchmarks/beside.py --table          # prints the table of the documentation

A run of 8 calls a row with 16 questions at once, its store on disk; each size is a process of its
own, in which a small run has loaded everything before. The CPU of the model's own answers is
measured as they are given, and not counted. *planning* chooses what is asked, *asking* has prompts,
keys, the event loop and the store, *learning* is what each round makes of the answers, *result* the
labels with their uncertainty. Other programs only ever slow one down: the best of three runs, of
one from 20,000 rows on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "beside.json"
ROWS = (2_000, 20_000)
CALLS = 8.0
PARTS = ("planning", "asking", "learning", "result")


class Clocked:
    """A model whose own CPU is measured."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        self._model = model
        self.name, self.style, self.settings = model.name, model.style, model.settings
        self.answers, self.seconds = 0, 0.0

    async def ask(self, request: Any) -> Any:  # noqa: ANN401
        """Its answer, which it gives without waiting."""
        began = time.process_time()
        answer = await self._model.ask(request)
        self.seconds += time.process_time() - began
        self.answers += 1
        return answer


def measure(rows: int) -> dict[str, float]:
    """Milliseconds of CPU per prediction, by part, and those of the model."""
    from consilience.elicitation.session import Session
    from consilience.elicitation.settings import Settings
    from consilience.models import open_model
    from consilience.models.simulated import world_dataset
    from consilience.results.kept_labels import keep_labels
    from consilience.store.database import Store

    data, model = world_dataset("noisy", rows)[0], Clocked(open_model("simulated:noisy"))
    settings, spent = Settings(calls_per_example=CALLS), dict.fromkeys(PARTS, 0.0)

    def timed(part: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401
        began, own = time.process_time(), model.seconds
        made = work()
        spent[part] += time.process_time() - began - (model.seconds - own)
        return made

    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s.db") as store:
        session = timed("planning", lambda: Session(data, model, store, settings=settings))
        while queries := timed("planning", session.next_queries):
            timed("asking", partial(session.ask, queries))
            timed("learning", session.learn)
        timed("result", lambda: keep_labels(session.found(), store))
    each = {part: 1e3 * seconds / model.answers for part, seconds in spent.items()}
    own = 1e3 * model.seconds / model.answers
    return {"answers": model.answers, "beside": sum(each.values()), "model": own} | each


def best(rows: int) -> dict[str, float]:
    """The quickest of a few runs, after a small one."""
    import torch

    torch.set_num_threads(1)
    measure(60)
    found = [measure(rows) for _ in range(3 if rows < 20_000 else 1)]
    return min(found, key=lambda run: run["beside"])


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown: a row for each size."""
    lines = [
        f"| rows | predictions | beside the model, ms each | {' | '.join(PARTS)} | the model, ms |",
        "|" + "--: |" * (4 + len(PARTS)),
    ]
    for rows, run in sorted(found.items(), key=lambda item: int(item[0])):
        parts = " | ".join(f"{run[part]:.3f}" for part in PARTS)
        lines.append(
            f"| {int(rows):,} | {run['answers']:,} | {run['beside']:.3f} | {parts} | "
            f"{run['model']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(best(given.rows[0])))
        return
    if not given.table:
        found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        for rows in given.rows:
            words = [sys.executable, __file__, "--alone", "--rows", str(rows)]
            said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            found[str(rows)] = json.loads(said)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
