"""What SIGKILL at a random moment costs: commands killed, looked at, and run again to their end.

    uv run python benchmarks/kills.py               # 300 kills, writes results/kills.json
    uv run python benchmarks/kills.py --kills 10    # fewer; --table prints the table alone

Killed are a `run` on a server (also while it is imported), `store export`, `store import`, and the
opening of an old store, which brings it up to date. The server is a process of its own that logs
each question; what it was asked is counted there. A prediction that is in the store after the kill
may not be asked again, and what was asked and is not in the store may be no more than was under
way. The same command then has to end with the same bytes as where nothing was killed.

All but the kills during import are of a fork of this process, which has everything loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HELPERS = HERE.parent / "tests" / "helpers"
sys.path.insert(0, str(HELPERS))

from command import consilience  # noqa: E402
from consilience.cli import ended  # noqa: E402 (the helpers are no package)
from consilience.store.database import Store  # noqa: E402
from made_up import FILE_OPTIONS, claims, write_csv  # noqa: E402
from old_store import write_old  # noqa: E402

RESULTS = HERE / "results" / "kills.json"
AT_ONCE = 4
SHARES = {"run": 4, "import of the package": 1, "export": 1, "import": 1, "migration": 1}
"""In which proportion what is killed."""


class Setting:
    """A folder, a server, and what comes out where nothing is killed."""

    def __init__(self, folder: Path, url: str, log: Path) -> None:
        self.folder, self.log, self.read = folder, log, 0
        self.data = write_csv(claims(), folder / "claims.csv")
        self.url = url
        self.whole = folder / "whole.db"
        self.spans: dict[str, float] = {}
        # In this process, so that its forks have everything loaded.
        consilience(*self.run_words(self.whole, folder / "whole.csv"))
        began = time.monotonic()
        self.finish(self.run_words(folder / "timed.db", folder / "timed.csv"))
        self.spans["run"] = time.monotonic() - began
        self.labels = (folder / "whole.csv").read_bytes()
        self.lines = folder / "whole.jsonl"
        began = time.monotonic()
        self.finish(["store", "export", self.whole, self.lines])
        self.spans["export"] = time.monotonic() - began
        began = time.monotonic()
        self.finish(["store", "import", folder / "copy.db", self.lines])
        self.spans["import"] = time.monotonic() - began
        self.old = self.as_before(folder / "old.db")
        began = time.monotonic()
        Store(shutil.copy(self.old, folder / "new.db")).close()
        self.spans["migration"] = 0.2 + time.monotonic() - began
        self.spans["import of the package"] = _import_time()
        self.asked()

    def run_words(self, store: Path, output: Path) -> list[object]:
        """The command that labels the claims."""
        return [
            *("run", self.data, *FILE_OPTIONS, "--model", "openai:tiny", "--base-url", self.url),
            *("--store", store, "--output", output, "--calls-per-example", 5),
            *("--set", "planning.settled=0", "--set", "planning.shots=4"),
            *("--set", "planning.block=6", "--set", f"model.concurrency={AT_ONCE}"),
        ]

    def as_before(self, path: Path) -> Path:
        """The store as the first version would have left it."""
        return write_old(self.lines, path, ["m001_initial"])

    def asked(self) -> list[str]:
        """The prompts about claims that the server was asked since this was called last."""
        with self.log.open() as file:
            file.seek(self.read)
            text = file.read()
            self.read = file.tell()
        bodies = [json.loads(line)["body"] or {} for line in text.splitlines()]
        prompts = [body["prompt"] for body in bodies if "logprobs" in body and "prompt" in body]
        return [prompt for prompt in prompts if "lives at" in str(prompt)]

    def finish(self, words: list[object]) -> None:
        """A command, run to its end."""
        _, status = os.waitpid(forked(words), 0)
        if status:
            raise SystemExit(f"{words[:3]} ended with {status}")


def _import_time() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import consilience.elicitation.session"], check=True)
    return time.monotonic() - began


def forked(words: list[object]) -> int:
    """The process id of a command, run in a fork of this process."""
    if pid := os.fork():
        return pid
    code = 70
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        sys.argv = ["consilience", *map(str, words)]
        code = ended()
    finally:
        os._exit(code)


def kill(pid: int, after: float) -> bool:
    """Kills a process after a time; whether it was still running."""
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def kept(store: Path) -> set[str]:
    """The prompts of the predictions in a store that proves itself; none where there is none."""
    if not store.exists() or not store.stat().st_size:
        return set()
    with Store(store) as db:
        faults = db.verify()
    if faults:
        raise SystemExit(f"{store}: {faults[0]}")
    with closing(sqlite3.connect(store)) as read:
        rows = read.execute("SELECT prompt FROM predictions").fetchall()
    return {json.loads(prompt) for (prompt,) in rows}


def killed_run(here: Setting, folder: Path, after: float, cold: bool) -> dict[str, Any]:
    """One run, killed, and the same command again."""
    store, output = folder / "s.db", folder / "labels.csv"
    words = here.run_words(store, output)
    if cold:
        command = [sys.executable, "-m", "consilience", *map(str, words)]
        null = subprocess.DEVNULL
        pid = subprocess.Popen(command, stdout=null, stderr=null).pid
    else:
        pid = forked(words)
    was_running = kill(pid, after)
    time.sleep(0.02)
    before, there = here.asked(), kept(store)
    here.finish(words)
    again = here.asked()
    return {
        "killed": was_running,
        "asked": len(before),
        "kept": len(there & set(before)),
        "under way": len(set(before) - there),
        "asked twice": len(set(before) & set(again)),
        "lost": len(there & set(again)),
        "same": output.read_bytes() == here.labels,
    }


def killed_export(here: Setting, folder: Path, after: float) -> dict[str, Any]:
    """A file is whole or is not there."""
    output = folder / "s.jsonl"
    words: list[object] = ["store", "export", here.whole, output]
    was_running = kill(forked(words), after)
    half = output.exists() and output.read_bytes() != here.lines.read_bytes()
    here.finish(words)
    same = output.read_bytes() == here.lines.read_bytes() and not half
    return {"killed": was_running, "lost": 0, "same": same}


def killed_import(here: Setting, folder: Path, after: float) -> dict[str, Any]:
    """All rows came over or none; then all of them."""
    store, again = folder / "s.db", folder / "again.jsonl"
    words: list[object] = ["store", "import", store, here.lines]
    was_running = kill(forked(words), after)
    some = len(kept(store))
    here.finish(words)
    everything = len(kept(store))
    here.finish(["store", "export", store, again])
    same = again.read_bytes() == here.lines.read_bytes() and some in (0, everything)
    return {"killed": was_running, "lost": 0, "same": same}


def killed_migration(here: Setting, folder: Path, after: float) -> dict[str, Any]:
    """An old store is opened for writing, killed, and then has all it had; its run goes on."""
    store = Path(shutil.copy(here.old, folder / "s.db"))
    had = kept(Path(shutil.copy(here.old, folder / "before.db")))
    output = folder / "labels.csv"
    words = here.run_words(store, output)
    was_running = kill(forked(words), after)
    here.asked()
    lost = len(had - kept(store))
    here.finish(words)
    lost += len(here.asked())
    return {"killed": was_running, "lost": lost, "same": output.read_bytes() == here.labels}


WAYS: dict[str, Callable[[Setting, Path, float], dict[str, Any]]] = {
    "import of the package": partial(killed_run, cold=True),
    "run": partial(killed_run, cold=False),
    "export": killed_export,
    "import": killed_import,
    "migration": killed_migration,
}


@contextmanager
def asked_server(folder: Path) -> Iterator[tuple[str, Path]]:
    """A server in a process of its own, and its log."""
    log = folder / "log"
    words = [sys.executable, str(HELPERS / "wire_server.py"), "--log", str(log), "--world"]
    process = subprocess.Popen([*words, "--delay", "20"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), log
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def measure(kills: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """So many kills, of what and when drawn by a seed; what ended before it was killed is more."""
    draw = random.Random(seed)
    names = [name for name, share in SHARES.items() for _ in range(share)]
    with tempfile.TemporaryDirectory() as path, asked_server(Path(path)) as (url, log):
        here = Setting(Path(path), url, log)
        done, number = 0, -1
        while done < kills:
            number += 1
            what = names[number % len(names)]
            folder = Path(path) / str(number)
            folder.mkdir()
            after = draw.uniform(0, 0.95 * here.spans[what])
            began = time.monotonic()
            found = WAYS[what](here, folder, after)
            done += found["killed"]
            took = round(time.monotonic() - began, 2)
            yield {"what": what, "after": round(after, 3), **found, "seconds": took}
            shutil.rmtree(folder)


def table(found: list[dict[str, Any]]) -> str:
    """Markdown, a row for each kind of kill."""
    head = ["killed", "kills", "ended before it", "asked before", "lost", "asked twice"]
    head += ["most under way", "same bytes after"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for what in (*SHARES, "all"):
        mine = [one for one in found if what in (one["what"], "all")]
        cells: list[object] = [
            what,
            sum(one["killed"] for one in mine),
            sum(not one["killed"] for one in mine),
            sum(one.get("asked", 0) for one in mine),
            sum(one["lost"] for one in mine),
            sum(one.get("asked twice", 0) for one in mine),
            max((one.get("under way", 0) for one in mine), default=0),
            f"{sum(one['same'] for one in mine)} of {len(mine)}",
        ]
        lines.append("| " + " | ".join(f"{cell}" for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table, kill nothing")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go")
    given = parser.parse_args()
    if not given.table:
        found = []
        for one in measure(given.kills):
            found.append(one)
            print(one, flush=True)
            given.output.write_text(json.dumps(found, indent=1) + "\n")
    print(table(json.loads(given.output.read_text())))


if __name__ == "__main__":
    main()
