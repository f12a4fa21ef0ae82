"""The shape of the source: small files, imports in one direction, nothing of anybody's machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import consilience

HERE = Path(consilience.__file__).parent
FILES = sorted(HERE.rglob("*.py"))
BESIDE = ("__init__.py", "__pycache__", "py.typed")
REPOSITORY = HERE.parent.parent
DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

LAYERS = (
    *("errors", "data", "prompts", "models", "store", "planning", "evidence", "objective"),
    *("solvers", "concepts", "results", "elicitation", "datasets", "evaluation", "cli"),
    "__main__",
)
"""The packages in the order in which data flows: each imports only from those to its left."""


def module_of(file: Path) -> str:
    parts = file.relative_to(HERE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    return {module_of(file): ast.parse(file.read_text("utf-8")) for file in FILES}


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """The modules of this package that a module imports, each with whether inside a function."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, lazy = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        stack += [(child, lazy) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            # What is imported from a package may be one of its modules.
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            ours = {f"consilience.{module}" for module in modules()}
            names = [n if n in ours else node.module for n in named]
        else:
            continue
        for name in names:
            if name and name.partition(".")[0] == "consilience":
                yield name.partition(".")[2], lazy


def package_of(module: str) -> str:
    return module.partition(".")[0]


def is_command(module: str) -> bool:
    return package_of(module) in ("cli", "__main__", "")


def inner() -> list[str]:
    return sorted(set(modules()) - {""})


def test_the_folder_holds_the_layers_and_nothing_else() -> None:
    there = {path.stem for path in HERE.iterdir() if path.name not in BESIDE}
    assert there == set(LAYERS)
    assert len(LAYERS) <= 16


def test_imports_run_one_way_between_packages() -> None:
    place = {name: LAYERS.index(package_of(name)) for name in inner()}
    pairs = [(name, other) for name in inner() for other, _ in imports(modules()[name])]
    assert [(name, other) for name, other in pairs if place[other] > place[name]] == []


def test_no_circle_of_modules() -> None:
    # What a module imports as it is loaded; a package is loaded before each of its modules.
    needs = {
        name: {other for other, lazy in imports(modules()[name]) if not lazy} for name in modules()
    }
    assert len(list(TopologicalSorter(needs).static_order())) == len(modules())


def test_a_public_name_is_defined_once() -> None:
    # The commands stand aside: each is called what it runs.
    homes: dict[str, list[str]] = {}
    for name in inner():
        if is_command(name):
            continue
        for node in modules()[name].body:
            targets = [getattr(node, "target", None), *getattr(node, "targets", [])]
            targets += [each for t in targets for each in getattr(t, "elts", [])]
            names = {t.id for t in targets if isinstance(t, ast.Name)}
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            for one in names:
                homes.setdefault(one, []).append(name)
    several = {one: there for one, there in homes.items() if len(there) > 1 and one[0] != "_"}
    assert several == {}


def test_the_front_page_imports_nothing() -> None:
    assert list(imports(modules()[""])) == []


def test_the_objective_knows_no_model() -> None:
    def reached(name: str) -> set[str]:
        # Through the lazy imports too, which may lead back.
        seen, new = set(), {name}
        while new:
            new = {other for one in new for other, _ in imports(modules()[one])} - seen
            seen |= new
        return seen

    for name in ("objective.coherence", "solvers.solution", "results.uncertainty"):
        found = reached(name)
        assert {m for m in found if m.startswith("models")} <= {"models.base", "models.threads"}
        assert "store.runner" not in found
        assert not any(m.startswith("evaluation") for m in found)


def test_a_command_is_quick_to_start() -> None:
    light = ("errors", "data.counted")  # which import nothing
    heavy = {"torch", "pandas", "numpy", "sklearn", "scipy", "httpx2", "datasets"}
    for name, tree in modules().items():
        if is_command(name):
            named = {a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names}
            named |= {n.module or "" for n in tree.body if isinstance(n, ast.ImportFrom)}
            assert {module.partition(".")[0] for module in named}.isdisjoint(heavy), name
            mine = {module.removeprefix("consilience.") for module in named}
            assert all(is_command(m) or m in light for m in mine & set(modules())), name


def test_a_file_is_small_and_says_what_it_is() -> None:
    texts = {file: file.read_text("utf-8") for file in FILES}
    assert [file for file, text in texts.items() if len(text.splitlines()) > 400] == []
    silent = [file for file in FILES if not ast.get_docstring(modules()[module_of(file)])]
    assert [file for file in silent if file.name != "__main__.py"] == []


def test_nothing_is_printed_or_swallowed() -> None:
    nodes = [(name, node) for name, tree in modules().items() for node in ast.walk(tree)]
    calls = [(name, node.func) for name, node in nodes if isinstance(node, ast.Call)]
    called = [(name, func.id) for name, func in calls if isinstance(func, ast.Name)]
    handlers = [(name, node) for name, node in nodes if isinstance(node, ast.ExceptHandler)]
    assert len(called) > 1000 and len(handlers) > 100
    outright = ("print", "breakpoint", "eval", "exec")
    assert [(name, function) for name, function in called if function in outright] == []
    assert [(name, node.lineno) for name, node in handlers if node.type is None] == []


FOREIGN = (
    *("/home/", "/root/", "/work/", "/Users/", "C:\\", "/opt/", "/mnt/", "/tmp/"),
    *("/simple/", "index-url", "find-links"),
)


def test_no_file_names_a_place_of_one_machine() -> None:
    texts = {file: file.read_text("utf-8") for file in (*FILES, REPOSITORY / "pyproject.toml")}
    assert [(file, mark) for file, text in texts.items() for mark in FOREIGN if mark in text] == []


NOT_OURS = (
    *("scipy", "torch", "ray", "vllm", "networkx"),
    *("state", "ticket", "example_model_solutions"),
)
"""What stands before a dot in a docstring and is no module of this package."""


def test_a_name_that_a_docstring_gives_is_there() -> None:
    inside: dict[str, set[str]] = {}
    said = []
    for module, tree in modules().items():
        stem = module.rpartition(".")[2]
        names = {n.name for n in ast.walk(tree) if isinstance(n, DEFINED)}
        names |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        names |= {n.asname or n.name for n in ast.walk(tree) if isinstance(n, ast.alias)}
        inside.setdefault(stem, set()).update(names)
        package = f"consilience.{module}".rpartition(".")[0].rpartition(".")[2]
        inside.setdefault(package, set()).add(stem)
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                found = re.findall(r"(?<!`)`([a-z_]+)\.(\w+)[^`\s]*`(?!`)", str(node.value.value))
                said += [(module, *each) for each in found if each[0] not in NOT_OURS]
    assert len(said) > 20
    assert [each for each in said if each[2] not in inside.get(each[1], ())] == []
