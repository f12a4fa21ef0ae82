"""A run's record tells its terms apart, and a run is repeated with the terms that it had."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from command import consilience
from consilience.elicitation.called import called
from consilience.elicitation.recorded_terms import terms_from
from consilience.elicitation.rerun import rerun
from consilience.elicitation.session import elicit, solve_run
from consilience.elicitation.settings import Settings, record
from consilience.errors import InputError
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.objective.coherence import TERMS, default_terms, entropy
from consilience.objective.pair_terms import ranking_within
from consilience.objective.term import Term
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store


def toward(k: int):
    def term(state):
        return state.q[:, k].mean()

    return term


def defaulted(by: float):
    return lambda state, by=by: by * state.q[:, 0].mean()


def itself(times: int):
    def again(state):
        return again(state) if times > 9 else state.q.sum()

    return again


def filled_later(by: float):
    def term(state):
        return state.q.sum() if by else state.q[:, unset].sum()

    if by > 1:
        unset = int(by)
    return term


class Slotted:
    """A callable that keeps what it holds in slots."""

    __slots__ = ("_by", "unset")

    def __init__(self, by: float) -> None:
        self._by = torch.tensor(by)

    def __call__(self, state):
        return self._by * state.q.sum()


class MoreSlotted(Slotted):
    """One whose base has the slot."""


class Plain:
    """A callable whose repr is its address."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, state):
        return self.by * state.q.sum()


@dataclass(frozen=True)
class Told(Plain):
    by: float = 1.0


def of_text(text: str, **names: object):
    """What is called `term` in a module of the user's own with this text, and these names in it."""
    scope = {"__name__": "users_own", "torch": torch, **names}
    exec(text, scope)
    return scope["term"]


BY = "def term(s): return BY * s.q.sum()"
HELPED = "def helper(s): return BY * s.q.sum()\ndef term(s): return helper(s)"
MUTUAL = "def a(s, n=1): return b(s) if n else BY\ndef b(s): return a(s, 0)\nterm = a"
MADE = "class Term:\n    def __call__(self, s): return {by} * s.q.sum()\nterm = Term()"
METHOD = "class Term:\n    def of(self, s): return {by} * s.q.sum()\nterm = Term().of"
BASE = "class Base:\n    def of(self, s): return {by}\nclass Term(Base): pass\nterm = Term().of"
CACHED = "import functools\n@functools.cache\ndef term(s): return BY"


def helpers(by: float):
    made = ModuleType("users_helpers")
    made.by = by
    return made


def prior(state, prior):
    return (state.q[:, 1] * prior).mean()


def large(by: float) -> np.ndarray:
    """More numbers than a repr shows, and another one in the middle."""
    made = np.zeros(2001)
    made[1000] = by
    return made


class Weighed(torch.nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor([by]))


OTHERS = {
    "named": lambda by: of_text(f"def term(s): return {by} * s.q.sum()"),
    "global": lambda by: of_text(BY, BY=by),
    "global array": lambda by: of_text(BY, BY=large(by)),
    "global function": lambda by: of_text(HELPED, BY=by),
    "functions of each other": lambda by: of_text(MUTUAL, BY=by),
    "lambda of a global": lambda by: of_text("term = lambda s: BY * s.q.sum()", BY=by),
    "inner function": lambda by: of_text("def term(s): return (lambda: BY)()", BY=by),
    "module": lambda by: of_text("def term(s): return own.by * s.q.sum()", own=helpers(by)),
    "class": lambda by: of_text(MADE.format(by=by)),
    "method": lambda by: of_text(METHOD.format(by=by)),
    "inherited method": lambda by: of_text(BASE.format(by=by)),
    "cached": lambda by: of_text(CACHED, BY=by),
    "large array": lambda by: partial(prior, prior=large(by)),
    "large tensor": lambda by: partial(prior, prior=torch.from_numpy(large(by))),
    "close array": lambda by: partial(prior, prior=np.array([1 + by * 1e-12])),
    "close tensor": lambda by: partial(prior, prior=torch.tensor(1 + by * 1e-6)),
    "half precision": lambda by: partial(prior, prior=torch.tensor([by]).bfloat16()),
    "array in a list": lambda by: partial(prior, prior=[{"a": large(by)}]),
    "array in a record": lambda by: Told(large(by)),
    "array in a closure": lambda by: (lambda held: lambda s: s.q @ held)(large(by)),
    "array of names": lambda by: partial(prior, prior=np.array(["a", by], dtype=object)),
    "column": lambda by: partial(prior, prior=pd.Series(large(by))),
    "index": lambda by: partial(prior, prior=pd.Series([1.0] * 2001, index=large(by))),
    "table": lambda by: partial(prior, prior=pd.DataFrame({"a": large(by)})),
    "long list": lambda by: partial(prior, prior=large(by).tolist()),
    "parameters": Weighed,
    "partial": lambda by: partial(ranking_within, margin=by),
    "partial of a partial": lambda by: partial(partial(ranking_within, margin=by)),
    "closure": lambda by: toward(int(by)),
    "default": defaulted,
    "variable without a value": filled_later,
    "object": Plain,
    "object with slots": Slotted,
    "object whose base has slots": MoreSlotted,
    "record": Told,
    "of itself": lambda by: itself(int(by)),
    "lambda": lambda by: {1: lambda s: s.q.sum(), 2: lambda s: -s.q.sum()}[int(by)],
    "constant": lambda by: {1: lambda s: 1 * s.q.sum(), 2: lambda s: 3 * s.q.sum()}[int(by)],
    "set": lambda by: {
        1: lambda s: s.q.sum() if "a" in {"a", "b"} else 0,
        2: lambda s: s.q.sum() if "a" in {"a", "c"} else 0,
    }[int(by)],
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_what_does_something_else_is_called_otherwise_and_the_same_is_not(make):
    assert called(make(1.0)) == called(make(1.0))
    assert called(make(1.0)) != called(make(2.0))
    assert " at 0x" not in called(make(1.0))
    assert len(called(make(1.0))) < 1100


def test_a_function_is_called_by_its_module_and_name():
    assert called(entropy) == "consilience.objective.coherence.entropy"
    assert called(partial(entropy)) == "consilience.objective.coherence.entropy()"
    assert called(torch.nn.functional.softmax) == "torch.nn.functional.softmax"
    assert called(partial(ranking_within, margin=2.0)).endswith(".ranking_within(margin=2.0)")
    assert called(partial(entropy, [1, "a"], by={"a": (1, 2)})).endswith(
        "entropy(0=[1, 'a'], by={'a': (1, 2)})"
    )


def test_the_terms_of_the_package_are_called_as_ever():
    assert {called(term.function).rpartition(".")[2] for term in TERMS.values()} == {
        term.function.__name__ for term in TERMS.values()
    }


def test_an_edited_term_is_another_run():
    data, _ = world_dataset("noisy", 20)
    given = {"calls_per_example": 2}

    def run(by: float) -> str:
        mine = of_text("def term(s): return BY * s.q[:, 1].mean()", BY=by)
        terms = default_terms() | {"mine": Term(mine)}
        return elicit(data, SimulatedModel("noisy"), terms=terms, **given).run.id

    assert run(1.0) == run(1.0) != run(2.0)


def test_another_process_calls_it_the_same():
    code = (
        "from functools import partial; from consilience.elicitation.called import called; "
        "from consilience.objective.pair_terms import ranking_within as r; "
        "print(called(partial(r, margin=2.0)), called(lambda s: 'a' in {'a', 'b', 'c', 'd'}))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_terms_come_back_from_a_record():
    terms = default_terms() | {"entropy": TERMS["entropy"].at(3.0)}
    kept = record(Settings(), terms, LBFGS())
    assert terms_from(kept["terms"]) == terms
    for other in (Term(toward(1)), Term(partial(ranking_within, margin=2.0))):
        named = record(Settings(), {"entropy": other}, LBFGS())["terms"]
        with pytest.raises(InputError, match="which its name does not give"):
            terms_from(named)
    with pytest.raises(InputError, match="no term 'mine'"):
        terms_from({"mine": [1.0, "x"]})


def test_a_run_is_repeated_with_its_terms_and_its_solver():
    data, _ = world_dataset("noisy", 60)
    model = SimulatedModel("noisy")
    terms = {k: v for k, v in default_terms().items() if k != "class frequency"}
    terms["entropy"] = terms["entropy"].at(3.0)
    solver = LBFGS(starts=2)
    with Store() as kept, Store() as new:
        given = {"calls_per_example": 3, "store": kept}
        found = elicit(data, model, terms=terms, **given)
        again = rerun(kept, kept.run(found.run.id), model, new)
        assert again.same and not again.labels and not again.settings
        np.testing.assert_array_equal(again.before.soft_labels, found.soft_labels)
        mine = terms | {"mine": Term(toward(1), 0.3)}
        own = elicit(data, model, terms=mine, solver=solver, **given)
        run = kept.run(own.run.id)
        with pytest.raises(InputError, match=r"was solved by LBFGS.*starts=2.*give that `solver`"):
            rerun(kept, run, model, new, terms=mine)
        with pytest.raises(InputError, match=r"no term 'mine'.*give the `terms`"):
            rerun(kept, run, model, new, solver=solver)
        again = rerun(kept, run, model, new, terms=mine, solver=solver)
        assert again.same and not again.labels and not again.settings


@pytest.mark.filterwarnings("default:no term")
def test_a_store_gives_back_the_labels_that_its_run_had(tmp_path):
    data, _ = world_dataset("noisy", 60)
    model, settings = SimulatedModel("noisy"), Settings(calls_per_example=3)
    terms = default_terms() | {"entropy": TERMS["entropy"].at(3.0)}
    mine = terms | {"mine": Term(toward(1), 0.3)}
    with Store(tmp_path / "s.db") as store:
        found = elicit(data, model, store=store, settings=settings, terms=terms)
        own = elicit(data, model, store=store, settings=settings, terms=mine)
        plain = elicit(data, model, store=store, settings=settings)
        again = solve_run(store, found.run.id, data, settings)
        np.testing.assert_array_equal(again.soft_labels, found.soft_labels)
        # What tells them apart from those of a run with the default terms.
        assert np.abs(plain.soft_labels - found.soft_labels).max() > 0.01
        # Its user's own function is not in the store: said, and solved by what there is.
        with pytest.warns(UserWarning, match="no term 'mine'.*solved by the default terms"):
            other = solve_run(store, own.run.id, data, settings)
        assert set(other.terms) == set(default_terms())
        again = solve_run(store, own.run.id, data, settings, mine)
        np.testing.assert_array_equal(again.soft_labels, own.soft_labels)
    said = consilience("solve", "--store", tmp_path / "s.db", "--run", found.run.id)
    told = [float(row["probability"]) for row in csv.DictReader(said.stdout.splitlines())]
    np.testing.assert_allclose(told, found.soft_labels.max(axis=1), atol=1e-9)
    said = consilience("solve", "--store", tmp_path / "s.db", "--run", own.run.id)
    assert "no term 'mine'" in said.stderr and "solved by the default terms" in said.stderr
