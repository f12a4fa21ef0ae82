"""Every benchmark over draws measures, on few examples, what its table shows: none is left behind.

What an interface no longer has is found by mypy, which reads the benchmarks too; what it gives
otherwise than it did is found here.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

JOBS = {
    "ablation": ("noisy", 0),
    "calibration": ("noisy", 0),
    "contrasts": ("noisy", 0, (8.0, 0.5), True),
    "deciding": ("noisy", 0),
    "newrows": ("noisy", 0),
    "pocket": ("pocket", 0),
    "suspects": ("noisy", 0),
}
"""A job of each but `stress`, whose trials are objects of its own."""


def numbers(value: object) -> list[float]:
    """Every number in what was measured."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for one in value for number in numbers(one)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # of Snorkel
@pytest.mark.parametrize("name", [*JOBS, "stress"])
def test_a_benchmark_measures_what_its_table_shows(name: str, monkeypatch: pytest.MonkeyPatch):
    if name == "ablation" and find_spec("crowdkit") is None:
        pytest.skip("crowd-kit and Snorkel are of the group `bench`")
    benchmark = importlib.import_module(name)
    few = {"EXAMPLES": 240 if name == "deciding" else 120, "CLAIMS": 15, "ROWS": 90, "LATER": 30}
    for size in few.keys() & set(dir(benchmark)):
        monkeypatch.setattr(benchmark, size, few[size])
    job = (0, benchmark.TRIALS[0]) if name == "stress" else JOBS[name]
    measured = json.loads(json.dumps(benchmark.measure(job)))
    assert len(numbers(measured)) >= 3
    assert all(map(math.isfinite, numbers(measured)))
    committed = json.loads(benchmark.RESULTS.read_text())
    others = [run for run in committed if not same_job(run, measured)]
    assert len(others) < len(committed), "no row of the committed figures is of this job"
    assert set(others[0]) - {"plan"} <= set(measured)
    assert benchmark.table([*others, measured])


def same_job(run: dict[str, object], other: dict[str, object]) -> bool:
    """Whether two rows are of one job: what names it is text, a flag or the seed."""
    named = {key: value for key, value in other.items() if isinstance(value, str | bool)}
    return all(run.get(key) == value for key, value in (named | {"seed": other["seed"]}).items())
