"""The front page of the package: few names, all there, and nothing heavy until one is used."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys

import pytest

import consilience as cs

HEAVY = ("torch", "pandas", "numpy", "scipy", "sklearn", "pyarrow", "datasets", "httpx2", "rich")


def imported_by(code: str) -> set[str]:
    """The modules that a fresh Python has loaded after `code`."""
    code += "; import sys, json; sys.stdout.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_the_names_are_few_and_sorted() -> None:
    assert len(cs.__all__) <= 28
    assert len(set(cs.__all__)) == len(cs.__all__)
    # As ruff sorts them: constants, classes, functions.
    kinds = [(not n.isupper(), not n[0].isupper(), n) for n in cs.__all__]
    assert kinds == sorted(kinds)
    assert dir(cs) == sorted(cs.__all__)
    assert set(cs._HOMES) == set(cs.__all__)


@pytest.mark.parametrize("name", cs.__all__)
def test_every_name_is_there_and_lives_where_the_table_says(name: str) -> None:
    thing = getattr(cs, name)
    assert callable(thing)
    assert thing.__name__ == name
    assert thing.__module__.startswith(f"consilience.{cs._HOMES[name]}")
    assert inspect.getdoc(thing)


def test_a_name_that_is_not_there_is_said_not_to_be() -> None:
    with pytest.raises(AttributeError, match="module 'consilience' has no attribute 'elicitate'"):
        _ = cs.elicitate
    assert not hasattr(cs, "np")


def test_no_name_hides_a_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(cs.__path__)}
    assert {"elicitation", "models", "store"} <= modules
    assert modules.isdisjoint(cs.__all__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = imported_by("import consilience; dir(consilience)")
    assert "consilience" in loaded
    assert loaded.isdisjoint(HEAVY)
    assert not any(name.startswith("consilience.") for name in loaded)


def test_a_data_set_needs_no_torch() -> None:
    loaded = imported_by(
        "import consilience as cs; cs.Dataset('one', [cs.Example('A text.')]); cs.Store; "
        "cs.open_model; cs.ConsilienceError"
    )
    assert loaded.isdisjoint(["torch", "sklearn", "datasets", "pandas"])
    assert "consilience.data.dataset" in loaded


def test_a_name_is_still_the_function_after_the_modules_were_imported() -> None:
    code = (
        "import consilience as cs, consilience.elicitation.session, consilience.models; "
        "import consilience.evaluation.evaluation, consilience.solvers.solution; "
        "import consilience.store.database, consilience.datasets; "
        "assert all(callable(getattr(cs, n)) for n in cs.__all__); "
        "from consilience import *; assert elicit is cs.elicit and solve is cs.solve"
    )
    assert "torch" in imported_by(code)
