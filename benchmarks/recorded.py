"""Recorded answers of real models: the file of one model and data set, and what solves it.

A recording is one JSON object, compressed. No text of a data set is in it: an example is a hash of
its text, and a context a list of (position of the example, class shown). What was answered is
written once and runs refer to it by position, so that methods which asked the same share it.

    {"format": 1, "model": …, "model_settings": …, "set": …, "seed": …,
     "source": …, "classes": […],
     "examples": [hash, …], "gold": [class, …],
     "framings": [[name, family, label names, semantic], …],
     "contexts": [[[example, class], …], …],
     "predictions": [[example, framing, context or -1, contrast or -1, log-probabilities], …],
     "runs": [{"method": …, "budget": …, "rounds": [[prediction, …], …], "scores": {…}}, …]}

Log-probabilities are in nats, to three decimals, not normalised over the labels; null in the place
of the list is a prediction that failed, and a label that was only bounded stands in a list of its
own after them. `scores` are those of the objective when the file was made.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consilience.data.dataset import Dataset
    from consilience.evidence.evidence import Evidence
    from consilience.prompts.framing import Framing
    from consilience.prompts.query import Query
    from consilience.store.rows import Prediction

FOLDER = Path(__file__).parent / "recorded"
FORMAT = 1
DIGITS = 3
SCORES = ("accuracy", "auroc", "ece", "log_loss")

Rounds = Sequence[Sequence[tuple["Query", "Prediction | None"]]]


@dataclass(frozen=True)
class RecordedRun:
    """What one method asked, in rounds, what was answered, and what it came to when recorded.

    `budget` is in calls per example; a method without rounds of shots may have asked less.
    """

    method: str
    budget: float
    rounds: Rounds
    scores: Mapping[str, float]

    @property
    def calls(self) -> int:
        """The distinct queries in all rounds."""
        return len({query for queries in self.rounds for query, _ in queries})


@dataclass(frozen=True, eq=False)
class Recording:
    """The answers of one model about examples of one data set.

    The texts of `data` are hashes of the real ones; `gold` (N,) is in the order of its ids.
    """

    model: str
    model_settings: Mapping[str, Any]
    set: str
    seed: int
    source: str
    data: Dataset
    gold: NDArray[np.int64]
    framings: tuple[Framing, ...]
    runs: tuple[RecordedRun, ...]

    @property
    def name(self) -> str:
        """The name of its file without the ending: model, set, and which examples."""
        model = self.model.rpartition(":")[2].partition("@")[0].rpartition("/")[2]
        return f"{model}-{self.set}-{self.data.fingerprint[:6]}"


def evidence_of(recording: Recording, run: RecordedRun) -> Evidence:
    """The evidence of a run, as the settings of today make it of the answers."""
    from consilience.evidence.collect import collect

    return collect(recording.data, recording.framings, run.rounds)


def solved(recording: Recording, run: RecordedRun) -> NDArray[np.float64]:
    """The soft labels (N, K) that today's objective gives a run, from its answers alone."""
    from consilience.solvers.solution import solve
    from consilience.solvers.starts import first_labels

    evidence = evidence_of(recording, run).weighed()
    return solve(evidence, start=first_labels(evidence)).labels


def scores_of(labels: NDArray[np.float64], gold: NDArray[np.int64]) -> dict[str, float]:
    """Each of `SCORES` of soft labels (N, K)."""
    from consilience.evaluation.metrics import STATISTICS

    once = np.ones((1, len(gold)))
    return {name: round(float(STATISTICS[name](labels, gold, once)[0]), 4) for name in SCORES}


def scored(recording: Recording) -> Recording:
    """The same recording with the scores that today's objective gives its runs."""
    runs = [
        replace(run, scores=scores_of(solved(recording, run), recording.gold))
        for run in recording.runs
    ]
    return replace(recording, runs=tuple(runs))


def write(recording: Recording, folder: Path = FOLDER) -> Path:
    """Writes the file of a recording, the same bytes for the same content; its path."""
    path = folder / f"{recording.name}.json.gz"
    content = json.dumps(_plain(recording), separators=(",", ":"), ensure_ascii=False)
    folder.mkdir(parents=True, exist_ok=True)
    # Without the time and the name of the file, which gzip else writes into it.
    path.write_bytes(gzip.compress(content.encode(), 9, mtime=0))
    return path


def read(path: Path) -> Recording:
    """The recording in a file."""
    kept = json.loads(gzip.decompress(path.read_bytes()))
    if kept["format"] != FORMAT:
        raise ValueError(f"{path}: format {kept['format']}, this program reads {FORMAT}")
    return _recording(kept)


def files(folder: Path = FOLDER) -> list[Path]:
    """All recordings in a folder, by name."""
    return sorted(folder.glob("*.json.gz"))


def _plain(recording: Recording) -> dict[str, Any]:
    """A recording as plain data."""
    data = recording.data
    framing = {made.name: f for f, made in enumerate(recording.framings)}
    contexts: dict[tuple[tuple[str, int], ...], int] = {}
    predictions: dict[tuple[Any, ...], int] = {}
    rows: list[list[Any]] = []

    def place(query: Query, prediction: Prediction | None) -> int:
        shown = contexts.setdefault(query.shots, len(contexts)) if query.shots else -1
        flipped = -1 if query.contrast is None else query.contrast
        key = (data.index[query.target], framing[query.framing], shown, flipped)
        at = (*key, query.repeat)
        if at not in predictions:
            predictions[at] = len(rows)
            rows.append([*key, *_said(prediction)])
        return predictions[at]

    runs = [
        {
            "method": run.method,
            "budget": run.budget,
            "rounds": [[place(*asked) for asked in queries] for queries in run.rounds],
            "scores": dict(run.scores),
        }
        for run in recording.runs
    ]
    return {
        "format": FORMAT,
        "model": recording.model,
        "model_settings": dict(recording.model_settings),
        "set": recording.set,
        "seed": recording.seed,
        "source": recording.source,
        "classes": list(data.task.classes),
        "examples": list(data.texts),
        "gold": recording.gold.tolist(),
        "framings": [[f.name, f.family, f.label_names, f.semantic] for f in recording.framings],
        "contexts": [[[data.index[id], label] for id, label in shots] for shots in contexts],
        "predictions": rows,
        "runs": runs,
    }


def _said(prediction: Prediction | None) -> list[Any]:
    """The log-probabilities of a prediction, then the labels that were only bounded, if any."""
    if prediction is None:
        return [None]
    bounded = [c for c, exact in enumerate(prediction.exact) if not exact]
    said = [round(value, DIGITS) for value in prediction.logprobs]
    return [said, bounded] if bounded else [said]


def _recording(kept: Mapping[str, Any]) -> Recording:
    """The recording of plain data."""
    from consilience.data.dataset import Dataset, Example
    from consilience.data.task import Task
    from consilience.prompts.framing import Framing
    from consilience.prompts.query import Query

    task = Task("Which class?", tuple(kept["classes"]), None, None)
    examples = [Example(hashed) for hashed in kept["examples"]]
    ids = [example.id for example in examples]
    data = Dataset(kept["set"], examples, task=task)
    framings = tuple(
        Framing(name, family, "", "", tuple(names), semantic)
        for name, family, names, semantic in kept["framings"]
    )
    contexts = [tuple((ids[i], label) for i, label in shots) for shots in kept["contexts"]]

    asked = []
    for number, (target, framing, context, flipped, *said) in enumerate(kept["predictions"]):
        shots = contexts[context] if context >= 0 else ()
        contrast = flipped if flipped >= 0 else None
        query = Query(ids[target], shots, framings[framing].name, contrast=contrast)
        names = framings[framing].label_names
        asked.append((query, _prediction(number, query, names, *said)))
    gold = np.zeros(len(data), dtype=np.int64)
    gold[[data.index[id] for id in ids]] = kept["gold"]
    runs = tuple(
        RecordedRun(
            run["method"],
            run["budget"],
            [[asked[at] for at in queries] for queries in run["rounds"]],
            run["scores"],
        )
        for run in kept["runs"]
    )
    about = {name: kept[name] for name in ("model", "model_settings", "set", "seed", "source")}
    return Recording(**about, data=data, gold=gold, framings=framings, runs=runs)


def _prediction(
    number: int,
    query: Query,
    names: tuple[str, ...],
    logprobs: Sequence[float] | None,
    bounded: Sequence[int] = (),
) -> Prediction | None:
    """The prediction of a row, or None where it failed."""
    from consilience.store.rows import Prediction

    if logprobs is None:
        return None
    exact = tuple(c not in bounded for c in range(len(logprobs)))
    mass = float(np.exp([value for value, sure in zip(logprobs, exact, strict=True) if sure]).sum())
    said = tuple(float(value) for value in logprobs)
    return Prediction(f"{number}", query, names, said, exact, min(mass, 1.0), {}, 0.0)
