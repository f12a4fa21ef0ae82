"""More than two classes of unlike size, told and not: drawn, measured small, and resumed."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import real  # noqa: E402 (the benchmarks are no package)
import shares  # noqa: E402

import consilience.models  # noqa: E402
from recorder import Recorder  # noqa: E402

ROWS = 40


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in shares.SETS:
        classes = real.task_of(name).classes
        rows = [(f"{name}: news {i} of the day", classes[i % len(classes)]) for i in range(240)]
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    monkeypatch.setattr(consilience.models, "open_model", lambda spec, **options: Recorder())
    return tmp_path


def test_the_rows_of_each_class_are_those_said_and_the_draw_says_which_class_is_rare(
    sets: Path,
) -> None:
    rarest = set()
    for seed in range(6):
        data, gold = shares.draw(sets, "agnews", seed, ROWS)
        count = Counter(gold.labels[id] for id in data.ids)
        assert sorted(count.values()) == [2, 5, 10, 18] and len(data) == 35
        rarest.add(min(count, key=lambda c: count[c]))
    assert len(rarest) > 1
    data, _ = shares.draw(sets, "trec", 0, ROWS)
    assert len(data) == ROWS
    with pytest.raises(SystemExit, match="too few rows of a class"):
        shares.draw(sets, "agnews", 0, 400)


def test_the_shares_are_those_of_the_rows_and_of_none_is_half_a_row(sets: Path) -> None:
    data, gold = shares.draw(sets, "agnews", 0, ROWS)
    told = shares.shares(data, gold)
    assert sum(told.values()) == pytest.approx(1)
    assert sorted(told.values()) == pytest.approx([n / 35 for n in (2, 5, 10, 18)])
    empty = dict.fromkeys(gold.labels, 0)
    some = shares.shares(data, type(gold)(empty))
    assert sorted(some.values()) == pytest.approx([0.5 / 36.5] * 3 + [35 / 36.5])


@pytest.mark.slow
def test_draws_are_measured_each_way_and_not_again(
    sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = sets / "shares.json"
    words = ["shares.py", "--model", "local:some/tiny", "--data", str(sets), "--rows", str(ROWS)]
    words += ["--sets", "agnews", "--draws", "1", "--stores", str(sets / "s"), "--output", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    shares.main()
    (row,) = made = json.loads(out.read_text())
    assert (row["model"], row["set"], row["draw"], row["rows"]) == ("tiny", "agnews", 0, 35)
    assert sorted(row["classes"]) == [2, 5, 10, 18]
    for way in shares.WAYS:
        assert 0 <= row[way]["accuracy"] <= 1
    row["untold"]["accuracy"] = 0.987
    out.write_text(json.dumps(made))
    capsys.readouterr()
    shares.main()
    assert json.loads(out.read_text()) == made
    classes = ", ".join(map(str, row["classes"]))
    assert f"| agnews | 0 | {classes} | 0.99 |" in capsys.readouterr().out


@pytest.mark.parametrize("benchmark", ["shares", "rare", "newrows_real", "codes"])
def test_who_is_asked_and_about_what_must_be_said(
    benchmark: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = import_module(benchmark).main
    for words in (["--model", "local:some/tiny"], ["--data", "."]):
        monkeypatch.setattr(sys, "argv", [benchmark, *words])
        with pytest.raises(SystemExit):
            main()
        assert "say --model and --data, or --table" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [benchmark, "--table"])
    main()
    assert capsys.readouterr().out.startswith("| ")
