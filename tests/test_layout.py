"""The shape of the source: small files, imports in one direction, nothing of anybody's machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import consilience

HERE = Path(consilience.__file__).parent
FILES = sorted(HERE.rglob("*.py"))
REPOSITORY = HERE.parent.parent

ORDER = (
    *("errors", "loop", "columns", "files", "delimited", "json_rows", "arrow_rows", "sheets"),
    *("records", "guard", "origin", "frames"),
    *("relations", "structure", "examples", "prompts", "query"),
    "threads",
    *("plan", "models.base", "choices", "models"),
    *("models.capabilities", "models.wire", "models.server", "models.tokens", "models.probe"),
    *("models.openai", "models.embeddings", "models.pretrained_worlds", "models.simulated"),
    *("models.greedy", "models.prefix", "models.local"),
    *("store_schema", "store_origins", "store_audit", "store_texts", "store", "ask", "embed"),
    *("logic", "offsets", "bias", "agreement", "mixture", "evidence", "reading", "pairwise"),
    *("kinds", "coherence"),
    *("settling", "starts", "lbfgs", "adam", "exhaustive", "graph", "propagation", "annealing"),
    *("solvers", "opinion", "weights", "uncertainty", "landmarks", "calibration", "explain"),
    *("settings", "concepts", "census", "duels", "standing", "verdict"),
    "result_table",
    *("found", "elicitation", "proposals", "legacy_rows", "legacy"),
    *("baselines.bench", "baselines.contexts", "baselines.shots", "baselines.contextual"),
    *("baselines.batch", "baselines.ranked", "baselines.unsupervised", "baselines.pseudo"),
    *("baselines.golden", "baselines.structural"),
    *("baselines.consistent", "baselines.bootstrapping", "baselines.exchange"),
    *("baselines.broken", "baselines.live_icm", "baselines.live_gibbs", "baselines"),
    *("metrics", "evaluation", "cost", "progress", "export"),
    *("sharing", "bench_methods", "bench", "bench_results", "bench_workers", "bench_tables"),
    *("typical", "describe"),
    *("plots", "shortcuts"),
    *("datasets.hub", "datasets.source", "datasets.table"),
    *("datasets.truthfulqa", "datasets.gsm8k", "datasets.challenges"),
    "datasets.geometry",
    "datasets.alpaca",
    "datasets.machiavelli",
    *("datasets.ethics", "datasets.ethics_pairs"),
    *("datasets.daily_dilemmas", "datasets.vignettes"),
    *("pocket.tables", "pocket.facts", "pocket.world", "pocket", "datasets.pocket"),
    "datasets",
    "audit",
)
"""Each module imports only from those to its left; the command line stands to the right of all."""

LAZY = {
    ("models", "models.simulated"): "a model is imported when one of its kind is opened",
    ("models", "models.openai"): "a model is imported when one of its kind is opened",
    ("models", "models.local"): "a model is imported when one of its kind is opened",
    ("evidence", "kinds"): "tables are made on request; solving must not need them",
    ("origin", "frames"): "a store gives the rows' ids back; their columns are read on request",
    ("frames", "examples"): "a table that was read again is compared by the ids of its examples",
    ("found", "export"): "files are written on request; the table must not need a writer",
}
"""Imports to the right, inside functions: the exceptions, and why each is one."""


def module_of(file: Path) -> str:
    parts = file.relative_to(HERE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): ast.parse(file.read_text("utf-8")) for file in FILES}


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
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n if n.removeprefix("consilience.") in MODULES else node.module for n in inner]
        else:
            continue
        for name in names:
            if name and name.partition(".")[0] == "consilience":
                yield name.partition(".")[2], lazy


def is_command(module: str) -> bool:
    return module.partition(".")[0] in ("cli", "__main__", "")


def test_every_module_has_its_place() -> None:
    assert sorted(ORDER) == sorted(name for name in MODULES if not is_command(name))


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_one_way(name: str) -> None:
    place = ORDER.index(name)
    for other, lazy in imports(MODULES[name]):
        assert not is_command(other), f"{name} imports {other}"
        if not lazy:
            assert ORDER.index(other) < place, f"{name} imports {other}, which stands to its right"


def test_the_exceptions_are_those_that_are_declared() -> None:
    found = {
        (name, other)
        for name in ORDER
        for other, lazy in imports(MODULES[name])
        if lazy and ORDER.index(other) >= ORDER.index(name)
    }
    assert found == set(LAZY)


def test_the_front_page_imports_nothing() -> None:
    assert list(imports(MODULES[""])) == []


def test_the_objective_knows_no_model() -> None:
    def reached(name: str) -> set[str]:
        # Through the lazy imports too, which may lead back.
        seen, new = set(), {name}
        while new:
            new = {other for one in new for other, _ in imports(MODULES[one])} - seen
            seen |= new
        return seen

    for name in ("coherence", "solvers", "uncertainty"):
        assert {m for m in reached(name) if m.startswith("models")} <= {"models.base"}
        assert "ask" not in reached(name)
        assert not any(m.startswith("baselines") for m in reached(name))


def test_a_command_is_quick_to_start() -> None:
    heavy = {"torch", "pandas", "numpy", "sklearn", "scipy", "httpx2", "datasets"}
    for name, tree in MODULES.items():
        if is_command(name):
            named = {a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names}
            named |= {n.module or "" for n in tree.body if isinstance(n, ast.ImportFrom)}
            assert {module.partition(".")[0] for module in named}.isdisjoint(heavy), name
            inner = {module.removeprefix("consilience.") for module in named}
            assert all(is_command(m) or m == "errors" for m in inner & set(MODULES)), name


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_a_file_is_small_and_says_what_it_is(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= 400
    said = ast.get_docstring(MODULES[module_of(file)])
    if file.name != "__main__.py":
        assert said


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_nothing_is_printed_or_swallowed(file: Path) -> None:
    for node in ast.walk(MODULES[module_of(file)]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "breakpoint", "eval", "exec")
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"a bare except in line {node.lineno}"


FOREIGN = (
    *("/home/", "/root/", "/work/", "/Users/", "C:\\", "/opt/", "/mnt/", "/tmp/"),
    *("/simple/", "index-url", "find-links"),
)


@pytest.mark.parametrize("file", [*FILES, REPOSITORY / "pyproject.toml"], ids=str)
def test_no_file_names_a_place_of_one_machine(file: Path) -> None:
    text = file.read_text("utf-8")
    assert [mark for mark in FOREIGN if mark in text] == []
