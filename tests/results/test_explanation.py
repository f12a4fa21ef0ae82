"""The pulls on a label: they sum to its log-odds, and each is what its name says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from consilience.data.dataset import Dataset
from consilience.data.relations import AtMostOne, Equal, Opposite
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.objective.coherence import TERMS, default_terms
from consilience.objective.conditioning import condition
from consilience.planning.planner import PlanSettings
from consilience.results.result import Found
from consilience.solvers.annealing import Annealing
from consilience.solvers.lbfgs import LBFGS

PLAN = PlanSettings(shots=4, contrasts=0.3)
SETTINGS = Settings(calls_per_example=5.0, plan=PLAN, settled=0.0)


def found_on(world: str, groups: int, **given: object) -> Found:
    bare, _ = world_dataset(world, groups)
    ids = bare.ids
    # One example is tied twice, to two others, and one once.
    facts = [AtMostOne((ids[0], ids[5])), Equal((ids[0], ids[7]), strength=0.9)]
    data = Dataset(world, bare.examples, [*bare.relations, *facts], task=bare.task)
    solver = given.pop("solver", LBFGS(starts=1))
    return elicit(data, SimulatedModel(world), settings=SETTINGS, solver=solver, **given)


@pytest.fixture(scope="module")
def two() -> Found:
    return found_on("grouped", 24)


@pytest.fixture(scope="module")
def four() -> Found:
    return found_on("k4", 12)


def odds_of(found: Found) -> np.ndarray:
    q = np.sort(np.maximum(found.solution.labels, 1e-300), axis=1)
    return np.log(q[:, -1] / q[:, -2])


def sums_of(found: Found) -> np.ndarray:
    return np.array([found.explain(id)["pull"].sum() for id in found.dataset.ids])


@pytest.mark.parametrize("which", ["two", "four"])
def test_the_pulls_of_every_example_sum_to_the_log_odds_of_its_label(
    which: str, request: pytest.FixtureRequest
) -> None:
    found: Found = request.getfixturevalue(which)
    np.testing.assert_allclose(sums_of(found), odds_of(found), atol=1e-9)
    np.testing.assert_allclose(found.explainer.log_odds, odds_of(found), atol=1e-12)
    # What is named accounts for it: at an optimum the solver leaves next to nothing.
    for id in found.dataset.ids:
        rest = found.explain(id).set_index("what")["pull"]["what the solver's last step left"]
        assert abs(rest) < 0.05


def test_the_pull_of_a_prediction_is_its_part_of_the_pool(two: Found, four: Found) -> None:
    for found in (two, four):
        evidence = found.evidence
        pool = condition(evidence, torch.from_numpy(found.solution.labels)[None])
        # The weights of entropy and of prior fidelity are the temperature.
        heat = found.terms["entropy"].weight + found.terms["prior fidelity"].weight
        for i, id in enumerate(found.dataset.ids):
            rows = found.explain(id)
            said = rows[rows["kind"].isin(["zero-shot", "with shots", "contrast"])]
            best, second = np.argsort(-found.solution.labels[i], kind="stable")[:2]
            log_pool = pool.log_pool[0, i].numpy()
            expected = (log_pool[best] - log_pool[second]) / heat
            assert said["pull"].sum() == pytest.approx(expected, abs=1e-9)
            mine = np.flatnonzero(evidence.predictions.target.numpy() == i)
            logp = evidence.predictions.logp[mine].numpy()
            np.testing.assert_allclose(
                said["log_odds"].astype(float), logp[:, best] - logp[:, second], atol=1e-12
            )


def test_a_relation_alone_has_its_pull_and_several_have_one_together(two: Found) -> None:
    ids = two.dataset.ids
    alone = two.explain(ids[5]).set_index("what")["pull"]
    assert abs(alone[[w for w in alone.index if w.startswith("at-most-one")]].item()) > 1e-6
    rows = two.explain(ids[0])
    facts = rows[rows["what"].str.startswith(("at-most-one", "equal"))]
    assert len(facts) == 2
    assert facts["pull"].isna().all()
    together = rows[rows["kind"] == "relations"]
    assert list(together["what"]) == ["the 2 relations together"]
    assert abs(together["pull"].item()) > 1e-6


def test_a_contrast_pulls_by_the_label_of_its_shot(two: Found) -> None:
    kinds = [set(two.explain(id)["kind"]) for id in two.dataset.ids]
    assert two.evidence.f > 0
    assert any("coupling" in kind for kind in kinds)


def test_what_landmarks_changed_is_a_part_of_its_own() -> None:
    bare, gold = world_dataset("easy", 40)
    found = elicit(bare, SimulatedModel("easy"), settings=SETTINGS, solver=LBFGS(starts=1))
    said = {id: gold.labels[id] for id in bare.ids[::4]}
    made = found.calibrated(said)
    np.testing.assert_allclose(sums_of(made), odds_of(made), atol=1e-9)
    free = next(id for id in bare.ids if id not in said)
    parts = made.explain(free).set_index("what")["pull"]
    moved = parts["landmarks and calibration"]
    i = bare.index[free]
    assert moved == pytest.approx(odds_of(made)[i] - odds_of(found)[i], abs=1e-9)
    assert "landmarks and calibration" not in set(found.explain(free)["what"])


def test_a_correction_is_a_part_of_its_own_and_moves_others_by_their_parts(two: Found) -> None:
    ids = two.dataset.ids
    free = two.labels.set_index("id")["label"]
    made = two.corrected({ids[3]: 1 - int(free[ids[3]]), ids[8]: int(free[ids[8]])})
    np.testing.assert_allclose(sums_of(made), odds_of(made), atol=1e-9)
    for id in ids:
        parts = made.explain(id).set_index("what")["pull"]
        corrected = id in (ids[3], ids[8])
        assert ("your correction, which holds" in parts) == corrected
        if not corrected:
            assert abs(parts["what the solver's last step left"]) < 0.05
    pull = made.explain(ids[3]).set_index("what")["pull"]
    assert pull["your correction, which holds"] > 20


def test_a_term_of_ones_own_is_a_part_by_its_name() -> None:
    terms = default_terms() | {"ranking within": TERMS["ranking within"].at(0.5)}
    found = found_on("easy", 24, terms=terms)
    np.testing.assert_allclose(sums_of(found), odds_of(found), atol=1e-9)
    parts = found.explain(found.dataset.ids[1]).set_index("what")["pull"]
    assert abs(parts["ranking within"]) > 1e-3
    assert abs(parts["what the solver's last step left"]) < 0.05


@pytest.mark.slow
def test_labels_that_are_hard_have_a_rest_that_says_so() -> None:
    found = found_on("easy", 24, solver=Annealing(starts=1))
    np.testing.assert_allclose(sums_of(found), odds_of(found), rtol=1e-9)


def test_relations_that_are_not_counted_do_not_pull(two: Found) -> None:
    (prior,) = [r for r in two.dataset.relations if r.prior and two.dataset.ids[3] in r.members]
    rows = two.explain(two.dataset.ids[3]).set_index("kind")
    assert np.isnan(rows.loc["design prior, not counted", "pull"])
    assert rows.loc["design prior, not counted", "what"].startswith(prior.name)
    bare = replace(two, dataset=Dataset("bare", two.dataset.examples))
    assert not any(isinstance(r, Opposite) for r in bare.dataset.relations)
    np.testing.assert_allclose(sums_of(bare), odds_of(bare), atol=1e-9)
