"""Parts of the method left out one by one, and rare classes: measured small, resumed, tables."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import parts  # noqa: E402 (the benchmarks are no package)
import rare  # noqa: E402

import consilience.models  # noqa: E402
from consilience.elicitation.session import elicit  # noqa: E402
from consilience.elicitation.settings import PLAN_VERSION  # noqa: E402
from consilience.models.simulated import SimulatedModel, world_dataset  # noqa: E402
from consilience.results.result import Found  # noqa: E402
from recorder import Recorder  # noqa: E402


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with (tmp_path / "sst2.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(f"The film of the year {i}.", ("negative", "positive")[i % 2]) for i in range(60)]
        csv.writer(file).writerows([("text", "label"), *rows])
    monkeypatch.setattr(consilience.models, "open_model", lambda spec, **options: Recorder())
    return tmp_path


def replaced(place: str) -> object:
    """What stands at a place of the package."""
    module, _, name = place.rpartition(".")
    try:
        return getattr(importlib.import_module(f"consilience.{module}"), name)
    except ModuleNotFoundError:
        return getattr(replaced(module), name)


@pytest.mark.parametrize("part", parts.PARTS)
def test_a_part_is_left_out_and_comes_back(part: str) -> None:
    settings, places = parts.PARTS[part]
    before = {place: replaced(place) for place in places}
    with parts.without(part) as chosen:
        assert {name: getattr(chosen, name) for name in settings} == settings
        assert all(replaced(place) is not before[place] for place in places)
    assert {place: replaced(place) for place in places} == before


@cache
def found_without(part: str) -> Found:
    data, _ = world_dataset("pretrained", 96, 0)
    with parts.without(part) as settings:
        model = SimulatedModel("pretrained")
        return elicit(data, model, settings=settings, seed=0, concurrency=1)


@pytest.mark.parametrize("part", [p for p in parts.PARTS if p != parts.DEFAULT])
def test_leaving_a_part_out_changes_what_comes_out(part: str) -> None:
    usual, found = found_without(parts.DEFAULT), found_without(part)
    alike = np.array_equal(usual.soft_labels, found.soft_labels)
    assert alike == (len(found.framings) == 1 and part == "errors taken for independent")


@pytest.mark.slow
def test_runs_that_the_file_has_are_not_made_again(
    reviews: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = reviews / "parts.json"
    words = ["parts.py", "--models", str(reviews), "--data", str(reviews), "--only", "tiny"]
    words += ["--sets", "sst2", "--examples", "24", "--stores", str(reviews / "s")]
    monkeypatch.setattr(sys, "argv", [*words, "--output", str(out)])
    parts.main()
    [run] = json.loads(out.read_text())
    assert (run["model"], run["data"], run["plan"]) == ("tiny", "sst2", PLAN_VERSION)
    assert list(run["parts"]) == list(parts.PARTS)
    for made in run["parts"].values():
        assert 0 <= made["accuracy"] <= 1 and 0.5 <= made["sure"] <= 1

    made_up = run["parts"] | {parts.START: run["parts"][parts.START] | {"accuracy": 0.123}}
    del made_up[parts.SURE]
    out.write_text(json.dumps([run | {"parts": made_up}]))
    parts.main()
    [again] = json.loads(out.read_text())
    assert again["parts"][parts.START]["accuracy"] == 0.123
    assert again["parts"][parts.SURE] == run["parts"][parts.SURE]
    said = capsys.readouterr().out
    assert said.count("tiny sst2") == len(parts.PARTS) + 1
    assert f"| {parts.START} | 0.12 / " in said

    out.write_text(json.dumps([run | {"plan": PLAN_VERSION - 1}]))
    parts.main()
    assert json.loads(out.read_text()) == [run]


def test_a_class_has_the_share_that_is_asked_for(reviews: Path) -> None:
    for share in (0.1, 0.5, 0.9):
        data, gold = rare.draw(reviews, "sst2", share, 30)
        assert [sum(gold.labels[id] for id in data.ids), len(data)] == [round(30 * share), 30]
    with pytest.raises(SystemExit, match="too few rows of a class for 90% of 40"):
        rare.draw(reviews, "sst2", 0.9, 40)


def test_rare_classes_are_scored_found_and_told(
    reviews: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = reviews / "rare.json"
    words = ["rare.py", "--model", "openai:tiny", "--data", str(reviews), "--sets", "sst2"]
    words += ["--rows", "32", "--stores", str(reviews / "s"), "--output", str(out)]
    monkeypatch.setattr(sys, "argv", [*words, "--shares", "0.1"])
    rare.main()
    [row] = json.loads(out.read_text())
    assert (row["set"], row["share"], row["rows"]) == ("sst2", 0.1, 32)
    for way in ("found", "told"):
        assert row[way]["recall"] * 3 == pytest.approx(round(row[way]["recall"] * 3))
        assert 0 <= row[way]["precision"] <= 1
    assert row["told"]["named"] <= 0.35

    out.write_text(json.dumps([row | {"told": row["told"] | {"accuracy": 0.123}}]))
    monkeypatch.setattr(sys, "argv", [*words, "--shares", "0.1", "0.9"])
    rare.main()
    kept, other = json.loads(out.read_text())
    assert kept["told"]["accuracy"] == 0.123 and other["share"] == 0.9
    assert "| 0.12 |" in capsys.readouterr().out
