"""Finds the labels that a language model already believes, without being given any.

The names below are the whole of what most programs need; each module is public by its own name
for the rest. Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

_HOMES = {
    "Answer": "models",
    "ConsilienceError": "errors",
    "Dataset": "examples",
    "Evidence": "evidence",
    "Example": "examples",
    "Found": "found",
    "Framing": "prompts",
    "Gold": "examples",
    "LBFGS": "lbfgs",
    "Model": "models",
    "PlanSettings": "plan",
    "Query": "query",
    "Request": "models",
    "Settings": "settings",
    "Solution": "solvers",
    "State": "reading",
    "Store": "store",
    "Task": "examples",
    "default_terms": "coherence",
    "elicit": "elicitation",
    "evaluate": "evaluation",
    "load_dataset": "datasets",
    "open_model": "models",
    "solve": "solvers",
    "together": "joint",
}

__all__ = [
    "LBFGS",
    "Answer",
    "ConsilienceError",
    "Dataset",
    "Evidence",
    "Example",
    "Found",
    "Framing",
    "Gold",
    "Model",
    "PlanSettings",
    "Query",
    "Request",
    "Settings",
    "Solution",
    "State",
    "Store",
    "Task",
    "default_terms",
    "elicit",
    "evaluate",
    "load_dataset",
    "open_model",
    "solve",
    "together",
]

if TYPE_CHECKING:
    from consilience.coherence import default_terms
    from consilience.datasets import load_dataset
    from consilience.elicitation import elicit
    from consilience.errors import ConsilienceError
    from consilience.evaluation import evaluate
    from consilience.evidence import Evidence
    from consilience.examples import Dataset, Example, Gold, Task
    from consilience.found import Found
    from consilience.joint import together
    from consilience.lbfgs import LBFGS
    from consilience.models import Answer, Model, Request, open_model
    from consilience.plan import PlanSettings
    from consilience.prompts import Framing
    from consilience.query import Query
    from consilience.reading import State
    from consilience.settings import Settings
    from consilience.solvers import Solution, solve
    from consilience.store import Store


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'consilience' has no attribute {name!r}")
    return getattr(import_module(f"consilience.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
