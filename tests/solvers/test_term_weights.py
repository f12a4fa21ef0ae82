"""Weights chosen by what labels say of predictions that they were found without."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from consilience.data.relations import Opposite
from consilience.errors import InputError
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import TERMS, default_terms
from consilience.prompts.framing import Framing
from consilience.prompts.query import Query
from consilience.solvers import term_weights
from consilience.solvers.fixed_point import FixedPoints, Problem, Result, assess
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.term_weights import (
    compared,
    held_out,
    learned,
    sweep,
    weighted,
    without_each,
)
from signatures import signatures
from zoo import alone, dataset, evidence, pairs, prediction, random_rows, task

PLAIN = {
    "mutual predictability": TERMS["mutual predictability"].at(1.0),
    "entropy": TERMS["entropy"].at(1.0),
}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def worded(answers: np.ndarray, ties=()) -> Evidence:
    """Zero-shot answers (N, wordings, K): different prompts, all as good, taken at their word."""
    n, wordings, k = answers.shape
    data = dataset(n, k, ties)
    names = [f"wording {w}" for w in range(wordings)]
    framings = [Framing(w, w, "Judge.", "Answer:", task(k).classes) for w in names]
    rows = [
        pairs(data, [(i, answers[i, w], ()) for i in range(n)], name)
        for w, name in enumerate(names)
    ]
    ev = collect(data, framings, rows, bias="none")
    alike = replace(ev.predictions, weight=torch.ones_like(ev.predictions.weight))
    return replace(ev, predictions=alike, scale=1.0)


def noisy(n: int = 40, wordings: int = 5, k: int = 2, noise: float = 1.0, seed: int = 0):
    """Answers whose logits scatter about what the model believes."""
    rng = np.random.default_rng(seed)
    believed = rng.normal(scale=2, size=(n, 1, k))
    return softmax(believed + noise * rng.normal(size=(n, wordings, k)))


def contrasted(k: int = 3) -> Evidence:
    """Twins with several contrasts: one shot to every other label, another shot, an unsure one."""
    data = dataset(6, k)
    asked = pairs(data, [(i, np.full(k, 1 / k), ()) for i in range(6)])
    rng = np.random.default_rng(0)
    sure = softmax(4 * np.eye(k)[0])
    for target in range(6):
        one, two, three = ((target + step) % 6 for step in (1, 2, 3))
        plain = ((one, 0), (two, 1))
        shown = [plain, *(((one, c), (two, 1)) for c in range(1, k)), ((one, 0), (two, 2))]
        flipped = [None, *[0] * (k - 1), 1]
        for shots, at in zip(shown, flipped, strict=True):
            asked.append((query(data, target, shots, at), prediction(None, np.log(sure))))
        for label, at in ((0, None), (1, 0)):
            made = query(data, target, ((three, label),), at)
            asked.append((made, prediction(None, np.log(rng.dirichlet(np.full(k, 90.0))))))
        # The twin of this one was never answered, nor are its shots those of the others.
        asked.append((query(data, target, ((two, 0),), 0), prediction(None, np.log(sure))))
    return collect(data, [alone(k)], [[(q, keyed(q, p)) for q, p in asked]], bias="none")


def query(data, target, shots, at) -> Query:
    shown = tuple((data.ids[j], label) for j, label in shots)
    return Query(data.ids[target], shown, "one", 0, at)


def keyed(asked: Query, said):
    return prediction(asked, said.logprobs)


@dataclass
class Told:
    """A solver that finds what it is told, or what L-BFGS finds; keeps the weights it was given."""

    labels: np.ndarray | None = None
    starts: int = 1
    kept: list[np.ndarray] = field(default_factory=list)
    begun: list[np.ndarray] = field(default_factory=list)

    def settle(self, problem: Problem, theta: torch.Tensor) -> FixedPoints:
        self.kept.append(problem.weight.numpy())
        self.begun.append(theta.numpy())
        if self.labels is None:
            return LBFGS().settle(problem, theta)
        logq = torch.from_numpy(self.labels).log().expand(len(theta), -1, -1)
        return assess(problem, logq, [Result.SETTLED] * len(theta), 0, 1)


class OneByOne(LBFGS):
    """L-BFGS on one resampling after the other."""

    def settle(self, problem: Problem, theta: torch.Tensor) -> FixedPoints:
        each = [torch.tensor([s]) for s in range(len(theta))]
        found = [LBFGS().settle(problem.at(s), theta[s]) for s in each]
        return FixedPoints(
            *(torch.cat([getattr(f, name) for f in found]) for name in ("logq", "value")),
            {},
            *(torch.cat([getattr(f, name) for f in found]) for name in ("of_list", "shown")),
            tuple(f.results[0] for f in found),
            0,
            0,
        )


def folded(ev: Evidence, **options) -> np.ndarray:
    """The fold that each prediction was held out in, (T,)."""
    told = Told()
    held_out(ev, PLAIN, told, **options)
    (kept,) = told.kept
    assert ((kept == 0) | (kept == 1)).all() and (kept.sum(axis=0) == len(kept) - 1).all()
    return kept.argmin(axis=0)


# --- folds


@pytest.mark.parametrize("folds", [2, 3, 5, 20])
def test_every_prediction_is_held_out_once_and_evenly_within_its_example(folds):
    ev = worded(noisy(12, 7))
    fold = folded(ev, folds=folds)
    assert fold.min() >= 0 and fold.max() < folds
    for i in range(12):
        counts = np.bincount(fold[ev.predictions.target.numpy() == i], minlength=folds)
        assert counts.max() - counts.min() <= 1
    # The odd ones of all examples do not fall into one fold.
    overall = np.bincount(fold, minlength=folds)
    assert overall.max() < 2 * 12 * 7 / folds + 5


def test_contrasts_stay_with_their_twins():
    ev = contrasted()
    fold = folded(ev, folds=4)
    assert ev.f == 18 and ev.tally.unsure == 12
    twin, contrast = ev.contrasts.twin.numpy(), ev.contrasts.flipped.numpy()
    # Among three classes the twin of a contrast may be another contrast of the same query.
    assert set(twin) & set(contrast)
    assert (fold[twin] == fold[contrast]).all()
    per = {i: np.flatnonzero(ev.predictions.target.numpy() == i) for i in range(6)}
    for at in per.values():
        zero, *shown = fold[at]
        # A query with its three contrasts, an unsure twin with its contrast, one without a twin.
        assert len(set(shown[:4])) == 1 and shown[4] == shown[5]
        assert len({zero, shown[0], shown[4], shown[6]}) == 4


def test_repeats_of_a_prompt_stay_together_and_unknown_shots_apart():
    data = dataset(2)
    rows = [(0, [0.3, 0.7], [(1, 1)])] * 4 + [(0, [0.4, 0.6], ())] * 3
    unknown = [(0, [0.2, 0.8], [(1, -1)])] * 4
    fold = folded(collect(data, [alone()], [pairs(data, rows + unknown)], bias="none"), folds=6)
    assert len(set(fold[:4])) == len(set(fold[4:7])) == 1
    assert len({fold[0], fold[4], *fold[7:]}) == 6


def test_the_seed_draws_the_folds():
    ev = worded(noisy(12, 5))
    assert (folded(ev, seed=3) == folded(ev, seed=3)).all()
    assert (folded(ev, seed=3) != folded(ev, seed=4)).mean() > 0.5


def test_all_folds_at_once_are_the_folds_one_by_one():
    rows = random_rows(np.random.default_rng(0), 9, 2, zero=1, shown=4)
    ev = evidence(9, rows, ties=[(Opposite, (0, 1))])
    together, apart = (held_out(ev, solver=solver) for solver in (LBFGS(), OneByOne()))
    np.testing.assert_allclose(together.by_example, apart.by_example, atol=2e-3)


def test_a_fold_begins_with_the_zero_shot_answers_that_it_kept_or_else_with_all():
    answers = noisy(3, 4)
    told = Told()
    held_out(worded(answers), PLAIN, told, folds=2)
    for kept, begun in zip(told.kept[0], told.begun[0], strict=True):
        weight = kept.reshape(4, 3).T[..., None]
        mean = (weight * np.log(answers)).sum(axis=1) / weight.sum(axis=1)
        np.testing.assert_allclose(softmax(begun), softmax(mean), atol=1e-12)
    # Without zero-shot answers a start at 1/K would find every prediction irrelevant, and stay.
    believed = [0.05, 0.95]
    rows = [(i, believed, [(j, 1)]) for i in range(4) for j in range(4) if i != j]
    assert held_out(evidence(4, rows), PLAIN).score > -0.5


# --- the score


@pytest.mark.parametrize("k", [2, 3])
def test_ignorance_scores_the_logarithm_of_one_in_k(k):
    ev = evidence(6, random_rows(np.random.default_rng(k), 6, k), k)
    found = held_out(ev, PLAIN, Told(np.full((6, k), 1 / k)))
    assert found.score == pytest.approx(-math.log(k))
    assert found.error == pytest.approx(0)


@pytest.mark.parametrize("k", [2, 3])
def test_labels_that_are_the_distribution_of_the_answers_score_best(k):
    ev = worded(noisy(5, 6, k))
    answered = ev.predictions.logp.exp().numpy().reshape(6, 5, k).mean(axis=0)
    best = held_out(ev, PLAIN, Told(answered))
    rng = np.random.default_rng(1)
    for mixed in (0.01, 0.1, 0.5, 1.0):
        other = (1 - mixed) * answered + mixed * rng.dirichlet(np.ones(k), size=5)
        worse = held_out(ev, PLAIN, Told(other))
        assert (worse.by_example < best.by_example).all()
    # What is left is what the answers are unsure of.
    unsure = -(answered * np.log(answered)).sum(axis=1)
    np.testing.assert_allclose(best.by_example, -unsure, atol=1e-12)


@pytest.mark.parametrize("k", [2, 3])
def test_the_score_is_that_of_its_formula(k):
    rng = np.random.default_rng(k)
    ev = evidence(7, random_rows(rng, 6, k), k)
    q = rng.dirichlet(np.ones(k), size=7)
    scores, weights = {i: [] for i in range(7)}, {i: [] for i in range(7)}
    for t in range(ev.t):
        shots = (ev.shots.list == ev.predictions.shown[t]).nonzero().flatten().tolist()
        r = 1.0
        if shots:
            right = np.mean([q[ev.shots.example[m], ev.shots.label[m]] for m in shots])
            r = max(0.0, (right - 1 / k) / (1 - 1 / k))
        i = int(ev.predictions.target[t])
        # Its one zero-shot answer counts half, its two answers with shots one each.
        weights[i].append((1 if shots else 0.5) * float(ev.predictions.weight[t]))
        said = ev.predictions.logp[t].exp().numpy()
        scores[i].append(weights[i][-1] * (said @ np.log(r * q[i] + (1 - r) / k)))
    wanted = np.array([sum(scores[i]) / sum(weights[i]) if scores[i] else math.nan for i in scores])
    found = held_out(ev, PLAIN, Told(q))
    np.testing.assert_allclose(found.by_example, wanted, atol=1e-12)
    assert np.isnan(found.by_example).tolist() == [False] * 6 + [True]
    assert found.score == pytest.approx(wanted[:6].mean())
    assert found.error == pytest.approx(wanted[:6].std(ddof=1) / math.sqrt(6))


def test_labels_predict_what_they_were_found_without():
    answers = noisy(6, 2)
    found = held_out(worded(answers), PLAIN, folds=2)
    # With two wordings and weights of 1 the labels of a fold are the answers in the other.
    one, two = answers[:, 0], answers[:, 1]
    wanted = ((one * np.log(two)) + (two * np.log(one))).sum(axis=1) / 2
    np.testing.assert_allclose(found.by_example, wanted, atol=1e-3)


def test_one_example_has_no_error():
    assert math.isnan(held_out(worded(noisy(1, 4)), PLAIN).error)


# --- sweeps


def test_a_sweep_finds_the_entropy_that_was_planted():
    # With weight λ of the entropy the labels are softmax(mean/λ): λ = 1 repeats what was said.
    ev = worded(noisy(60, 6, noise=0.3))
    table = sweep(ev, {"entropy": [0.2, 0.5, 1.0, 2.0, 5.0]}, PLAIN)
    assert list(table.columns) == ["entropy", "score", "behind", "behind_error"]
    assert table["entropy"][0] == 1.0 and table["behind"][0] == table["behind_error"][0] == 0
    assert (table["behind"][1:] > 2 * table["behind_error"][1:]).all()
    by_weight = table.set_index("entropy")["score"]
    assert by_weight[0.2] < by_weight[0.5] < by_weight[1.0] > by_weight[2.0] > by_weight[5.0]


def test_labels_that_scatter_want_to_be_softer():
    # The mean of two noisy answers is surer than the third bears out.
    ev = worded(noisy(60, 3, noise=3.0, seed=1))
    table = sweep(ev, {"entropy": [0.5, 1.0, 2.0]}, PLAIN, folds=3)
    assert table["entropy"][0] == 2.0


def test_a_sweep_has_every_combination_best_first():
    ev = worded(noisy(10, 4))
    grid = {"entropy": [1.0, 2.0], "direct consistency": [0.0, 0.5, 1.0]}
    table = sweep(ev, grid, folds=2)
    assert {tuple(row) for row in table[list(grid)].to_numpy()} == {
        (a, b) for a in grid["entropy"] for b in grid["direct consistency"]
    }
    assert (table["score"].diff()[1:] <= 0).all()
    np.testing.assert_allclose(table["behind"], table["score"][0] - table["score"], atol=1e-12)
    row = table.iloc[3]
    terms = weighted(default_terms(), {name: row[name] for name in grid})
    assert held_out(ev, terms, folds=2).score == pytest.approx(row["score"], abs=1e-12)


def test_what_is_as_good_is_within_its_paired_error():
    ev = worded(noisy(60, 6))
    figures = compared(ev, [PLAIN, PLAIN, weighted(PLAIN, {"entropy": 1.02})])
    assert figures["behind"][0] == figures["behind"][1]
    scored = [held_out(ev, terms) for terms in (PLAIN, weighted(PLAIN, {"entropy": 4.0}))]
    gap = scored[0].by_example - scored[1].by_example
    figures = compared(ev, [weighted(PLAIN, {"entropy": 4.0}), PLAIN])
    assert figures["behind"][1] == figures["behind_error"][1] == 0
    assert figures["behind"][0] == pytest.approx(gap.mean())
    assert figures["behind_error"][0] == pytest.approx(gap.std(ddof=1) / math.sqrt(60))
    # Examples differ much more in how hard they are to predict than in what a weight does to them.
    assert figures["behind_error"][0] < scored[0].error


def test_leaving_out_each_term_in_turn():
    ev = worded(noisy(30, 5))
    table = without_each(ev, default_terms() | {"off": TERMS["direct consistency"].at(0.0)})
    assert table["without"].tolist() == ["", *default_terms()]
    by_term = table.set_index("without")
    # There are no contrasts and no relations, and nothing else keeps labels soft.
    for silent in ("couplings", "logical consistency"):
        assert by_term["score"][silent] == by_term["score"][""]
    assert by_term["behind"]["entropy"] > 5 * by_term["behind_error"]["entropy"]
    terms = weighted(default_terms(), {"mutual predictability": 0.0})
    assert by_term["score"]["mutual predictability"] == held_out(ev, terms).score


# --- learning


def share(terms) -> dict[str, float]:
    total = sum(term.weight for term in terms.values())
    return {name: term.weight / total for name, term in terms.items()}


@pytest.mark.slow
def test_learning_on_the_objective_cheats_and_on_held_out_predictions_does_not():
    """All weight goes to the easiest term, and the labels say nothing.

    docs/theory.md quotes these figures.
    """
    ev = worded(noisy())
    terms = {name: default_terms()[name] for name in ("mutual predictability", "entropy")}
    terms["direct consistency"] = TERMS["direct consistency"].at(0.25)
    cheated = learned(ev, terms, on="objective")
    honest = learned(ev, terms)
    assert share(cheated)["entropy"] > 0.9999
    scores = [held_out(ev, made).score for made in (terms, cheated, honest)]
    assert scores == pytest.approx([-0.536, -math.log(2), -0.489], abs=2e-3)
    assert max(share(honest).values()) < 0.7


def test_the_objective_is_easier_with_the_learned_weights_and_that_is_all():
    ev = worded(noisy())
    cheated = learned(ev, on="objective")
    value = [_best(ev, terms) for terms in (default_terms(), cheated)]
    assert value[1] > value[0] + 0.1
    assert sum(term.weight for term in cheated.values()) == pytest.approx(
        sum(term.weight for term in default_terms().values())
    )


def _best(ev: Evidence, terms) -> float:
    from consilience.solvers.solution import solve

    return solve(ev, terms, LBFGS(starts=1)).stats.coherence


def test_what_is_learned_is_close_to_what_was_planted():
    ev = worded(noisy(60, 6, noise=0.3))
    away = weighted(PLAIN, {"entropy": 4.0})
    found = learned(ev, away)
    assert found["mutual predictability"].weight == 1.0
    assert found["entropy"].weight == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("on", ["held-out", "objective"])
def test_terms_that_say_nothing_or_are_off_keep_their_weight(on):
    ev = worded(noisy(10, 4))
    terms = default_terms() | {
        "off": TERMS["ranking within"].at(0.0),
        "against": TERMS["ranking within"].at(-0.1),
    }
    found = learned(ev, terms, on=on, folds=2, evaluations=8)
    kept = ("couplings", "logical consistency", "off", "against")
    assert {name: found[name].weight for name in kept} == {
        name: terms[name].weight for name in kept
    }
    assert [name for name in terms if found[name].weight != terms[name].weight]
    assert {name: term.at(1) for name, term in found.items()} == {
        name: term.at(1) for name, term in terms.items()
    }
    # One weight alone changes nothing, for only ratios matter.
    lone = {"entropy": TERMS["entropy"].at(1.0), "couplings": TERMS["couplings"].at(2.0)}
    assert learned(ev, lone, on=on) == lone


# --- knobs, mistakes, the wall


def test_the_folds_count():
    ev = worded(noisy(10, 6))
    assert held_out(ev, folds=2).score != held_out(ev, folds=6).score


def test_the_seed_counts():
    ev = worded(noisy(10, 6))
    assert held_out(ev, seed=1).score == held_out(ev, seed=1).score
    assert held_out(ev, seed=1).score != held_out(ev, seed=2).score


@pytest.mark.parametrize("on", ["held-out", "objective"])
def test_the_number_of_evaluations_counts(on):
    ev = worded(noisy(10, 4))
    few, more = (learned(ev, PLAIN, on=on, folds=2, evaluations=e) for e in (2, 9))
    assert few["entropy"].weight != more["entropy"].weight


def test_the_solver_counts():
    ev = worded(noisy(10, 4))
    rough = LBFGS(steps=1, conditionings=1, tolerance=10.0)
    assert held_out(ev, solver=rough).score != held_out(ev).score


EV = worded(noisy(3, 2))
BAD = {
    "one fold": (lambda: held_out(EV, folds=1), "at least 2 folds, got 1"),
    "no term": (lambda: held_out(EV, {}), "at least one term"),
    "an unknown term": (lambda: sweep(EV, {"entropie": [1.0]}), "no term 'entropie'.*it has: mut"),
    "no value": (lambda: sweep(EV, {"entropy": []}), "needs at least one value"),
    "nothing to compare": (lambda: compared(EV, []), "at least one objective"),
    "an infinite weight": (lambda: sweep(EV, {"entropy": [math.inf]}), "a finite number, got inf"),
    "a name in use": (
        lambda: sweep(EV, {"score": [1.0]}, PLAIN | {"score": TERMS["entropy"].at(1.0)}),
        "'score'; rename",
    ),
    "an unknown way": (lambda: learned(EV, on="gold"), "on 'held-out' or 'objective', not on 'go"),
    "no evaluation": (lambda: learned(EV, evaluations=0), "at least one evaluation, got 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_one_line(case):
    made, said = BAD[case]
    with pytest.raises(InputError, match=said) as caught:
        made()
    assert "\n" not in str(caught.value)


def test_gold_cannot_come_in():
    assert "Gold" not in vars(term_weights)
    found = signatures(term_weights)
    assert {name for name, _ in found} >= {"held_out.held_out", "sweep.sweep", "learned.learned"}
    for _, parameter in found:
        assert "Gold" not in str(parameter.annotation)
        assert parameter.name not in ("gold", "truth", "golden", "reference", "labels")
    assert "landmarks" not in inspect.getsource(term_weights)
