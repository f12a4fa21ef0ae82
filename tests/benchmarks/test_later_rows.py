"""Later rows of a real model's run: the benchmark measured small, its file resumed, its table."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import newrows_real  # noqa: E402 (the benchmarks are no package)

import consilience.models  # noqa: E402
from consilience.elicitation.settings import PLAN_VERSION  # noqa: E402
from recorder import Recorder  # noqa: E402


def test_later_rows_are_scored_both_ways_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("sst2", "sms"):
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            names = ("negative", "positive") if name == "sst2" else ("ham", "spam")
            rows = [(f"The lamp in room {i} is on.", names[i % 2]) for i in range(40)]
            csv.writer(file).writerows([("text", "label"), *rows])
    monkeypatch.setattr(consilience.models, "open_model", lambda spec: Recorder())
    out = tmp_path / "made.json"
    words = ["newrows_real.py", "--model", "openai:tiny", "--data", str(tmp_path)]
    words += ["--rows", "24", "--later", "8", "--stores", str(tmp_path / "s"), "--output", str(out)]

    monkeypatch.setattr(sys, "argv", [*words, "--sets", "sst2"])
    newrows_real.main()
    [first] = json.loads(out.read_text())
    assert (first["rows"], first["later"], first["plan"]) == (24, 8, PLAN_VERSION)
    assert 2 <= first["calls"] <= 2.5
    for way in ("labelled", "predicted"):
        estimate, lower, upper = first[way]
        assert 0 <= lower <= estimate <= upper <= 1 and estimate * 8 == int(estimate * 8)

    # What the file has is not measured again: a figure that nobody measured stays.
    out.write_text(json.dumps([first | {"predicted": [0.123, 0.1, 0.2]}]))
    monkeypatch.setattr(sys, "argv", [*words, "--sets", "sst2", "sms"])
    newrows_real.main()
    kept, second = json.loads(out.read_text())
    assert kept["predicted"][0] == 0.123 and second["set"] == "sms"
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("| sst2 | 24 |") and said[-2].endswith("| 0.123 |")
