"""Runs of several models solved together: nothing lost, nothing mixed up, better than alone."""

from __future__ import annotations

import csv
import io
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from command import consilience
from consilience.data.dataset import Dataset
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.evaluation.baselines import gold_array
from consilience.evidence.evidence import Evidence
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.objective.coherence import default_terms
from consilience.planning.planner import PlanSettings
from consilience.results.joint import joined, together
from consilience.results.landmarks import Landmarks
from consilience.results.result import Found
from consilience.solvers.fixed_point import Problem
from consilience.solvers.lbfgs import LBFGS
from consilience.store.database import Store

SETTINGS = Settings(calls_per_example=3, settled=0.0, plan=PlanSettings(contrasts=0.2))
TWO = LBFGS(starts=2)


@pytest.fixture(scope="module")
def runs() -> tuple[Dataset, np.ndarray, list[Found]]:
    """Three runs over one world, as far apart as seeds make them, in one store."""
    data, gold = world_dataset("easy", 120)
    with Store() as store:
        found = [
            elicit(data, SimulatedModel("easy"), settings=SETTINGS, seed=s, store=store, solver=TWO)
            for s in range(3)
        ]
    return data, gold_array(data, gold), found


def accuracy(found: Found, truth: np.ndarray) -> float:
    return float((found.solution.labels.argmax(axis=1) == truth).mean())


def apart(found: list[Found]) -> tuple[Evidence, Evidence]:
    """The evidence of the first run, and what that of the second has beside it."""
    one, other = found[0].evidence, found[1].evidence
    mine = set(one.predictions.keys)
    return one, other.only(torch.tensor([key not in mine for key in other.predictions.keys]))


def loss(found: Found, truth: np.ndarray) -> float:
    return float(-np.log(found.solution.labels[np.arange(len(truth)), truth]).mean())


def test_without_an_answer_is_who_has_none_in_any_run(runs) -> None:
    data, _, found = runs
    one, two, three = data.ids[:3]
    first = replace(found[0], unanswered={one: "filtered", two: "too long"})
    other = replace(found[1], unanswered={two: "filtered", three: "filtered"})
    assert together([first, other]).unanswered == {two: "too long"}


def test_together_they_are_better_than_one_alone(runs) -> None:
    _, truth, found = runs
    both = together(found)
    # What two runs asked alike was answered once, and counts once.
    assert both.evidence.t == len({key for f in found for key in f.evidence.predictions.keys})
    assert loss(both, truth) < np.mean([loss(f, truth) for f in found])
    assert accuracy(both, truth) > np.mean([accuracy(f, truth) for f in found]) - 0.03
    assert both.uncertainty.epistemic.mean() < found[0].uncertainty.epistemic.mean()
    assert together(found[:1]) is found[0]


def test_a_run_of_another_labelling_does_not_turn_the_others(runs) -> None:
    _, truth, found = runs
    evidence = found[2].evidence
    flipped = replace(evidence.predictions, logp=evidence.predictions.logp.flip(1))
    turned = replace(found[2], evidence=replace(evidence, predictions=flipped))
    mixed = together([found[0], found[1], turned])
    alone = together(found[:2])
    assert accuracy(mixed, truth) > accuracy(alone, truth) - 0.05


def test_nothing_is_lost_and_nothing_mixed_up(runs) -> None:
    _, _, found = runs
    one, other = apart(found)
    both = joined(one, other)
    for part, at in ((one, slice(0, one.t)), (other, slice(one.t, None))):
        keep = torch.zeros(both.t, dtype=torch.bool)
        keep[at] = True
        again = both.only(keep)
        numbered = {"framing", "round", "context", "kind", "pair"}
        for arrays in ("predictions", "shots", "contrasts"):
            these, those = getattr(again, arrays), getattr(part, arrays)
            for name in {field.name for field in fields(those)} - numbered - {"keys"}:
                assert torch.equal(getattr(these, name), getattr(those, name)), name
        assert again.predictions.keys == part.predictions.keys
    # Lists, kinds and rounds of one are never those of the other.
    for name in ("context", "kind", "round", "pair"):
        values: torch.Tensor = getattr(both.contrasts if name == "pair" else both.predictions, name)
        cut = one.f if name == "pair" else one.t
        mine, theirs = (set(v.tolist()) - {-1} for v in (values[:cut], values[cut:]))
        assert not mine & theirs, name
    assert len(both.framings) == len(one.framings) + len(other.framings)


def test_the_order_of_runs_that_share_nothing_changes_nothing(runs) -> None:
    _, _, found = runs
    one, other = apart(found)
    labels = torch.from_numpy(found[0].solution.labels).log()[None]
    forth, back = (
        float(problem.value(problem.condition(labels), labels)[0])
        for problem in (
            Problem(joined(one, other), default_terms()),
            Problem(joined(other, one), default_terms()),
        )
    )
    assert forth == pytest.approx(back, rel=1e-9)


def test_what_cannot_be_solved_together_is_refused(runs) -> None:
    data, truth, found = runs
    with pytest.raises(InputError, match="named twice"):
        together([found[0], found[0]])
    with pytest.raises(InputError, match="no runs"):
        together([])
    other, _ = world_dataset("easy", 40, seed=5)
    alien = elicit(other, SimulatedModel("easy"), settings=SETTINGS, solver=TWO)
    with pytest.raises(InputError, match="other examples"):
        together([found[0], alien])
    vouched = Landmarks.of({data.ids[i]: int(truth[i]) for i in range(20)}, data)
    with pytest.raises(InputError, match="calibrated"):
        together([found[0], found[1].calibrated(vouched)])


@pytest.mark.slow
def test_the_command_line_solves_runs_together(runs, tmp_path: Path) -> None:
    data, _, _ = runs
    with Store(tmp_path / "s.db") as store:
        two = [
            elicit(data, SimulatedModel("easy"), settings=SETTINGS, seed=s, store=store, solver=TWO)
            for s in range(2)
        ]
    ids = ",".join(f.run.id for f in two)
    done = consilience("solve", "--store", tmp_path / "s.db", "--run", ids, "--details")
    printed = {r["id"]: float(r["p_True"]) for r in csv.DictReader(io.StringIO(done.stdout))}
    wanted = together(two).solution.labels[:, 1]
    np.testing.assert_allclose([printed[id] for id in data.ids], wanted, atol=1e-3)


def test_what_was_corrected_in_any_run_holds_and_may_not_contradict(
    runs: tuple[Dataset, np.ndarray, list[Found]],
) -> None:
    data, _, (one, other, _) = runs
    x, y = data.ids[:2]
    turned = {id: 1 - int(other.soft_labels[data.index[id]].argmax()) for id in (x, y)}
    mine, yours = one.corrected({x: turned[x]}), other.corrected({y: turned[y]})
    for pair in ((one, yours), (yours, one), (mine, yours), (yours, mine)):
        made = together(pair)
        assert made.corrections == dict(pair[0].corrections) | dict(pair[1].corrections)
        for id, label in made.corrections.items():
            assert made.soft_labels[data.index[id]].tolist() == np.eye(2)[label].tolist()
    against = other.corrected({x: 1 - turned[x]})
    with pytest.raises(InputError, match=f"row {x} was corrected to"):
        together([mine, against])
