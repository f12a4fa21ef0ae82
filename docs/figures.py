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

sys.path.insert(0, str(ROOT / "benchmarks"))


def figures(name: str) -> tuple[ModuleType, Any]:
    """A benchmark and the figures that it left."""
    benchmark = import_module(name)
    return benchmark, json.loads(benchmark.RESULTS.read_text())
