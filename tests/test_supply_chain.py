"""Other people's code: actions and dependencies are pinned, and nothing that is read is run."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

RUNS_CODE = {
    *("eval", "exec", "compile", "os.system", "os.popen", "torch.load", "torch.hub.load"),
    *("pickle.load", "pickle.loads", "marshal.load", "marshal.loads", "joblib.load"),
    *("shelve.open", "yaml.load", "pandas.read_pickle", "pd.read_pickle", "runpy.run_path"),
}
"""Calls that run what they read."""

UNSAFE = {
    **{"trust_remote_code": True, "allow_pickle": True, "shell": True},
    **{"use_safetensors": False, "weights_only": False},
}
"""Arguments that let what is read run code."""


def steps(workflow: Path) -> list[dict[str, Any]]:
    """Every step of every job; a job that is another workflow is one too."""
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"].values()
    return [step for job in jobs for step in (*job.get("steps", ()), job)]


def test_there_is_a_workflow() -> None:
    assert WORKFLOWS


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_may_only_read(workflow: Path) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
    text = workflow.read_text("utf-8")
    # Which release a hash is, a person reads beside it.
    assert len(re.findall(r"uses: \S+@[0-9a-f]{40} +# v\d+\.\d+\.\d+$", text, re.M)) == len(used)
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_ci_audits_the_dependencies_and_runs_all_checks() -> None:
    ran = [step["run"] for path in WORKFLOWS for step in steps(path) if "run" in step]
    assert any(re.search(r"\buv audit\b", command) for command in ran)
    assert ".ci/run" in ran
    # The audit asks a service; the checks of every change need none.
    assert "audit" not in (ROOT / ".ci" / "run").read_text("utf-8")


def test_every_direct_dependency_has_a_pinned_version() -> None:
    project = PROJECT["project"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    named = {name_of(entry) for entries in lists for entry in entries if isinstance(entry, str)}
    pinned = PROJECT["tool"]["uv"]["constraint-dependencies"]
    pins = [entry.partition(";")[0].strip() for entry in pinned]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    # The one that is not installed where the tests run.
    assert named - {name_of(pin) for pin in pins} == {"sentence-transformers"}


def name_of(requirement: str) -> str:
    """The name in a requirement, as an index knows it."""
    return re.split(r"[\[<>=!~ ;]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("folder", ["src", "benchmarks", "training", "docs", "examples"])
def test_nothing_that_is_read_is_run(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = [f"{file.name}: {what}" for file in files for _, what in dangers(file)]
    # The programs of the pages stand in the file that runs them.
    own = ["generated.py: exec"] if folder == "docs" else []
    assert found == own


def dangers(file: Path) -> list[tuple[int, str]]:
    """Where a file calls what runs what it reads, or lets it."""
    calls = [n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Call)]
    found = []
    for call in calls:
        said = {word.arg: ast.unparse(word.value) for word in call.keywords if word.arg}
        name = ast.unparse(call.func)
        if name in RUNS_CODE and said.get("weights_only") != "True":
            found.append((call.lineno, name))
        unsafe = (word for word, value in UNSAFE.items() if said.get(word) == str(value))
        found += [(call.lineno, f"{word}={said[word]}") for word in unsafe]
    return found


def test_the_search_finds_what_it_searches_for(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    lines = ["torch.load('x')", "torch.load('x', weights_only=True)", "f(trust_remote_code=True)"]
    file.write_text("\n".join(lines))
    assert dangers(file) == [(1, "torch.load"), (3, "trust_remote_code=True")]
