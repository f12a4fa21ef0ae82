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
    "Dataset": "data.dataset",
    "Evidence": "evidence.evidence",
    "Example": "data.dataset",
    "Found": "results.result",
    "Framing": "prompts.framing",
    "Gold": "data.dataset",
    "LBFGS": "solvers.lbfgs",
    "Model": "models",
    "PlanSettings": "planning.planner",
    "Query": "prompts.query",
    "Request": "models",
    "Role": "objective.term",
    "Settings": "elicitation.settings",
    "Solution": "solvers.solution",
    "State": "objective.conditioning",
    "Store": "store.database",
    "Task": "data.task",
    "Term": "objective.term",
    "default_terms": "objective.coherence",
    "elicit": "elicitation.session",
    "evaluate": "evaluation.evaluation",
    "load_dataset": "datasets",
    "open_model": "models",
    "predict": "elicitation.prediction",
    "solve": "solvers.solution",
    "together": "results.joint",
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
    "Role",
    "Settings",
    "Solution",
    "State",
    "Store",
    "Task",
    "Term",
    "default_terms",
    "elicit",
    "evaluate",
    "load_dataset",
    "open_model",
    "predict",
    "solve",
    "together",
]

if TYPE_CHECKING:
    from consilience.data.dataset import Dataset, Example, Gold
    from consilience.data.task import Task
    from consilience.datasets import load_dataset
    from consilience.elicitation.prediction import predict
    from consilience.elicitation.session import elicit
    from consilience.elicitation.settings import Settings
    from consilience.errors import ConsilienceError
    from consilience.evaluation.evaluation import evaluate
    from consilience.evidence.evidence import Evidence
    from consilience.models import Answer, Model, Request, open_model
    from consilience.objective.coherence import default_terms
    from consilience.objective.conditioning import State
    from consilience.objective.term import Role, Term
    from consilience.planning.planner import PlanSettings
    from consilience.prompts.framing import Framing
    from consilience.prompts.query import Query
    from consilience.results.joint import together
    from consilience.results.result import Found
    from consilience.solvers.lbfgs import LBFGS
    from consilience.solvers.solution import Solution, solve
    from consilience.store.database import Store


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'consilience' has no attribute {name!r}")
    return getattr(import_module(f"consilience.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
