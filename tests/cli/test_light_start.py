"""What starts at once: a command that has little to do, or refuses its input, loads little."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "pandas", "scipy", "sklearn", "pyarrow", "transformers", "datasets"}

RUN = """
import contextlib, io, json, sys
done, before = [], set(sys.modules)
from consilience.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv, code, said = ["consilience", *words], 0, io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            code = end.code
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    done.append([code, sorted(loaded), said.getvalue()])
    before |= set(sys.modules)
sys.stdout.write("\\n" + json.dumps(done))
"""


def started(*commands: str) -> list[tuple[int, set[str], str]]:
    """Of each command: its exit code, what it loads, what it says; one after another.

    They share a Python process: the first loads the command line itself, and what one has loaded
    is not loaded again.
    """
    words = json.dumps([command.split() for command in commands])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout.splitlines()[-1])
    return [(code, set(loaded), said) for code, loaded, said in ended]


def test_what_only_tells_something() -> None:
    told = started("--version", "--help", "run --help", "datasets list")
    assert "consilience" in told[0][1]
    for code, loaded, _ in told:
        assert code == 0
        assert loaded.isdisjoint(HEAVY)


SIMULATED = "--model simulated:easy"


REFUSED = {
    "run t.csv --nonsense 3": "No such option",
    "run t.csv --calls-per-example 0": "--calls-per-example",
    "run t.csv --question": "requires an argument",
    "run t.csv": "no model; say --model",
    "run t.csv --model openai:tiny": "needs the address of its server",
    "run missing.csv --model simulated:easy": "missing.csv",
    f"run t.csv --text claim {SIMULATED}": "claim",
    f"run t.csv --text message --label truth {SIMULATED}": "truth",
    f"run t.csv --text message --output labels.txt {SIMULATED}": "labels.txt",
    f"plan t.csv --text claim {SIMULATED}": "claim",
    f"run t.csv --text message --id id {SIMULATED}": "nobody said what is asked",
    f"plan t.csv --text message {SIMULATED}": "nobody said what is asked",
    "datasets show t.csv --text claim": "claim",
}


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("id,message\n1,It rains.\n2,It does not.\n", encoding="utf-8")
    for words, (code, loaded, talk) in zip(REFUSED, started(*REFUSED), strict=True):
        assert code == 2, words
        assert REFUSED[words] in talk
        assert loaded.isdisjoint(HEAVY), words
