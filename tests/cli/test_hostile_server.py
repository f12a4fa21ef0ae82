"""A server that attacks, through every command that asks one: a line, and nothing believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from command import consilience
from consilience.cli.harmless import ACTING
from consilience.evaluation.benchmark.methods import FREE
from consilience.models.gate import TRIALS
from consilience.models.server import RetryPolicy
from consilience.store.database import Store
from every_command import leaves
from hostile_replies import CHIEF, REPLIES
from made_up import FILE_OPTIONS, claims, write_csv
from odd_server import serve_odd
from raw_server import serve_raw

KEY, GATE, CODE = "sk-very/secret+0123456789", "hush/hush-1234", "quiet-code-5678"
CONCURRENCY = 16
CHEAP = ["--set", "planning.shots=4", "--set", "planning.settled=0", "--set", "planning.census=0"]


class World(NamedTuple):
    """A folder with a table, its finished store, a plan; where its server was, and its run."""

    folder: Path
    port: int
    run: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1?code={CODE}"

    def model(self) -> list[object]:
        said = [f"model.headers.X-Gate={GATE}", f"model.concurrency={CONCURRENCY}"]
        named = ["--model", "openai:tiny", "--base-url", self.url]
        return [*named, *(word for one in said for word in ("--set", one))]


Words = Callable[[World, Path], list[object]]


def _run(calls: int, *more: object) -> Words:
    def words(world: World, here: Path) -> list[object]:
        made = ["run", here / "t.csv", *FILE_OPTIONS, *world.model(), *CHEAP]
        return [*made, "--calls-per-example", calls, *more]

    return words


COMMANDS: dict[str, Words] = {
    "run": _run(3),
    "run, pairs": _run(3, "--set", "relations.propose=2"),
    "run, embeddings": _run(3, "--set", "relations.embed=openai:e"),
    "probe": lambda world, here: ["probe", world.url, "--model", "tiny", *world.model()[4:]],
    "plan": lambda world, here: [
        *("plan", *_run(2)(world, here)[1:], "--output", here / "out.jsonl"),
        *("--store", here / "new.db"),
    ],
    "ask": lambda world, here: ["ask", here / "plan.jsonl", *world.model()],
    "describe": lambda world, here: ["describe", "--run", "RUN", *world.model()],
    "predict": lambda world, here: ["predict", here / "more.csv", "--run", "RUN", *world.model()],
    "predict, grown": lambda world, here: [
        *("predict", here / "grown.csv", "--extend", "--run", "RUN", *world.model()),
    ],
    "rerun": lambda world, here: [
        *("rerun", "RUN", *world.model(), "--into", here / "new.db"),
    ],
    "bench": lambda world, here: [
        *("bench", "--data", "easy", "--seeds", 1, "--budgets", 2, *world.model()),
        *("--methods", "zero-shot", "--output", here / "out.json", "--set", "data.groups=6"),
    ],
}
"""Every command that asks a server, where the store knows the server and where it does not."""


def test_no_command_that_asks_a_server_is_forgotten() -> None:
    asking = {name for name, command in leaves() if asks_a_server(command)}
    assert asking == {name.partition(",")[0] for name in COMMANDS}


def asks_a_server(command: click.Command) -> bool:
    """Whether a command takes the address of a server."""
    taken = {word for param in command.params for word in (*param.opts, param.name)}
    return bool({"--base-url", "base_url"} & taken)


def hurry(monkeypatch: pytest.MonkeyPatch, timeout: float = 10.0) -> None:
    """Makes waits short wherever nobody says otherwise; in all else it is the usual patience."""
    waits = (timeout, RetryPolicy().total, 2, 0.001, 0.01)
    monkeypatch.setattr(RetryPolicy.__init__, "__defaults__", waits)
    assert (RetryPolicy().attempts, RetryPolicy().longest_pause) == (2, 0.01)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("calm")
    rows = claims(16)
    write_csv(rows[:8], folder / "t.csv")
    write_csv(rows[8:], folder / "more.csv")
    write_csv(rows[:12], folder / "grown.csv")
    with serve_odd(lambda request, body, text: None) as server:
        port = int(server.url.split(":")[2].removesuffix("/v1"))
        made = World(folder, port)
        store = ["--store", folder / "s.db"]
        run = [*_run(2)(made, folder), *store]
        consilience(*run, "--output", folder / "l.csv")
        with Store(folder / "s.db", readonly=True) as db:
            made = made._replace(run=db.run().id)
        # Of another run the first round is in the store, and its second is not.
        plan = ["plan", *run[1:], "--seed", 5, "--output", folder / "plan.jsonl"]
        consilience(*plan)
        consilience("ask", folder / "plan.jsonl", *made.model(), *store)
        consilience(*plan)
    return made


def answers(store: Path, texts: bool = True) -> list[str]:
    """The keys of all predictions and texts of a store, each of which proves itself."""
    with Store(store, readonly=True) as db:
        assert db.verify() == []
        tables = ("predictions", "texts") if texts else ("predictions",)
        return sorted(row[0] for t in tables for row in db._db.execute(f"SELECT key FROM {t}"))


def quick(i: int, j: int) -> bool:
    """Whether a pair is one of the few that every day's tests try: each reply once."""
    return i % len(COMMANDS) == j


AS_IF = {("a swapped model", name) for name in ("probe", "plan", "rerun", "bench")}
"""Where nothing was asked before, nobody can know that it is another model."""

PAIRS = [
    pytest.param(name, reply, marks=[] if quick(i, j) else [pytest.mark.slow])
    for i, reply in enumerate(CHIEF)
    for j, name in enumerate(COMMANDS)
    if (reply, name) not in AS_IF
]


@pytest.mark.parametrize(("name", "reply"), PAIRS)
def test_it_ends_in_a_line_and_nothing_is_believed(
    name: str,
    reply: str,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONSILIENCE_API_KEY", KEY)
    hurry(monkeypatch, 0.5 if reply == "a slow drip" else 10.0)
    for file in world.folder.iterdir():
        shutil.copy(file, tmp_path)
    store, log = tmp_path / "s.db", tmp_path / "log.txt"
    words = [world.run if word == "RUN" else word for word in COMMANDS[name](world, tmp_path)]
    if name != "probe" and "--store" not in words:
        words += ["--store", store]
    # Nothing is wrong with a text beside which a number stands that nobody asked for.
    texts = name != "describe" or reply not in ("not a number", "a sum above one")
    before = answers(store, texts)
    made = set(tmp_path.iterdir())
    with serve_raw(REPLIES[reply], world.port) as server:
        done = consilience("--log-file", log, *words, code=1)
    _one_line(done.stderr)
    assert done.stdout == "" or name == "bench", done.stdout
    # A list of prompts that came back with one answer was answered: once it opens the gate anew.
    assert 0 < len(server.asked) <= 2 * CONCURRENCY + TRIALS + 4
    assert all(asked.headers["authorization"] == f"Bearer {KEY}" for asked in server.asked)
    written = {p.name for p in set(tmp_path.iterdir()) - made}
    assert written <= {"new.db", "log.txt", "out.json"}
    # A comparison has rows of the methods that ask nothing, and of no other.
    rows = json.loads((tmp_path / "out.json").read_text())["rows"] if name == "bench" else {}
    assert {row["method"] for row in rows} <= set(FREE)
    # What was answered before is all that there is.
    new = tmp_path / "new.db"
    assert answers(store, texts) == before and (not new.exists() or answers(new) == [])
    shown = [done.stdout, done.stderr]
    shown += [p.read_bytes().decode("latin-1") for p in tmp_path.iterdir()]
    for secret in (KEY, GATE, CODE):
        assert not any(secret in text.replace("\\/", "/") for text in shown)


def test_a_rerun_tells_that_another_model_answers(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    words = ["rerun", world.run, *world.model(), "--into", tmp_path / "new.db"]
    with serve_raw(REPLIES["a swapped model"], world.port):
        done = consilience(*words, "--store", world.folder / "s.db")
    [line] = [line for line in done.stderr.splitlines() if "answered by" in line]
    assert line.startswith("setting answered by: tiny then, another \\x1b]0;taken")
    assert len(line) < 300 and not ACTING.search(done.stderr + done.stdout)


def _one_line(stderr: str) -> None:
    *before, last = stderr.splitlines()
    assert last.startswith("consilience: ") and len(last) < 2_000
    assert not any(line.startswith("consilience: ") for line in before)
    assert "Traceback" not in stderr and "nobody foresaw" not in stderr
    assert not ACTING.search(stderr)
