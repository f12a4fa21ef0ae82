"""The walks of an operator and of a researcher: the scripts in examples/, run as they stand."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from command import Done, consilience
from wire_client import KEYS
from wire_model import PseudoModel
from wire_server import WireServer, serve

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import generated  # noqa: E402 (it lives with the pages)

FIRST = 40
"""So many questions are answered before the operator's interrupt."""


class Interrupting(PseudoModel):
    """A model that knows the answers, and sends this process an interrupt when it is told to."""

    left = -1

    def logprobs(self, text: str) -> list[float]:
        """Counts down to the interrupt, then answers."""
        type(self).left -= 1
        if type(self).left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return super().logprobs(text)


def commands() -> list[tuple[list[str], int, bool]]:
    """The commands of the operator's script: words, the exit code, whether it is interrupted."""
    found = []
    for line in (ROOT / "examples" / "operate.sh").read_text("utf-8").splitlines():
        if line.startswith("consilience "):
            command, _, note = line.partition("  # ")
            code = int(note.rpartition("exits with ")[2] or 0)
            words = [os.path.expandvars(word) for word in shlex.split(command)[1:]]
            found.append((words, code, "interrupted" in note))
    return found


@pytest.mark.parametrize("name", ["operate.sh", "notebook.py"])
def test_the_page_of_a_walk_is_its_script(name: str) -> None:
    page = (ROOT / "docs" / name).with_suffix(".md").read_text("utf-8")
    assert generated.script(name) in page


@pytest.fixture
def operated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Done], WireServer]:
    """What the commands of the operator's script did, one after the other."""
    monkeypatch.chdir(tmp_path)
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    shutil.copy(ROOT / "docs" / "claims.csv", tmp_path)
    script = (ROOT / "examples" / "operate.sh").read_text("utf-8")
    ((name, text),) = re.findall(r"^cat > (\S+) <<'END'\n(.*?)^END$", script, re.M | re.S)
    Path(name).write_text(text, "utf-8")
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    try:
        with serve("vllm", model=Interrupting(world=True)) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            for words, code, interrupted in commands():
                Interrupting.left = FIRST if interrupted else -1
                before = len(server.questions)
                ended = consilience(*words, code=code)
                done.append(ended)
                if interrupted:
                    assert FIRST <= len(server.questions) - before < 4 * FIRST
                    assert "the same command" in ended.stderr
    finally:
        signal.signal(signal.SIGINT, handler)
    return done, server


@pytest.mark.slow
def test_the_walk_of_an_operator(operated: Any, tmp_path: Path) -> None:
    done, server = operated
    probe, dry, stopped, resumed, cron, down, wrong, verified, stats, runs, _, solved = done
    assert json.loads(probe.stdout)["api"] == "completions"
    calls = json.loads(dry.stdout)["calls"]
    with (tmp_path / "claims.csv").open(encoding="utf-8", newline="") as file:
        claims = [row["claim"] for row in csv.DictReader(file)]
    # Those of the probe and of the canary speak of no row.
    asked = [server.text(r["body"]) for r in server.questions]
    texts = [text for text in asked if any(claim in text for claim in claims)]
    assert len(texts) == len(set(texts)), "something was asked twice"
    assert stopped.stdout == "" and "answers found in the store" in resumed.stderr
    told = json.loads(cron.stdout)
    assert (told["calls"], told["absent"]) == (0, 0)
    assert FIRST < len(texts) <= calls
    assert "127.0.0.1:9" in down.stderr and "nowhere" in wrong.stderr
    assert len(down.stderr.strip().splitlines()) and len(wrong.stderr.strip().splitlines()) == 1
    assert verified.code == 0 and json.loads(stats.stdout)[0]["model"] == "tiny"
    assert len(json.loads(runs.stdout)) == 1
    labels = (tmp_path / "labels.csv").read_text("utf-8").splitlines()
    assert len(labels) == len((tmp_path / "claims.csv").read_text("utf-8").splitlines())
    assert len(json.loads(solved.stdout)) == len(labels) - 1
    log = (tmp_path / "run.log").read_text("utf-8")
    assert "round 0" in log and "CONSILIENCE_API_KEY" not in log


@pytest.mark.slow
def test_the_walk_of_a_researcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    cells = (ROOT / "examples" / "notebook.py").read_text("utf-8").split("# %%")[1:]
    made: dict[str, Any] = {}
    for cell in cells:
        head, _, body = cell.partition("\n")
        if "[markdown]" not in head:
            exec(compile(body, "a cell", "exec"), made)
    printed = capsys.readouterr().out
    found, gold = made["found"], made["gold"]
    truth = [gold.labels[id] for id in found.dataset.ids]
    right = (found.soft_labels.argmax(axis=1) == truth).mean()
    # The model's own words tell 30 of 72 rows; the rest it learns from shots.
    assert right > 0.9
    assert "consilience" in printed and printed.count("labels change") == len(made["terms"])
    assert "half" in made["terms"] and found.terms["half"].weight == 0.3
    assert len(made["figure"].axes) == 4 and all(a.has_data() for a in made["figure"].axes)
    assert len(repr(found)) < 500 and "<table" in found._repr_html_()
    matplotlib.pyplot.close("all")
