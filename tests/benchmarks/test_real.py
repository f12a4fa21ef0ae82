"""The bench of real models: its draws, its rows in the two readouts, resuming, and its tables."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import real  # noqa: E402 (the benchmarks are no package)
import real_models  # noqa: E402
import real_tables  # noqa: E402

import consilience.models  # noqa: E402
from consilience.errors import InputError  # noqa: E402
from consilience.evaluation.baselines import gold_array  # noqa: E402
from consilience.evaluation.benchmark.result_file import Results, row_from, row_to  # noqa: E402
from consilience.evaluation.benchmark.scores import (  # noqa: E402
    DRAWS,
    SCORED,
    calibrated_scores,
    readout_scores,
)
from consilience.evaluation.calibration_curve import pooled_ece  # noqa: E402
from consilience.evaluation.metrics import score  # noqa: E402
from consilience.models.simulated import world_dataset  # noqa: E402
from recorder import Recorder  # noqa: E402

SOME = ("zero-shot", "zero-shot-negated", "zero-shot-all", "random-shots", "consilience", "golden")
Run = Callable[..., tuple[str, Results, Recorder]]


def write(folder: Path, name: str, rows: int = 30) -> None:
    """A table of a set, with classes in turn."""
    classes = real.TASKS[name][1]
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        made = csv.writer(file)
        made.writerow(("text", "label"))
        made.writerows((f"Text {i} of {name}.", classes[i % len(classes)]) for i in range(rows))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command on made-up tables of two sets, with a model that notes what it is asked."""
    for name in ("cities", "trec"):
        write(tmp_path, name)

    def go(*words: str, code: int = 0, model: Recorder | None = None) -> Any:
        asked = model or Recorder()
        monkeypatch.setattr(consilience.models, "open_model", lambda *a, **given: asked)
        out, stores = tmp_path / "real.json", tmp_path / "stores"
        usual = ["--model", "local:x/yours", "--data", str(tmp_path), "--sets", "cities", "trec"]
        usual += ["--methods", *SOME, "--examples", "16", "--budgets", "3", "--concurrency", "1"]
        usual += ["--output", str(out), "--stores", str(stores)]
        assert real.main([*usual, *words]) == code
        return capsys.readouterr().out, Results.read(out), asked

    return go


# ---- draws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", real.TASKS)
def test_every_set_is_drawn_with_its_task_and_gold(name: str, tmp_path: Path) -> None:
    write(tmp_path, name)
    data, gold = real.draw(tmp_path, name, 20, 3)
    assert (len(data), len(gold), data.task.k) == (20, 20, len(real.TASKS[name][1]))
    for example in data.examples:
        number = int(example.text.split()[1])
        assert gold.labels[example.id] == number % data.task.k
    again, other = (real.draw(tmp_path, name, 20, seed)[0] for seed in (3, 4))
    assert again.fingerprint == data.fingerprint != other.fingerprint
    assert len(real.draw(tmp_path, name, 99, 0)[0]) == 30


def test_what_is_no_table_of_a_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*mr\.csv"):
        real.draw(tmp_path, "mr", 20, 0)
    (tmp_path / "mr.csv").write_text("text,label\nGood.,fine\n")
    with pytest.raises(InputError, match="fine are none of negative, positive"):
        real.draw(tmp_path, "mr", 20, 0)


# ---- rows and resuming ---------------------------------------------------------------------------


def test_what_the_file_has_is_not_asked_again_and_neither_is_what_the_store_has(
    run: Run, tmp_path: Path
) -> None:
    said, results, model = run()
    assert model.asked and "Nothing" not in said
    # Three classes or more have no opposite, so one row less.
    by_set = {name: set() for name in ("cities", "trec")}
    for row in results.rows.values():
        by_set[results.setups[row.setup]["data"]].add(row.method)
    assert by_set["cities"] == {*SOME, "majority", "structure"}
    assert by_set["trec"] == by_set["cities"] - {"zero-shot-negated"}
    before = (tmp_path / "real.json").read_text()
    _, _, nobody = run()
    assert nobody.asked == [] and (tmp_path / "real.json").read_text() == before
    # Without the file the rows are made again from the stores, and are the same.
    (tmp_path / "real.json").unlink()
    _, again, nobody = run()
    assert nobody.asked == []
    assert {id: row_to(replace(r, seconds=0)) for id, r in again.rows.items()} == {
        id: row_to(replace(r, seconds=0)) for id, r in results.rows.items()
    }
    assert {path.name for path in (tmp_path / "stores").glob("*.db")} == {
        "yours-cities.db",
        "yours-trec.db",
    }


def test_a_row_of_changed_settings_takes_the_place_of_the_old_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before, _ = run("--sets", "cities")
    monkeypatch.setattr("consilience.evaluation.benchmark.benchmark.VERSION", 99)
    _, after, _ = run("--sets", "cities")
    assert len(after.rows) == len(before.rows) and after.rows.keys().isdisjoint(before.rows)
    assert len(after.setups) == 1


def test_a_method_that_cannot_be_asked_leaves_the_others(run: Run) -> None:
    class Mute(Recorder):
        async def ask(self, request: Any) -> Any:
            if request.query.framing == "negated":
                raise InputError("names that begin alike")
            return await super().ask(request)

    _, results, _ = run("--sets", "cities", code=1, model=Mute())
    assert {row.method for row in results.rows.values()} == {
        *({*SOME, "majority", "structure"} - {"zero-shot-negated"})
    }


def test_rows_are_read_in_both_ways_and_come_back_from_the_file(run: Run) -> None:
    _, results, _ = run("--sets", "cities")
    for row in results.rows.values():
        asks = row.method not in ("majority", "structure")
        assert set(row.readouts) == ({"against 0", "offsets off"} if asks else set())
        assert all(set(found) == set(SCORED) for found in row.readouts.values())
        assert (row.verdict != "") == (row.method == "consilience")
        assert 0.5 <= row.confidence <= 1
        assert row_to(row_from(json.loads(json.dumps(row_to(row))))) == row_to(row)
    # An older file has none of it, and is read all the same.
    old = {k: v for k, v in row_to(row).items() if k not in ("readouts", "verdict", "confidence")}
    assert row_to(row_from(old)) == old


def test_readouts_are_scored_as_labels_are() -> None:
    rng = np.random.default_rng(0)
    labels, truth = rng.dirichlet(np.ones(3), size=30), rng.integers(3, size=30)
    truth[:4] = -1
    whole = score(labels, truth, [str(i) for i in range(30)], resamples=2)
    assert readout_scores(labels, truth) == {name: whole[name].estimate for name in SCORED}


# ---- tables --------------------------------------------------------------------------------------


def figures(results: Results, **changed: dict[str, Any]) -> Results:
    """The same rows, but of the methods named with other scores in both readouts."""
    made = Results()
    for row in results.rows.values():
        if row.method in changed:
            found = {name: dict(v) | changed[row.method] for name, v in row.readouts.items()}
            row = replace(row, readouts=found)
        made.add(row, results.setups[row.setup])
    return made


def test_the_tables_say_what_the_rows_do(run: Run) -> None:
    said, results, _ = run()
    known = {"accuracy": 0.9, "auroc": 0.95}
    some, none = {"accuracy": 0.6, "auroc": 0.7}, {"accuracy": 0.5, "auroc": 0.5}
    ours = {"accuracy": 0.8, "auroc": 0.9}
    made = figures(
        results,
        **{"golden": known, "random-shots": some, "zero-shot": none, "zero-shot-all": some},
        consilience=ours,
    )
    cells = real_tables.cells(made)
    ((title, of),) = real_tables.parts(cells)
    assert title == "yours, 3 calls" and of.sets == ["cities", "trec"]
    assert of.qualifies("cities") and of.qualifies("trec")
    lines = real_tables.scores(of, title, "offsets off").splitlines()
    assert "| consilience | 3 | 0.80 / 0.90 | 0.80 / 0.90 |" in lines
    negated = next(line for line in lines if line.startswith("| zero-shot-negated |"))
    assert negated.endswith("|  |")
    # (0.8 − 0.6) of (0.9 − 0.6) is two thirds, in both readouts and on both sets.
    summary = real_tables.summary(of, title)
    row = next(line for line in summary.splitlines() if line.startswith("| consilience |"))
    assert row.count("0.67 ± 0.00") == 2
    assert "2 sets, of which qualify: cities, trec." in summary
    verdicts = [row.verdict for row in made.rows.values() if row.verdict]
    assert len(verdicts) == 2 and all(v in real_tables.verdicts(cells) for v in verdicts)
    assert said.count("accuracy / AUROC") == len(real_tables.READOUTS)


def test_a_column_is_of_the_same_draws_and_a_row_of_the_same_sets(run: Run) -> None:
    _, results, _ = run("--draws", "2", "--examples", "10", "--methods", *SOME, "ranked")
    per = {0: {"accuracy": 0.5, "ece": 0.1}, 1: {"accuracy": 0.9, "ece": 0.3}}
    made = Results()
    for row in results.rows.values():
        name = results.setups[row.setup]["data"]
        # Ranked shots have a draw of cities less, and shots with random labels one of two sets.
        if row.seed and row.method == "ranked" and name == "cities":
            continue
        if row.method == "random-shots" and name == "trec":
            continue
        if row.method == "zero-shot" and row.seed:
            continue
        found = {way: dict(v) | per[row.seed] for way, v in row.readouts.items()}
        made.add(replace(row, readouts=found), results.setups[row.setup])
    ((title, of),) = real_tables.parts(real_tables.cells(made))
    assert of.draws == {"cities": {0}, "trec": {0, 1}}
    assert of.mean("cities", "consilience", "accuracy", "offsets off") == 0.5
    assert of.mean("trec", "consilience", "accuracy", "offsets off") == pytest.approx(0.7)
    head, _, *lines = real_tables.scores(of, title, "offsets off").splitlines()[2:]
    assert head == "| method | calls | cities | trec (2) |"
    alone = next(line for line in lines if line.startswith("| zero-shot |"))
    assert alone.endswith("(1) |") and alone.count("(1)") == 1  # of trec, which has two
    assert not of.covers("random-shots") and of.covers("consilience")
    assert np.isnan(of.over(of.sets, "random-shots", "accuracy", "offsets off"))
    assert of.over(of.sets, "golden", "accuracy", "offsets off") == pytest.approx(0.6)
    # Half of the gap on both sets, the draws of one set averaged: no interval of draws.
    for row in made.rows.values():
        at = {"zero-shot-all": 0.4, "golden": 0.8}.get(row.method, 0.6)
        for found in row.readouts.values():
            found["accuracy"] = at + 0.2 * row.seed  # type: ignore[index]
    share = real_tables.share_of_gap(of, of.sets, "consilience", "offsets off")
    assert share.mean == pytest.approx(0.5) and share.seeds == 2
    assert np.isnan(real_tables.share_of_gap(of, of.sets, "random-shots", "offsets off").mean)
    means = real_tables.means(of, {"golden": "true", "consilience": "ours"}, ["offsets off"])
    assert "| true | 0.85 | -0.20 ± 0.00 |" in means and "| ours | 0.65 |  |" in means


@pytest.mark.parametrize(
    ("golden", "start", "fit"), [(0.76, 0.66, True), (0.74, 0.9, False), (0.9, 0.64, False)]
)
def test_a_set_qualifies_where_the_model_knows_it(
    run: Run, golden: float, start: float, fit: bool
) -> None:
    _, results, _ = run("--sets", "cities")
    low, high = {"auroc": start}, {"auroc": golden}
    given = {"zero-shot": low, "zero-shot-all": low, "random-shots": low, "golden": high}
    ((_, of),) = real_tables.parts(real_tables.cells(figures(results, **given)))
    assert of.qualifies("cities") == fit


def test_one_readout_alone_and_nothing_at_all(run: Run) -> None:
    run("--sets", "cities")
    said, _, model = run("--table", "--readout", "against 0")
    assert model.asked == []
    assert said.count("accuracy / AUROC") == 1 and "accuracy / AUROC, against 0" in said
    assert real.table({"rows": []}) == "Nothing is measured yet."
    with pytest.raises(SystemExit):
        real.main([])


def test_the_pages_show_what_is_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_models, "RESULTS", tmp_path)
    real_models.measured.cache_clear()
    assert real_models.real_scores() == real_models.real_summary() == "Nothing is measured yet.\n"
    run("--sets", "cities")
    real_models.measured.cache_clear()
    assert "of which qualify" in real_models.real_summary()
    assert "offsets off" in real_models.real_scores()
    real_models.measured.cache_clear()


# ---- landmarks -----------------------------------------------------------------------------------


def test_landmarks_mend_the_probabilities_of_the_others_and_are_not_scored_themselves() -> None:
    data, gold = world_dataset("easy", 300)
    truth = gold_array(data, gold)
    wrong = np.random.default_rng(1).random(300) < 0.3
    labels = np.full((300, 2), 0.001)
    labels[np.arange(300), np.where(wrong, 1 - truth, truth)] = 0.999
    sure = readout_scores(labels, truth)
    mended, counts = calibrated_scores(labels, truth, data, seed=0)
    assert sure["ece"] == pytest.approx(0.3, abs=0.05) and mended["ece"] < 0.12
    assert mended["accuracy"] == pytest.approx(sure["accuracy"], abs=0.02)
    # The bins of all draws, five times 280 examples.
    assert sum(count.examples for count in counts) == 280 * DRAWS
    assert pooled_ece([counts]) <= mended["ece"]
    # Were landmarks scored, a world of nothing else would be right throughout.
    few = np.where(np.arange(300) < 40, truth, -1)
    assert calibrated_scores(labels, few, data, seed=0)[0]["accuracy"] < 0.9
    assert calibrated_scores(labels, np.where(np.arange(300) < 39, truth, -1), data, 0) == ({}, ())
