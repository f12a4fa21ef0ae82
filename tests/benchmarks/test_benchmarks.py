"""What the benchmarks build themselves: evidence repeated side by side, and paired differences."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import deciding  # noqa: E402 (the benchmarks are no package)
import device  # noqa: E402
import elicited  # noqa: E402
import stress  # noqa: E402

from consilience.elicitation.session import elicit, gather  # noqa: E402
from consilience.elicitation.settings import Settings  # noqa: E402
from consilience.evidence.evidence import Evidence  # noqa: E402
from consilience.models.simulated import SimulatedModel, world_dataset  # noqa: E402
from consilience.objective.coherence import default_terms  # noqa: E402
from consilience.planning.planner import PlanSettings  # noqa: E402
from consilience.prompts.query import Query  # noqa: E402
from consilience.solvers.solution import solve  # noqa: E402
from consilience.store.database import Store  # noqa: E402


@pytest.fixture(scope="module")
def one() -> Evidence:
    """The evidence of a small run with relations that count, and with contrasts."""
    plan = PlanSettings(shots=4, contrasts=0.5)
    settings = Settings(calls_per_example=6.0, settled=0.0, priors=True, plan=plan)
    data, _ = world_dataset("grouped", 24)
    with Store() as store:
        found = elicit(data, SimulatedModel("grouped"), settings=settings, store=store)
        return gather(store, found.run.id, data, settings)


def test_copies_of_evidence_are_solved_as_the_one_is(one: Evidence) -> None:
    assert one.f > 0 and one.factors
    # Of more examples it is better known what log-odds are worth.
    one = replace(one, scale=1.0)
    twice = device.repeated(one, 2)
    assert (twice.n, twice.t, twice.f) == (2 * one.n, 2 * one.t, 2 * one.f)
    assert len(twice.ids) == len(set(twice.ids)) == twice.n
    # Of more examples the frequency of classes is surer; all other terms are of each by itself.
    terms = default_terms()
    del terms["class frequency"]
    # One start: others are drawn, for each copy anew.
    alone, both = (solve(evidence, terms, starts=1).labels for evidence in (one, twice))
    assert np.abs(both - np.concatenate([alone, alone])).max() < 1e-3


def test_differences_are_of_the_draws_that_both_have() -> None:
    assert elicited.less({0: 0.5, 2: 1.0, 3: 0.25}, {2: 0.75, 0: 0.25, 1: 0.0}) == [0.25, 0.25]


def test_methods_are_averaged_on_the_draws_that_all_have(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {("a", "one", 4.0): {0: 0.5, 1: 0.7, 2: 0.0}, ("a", "two", None): {1: 0.2, 0: 0.4}}
    monkeypatch.setattr(elicited, "scores", lambda name: found)
    assert elicited.averages(["a"], [("one", 4.0), ("two", 8.0)]) == pytest.approx([0.6, 0.3])


def test_the_best_other_method_is_the_best_on_the_same_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {
        ("a", "consilience", 8.0): {0: 0.9, 1: 0.7, 2: 0.5, 3: 0.5},
        # The best of all on average, for it has the easy draws alone.
        ("a", "lucky", None): {0: 0.8, 1: 0.6},
        ("a", "close", 8.0): {0: 0.85, 1: 0.65, 2: 0.45, 3: 0.45},
    }
    monkeypatch.setattr(elicited, "scores", lambda name="accuracy": found)
    monkeypatch.setattr(elicited, "rivals", lambda calls: ["lucky", "close"])
    assert elicited.best_lead(["a"], 8.0) == "a 0.050 ± 0.000 (close)"


def test_a_lead_is_parted_into_runs_that_end_elsewhere_and_those_that_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = dict.fromkeys(range(42), 0.9)
    theirs = ours | {0: 0.5, 1: 0.82, 41: 0.7}
    assert elicited.lost(ours) == set()
    # A difference of less than a tenth is the noise of right runs.
    assert elicited.lost(theirs) == {0, 41}
    found = {("a", "consilience", 8.0): ours, ("a", elicited.RIVAL, 8.0): theirs}
    monkeypatch.setattr(elicited, "scores", lambda name="accuracy": found)
    monkeypatch.setattr(elicited, "standard", lambda: (("a",), 8.0))
    _, _, row = elicited.ends().splitlines()
    # (0.4 + 0.08 + 0.2) / 42 and 0.08 / 40.
    means = [cell.split(" ± ")[0].strip() for cell in row.split("|")[6:8]]
    assert row.startswith("| a | 42 | 0.900 to 0.900 | 0 | 2 |")
    assert means == ["0.016", "0.002"]


def test_a_rival_was_asked_on_every_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    two, one = dict.fromkeys(range(2), 0.5), {0: 0.9}
    found = {("a", name, 8.0): two for name in ("consilience", "often", "golden")}
    found |= {("a", "seldom", 8.0): one, ("a", "free", None): two, ("a", "less", 4.0): two}
    monkeypatch.setattr(elicited, "scores", lambda name="accuracy": found)
    monkeypatch.setattr(elicited, "standard", lambda: (("a",), 8.0))
    assert elicited.rivals(8.0) == ["free", "often"]


def test_a_run_that_is_wrong_and_says_it_is_coherent_is_counted() -> None:
    usual = {"seed": 0, "accuracy": 0.9, "departure": 0.4, "returned": [0]}
    said = [(0, "coherent"), (1, "coherent"), (2, "several concepts")]
    runs = [
        usual | {"trial": str(trial), "chosen": chosen, "verdict": verdict}
        for trial in stress.TRIALS
        for chosen, verdict in said
    ]
    row = next(line for line in stress.table(runs).splitlines() if line.startswith("| `noisy` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:] == [
        *("1 of 3", "3 of 3", "0.400 ± 0.000", "2 coherent, 1 several concepts", "1 of 3"),
    ]


@pytest.mark.parametrize("k", [2, 4])
def test_a_contrast_differs_from_its_twin_in_one_label(k: int) -> None:
    queries = [Query(str(i), (("a", i % k), ("b", 0), ("c", 1)), "plain") for i in range(40)]
    made = deciding.flipped(queries, k, seed=0)
    assert made[::2] == queries
    for twin, contrast in zip(queries, made[1::2], strict=True):
        differ = [p for p in range(3) if twin.shots[p] != contrast.shots[p]]
        assert differ == [contrast.contrast]
        (id, label), (other, turned) = twin.shots[differ[0]], contrast.shots[differ[0]]
        assert id == other and label != turned and 0 <= turned < k
    assert {query.contrast for query in made[1::2]} == {0, 1, 2}


def test_pairs_decided_wrongly_and_left_close_are_counted_for_each_way_of_asking() -> None:
    def left(lead: float, calls: int = 100) -> dict[str, float]:
        return {"lead": lead, "error": 0.1, "calls": calls}

    nothing, *ways = deciding.NOTHING, *deciding.WAYS
    clear, close = {nothing: left(0.5, 0)}, {nothing: left(0.1, 0)}
    pairs = [clear, close | dict.fromkeys(ways, left(0.4)), close | dict.fromkeys(ways, left(-0.1))]
    runs = [{"world": world, "seed": 0, "pairs": pairs} for world in deciding.WORLDS]
    rows = deciding.table(runs).splitlines()[2:]
    all_of = 3 * len(deciding.WORLDS)
    assert rows[0].endswith(f"| 0, 2 of 3 | 0, {2 * all_of // 3} of {all_of} |")
    for row in rows[1:]:
        assert row.split("|")[2].strip() == "100"
        assert row.endswith(f"| 1, 1 of 3 | {all_of // 3}, {all_of // 3} of {all_of} |")
