"""A table whose texts, ids, columns and classes attack, through every command: nothing acts."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

import pytest

from command import consilience
from consilience.cli.harmless import ACTING
from every_command import leaves
from hostile import HOSTILE

ESCAPES = (
    "\x1b]0;taken\x07 a title",
    "\x1b[2J\x1b[31m red",
    "left \u202e thgir",
    "\x9b31m eight bit",
)
TEXTS = [t + " " * n for n in range(2) for t in (*HOSTILE, *ESCAPES) if "\x00" not in t]
pytestmark = pytest.mark.slow

COLUMN, CLASSES = "te\x1b[7mxt", ["n\x1b[31mo", "y\u202ees"]
MODEL = ["--model", "simulated:noisy"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table, its store, and landmarks."""
    made = tmp_path_factory.mktemp("hostile")
    with (made / "t.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([COLUMN, "key", "gold"])
        for i, text in enumerate(TEXTS):
            rows.writerow([text, f"\x1b[5m{i}", CLASSES[i % 2]])
    with (made / "m.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["key", "label"])
        rows.writerows([f"\x1b[5m{i}", CLASSES[i % 2]] for i in range(12))
    words = ["run", made / "t.csv", *task(), *MODEL, "--store", made / "s.db"]
    spent = ["--calls-per-example", 4, "--set", "planning.shots=4"]
    quiet(consilience(*words, *spent, "--output", made / "l.csv").stderr)
    plan = ["plan", *words[1:], "--store", made / "p.db", "--output", made / "plan.jsonl"]
    quiet(consilience(*plan).stderr)
    consilience("store", "export", made / "s.db", made / "all.jsonl")
    answers = [{"custom_id": f"sha256:{text}", "error": {"message": text}} for text in TEXTS]
    (made / "answers.jsonl").write_text("\n".join([*map(json.dumps, answers), *ESCAPES]), "utf-8")
    return made


def task() -> list[object]:
    names = ["--classes", ",".join(CLASSES)]
    return ["--text", COLUMN, "--id", "key", "--question", "Which \x1b[1mone?", *names]


def settings() -> list[object]:
    """The task, for a command that has no options for it."""
    said = [f"data.text={COLUMN}", "data.label=gold", "task.question=Which \x1b[1mone?"]
    return [w for one in [*said, f"task.classes={','.join(CLASSES)}"] for w in ("--set", one)]


def quiet(text: str) -> None:
    found = ACTING.search(text.replace("\u200d", ""))
    assert found is None, text[max(0, found.start() - 60) : found.end() + 20]


def commands(folder: Path) -> dict[str, list[object]]:
    store, new = ["--store", folder / "s.db"], folder / "t.csv"
    with sqlite3.connect(folder / "s.db") as db:
        (key,) = db.execute("SELECT key FROM predictions LIMIT 1").fetchone()
        (run,) = db.execute("SELECT id FROM runs LIMIT 1").fetchone()
    db.close()
    told = {
        "dry run": ["run", new, *task(), *MODEL, "--dry-run"],
        "plan": ["plan", new, *task(), *MODEL, "--calls-per-example", 4],
        "evaluate": ["evaluate", new, *task(), "--label", "gold", *store],
        "explain": ["explain", "\x1b[5m3", *store],
        "predict": ["predict", new, *MODEL, *store],
        "estimate": ["estimate", "--landmarks", folder / "m.csv", *store],
        "show": ["store", "show", folder / "s.db", key],
        "rerun": ["rerun", run, *store, "--into", folder / "again.db"],
        "repair": ["store", "repair", folder / "s.db", folder / "repaired.db"],
        "lines": ["store", "export", folder / "s.db", folder / "s.jsonl"],
        "report": ["report", *store, "--output", folder / "r.html"],
        "data": ["datasets", "show", new, *task()],
        "audit": ["datasets", "audit", new, *task(), "--label", "gold"],
        "init": ["init", new, "--output", folder / "new.toml", "--force"],
        "ask": ["ask", folder / "plan.jsonl", *MODEL],
        "describe": ["describe", "--model", "local:pocket", *store, "--run", run],
        "import": ["store", "import", folder / "imported.db", folder / "all.jsonl"],
        "weights": ["weights", *store, "--run", run],
        "ingest": ["store", "ingest", folder / "answers.jsonl", *store],
        "bench": [
            *("bench", "--data", new, *MODEL, "--methods", "zero-shot", "--budgets", 2),
            *("--seeds", 1, "--output", folder / "bench.json", *settings()),
        ],
    }
    for name in ("solve", "concepts", "review", "landmarks", "evidence"):
        told[name] = [name, *store, *(["--count", 12] if name in ("review", "landmarks") else [])]
    for name in ("stats", "runs", "sources", "verify", "gc"):
        told[name] = ["store", name, folder / "s.db"]
    for form in ("sft", "dpo", "reward", "chat"):
        told[form] = ["export", folder / f"{form}.jsonl", "--format", form, *store]
    return told


NAMES = (
    *("dry run", "plan", "evaluate", "explain", "predict", "estimate", "show", "rerun", "repair"),
    *("lines", "report", "data", "solve", "concepts", "review", "landmarks", "evidence"),
    *("audit", "init", "ask", "describe", "import", "weights", "ingest", "bench"),
    *("stats", "runs", "sources", "verify", "gc", "sft", "dpo", "reward", "chat"),
)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_acts_on_a_terminal(name: str, folder: Path) -> None:
    assert tuple(sorted(commands(folder), key=NAMES.index)) == NAMES
    # So few rows have no census, which is a line too.
    done = consilience(*commands(folder)[name], code=2 if name == "concepts" else 0)
    quiet(done.stderr)
    # Labels and sentences go into a pipe as into a file, and prompts as they are sent.
    if name not in ("solve", "predict", "review", "landmarks", "data", "describe"):
        quiet(done.stdout)


OWN = {"demo", "probe", "legacy", "datasets list"}
"""Commands that show texts of the package's own, of a server, or of another program's log."""


def test_no_command_that_reads_texts_is_forgotten(folder: Path) -> None:
    tried = [" ".join(map(str, words)) + " " for words in commands(folder).values()]
    names = [name for name, _ in leaves()]
    assert {n for n in names if not any(t.startswith(f"{n} ") for t in tried)} == OWN


@pytest.mark.parametrize("name", ["evaluate", "explain", "estimate", "solve", "evidence", "show"])
def test_nothing_acts_in_json(name: str, folder: Path) -> None:
    done = consilience(*commands(folder)[name], *([] if name == "show" else ["--json"]))
    assert json.loads(done.stdout)
    quiet(done.stdout)


def test_the_texts_come_back_as_they_were(folder: Path) -> None:
    with (folder / "l.csv").open(encoding="utf-8", newline="") as file:
        back = list(csv.DictReader(file))
    # A cell that begins as a formula does has an apostrophe before it.
    texts = [
        row[COLUMN].removeprefix("'") if row[COLUMN][:2] == "'=" else row[COLUMN] for row in back
    ]
    assert [t.replace("\r\n", "\n") for t in texts] == TEXTS
    assert {row["label"] for row in back} <= set(CLASSES)
