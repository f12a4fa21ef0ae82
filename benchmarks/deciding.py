"""Two concepts that a duel leaves close: which question more tells them apart, and what it costs.

    uv run python benchmarks/deciding.py            # measures, writes results/deciding.json
    uv run python benchmarks/deciding.py --table    # prints the table of the documentation from it

A run with 8 calls for each of 400 examples (240 claims of the pocket model) is asked up to the end
of its census, runoff and duels. Of all pairs that met in a duel those count of which one concept,
and not the other, is near the truth. Where the first duel leaves the two within 2.5 standard
errors, each way of asking more is tried on the same pair, and what it says is added. *Contrasts*
are asked where the couplings of the two concepts contradict each other: a shot on which both agree,
a target on which they do not, and the same with the label of the shot flipped; the difference
tells whose coupling the model follows, whatever it answers without shots.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import program

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consilience.concepts.comparison import Duel
    from consilience.elicitation.session import Session
    from consilience.prompts.query import Query

RESULTS = Path(__file__).parent / "results" / "deciding.json"
WORLDS = ("noisy", "grouped", "k4", "imbalanced", "imbalanced-1", "imbalanced-99", "pocket-popular")
EXAMPLES, CLAIMS, CALLS = 400, 240, 8.0
NEAR, APART, BOTH = 0.6, 0.1, 0.8
"""A concept is near the truth with an accuracy of `NEAR`, if the other's is lower by `APART`.

Two that both reach `BOTH` are of one concept: so are the truth as the model knows it and "all are
of one class" where nearly all are."""
NOTHING = "nothing more"
# By name: how many shots, and whether as contrasts.
WAYS = {
    "6 shots again": (6, False),
    "1 shot (built in)": (1, False),
    "2 shots": (2, False),
    "12 shots": (12, False),
    "contrasts, 1 shot": (1, True),
    "contrasts, 3 shots": (3, True),
    "contrasts, 6 shots": (6, True),
}
STREAM = 9
AFTER = 900
"""The number of a round that no run comes to, so that what is drawn for it is drawn anew."""


def flipped(queries: list[Query], k: int, seed: int) -> list[Query]:
    """Each query, and after it the same with the label of one of its shots flipped."""
    rng = np.random.default_rng([seed, STREAM])
    made = []
    for query in queries:
        shots = list(query.shots)
        at = int(rng.integers(len(shots)))
        id, label = shots[at]
        shots[at] = (id, (label + 1 + int(rng.integers(k - 1))) % k)
        made += [query, replace(query, shots=tuple(shots), contrast=at)]
    return made


def said(session: Session, duel: Duel, queries: list[Query] | None = None) -> NDArray[np.float64]:
    """How far each prediction favours the one concept over the other, in nats, as they count.

    Those of the duel itself where no queries are given.
    """
    from consilience.concepts.concept import DOUBT
    from consilience.evidence.collect import collect
    from consilience.store.runner import ask, requests

    assert session.state.ranking is not None
    evidence = session.state.evidence
    if queries is None:
        used = evidence.predictions.round == duel.round
        target, logp = (
            evidence.predictions.target[used].numpy(),
            evidence.predictions.logp[used].numpy(),
        )
    else:
        rows = requests(queries, session.data, session.framings, session.model)
        ask(rows, session.model, session.store, concurrency=64)
        found = session.store.predictions([key for key, _ in rows])
        asked = collect(session.data, session.framings, [list(zip(queries, found, strict=True))])
        target, logp = asked.predictions.target.numpy(), asked.predictions.logp.numpy()
    doubted = np.log((1 - DOUBT) * np.exp(logp) + DOUBT / evidence.k)
    row = np.arange(len(target))
    one, other = (session.state.ranking.labels(c).argmax(axis=1) for c in (duel.one, duel.other))
    return np.asarray(doubted[row, one[target]] - doubted[row, other[target]])


def decided(name: str, seed: int) -> tuple[Session, NDArray[np.int64]]:
    """A run asked until it has decided between its concepts, and the truth."""
    from consilience.datasets import load_dataset
    from consilience.elicitation.session import Session
    from consilience.elicitation.settings import Settings
    from consilience.models import open_model
    from consilience.models.simulated import world_dataset
    from consilience.store.database import Store

    if name.startswith("pocket"):
        data, gold = load_dataset(name, seed=seed, claims=str(CLAIMS))
        model = open_model("local:pocket")
    else:
        data, gold = world_dataset(name, EXAMPLES, seed)
        model = open_model(f"simulated:{name}")
    assert gold is not None
    settings = Settings(calls_per_example=CALLS)
    session = Session(data, model, Store(), settings=settings, seed=seed)
    while session.state.ranking is None or session.round < session.state.ranking.end:
        session.ask(session.next_queries(), concurrency=64)
        session.learn()
    return session, np.array([gold.labels[id] for id in data.ids])


def more(session: Session, duel: Duel, way: int) -> tuple[NDArray[np.float64], int]:
    """What the targets of a way of asking more say between the two of a duel, and its calls."""
    from consilience.concepts.comparison import duel_round
    from consilience.concepts.concept import prevailing

    assert session.state.ranking is not None
    shots, contrasts = list(WAYS.values())[way]
    again = replace(duel, round=AFTER + way, shown=shots)
    one, other = (session.state.ranking.labels(number) for number in (duel.one, duel.other))
    queries = duel_round(
        again, one, other, session.data, session.framings,
        seed=session.state.seed, plan=replace(session.state.settings.plan, contrasts=0.0),
        uneven=prevailing(session.state.evidence) is not None,
    )  # fmt: skip
    # As many targets each, so that the ways differ in nothing but what is asked of them.
    drawn = np.random.default_rng([session.state.seed, STREAM]).permutation(len(queries))
    queries = [queries[i] for i in drawn[: len(session.data) // 4]]
    if not contrasts:
        return said(session, duel, queries), len(queries)
    queries = flipped(queries, session.data.task.k, session.state.seed)
    answers = said(session, duel, queries)
    return answers[::2] - answers[1::2], len(queries)


def measure(job: tuple[str, int]) -> dict[str, Any]:
    """The lead of the better concept of each pair that met, after each way of asking more."""
    import torch

    from consilience.concepts.comparison import SHOWN, SURE
    from consilience.concepts.concept import support
    from consilience.data.arrays import saying

    torch.set_num_threads(1)
    session, truth = decided(*job)
    assert session.state.ranking is not None
    pairs = []
    for duel in session.state.ranking.duels:
        one, other = (
            session.state.ranking.labels(duel.one),
            session.state.ranking.labels(duel.other),
        )
        right = [float((c.argmax(axis=1) == truth)[saying(c)].mean()) for c in (one, other)]
        apart = max(right) >= NEAR and min(right) < BOTH and abs(right[0] - right[1]) >= APART
        if duel.shown != SHOWN or not apart:
            continue
        sign = 1.0 if right[0] > right[1] else -1.0
        rests = support(session.state.evidence, one) - support(session.state.evidence, other)
        rests = rests[~np.isnan(rests)]
        share = float(
            (one.argmax(axis=1) != other.argmax(axis=1))[saying(one) & saying(other)].mean()
        )
        # Each a mean and its variance, in nats per example toward the better concept.
        first = said(session, duel)
        level = np.array([sign * rests.mean(), rests.var(ddof=1) / len(rests)])
        level += [sign * share * first.mean(), share**2 * first.var() / len(first)]
        lead, error = float(level[0]), float(np.sqrt(level[1]))
        pair = {NOTHING: {"lead": lead, "error": error, "calls": 0}}
        for w, way in enumerate(WAYS) if abs(lead) <= SURE * error else ():
            answers, calls = more(session, duel, w)
            mean, variance = answers.mean(), answers.var() / len(answers)
            pair[way] = {
                "lead": float(lead + sign * share * mean),
                "error": float(np.sqrt(level[1] + share**2 * variance)),
                "calls": calls,
            }
        pairs.append(pair)
    session.store.close()
    return {"world": job[0], "seed": job[1], "pairs": pairs}


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown, a row for each way: how many pairs are decided wrongly, and how many are close."""
    from consilience.concepts.comparison import SURE

    head = ["asked more", "calls for a pair", *(f"`{world}`" for world in WORLDS), "all"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for way in (NOTHING, *WAYS):
        cells = []
        for worlds in (*((world,) for world in WORLDS), WORLDS):
            pairs = [pair for run in runs if run["world"] in worlds for pair in run["pairs"]]
            left = [pair.get(way, pair[NOTHING]) for pair in pairs]
            wrong = sum(one["lead"] < 0 for one in left)
            close = sum(abs(one["lead"]) <= SURE * one["error"] for one in left)
            cells.append(f"{wrong}, {close} of {len(left)}")
        calls = [pair[way]["calls"] for run in runs for pair in run["pairs"] if way in pair]
        lines.append("| " + " | ".join([way, f"{np.mean(calls):.0f}", *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    program.run(__doc__, measure, lambda seeds: product(WORLDS, range(seeds)), table, RESULTS, 20)
