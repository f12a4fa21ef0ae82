"""The benchmark: rows by hand, what decides them, the file, and the tables made from it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from consilience.data.dataset import Dataset, Gold
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import ConsilienceError, InputError
from consilience.evaluation.benchmark.benchmark import (
    Case,
    Job,
    Ledger,
    Row,
    check_methods,
    measure,
    pending,
    plan_jobs,
    setup_of,
    short_hash,
    spend,
)
from consilience.evaluation.benchmark.methods import BENCHMARK_METHODS, FIXED, FREE, FULL
from consilience.evaluation.benchmark.result_file import Results, row_from, row_to
from consilience.evaluation.benchmark.scores import DRAWS, calibrated_scores
from consilience.evaluation.benchmark.tables import (
    over_seeds,
    overview,
    recovered,
    render_tables,
    summarise,
    tables,
)
from consilience.evaluation.benchmark.workers import work_off
from consilience.evaluation.metrics import Interval, pgr, score
from consilience.evaluation.plots import plot_budgets
from consilience.models import open_model
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.prompts.shared_prefixes import fresh
from consilience.store.database import Store
from recorder import Recorder

SMALL = Settings(plan=PlanSettings(shots=4, block=8))
SOME = ("zero-shot-all", "bootstrap", "consilience", "golden")
CASE = Case("noisy", partial(world_dataset, "noisy", 24), partial(open_model, "simulated:noisy"))


def jobs(
    methods: Sequence[str] = SOME, budgets: Sequence[float] = (2, 4), seeds: int = 2
) -> list[Job]:
    return plan_jobs(CASE, CASE.model(), methods, budgets, range(seeds), SMALL, concurrency=1)


def made(todo: Sequence[Job], workers: int = 1) -> dict[str, Row]:
    rows = work_off(todo, {CASE.name: CASE.model()}, workers)
    return {row.id: replace(row, seconds=0.0) for row in rows}


@pytest.fixture(scope="module")
def all_rows() -> dict[str, Row]:
    return made(jobs())


@pytest.fixture(scope="module")
def every() -> dict[str, Row]:
    """A row of each method that keeps to the budget."""
    return made(jobs([name for name in BENCHMARK_METHODS if name not in FULL], (3,), 1))


@pytest.fixture(scope="module")
def results(all_rows: dict[str, Row]) -> Results:
    found = Results()
    for row in all_rows.values():
        found.add(row, setup_of(CASE, CASE.model(), SMALL))
    return found


# ---- jobs --------------------------------------------------------------------------------------


def test_a_job_has_the_methods_that_its_budget_is_for() -> None:
    planned = jobs()
    assert [(job.seed, job.budget) for job in planned] == [
        (seed, budget) for seed in (0, 1) for budget in (None, 2, 4)
    ]
    assert set(planned[0].wanted) == {"majority", "structure", "zero-shot-all"} <= set(FIXED)
    # Both ends of the gap come first, since the rows after them need their labels.
    assert planned[1].order == ("zero-shot-all", "golden", "bootstrap", "consilience")
    assert list(planned[1].wanted) == ["bootstrap", "consilience", "golden"]
    assert [job.settings.calls_per_example for job in planned[1:3]] == [2, 4]
    # The whole budget is used.
    assert {job.settings.settled for job in planned} == {0.0}


def test_each_row_has_an_id_that_says_what_decides_it() -> None:
    ids = [id for job in jobs() for id in job.wanted.values()]
    assert len(set(ids)) == len(ids) == 2 * (3 + 2 * 3)
    again = [id for job in jobs() for id in job.wanted.values()]
    assert again == ids
    # More seeds, budgets and methods are more rows, and leave those that are there.
    more = {i for j in jobs([*SOME, "vote"], (2, 4, 8), 3) for i in j.wanted.values()}
    assert set(ids) < more

    def of(case: Case, settings: Settings = SMALL) -> set[str]:
        planned = plan_jobs(case, case.model(), SOME, (2, 4), range(2), settings)
        return {id for job in planned for id in job.wanted.values()}

    def turned(seed: int) -> tuple[Dataset, Gold]:
        data, gold = world_dataset("noisy", 24, seed)
        return data, Gold({id: 1 - label for id, label in gold.labels.items()})

    others = [
        of(replace(CASE, name="other")),
        of(replace(CASE, model=partial(open_model, "simulated:easy"))),
        of(replace(CASE, data=partial(world_dataset, "noisy", 25))),
        of(replace(CASE, data=turned)),
        of(replace(CASE, options={"groups": 24})),
        of(CASE, replace(SMALL, priors=True)),
    ]
    assert all(other.isdisjoint(ids) for other in others)
    # What only one method reads leaves the rows of the others as they are.
    own = {id for job in jobs() for name, id in job.wanted.items() if name == "consilience"}
    assert of(CASE, replace(SMALL, census=0.1)) & set(ids) == set(ids) - own
    # Budget and early stop of the settings are the job's own; the place of the store is no matter.
    assert of(CASE, replace(SMALL, calls_per_example=3, settled=0.1)) == set(ids)
    assert of(replace(CASE, store="elsewhere.db")) == set(ids)


def test_what_asks_nothing_stands_beside_all_and_what_is_full_only_where_it_is_named() -> None:
    from consilience.evaluation.benchmark.methods import USUAL

    assert check_methods(["bootstrap"]) == (*FREE, "bootstrap")
    assert set(USUAL) | set(FULL) == set(BENCHMARK_METHODS)
    assert {"icm-full", "gibbs-full"} <= set(FULL)
    assert set(USUAL).isdisjoint(FULL)
    with pytest.raises(InputError, match="no method 'boot'; the methods are: majority, "):
        check_methods(["boot"])


@pytest.mark.parametrize(
    ("budgets", "settings", "said"),
    [
        ((0.5,), SMALL, "fewer than the 24 of the zero-shot round"),
        ((2,), replace(SMALL, framings=("sets",)), "zero-shot-all: no framing means anything"),
    ],
)
def test_what_cannot_work_is_found_before_anything_is_asked(
    budgets: tuple[float, ...], settings: Settings, said: str
) -> None:
    model = Recorder()
    with pytest.raises(InputError, match=said):
        plan_jobs(CASE, model, SOME, budgets, [0], settings)
    with pytest.raises(InputError, match="gold has no label"):
        blind = replace(CASE, data=lambda seed: (world_dataset("noisy", 24)[0], Gold({"x": 1})))
        plan_jobs(blind, model, SOME, (2,), [0], SMALL)
    assert model.asked == []


# ---- rows --------------------------------------------------------------------------------------


def test_every_method_gives_a_row_within_its_budget(every: dict[str, Row]) -> None:
    assert {row.method for row in every.values()} == set(BENCHMARK_METHODS) - set(FULL)
    for row in every.values():
        assert row.calls_per_example <= (3 if row.budget else 2)
        assert (row.calls_per_example == 0) == (row.method in FREE)
        assert row.examples == row.scored == 24
        assert row.absent == 0
        assert set(row.scores) == {
            *("accuracy", "auroc", "brier", "log_loss", "ece", "aurc", "covered_accuracy"),
            *("departure", *(["pgr"] if row.budget else [])),
        }
        assert math.isnan(row.fresh) == (row.method in FREE)
        assert row.prompt_tokens_per_example >= 12 * row.calls_per_example


def test_a_row_is_what_the_parts_say() -> None:
    job = jobs(seeds=1)[2]
    rows = {row.method: row for row in measure(job, CASE.model())}
    row = rows["consilience"]
    data, gold = job.data, job.gold
    truth = np.array([gold.labels[id] for id in data.ids])
    with Store() as store:
        settings = replace(SMALL, calls_per_example=4.0, settled=0.0)
        found = elicit(data, SimulatedModel("noisy"), settings=settings, store=store, concurrency=1)
        details = [store.detail(key) for r in store.rounds(found.run.id) for key, _ in r]
    labels = found.solution.labels
    assert {k: row.scores[k] for k in row.scores if k != "pgr"} == score(labels, truth, data.groups)
    assert row.calls_per_example == found.run.planned / 24 == 4
    tokens = sum(detail["usage"]["prompt_tokens"] for detail in details)
    assert row.prompt_tokens_per_example == pytest.approx(tokens / 24)
    prompts = list(dict.fromkeys(detail["prompt"] for detail in details))
    assert row.fresh == pytest.approx(fresh(prompts))
    assert rows["golden"].scores["pgr"].estimate == 1
    assert not math.isnan(row.scores["pgr"].estimate)


def test_the_share_of_the_gap_is_that_of_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs(["zero-shot-all", "bootstrap", "golden"], (4,), 1)[1]
    kept = {}
    for name in job.order:

        def spied(bench, gold, name=name, method=BENCHMARK_METHODS[name]):
            kept[name] = method(bench, gold)
            return kept[name]

        monkeypatch.setitem(BENCHMARK_METHODS, name, spied)  # type: ignore[arg-type]
    rows = {row.method: row for row in measure(job, CASE.model())}
    truth = np.array([job.gold.labels[id] for id in job.data.ids])
    three = (kept[name].labels for name in ("bootstrap", "zero-shot-all", "golden"))
    assert rows["bootstrap"].scores["pgr"] == pgr(*three, truth, job.data.groups)


def test_gold_scores_the_rows_and_makes_none_of_them(every: dict[str, Row]) -> None:
    names = [name for name in BENCHMARK_METHODS if name not in (*FULL, "golden", "majority")]
    turned = [
        replace(job, gold=Gold({id: 1 - label for id, label in job.gold.labels.items()}))
        for job in jobs(names, (3,), 1)
    ]
    other = made(turned)
    assert len(other) == len(names) + 1
    for id, row in other.items():
        if row.method != "majority":
            accuracy = every[id].scores["accuracy"].estimate
            assert row.scores["accuracy"].estimate == pytest.approx(1 - accuracy), row.method


def test_landmarks_are_not_scored_among_those_that_they_calibrate() -> None:
    data, gold = world_dataset("noisy", 60)
    truth = np.array([gold.labels[id] for id in data.ids])
    truth[::5] = -1
    # Labels that know nothing: what they seem to know has been given them.
    labels = np.random.default_rng(0).dirichlet([1, 1], size=60)
    scores, counts = calibrated_scores(labels, truth, data, 0)
    assert sum(count.examples for count in counts) == DRAWS * (48 - 20)
    assert scores["accuracy"] < 0.6
    # Too few are left beside the landmarks.
    truth[np.flatnonzero(truth >= 0)[:9]] = -1
    assert calibrated_scores(labels, truth, data, 0) == ({}, ())


def test_methods_of_a_job_share_what_they_ask() -> None:
    model = Recorder()
    job = plan_jobs(CASE, model, ["zero-shot-all", "vote", "bootstrap"], (2,), [0], SMALL)[1]
    rows = list(measure(job, model))
    # All three ask the zero-shot round alone, two calls for each example.
    assert [row.calls_per_example for row in rows] == [2, 2]
    assert len(model.asked) == 2 * 24


def test_predictions_stay_in_the_store_that_is_named(tmp_path: Path) -> None:
    model = Recorder()
    case = replace(CASE, store=tmp_path / "kept.db")
    job = plan_jobs(case, model, ["bootstrap"], (3,), [0], SMALL)[1]
    first = [row_to(replace(row, seconds=0)) for row in measure(job, model)]
    asked = len(model.asked)
    assert asked == 3 * 24
    assert [row_to(replace(row, seconds=0)) for row in measure(job, model)] == first
    assert len(model.asked) == asked


def test_the_ledger_notes_what_was_wanted_in_order() -> None:
    job = jobs(["bootstrap"], (2,), 1)[1]
    model = CASE.model()
    with Ledger() as store:
        elicit(job.data, model, settings=job.settings, store=store, concurrency=1)
        wanted, at = list(store.wanted), 0
        for rows in store.rounds(store.run().id):
            # Within a round what is sent together begins alike.
            assert sorted(wanted[at : at + len(rows)]) == sorted(key for key, _ in rows)
            at += len(rows)
        assert at == len(wanted)
        assert store.prompts() == [store.detail(key)["prompt"] for key in wanted]
        store.wanted["sha256:unknown"] = None
        assert len(store.prompts()) == len(wanted)


# ---- processes and resuming --------------------------------------------------------------------


@pytest.mark.slow
def test_processes_make_the_same_rows(all_rows: dict[str, Row]) -> None:
    parallel = made(jobs(), workers=2)
    assert {id: row_to(row) for id, row in parallel.items()} == {
        id: row_to(row) for id, row in all_rows.items()
    }


@pytest.mark.slow
def test_what_goes_wrong_in_a_process_is_told_here() -> None:
    broken = [
        replace(job, case=replace(CASE, model=partial(open_model, "nonsense"))) for job in jobs()
    ]
    with pytest.raises(InputError, match="no model 'nonsense'"):
        list(work_off(broken, {}, workers=2))
    with pytest.raises(InputError, match="workers must be at least 1"):
        list(work_off([], {}, workers=0))


def threads() -> None:
    raise ConsilienceError(f"{torch.get_num_threads()} thread")


@pytest.mark.slow
def test_each_of_several_processes_has_one_thread() -> None:
    with pytest.raises(ConsilienceError, match=r"^1 thread$"):
        list(work_off([replace(job, case=replace(CASE, model=threads)) for job in jobs()], {}, 2))


@pytest.mark.slow
def test_a_bug_in_a_process_is_told_with_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    bug = [replace(job, case=replace(CASE, model=partial(int, "x"))) for job in jobs()]
    with pytest.raises(ConsilienceError, match="ended with exit code 1"):
        list(work_off(bug, {}, workers=2))
    assert "ValueError: invalid literal" in capfd.readouterr().err


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_and_not_an_end() -> None:
    import os

    killed = [replace(job, case=replace(CASE, model=partial(os._exit, 3))) for job in jobs()]
    with pytest.raises(ConsilienceError, match="ended with exit code 3"):
        list(work_off(killed, {}, workers=2))


@pytest.mark.parametrize(
    "after", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(7, marks=pytest.mark.slow)]
)
def test_what_was_cut_short_ends_as_if_it_had_not_been(
    after: int, all_rows: dict[str, Row], tmp_path: Path
) -> None:
    path, setup = tmp_path / "r.json", setup_of(CASE, CASE.model(), SMALL)
    first = Results.read(path)
    for row, _ in zip(work_off(jobs(), {CASE.name: CASE.model()}), range(after), strict=False):
        first.add(replace(row, seconds=0.0), setup)
    second = Results.read(path)
    assert len(second.rows) == after
    left = pending(jobs(), second.rows)
    new = made(left)
    assert new.keys().isdisjoint(second.rows)
    for row in new.values():
        second.add(row, setup)
    whole = Results(tmp_path / "whole.json")
    for row in all_rows.values():
        whole.add(row, setup)
    assert path.read_text() == (tmp_path / "whole.json").read_text()
    assert pending(jobs(), second.rows) == []


# ---- the file ----------------------------------------------------------------------------------


def test_a_row_comes_back_from_its_json(all_rows: dict[str, Row]) -> None:
    for row in all_rows.values():
        text = json.dumps(row_to(row), allow_nan=False)
        back = row_from(json.loads(text))
        assert row_to(back) == row_to(row)
        assert back.scores["accuracy"].estimate == pytest.approx(
            row.scores["accuracy"].estimate, rel=1e-5
        )
    odd = replace(row, scores={"auroc": Interval(math.nan, math.nan, math.nan, "one class")})
    assert str(row_from(row_to(odd)).scores["auroc"]) == "undefined (one class)"


def test_a_row_of_other_data_takes_the_place_of_the_old_one(all_rows: dict[str, Row]) -> None:
    results, row = Results(), next(iter(all_rows.values()))
    results.add(row, {})
    results.add(replace(row, seed=7, id="seven"), {})
    results.add(replace(row, fingerprint="changed", id="new"), {})
    assert set(results.rows) == {"seven", "new"}


@pytest.mark.parametrize("text", ["", "[]", '{"rows": []', '{"rows": [{"id": 1}], "setups": {}}'])
def test_what_is_no_file_of_results(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(InputError, match="no file of benchmark results"):
        Results.read(path)
    assert path.read_text() == text


def test_a_file_that_cannot_be_replaced_stays_whole(
    all_rows: dict[str, Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, *_ = all_rows.values()
    results = Results(tmp_path / "r.json")
    results.add(one, {})
    before = results.path and results.path.read_text()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConsilienceError, match=r"cannot write .*r\.json: No space left"):
        results.add(two, {})
    assert results.path and results.path.read_text() == before


# ---- tables ------------------------------------------------------------------------------------


def test_the_interval_over_seeds_is_students() -> None:
    values = [0.7, 0.8, 0.84, 0.9]
    found = over_seeds([*values, math.nan])
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.lower, found.upper, found.seeds) == (pytest.approx(low), pytest.approx(high), 4)
    assert str(found) == f"0.810 ± {(high - low) / 2:.3f}"
    assert str(over_seeds([0.5])) == "0.500"
    assert str(over_seeds([])) == str(over_seeds([math.nan])) == "–"


def test_the_share_of_the_gap_over_seeds_by_hand() -> None:
    # Gaps 0.2 and 0.3, of which 0.1 and 0.3 are won: 0.4 of 0.5.
    wide = recovered([0.7, 0.9], [0.6, 0.6], [0.8, 0.9], level=0.5)
    assert wide.mean == pytest.approx(0.8)
    # What is left of each seed is 0.1 − 0.8 · 0.2 and 0.3 − 0.8 · 0.3, so ∓ 0.06 about 0.
    half = stats.t.ppf(0.75, 1) * 0.06 / 0.25
    assert (wide.lower, wide.upper) == (pytest.approx(0.8 - half), pytest.approx(0.8 + half))
    # The gap of these two seeds is not above zero with 95 % confidence; there may be none.
    assert math.isnan(recovered([0.7, 0.9], [0.6, 0.6], [0.8, 0.9]).mean)
    assert math.isnan(recovered([0.7], [0.6], [0.6]).mean)
    assert recovered([0.7], [0.6], [0.8]).mean == pytest.approx(0.5)
    assert math.isnan(recovered([], [], []).mean)


def test_the_tables_say_what_the_rows_do(results: Results) -> None:
    found = {(s.method, s.budget): s for s in summarise(results)}
    assert {budget for _, budget in found} == {2, 4}
    rows = list(results.rows.values())
    for (method, budget), summary in found.items():
        own = [r for r in rows if r.method == method and r.budget in (None, budget)]
        assert len(own) == summary.seeds == 2
        for name in ("accuracy", "auroc", "aurc", "departure"):
            values = [r.scores[name].estimate for r in own]
            assert summary.values[name].mean == pytest.approx(np.mean(values))
            half = stats.t.ppf(0.975, 1) * stats.sem(values)
            assert summary.values[name].half == pytest.approx(half)
            inner = [(r.scores[name].upper - r.scores[name].lower) / 2 for r in own]
            assert summary.values[name].within == pytest.approx(np.mean(inner))
        share = summary.values["fresh_ratio"].mean
        assert math.isnan(share) if method in FREE else share > 0.4
    accuracy, measures = tables(results)
    assert accuracy.head == ["method", "2 calls", "4 calls"]
    line = next(line for line in accuracy.body if line[0] == "bootstrap")
    assert line[1:] == [str(found["bootstrap", b].values["accuracy"]) for b in (2, 4)]
    gained = [
        a.scores["accuracy"].estimate - b.scores["accuracy"].estimate
        for seed in (0, 1)
        for a in rows
        for b in rows
        if (a.method, a.budget, a.seed) == ("consilience", 4, seed)
        if (b.method, b.budget, b.seed) == ("bootstrap", 4, seed)
    ]
    line = next(line for line in measures.body if line[0] == "bootstrap")
    half = stats.t.ppf(0.975, 1) * stats.sem(gained)
    assert line[-1] == f"{np.mean(gained):+.3f} ± {half:.3f}"
    assert measures.title == "noisy (simulated:noisy), 2 seeds: all measures at 4 calls"
    assert overview(summarise(results), 4).body[0][1] == str(
        found["majority", 4].values["accuracy"]
    )


def test_a_single_seed_has_the_interval_over_groups(results: Results) -> None:
    ids = {id for id, row in results.rows.items() if row.seed == 0}
    one = next(s for s in summarise(results, ids) if (s.method, s.budget) == ("bootstrap", 4))
    row = next(
        results.rows[id]
        for id in ids
        if (results.rows[id].method, results.rows[id].budget) == ("bootstrap", 4)
    )
    assert str(one.values["accuracy"]) == str(row.scores["accuracy"])
    # The share of the gap too: of accuracies 0.6, 0.7 and 0.8 it is a half.
    made, setup = Results(), next(iter(results.setups.values()))
    reached = {"zero-shot-all": 0.6, "bootstrap": 0.7, "golden": 0.8}
    for method, accuracy in reached.items():
        scores = row.scores | {"accuracy": Interval(accuracy, 0.5, 0.9), "pgr": Interval(9, 0.2, 1)}
        made.add(replace(row, id=method, method=method, scores=scores), setup)
    share = next(s for s in summarise(made) if s.method == "bootstrap").values["pgr"]
    assert str(share) == "0.500 [0.200, 1.000]"


def test_cases_of_one_name_are_told_apart(results: Results) -> None:
    both = Results()
    setup = next(iter(results.setups.values()))
    for row in results.rows.values():
        both.add(row, setup)
        both.add(replace(row, id=f"{row.id}x", setup="other"), setup)
    titles = [table.title for table in tables(both)]
    assert sum("setup other" in title for title in titles) == 2
    assert len(set(titles)) == 4


def test_markdown_and_plain_text_have_the_same_cells(results: Results) -> None:
    plain, markdown = (render_tables(tables(results), style) for style in (False, True))
    line = next(line for line in plain.splitlines() if line.startswith("consilience"))
    cells = [cell for cell in line.split("  ") if cell.strip()]
    assert f"| {' | '.join(cell.strip() for cell in cells)} |" in markdown.splitlines()
    with pytest.raises(InputError, match="no results yet"):
        tables(Results())


def test_absent_predictions_are_said(results: Results) -> None:
    from consilience.evaluation.benchmark.tables import notes

    assert "absent" not in notes(summarise(results))
    lossy = Results()
    setup = next(iter(results.setups.values()))
    for row in results.rows.values():
        lossy.add(replace(row, absent=3) if row.method == "bootstrap" else row, setup)
    assert "12 predictions failed and are absent." in notes(summarise(lossy))


def test_every_line_of_a_markdown_table_has_as_many_cells(results: Results) -> None:
    for table in tables(results):
        _, _, *lines = table.markdown().splitlines()
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert bars == {len(table.head) + 1}


def test_a_picture_has_every_case_and_method(results: Results, tmp_path: Path) -> None:
    words = plot_budgets(summarise(results), tmp_path / "b.svg").read_text("utf-8")
    for said in ("noisy (simulated)", *SOME, *FREE, "calls per example", "accuracy"):
        assert f"<!-- {said} -->" in words


# ---- spend -------------------------------------------------------------------------------------


def test_what_it_will_take_is_what_it_takes_at_most() -> None:
    model = Recorder()
    for job in plan_jobs(CASE, model, SOME, (4,), [0], SMALL):
        cost = spend(job, model)
        assert model.asked == []
        rows = list(measure(job, SimulatedModel("noisy")))
        calls = {row.method: row.calls_per_example * 24 for row in rows}
        if job.gap:
            calls["zero-shot-all"] = 48
        assert cost.calls == sum(calls.values())
        assert cost.rows == len(rows)
        tokens = sum(row.prompt_tokens_per_example * 24 for row in rows)
        assert cost.prompt_tokens == pytest.approx(tokens, rel=0.25)


def test_what_it_will_take_does_not_depend_on_runs_that_the_store_has(tmp_path: Path) -> None:
    case = replace(CASE, store=str(tmp_path / "s.db"))
    planned = plan_jobs(case, Recorder(), ("bootstrap",), (4,), [0], SMALL)
    job = max(planned, key=lambda job: spend(job, Recorder()).calls)
    before = spend(job, Recorder())
    with Store(job.case.store) as store:
        elicit(job.data, Recorder(), settings=job.settings, store=store)
    assert before.prompt_tokens > 0 and spend(job, Recorder()) == before


def test_ids_are_hashes_of_plain_data() -> None:
    assert short_hash({"a": 1, "b": 2}) == short_hash({"b": 2, "a": 1}) != short_hash({"a": 2})
