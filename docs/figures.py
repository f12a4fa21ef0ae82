"""The benchmarks and the figures that they left, for the generated parts of the documentation."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"

BENCHMARKS = str(ROOT / "benchmarks")


def program(name: str) -> ModuleType:
    """A program among the benchmarks, or what they share."""
    # Each time, for cog takes back what a page has put there, and keeps the modules.
    if BENCHMARKS not in sys.path:
        sys.path.insert(0, BENCHMARKS)
    return import_module(name)


def figures(name: str) -> tuple[ModuleType, Any]:
    """A benchmark and the figures that it left."""
    benchmark = program(name)
    return benchmark, json.loads(benchmark.RESULTS.read_text())
