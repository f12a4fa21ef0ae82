"""The verdict: what it tells apart, and which labels it leaves open."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from consilience.concepts.comparison import SURE
from consilience.concepts.concept import Concept, pooled
from consilience.data.dataset import Dataset, Example
from consilience.data.task import Task
from consilience.elicitation.session import elicit
from consilience.models.base import Answer, Request
from consilience.models.simulated import WORLDS, SimulatedModel, world_dataset
from consilience.objective.conditioning import weigh
from consilience.results.diagnosis import (
    ALIKE,
    KEPT,
    LEVEL,
    MOSTLY,
    ODDS,
    TOLD,
    Kind,
    agreeing_halves,
    information,
    kappa,
    open_labels,
    shot_free_share,
    verdict,
)
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS

SURELY = np.array([[0.95, 0.05], [0.02, 0.98], [0.9, 0.1], [0.4, 0.6]])


def concept(number: int, lead: float, error: float) -> Concept:
    return Concept(number, SURELY, 0.1, lead, error, 0.9)


FIRST = concept(0, 0.0, 0.0)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("world", ["no-answer", "noisy"])
def test_a_model_that_knows_nothing_is_told_from_one_that_does(world: str, seed: int) -> None:
    data, _ = world_dataset(world, 160, seed)
    found = elicit(data, SimulatedModel(world), seed=seed, concurrency=1, solver=LBFGS(starts=2))
    assert (found.verdict.kind is Kind.CHANCE) == (world == "no-answer")
    assert (found.verdict.halves < ALIKE) == (world == "no-answer")
    assert found.verdict.decided == pytest.approx(1 - found.labels["open"].mean())


class FreshNoise:
    """A model that knows the class of each row, and draws the rest anew for each prompt."""

    name, style, settings = "fresh-noise", "text", {}

    async def ask(self, request: Request) -> Answer:
        k = len(request.label_names)
        drawn = np.random.default_rng(crc32(str(request.prompt).encode())).normal(size=k)
        drawn[crc32(request.query.target.encode()) % k] += 3
        logprobs = drawn - np.log(np.exp(drawn).sum())
        return Answer(tuple(logprobs.tolist()), (True,) * k, 1.0)


def test_answers_of_many_classes_agree_where_their_likeliest_classes_do() -> None:
    """Of eight classes seven are in a new order in each prompt, so that ranks hardly correlate."""
    task = Task("Which?", tuple(f"class {c}" for c in range(8)))
    data = Dataset("rows", [Example(f"row {i}") for i in range(60)], task=task)
    found = elicit(data, FreshNoise(), calls_per_example=6, solver=LBFGS(starts=1))
    truth = [crc32(id.encode()) % 8 for id in data.ids]
    assert (found.soft_labels.argmax(axis=1) == truth).mean() > 0.95
    halves, chance = agreeing_halves(found.evidence, seed=0)
    assert found.verdict.halves == halves > 0.8 and chance < LEVEL
    assert found.verdict.kind is Kind.COHERENT


def test_agreement_on_classes_is_kappa_as_scikit_learn_has_it() -> None:
    rng = np.random.default_rng(0)
    for k in (2, 3, 8):
        one, other = rng.integers(k, size=(2, 50))
        other[:20] = one[:20]
        assert kappa(one, other) == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)
    assert kappa(np.zeros(5, np.int64), np.zeros(5, np.int64)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("world", ["no-answer-4", "pretrained-4"])
def test_unsure_labels_of_many_classes_are_no_chance(
    world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probabilities of .45 say little of two classes, and much of four."""
    monkeypatch.setitem(WORLDS, "no-answer-4", replace(WORLDS["no-answer"], k=4))
    data, gold = world_dataset(world, 160, 10)
    found = elicit(data, SimulatedModel(world), seed=10, concurrency=1)
    truth = [gold.labels[id] for id in data.ids]
    right = float((found.soft_labels.argmax(axis=1) == truth).mean())
    assert (found.verdict.kind is Kind.CHANCE) == (world == "no-answer-4")
    assert (right > 0.6) == (world == "pretrained-4")
    assert (found.verdict.halves < ALIKE) == (world == "no-answer-4")
    assert found.verdict.information < TOLD


def test_one_concept_is_coherent() -> None:
    for concepts in ([], [FIRST]):
        said = verdict(SURELY, concepts)
        assert said.kind is Kind.COHERENT
        assert len(said.reasons) == 2
    assert str(said).startswith("coherent: the labels tell ")
    assert "no other concept was found" in str(said)
    assert "too few examples or calls to check for other concepts" in str(verdict(SURELY, []))
    assert "75% are decided" in str(said)


def test_two_concepts_are_coherent_only_where_one_leads_by_more_than_its_error() -> None:
    near = verdict(SURELY, [FIRST, concept(1, SURE * 0.1 - 0.01, 0.1)])
    far = verdict(SURELY, [FIRST, concept(1, SURE * 0.1 + 0.01, 0.1)])
    assert (near.kind, far.kind) == (Kind.SEVERAL, Kind.COHERENT)
    assert "by only 0.240 ± 0.100 nats per example" in near.reasons[1]
    assert "by 0.260 ± 0.100 nats per example" in far.reasons[1]


def test_labels_that_say_nothing_are_unsure() -> None:
    weak = np.array([[0.7, 0.3], [0.3, 0.7]])
    for concepts in ([], [FIRST], [FIRST, concept(1, 0.9, 0.1)]):
        assert verdict(weak, concepts).kind is Kind.UNSURE
    # Of several that are as likely it is not the labels that say nothing.
    assert verdict(weak, [FIRST, concept(1, 0.0, 0.1)]).kind is Kind.SEVERAL
    # What the docstring of TOLD says.
    assert verdict(weak, []).information == pytest.approx(0.12, abs=0.002)
    assert verdict(np.array([[0.8, 0.2], [0.2, 0.8]]), []).kind is Kind.COHERENT


@pytest.mark.parametrize("k", [2, 3, 8])
def test_labels_of_which_none_is_decided_are_never_coherent(k: int) -> None:
    even = np.full((20, k), 1 / k)
    said = verdict(even, [])
    assert said.kind is Kind.UNSURE and said.decided == 0
    assert f"do not lie in {'two' if k == 2 else k} classes" in said.reasons[1]
    even[0] = np.eye(k)[0]
    # Of more classes than two one decided label is something.
    assert verdict(even, []).kind is (Kind.UNSURE if k == 2 else Kind.COHERENT)


def test_answers_that_agree_bear_labels_out_whatever_these_rest_on(run: Found) -> None:
    flat = np.stack([0.5 - (p := 0.01 * (run.solution.labels[:, 1] - 0.5)), 0.5 + p], axis=1)
    asked = run.evidence.predictions
    weights = torch.where(asked.zero | asked.brief, 50 * asked.weight, asked.weight)
    heavy = replace(run.evidence, predictions=replace(asked, weight=weights))
    said = verdict(flat, [FIRST], False, heavy)
    assert said.kind is Kind.UNSURE and shot_free_share(heavy) > MOSTLY
    assert not said.unsupported
    assert "do not lie in two classes" in str(said)


def test_landmarks_make_sure_labels_of_unsure_ones_and_ask_nothing(run: Found) -> None:
    flat = run.solution.labels**0.1
    flat /= flat.sum(axis=1, keepdims=True)
    unsure = replace(run, solution=replace(run.solution, labels=flat))
    assert unsure.verdict.kind is Kind.UNSURE
    said = f"answers agree, by {run.verdict.halves:.2f} of 1, but do not lie in"
    assert said in unsure.verdict.reasons[1]
    _, gold = world_dataset("easy", len(run.dataset))
    drawn = np.random.default_rng(0).permutation(run.dataset.ids)[:20]
    mended = unsure.calibrated({id: gold.labels[id] for id in drawn.tolist()})
    assert mended.verdict.kind is Kind.COHERENT
    assert mended.verdict.information > 3 * unsure.verdict.information


def test_what_labels_tell_is_a_share_of_what_they_could() -> None:
    assert verdict(np.eye(2)[[0, 1, 1]], []).information == pytest.approx(1)
    assert verdict(np.full((3, 4), 0.25), []).information == pytest.approx(0)
    half = verdict(np.array([[1.0, 0.0], [0.5, 0.5]]), [])
    assert (half.information, half.decided) == pytest.approx((0.5, 0.5))
    # Two of four classes ruled out are half of what there is to tell, and leave the label open.
    two = verdict(np.array([[0.5, 0.5, 0.0, 0.0]]), [])
    assert (two.information, two.decided) == pytest.approx((0.5, 0.0))


def test_a_label_is_open_below_odds_of_three() -> None:
    assert ODDS == 3
    labels = [[0.76, 0.24], [0.74, 0.26], [0.25, 0.75], [1.0, 0.0]]
    assert open_labels(np.array(labels)).tolist() == [False, True, False, False]
    # Against the next one, not against all others together.
    many = [[0.61, 0.2, 0.19], [0.59, 0.2, 0.21], [0.2, 0.59, 0.21], [1 / 3, 1 / 3, 1 / 3]]
    assert open_labels(np.array(many)).tolist() == [False, True, True, True]


@pytest.fixture(scope="module")
def run() -> Found:
    data, _ = world_dataset("easy", 120, 0)
    return elicit(data, SimulatedModel("easy"), seed=0, concurrency=1, solver=LBFGS(starts=2))


def test_labels_that_are_all_of_one_class_are_degenerate(run: Found) -> None:
    sure = np.tile([1e-9, 1 - 1e-9], (120, 1))
    sure[:2] = sure[:2, ::-1]
    assert verdict(sure, [FIRST], False, run.evidence).kind is Kind.DEGENERATE
    # Of so few examples it may be so.
    assert verdict(sure[2:12], [FIRST]).kind is Kind.COHERENT
    sure[:12] = [1 - 1e-9, 1e-9]
    assert verdict(sure, [FIRST]).kind is Kind.COHERENT


def test_labels_that_lost_the_ranking_of_the_answers_are_degenerate(run: Found) -> None:
    labels = run.solution.labels
    assert run.verdict.kept > 0.9
    assert run.verdict.kind is Kind.COHERENT
    for lost in (np.random.default_rng(0).permutation(labels), labels[:, ::-1]):
        said = verdict(lost, [FIRST], False, run.evidence)
        assert said.kind is Kind.DEGENERATE
        assert said.kept < KEPT
        assert "do not rank the examples as the answers do" in str(said)


def test_answers_that_agree_no_more_than_permuted_ones_are_chance(run: Found) -> None:
    evidence, labels = run.evidence, run.solution.labels
    assert run.verdict.halves > 0.5
    assert agreeing_halves(evidence, seed=0)[1] == pytest.approx(1 / 1000)
    drawn = torch.from_numpy(np.random.default_rng(0).permutation(evidence.t))
    asked = evidence.predictions
    noise = replace(evidence, predictions=replace(asked, logp=asked.logp[drawn]))
    # Labels that rank as those answers do, and are sure of it.
    mean = np.log(pooled(noise, torch.ones(noise.t, dtype=torch.bool)))
    odds = 5 * (mean[:, 1] - mean[:, 0])
    sure = np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=1)
    said = verdict(sure, [FIRST], False, noise)
    assert said.information > TOLD and said.kept > KEPT
    assert said.kind is Kind.CHANCE
    assert f"p = {agreeing_halves(noise, seed=0)[1]:.2g})" in str(said)
    assert verdict(labels, [FIRST], False, evidence).kind is Kind.COHERENT


@pytest.mark.parametrize(
    ("weight", "noisy", "kind"),
    [
        (1.0, 0.5, Kind.CHANCE),
        (50.0, 0.5, Kind.UNSURE),
        (50.0, 1.0, Kind.CHANCE),  # no better than permuted answers, whoever they are of
        (50.0, 0.0, Kind.COHERENT),
    ],
)
def test_labels_that_rest_on_answers_without_shots_are_not_judged_by_those_with_shots(
    run: Found, weight: float, noisy: float, kind: Kind
) -> None:
    evidence, asked = run.evidence, run.evidence.predictions
    free = asked.zero | asked.brief
    drawn = torch.arange(evidence.t)
    rng = np.random.default_rng(0)
    shown = drawn[~free]
    lost = torch.from_numpy(rng.permutation(len(shown))[: round(noisy * len(shown))])
    drawn[shown[lost]] = shown[lost[torch.from_numpy(rng.permutation(len(lost)))]]
    weights = torch.where(free, weight * asked.weight, asked.weight)
    noise = replace(evidence, predictions=replace(asked, logp=asked.logp[drawn], weight=weights))
    mean = np.log(pooled(noise, torch.ones(noise.t, dtype=torch.bool)))
    odds = 5 * (mean[:, 1] - mean[:, 0])
    labels = np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=1)
    said = verdict(labels, [FIRST], False, noise)
    assert (said.halves < ALIKE) == (noisy > 0)
    assert (agreeing_halves(noise, seed=0)[1] > LEVEL) == (noisy == 1)
    assert (shot_free_share(noise) > MOSTLY) == (weight > 1)
    assert said.kind is kind
    assert said.unsupported == (kind is Kind.UNSURE)
    assert ("answers without shots" in str(said)) == said.unsupported
    # Each example's evidence is a whole, whatever its parts weigh.
    mine, free_weight = (torch.zeros(noise.n, dtype=torch.float64) for _ in range(2))
    shares = weigh(noise).share[0]
    mine.index_add_(0, asked.target, shares)
    free_weight.index_add_(0, asked.target, shares * free)
    assert mine.numpy() == pytest.approx(np.ones(noise.n))
    assert shot_free_share(noise) == pytest.approx(float(free_weight.mean()))


def test_labels_of_known_shares_may_be_of_one_class_and_must_tell_more_than_these(
    run: Found,
) -> None:
    told = replace(run.evidence, shares=(0.99, 0.01))
    answers = run.solution.labels
    # As the answers rank them, and nobody likelier to be of the rare class than not.
    odds = np.log(answers[:, 1] / answers[:, 0])
    p = 0.4 / (1 + np.exp(-(odds - odds.max() + 1)))
    labels = np.stack([1 - p, p], axis=1)
    assert verdict(labels, [FIRST], False, run.evidence).kind is Kind.DEGENERATE
    assert verdict(labels, [FIRST], False, told).kind is not Kind.DEGENERATE
    assert information(np.tile([0.99, 0.01], (120, 1)), (0.99, 0.01)) == pytest.approx(0)
    assert information(np.eye(2)[np.arange(120) % 2], (0.99, 0.01)) == pytest.approx(1)
    same = np.tile([0.99, 0.01], (120, 1)) + np.linspace(-1e-4, 1e-4, 120)[:, None] * [1, -1]
    assert information(same) > 0.9
    assert "tell 0% of what they could" in str(verdict(same, [FIRST], False, told))
