"""What starts at once: a command that has little to do, or refuses its input, loads little."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "pandas", "scipy", "sklearn", "pyarrow", "transformers", "datasets"}

RUN = """
import sys
from consilience.cli import main
sys.argv = ["consilience", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    code = end.code
import json
heavy = sorted({name.partition(".")[0] for name in sys.modules})
sys.stdout.write("\\n" + json.dumps([code, heavy]))
"""


def started(*words: str, code: str = RUN) -> tuple[int, set[str], str]:
    """The exit code of a command in a fresh Python, what it has loaded, and what it said."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ended, loaded = json.loads(done.stdout.splitlines()[-1])
    return ended, set(loaded), done.stderr


@pytest.mark.parametrize("words", ["--version", "--help", "run --help", "datasets list"])
def test_what_only_tells_something(words: str) -> None:
    code, loaded, _ = started(*words.split())
    assert code == 0
    assert loaded.isdisjoint(HEAVY)
    assert "consilience" in loaded


SIMULATED = "--model simulated:easy"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run t.csv --nonsense 3", "No such option"),
        ("run t.csv --calls-per-example 0", "--calls-per-example"),
        ("run t.csv --question", "requires an argument"),
        ("run t.csv", "no model; say --model"),
        ("run t.csv --model openai:tiny", "needs the address of its server"),
        ("run missing.csv --model simulated:easy", "missing.csv"),
        (f"run t.csv --text claim {SIMULATED}", "claim"),
        (f"run t.csv --text message --label truth {SIMULATED}", "truth"),
        (f"run t.csv --text message --output labels.txt {SIMULATED}", "labels.txt"),
        (f"plan t.csv --text claim {SIMULATED}", "claim"),
        (f"run t.csv --text message --id id {SIMULATED}", "nobody said what is asked"),
        (f"plan t.csv --text message {SIMULATED}", "nobody said what is asked"),
        ("datasets show t.csv --text claim", "claim"),
    ],
)
def test_what_is_refused(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("id,message\n1,It rains.\n2,It does not.\n", encoding="utf-8")
    code, loaded, talk = started(*words.split())
    assert code == 2
    assert said in talk
    assert loaded.isdisjoint(HEAVY)
