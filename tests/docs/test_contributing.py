"""CONTRIBUTING.md is a map of what is there, and its recipes run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import consilience

ROOT = Path(__file__).parents[2]
PACKAGE = Path(consilience.__file__).parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
FLAGS = re.DOTALL | re.MULTILINE
RECIPES = re.findall(r"^## (Add a [^\n]+)\n.*?```python\n(.*?)```", TEXT, FLAGS)


@pytest.mark.parametrize(("title", "program"), RECIPES, ids=[title for title, _ in RECIPES])
def test_a_recipe_is_short_and_runs_as_it_stands(
    title: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(program.splitlines()) < 30
    assert "assert" in program
    monkeypatch.chdir(tmp_path)
    # A dataclass looks its module up by name.
    scope = {"__name__": "recipe"}
    monkeypatch.setitem(sys.modules, "recipe", type(sys)("recipe"))
    exec(compile(program, title, "exec"), scope)


@pytest.mark.slow
def test_recipes_and_examples_are_typed_as_strictly_as_the_package(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    first = re.findall(r"^```python\n(import .*?)```", readme, FLAGS)
    programs = [*first, *(program for _, program in RECIPES)]
    programs += [path.read_text("utf-8") for path in (ROOT / "examples").glob("*.py")]
    for number, program in enumerate(programs):
        (tmp_path / f"own_{number}.py").write_text(program, "utf-8")
    strict = ["--strict", "--config-file=", "--python-executable", sys.executable]
    said = subprocess.run(
        [sys.executable, "-m", "mypy", *strict, "."], cwd=tmp_path, capture_output=True, text=True
    )
    assert said.stdout == f"Success: no issues found in {len(programs)} source files\n"
    assert len(programs) == 7


def test_there_is_a_recipe_for_each_part_that_is_meant_to_be_added() -> None:
    titles = [title for title, _ in RECIPES]
    assert titles == [
        "Add a term to the objective",
        "Add a model",
        "Add a data set",
        "Add a solver",
    ]


def test_the_map_is_the_house_in_the_order_of_its_layers() -> None:
    section = TEXT.split("## The map")[1].split("\n## ")[0]
    assert len(section.splitlines()) <= 40
    rows = re.findall(r"^\| `([\w./]+)` \| .+? \| (.+) \|$", section, re.MULTILINE)
    ours = [name.removesuffix("/").removesuffix(".py") for name, _ in rows]
    there = {p.stem for p in PACKAGE.iterdir() if not p.name.startswith(("__", "py.typed"))}
    assert set(ours) == there
    for _, files in rows:
        for file in re.findall(r"`([^`]+)`", files):
            assert (PACKAGE / file).is_file(), file
    # In the order of the imports, which another test holds to.
    layers = re.findall(r'"(\w+)"', (ROOT / "tests" / "test_layout.py").read_text("utf-8"))
    order = [name for name in layers if name in there]
    assert ours == list(dict.fromkeys(order))


def test_where_to_change_what_names_what_is_there() -> None:
    section = TEXT.split("## Where to change what")[1].split("\n## ")[0]
    named = set(re.findall(r"`([\w./-]*/[\w./-]*)`", section))
    files = {name for name in named if not name.endswith("/")}
    assert len(files) > 15
    assert [n for n in sorted(named) if not any((at / n).exists() for at in (PACKAGE, ROOT))] == []
    # A name in code stands in a file that is named in its cell.
    for cell in re.findall(r"[^|]+", section):
        here = [n for n in files if f"`{n}`" in cell and n.endswith(".py")]
        text = "".join(
            (at / n).read_text("utf-8") for n in here for at in (PACKAGE, ROOT) if (at / n).exists()
        )
        for name in re.findall(r"`(_?[A-Z_]{4,}|default_terms)`", cell):
            assert name in text, name


def test_the_five_commands_are_there_to_be_run() -> None:
    block = TEXT.split("```")[1]
    lines = [line.partition("#")[0].strip() for line in block.strip().splitlines()]
    assert len(lines) == 5
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    needed = " ".join(str(entry) for name in ("dev", "docs") for entry in groups[name])
    just = (ROOT / "justfile").read_text("utf-8")
    for command in " && ".join(lines).split(" && "):
        kind, word, *_ = [*command.removeprefix("uv run ").split(), ""]
        if kind == "just":
            assert f"\n{word}:" in just
        else:
            assert kind in needed
            module = [sys.executable, "-m", kind, "--version"]
            assert subprocess.run(module, capture_output=True).returncode == 0
