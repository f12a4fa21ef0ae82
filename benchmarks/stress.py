"""Runs that could go wrong: a salient distractor, wrong landmarks, a start in a myth, no answer.

    uv run python benchmarks/stress.py            # measures, writes results/stress.json
    uv run python benchmarks/stress.py --table    # prints the table of the documentation from it

The simulated learner carries three concepts; the first is the truth. On `distractor` another one is
more salient, and landmarks are given for the examples that the run names: some with the right
label, some with the wrong one. "Myth": the first shots of a run carry the labels of the second
concept instead of zero-shot answers. On `imbalanced-distractor` one in ten is true and another
concept is more salient: that truth is not to be preferred because it is rare. The other worlds show
what a usual run says of itself. A labelling is taken for the concept that it is nearest to. How
good labels of a rare class are is in the tables of `elicitation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import program
from program import interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consilience.elicitation.session import Session
    from consilience.evidence.evidence import Evidence

RESULTS = Path(__file__).parent / "results" / "stress.json"
EXAMPLES, CALLS = 400, 8.0


@dataclass(frozen=True)
class Trial:
    """A world, how many landmarks are given, how many of them wrong, and where a run begins."""

    world: str
    landmarks: int = 0
    wrong: int = 0
    myth: bool = False

    def __str__(self) -> str:
        said = f"`{self.world}`"
        if self.landmarks:
            said += f", {self.landmarks} landmarks"
            said += f", {self.wrong} of them wrong" if self.wrong else ""
        return said + (", from a myth" if self.myth else "")


TRIALS = (
    Trial("distractor"),
    *(Trial("distractor", *given) for given in ((3, 0), (5, 1), (9, 2), (9, 3))),
    *(Trial(world, myth=myth) for world in ("noisy", "easy") for myth in (False, True)),
    *(Trial(world) for world in ("grouped", "k4", "imbalanced", "imbalanced-99")),
    Trial("imbalanced-distractor"),
    Trial("imbalanced-distractor", 3),
    Trial("no-answer"),
)


def from_myth(session: Session, myth: NDArray[np.int64]) -> None:
    """Has the first concept of a run's census begin with these labels, not zero-shot ones."""
    from consilience.concepts.discovery import Census

    class Seeded(Census):
        def labels(self, evidence: Evidence, concept: int, seed: int = 0) -> NDArray[np.float64]:
            asked = bool((evidence.predictions.round == self.begin).any())
            if concept or asked:
                return super().labels(evidence, concept, seed)
            soft = np.full((evidence.n, 2), 0.5)
            sample = list(self.sample)
            soft[sample] = np.where(np.eye(2)[myth[sample]] > 0, 0.9, 0.1)
            return soft

    plan = session.state.census
    session.state.census = Seeded(
        **{field.name: getattr(plan, field.name) for field in fields(plan)}
    )


def measure(job: tuple[int, Trial]) -> dict[str, Any]:
    """One run: what was chosen, what was returned, and what the run says of itself."""
    import torch

    from consilience.data.arrays import saying
    from consilience.elicitation.session import Session, elicit
    from consilience.elicitation.settings import Settings
    from consilience.models.simulated import WORLDS, SimulatedModel, true_label, world_dataset
    from consilience.results.landmarks import Landmarks
    from consilience.store.database import Store

    torch.set_num_threads(1)
    seed, trial = job
    data, _ = world_dataset(trial.world, EXAMPLES, seed)
    world = WORLDS[trial.world]
    carried = np.array(
        [[true_label(world, c, id) for id in data.ids] for c in range(len(world.concepts))]
    )
    model = SimulatedModel(trial.world)
    settings = Settings(calls_per_example=CALLS, settled=0.0)
    with Store() as store:
        landmarks = None
        if trial.landmarks:
            named = elicit(data, model, store=store, settings=settings, seed=seed)
            ids = named.questions(trial.landmarks)
            turned = np.random.default_rng(seed).permutation(len(ids)) < trial.wrong
            said = [int(carried[0, data.index[id]]) for id in ids]
            vouched = {id: int(c ^ t) for id, c, t in zip(ids, said, turned, strict=True)}
            landmarks = Landmarks.of(vouched, data)
        session = Session(data, model, store, settings=settings, seed=seed, landmarks=landmarks)
        if trial.myth:
            from_myth(session, carried[1])
        found = program.worked_off(session)

    def nearest(labels: NDArray[np.float64]) -> int:
        asked = saying(labels)
        return int((labels.argmax(axis=1) == carried)[:, asked].mean(axis=1).argmax())

    q = found.solution.labels
    return {
        "trial": str(trial),
        "seed": seed,
        "accuracy": float((q.argmax(axis=1) == carried[0]).mean()),
        "chosen": nearest(q),
        "returned": [nearest(concept.labels) for concept in found.concepts],
        "departure": float(np.abs(q - 1 / data.task.k).mean()),
        "verdict": found.verdict.kind.value,
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown, a row for each trial."""
    head = [
        "",
        "accuracy",
        "chosen is true",
        "one returned is",
        "mean distance from 1/K",
        "verdict",
    ]
    head += ["not true, yet coherent"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for trial in map(str, TRIALS):
        mine = [run for run in runs if run["trial"] == trial]
        verdicts = [run["verdict"] for run in mine]
        knows = trial != "`no-answer`"
        misled = sum(r["chosen"] != 0 and r["verdict"] == "coherent" for r in mine)
        cells = [
            trial,
            interval([run["accuracy"] for run in mine]),
            f"{sum(run['chosen'] == 0 for run in mine)} of {len(mine)}" if knows else "–",
            f"{sum(0 in run['returned'] for run in mine)} of {len(mine)}" if knows else "–",
            interval([run["departure"] for run in mine]),
            ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts))),
            f"{misled} of {len(mine)}" if knows else "–",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    program.run(__doc__, measure, lambda seeds: product(range(seeds), TRIALS), table, RESULTS)
