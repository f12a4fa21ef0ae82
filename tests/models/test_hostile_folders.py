"""Folders of models that attack or are broken: one line, and no code of theirs is run."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest
from safetensors.torch import load_file, save_file

from command import consilience
from consilience.cli.harmless import ACTING
from consilience.models.local_files import POCKET
from consilience.store.database import Store
from every_command import leaves
from hostile_folders import FOLDERS, edited
from made_up import TASK_OPTIONS

CHEAP = ["--calls-per-example", 2, "--set", "planning.shots=2", "--set", "planning.census=0"]
COMMANDS = {
    "run": ["run", "T", *TASK_OPTIONS, *CHEAP, "--store", "NEW"],
    "plan": ["plan", "T", *TASK_OPTIONS, *CHEAP, "--store", "NEW", "--output", "OUT"],
    "ask": ["ask", "PLAN", "--store", "S"],
    "describe": ["describe", "--store", "S", "--run", "RUN"],
    "predict": ["predict", "MORE", "--store", "S", "--run", "RUN"],
    "rerun": ["rerun", "RUN", "--store", "S", "--into", "NEW"],
    "bench": ["bench", "--data", "easy", "--budgets", 2, "--seeds", 1, "--output", "OUT"],
}


def test_no_command_that_opens_a_model_is_forgotten() -> None:
    opens = {name for name, command in leaves() if takes_a_model(command)}
    assert opens == COMMANDS.keys()


def takes_a_model(command: click.Command) -> bool:
    """Whether a command opens the model that --model names; `probe` knows servers alone."""
    options = {option for param in command.params for option in param.opts}
    return "--model" in options and "base_url" not in options


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, the store of its run, and a plan of a round to come."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "t.csv").write_text("text\nA lamp is lit.\nA door is shut.\n", "utf-8")
    (folder / "more.csv").write_text("text\nA bell is rung.\n", "utf-8")
    run = ["run", folder / "t.csv", *TASK_OPTIONS, *CHEAP, "--model", "local:pocket"]
    consilience(*run, "--store", folder / "s.db", "--output", folder / "l.csv")
    with Store(folder / "s.db", readonly=True) as store:
        (folder / "run").write_text(store.run().id, "utf-8")
    plan = ["plan", *run[1:], "--calls-per-example", 4, "--store", folder / "s.db"]
    consilience(*plan, "--set", "planning.settled=0", "--output", folder / "plan.jsonl")
    return folder


def spoilt(kind: str, here: Path) -> Path:
    """A folder of that kind below `here`."""
    folder = here / "model"
    shutil.copytree(POCKET, folder)
    FOLDERS[kind](folder, here / "mark")
    return folder


PAIRS = [
    pytest.param(name, kind, marks=[] if i % len(COMMANDS) == j else [pytest.mark.slow])
    for i, kind in enumerate(FOLDERS)
    for j, name in enumerate(COMMANDS)
]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_it_is_refused_in_a_line_and_nothing_runs(
    name: str, kind: str, finished: Path, tmp_path: Path
) -> None:
    folder, store = spoilt(kind, tmp_path), tmp_path / "s.db"
    shutil.copy(finished / "s.db", store)
    before = store.read_bytes()
    named = {
        "T": finished / "t.csv", "MORE": finished / "more.csv", "PLAN": finished / "plan.jsonl",
        "S": store, "NEW": tmp_path / "new.db", "OUT": tmp_path / "out.json",
        "RUN": (finished / "run").read_text("utf-8"),
    }  # fmt: skip
    words = [named.get(word, word) for word in COMMANDS[name]]
    done = consilience(*words, "--model", f"local:{folder}", code=2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert str(folder) in done.stderr and not done.stdout
    assert store.read_bytes() == before
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "new.db").exists() and not (tmp_path / "out.json").exists()


TEMPLATES = {
    "its own classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a range without end": "{% for i in range(10**12) %}x{% endfor %}",
    "a division by zero": "{{ 1 / 0 }}",
    "no template": "{% for %}",
    "an escape": "{{ raise_exception('\x1b]0;taken\x07\nconsilience: all is well') }}",
    "itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_template_that_attacks_is_refused_in_a_line(
    kind: str, finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(POCKET, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATES[kind], "utf-8")
    words = ["run", finished / "t.csv", *TASK_OPTIONS, *CHEAP, "--store", tmp_path / "s.db"]
    chat = ["--model", f"local:{folder}", "--set", "model.api=chat"]
    done = consilience(*words, *chat, code=1)
    [line] = done.stderr.splitlines()
    assert "chat template" in line and not ACTING.search(line)


def test_names_in_a_folder_cannot_act_on_a_terminal(
    finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(POCKET, folder)
    weights = load_file(folder / "model.safetensors")
    weights["\x1b]0;taken\x07.weight"] = next(iter(weights.values())).clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    edited(folder / "config.json", **{"\x1b[2J": 1, "torch_dtype": "\x1b[31m"})
    words = ["run", finished / "t.csv", *TASK_OPTIONS, *CHEAP, "--model", f"local:{folder}"]
    done = consilience(*words, "--store", tmp_path / "s.db")
    assert not ACTING.search(done.stderr + "".join(capfd.readouterr()))
