"""The solver against closed forms and brute force, and what it says of itself."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from consilience.data.relations import AtMostOne, Equal, ExactlyOne, Opposite
from consilience.errors import InputError, SolveError
from consilience.evidence.collect import collect
from consilience.evidence.evidence import Evidence
from consilience.objective.coherence import TERMS, default_terms
from consilience.objective.conditioning import condition
from consilience.objective.term import Term
from consilience.prompts.query import Query
from consilience.solvers.fixed_point import Problem, Result
from consilience.solvers.lbfgs import LBFGS
from consilience.solvers.solution import solve
from zoo import ONE, dataset, evidence, pairs, prediction, random_rows

TIES = {
    2: [(Opposite, (0, 1)), (Equal, (1, 2)), (ExactlyOne, (3, 4, 5)), (AtMostOne, (5, 6))],
    3: [(Opposite, (0, 1)), (Equal, (1, 2)), (AtMostOne, (3, 4))],
}
SIZE = {2: 8, 3: 5}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def feasible(n: int, k: int, ties) -> np.ndarray:
    """The labellings that the relations allow, shape (worlds, n)."""
    worlds = np.array(list(itertools.product(range(k), repeat=n)))
    for kind, at in ties:
        worlds = worlds[kind(tuple(map(str, at))).holds(worlds[:, list(at)])]
    return worlds


def learner(rng: np.random.Generator, n: int, k: int, ties) -> tuple[np.ndarray, Evidence]:
    """A truth, and the evidence of a model that goes along with the shots, right or turned."""
    worlds = feasible(n, k, ties)
    truth = worlds[rng.integers(len(worlds))]

    def said(label: int, sure: float, noise: float) -> np.ndarray:
        return softmax(sure * np.eye(k)[label] + noise * rng.normal(size=k))

    rows = []
    for i in range(n):
        rows.append((i, said(truth[i], 0.5, 0.5), ()))
        for _ in range(3):
            turn = int(rng.integers(1, k)) if rng.random() < 0.2 else 0
            shown = rng.choice([j for j in range(n) if j != i], size=3, replace=False)
            shots = [(int(j), int(truth[j] + turn) % k) for j in shown]
            rows.append((i, said((truth[i] + turn) % k, 2.5, 0.7), shots))
    return truth, evidence(n, rows, k, ties)


def two_ways() -> Evidence:
    """Evidence under which a labelling and its opposite are both coherent."""
    rows = []
    for i in range(6):
        for turn in (0, 1):
            p = [0.001, 0.999] if (i + turn) % 2 else [0.999, 0.001]
            rows.append((i, p, [(j, (j + turn) % 2) for j in range(6) if j != i]))
    rows.append((0, [0.6, 0.4], ()))
    return evidence(6, rows)


def combined(ev: Evidence, q: np.ndarray) -> np.ndarray:
    """What the default objective says without relations: softmax of the evidence over λ."""
    terms = default_terms()
    weight = {name: term.weight for name, term in terms.items()}
    conditioned = condition(ev, torch.from_numpy(q).unsqueeze(0))
    pull = (
        weight["mutual predictability"] * conditioned.log_pool
        + weight["direct consistency"] * conditioned.linear_pool
        + weight["prior fidelity"] * conditioned.prior
        + weight["class frequency"] * conditioned.frequency
    )
    # Prior fidelity is −KL, and so has an entropy of its own.
    unsure = weight["entropy"] + weight["prior fidelity"]
    return softmax(pull[0].numpy() / unsure)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_closed_form_without_relations(k):
    ev = evidence(10, random_rows(np.random.default_rng(k), 9, k, zero=3, shown=0), k)
    solution = solve(ev)
    np.testing.assert_allclose(solution.labels, combined(ev, solution.labels), atol=1e-4)
    np.testing.assert_allclose(solution.labels[9], 1 / k, atol=1e-4)
    assert solution.result is Result.SETTLED
    assert len(solution.optima) == 1 and solution.stats.lead == float("inf")
    assert (solution.relevance == 1).all()


@pytest.mark.parametrize("k", [2, 3])
def test_with_shots_the_labels_are_the_closed_form_of_their_own_conditioning(k):
    _, ev = learner(np.random.default_rng(0), 7, k, [])
    solution = solve(ev)
    assert solution.result is Result.SETTLED
    np.testing.assert_allclose(solution.labels, combined(ev, solution.labels), atol=1e-3)
    wanted = condition(ev, torch.from_numpy(solution.labels).unsqueeze(0)).relevance[0]
    np.testing.assert_allclose(solution.relevance, wanted, atol=1e-12)
    assert 0 < (solution.relevance > 0.5).sum() < ev.t


# With labels y that keep the relations the objective is the evidence e(y). For any soft labels
# that keep them with probability P it is at most P e* + (1 − P) e⁺ + w log P, where e* is the best
# that keeps them and e⁺ the best of all; and log P ≤ P − 1, so with w ≥ e⁺ − e* nothing beats e*.
# So with this weight and next to no entropy brute force over labels is the right answer.
HARD = {
    "mutual predictability": TERMS["mutual predictability"].at(1.0),
    "direct consistency": TERMS["direct consistency"].at(0.25),
    "logical consistency": TERMS["logical consistency"].at(40.0),
    "entropy": TERMS["entropy"].at(1e-3),
}


def pulls(ev: Evidence, worlds: np.ndarray) -> np.ndarray:
    """What the evidence, read under each labelling, says for each example and class."""
    conditioned = condition(ev, torch.from_numpy(np.eye(ev.k)[worlds]))
    return (conditioned.log_pool + 0.25 * conditioned.linear_pool).numpy()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [2, 3])
def test_brute_force_over_labels_where_conditioned_evidence_is_fixed(k, seed):
    n, rng = SIZE[k], np.random.default_rng(seed)
    ev = evidence(n, random_rows(rng, n, k, zero=2, shown=0), k, TIES[k])
    worlds = feasible(n, k, TIES[k])
    pull = pulls(ev, worlds[:1])[0]
    value = pull[np.arange(n), worlds].sum(axis=1)
    assert pull.max(axis=1).sum() - value.max() < 40
    solution = solve(ev, HARD, LBFGS(starts=16), seed=seed)
    assert solution.labels.argmax(axis=1).tolist() == worlds[value.argmax()].tolist()
    assert solution.stats.coherence * n == pytest.approx(value.max(), abs=0.01)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("tied", [False, True])
def test_brute_force_over_labels_where_conditioned_evidence_follows(k, seed, tied):
    """The best among the labellings that are the best for the evidence conditioned on them."""
    n, ties = SIZE[k], TIES[k] if tied else []
    _, ev = learner(np.random.default_rng(seed), n, k, ties)
    worlds = feasible(n, k, ties)
    pull = pulls(ev, worlds)
    value = np.einsum("snk,rnk->sr", pull, np.eye(k)[worlds])
    stable = np.flatnonzero(value.argmax(axis=1) == np.arange(len(worlds)))
    best = stable[np.diag(value)[stable].argmax()]
    solution = solve(ev, HARD, LBFGS(starts=16), seed=seed)
    assert solution.labels.argmax(axis=1).tolist() == worlds[best].tolist()
    assert solution.stats.coherence * n == pytest.approx(value[best, best], abs=0.02)


@pytest.mark.parametrize("k", [2, 3])
def test_no_start_is_better_than_the_starts_drawn(k):
    """The default objective, from every corner of the space of labels."""
    n = SIZE[k] - 2 + k % 2
    ties = [tie for tie in TIES[k] if max(tie[1]) < n]
    for seed in range(2):
        rng = np.random.default_rng(seed)
        ev = evidence(n, random_rows(rng, n, k, zero=2, shown=0), k, ties)
        corners = np.array(list(itertools.product(range(k), repeat=n)))
        theta = torch.from_numpy(np.eye(k)[corners]).clamp(min=0.01).log()
        reference = LBFGS().settle(Problem(ev, default_terms()), theta)
        found = solve(ev, solver=LBFGS(starts=16), seed=seed).stats.coherence
        assert found >= float(reference.value.max()) - 1e-6


def test_the_same_seed_bit_for_bit():
    ev = two_ways()
    one, two, other = (solve(ev, seed=seed) for seed in (5, 5, 6))
    assert one.labels.tobytes() == two.labels.tobytes()
    assert one.stats == two.stats
    assert [o.labels.tobytes() for o in one.optima] == [o.labels.tobytes() for o in two.optima]
    assert one.stats.steps != other.stats.steps or one.stats.start != other.stats.start
    np.testing.assert_allclose(one.labels, other.labels, atol=1e-3)


def test_other_optima_are_kept_and_ranked():
    ev = two_ways()
    solution = solve(ev, solver=LBFGS(starts=12))
    assert sum(o.starts for o in solution.optima) == 12
    best, second = solution.optima[:2]
    hard = best.labels.argmax(axis=1)
    assert hard.tolist() == [0, 1] * 3 and second.labels.argmax(axis=1).tolist() == [1, 0] * 3
    assert solution.stats.lead == pytest.approx(best.coherence - second.coherence) and (
        solution.stats.lead > 1e-3
    )
    values = [o.coherence for o in solution.optima]
    assert values == sorted(values, reverse=True) and values[0] == solution.stats.coherence
    assert best.labels.tobytes() == solution.labels.tobytes()


@pytest.mark.parametrize("way", [0, 1])
def test_a_start_decides_between_two_optima(way):
    start = np.eye(2)[(np.arange(6) + way) % 2]
    solution = solve(two_ways(), solver=LBFGS(starts=1), start=start)
    assert solution.labels.argmax(axis=1).tolist() == start.argmax(axis=1).tolist()
    assert solution.stats.start == 0


def test_the_first_start_is_the_zero_shot_answer():
    rows = [(i, [0.2, 0.8], ()) for i in range(3)]
    ev = evidence(3, rows)
    # Where only the entropy moves labels, one step from the zero-shot answer shows it.
    solution = solve(ev, {"none": TERMS["entropy"].at(1e-9)}, LBFGS(starts=1))
    np.testing.assert_allclose(solution.labels, [[0.2, 0.8]] * 3, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 2), (3, 3), (3,), (1, 3, 2)])
def test_a_start_of_another_shape(shape):
    ev = evidence(3, [(0, [0.2, 0.8], ())])
    with pytest.raises(InputError, match="start of shape") as caught:
        solve(ev, start=np.full(shape, 0.5))
    assert "\n" not in str(caught.value)


KNOBS = {"starts", "steps", "tolerance", "memory", "conditionings"}


def test_every_knob_has_a_test():
    assert {f.name for f in fields(LBFGS)} == KNOBS


def test_more_starts_find_more_optima():
    assert len(solve(two_ways(), solver=LBFGS(starts=1)).optima) == 1
    assert len(solve(two_ways(), solver=LBFGS(starts=16)).optima) > 1


def test_too_few_steps_are_reported():
    rows = random_rows(np.random.default_rng(0), 8, 2, zero=2, shown=0)
    ev = evidence(8, rows, ties=TIES[2])
    solution = solve(ev, solver=LBFGS(starts=1, steps=1, tolerance=1e-8, conditionings=500))
    assert solution.result is Result.MAX_STEPS and 1 < solution.stats.conditionings < 500
    assert solve(ev, solver=LBFGS(starts=1)).result is Result.SETTLED


def test_a_kink_is_reported():
    rows = [(i, [0.3, 0.7], ()) for i in range(3)]
    terms = default_terms() | {"kink": Term(lambda s: -(s.q[:, 1] - 0.61).abs().mean(), 9.0)}
    solution = solve(evidence(3, rows), terms, LBFGS(starts=2, steps=30))
    assert solution.result is Result.MAX_STEPS and "kink" in solution.result.value
    np.testing.assert_allclose(solution.labels[:, 1], 0.61, atol=0.02)


def test_the_tolerance_is_how_close_it_comes():
    """With relations: without any one step is exact."""
    ev = evidence(8, random_rows(np.random.default_rng(3), 8, 2, zero=3, shown=0), ties=TIES[2])
    wanted, *found = (
        solve(ev, solver=LBFGS(starts=1, tolerance=t, conditionings=1)).labels
        for t in (1e-9, 0.1, 1e-4)
    )
    off = [np.abs(labels - wanted).max() for labels in found]
    assert off[0] > 1e-3 > 1e-4 > off[1]


def test_too_few_conditionings_are_reported():
    solution = solve(two_ways(), solver=LBFGS(conditionings=1))
    assert solution.result is Result.UNSETTLED and solution.stats.conditionings == 1
    assert "`conditionings`" in solution.result.value
    enough = solve(two_ways())
    assert enough.result is Result.SETTLED and 1 < enough.stats.conditionings < 50


@pytest.mark.parametrize(
    "wrong", [{"starts": 0}, {"steps": 0}, {"conditionings": 0}, {"tolerance": 0.0}], ids=str
)
def test_a_wrong_setting(wrong):
    with pytest.raises(InputError, match="must be positive"):
        LBFGS(**wrong)


@pytest.mark.parametrize(
    "term",
    [
        lambda s: s.q.sum() * float("nan"),
        lambda s: s.q.sum() + float("inf"),
        lambda s: (s.q * 0).sum().sqrt(),
        lambda s: torch.log(s.q - s.q).sum(),
    ],
    ids=["nan", "inf", "nan gradient", "minus inf"],
)
def test_a_term_that_is_not_finite(term):
    ev = evidence(3, [(0, [0.2, 0.8], ())])
    with pytest.raises(SolveError, match="not finite") as caught:
        solve(ev, default_terms() | {"broken": Term(term)})
    assert "\n" not in str(caught.value)


def test_a_term_is_added_in_one_line():
    ev = evidence(4, random_rows(np.random.default_rng(1), 4, 2, zero=2, shown=0))
    plain = solve(ev)
    terms = default_terms() | {"mine": Term(lambda state: state.q[:, 1].mean(), 3.0)}
    pulled = solve(ev, terms)
    assert (pulled.labels[:, 1] > plain.labels[:, 1] + 0.05).all()
    # Three nats more for class 1, over λ = 1.1.
    odds = [np.log(x.labels[:, 1] / x.labels[:, 0]) for x in (pulled, plain)]
    np.testing.assert_allclose(odds[0] - odds[1], 3 / 1.1, atol=1e-2)
    assert pulled.stats.terms["mine"] == pytest.approx(pulled.labels[:, 1].mean())


def contrast(data, target, shot, said, turned):
    """What is said of a target after one shot, as class 0 and as class 1."""
    queries = [Query(data.ids[target], ((data.ids[shot], c),), "one", 9) for c in (0, 1)]
    queries[1] = replace(queries[1], contrast=0)
    return [(q, prediction(q, np.log(p))) for q, p in zip(queries, (said, turned), strict=True)]


@pytest.mark.parametrize("name", sorted(set(default_terms()) - {"class frequency"}))
def test_every_weight_of_the_default_terms_changes_the_labels(name):
    """That of class frequency needs more examples: see `test_mixture`."""
    data = dataset(8, ties=TIES[2])
    rows = pairs(data, random_rows(np.random.default_rng(2), 8, 2, zero=2, shown=1))
    for i in range(4):
        rows += contrast(data, i, 7 - i, [0.95, 0.05], [0.2, 0.8] if i % 2 else [0.99, 0.01])
    ev = collect(data, [ONE], [rows], bias="none")
    assert ev.f == 4
    terms = default_terms()
    doubled = terms[name].at(2 * terms[name].weight)
    other = solve(ev, terms | {name: doubled}, LBFGS(starts=1))
    assert np.abs(other.labels - solve(ev, solver=LBFGS(starts=1)).labels).max() > 0.01


def test_the_stats_add_up():
    solution = solve(two_ways())
    weighted = sum(default_terms()[name].weight * v for name, v in solution.stats.terms.items())
    assert solution.stats.coherence == pytest.approx(weighted)
    assert np.abs(solution.labels.sum(axis=1) - 1).max() < 1e-12
    assert all(result.value.count(".") >= 1 for result in Result)
    assert "`steps`" in Result.MAX_STEPS.value


def test_the_numbering_of_examples_does_not_matter():
    _, ev = learner(np.random.default_rng(4), 8, 2, TIES[2])
    to = torch.from_numpy(np.random.default_rng(5).permutation(8))
    other = replace(
        ev,
        predictions=replace(ev.predictions, target=to[ev.predictions.target]),
        shots=replace(ev.shots, example=to[ev.shots.example]),
        factors=tuple(replace(f, members=to[f.members]) for f in ev.factors),
    )
    one, two = (solve(e, solver=LBFGS(starts=16)) for e in (ev, other))
    np.testing.assert_allclose(two.labels[to.numpy()], one.labels, atol=1e-3)


def test_a_batch_of_starts_is_its_starts_one_by_one():
    data = dataset(6)
    ev = two_ways()
    assert ev.ids == data.ids
    theta = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 6, 2)))
    problem = Problem(ev, default_terms())
    together = LBFGS(tolerance=1e-8).settle(problem, theta)
    for s in range(3):
        alone = LBFGS(tolerance=1e-8).settle(problem, theta[s : s + 1])
        np.testing.assert_allclose(together.logq[s].exp(), alone.logq[0].exp(), atol=2e-3)


def conflict(doubt: float) -> Evidence:
    """A zero-shot answer that three predictions under settled shots contradict, all very sure."""
    shots = [(1, 1), (2, 0)]
    rows = [(0, [doubt, 1 - doubt], ()), *[(0, [1 - doubt, doubt], shots)] * 3]
    return evidence(3, [*rows, (1, [0.01, 0.99], ()), (2, [0.99, 0.01], ())])


@pytest.mark.parametrize("starts", [1, 8])
@pytest.mark.parametrize("doubt", [1e-3, 1e-6, 1e-9])
def test_a_sure_answer_is_given_up_and_not_overshot(doubt, starts):
    ev = conflict(doubt)
    solution = solve(ev, solver=LBFGS(starts=starts))
    assert solution.result is Result.SETTLED and len(solution.optima) == 1
    np.testing.assert_allclose(solution.labels, combined(ev, solution.labels), atol=2e-4)


def test_sure_answers_at_large():
    rng = np.random.default_rng(0)
    rows = [(i, softmax(6 * np.log(p)), s) for i, p, s in random_rows(rng, 40, 2, 2, 4)]
    ev = evidence(40, rows)
    solution = solve(ev, solver=LBFGS(starts=1))
    assert solution.result is Result.SETTLED
    np.testing.assert_allclose(solution.labels, combined(ev, solution.labels), atol=1e-3)
