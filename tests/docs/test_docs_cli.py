"""Every command explains itself, and docs/cli.md is what its generator makes of that."""

import importlib.util
import re
from pathlib import Path

import click
import pytest

from command import consilience
from consilience.cli import cli
from consilience.cli.config import SETTINGS, TABLES
from consilience.cli.task_file import read_set

DOCS = Path(__file__).parents[2] / "docs"


def generator():
    spec = importlib.util.spec_from_file_location("make_cli", DOCS / "make_cli.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(command=cli, path=()):
    if not isinstance(command, click.Group):
        return [(path, command)]
    return [leaf for name, sub in command.commands.items() for leaf in commands(sub, (*path, name))]


@pytest.mark.parametrize(("path", "command"), commands(), ids=str)
def test_every_command_and_option_says_what_it_is(path, command):
    shown = consilience(*path, "-h")
    assert shown.stdout.startswith(f"Usage: consilience {' '.join(path)} ")
    assert shown.stderr == ""
    assert consilience(*path, "--help").stdout == shown.stdout
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [o.opts for o in options if not o.help] == []
    # What the list of commands shows is a whole sentence, also on a narrow terminal.
    assert not command.get_short_help_str(64).endswith("...")


def test_no_command_has_more_than_fifteen_options():
    """What few people turn has no option: the task file and `--set` reach it."""
    shown = {
        " ".join(path): [p.opts[0] for p in command.params if isinstance(p, click.Option)]
        for path, command in commands()
    }
    assert {path: names for path, names in shown.items() if len(set(names) - {"--task"}) > 15} == {}


def test_an_option_is_the_same_in_every_command():
    seen = {}
    for path, command in commands():
        for option in command.params:
            if isinstance(option, click.Option):
                kind = (option.type.name, option.default, option.multiple, option.is_flag)
                seen.setdefault(option.opts[0], {}).setdefault(kind, []).append(" ".join(path))
    # How many to show, and how many to make up; a store that is made, and one that must be there;
    # what a task file may say too has no usual value before that was read; and workers of Ray ask
    # several servers.
    different = {name: kinds for name, kinds in seen.items() if len(kinds) > 1}
    assert sorted(different) == [
        *("--base-url", "--calls-per-example", "--examples", "--seed", "--store")
    ]
    assert len(different["--store"]) == 2


def test_the_page_is_not_stale(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # the width of the terminal plays no part
    page = (DOCS / "cli.md").read_text("utf-8")
    assert page == generator().page(), "run: uv run python docs/make_cli.py"


@pytest.mark.parametrize("path", [" ".join(("consilience", *path)) for path, _ in commands()])
def test_every_command_has_a_section_with_its_use_and_its_help(path):
    page = (DOCS / "cli.md").read_text("utf-8")
    title = f"\n#{'#' * (path.count(' '))} `{path}`\n"
    assert title in page
    section = page.split(title)[1].split("\n#")[0]
    assert f"Usage: {path} " in section
    assert section.split("```")[0].strip()


def test_every_option_stands_in_the_section_of_its_command_and_is_explained():
    """Its own there, a shared one by its name there and in full at one place."""
    page = (DOCS / "cli.md").read_text("utf-8")
    shared = page.split("\n## Shared options\n")[1].split("\n## ")[0]
    for path, command in commands():
        title = f"\n#{'#' * len(path)} `{' '.join(('consilience', *path))}`\n"
        section = page.split(title)[1].split("\n#")[0]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                name = option.opts[0]
                assert f"  {name}" in section or (f"`{name}`" in section and f"  {name}" in shared)


def test_a_command_without_words_of_its_own_is_an_error(monkeypatch):
    made = generator()
    monkeypatch.delitem(made.USES, "consilience run")
    with pytest.raises(SystemExit, match="consilience run"):
        made.page()


OTHERS = ("soffice", "uv ", "pip ", "pytest", "benchmarks/", "vLLM", "llama", "realserver")
"""Lines of pages about other programs, which have options of their own."""


def pages() -> list[tuple[str, int, str]]:
    files = [DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    # The page of commands is made from them, with its lines broken.
    files += [p for p in sorted(DOCS.rglob("*.md")) if p.name not in ("cli.md", "log.md")]
    return [
        (file.name, number, line)
        for file in files
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1)
        if not any(word in line for word in OTHERS)
    ]


def test_an_option_that_a_page_names_is_there():
    known = {"--help", *(o for p in cli.params for o in p.opts)}
    known |= {o for _, c in commands() for p in c.params for o in (*p.opts, *p.secondary_opts)}
    named = [
        f"{page}:{number} {option}"
        for page, number, line in pages()
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", line)
        if option not in known
    ]
    assert named == []


def test_a_setting_that_a_page_names_can_be_set():
    tables = "|".join(TABLES)
    said = 0
    for page, number, line in pages():
        for word in re.findall(r"--set ([a-z_]+\.[\w.-]+=[^\s`|;)]+)", line):
            said += 1
            if not word.rpartition("=")[2].isupper():  # N, DIR and the like stand for a value
                assert read_set([word.rstrip(".,:")], TABLES), f"{page}:{number}"
        for name in re.findall(rf"`((?:{tables})\.[a-z_]+)(?:\.\w+)?`", line):
            assert name in SETTINGS, f"{page}:{number} {name}"
    assert said > 30
