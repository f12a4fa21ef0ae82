"""Records what real models answered, for `replay.py`: hashes instead of texts, and no data rows.

    uv run python benchmarks/record.py --store STORES/*.db --data DATA

takes all that `real.py` keeps in its stores: the runs of the method, and what `--methods` asked,
which is found by asking for it again of a model that does not answer (so record with the sources
that asked: PYTHONPATH=THEIR/src where those of today plan otherwise). A store is named after the
model and the set, as `gemma-sst2.db`, or --set says which set it is. DATA holds the tables
`NAME.csv` with the columns text and label. There is one file for each draw of examples; what it has
of other methods stays.
"""

from __future__ import annotations

import argparse
import csv
import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import recorded
from real import EXAMPLES, TASKS, draw
from recorded import FOLDER, RecordedRun, Recording, Rounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consilience.data.dataset import Dataset, Example, Gold
    from consilience.evaluation.baselines.base import QueryAnswers
    from consilience.models.base import Answer, Request
    from consilience.prompts.framing import Framing, Style
    from consilience.prompts.query import Query
    from consilience.store.database import Store
    from consilience.store.rows import Run

METHODS = ("zero-shot-all", "random-shots", "golden", "ranked")
"""What is recorded beside runs of the method if nobody says what."""

MISSING = 0.02
"""A method of whose answers the store lacks a larger share was asked otherwise."""


@dataclass(frozen=True)
class Silent:
    """A model that was asked before and answers no more: its name is enough to find its answers."""

    name: str
    style: Style
    settings: Mapping[str, Any]

    async def ask(self, request: Request) -> Answer:
        """Never an answer."""
        from consilience.errors import ModelError

        raise ModelError(f"{self.name} is not asked again")


def asked_of(path: Path) -> Silent:
    """The model whose answers a store holds."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT DISTINCT model, settings FROM predictions").fetchall()
        prompt = db.execute("SELECT prompt FROM predictions LIMIT 1").fetchone()
    if len(rows) != 1:
        raise SystemExit(f"{path} holds answers of {len(rows)} models with their settings, not one")
    messages = json.loads(prompt[0])
    style: Style = "text" if isinstance(messages, str) else "chat"
    if style == "chat" and messages[-1]["role"] == "assistant":
        style = "chat-prefill"
    return Silent(rows[0][0], style, json.loads(rows[0][1]))


def heard(
    method: str, data: Dataset, gold: Gold, model: Silent, store: Store, budget: float, seed: int
) -> Rounds:
    """The rounds that a method asked, from the store alone."""
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.baselines.base import BaselineContext
    from consilience.evaluation.benchmark.methods import BENCHMARK_METHODS as KNOWN
    from consilience.store.runner import requests

    rounds: list[QueryAnswers] = []

    class Listening(BaselineContext):
        """A bench that asks nobody and keeps what was asked, in rounds."""

        def asked(self, queries: Any, watch: Any = None) -> QueryAnswers:  # noqa: ANN401
            rows = requests(queries, self.data, self.framings, self.model)
            said = self.store.predictions([key for key, _ in rows])
            rounds.append(list(zip(queries, said, strict=True)))
            return rounds[-1]

    settings = Settings(calls_per_example=budget, settled=0.0)
    KNOWN[method](Listening(data, model, store=store, settings=settings, seed=seed), gold)
    return rounds


def complete(method: str, rounds: Sequence[Sequence[Any]]) -> bool:
    """Whether the store has next to all answers; says how many it lacks where not."""
    said = [prediction is not None for queries in rounds for _, prediction in queries]
    if said and 1 - np.mean(said) <= MISSING:
        return True
    print(f"{method}: {said.count(False)} of {len(said)} answers are missing", file=sys.stderr)
    return False


def recordings(path: Path, name: str, given: argparse.Namespace) -> Iterator[Recording]:
    """One recording for each draw of examples that a store has answers about."""
    from consilience.store.database import Store

    model = asked_of(path)
    with Store(path, readonly=True) as store:
        drawn: dict[str, tuple[Dataset, int, dict[tuple[str, float], Rounds]]] = {}
        for run in reversed(store.runs()):
            data = store.dataset(run.dataset)
            found = of_run(store, run)
            if complete(f"{path.name}, run {run.id}", found):
                # The newest run of each budget: an older one had other plans.
                key = ("consilience", float(run.settings["calls_per_example"]))
                drawn.setdefault(data.fingerprint, (data, run.seed, {}))[2][key] = found
        for seed in given.seeds if given.methods else ():
            data, gold = draw(given.data, name, given.examples, seed)
            for method in given.methods:
                found = heard(method, data, gold, model, store, given.budget, seed)
                if complete(f"{path.name}, {method}, draw {seed}", found):
                    key = (method, given.budget)
                    drawn.setdefault(data.fingerprint, (data, seed, {}))[2][key] = found
    for data, seed, kept in drawn.values():
        yield recording(data, truth(given.data, name, data), name, seed, model, kept)


def of_run(store: Store, run: Run) -> Rounds:
    """The rounds of a run of the method."""
    rounds = []
    for planned in store.rounds(run.id):
        said = store.predictions([key for key, _ in planned])
        rounds.append([(query, p) for (_, query), p in zip(planned, said, strict=True)])
    return rounds


def truth(folder: Path, name: str, data: Dataset) -> NDArray[np.int64]:
    """The gold (N,) of a data set, found by its texts in the table of its set."""
    classes = TASKS[name][1]
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        label_of = {row["text"]: row["label"] for row in csv.DictReader(file)}
    return np.array([classes.index(label_of[text]) for text in data.texts], dtype=np.int64)


def recording(
    data: Dataset,
    gold: NDArray[np.int64],
    name: str,
    seed: int,
    model: Silent,
    kept: Mapping[tuple[str, float], Rounds],
) -> Recording:
    """The recording of some runs, with hashes in the place of texts."""
    from consilience.data.dataset import Dataset, Example
    from consilience.data.task import Task

    hashed = {id: Example(id) for id in data.ids}
    task = Task("Which class?", data.task.classes, None, None)
    blind = Dataset(name, hashed.values(), task=task)
    runs = [
        RecordedRun(
            method, budget, [[(unnamed(q, hashed), p) for q, p in asked] for asked in rounds], {}
        )
        for (method, budget), rounds in kept.items()
    ]
    order = {id: i for i, id in enumerate(data.ids)}
    return Recording(
        model=model.name,
        model_settings=model.settings,
        set=name,
        seed=seed,
        source=f"{len(data)} examples of {name}, draw {seed}, recorded by benchmarks/record.py",
        data=blind,
        gold=gold[[order[text] for text in blind.texts]],
        framings=framings_in(kept.values()),
        runs=tuple(runs),
    )


def framings_in(runs: Iterable[Rounds]) -> tuple[Framing, ...]:
    """The framings that were asked, made of the answers: those of today may be others."""
    from consilience.prompts.framing import Framing

    rows = [row for rounds in runs for asked in rounds for row in asked]
    names = {query.framing: said.label_names for query, said in rows if said is not None}
    made = []
    for name, label_names in sorted(names.items()):
        family = name.partition("-")[0]
        semantic = family != "sets"
        # The two wordings move one pair of names round.
        family = "wording" if family in ("plain", "negated") else family
        made.append(Framing(name, family, "", "", label_names, semantic))
    return tuple(made)


def unnamed(query: Query, hashed: Mapping[str, Example]) -> Query:
    """A query with the ids of hashes in the place of those of texts."""
    shots = tuple((hashed[id].id, label) for id, label in query.shots)
    return replace(query, target=hashed[query.target].id, shots=shots)


def joined(folder: Path, new: Recording) -> Recording:
    """A recording, with the runs of other methods that its file has already."""
    path = folder / f"{new.name}.json.gz"
    if not path.exists():
        return new
    old = recorded.read(path)
    made = {(run.method, run.budget) for run in new.runs}
    kept = [run for run in old.runs if (run.method, run.budget) not in made]
    framings = {framing.name: framing for framing in (*old.framings, *new.framings)}
    ordered = tuple(framings[name] for name in sorted(framings))
    return replace(new, runs=(*kept, *new.runs), framings=ordered)


def options() -> argparse.ArgumentParser:
    """The options of the command."""
    from consilience.cli.values import seeds

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--store", type=Path, nargs="+", required=True, help="the stores that are recorded")
    add("--set", choices=TASKS, metavar="SET", help="the set, where a store is not named after it")
    add("--data", type=Path, required=True, help="folder of NAME.csv")
    add(
        "--methods", nargs="*", default=METHODS, help="beside the runs of the method; none if empty"
    )
    add("--budget", type=float, default=8.0, help="with which calls per example they were asked")
    add("--examples", type=int, default=EXAMPLES)
    add("--draws", dest="seeds", type=partial(seeds, None, None), default="1")
    add("--output", type=Path, default=FOLDER)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Records all stores, and prints the files that were written."""
    given = options().parse_args(arguments)
    for path in given.store:
        name = given.set or path.stem.rpartition("-")[2]
        if name not in TASKS:
            raise SystemExit(f"{path}: which set is it? Say --set")
        for made in recordings(path, name, given):
            # Scored as it was written, for rounding may decide what was next to undecided.
            written = recorded.write(joined(given.output, made), given.output)
            recorded.write(recorded.scored(recorded.read(written)), given.output)
            runs = ", ".join(run.method for run in made.runs)
            print(f"{written.name}: {written.stat().st_size / 1000:.0f} kB, {runs}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
